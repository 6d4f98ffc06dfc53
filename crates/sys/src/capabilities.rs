//! Capabilities: what this process may do, and what a build step may do.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What Docker leaves to a container, and so what the steps of a build expect to have.
pub const DOCKER_DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

pub use rustix::thread::CapabilitySet as Capabilities;

/// The capabilities that count for this thread's next system call.
#[must_use]
pub fn effective() -> CapabilitySet {
    rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Gives up everything but `keep`, for good: also what a program run later could gain.
///
/// Allocates nothing, so it may run between fork and exec.
pub(crate) fn limit_to(keep: CapabilitySet) -> Result<(), Errno> {
    // Not every kernel knows ambient capabilities; where it does not, there are none to clear.
    let _ = rustix::thread::clear_ambient_capability_set();
    let held = rustix::thread::capabilities(None)?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            if keep.contains(capability) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // The kernel knows no capability of this number, nor of any higher one.
                Err(Errno::INVAL) => break,
                outcome => outcome?,
            }
        }
    }
    let kept = held.permitted.intersection(keep);
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_leaves_fourteen() {
        assert_eq!(DOCKER_DEFAULT.bits().count_ones(), 14);
        assert!(!DOCKER_DEFAULT.contains(CapabilitySet::SYS_ADMIN));
    }
}
