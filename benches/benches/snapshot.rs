//! A snapshot where nothing changed, against a bare parallel stat walk of the same files.
//!
//! `cargo bench -p kaniko-benches --bench snapshot [-- FILES]`. The ratios are what counts: they
//! compare two walks of one run, and the goal for the second is at most 1.5.

use std::time::{Duration, Instant};

use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure, memory, remark, size_argument, threads};
use rootfs::{
    Error, Flow, Metadata, OpenDirectory, Order, Protected, RootDir, RootPath, VisitDirectories,
    WalkOptions, walk_directories,
};
use snapshot::{Contents, ScanOptions, diff, scan};
use testkit::ScratchRoot;

const ROUNDS: usize = 7;
const FILES_PER_DIRECTORY: usize = 100;

fn main() {
    let (files, threads) = (size_argument(100_000), threads());
    let scratch = ScratchRoot::new();
    let root = RootDir::open(scratch.path()).expect("because it was just made");
    fill(&root, files);
    let made = Instant::now();
    while made.elapsed() < Duration::from_secs(1) {
        // Until no file is recent; meanwhile the tree comes into the cache.
        stat_walk(&root, threads);
    }

    let protected = Protected::none();
    let options = ScanOptions { threads, protected: &protected, contents: Contents::Recent };
    let [walk, scanned, diffed] = medians(ROUNDS, || {
        let walk = timed(|| stat_walk(&root, threads)).0;
        let (scanned, baseline) = timed(|| scan(&root, &options));
        let baseline = baseline.expect("because all of it is ours");
        let (diffed, found) = timed(|| diff(&root, baseline, &options));
        let (changes, _) = found.expect("because all of it is ours");
        assert!(changes.is_empty(), "nothing changed, and yet: {changes:?}");
        [walk, scanned, diffed]
    });
    remark(format!("{files} files, {threads} threads"));
    for (what, time) in [("the baseline", scanned), ("a diff where nothing changed", diffed)] {
        Figure::new("snapshot", what, Measure::Time(time))
            .against("a bare parallel stat walk", Measure::Time(walk))
            .goal(Goal::RatioAtMost(1.5))
            .report();
    }
    Figure::new("snapshot", "peak memory", Measure::Memory(memory::peak("self"))).report();
}

fn fill(root: &RootDir, files: usize) {
    for first in (0..files).step_by(FILES_PER_DIRECTORY) {
        let directory = RootPath::new(format!("/{}/{first}", first % 97))
            .expect("because the numbers are small");
        root.create_dir_all(&directory, 0o755).expect("because there is room");
        for index in first..files.min(first + FILES_PER_DIRECTORY) {
            let path = directory.join(index.to_string()).expect("because the numbers are small");
            root.create_file(&path, 0o644).map(drop).expect("because there is room");
        }
    }
}

/// A walk that looks at everything and remembers nothing.
struct Bare;

impl VisitDirectories for Bare {
    type Directory = u64;
    type Error = Error;

    fn open(&self, _: &OpenDirectory) -> Result<u64, Error> {
        Ok(0)
    }

    fn entry(
        &self,
        _: &OpenDirectory,
        sum: &mut u64,
        _: &[u8],
        metadata: &Metadata,
    ) -> Result<Flow, Error> {
        *sum = sum.wrapping_add(metadata.ino);
        Ok(Flow::Continue)
    }

    fn close(&self, _: &OpenDirectory, sum: u64) -> Result<(), Error> {
        std::hint::black_box(sum);
        Ok(())
    }
}

fn stat_walk(root: &RootDir, threads: usize) {
    let options = WalkOptions { order: Order::Any, threads, protected: &Protected::none() };
    walk_directories(root, &RootPath::root(), &options, &Bare).expect("because all of it is ours");
}
