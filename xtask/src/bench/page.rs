//! `docs/benchmarks.md`, made of the baseline.

use std::fmt::Write as _;

use super::figure::{Baseline, Figure};

const HEAD: &str = "\
# Benchmarks

Generated from `benches/baseline.txt` by `cargo xtask bench --save`; do not edit.

`cargo xtask bench [FILTER]` runs the benches of `benches/` and compares them with these figures. Every
time stands beside a reference that was measured in the same run, in turns; the ratio is what compares
across machines. Times are medians. A goal in seconds is one for a quiet machine. With `--check` a goal
that is missed fails the command.
";

/// The page.
pub(super) fn text(baseline: &Baseline) -> String {
    let mut text = HEAD.to_owned();
    let _ = write!(text, "\nMeasured on:\n\n");
    for (name, value) in &baseline.origin {
        let _ = writeln!(text, "- {name}: {value}");
    }
    let mut bench = "";
    for figure in &baseline.figures {
        if figure.bench != bench {
            bench = &figure.bench;
            let _ = write!(text, "\n## {bench}\n\n{}\n\n", about(bench));
            text.push_str(
                "| what | value | reference | ratio | goal | |\n|---|--:|---|--:|---|---|\n",
            );
        }
        let _ = writeln!(text, "{}", row(figure));
    }
    text
}

/// What a bench compares, for readers who do not know it.
fn about(bench: &str) -> &'static str {
    match bench {
        "ignore" => {
            "A build context of a million paths is walked under 200 `.dockerignore` patterns."
        }
        "layer" => {
            "A layer is written from a tree of 2 GiB, and applied; the rate is that of the files' bytes."
        }
        "parse" => "A Dockerfile of 20,000 instructions is parsed.",
        "scale" => "Peak resident memory, each figure that of a process which does nothing else.",
        "snapshot" => {
            "A tree of 100,000 files is looked at before and after a step that changes nothing."
        }
        "stages" => "The release executor builds two stages that do not read each other.",
        "steps" => {
            "A root of 100,000 files: what `RUN true` costs on the rung `namespaces`, and what changing \
             the stage costs in a pod, where stages take turns in `/`."
        }
        "transfer" => {
            "An image of one GiB to Debian's docker-registry on loopback and back, by our client and by \
             skopeo; and the peak resident memory that a blob of 10 GiB takes."
        }
        "warm" => {
            "The release executor builds ten steps with 100,000 small files, with a layer cache in its \
             registry: the first time, again, and with the last step edited, each in a new state \
             directory. On a tmpfs: a disk may make files slowly where many were removed."
        }
        "warmer" => {
            "An image of 2 GiB in four layers from Debian's docker-registry on loopback to an OCI \
             layout: by the release warmer into an empty cache, and by skopeo."
        }
        "whole" => {
            "The release executor on the rung `namespaces`: a COPY of 100,000 small files (400 MB on \
             disk), five trivial RUNs, and the push to a registry on loopback."
        }
        _ => "See the bench's first lines.",
    }
}

fn row(figure: &Figure) -> String {
    let Figure { bench: _, what, value, reference, ratio, goal, verdict } = figure;
    let cells = [what, value, reference, ratio, goal, verdict];
    format!("| {} |", cells.map(|cell| if cell == "-" { "" } else { cell }).join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_one_table_per_bench() {
        let baseline = Baseline::parse(
            "machine: 2 x Example\nfigure | a | x | 1 ms | - | - | - | -\nfigure | a | y | 2 ms | 1 \
             ms, z | 2.000 | ratio <= 3 | met\nfigure | b | x | 1 ms | - | - | - | -\n",
        );
        let text = text(&baseline.expect("because it is a baseline"));
        assert_eq!(text.matches("\n## ").count(), 2);
        assert!(text.contains("- machine: 2 x Example\n"));
        assert!(text.contains("\n| y | 2 ms | 1 ms, z | 2.000 | ratio <= 3 | met |\n"));
        assert!(text.contains("\n| x | 1 ms |  |  |  |  |\n"));
    }
}
