//! When a failed request is tried again.
//!
//! One rule for all: transient failures are tried again with growing, jittered pauses, until
//! `tries` requests in a row failed without progress, or nothing moved forward for `patience`.
//! Silence is dear, so only `silences` of them are borne. A server's `Retry-After` is obeyed as far as patience reaches; beyond, the failure is final at
//! once, since sleeping an hour helps nobody.

use std::future::Future;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;

/// The rule.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Requests in a row that may fail without progress, the first included. At least 1.
    pub tries: u32,
    /// The first pause; each further one doubles.
    pub first_pause: Duration,
    /// No pause is longer, unless the server asks for it.
    pub longest_pause: Duration,
    /// Requests that may end by an idle time-out without progress between them.
    pub silences: u32,
    /// How long an object may go without progress, pauses and waiting included.
    pub patience: Duration,
    /// Where the jitter starts: parallel clients shall not knock at the same moment.
    pub seed: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 6,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(8),
            silences: 3,
            patience: Duration::from_secs(60),
            seed: 0,
        }
    }
}

/// A failure that knows whether asking again may help.
pub trait Retryable {
    /// Whether the same request may succeed later.
    fn is_transient(&self) -> bool;
    /// How long the server asked to wait.
    fn retry_after(&self) -> Option<Duration>;
    /// Whether it cost an idle time-out.
    fn is_silence(&self) -> bool {
        false
    }
}

impl RetryPolicy {
    /// Starts counting for one object, named for the jitter only.
    pub fn start(&self, object: &str) -> Backoff {
        let mut state = self.seed;
        for byte in object.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        Backoff { policy: *self, failures: 0, silences: 0, last_progress: Instant::now(), state }
    }
}

/// The failures of one object so far.
#[derive(Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    failures: u32,
    silences: u32,
    last_progress: Instant,
    state: u64,
}

impl Backoff {
    /// Something moved forward: failures before this moment are forgiven.
    pub fn progress(&mut self) {
        self.failures = 0;
        self.silences = 0;
        self.last_progress = Instant::now();
    }

    /// Failures since the last progress.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts one failure and says how long to pause before the next try; `None` to give up.
    pub fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= self.policy.tries {
            return None;
        }
        let doubled = self.policy.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        let pause = doubled.min(self.policy.longest_pause);
        // Between three quarters and five quarters.
        self.state = mix(self.state.wrapping_add(1));
        let jitter = (self.state >> 40) as f64 / f64::from(1u32 << 24);
        let pause = pause.mul_f64(0.75 + jitter / 2.0).max(asked.unwrap_or_default());
        let end = self.last_progress.elapsed().saturating_add(pause);
        (end <= self.policy.patience).then_some(pause)
    }

    /// Counts one failure, waits, and hands it back when no try is left or none would help.
    pub async fn absorb<E: Retryable>(&mut self, error: E) -> Result<(), E> {
        if !error.is_transient() {
            return Err(error);
        }
        self.silences += u32::from(error.is_silence());
        if self.silences >= self.policy.silences {
            return Err(error);
        }
        match self.pause(error.retry_after()) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(error),
        }
    }
}

/// Runs `attempt` until it succeeds, fails for good, or the policy gives up.
pub async fn retry<T, E, Fut>(
    policy: &RetryPolicy,
    object: &str,
    mut attempt: impl FnMut() -> Fut,
) -> Result<T, E>
where
    E: Retryable,
    Fut: Future<Output = Result<T, E>>,
{
    let mut backoff = policy.start(object);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => backoff.absorb(error).await?,
        }
    }
}

/// Whether a status says "later", not "no".
pub fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 499 | 500 | 502..=504 | 520..=524)
}

/// What `Retry-After` asks for: seconds, or a date, counted from the answer's own `Date` so that
/// no clock of ours matters.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = crate::text::http_date(text)?;
    let now = crate::text::http_date(headers.get(header::DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0)))
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: RetryPolicy, asked: Option<u64>, expected: usize) {
        let mut backoff = policy.start("object");
        let asked = asked.map(Duration::from_secs);
        let mut pauses = Vec::new();
        while let Some(pause) = backoff.pause(asked) {
            pauses.push(pause);
        }
        assert_eq!(pauses.len(), expected, "{pauses:?}");
        for (pause, step) in pauses.iter().zip(0u32..) {
            let base = policy.first_pause.saturating_mul(1 << step).min(policy.longest_pause);
            let floor = asked.unwrap_or_default().max(base.mul_f64(0.74));
            assert!(*pause >= floor, "{pause:?} of {base:?}");
            assert!(*pause <= asked.unwrap_or_default().max(base.mul_f64(1.26)), "{pause:?}");
        }
    }

    #[test]
    fn tries_and_patience_bound_the_pauses() {
        let policy = RetryPolicy::default();
        check(policy, None, 5);
        check(RetryPolicy { tries: 1, ..policy }, None, 0);
        check(RetryPolicy { tries: 10, ..policy }, None, 9);
        check(RetryPolicy { patience: Duration::ZERO, ..policy }, None, 0);
        check(policy, Some(2), 5);
        // An hour is beyond patience: give up at once.
        check(policy, Some(3600), 0);
    }

    #[test]
    fn progress_forgives() {
        let mut backoff = RetryPolicy { tries: 2, ..RetryPolicy::default() }.start("object");
        assert!(backoff.pause(None).is_some());
        backoff.progress();
        assert!(backoff.pause(None).is_some());
        assert!(backoff.pause(None).is_none());
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let check = |value: &'static str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().expect("a value"));
            headers.insert(header::RETRY_AFTER, value.parse().expect("a value"));
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs));
        };
        check("3", Some(3));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check("Sun, 06 Nov 1994 08:48:37 GMT", Some(0));
        check("soon", None);
        check("-1", None);
    }
}
