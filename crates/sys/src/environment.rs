//! The program's own environment block, emptied.
//!
//! `/proc/PID/environ` shows the strings that the kernel put on the first stack, whatever `unsetenv`
//! took from the list of them. So the strings themselves are overwritten.

use std::ffi::{CStr, c_char};

use rustix::io::Errno;

unsafe extern "C" {
    /// The C library's list of variables, ended by a null pointer.
    static mut environ: *mut *mut c_char;
}

/// Overwrites every variable but those named, in the list and in the block that `/proc` shows.
///
/// Call it in `main`, when what is needed has been copied: it is refused once there is a second
/// thread, which might be reading.
pub fn forget_environment(keep: &[&str]) -> Result<(), Errno> {
    if !crate::namespaces::single_threaded() {
        return Err(Errno::BUSY);
    }
    // SAFETY: this is the only thread, so nothing reads or changes the list meanwhile, and Rust's
    // own functions give out copies only. The list is the C library's: pointers to writable strings
    // that end in NUL, with a null pointer at the end; it only becomes shorter. The C library keeps
    // no pointer to a string that it looked up before `main`.
    unsafe {
        let mut from = environ;
        if from.is_null() {
            return Ok(());
        }
        let mut to = from;
        while !(*from).is_null() {
            let entry = *from;
            if is_kept(CStr::from_ptr(entry), keep) {
                *to = entry;
                to = to.add(1);
            } else {
                wipe(entry);
            }
            from = from.add(1);
        }
        *to = std::ptr::null_mut();
    }
    Ok(())
}

fn is_kept(entry: &CStr, keep: &[&str]) -> bool {
    let name = entry.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
    keep.iter().any(|kept| kept.as_bytes() == name)
}

/// # Safety
/// The pointer is to a writable string that ends in NUL and that nobody looks at.
unsafe fn wipe(entry: *mut c_char) {
    let mut at = entry;
    // SAFETY: every byte before the NUL belongs to the string. Volatile, since nothing reads the
    // zeros again.
    unsafe {
        while at.read() != 0 {
            at.write_volatile(0);
            at = at.add(1);
        }
    }
}
