//! The two processes themselves. Everything below `start` runs in a copy of the builder in which
//! only the forking thread is left: no allocation, no locks, no panics, and no way back.

use std::os::fd::{AsFd, BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use super::action::carry_out_all;
use super::report::{self, Phase, Report};
use super::{Pointers, Spec};

/// What the copies take over: all of it made before the fork.
pub(super) struct Own<'a> {
    pub(super) spec: &'a Spec,
    pub(super) program: Option<&'a Pointers<'a>>,
    pub(super) stdio: [RawFd; 3],
    pub(super) report: BorrowedFd<'a>,
    pub(super) control: BorrowedFd<'a>,
    /// The descriptors above, sorted; all others are closed.
    pub(super) kept: [RawFd; 5],
}

/// Forks the supervisor. All signals are blocked.
pub(super) fn start(own: &Own<'_>) -> Result<Pid, Errno> {
    match fork(own.spec.namespaces)? {
        Some(pid) => Ok(pid),
        None => supervise(own),
    }
}

/// `fork` into new namespaces: the child's pid in the parent, `None` in the child.
fn fork(namespaces: UnshareFlags) -> Result<Option<Pid>, Errno> {
    let flags = namespaces.bits() | libc::SIGCHLD as u32;
    // SAFETY: without CLONE_VM the child gets a copy of the memory, its stack included, so no
    // stack is passed. In the child only the code of this file runs, which keeps to what is
    // allowed after a fork of a program with threads. libc's own fork is no choice: it cannot
    // make namespaces, and it runs handlers that take locks.
    let outcome = unsafe { libc::syscall(libc::SYS_clone, libc::c_ulong::from(flags), 0, 0, 0, 0) };
    match i32::try_from(outcome) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(super::last_errno()),
    }
}

/// Ends this process at once, without running anything of the builder.
fn leave(status: i32) -> ! {
    // SAFETY: `_exit` touches no memory of the program.
    unsafe { libc::_exit(status) }
}

fn supervise(own: &Own<'_>) -> ! {
    close_all_but(&own.kept);
    if let Err((index, errno)) = carry_out_all(&own.spec.surroundings) {
        report::write(own.report, Report::Failed(Phase::Surroundings, index, errno));
        leave(1);
    }
    match watch_over_program(own) {
        Ok(never) => match never {},
        Err(errno) => {
            report::write(own.report, Report::NotStarted(errno));
            leave(1)
        }
    }
}

fn watch_over_program(own: &Own<'_>) -> Result<std::convert::Infallible, Errno> {
    let child_ended = crate::signals::descriptor_of(&[Signal::CHILD])?;
    let program = match fork(UnshareFlags::empty())? {
        Some(pid) => pid,
        None => become_program(own),
    };
    for fd in own.stdio {
        close(fd);
    }
    let alone = own.spec.namespaces.contains(UnshareFlags::NEWPID);
    let mut ended = false;
    loop {
        let mut entries = [
            PollFd::new(&child_ended, PollFlags::IN),
            PollFd::from_borrowed_fd(own.control, PollFlags::IN),
        ];
        match rustix::event::poll(&mut entries, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let (reap, obey) = (!entries[0].revents().is_empty(), !entries[1].revents().is_empty());
        if obey && !pass_on(own.control, program, ended) {
            leave(1);
        }
        if reap {
            drain(child_ended.as_fd());
            match reap_all(own.report, program, &mut ended) {
                // The kernel now kills what is left in the namespace and waits for its end.
                _ if alone && ended => leave(0),
                // Nobody is left, nor can come: orphans below were this process's children.
                Reaped::Last => leave(0),
                Reaped::Some => {}
            }
        }
    }
}

/// Passes one signal on; false when the builder is gone, after the program was killed.
fn pass_on(control: BorrowedFd<'_>, program: Pid, ended: bool) -> bool {
    let mut byte = [0u8; 1];
    let known = match rustix::io::read(control, &mut byte) {
        Ok(1..) => true,
        Err(Errno::INTR | Errno::AGAIN) => return true,
        Ok(0) | Err(_) => false,
    };
    let number = if known { i32::from(byte[0]) } else { libc::SIGKILL };
    if !ended {
        // SAFETY: `kill` takes numbers only. The program is not reaped, so its pid is its own.
        // It leads a process group once it has made its session; before that it is alone.
        unsafe {
            libc::kill(-program.as_raw_nonzero().get(), number);
            libc::kill(program.as_raw_nonzero().get(), number);
        }
    }
    known
}

enum Reaped {
    Some,
    Last,
}

fn reap_all(to: BorrowedFd<'_>, program: Pid, ended: &mut bool) -> Reaped {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => {
                *ended = true;
                report::write(to, end_of(status));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Reaped::Some,
            Err(_) => return Reaped::Last,
        }
    }
}

fn end_of(status: WaitStatus) -> Report {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Report::Exited(code),
        (None, Some(signal)) => Report::Killed(signal),
        (None, None) => Report::Killed(libc::SIGKILL),
    }
}

fn drain(signals: BorrowedFd<'_>) {
    let mut buffer = [0u8; 512];
    // What it says is of no interest: children are asked for one by one.
    let _ = rustix::io::read(signals, &mut buffer);
}

fn become_program(own: &Own<'_>) -> ! {
    crate::signals::reset();
    if let Err((index, errno)) = carry_out_all(&own.spec.preparation) {
        report::write(own.report, Report::Failed(Phase::Preparation, index, errno));
        leave(1);
    }
    for (target, fd) in own.stdio.iter().enumerate() {
        // SAFETY: both are numbers; the source is one of this process's own descriptors, all of
        // which lie above the targets.
        if unsafe { libc::dup2(*fd, target as RawFd) } < 0 {
            report::write(own.report, Report::NotStarted(super::last_errno()));
            leave(1);
        }
    }
    let Some(program) = own.program else { leave(0) };
    report::write(own.report, Report::NotExecuted(execute(program)));
    leave(127)
}

/// Tries the paths as `execvp` does; returns only when none could be executed.
fn execute(program: &Pointers<'_>) -> Errno {
    let mut refused = None;
    for path in program.paths {
        // SAFETY: the path ends in NUL, both arrays end in a null pointer, and everything they
        // point to was made before the fork and lives on in the copy.
        unsafe { libc::execve(path.as_ptr(), program.argv.as_ptr(), program.env.as_ptr()) };
        match super::last_errno() {
            Errno::NOENT | Errno::NOTDIR => {}
            errno @ (Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => {
                refused = refused.or(Some(errno));
            }
            errno => return errno,
        }
    }
    refused.unwrap_or(Errno::NOENT)
}

/// Closes every descriptor above the standard ones that is not in the sorted list.
fn close_all_but(kept: &[RawFd]) {
    let mut first = 3;
    for fd in kept {
        close_range(first, *fd);
        first = *fd + 1;
    }
    close_range(first, RawFd::MAX);
}

/// Closes the descriptors from `first` to before `end`.
fn close_range(first: RawFd, end: RawFd) {
    if first >= end {
        return;
    }
    // SAFETY: the call takes numbers only, and nothing of this process uses what it closes.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
    if outcome != 0 {
        // Before Linux 5.9, or refused by a filter that does not know it. No descriptor is above
        // the limit, unless the limit was lowered after it was opened.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.and_then(|limit| RawFd::try_from(limit).ok()).unwrap_or(1 << 20);
        for fd in first..end.min(limit) {
            close(fd);
        }
    }
}

fn close(fd: RawFd) {
    // SAFETY: nothing of this process uses the descriptor any more; that it may not be open is no
    // error here.
    unsafe { libc::close(fd) };
}
