//! A snapshot where nothing changed, against a bare parallel stat walk of the same files.
//!
//! `cargo bench -p kaniko-benches --bench snapshot [-- FILES]`. The ratios are what counts: they
//! compare two walks of one run, and the goal for the second is at most 1.5.

use std::time::{Duration, Instant};

use kaniko_benches::timing::{medians, timed};
use kaniko_benches::walk::stat_walk;
use kaniko_benches::{Figure, Goal, Measure, memory, remark, size_argument, threads};
use rootfs::{Protected, RootDir, RootPath};
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
