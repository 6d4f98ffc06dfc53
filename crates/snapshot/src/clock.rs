//! Which files are too young to be trusted by their ctime.

use rootfs::Timestamp;
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// The moment a scan began, by the clock that the kernel takes ctimes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanStart {
    start: i128,
    tick: i128,
    /// How far that clock is ahead of the one nobody can set.
    ahead: i128,
}

const SECOND: i128 = 1_000_000_000;
/// Two clocks are read at the same time if it takes no longer than this.
const AT_ONCE: i128 = 1_000_000;
/// How often that is tried on a busy machine.
const TRIES: usize = 16;

impl ScanStart {
    /// Asks the kernel, and not the caller's idea of time: the question is what the kernel's next
    /// ctime could be.
    pub(crate) fn now() -> ScanStart {
        let mut tries = 0;
        let (start, since_boot) = loop {
            let before = read(ClockId::Boottime);
            let start = read(ClockId::Realtime);
            tries += 1;
            if read(ClockId::Boottime) - before < AT_ONCE || tries == TRIES {
                break (start, before);
            }
        };
        let tick = clock_getres(ClockId::RealtimeCoarse);
        ScanStart {
            start,
            // A reading of the coarse clock is up to one tick old, and so is a ctime.
            tick: 2 * (i128::from(tick.tv_sec) * SECOND + i128::from(tick.tv_nsec)),
            ahead: start - since_boot,
        }
    }

    /// Whether a file with this ctime could change again and keep it. A ctime in the future
    /// (somebody set the clock back) is young too.
    pub(crate) fn is_recent(&self, ctime: Timestamp) -> bool {
        // A whole second: most likely a file system that knows no smaller unit (some know two).
        let granularity = if ctime.nanos == 0 { 2 * SECOND } else { self.tick };
        nanos(ctime) + granularity >= self.start
    }

    /// Whether a file that changed just now can have this ctime: by a clock of another machine it
    /// would not.
    pub(crate) fn is_now(&self, ctime: Timestamp) -> bool {
        self.is_recent(ctime) && nanos(ctime) <= read(ClockId::Realtime)
    }

    /// The earliest moment that the clock can have shown since `before`: earlier than that if it
    /// was set back meanwhile, and then ctimes can have come again that were used up before.
    pub(crate) fn earliest_since(&self, before: &ScanStart) -> ScanStart {
        let set_back = before.ahead - self.ahead;
        // Less than this is the time it took to read the clocks.
        let set_back = if set_back > 2 * AT_ONCE { set_back } else { 0 };
        ScanStart { start: before.start - set_back, ..*before }
    }
}

fn nanos(time: Timestamp) -> i128 {
    i128::from(time.secs) * SECOND + i128::from(time.nanos)
}

fn read(clock: ClockId) -> i128 {
    let now = clock_gettime(clock);
    i128::from(now.tv_sec) * SECOND + i128::from(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: i128 = 8_000_000;

    fn start() -> ScanStart {
        ScanStart { start: 1_000 * SECOND + 500, tick: TICK, ahead: 900 * SECOND }
    }

    fn timestamp(nanos: i128) -> Timestamp {
        Timestamp {
            secs: i64::try_from(nanos / SECOND).expect("because it is small"),
            nanos: u32::try_from(nanos % SECOND).expect("because it is below a second"),
        }
    }

    fn check(before_start: i128, recent: bool) {
        let ctime = timestamp(start().start - before_start);
        assert_eq!(start().is_recent(ctime), recent, "{before_start} ns before the start");
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

    /// `moved` is how far the clock was set between two scans.
    fn check_set(moved: i128, before_start: i128, repeatable: bool) {
        let later = ScanStart { start: 2_000 * SECOND, ahead: start().ahead + moved, ..start() };
        let ctime = timestamp(start().start - before_start);
        let earliest = later.earliest_since(&start());
        assert_eq!(earliest.is_recent(ctime), repeatable, "{moved} ns, {before_start} ns");
    }

    #[test]
    fn a_clock_set_back_makes_older_files_recent() {
        check_set(0, TICK + 1, false);
        check_set(-1000, TICK + 1, false);
        check_set(-5 * SECOND, TICK + 1, true);
        check_set(-5 * SECOND, 5 * SECOND + TICK - 1, true);
        check_set(-5 * SECOND, 5 * SECOND + TICK + 1, false);
        check_set(5 * SECOND, TICK + 1, false);
        check_set(5 * SECOND, TICK - 1, true);
    }

    #[test]
    fn what_is_now_is_between_the_start_and_now() {
        let start = ScanStart::now();
        let now = read(ClockId::Realtime);
        assert!(start.is_now(timestamp(now)));
        assert!(!start.is_now(timestamp(now + 60 * SECOND)), "the clock of another machine");
        assert!(!start.is_now(timestamp(now - 60 * SECOND)), "the clock of another machine");
    }
}
