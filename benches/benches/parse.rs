//! Parsing a Dockerfile of 20,000 instructions, beside counting the lines of the same bytes.
//!
//! The goal is under 100 ms on a quiet machine; the ratio to the reference is what compares across
//! machines.

use std::hint::black_box;
use std::time::Duration;

use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure};

const INSTRUCTIONS: usize = 20_000;
const ROUNDS: usize = 15;
const REPEATS: u32 = 100;
const GOAL: Duration = Duration::from_millis(100);

/// Instructions of every shape, a stage every two hundred.
fn dockerfile() -> String {
    let mut text = String::from("# syntax=docker/dockerfile:1\nARG BASE=debian:trixie\n");
    for index in 1..INSTRUCTIONS {
        let instruction = match index % 10 {
            1 if index % 200 == 1 => format!("FROM ${{BASE}} AS stage-{index}"),
            0 => format!("RUN apt-get update && \\\n    apt-get install -y package-{index}"),
            1 | 5 => format!("RUN --mount=type=cache,target=/cache/{index} make step-{index}"),
            2 => format!("COPY --chown=1000:1000 --chmod=0644 source-{index} /target/{index}/"),
            3 => format!("ENV NAME_{index}=\"value of ${{NAME}}\" OTHER_{index}=b\\ c"),
            4 => format!("# a comment\nLABEL com.example.label-{index}='some value'"),
            6 => format!("RUN [\"/bin/tool\", \"--index\", \"{index}\"]"),
            7 => format!("COPY <<EOF /etc/file-{index}.conf\nkey = $VALUE\nEOF"),
            8 => format!("WORKDIR /srv/directory/{index}"),
            _ => format!("ARG ARGUMENT_{index}=default-{index}"),
        };
        text.push_str(&instruction);
        text.push('\n');
    }
    text
}

fn main() {
    let text = dockerfile();
    let bytes = text.as_bytes();
    let count_lines = || black_box(bytes).iter().filter(|byte| **byte == b'\n').count();
    let parse = || match dockerfile::parse(black_box(bytes)) {
        Ok(file) => file.statements().count(),
        Err(errors) => panic!("the text is valid, but {errors:?}"),
    };
    assert_eq!(parse(), INSTRUCTIONS, "every instruction is parsed");
    let [parsed, counted] = medians(ROUNDS, || {
        // Repeated until it takes about as long as the parser, so that a busy machine disturbs
        // both.
        let counting = timed(|| (0..REPEATS).map(|_| black_box(count_lines())).sum::<usize>());
        [timed(|| black_box(parse())).0, counting.0 / REPEATS]
    });
    Figure::new("parse", "20,000 instructions", Measure::Time(parsed))
        .against("counting the lines of the same bytes", Measure::Time(counted))
        .goal(Goal::AtMost(Measure::Time(GOAL)))
        .report();
}
