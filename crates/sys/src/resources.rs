//! What this program may use: asked once, so that work is cut to size.

use crate::id_map::read_small;

/// The bytes of memory that this program and its children may use: the machine's, or less where a
/// control group sets a limit.
#[must_use]
pub fn memory_limit() -> u64 {
    let machine = rustix::system::sysinfo();
    let unit = u64::from(machine.mem_unit.max(1));
    #[allow(clippy::useless_conversion, reason = "the type depends on the architecture")]
    let total = u64::from(machine.totalram).saturating_mul(unit);
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // "max" is no number, and no limit.
    let limits = files.iter().filter_map(|file| read_small(file).ok()?.trim().parse().ok());
    limits.fold(total, u64::min)
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_some_memory() {
        assert!(super::memory_limit() > 1 << 20);
    }
}
