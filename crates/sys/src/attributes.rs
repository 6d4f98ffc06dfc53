//! Attributes of the running program that keep a build step from looking into it.

use rustix::io::Errno;
use rustix::process::DumpableBehavior;

/// Makes memory, environment and descriptors of this program unreadable for a step that runs as
/// the same user beside it: `/proc/PID/{mem,environ,fd,root}` and ptrace are refused.
pub fn hide_memory() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Whether [`hide_memory`] holds. The kernel may undo it when the program changes who it is.
#[must_use]
pub fn memory_is_hidden() -> bool {
    rustix::process::dumpable_behavior() == Ok(DumpableBehavior::NotDumpable)
}

/// Runs `work` with the memory as readable as that of any program, and hides it again if it was.
///
/// While it is hidden, the files in `/proc/PID` belong to root, and an ordinary user cannot write
/// the id map of a namespace of its own.
pub(crate) fn with_visible_memory<T>(work: impl FnOnce() -> T) -> T {
    let hidden = memory_is_hidden();
    if hidden {
        // If it fails, so will the work, and that is told.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
    let outcome = work();
    if hidden {
        let _ = hide_memory();
    }
    outcome
}

/// Makes processes that lose their parent children of this one, so that none of them is lost.
pub fn become_subreaper() -> Result<(), Errno> {
    // Any pid says "on"; the kernel looks only at whether it is zero.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
}

/// Whether this process was started with `no_new_privs`, under which setuid programs such as
/// `newuidmap` do not get their rights.
#[must_use]
pub fn no_new_privileges() -> bool {
    rustix::thread::no_new_privs().unwrap_or(false)
}
