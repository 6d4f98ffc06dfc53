//! [`Figure`]: one result, on one line that both a person and `cargo xtask bench` read.
//!
//! ```text
//! figure | bench | what was measured | value | reference | ratio | goal | verdict
//! ```
//!
//! A cell that does not apply is `-`. The ratio is the value through the reference, so that for a
//! time less is better, and for a rate more is.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench's output is its result")]

use std::fmt;
use std::time::Duration;

/// Something that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// How long it took.
    Time(Duration),
    /// Bytes in a second.
    Rate(f64),
    /// Bytes of memory.
    Memory(u64),
}

impl Measure {
    /// So many bytes in this time.
    #[must_use]
    pub fn rate(bytes: u64, took: Duration) -> Measure {
        Measure::Rate(bytes as f64 / took.as_secs_f64())
    }

    fn number(self) -> f64 {
        match self {
            Measure::Time(time) => time.as_secs_f64(),
            Measure::Rate(rate) => rate,
            Measure::Memory(bytes) => bytes as f64,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Time(time) if time.as_secs_f64() < 1.0 => {
                write!(f, "{:.3} ms", time.as_secs_f64() * 1e3)
            }
            Measure::Time(time) => write!(f, "{:.2} s", time.as_secs_f64()),
            Measure::Rate(rate) => write!(f, "{:.0} MB/s", rate / 1e6),
            Measure::Memory(bytes) => write!(f, "{:.1} MiB", *bytes as f64 / f64::from(1 << 20)),
        }
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The ratio is not above this.
    RatioAtMost(f64),
    /// The ratio is not below this.
    RatioAtLeast(f64),
    /// The value is not above this. Of a time, it holds for a quiet machine.
    AtMost(Measure),
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::RatioAtMost(ratio) => write!(f, "ratio <= {ratio}"),
            Goal::RatioAtLeast(ratio) => write!(f, "ratio >= {ratio}"),
            Goal::AtMost(measure) => write!(f, "<= {measure}"),
        }
    }
}

/// One result of a bench.
#[derive(Clone, Debug)]
pub struct Figure {
    bench: &'static str,
    what: String,
    value: Measure,
    reference: Option<(String, Measure)>,
    goal: Option<Goal>,
}

impl Figure {
    /// What was measured, in few words that stay the same from run to run, and its value.
    #[must_use]
    pub fn new(bench: &'static str, what: impl Into<String>, value: Measure) -> Figure {
        Figure { bench, what: what.into(), value, reference: None, goal: None }
    }

    /// What the value is compared with, measured in the same run.
    #[must_use]
    pub fn against(mut self, what: impl Into<String>, value: Measure) -> Figure {
        self.reference = Some((what.into(), value));
        self
    }

    /// What it should be.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Figure {
        self.goal = Some(goal);
        self
    }

    /// Prints its line.
    pub fn report(&self) {
        println!("{self}");
    }

    fn ratio(&self) -> Option<f64> {
        let (_, reference) = self.reference.as_ref()?;
        Some(self.value.number() / reference.number())
    }

    fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio().unwrap_or(f64::NAN);
        Some(match self.goal? {
            Goal::RatioAtMost(most) => ratio <= most,
            Goal::RatioAtLeast(least) => ratio >= least,
            Goal::AtMost(most) => self.value.number() <= most.number(),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let reference = self.reference.as_ref().map(|(what, value)| format!("{value}, {what}"));
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "-",
        };
        let cells = [
            "figure".to_owned(),
            self.bench.to_owned(),
            self.what.clone(),
            self.value.to_string(),
            or_none(reference),
            or_none(self.ratio().map(|ratio| format!("{ratio:.3}"))),
            or_none(self.goal.map(|goal| goal.to_string())),
            verdict.to_owned(),
        ];
        write!(f, "{}", cells.map(|cell| cell.replace('|', "/")).join(" | "))
    }
}

/// Says something that is no result.
pub fn remark(text: impl fmt::Display) {
    eprintln!("  {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(figure: &Figure, expected: &str) {
        assert_eq!(figure.to_string(), expected);
    }

    #[test]
    fn a_figure_is_one_line() {
        let time = |millis| Measure::Time(Duration::from_millis(millis));
        let diff = Figure::new("snapshot", "no change", time(90));
        check(&diff, "figure | snapshot | no change | 90.000 ms | - | - | - | -");
        let diff = diff.against("bare walk", time(60));
        check(
            &diff.clone().goal(Goal::RatioAtMost(1.5)),
            "figure | snapshot | no change | 90.000 ms | 60.000 ms, bare walk | 1.500 | ratio <= \
             1.5 | met",
        );
        check(
            &diff.goal(Goal::RatioAtLeast(2.0)),
            "figure | snapshot | no change | 90.000 ms | 60.000 ms, bare walk | 1.500 | ratio >= \
             2 | missed",
        );
        let memory = Figure::new("scale", "a | b", Measure::Memory(65 << 20));
        check(
            &memory.goal(Goal::AtMost(Measure::Memory(64 << 20))),
            "figure | scale | a / b | 65.0 MiB | - | - | <= 64.0 MiB | missed",
        );
        let rate = Measure::rate(3_000_000, Duration::from_millis(1500));
        check(&Figure::new("a", "b", rate), "figure | a | b | 2 MB/s | - | - | - | -");
    }
}
