//! The whole: COPY of a tree of 100,000 small files and five trivial RUNs, pushed to a registry on
//! loopback, against `cp -a` of that tree and `tar | gzip -1` of it.
//!
//! `cargo build --release -p kaniko-executor`, then
//! `cargo bench -p kaniko-benches --bench whole -- [FILES] [--executor PATH] [--log]`. On the rung
//! `namespaces`. Needs docker-registry, skopeo and busybox (`cargo xtask setup`), and about 4 GB
//! in the system's temporary directory. `--log` shows the executor's log with the times at which
//! its lines came.
#![allow(clippy::disallowed_methods, reason = "a bench makes files and starts programs")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kaniko_benches::content::small_files;
use kaniko_benches::programs::{executor, push_busybox, succeed};
use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure, memory, remark, size_argument};
use testkit::ScratchRoot;
use testkit::registry::Registry;

const ROUNDS: usize = 3;
const GOAL: f64 = 3.0;
const RUNS: usize = 5;

/// The parts of a build, each up to the line of the log that ends it.
const PHASES: [&str; 5] = ["COPY", "five RUNs", "from the last step to the image", "push", "end"];

fn main() {
    let files = size_argument(100_000);
    let executor = executor();
    let scratch = ScratchRoot::new();
    let context = scratch.path().join("context");
    small_files(&context.join("tree"), files);
    let registry = Registry::start().expect("because docker-registry is installed");
    push_busybox(scratch.path(), &registry);
    std::fs::write(context.join("Dockerfile"), dockerfile(&registry.host()))
        .expect("because there is room");
    remark(format!("{files} files, median of {ROUNDS} rounds"));

    let mut round = 0;
    let mut peak = 0;
    let [reference, whole, phases @ ..]: [Duration; 2 + PHASES.len()] = medians(ROUNDS, || {
        round += 1;
        let place = scratch.path().join(format!("round-{round}"));
        std::fs::create_dir(&place).expect("because there is room");
        let reference = reference(&context.join("tree"), &place);
        let build = Build { executor: &executor, context: &context, registry: &registry, round };
        let (phases, high) = build.run(&place.join("state"));
        peak = peak.max(high);
        let whole = phases.iter().sum();
        remark(format!("round {round}: {reference:.2?} and {whole:.2?}: {phases:.2?}"));
        let mut times = [Duration::ZERO; 2 + PHASES.len()];
        (times[0], times[1]) = (reference, whole);
        times[2..].copy_from_slice(&phases);
        times
    });
    Figure::new("whole", format!("COPY of {files} files, {RUNS} RUNs, push"), Measure::Time(whole))
        .against("cp -a, tar | gzip -1", Measure::Time(reference))
        .goal(Goal::RatioAtMost(GOAL))
        .report();
    for (phase, time) in PHASES.into_iter().zip(phases) {
        Figure::new("whole", format!("of it: {phase}"), Measure::Time(time))
            .against("cp -a, tar | gzip -1", Measure::Time(reference))
            .report();
    }
    Figure::new("whole", "peak memory of the executor", Measure::Memory(peak)).report();
}

fn dockerfile(registry: &str) -> String {
    let mut text = format!("FROM {registry}/busybox:latest\nCOPY tree /tree\n");
    for number in 1..=RUNS {
        text.push_str(&format!("RUN echo {number} > /number-{number}\n"));
    }
    text
}

/// What has to be done at least: the tree is copied, and packed. Nothing is removed between the
/// rounds: some file systems are slow for minutes where many files were removed (ext4 without a
/// journal looks at every inode that was freed lately).
fn reference(tree: &Path, place: &Path) -> Duration {
    let (copy, archive) = (place.join("copy"), place.join("copy.tar.gz"));
    sync();
    let (took, ()) = timed(|| {
        succeed(Command::new("cp").arg("-a").arg(tree).arg(&copy));
        let mut tar = Command::new("tar");
        let tar = tar.arg("-c").arg("-C").arg(&copy).arg(".").stdout(Stdio::piped()).spawn();
        let mut tar = tar.expect("because tar is installed");
        let from = tar.stdout.take().expect("because it is a pipe");
        let to = File::create(&archive).expect("because there is room");
        succeed(Command::new("gzip").arg("-1").stdin(from).stdout(to));
        assert!(tar.wait().expect("because it was started").success(), "tar failed");
    });
    took
}

/// One build with a state directory of its own, so that nothing is there from before.
struct Build<'a> {
    executor: &'a Path,
    context: &'a Path,
    registry: &'a Registry,
    round: usize,
}

impl Build<'_> {
    /// The times of its phases, and the executor's peak memory.
    fn run(&self, state: &Path) -> ([Duration; PHASES.len()], u64) {
        std::fs::create_dir(state).expect("because there is room");
        sync();
        let start = Instant::now();
        let mut child = Command::new(self.executor)
            .arg(format!("--context={}", self.context.display()))
            // A repository of its own: nothing of it is there yet.
            .arg(format!("--destination={}/whole-{}:latest", self.registry.host(), self.round))
            .arg(format!("--kaniko-dir={}", state.display()))
            .args(["--isolation=namespaces", "--insecure", "--insecure-pull"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("because the executor is there");
        let errors = child.stderr.take().expect("because it is a pipe");
        let mut ends = [Duration::ZERO; PHASES.len()];
        let (mut log, mut peak) = (Vec::new(), 0);
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            let at = start.elapsed();
            if let Some(phase) = phase_ended_by(&line) {
                ends[phase] = at;
            }
            peak = peak.max(memory::peak(&child.id().to_string()));
            log.push(format!("{:8.3} s  {line}", at.as_secs_f64()));
        }
        let status = child.wait().expect("because it was started");
        ends[PHASES.len() - 1] = start.elapsed();
        if !status.success() || std::env::args().any(|word| word == "--log") {
            let _ = std::io::stderr().write_all((log.join("\n") + "\n").as_bytes());
        }
        assert!(status.success(), "the executor failed: {status}");
        let mut before = Duration::ZERO;
        let phases = ends.map(|end| {
            let phase = end.saturating_sub(before);
            before = before.max(end);
            phase
        });
        (phases, peak)
    }
}

/// Which of the phases a line of the log is the end of.
fn phase_ended_by(line: &str) -> Option<usize> {
    let took = line.contains(" took ");
    if took && line.contains("COPY ") {
        Some(0)
    } else if took && line.contains("RUN ") {
        Some(1)
    } else if line.contains("Built image ") {
        Some(2)
    } else if took && line.contains("Pushed ") {
        Some(3)
    } else {
        None
    }
}

/// What was written before is on the disk, and disturbs nobody any more.
fn sync() {
    succeed(&mut Command::new("sync"));
}
