//! Entering a user and mount namespace with the whole program, and trying things in a copy first.
//!
//! Both need a program with one thread: the kernel moves only such a program into a user
//! namespace, and only its copy may go on running arbitrary code.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::id_map::Maps;

/// Why a namespace could not be entered, or an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program has more than one thread.
    #[error("the program has more than one thread")]
    Threads,
    /// The kernel refused a call.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// What was tried in the copy failed there, with this message.
    #[error("{0}")]
    Failed(String),
}

fn system(action: &'static str) -> impl FnOnce(Errno) -> Error {
    move |source| Error::System { action, source }
}

/// Whether this program has one thread only; no, when that cannot be told.
#[must_use]
pub fn single_threaded() -> bool {
    // SAFETY: asking for a thread group of its own changes nothing: either the program has one
    // thread and it is granted, or it is refused.
    match unsafe { rustix::thread::unshare_unsafe(UnshareFlags::from_bits_retain(CLONE_THREAD)) } {
        Ok(()) => true,
        Err(Errno::INVAL) => false,
        // Refused by a filter, whatever is asked for.
        Err(_) => threads_listed() == Some(1),
    }
}

const CLONE_THREAD: u32 = libc::CLONE_THREAD as u32;

fn threads_listed() -> Option<usize> {
    let status = crate::id_map::read_small("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    line.trim().parse().ok()
}

/// Runs `work` in a copy of this program: its effects on the process end with it.
pub fn attempt(work: impl FnOnce() -> Result<(), String>) -> Result<(), Error> {
    let (copy, mut result) = copy(move |mut to| {
        if let Err(message) = work() {
            // Nobody is left to be told of a failure.
            let _ = to.write_all(message.as_bytes());
            return 1;
        }
        0
    })?;
    let message = read_all(&mut result);
    match finish(copy)? {
        0 => Ok(()),
        _ if message.is_empty() => Err(Error::Failed("the attempt ended early".to_owned())),
        _ => Err(Error::Failed(message)),
    }
}

/// Moves the whole program into a user and a mount namespace of its own, in which it is root and
/// ids are mapped as given. There is no way back, so [`attempt`] it first.
pub fn enter_user(maps: &Maps) -> Result<(), Error> {
    crate::attributes::with_visible_memory(|| enter_mapped(maps))
}

fn enter_mapped(maps: &Maps) -> Result<(), Error> {
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
    let this = rustix::process::getpid();
    // The map is written from outside, where the rights to the ids are.
    let go = Rc::new(RefCell::new(Some(File::from(go))));
    let copied = Rc::clone(&go);
    let (copy, mut result) = copy(move |mut to| {
        // With its own end open, the copy would wait for ever for a program that is gone.
        copied.take();
        let mut byte = [0];
        if File::from(wait).read_exact(&mut byte).is_err() {
            return 1;
        }
        if let Err(message) = maps.write(this) {
            let _ = to.write_all(message.as_bytes());
            return 1;
        }
        0
    })?;
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    // SAFETY: the program has one thread (`copy` made sure), so nothing else shares its file
    // system attributes.
    let entered = unsafe { rustix::thread::unshare_unsafe(flags) };
    if let Some(mut go) = go.take().filter(|_| entered.is_ok()) {
        // A copy that is gone is noticed by its status.
        let _ = go.write_all(b"g");
    }
    let message = read_all(&mut result);
    let status = finish(copy)?;
    entered.map_err(system("make a user namespace"))?;
    if status != 0 {
        return Err(Error::Failed(message));
    }
    make_mounts_private()
}

/// Gives the whole program a mount namespace of its own, from which nothing gets out.
pub fn enter_mount() -> Result<(), Error> {
    // SAFETY: the namespace is a thread's own affair, and its file system attributes stop being
    // shared with other threads, of which there are none before the program has started any.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(system("make a mount namespace"))?;
    match make_mounts_private() {
        // In a chroot `/` is no mount point. Steps have namespaces of their own, cut off from the
        // top; only mounts of the builder itself could be seen from outside, and it makes none.
        Err(Error::System { source: Errno::INVAL, .. }) => Ok(()),
        outcome => outcome,
    }
}

fn make_mounts_private() -> Result<(), Error> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change(c"/", private).map_err(system("make the mounts private"))
}

/// Forks. The copy runs `work`, which may write to the file, and ends with the status it returns.
fn copy(work: impl FnOnce(File) -> i32) -> Result<(Pid, File), Error> {
    if !single_threaded() {
        return Err(Error::Threads);
    }
    let (from, to) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
    // SAFETY: the program has one thread, so the copy is whole: no lock is held by a thread that
    // is missing in it, and any code may run there.
    match unsafe { libc::fork() } {
        0 => {
            drop(from);
            // An unwinding panic must not run the rest of the program a second time.
            let status = std::panic::catch_unwind(AssertUnwindSafe(|| work(File::from(to))));
            // SAFETY: `_exit` touches no memory of the program.
            unsafe { libc::_exit(status.unwrap_or(101)) }
        }
        raw => match Pid::from_raw(raw) {
            Some(pid) if raw > 0 => Ok((pid, File::from(from))),
            _ => Err(system("fork")(crate::child::last_errno())),
        },
    }
}

fn read_all(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What could be read is the message; the status tells whether it failed.
    let _ = file.take(64 * 1024).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn finish(pid: Pid) -> Result<i32, Error> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.exit_status().unwrap_or(128)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(system("wait for the attempt")(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_threads_is_not_copied() {
        // The test harness has threads of its own.
        let attempted = attempt(|| Ok(()));
        assert!(matches!(attempted, Err(Error::Threads)), "{attempted:?}");
        assert!(!single_threaded());
    }
}
