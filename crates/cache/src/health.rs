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
        let reason = match direction {
            Direction::Reading => format!("the cache `{name}` cannot be read: {}", error.told()),
            // The words are kaniko's, which people look for.
            Direction::Writing => format!("Error uploading layer to cache: {}", error.told()),
        };
        match error {
            // Asking again does not help, and what holds for one direction may not for the other.
            Error::Registry(error) if error.is_denied() => {
                self.count(&[direction], FAILURES, &reason);
            }
            // A registry that is down is down in both directions.
            Error::Registry(_) => {
                self.count(&[Direction::Reading, Direction::Writing], 1, &reason);
            }
            _ => self.count(&[direction], 1, &reason),
        }
    }

    /// It did not answer in time. That is borne once.
    pub(crate) fn silent(&self, name: &str, waited: Duration) {
        let reason =
            format!("the cache `{name}` cannot be read: no answer in {} s", waited.as_secs_f64());
        self.count(&[Direction::Reading, Direction::Writing], FAILURES, &reason);
    }

    fn count(&self, directions: &[Direction], failures: u32, reason: &str) {
        let mut first = false;
        let mut gave_up = false;
        for direction in directions {
            let line = self.line(*direction);
            // Told of in both directions at once: it is one failure.
            first |= !line.told.swap(true, Ordering::Relaxed);
            let before = line.failures.fetch_add(failures, Ordering::Relaxed);
            gave_up |= before < FAILURES && before + failures >= FAILURES;
        }
        match (first, gave_up) {
            (true, true) => tracing::warn!("{reason}; the cache is not used any more"),
            (true, false) => tracing::warn!("{reason}; the build goes on without"),
            (false, true) => tracing::info!("{reason}; the cache is not used any more"),
            (false, false) => tracing::debug!("{reason}"),
        }
    }
}
