//! Figures as the benches print them, and the baseline of figures that were stored.

use std::fmt;

use anyhow::{Context as _, Result, bail};

/// How much worse a figure may be than its baseline before it is told.
pub(super) const TOLERANCE: f64 = 0.25;

/// One line of a bench: `figure | bench | what | value | reference | ratio | goal | verdict`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) bench: String,
    pub(super) what: String,
    pub(super) value: String,
    pub(super) reference: String,
    pub(super) ratio: String,
    pub(super) goal: String,
    pub(super) verdict: String,
}

/// A cell that does not apply.
const NONE: &str = "-";

impl Figure {
    pub(super) fn parse(line: &str) -> Result<Figure> {
        let cells: Vec<&str> = line.split(" | ").collect();
        let ["figure", bench, what, value, reference, ratio, goal, verdict] = cells[..] else {
            bail!("not a figure");
        };
        let [bench, what, value, reference, ratio, goal, verdict] =
            [bench, what, value, reference, ratio, goal, verdict].map(str::to_owned);
        Ok(Figure { bench, what, value, reference, ratio, goal, verdict })
    }

    pub(super) fn name(&self) -> String {
        format!("{}: {}", self.bench, self.what)
    }

    pub(super) fn is_missed(&self) -> bool {
        self.verdict == "missed"
    }

    /// Aligned, with what it was before.
    pub(super) fn for_a_person(&self, before: Option<&Figure>) -> String {
        let mut text = format!("{:<44} {:>12}", self.what, self.value);
        for (cell, before) in
            [(&self.ratio, ""), (&self.reference, " of "), (&self.goal, "; goal ")]
        {
            if cell != NONE {
                text.push_str(&format!("{before}  {cell}"));
            }
        }
        if self.verdict != NONE {
            text.push_str(&format!(": {}", self.verdict));
        }
        match before {
            Some(before) if before.ratio != NONE => {
                text.push_str(&format!(" (before: {})", before.ratio));
            }
            Some(before) => text.push_str(&format!(" (before: {})", before.value)),
            None => {}
        }
        text
    }

    /// In words, if it is worse than before by more than is tolerated. Ratios are compared where
    /// there are some, since machines differ; values only for memory, which does not depend on them.
    pub(super) fn worse_than(&self, before: &Figure) -> Option<String> {
        let (now, was) = match (self.ratio.parse::<f64>(), before.ratio.parse::<f64>()) {
            (Ok(now), Ok(was)) => (now, was),
            _ => (mebibytes(&self.value)?, mebibytes(&before.value)?),
        };
        let more_is_better = self.value.ends_with("/s");
        let worse = match more_is_better {
            true => now < was / (1.0 + TOLERANCE),
            false => now > was * (1.0 + TOLERANCE),
        };
        worse.then(|| format!("{}: {now} instead of {was}", self.name()))
    }
}

fn mebibytes(value: &str) -> Option<f64> {
    value.strip_suffix(" MiB")?.parse().ok()
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { bench, what, value, reference, ratio, goal, verdict } = self;
        write!(
            f,
            "figure | {bench} | {what} | {value} | {reference} | {ratio} | {goal} | {verdict}"
        )
    }
}

/// Figures with where they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Baseline {
    /// `name: value` of the machine and the programs.
    pub(super) origin: Vec<(String, String)>,
    pub(super) figures: Vec<Figure>,
}

impl Baseline {
    pub(super) fn parse(text: &str) -> Result<Baseline> {
        let mut baseline = Baseline::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if line.starts_with("figure | ") {
                let figure = Figure::parse(line).with_context(|| format!("`{line}`"))?;
                baseline.figures.push(figure);
            } else {
                let (name, value) = line
                    .split_once(": ")
                    .with_context(|| format!("`{line}` is not a baseline's"))?;
                baseline.origin.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(baseline)
    }

    /// The stored figure of the same name.
    pub(super) fn like(&self, figure: &Figure) -> Option<&Figure> {
        self.figures.iter().find(|one| (&one.bench, &one.what) == (&figure.bench, &figure.what))
    }

    /// Takes the figures of the benches that ran instead of those it had of them.
    pub(super) fn replace(&mut self, found: Vec<Figure>) {
        self.figures.retain(|old| found.iter().all(|new| new.bench != old.bench));
        self.figures.extend(found);
        // Stable: within a bench the order is the bench's.
        self.figures.sort_by(|a, b| a.bench.cmp(&b.bench));
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.origin {
            writeln!(f, "{name}: {value}")?;
        }
        for figure in &self.figures {
            writeln!(f, "{figure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
machine: 2 x Example
figure | layer | write | 240 MB/s | 250 MB/s, alone | 0.960 | ratio >= 0.75 | met
figure | scale | write | 30.0 MiB | 29.0 MiB, small | 1.034 | <= 64.0 MiB | met
figure | snapshot | diff | 90.000 ms | 60.000 ms, bare walk | 1.500 | ratio <= 1.5 | met
";

    fn figure(line: &str) -> Figure {
        Figure::parse(line).expect("because the line is a figure")
    }

    #[test]
    fn a_baseline_survives_the_file() {
        let baseline = Baseline::parse(TEXT).expect("because it is one");
        assert_eq!(baseline.to_string(), TEXT);
        assert!(Baseline::parse("figure | too | few\n").is_err());
        assert!(Baseline::parse("nothing\n").is_err());
    }

    #[test]
    fn figures_of_a_bench_that_ran_are_replaced() {
        let mut baseline = Baseline::parse(TEXT).expect("because it is one");
        baseline.replace(vec![figure("figure | layer | new | 1 MB/s | - | - | - | -")]);
        let names: Vec<String> = baseline.figures.iter().map(Figure::name).collect();
        assert_eq!(names, ["layer: new", "scale: write", "snapshot: diff"]);
    }

    #[test]
    fn worse_is_told_beyond_the_tolerance() {
        let baseline = Baseline::parse(TEXT).expect("because it is one");
        let check = |line: &str, worse: bool| {
            let figure = figure(line);
            let before = baseline.like(&figure).expect("because it is in the baseline");
            assert_eq!(figure.worse_than(before).is_some(), worse, "{line}");
        };
        check("figure | layer | write | 200 MB/s | - | 0.800 | - | -", false);
        check("figure | layer | write | 150 MB/s | - | 0.600 | - | -", true);
        check("figure | snapshot | diff | 1.00 s | - | 1.800 | - | -", false);
        check("figure | snapshot | diff | 1.00 s | - | 2.000 | - | -", true);
        check("figure | scale | write | 40.0 MiB | - | - | - | -", true);
    }
}
