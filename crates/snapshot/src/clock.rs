//! Which files are too young to be trusted by their ctime.

use rootfs::Timestamp;
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// The moment a scan began, by the clock that the kernel takes ctimes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanStart {
    start: i128,
    tick: i128,
}

const SECOND: i128 = 1_000_000_000;

impl ScanStart {
    /// Asks the kernel, and not the caller's idea of time: the question is what the kernel's next
    /// ctime could be.
    pub(crate) fn now() -> ScanStart {
        let nanos = |secs: i64, nanos: i64| i128::from(secs) * SECOND + i128::from(nanos);
        let now = clock_gettime(ClockId::Realtime);
        let tick = clock_getres(ClockId::RealtimeCoarse);
        ScanStart {
            start: nanos(now.tv_sec, now.tv_nsec),
            // A reading of the coarse clock is up to one tick old, and so is a ctime.
            tick: 2 * nanos(tick.tv_sec, tick.tv_nsec),
        }
    }

    /// Whether a file with this ctime could change again and keep it. A ctime in the future
    /// (somebody set the clock back) is young too.
    pub(crate) fn is_recent(&self, ctime: Timestamp) -> bool {
        // A whole second: most likely a file system that knows no smaller unit (some know two).
        let granularity = if ctime.nanos == 0 { 2 * SECOND } else { self.tick };
        let ctime = i128::from(ctime.secs) * SECOND + i128::from(ctime.nanos);
        ctime + granularity >= self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before_start: i128, recent: bool) {
        let start = ScanStart { start: 1_000 * SECOND + 500, tick: 8_000_000 };
        let ctime = start.start - before_start;
        let ctime = Timestamp {
            secs: i64::try_from(ctime / SECOND).expect("because it is small"),
            nanos: u32::try_from(ctime % SECOND).expect("because it is below a second"),
        };
        assert_eq!(start.is_recent(ctime), recent, "{before_start} ns before the start");
    }

    #[test]
    fn only_the_last_ticks_are_recent() {
        check(0, true);
        check(-10 * SECOND, true);
        check(7_999_999, true);
        check(8_000_001, false);
        check(10 * SECOND, false);
        // 500 ns before the start is a whole second.
        check(500, true);
        check(SECOND + 500, true);
        check(2 * SECOND + 500, false);
    }
}
