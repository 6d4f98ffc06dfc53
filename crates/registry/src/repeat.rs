//! Doing a whole operation once more after it failed, because somebody asked for it.
//!
//! Below it every request has its tries already ([`crate::RetryPolicy`]); this is for what they do not
//! cure: a registry that is being restarted, or refuses for a while.

use std::future::Future;
use std::time::Duration;

use crate::{Error, Result};

/// How often, and after which pauses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeat {
    /// How often an operation is done again.
    pub times: u32,
    /// The first pause.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// What each further pause is longer by.
    pub factor: f64,
}

impl Default for Repeat {
    fn default() -> Self {
        let (first_pause, longest_pause) = (Duration::from_secs(1), Duration::from_secs(30));
        Self { times: 0, first_pause, longest_pause, factor: 2.0 }
    }
}

impl Repeat {
    /// The pause after so many failures.
    fn pause(&self, failures: u32) -> Duration {
        let factor = self.factor.max(1.0).powi(i32::try_from(failures.min(64)).unwrap_or(64));
        let pause = Duration::try_from_secs_f64(self.first_pause.as_secs_f64() * factor);
        pause.unwrap_or(self.longest_pause).min(self.longest_pause)
    }

    /// Runs the operation until it succeeds or fails once too often; `worth` says whether doing it
    /// again may help.
    pub(crate) async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        worth: impl Fn(&Error) -> bool,
        mut operation: impl FnMut() -> F,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if self.times == 0 || !worth(&error) {
                return Err(error);
            }
            if failures >= self.times {
                return Err(Error::GaveUp { attempts: self.times, source: Box::new(error) });
            }
            let pause = self.pause(failures);
            failures += 1;
            let told = error.told();
            tracing::warn!("Retrying operation after {} due to {told}", shown(pause));
            tokio::time::sleep(pause).await;
        }
    }
}

/// A pause as Go prints it: `1s`, `1.5s`, `250ms`.
fn shown(pause: Duration) -> String {
    match pause {
        pause if pause < Duration::from_secs(1) => format!("{}ms", pause.as_millis()),
        pause => format!("{}s", pause.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_as_kanikos() {
        let check = |repeat: Repeat, expected: &[&str]| {
            let found: Vec<String> = (0..5).map(|failures| shown(repeat.pause(failures))).collect();
            assert_eq!(found, expected);
        };
        check(Repeat::default(), &["1s", "2s", "4s", "8s", "16s"]);
        let (first_pause, longest_pause) = (Duration::from_millis(500), Duration::from_secs(2));
        let quick = Repeat { times: 1, first_pause, longest_pause, factor: 1.5 };
        check(quick, &["500ms", "750ms", "1.125s", "1.6875s", "2s"]);
        check(Repeat { factor: 1000.0, ..Repeat::default() }, &["1s", "30s", "30s", "30s", "30s"]);
        check(Repeat { factor: f64::NAN, ..quick }, &["500ms"; 5]);
    }
}
