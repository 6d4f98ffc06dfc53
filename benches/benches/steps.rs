//! What a step costs where the root holds 100,000 files: `RUN true` on a private root, beside a bare
//! stat walk of the same files, and in a pod the change from one stage to another in place.
//!
//! `cargo xtask dist`, then `cargo bench -p kaniko-benches --bench steps -- [FILES]`. Needs what
//! the end-to-end tests need (`cargo xtask setup`), and to be root. Building in place happens in
//! a pod made with runc, never on the machine itself.
#![allow(clippy::disallowed_methods, reason = "a bench makes files")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kaniko_benches::timing::{medians, timed};
use kaniko_benches::walk::stat_walk;
use kaniko_benches::{Figure, Goal, Measure, remark, size_argument, threads};
use rootfs::RootDir;
use testkit::ScratchRoot;
use tests::pod::{Pod, Seccomp};
use tests::{Build, Lab};

const ROUNDS: usize = 7;
/// Each is a build of its own.
const PODS: usize = 3;
const FILES_PER_DIRECTORY: usize = 100;
const STEP_GOAL: Duration = Duration::from_millis(300);
const SWITCH_GOAL: Duration = Duration::from_millis(50);

fn main() {
    let files = size_argument(100_000);
    let lab = Lab::open().expect("because `cargo xtask setup` and `cargo xtask dist` ran");
    let scratch = ScratchRoot::new();
    let context = scratch.path();
    fill(&context.join("tree"), files);
    std::fs::write(context.join("small"), "small\n").expect("because there is room");
    remark(format!("{files} files, {} threads, median of {ROUNDS} steps", threads()));
    a_step(&lab, context);
    a_switch(&lab, context);
    lab.close().expect("because nothing is mounted any more");
}

/// `RUN true`, which has to find out that nothing changed.
fn a_step(lab: &Arc<Lab>, context: &Path) {
    let runs = "RUN true\n".repeat(ROUNDS);
    let text = format!("ARG REGISTRY\nFROM $REGISTRY/busybox\nCOPY tree /tree\n{runs}");
    let outcome = build(lab, context, "steps", &text).run().expect("because the executor is there");
    assert_eq!(outcome.finished.code, Some(0), "{}", outcome.text());
    let step = median(times(&outcome.text(), "RUN true"));
    let root = RootDir::open(context).expect("because it was just made");
    stat_walk(&root, threads());
    let [walk] = medians(ROUNDS, || [timed(|| stat_walk(&root, threads())).0]);
    Figure::new("steps", "one RUN true", Measure::Time(step))
        .against("a bare parallel stat walk", Measure::Time(walk))
        .goal(Goal::AtMost(Measure::Time(STEP_GOAL)))
        .report();
}

/// Stages that copy one small file: the time of such a step holds the whole change of stages,
/// to an empty root first, then back to the one with all the files.
fn a_switch(lab: &Arc<Lab>, context: &Path) {
    let text = "ARG REGISTRY\nFROM $REGISTRY/busybox AS full\nCOPY tree /tree\nRUN true\n\
                FROM scratch AS empty\nCOPY small /away\n\
                FROM full\nCOPY small /back\nCOPY --from=empty /away /away\n";
    let mut round = 0;
    let took = medians(PODS, || {
        round += 1;
        let name = format!("switches-{round}");
        let build = build(lab, context, &name, text);
        let pod = Pod::new(lab, &name, Seccomp::Default).expect("because there is room");
        let pod = pod.mount(context, "/workspace", &["ro"]);
        let words = build.words_in_pod();
        let outcome = build.ended(pod.run(&words).expect("because runc is there"));
        assert_eq!(outcome.finished.code, Some(0), "{}", outcome.text());
        ["COPY small /away", "COPY small /back"].map(|step| times(&outcome.text(), step)[0])
    });
    for (what, took) in ["away from 100,000 files", "back to them"].iter().zip(took) {
        Figure::new("steps", format!("a change of stages in place, {what}"), Measure::Time(took))
            .goal(Goal::AtMost(Measure::Time(SWITCH_GOAL)))
            .report();
    }
}

/// A build with a Dockerfile of its own, of a context that several share; nothing is pushed.
fn build(lab: &Arc<Lab>, context: &Path, name: &str, dockerfile: &str) -> Build {
    let file = format!("Dockerfile.{name}");
    std::fs::write(context.join(&file), dockerfile).expect("because there is room");
    let build = lab.build(name).expect("because there is room").context(context);
    build.arg(format!("--dockerfile={file}")).arg("--no-push").arg("--verbosity=debug")
}

/// The times that the log tells of steps with this text.
fn times(log: &str, step: &str) -> Vec<Duration> {
    let start = format!("{step} took ");
    let words = log.lines().filter_map(|line| Some(line.split_once(&start)?.1));
    let times: Vec<Duration> = words.filter_map(duration).collect();
    assert!(!times.is_empty(), "the log tells no time of `{step}`: {log}");
    times
}

/// A duration as Rust prints it, with whatever follows.
fn duration(text: &str) -> Option<Duration> {
    let number = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(number);
    let unit: String = unit.chars().take_while(|letter| letter.is_alphabetic()).collect();
    let seconds = match unit.as_str() {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * seconds))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Small files, in directories of a hundred.
fn fill(tree: &Path, files: usize) {
    for first in (0..files).step_by(FILES_PER_DIRECTORY) {
        let directory = tree.join(format!("{}/{first}", first % 97));
        std::fs::create_dir_all(&directory).expect("because there is room");
        for index in first..files.min(first + FILES_PER_DIRECTORY) {
            let path = directory.join(index.to_string());
            std::fs::write(path, format!("{index}\n")).expect("because there is room");
        }
    }
}
