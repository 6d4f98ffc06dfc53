//! Peak memory: of programs of their own, since a peak is a program's for good.
//!
//! A bench starts itself again with the argument `--part NAME`; that process does one thing and
//! says what its peak was. The kernel's mark (`VmHWM`) belongs to the address space, which is a new
//! one after exec: what the parent had does not count.
#![allow(clippy::disallowed_methods, reason = "a bench starts itself and reads /proc")]
#![allow(clippy::print_stdout, reason = "what a part prints is its result")]

use std::process::{Child, Command, Stdio};

const PART: &str = "--part";

/// The part of the bench that this process is to do, if it is not the bench itself.
#[must_use]
pub fn part() -> Option<String> {
    crate::argument(PART)
}

/// Starts this program again for one part, with its standard input and output in pipes.
#[must_use]
pub fn start(name: &str, arguments: &[&str]) -> Child {
    let program = std::env::current_exe().expect("because /proc is there");
    Command::new(program)
        .args([PART, name])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("because this very program is running")
}

/// Waits for a part and gives the peak it told, in bytes.
///
/// # Panics
/// Where the part failed: there is nothing to report then.
#[must_use]
pub fn peak_of(mut child: Child) -> u64 {
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("because it was started");
    assert!(output.status.success(), "the part failed: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("the part told no peak, but `{text}`"))
}

/// The end of a part: tells the parent what its peak was.
pub fn tell_peak() {
    println!("{}", peak("self"));
}

/// The highest resident size that a process had so far, in bytes; 0 where it cannot be read.
#[must_use]
pub fn peak(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_program_has_a_peak() {
        assert!(super::peak("self") > 1 << 20);
        assert_eq!(super::peak("0"), 0);
    }
}
