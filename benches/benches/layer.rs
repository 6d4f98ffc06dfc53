//! Writing and applying a layer, as ratios: to the compressor alone, to `tar | pigz`, to `tar -x`.
//!
//! The files are copies of the machine's own programs, libraries and documents, which is what images
//! consist of: how much faster, and how small, a compressor is depends on what it is given.
//!
//! `cargo bench -p kaniko-benches --bench layer -- [MiB]`. The goals are for a tree of 2 GiB, which
//! is what it takes by default, and a quiet machine.
#![allow(clippy::disallowed_methods, reason = "a bench works on files, and starts tar and pigz")]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure, memory, remark, size_argument, threads};
use layer::{ApplyOptions, Compression, Owners, WriteOptions, WrittenLayer};
use rootfs::{ChangeSet, RootDir, RootPath};
use testkit::ScratchRoot;

const BLOCK: usize = 1 << 20;
const ROUNDS: usize = 3;
const SOURCES: [&str; 3] = ["/usr/bin", "/usr/lib", "/usr/share"];

/// What is written and applied.
struct Subject {
    root: RootDir,
    changes: ChangeSet,
    /// Bytes of the files.
    size: u64,
}

fn main() {
    let size = size_argument(2048) << 20;
    let source = ScratchRoot::new();
    let changes = make_tree(source.path(), size);
    let root = RootDir::open(source.path()).expect("because it was just made");
    remark(format!("{} MiB in {} entries, {} threads", size >> 20, changes.len(), threads()));
    let subject = Subject { root, changes, size: size as u64 };

    let place = ScratchRoot::new();
    let plain = place.path().join("plain.tar");
    let sink =
        BufWriter::with_capacity(BLOCK, File::create(&plain).expect("because there is room"));
    let (took, _) = timed(|| write(&subject, Compression::None, sink));
    report(&subject, "write, uncompressed", took, None);
    for level in [1, 6] {
        against_compressor(&subject, &plain, level);
    }
    against_pigz(&subject, source.path());
    let (took, _) = timed(|| write(&subject, Compression::Zstd { level: 3 }, std::io::sink()));
    report(&subject, "write, zstd 3", took, None);
    drop(source);
    against_tar(&subject, &plain);
    let peak = Measure::Memory(memory::peak("self"));
    Figure::new("layer", "peak memory of all this", peak).report();
}

/// One figure; with a reference, how long that took and the least ratio of the rates.
fn report(subject: &Subject, what: &str, took: Duration, reference: Option<(&str, Duration, f64)>) {
    let mut figure = Figure::new("layer", what, Measure::rate(subject.size, took));
    if let Some((name, alone, least)) = reference {
        figure = figure
            .against(name, Measure::rate(subject.size, alone))
            .goal(Goal::RatioAtLeast(least));
    }
    figure.report();
}

fn against_compressor(subject: &Subject, plain: &Path, level: u32) {
    let [alone, ours] = medians(ROUNDS, || {
        let alone = timed(|| compress_alone(plain, level, threads())).0;
        [alone, timed(|| write(subject, Compression::Gzip { level }, std::io::sink())).0]
    });
    let least = if level == 1 { 0.75 } else { 0.8 };
    let name = "libdeflate alone on all cores";
    report(subject, &format!("write, gzip {level}"), ours, Some((name, alone, least)));
}

/// At the level that both have by default elsewhere, and by size as well: speed alone is cheap.
fn against_pigz(subject: &Subject, tree: &Path) {
    if !testkit::require_program("pigz") {
        return;
    }
    let (mut theirs, mut size) = (0, 0);
    let [alone, took] = medians(ROUNDS, || {
        let (alone, bytes) = timed(|| tar_and_pigz(tree));
        theirs = bytes;
        let (took, layer) =
            timed(|| write(subject, Compression::Gzip { level: 6 }, std::io::sink()));
        size = layer.size;
        [alone, took]
    });
    report(subject, "write, gzip 6, and tar", took, Some(("tar | pigz -6", alone, 2.0)));
    Figure::new("layer", "size at gzip 6", Measure::Memory(size))
        .against("tar | pigz -6", Measure::Memory(theirs))
        .goal(Goal::RatioAtMost(1.0))
        .report();
}

fn against_tar(subject: &Subject, plain: &Path) {
    // Once before, so that both find the archive in memory.
    let _ = unpack_with_tar(plain);
    let [alone, ours] = medians(ROUNDS, || [unpack_with_tar(plain), apply(plain)]);
    report(subject, "apply, uncompressed", ours, Some(("tar -x", alone, 1.0)));
}

/// Files of this machine, as many as it takes: a third each of what lies in [`SOURCES`].
fn make_tree(root: &Path, size: usize) -> ChangeSet {
    let mut changes = ChangeSet::new();
    for (number, source) in SOURCES.iter().enumerate() {
        let mut files = Vec::new();
        list(Path::new(source), &mut files);
        files.sort();
        assert!(!files.is_empty(), "{source} has no files");
        let share = size / SOURCES.len();
        let mut made = 0;
        for (index, file) in files.iter().cycle().enumerate() {
            let directory = format!("d{number}-{}", index / 100);
            if index % 100 == 0 {
                std::fs::create_dir(root.join(&directory)).expect("because there is room");
                changes.upsert(&RootPath::new(&directory).expect("because it is short"));
            }
            let name = format!("{directory}/f{index}");
            let from = File::open(file).expect("because it was just listed");
            let to = File::create(root.join(&name)).expect("because there is room");
            let rest = (share - made) as u64;
            let copied = std::io::copy(&mut from.take(rest), &mut BufWriter::new(to));
            changes.upsert(&RootPath::new(&name).expect("because it is short"));
            made += copied.expect("because there is room") as usize;
            if made >= share {
                break;
            }
        }
    }
    changes
}

/// Regular files that have something in them.
fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("because the machine has it") {
        let entry = entry.expect("because it can be listed");
        let kind = entry.metadata().expect("because it was just listed");
        if kind.is_dir() {
            list(&entry.path(), files);
        } else if kind.is_file() && kind.len() > 0 {
            files.push(entry.path());
        }
    }
}

fn write(subject: &Subject, how: Compression, sink: impl Write) -> WrittenLayer {
    let options = WriteOptions { compression: how, ..WriteOptions::default() };
    let written = layer::write(&subject.root, &subject.changes, sink, &options, &|| false);
    written.expect("because the tree stands still")
}

/// The compressor without anything around it: no tar, no digests, nothing in order.
fn compress_alone(archive: &Path, level: u32, threads: usize) {
    let file = File::open(archive).expect("because it was just written");
    let length = file.metadata().expect("because it is open").len();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let file = &file;
            scope.spawn(move || {
                let level = i32::try_from(level).expect("because it is small");
                let level = libdeflater::CompressionLvl::new(level).expect("because it is a level");
                let mut compressor = libdeflater::Compressor::new(level);
                let mut block = vec![0; BLOCK];
                let mut out = vec![0; compressor.gzip_compress_bound(BLOCK)];
                for at in (thread as u64 * BLOCK as u64..length).step_by(threads * BLOCK) {
                    let read = file.read_at(&mut block, at).expect("because it is open");
                    compressor
                        .gzip_compress(&block[..read], &mut out)
                        .expect("because there is room");
                }
            });
        }
    });
}

/// The bytes that come out.
fn tar_and_pigz(tree: &Path) -> u64 {
    let mut tar = Command::new("tar");
    let tar = tar.arg("-c").arg("-C").arg(tree).arg(".").stdout(Stdio::piped()).spawn();
    let mut tar = tar.expect("because tar is installed");
    let from = tar.stdout.take().expect("because it is a pipe");
    let pigz = Command::new("pigz").arg("-6").stdin(from).stdout(Stdio::piped()).spawn();
    let mut pigz = pigz.expect("because it was tried before");
    let mut out = pigz.stdout.take().expect("because it is a pipe");
    let (mut size, mut block) = (0, vec![0; 64 << 10]);
    loop {
        match out.read(&mut block).expect("because it is a pipe") {
            0 => break,
            length => size += length as u64,
        }
    }
    for mut child in [tar, pigz] {
        assert!(child.wait().expect("because it was started").success());
    }
    size
}

fn unpack_with_tar(archive: &Path) -> Duration {
    let target = ScratchRoot::new();
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(target.path());
    let (took, status) = timed(|| tar.status());
    assert!(status.expect("because tar is installed").success());
    took
}

fn apply(archive: &Path) -> Duration {
    let target = ScratchRoot::new();
    let root = RootDir::open(target.path()).expect("because it was just made");
    let file = File::open(archive).expect("because it was just written");
    // Whoever runs this may not be root; then all files are theirs.
    let owners = if is_root() { Owners::Keep } else { owners_of(target.path()) };
    let options = ApplyOptions { owners, ..ApplyOptions::default() };
    let (took, applied) = timed(|| layer::apply(&root, file, &options, &|| false));
    applied.expect("because it is our own layer");
    took
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn owners_of(path: &Path) -> Owners {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata(path).expect("because it was just made");
    Owners::One(own.uid(), own.gid())
}
