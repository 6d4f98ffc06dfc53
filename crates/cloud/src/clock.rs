//! The time of day, from one reading of the clock: signatures carry it, and a build may take hours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A clock that was set once.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Since 1970.
    at_start: i64,
    started: Instant,
}

impl Clock {
    /// It is `now`.
    pub(crate) fn starting(now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_start = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self { at_start, started: Instant::now() }
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        let passed = i64::try_from(self.started.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.at_start.saturating_add(passed)
    }

    /// How long it is until a moment; nothing if it has passed.
    pub(crate) fn until(&self, seconds: i64) -> Duration {
        let left = seconds.saturating_sub(self.seconds());
        Duration::from_secs(u64::try_from(left).unwrap_or(0))
    }
}
