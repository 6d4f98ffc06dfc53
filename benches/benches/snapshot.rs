//! A snapshot where nothing changed, against a bare parallel stat walk of the same files.
//!
//! `cargo bench -p kaniko-benches --bench snapshot [-- FILES]`. The ratios are what counts: they
//! compare two walks of one run, and the goal for the second is at most 1.5.
#![allow(clippy::print_stdout, reason = "what a benchmark prints is its result")]

use std::path::Path;
use std::time::{Duration, Instant};

use rootfs::{
    Error, Flow, Metadata, OpenDirectory, Order, Protected, RootDir, RootPath, VisitDirectories,
    WalkOptions, walk_directories,
};
use snapshot::{Contents, ScanOptions, diff, scan};
use testkit::ScratchRoot;

const ROUNDS: usize = 7;
const FILES_PER_DIRECTORY: usize = 100;

fn main() {
    let files = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(100_000);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
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
    let (mut walks, mut scans, mut diffs) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that what else the machine does hits all alike.
    for _ in 0..ROUNDS {
        walks.push(timed(|| stat_walk(&root, threads)).0);
        let (time, baseline) = timed(|| scan(&root, &options));
        let baseline = baseline.expect("because all of it is ours");
        scans.push(time);
        let (time, found) = timed(|| diff(&root, baseline, &options));
        let (changes, _) = found.expect("because all of it is ours");
        assert!(changes.is_empty(), "nothing changed, and yet: {changes:?}");
        diffs.push(time);
    }
    let walk = median(&mut walks);
    println!("snapshot of {files} files with {threads} threads, median of {ROUNDS}");
    println!("  bare stat walk       {:>8.1} ms", millis(walk));
    for (what, time) in [("scan", median(&mut scans)), ("diff, no change", median(&mut diffs))] {
        let ratio = time.as_secs_f64() / walk.as_secs_f64();
        println!("  {what:<20} {:>8.1} ms  {ratio:.2} x the walk", millis(time));
    }
    println!("  peak memory          {:>8} KiB", peak_memory().unwrap_or_default());
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

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The most memory this program ever had, as the kernel counts.
fn peak_memory() -> Option<u64> {
    let root = RootDir::open(Path::new("/proc/self")).ok()?;
    let status = root.read(&RootPath::new("status").ok()?, 1 << 20).ok()?;
    let text = String::from_utf8(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
