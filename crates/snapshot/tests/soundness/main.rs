//! Rewrites that try hard not to be seen, right after the baseline: none is missed, and what was
//! not rewritten is not taken for it.
//!
//! A hundred thousand of them on a disk and as many in memory (and fewer on overlays over both, and
//! where times are whole seconds), in a loop that leaves no pause between a baseline and what
//! follows it. Every rewrite keeps the size and puts the
//! modification time back. See [`ways`] for how they are done.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a step does not go through `RootDir` either")]

mod ways;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use rootfs::{Change, ChangeSet, Protected, RootDir};
use snapshot::{Baseline, Contents, ScanOptions, diff, scan};
use testkit::{ScratchRoot, require_root};

use ways::{Numbers, Way, Writer};

const REWRITES: usize = 100_000;
/// The same on overlays, which do what the file system below them does, and where the clock ticks
/// so slowly that nearly every rewrite falls into the tick of the baseline.
const ELSEWHERE: usize = 25_000;
/// So many files that a scan takes longer than a tick of the clock, but not much.
const FILES: usize = 160;
const DIRECTORIES: usize = 8;

/// A step of the build and the snapshot after it, over and over.
struct Loop<'a> {
    root: RootDir,
    writer: Writer<'a>,
    numbers: Numbers,
    rewrites: usize,
}

impl Loop<'_> {
    /// Rewrites most of the files, and looks.
    fn turn(&mut self, baseline: Baseline, contents: Contents, round: usize) -> Baseline {
        let mut wanted = BTreeSet::new();
        let mut ways = Vec::new();
        for file in 0..FILES {
            if self.numbers.next(4) == 0 {
                continue;
            }
            let way = Way::any(&mut self.numbers);
            let changed = self.writer.rewrite(file, way);
            ways.push((changed.clone(), way));
            wanted.extend(changed);
            self.rewrites += 1;
        }
        let protected = Protected::none();
        let options = ScanOptions { threads: 2, protected: &protected, contents };
        let (changes, next) = diff(&self.root, baseline, &options).expect("all can be read");
        let found = self.files(&changes);
        if found != wanted {
            let missed: Vec<_> = wanted.difference(&found).collect();
            let unchanged: Vec<_> = found.difference(&wanted).collect();
            let ways: Vec<_> = ways
                .iter()
                .filter(|(paths, _)| paths.iter().any(|p| missed.contains(&p)))
                .collect();
            panic!(
                "round {round}, {contents:?}: missed {missed:?} ({ways:?}), too many: {unchanged:?}"
            );
        }
        next
    }

    /// What changed, directories aside: names made in them move their times.
    fn files(&self, changes: &ChangeSet) -> BTreeSet<String> {
        let path = |change: Change| match change {
            Change::Upsert(path) => path.to_string(),
            Change::Remove(path) => format!("removed {path}"),
        };
        changes
            .iter()
            .filter(|change| !change.path().is_root() && change.path().depth() > 1)
            .map(path)
            .collect()
    }
}

/// A third of the rewrites with each way to look. Files are first made below `first`, which may be
/// the lower directory of an overlay.
fn check(rewrites: usize, [first, root, outside]: [&Path; 3], mount: impl FnOnce() -> bool) {
    for directory in 0..DIRECTORIES {
        fs::create_dir_all(first.join(format!("d{directory}"))).expect("because there is room");
    }
    let writer = Writer::new(root, outside, DIRECTORIES);
    for file in 0..FILES {
        writer.make(first, file);
    }
    if !mount() {
        return;
    }
    let root = RootDir::open(root).expect("because it is there");
    let mut turns = Loop { root, writer, numbers: Numbers::new(), rewrites: 0 };
    turns.writer.link_names();
    let mut round = 0;
    for (contents, until) in [
        (Contents::Recent, rewrites / 3),
        (Contents::Known, rewrites / 3 * 2),
        (Contents::All, rewrites),
    ] {
        let protected = Protected::none();
        let options = ScanOptions { threads: 2, protected: &protected, contents };
        let mut baseline = scan(&turns.root, &options).expect("because all can be read");
        while turns.rewrites < until {
            baseline = turns.turn(baseline, contents, round);
            round += 1;
        }
    }
}

fn check_overlay(scratch: &ScratchRoot) {
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir_all(at("lower/outside")).expect("because there is room");
    let [lower, merged, outside] = ["lower/root", "merged/root", "merged/outside"].map(at);
    let mount = || testkit::mount_overlay(scratch.path());
    check(ELSEWHERE, [&lower, &merged, &outside], mount);
}

/// Whatever the temporary directory is on.
#[test]
fn rewrites_right_after_the_baseline_are_seen() {
    let (scratch, outside) = (ScratchRoot::new(), ScratchRoot::new());
    check(REWRITES, [scratch.path(), scratch.path(), outside.path()], || true);
}

#[test]
fn root_rewrites_in_memory_are_seen() {
    if !require_root("a tmpfs") {
        return;
    }
    testkit::in_private_mounts(|| {
        let scratch = ScratchRoot::new();
        testkit::mount_tmpfs(scratch.path());
        let [root, outside] = ["root", "outside"].map(|name| scratch.path().join(name));
        fs::create_dir(&outside).expect("because there is room");
        check(REWRITES, [&root, &root, &outside], || true);
    });
}

#[test]
fn root_rewrites_on_an_overlay_are_seen() {
    if !require_root("an overlay") {
        return;
    }
    testkit::in_private_mounts(|| check_overlay(&ScratchRoot::new()));
}

#[test]
fn root_rewrites_on_an_overlay_in_memory_are_seen() {
    if !require_root("an overlay") {
        return;
    }
    testkit::in_private_mounts(|| {
        let scratch = ScratchRoot::new();
        testkit::mount_tmpfs(scratch.path());
        check_overlay(&scratch);
    });
}

/// With inodes of the old size there is no room for more than whole seconds.
#[test]
fn root_rewrites_within_one_second_are_seen() {
    if !require_root("an ext4 of its own") {
        return;
    }
    testkit::in_private_mounts(|| {
        let scratch = ScratchRoot::new();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("disk")).expect("because there is room");
        let image = fs::File::create(at("image")).expect("because there is room");
        image.set_len(64 << 20).expect("because holes take no room");
        let make = ["-q", "-I", "128", "-m", "0"];
        if !runs(Command::new("mkfs.ext4").args(make).arg(at("image")))
            || !runs(Command::new("mount").args(["-o", "loop"]).args([at("image"), at("disk")]))
        {
            eprintln!("skipped: no disk of its own can be had");
            return;
        }
        let [root, outside] = ["disk/root", "disk/outside"].map(at);
        fs::create_dir(&outside).expect("because there is room");
        check(ELSEWHERE, [&root, &root, &outside], || true);
        assert!(runs(Command::new("umount").arg(at("disk"))), "it stays mounted");
    });
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
