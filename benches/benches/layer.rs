//! Writing and applying a layer, as ratios: to the compressor alone, to `tar -x`, in one run.
//!
//! `cargo bench -p kaniko-benches --bench layer -- [MiB]`. The goals are for a quiet machine; what
//! counts is the ratio.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a program for developers")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use layer::{ApplyOptions, Compression, Owners, WriteOptions};
use rootfs::{ChangeSet, RootDir, RootPath};
use testkit::ScratchRoot;

const BLOCK: usize = 1 << 20;

fn main() {
    let size = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let size: usize = size.unwrap_or(256) << 20;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let source = ScratchRoot::new();
    let changes = make_tree(source.path(), size);
    let root = RootDir::open(source.path()).expect("it was just made");
    println!("{} MiB in {} entries, {threads} threads", size >> 20, changes.len());

    let place = ScratchRoot::new();
    let plain = place.path().join("plain.tar");
    let sink = BufWriter::with_capacity(BLOCK, File::create(&plain).expect("room"));
    let took = write(&root, &changes, Compression::None, sink);
    report("write, uncompressed", took, size, None);

    for level in [1, 6] {
        let alone = compress_alone(&plain, level, threads);
        report(&format!("libdeflate {level} alone"), alone, size, None);
        let took = write(&root, &changes, Compression::Gzip { level }, std::io::sink());
        let goal = if level == 1 { 0.75 } else { 0.8 };
        report(&format!("write, gzip {level}"), took, size, Some((alone, goal)));
    }
    let took = write(&root, &changes, Compression::Zstd { level: 3 }, std::io::sink());
    report("write, zstd 3", took, size, None);

    // Once before, so that both find the archive in memory.
    let _ = unpack_with_tar(&plain);
    let alone = unpack_with_tar(&plain);
    report("tar -x", alone, size, None);
    report("apply, uncompressed", apply(&plain), size, Some((alone, 1.0)));
    println!("peak memory of this program: {} MiB", peak_memory() >> 10);
}

/// One line; with a reference, how many times as fast as it, and the goal.
fn report(what: &str, took: Duration, size: usize, reference: Option<(Duration, f64)>) {
    let seconds = took.as_secs_f64();
    print!("{what:24} {seconds:8.3} s {:8.0} MB/s", size as f64 / seconds / 1e6);
    match reference {
        Some((alone, goal)) => {
            println!("   {:.2} x its reference (goal {goal})", alone.as_secs_f64() / seconds);
        }
        None => println!(),
    }
}

/// Files of many sizes with content between text and noise.
fn make_tree(root: &Path, size: usize) -> ChangeSet {
    const WORDS: [&[u8]; 8] =
        [b"usr ", b"share\n", b"layer", b" of the ", b"\0\0\0\0", b"image\t", b"0x", b"return;\n"];
    let mut state = 1u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let (mut made, mut number) = (0, 0);
    let mut changes = ChangeSet::new();
    while made < size {
        let directory = format!("d{}", number / 100);
        if number % 100 == 0 {
            std::fs::create_dir(root.join(&directory)).expect("room");
            changes.upsert(&RootPath::new(&directory).expect("a short path"));
        }
        let length = (1 << (8 + next() % 14)).min(size - made);
        let mut content = Vec::with_capacity(length + 16);
        while content.len() < length {
            content.extend_from_slice(WORDS[next() % WORDS.len()]);
            if next() % 3 == 0 {
                content.extend_from_slice(&next().to_le_bytes()[..3]);
            }
        }
        content.truncate(length);
        let name = format!("{directory}/f{number}");
        std::fs::write(root.join(&name), &content).expect("room");
        changes.upsert(&RootPath::new(&name).expect("a short path"));
        made += length;
        number += 1;
    }
    changes
}

fn write(root: &RootDir, changes: &ChangeSet, how: Compression, sink: impl Write) -> Duration {
    let options = WriteOptions { compression: how, ..WriteOptions::default() };
    let start = Instant::now();
    layer::write(root, changes, sink, &options, &|| false).expect("the tree stands still");
    start.elapsed()
}

/// The compressor without anything around it: no tar, no digests, nothing in order.
fn compress_alone(archive: &Path, level: u32, threads: usize) -> Duration {
    let file = File::open(archive).expect("it was just written");
    let length = file.metadata().expect("it is open").len();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let file = &file;
            scope.spawn(move || {
                let level = i32::try_from(level).expect("a small number");
                let level = libdeflater::CompressionLvl::new(level).expect("a level");
                let mut compressor = libdeflater::Compressor::new(level);
                let mut block = vec![0; BLOCK];
                let mut out = vec![0; compressor.gzip_compress_bound(BLOCK)];
                for at in (thread as u64 * BLOCK as u64..length).step_by(threads * BLOCK) {
                    let read = file.read_at(&mut block, at).expect("it can be read");
                    compressor.gzip_compress(&block[..read], &mut out).expect("it has room");
                }
            });
        }
    });
    start.elapsed()
}

fn unpack_with_tar(archive: &Path) -> Duration {
    let target = ScratchRoot::new();
    let start = Instant::now();
    let mut tar = Command::new("tar");
    let status = tar.arg("-xf").arg(archive).arg("-C").arg(target.path()).status();
    assert!(status.expect("tar is installed").success());
    start.elapsed()
}

fn apply(archive: &Path) -> Duration {
    let target = ScratchRoot::new();
    let root = RootDir::open(target.path()).expect("it was just made");
    let file = File::open(archive).expect("it was just written");
    // Whoever runs this may not be root; then all files are theirs.
    let owners = if is_root() { Owners::Keep } else { owners_of(target.path()) };
    let options = ApplyOptions { owners, ..ApplyOptions::default() };
    let start = Instant::now();
    layer::apply(&root, file, &options, &|| false).expect("our own layer");
    start.elapsed()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn owners_of(path: &Path) -> Owners {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata(path).expect("it was just made");
    Owners::One(own.uid(), own.gid())
}

/// In KiB, as the kernel counts it.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
