//! Signals: as a stop handle for the programs, and as they must be for a child.

use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Signal;

use crate::StopHandle;

/// The signals that ask a build to end.
const STOPPING: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// A set of signals as the kernel keeps it per thread.
pub(crate) struct Mask(libc::sigset_t);

/// Makes SIGTERM, SIGINT and SIGHUP wait, until [`watch`] takes them.
///
/// Call it in `main` before any other thread exists: threads inherit it, so that none is
/// interrupted. SIGXFSZ is ignored from here on: a write beyond the limit of a file's size is an
/// error that names the file, and not the end of the program.
pub fn block_stopping() -> Result<(), Errno> {
    // SAFETY: ignoring a signal runs no code of ours; children get all signals as they were made.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    change_mask(libc::SIG_BLOCK, &set_of(&STOPPING)).map(drop)
}

/// Starts a thread that turns the first of the signals into a stop, and ends the program at once
/// on the second one.
///
/// Call it after namespaces were entered, which needs a program with one thread.
pub fn watch(stop: &StopHandle) -> Result<(), Errno> {
    let signals = descriptor_of(&STOPPING)?;
    let stop = stop.clone();
    let work = move || {
        while let Some(signal) = next(&signals) {
            if stop.is_stopped() {
                // SAFETY: `_exit` touches no memory of the program.
                unsafe { libc::_exit(128 + signal) }
            }
            stop.stop_by(signal);
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
}

/// Waits for the next signal of a descriptor; `None` when it is of no use any more.
fn next(signals: &OwnedFd) -> Option<i32> {
    let mut bytes = [0u8; size_of::<libc::signalfd_siginfo>()];
    loop {
        match rustix::io::read(signals, &mut bytes) {
            // The first field is the number.
            Ok(4..) => {
                return Some(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            }
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// A descriptor that delivers signals, which must be blocked. Allocates nothing.
pub(crate) fn descriptor_of(signals: &[Signal]) -> Result<OwnedFd, Errno> {
    let set = set_of(signals);
    // SAFETY: the set is initialised and read before the call returns.
    let fd = unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(crate::child::last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Blocks every signal for this thread; returns what was blocked before.
pub(crate) fn block_all() -> Result<Mask, Errno> {
    let mut all = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set it is given.
    let all = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        all.assume_init()
    };
    change_mask(libc::SIG_SETMASK, &Mask(all))
}

/// Goes back to what was blocked before.
pub(crate) fn restore(mask: &Mask) {
    // It cannot fail with a mask that the kernel gave.
    let _ = change_mask(libc::SIG_SETMASK, mask);
}

/// Every signal as a new program expects it: handled by the kernel, not blocked. Allocates nothing.
pub(crate) fn reset() {
    let mut action: libc::sigaction = {
        let zero = MaybeUninit::zeroed();
        // SAFETY: all fields of the structure are numbers, pointers or options of pointers, for
        // which zero is a value; it stands for the default action without flags.
        unsafe { zero.assume_init() }
    };
    action.sa_sigaction = libc::SIG_DFL;
    for signal in 1..=64 {
        // SAFETY: the structure lives until the call returns. Signals whose action cannot be
        // changed are refused, and need no change.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    restore(&set_of(&[]));
}

fn set_of(signals: &[Signal]) -> Mask {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set, and `sigaddset` is given an initialised one.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
        }
        Mask(set.assume_init())
    }
}

fn change_mask(how: i32, mask: &Mask) -> Result<Mask, Errno> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: the new set is initialised, and the call fills the old one when it succeeds.
    unsafe {
        match libc::pthread_sigmask(how, &raw const mask.0, before.as_mut_ptr()) {
            0 => Ok(Mask(before.assume_init())),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    }
}
