//! Signals to a whole program: the first one stops it, the second one ends it at once.
//!
//! The test is a program of its own, without a harness: signals are blocked before any thread.
#![allow(clippy::disallowed_methods, reason = "the test starts itself")]
#![allow(clippy::print_stdout, reason = "the two processes talk through it")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sys::StopHandle;

fn main() {
    sys::signals::block_stopping().expect("because a thread may block signals");
    if std::env::args().nth(1).as_deref() == Some("--stubborn") {
        return be_stubborn();
    }
    attempts();
    check(Signal::TERM, Signal::TERM, 143);
    check(Signal::INT, Signal::TERM, 143);
    check(Signal::TERM, Signal::HUP, 129);
    println!("signals: ok");
}

/// Copies of a program with one thread: their outcome comes back, their effects do not.
fn attempts() {
    assert!(sys::namespaces::single_threaded());
    let changes_nothing =
        sys::namespaces::attempt(|| rustix::process::chdir("/").map_err(|errno| errno.to_string()));
    assert!(changes_nothing.is_ok());
    let fails = sys::namespaces::attempt(|| Err("for this reason".to_owned()));
    assert_eq!(fails.expect_err("because it says so").to_string(), "for this reason");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panics = sys::namespaces::attempt(|| panic!("inside the copy"));
    std::panic::set_hook(hook);
    assert!(panics.is_err());
}

fn be_stubborn() {
    let stop = StopHandle::new().expect("because an eventfd can be had");
    sys::signals::watch(&stop).expect("because a thread can be had");
    println!("ready");
    assert!(stop.wait(Duration::from_secs(60)));
    println!("stopped by {}", stop.signal().unwrap_or_default());
    // It goes on as if nothing had happened.
    let never = StopHandle::new().expect("because an eventfd can be had");
    let _ = never.wait(Duration::from_secs(60));
}

fn check(first: Signal, second: Signal, status: i32) {
    let this = std::env::current_exe().expect("because /proc is mounted");
    let mut command = Command::new(this);
    let mut child =
        command.arg("--stubborn").stdout(Stdio::piped()).spawn().expect("because it is there");
    let mut lines = BufReader::new(child.stdout.take().expect("because it is piped")).lines();
    let mut line = || lines.next().expect("because it goes on").expect("because it is text");
    let pid = Pid::from_child(&child);
    assert_eq!(line(), "ready");
    kill_process(pid, first).expect("because it is ours");
    assert_eq!(line(), format!("stopped by {}", first.as_raw()));
    kill_process(pid, second).expect("because it is ours");
    assert_eq!(child.wait().expect("because it is ours").code(), Some(status));
}
