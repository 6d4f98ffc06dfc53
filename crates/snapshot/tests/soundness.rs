//! Rewrites that try hard not to be seen, right after the baseline: none is missed.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a step does not go through `RootDir` either")]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use rootfs::{Change, Protected, RootDir, RootPath};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use snapshot::{Contents, ScanOptions, diff, scan};
use testkit::{ScratchRoot, require_root};

const FILES: usize = 40;

/// Rewrites every file with the same size and its old time, in the tick of the baseline: in place,
/// through another name, or by another file. `rounds` baselines follow each other without a pause.
fn check(root: &Path, rounds: usize) {
    let dir = RootDir::open(root).expect("because it is there");
    let protected = Protected::none();
    let options = ScanOptions { threads: 2, protected: &protected, contents: Contents::Recent };
    for index in 0..FILES {
        fs::write(root.join(index.to_string()), "0000000").expect("because there is room");
    }
    fs::hard_link(root.join("0"), root.join("alias")).expect("because it is ours");
    let mut baseline = scan(&dir, &options).expect("because all can be read");
    for round in 1..=rounds {
        for index in 0..FILES {
            let path = root.join(index.to_string());
            let before = fs::metadata(&path).expect("because it is there");
            let content = format!("{round:07}");
            let written = if index == 0 { root.join("alias") } else { path.clone() };
            if index % 3 == 2 {
                fs::write(root.join("other"), &content).expect("because there is room");
                fs::rename(root.join("other"), &path).expect("because it is ours");
            } else {
                let file = fs::OpenOptions::new().write(true).open(&written).expect("it is there");
                file.write_all_at(content.as_bytes(), 0).expect("because there is room");
            }
            let time = Timespec { tv_sec: before.mtime(), tv_nsec: before.mtime_nsec() };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).expect("it is ours");
        }
        let (changes, next) = diff(&dir, baseline, &options).expect("because all can be read");
        baseline = next;
        let files = changes.iter().filter(|change| *change.path() != RootPath::root());
        let upserts = files.filter(|change| matches!(change, Change::Upsert(_))).count();
        assert_eq!(upserts, FILES + 1, "round {round}");
    }
}

#[test]
fn rewrites_right_after_the_baseline_are_seen() {
    check(ScratchRoot::new().path(), 100);
}

#[test]
fn root_rewrites_in_memory_are_seen() {
    if !require_root("a tmpfs") {
        return;
    }
    testkit::in_private_mounts(|| {
        let scratch = ScratchRoot::new();
        testkit::mount_tmpfs(scratch.path());
        check(scratch.path(), 100);
    });
}

#[test]
fn root_rewrites_on_an_overlay_are_seen() {
    if !require_root("an overlay") {
        return;
    }
    testkit::in_private_mounts(|| {
        let scratch = ScratchRoot::new();
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(scratch.path().join(name)).expect("because there is room");
        }
        let at = |name: &str| scratch.path().join(name).display().to_string();
        let layers =
            format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        let layers = std::ffi::CString::new(layers).expect("because paths have no NUL");
        let flags = rustix::mount::MountFlags::empty();
        let mounted = rustix::mount::mount("overlay", at("merged"), "overlay", flags, &*layers);
        // Where the temporary directory is itself an overlay, the kernel refuses.
        if mounted.is_ok() {
            check(&scratch.path().join("merged"), 50);
        }
    });
}

/// A shared mapping that is read first and then written moves no time on a tmpfs.
#[test]
fn root_writes_through_a_mapping_are_seen() {
    if !require_root("a tmpfs") {
        return;
    }
    let script = "import mmap,sys\n\
        f = open(sys.argv[1], 'r+b')\n\
        m = mmap.mmap(f.fileno(), 0)\n\
        first = m[0]\n\
        m[0:1] = b'!'\n";
    testkit::in_private_mounts(|| {
        for tmpfs in [false, true] {
            let scratch = ScratchRoot::new();
            if tmpfs {
                testkit::mount_tmpfs(scratch.path());
            }
            let file = scratch.path().join("f");
            fs::write(&file, "x".repeat(8192)).expect("because there is room");
            let dir = RootDir::open(scratch.path()).expect("because it is there");
            let protected = Protected::none();
            let options =
                ScanOptions { threads: 1, protected: &protected, contents: Contents::Recent };
            let baseline = scan(&dir, &options).expect("because all can be read");
            let wrote = Command::new("python3").args(["-c", script]).arg(&file).status();
            if !wrote.is_ok_and(|status| status.success()) {
                assert!(std::env::var_os("CI").is_none(), "needs python3");
                return;
            }
            let (changes, _) = diff(&dir, baseline, &options).expect("because all can be read");
            assert_eq!(changes.len(), 1, "tmpfs: {tmpfs}");
        }
    });
}
