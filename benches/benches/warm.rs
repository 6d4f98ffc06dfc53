//! A build of ten steps with 100,000 files, with a layer cache in its registry: the first time, again
//! without a change, again with its last step edited.
//!
//! `cargo build --release -p kaniko-executor`, then
//! `cargo bench -p kaniko-benches --bench warm -- [FILES] [--executor PATH]`. On the rung
//! `namespaces`. Each build has an empty state directory, as in a new pod. Needs docker-registry,
//! skopeo and busybox (`cargo xtask setup`), and about 3 GB in the system's temporary directory.
#![allow(clippy::disallowed_methods, reason = "a bench makes files and starts programs")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kaniko_benches::content::small_files;
use kaniko_benches::programs::{executor, push_busybox, succeed};
use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure, remark, size_argument};
use testkit::ScratchRoot;
use testkit::registry::Registry;

const ROUNDS: usize = 3;
/// Nothing is to be done but to read the context.
const GOAL: f64 = 0.2;
const RUNS: usize = 9;

fn main() {
    let files = size_argument(100_000);
    let executor = executor();
    let scratch = ScratchRoot::new();
    let context = scratch.path().join("context");
    small_files(&context.join("tree"), files);
    let registry = Registry::start().expect("because docker-registry is installed");
    push_busybox(scratch.path(), &registry);
    remark(format!("{files} files, median of {ROUNDS} rounds"));
    let mut round = 0;
    let [cold, warm, edited]: [Duration; 3] = medians(ROUNDS, || {
        round += 1;
        let place = scratch.path().join(format!("round-{round}"));
        std::fs::create_dir(&place).expect("because there is room");
        let build = |name: &str, last: &str| {
            let dockerfile = place.join(name);
            std::fs::write(&dockerfile, text(&registry.host(), last))
                .expect("because there is room");
            let state = place.join(format!("{name}-state"));
            build(&executor, &context, &dockerfile, &state, (&registry, round))
        };
        let times = [build("cold", "last"), build("warm", "last"), build("edited", "edited")];
        remark(format!("round {round}: {times:.2?}"));
        times
    });
    let against_cold = |what: &str, time: Duration| {
        Figure::new("warm", what, Measure::Time(time))
            .against("the first build", Measure::Time(cold))
    };
    against_cold("nothing changed", warm).goal(Goal::RatioAtMost(GOAL)).report();
    against_cold("the last of ten steps edited", edited).report();
}

fn text(registry: &str, last: &str) -> String {
    let mut text = format!("FROM {registry}/busybox:latest\nCOPY tree /tree\n");
    for number in 1..RUNS {
        text.push_str(&format!("RUN find /tree -name \"*{number}.txt\" > /list-{number}\n"));
    }
    text.push_str(&format!("RUN echo {last} > /last\n"));
    text
}

fn build(
    executor: &Path,
    context: &Path,
    dockerfile: &Path,
    state: &Path,
    (registry, round): (&Registry, usize),
) -> Duration {
    let mut command = Command::new(executor);
    command
        .arg(format!("--context={}", context.display()))
        .arg(format!("--dockerfile={}", dockerfile.display()))
        // A repository, and a cache below it, of each round's own.
        .arg(format!("--destination={}/warm-{round}:latest", registry.host()))
        .arg(format!("--kaniko-dir={}", state.display()))
        .args(["--cache", "--isolation=namespaces", "--insecure", "--insecure-pull"])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    succeed(&mut Command::new("sync"));
    timed(|| succeed(&mut command)).0
}
