//! Whether a cache is still worth asking, and what a person hears of its failures: one warning.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::error::Error;

/// So many failures in a row, each after the tries that a request has, and a cache is not used any
/// more.
const FAILURES: u32 = 3;

/// What is done with a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Reading,
    Writing,
}

/// How one cache does, in the two directions: one that cannot be written to may be good to read.
#[derive(Debug, Default)]
pub(crate) struct Health {
    reading: Line,
    writing: Line,
}

#[derive(Debug, Default)]
struct Line {
    failures: AtomicU32,
    told: AtomicBool,
}

impl Health {
    fn line(&self, direction: Direction) -> &Line {
        match direction {
            Direction::Reading => &self.reading,
            Direction::Writing => &self.writing,
        }
    }

    /// Whether it is not to be used.
    pub(crate) fn is_off(&self, direction: Direction) -> bool {
        self.line(direction).failures.load(Ordering::Relaxed) >= FAILURES
    }

    /// It did what it was asked for.
    pub(crate) fn good(&self, direction: Direction) {
        if !self.is_off(direction) {
            self.line(direction).failures.store(0, Ordering::Relaxed);
        }
    }

    /// It did not.
    pub(crate) fn failed(&self, name: &str, direction: Direction, error: &Error) {
        let denied = matches!(error, Error::Registry(error) if error.is_denied());
        let reason = error.told();
        if denied {
            // Asking again does not help, and what holds for one direction may not for the other.
            return self.count(name, &[direction], FAILURES, &reason);
        }
        match error {
            // A registry that is down is down in both directions.
            Error::Registry(_) => {
                self.count(name, &[Direction::Reading, Direction::Writing], 1, &reason);
            }
            _ => self.count(name, &[direction], 1, &reason),
        }
    }

    /// It did not answer in time. That is borne once.
    pub(crate) fn silent(&self, name: &str, waited: Duration) {
        let reason = format!("no answer in {} s", waited.as_secs_f64());
        self.count(name, &[Direction::Reading, Direction::Writing], FAILURES, &reason);
    }

    fn count(&self, name: &str, directions: &[Direction], failures: u32, reason: &str) {
        let mut first = false;
        let mut gave_up = false;
        for direction in directions {
            let line = self.line(*direction);
            // Told of in both directions at once: it is one failure.
            first |= !line.told.swap(true, Ordering::Relaxed);
            let before = line.failures.fetch_add(failures, Ordering::Relaxed);
            gave_up |= before < FAILURES && before + failures >= FAILURES;
        }
        let what = match directions {
            [Direction::Reading] => "cannot be read",
            [Direction::Writing] => "cannot be written to",
            _ => "does not work",
        };
        match (first, gave_up) {
            (true, true) => {
                tracing::warn!("the cache `{name}` {what} and is not used any more: {reason}");
            }
            (true, false) => {
                tracing::warn!("the cache `{name}` {what}; the build goes on without: {reason}");
            }
            (false, true) => tracing::info!("the cache `{name}` is not used any more: {reason}"),
            (false, false) => tracing::debug!("the cache `{name}` {what}: {reason}"),
        }
    }
}
