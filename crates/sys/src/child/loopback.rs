//! Brings up the loopback interface of a new network namespace. Allocates nothing.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// What `ip link set lo up` does. Needs CAP_NET_ADMIN over the namespace.
pub(super) fn raise() -> Result<(), Errno> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(super::last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut request: libc::ifreq = {
        let zero = MaybeUninit::zeroed();
        // SAFETY: all fields are numbers, arrays of them or pointers, for which zero is a value.
        unsafe { zero.assume_init() }
    };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    let flags = libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the structure is the one this request takes, and lives until the call returns.
    let outcome = unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request)
    };
    if outcome == 0 { Ok(()) } else { Err(super::last_errno()) }
}
