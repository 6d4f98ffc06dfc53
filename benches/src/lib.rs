//! What the benches share: turns, medians, peak memory, content to work on, and one form in which
//! they all report.
//!
//! A bench compares: it measures what we do and a reference in the same run, in turns, so that what
//! else the machine does hits both alike, and reports the ratio as a [`Figure`]. Everything else it
//! has to say is a [`remark`]. `cargo xtask bench` runs them, compares them with the stored
//! baseline, and writes `docs/benchmarks.md`. *Does not* judge: a goal that is missed is told, and
//! nothing fails.
//!
//! Read [`Figure`] first, then [`timing::medians`].
#![forbid(unsafe_code)]

pub mod content;
pub mod figure;
pub mod images;
pub mod memory;
pub mod programs;
pub mod timing;
pub mod walk;

pub use figure::{Figure, Goal, Measure, remark};

/// The first argument that is a number, else `usual`: how much a bench works on. (cargo adds
/// arguments of its own.)
#[must_use]
pub fn size_argument(usual: usize) -> usize {
    std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(usual)
}

/// What follows an argument of this name.
#[must_use]
pub fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|word| word != name).nth(1)
}

/// How many threads the machine has.
#[must_use]
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
