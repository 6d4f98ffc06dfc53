//! Two stages that do not read each other, each with a RUN that sleeps ten seconds, against a build
//! with one of them.
//!
//! `cargo build --release -p kaniko-executor`, then
//! `cargo bench -p kaniko-benches --bench stages -- [SECONDS] [--executor PATH]`. On the rung
//! `namespaces`. Needs docker-registry, skopeo and busybox (`cargo xtask setup`).
#![allow(clippy::disallowed_methods, reason = "a bench makes files and starts programs")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kaniko_benches::programs::{executor, push_busybox, succeed};
use kaniko_benches::timing::timed;
use kaniko_benches::{Figure, Goal, Measure, size_argument};
use testkit::ScratchRoot;
use testkit::registry::Registry;

/// What the second stage may cost: its base is unpacked and its layer written beside the first's.
const GOAL: f64 = 1.1;

fn main() {
    let seconds = size_argument(10);
    let executor = executor();
    let scratch = ScratchRoot::new();
    let registry = Registry::start().expect("because docker-registry is installed");
    push_busybox(scratch.path(), &registry);
    let time = |stages: &[&str]| {
        let directory = scratch.path().join(stages.len().to_string());
        let text = dockerfile(&registry.host(), stages, seconds);
        build(&executor, &directory, &text)
    };
    // What is read for the first time is read outside of the measurement.
    build(&executor, &scratch.path().join("warm"), &dockerfile(&registry.host(), &["one"], 0));
    let one = time(&["one"]);
    let both = time(&["one", "other"]);
    Figure::new("stages", format!("two stages of {seconds} s each"), Measure::Time(both))
        .against("one of them", Measure::Time(one))
        .goal(Goal::RatioAtMost(GOAL))
        .report();
}

fn dockerfile(registry: &str, stages: &[&str], seconds: usize) -> String {
    let mut text = String::new();
    for stage in stages {
        text.push_str(&format!(
            "FROM {registry}/busybox:latest AS {stage}\nRUN sleep {seconds} && echo {stage} > /made\n"
        ));
    }
    text.push_str("FROM scratch\n");
    for stage in stages {
        text.push_str(&format!("COPY --from={stage} /made /{stage}\n"));
    }
    text
}

/// How long a build takes that is not pushed, with a state directory of its own.
fn build(executor: &Path, directory: &Path, dockerfile: &str) -> Duration {
    let context = directory.join("context");
    std::fs::create_dir_all(&context).expect("because there is room");
    std::fs::write(context.join("Dockerfile"), dockerfile).expect("because there is room");
    let mut command = Command::new(executor);
    command
        .arg(format!("--context={}", context.display()))
        .arg(format!("--kaniko-dir={}", directory.join("state").display()))
        .args(["--isolation=namespaces", "--insecure-pull", "--no-push"])
        // As on a machine with more than one core.
        .arg("--max-parallel-stages=2")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    timed(|| succeed(&mut command)).0
}
