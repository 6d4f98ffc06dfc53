//! Memory: layers of 100 MiB and of 10 GiB, and a million small files, each in a process of its own.
//!
//! `cargo bench -p kaniko-benches --bench scale -- [--mib 10240] [--files 1000000]`. Needs that many
//! bytes on disk once at a time, in the system's temporary directory, and a few minutes.
#![allow(clippy::disallowed_methods, reason = "a bench makes the files it works on")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use kaniko_benches::content::Content;
use kaniko_benches::timing::timed;
use kaniko_benches::{Figure, Goal, Measure, argument, memory, remark, threads};
use layer::{ApplyOptions, Compression, WriteOptions};
use rootfs::{ChangeSet, Protected, RootDir, RootPath, Timestamp};
use snapshot::{Contents, ScanOptions};
use testkit::ScratchRoot;

const MIB: u64 = 1 << 20;
const BLOCK: usize = 1 << 20;
/// What the large layer is compared with.
const SMALL: u64 = 100;
/// Files in the layers.
const FILES: u64 = 10;
const LAYER_GOAL: u64 = 64 * MIB;
const DIFFERENCE_GOAL: u64 = 8 * MIB;
const SNAPSHOT_GOAL: u64 = 150 * MIB;
const FILES_PER_DIRECTORY: usize = 1_000;

fn main() {
    let place = argument("--in").unwrap_or_default();
    let place = Path::new(&place);
    match memory::part().as_deref() {
        Some("write") => write_layer(place),
        Some("apply") => apply_layer(place),
        Some("snapshot") => snapshot_and_write(place),
        Some(other) => panic!("there is no part `{other}`"),
        None => return all(),
    }
    memory::tell_peak();
}

fn all() {
    let number = |name, usual| argument(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (large, files) = (number("--mib", 10_240), number("--files", 1_000_000));
    for (what, peak) in [("write", write_peak as fn(u64) -> u64), ("apply", apply_peak)] {
        let (small_peak, large_peak) = (peak(SMALL), peak(large));
        Figure::new("scale", format!("{what} a layer of {large} MiB"), Measure::Memory(large_peak))
            .against(format!("one of {SMALL} MiB"), Measure::Memory(small_peak))
            .goal(Goal::AtMost(Measure::Memory(LAYER_GOAL)))
            .report();
        let more = Measure::Memory(large_peak.saturating_sub(small_peak));
        Figure::new("scale", format!("{what}: what the larger one takes more"), more)
            .goal(Goal::AtMost(Measure::Memory(DIFFERENCE_GOAL)))
            .report();
    }
    let what = format!("snapshot, change and write {files} small files");
    Figure::new("scale", what, Measure::Memory(snapshot_peak(files as usize)))
        .goal(Goal::AtMost(Measure::Memory(SNAPSHOT_GOAL)))
        .report();
}

fn write_peak(mib: u64) -> u64 {
    let scratch = ScratchRoot::new();
    let mut content = Content::new(mib);
    let mut block = content.text(BLOCK);
    for file in 0..FILES {
        let made = File::create(scratch.path().join(format!("f{file}")));
        let mut made = made.expect("because there is room");
        for _ in 0..mib / FILES {
            content.mark(&mut block);
            made.write_all(&block).expect("because there is room");
        }
    }
    run("write", scratch.path(), mib)
}

fn apply_peak(mib: u64) -> u64 {
    let scratch = ScratchRoot::new();
    let (took, peak) = timed(|| {
        let mut child = memory::start("apply", &["--in", text(scratch.path())]);
        let pipe = child.stdin.take().expect("because it is a pipe");
        send_layer(BufWriter::with_capacity(BLOCK, pipe), mib);
        memory::peak_of(child)
    });
    remark(format!("apply of {mib} MiB took {took:.1?}"));
    peak
}

fn snapshot_peak(files: usize) -> u64 {
    let scratch = ScratchRoot::new();
    let root = RootDir::open(scratch.path()).expect("because it was just made");
    for first in (0..files).step_by(FILES_PER_DIRECTORY) {
        let directory = RootPath::new(format!("/directory-{first}"));
        let directory = directory.expect("because it is short");
        root.create_dir(&directory, 0o755).expect("because there is room");
        let directory = root.subdir(&directory).expect("because it was just made");
        for index in first..files.min(first + FILES_PER_DIRECTORY) {
            let path = RootPath::new(format!("/file-{index}.txt")).expect("because it is short");
            let file = directory.create_file(&path, 0o644);
            let written = file.map(|mut file| writeln!(file, "the content of file {index}"));
            written.expect("because there is room").expect("because there is room");
        }
    }
    run("snapshot", scratch.path(), files as u64)
}

fn run(part: &str, place: &Path, size: u64) -> u64 {
    let (took, peak) = timed(|| memory::peak_of(memory::start(part, &["--in", text(place)])));
    remark(format!("{part} of {size} took {took:.1?}"));
    peak
}

fn text(path: &Path) -> &str {
    path.to_str().expect("because the scratch root's name is ASCII")
}

/// A gzip layer of large files. The members are compressed once and sent over and over, so that
/// making the stream costs next to nothing.
fn send_layer(mut sink: impl Write, mib: u64) {
    let mut content = Content::new(mib);
    let blocks: Vec<Vec<u8>> = (0..8).map(|_| member(&content.text(BLOCK))).collect();
    for file in 0..FILES {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("f{file}")).expect("because it is short");
        header.set_size(mib / FILES * MIB);
        header.set_mode(0o644);
        header.set_cksum();
        sink.write_all(&member(header.as_bytes())).expect("because the part reads to the end");
        for block in blocks.iter().cycle().take((mib / FILES) as usize) {
            sink.write_all(block).expect("because the part reads to the end");
        }
    }
    sink.write_all(&member(&[0; 1024])).expect("because the part reads to the end");
    sink.flush().expect("because the part reads to the end");
}

fn member(bytes: &[u8]) -> Vec<u8> {
    let level = libdeflater::CompressionLvl::new(1).expect("because 1 is a level");
    let mut compressor = libdeflater::Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).expect("because there is room");
    out.truncate(length);
    out
}

fn write_options() -> WriteOptions {
    WriteOptions {
        compression: Compression::Gzip { level: 1 },
        threads: threads(),
        ..WriteOptions::default()
    }
}

fn write_layer(place: &Path) {
    let root = RootDir::open(place).expect("because the bench made it");
    let mut changes = ChangeSet::new();
    for entry in root.read_dir(&RootPath::root()).expect("because the bench made it") {
        changes.upsert(&RootPath::new(entry.name).expect("because the names are short"));
    }
    layer::write(&root, &changes, std::io::sink(), &write_options(), &|| false)
        .expect("because nobody touches the tree");
}

fn apply_layer(place: &Path) {
    let root = RootDir::open(place).expect("because the bench made it");
    layer::apply(&root, std::io::stdin(), &ApplyOptions::default(), &|| false)
        .expect("because the layer is well-formed");
}

/// As around a RUN that changes everything: a baseline, a diff, and a layer of all of it.
fn snapshot_and_write(place: &Path) {
    let root = RootDir::open(place).expect("because the bench made it");
    let protected = Protected::none();
    let options =
        ScanOptions { threads: threads(), protected: &protected, contents: Contents::Recent };
    let baseline = snapshot::scan(&root, &options).expect("because all of it is ours");
    let names = baseline.len();
    touch_all(&root);
    let found = snapshot::diff(&root, baseline, &options);
    let (changes, _next) = found.expect("because all of it is ours");
    assert_eq!(changes.len(), names, "everything changed");
    layer::write(&root, &changes, std::io::sink(), &write_options(), &|| false)
        .expect("because nobody touches the tree");
}

fn touch_all(root: &RootDir) {
    let time = Timestamp { secs: 1, nanos: 0 };
    for directory in root.read_dir(&RootPath::root()).expect("because the bench made it") {
        let path = RootPath::new(directory.name).expect("because the names are short");
        let open = root.subdir(&path).expect("because the bench made it");
        for file in open.read_dir(&RootPath::root()).expect("because the bench made it") {
            let path = RootPath::new(file.name).expect("because the names are short");
            open.set_times(&path, time).expect("because it is ours");
        }
        root.set_times(&path, time).expect("because it is ours");
    }
}
