//! Ends the processes of a step where no pid namespace does it.
//!
//! The supervisor is a subreaper, so whatever a step starts stays below it, double forks and new
//! sessions included. They are found through `/proc` and killed until the supervisor, left without
//! children, ends by itself. A step that kills its supervisor makes its orphans children of the
//! builder; they are told from the builder's own children by their session.

use std::collections::BTreeMap;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::{Result, host};

/// One process as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    pid: i32,
    parent: i32,
    session: i32,
    /// Dead, and only waiting to be reaped.
    zombie: bool,
}

/// Kills all that is below a process; how many there were.
pub(super) fn kill_below(supervisor: Pid) -> Result<usize> {
    let supervisor = supervisor.as_raw_nonzero().get();
    kill_all(|entries| below(entries, |entry| entry.parent == supervisor))
}

/// Kills what steps have left as children of the builder, and all below it; how many there were.
pub(super) fn kill_strays() -> Result<usize> {
    let this = rustix::process::getpid().as_raw_nonzero().get();
    let entries = processes()?;
    // Not getsid(2): where the session began outside of this pid namespace it is 0, which is no pid.
    let own = entries.iter().find(|entry| entry.pid == this);
    let session = own.map(|entry| entry.session);
    // A program that the builder starts for itself stays in the builder's session; a step never
    // can get into it.
    let stray = |entry: &Entry| entry.parent == this && Some(entry.session) != session;
    for entry in entries.iter().filter(|entry| stray(entry) && entry.zombie) {
        if let Some(pid) = Pid::from_raw(entry.pid) {
            // Reaped by somebody else is as good.
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
    kill_all(|entries| below(entries, stray))
}

/// Stops all first, so that none forks while the others are killed.
fn kill_all(chosen: impl Fn(&[Entry]) -> Vec<i32>) -> Result<usize> {
    signal_all(&chosen(&processes()?), Signal::STOP);
    let left = chosen(&processes()?);
    signal_all(&left, Signal::KILL);
    Ok(left.len())
}

fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The living processes for which `top` holds, and all below one for which it does.
fn below(entries: &[Entry], top: impl Fn(&Entry) -> bool) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        children.entry(entry.parent).or_default().push(entry);
    }
    let mut found = Vec::new();
    let mut open: Vec<&Entry> = entries.iter().filter(|entry| top(entry)).collect();
    while let Some(entry) = open.pop() {
        // Each process has one parent, so none is met twice unless pids were reused between two
        // reads; then `remove` ends the loop.
        open.extend(children.remove(&entry.pid).unwrap_or_default());
        if !entry.zombie {
            found.push(entry.pid);
        }
    }
    found
}

fn processes() -> Result<Vec<Entry>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc =
        rustix::fs::open("/proc", flags, Mode::empty()).map_err(host::system("read /proc"))?;
    let listed = Dir::read_from(&proc).map_err(host::system("read /proc"))?;
    let mut entries = Vec::new();
    for item in listed {
        let item = item.map_err(host::system("read /proc"))?;
        let name = item.file_name().to_string_lossy();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            // A process that has ended since has no file any more.
            let stat = host::read_file(&format!("/proc/{name}/stat"));
            entries.extend(stat.and_then(|stat| parse(&String::from_utf8_lossy(&stat))));
        }
    }
    Ok(entries)
}

/// The name in brackets may hold anything, brackets and spaces included.
fn parse(stat: &str) -> Option<Entry> {
    let (pid, rest) = stat.split_once(' ')?;
    let mut fields = rest.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Entry { pid: pid.parse().ok()?, parent, session, zombie: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_confuse() {
        let entry = parse("12 (a) Z 1 (b) S 7 12 11 0 -1 4194304");
        assert_eq!(entry, Some(Entry { pid: 12, parent: 7, session: 11, zombie: false }));
        assert_eq!(parse("12 (x"), None);
    }

    #[test]
    fn everything_below_is_found_once() {
        let entry = |pid, parent, zombie| Entry { pid, parent, session: pid, zombie };
        let all = [entry(2, 1, false), entry(3, 2, true), entry(4, 3, false), entry(9, 8, false)];
        let mut found = below(&all, |entry| entry.parent == 1);
        found.sort_unstable();
        assert_eq!(found, [2, 4]);
    }

    #[test]
    fn this_process_is_listed() {
        let this = rustix::process::getpid().as_raw_nonzero().get();
        let all = processes().expect("because /proc is mounted");
        assert!(all.iter().any(|entry| entry.pid == this));
    }
}
