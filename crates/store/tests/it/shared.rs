//! Directories that others write to: nothing is followed, nothing is waited for, nothing is seen half.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use oci::{Descriptor, Digest, MediaType};
use store::{SharedDir, SharedKind, Sharing};
use testkit::{ScratchRoot, tree};

const TREE: &str = "\
d 0755 /in
f 0644 /in/file \"text\"
p 0644 /in/pipe
l 0777 /in/link -> file
l 0777 /in/out -> ../outside
l 0777 /in/loop -> loop
d 0755 /in/directory
f 0644 /in/directory/below \"more\"
d 0755 /outside
f 0644 /outside/secret \"secret\"
";

fn opened() -> (ScratchRoot, SharedDir) {
    let scratch = ScratchRoot::with(TREE);
    let directory = SharedDir::open(&scratch.path().join("in")).expect("because it is there");
    (scratch, directory)
}

#[test]
fn only_plain_files_inside_are_read() {
    let (_scratch, directory) = opened();
    let check = |path: &str, expected: Option<&[u8]>| {
        let found = directory.read(Path::new(path), 10).ok();
        assert_eq!(found.as_deref(), expected, "{path}");
    };
    check("file", Some(b"text"));
    check("directory/below", Some(b"more"));
    for path in [
        "pipe",
        "link",
        "loop",
        "directory",
        "gone",
        "out/secret",
        "../outside/secret",
        "/etc/passwd",
        "",
        ".",
    ] {
        check(path, None);
    }
    assert!(directory.read(Path::new("file"), 3).is_err(), "it is longer");
    let kind = |path: &str| {
        let entry = directory.entry(Path::new(path)).expect("because nothing is in the way");
        entry.map(|entry| entry.kind)
    };
    assert_eq!(kind("file"), Some(SharedKind::File));
    assert_eq!(kind("directory"), Some(SharedKind::Directory));
    assert_eq!(kind("link"), Some(SharedKind::Other));
    assert_eq!(kind("gone/below"), None);
}

#[test]
fn what_is_written_takes_the_place_of_anything() {
    let (scratch, directory) = opened();
    let outside = tree::print(&scratch.path().join("outside"));
    for path in ["file", "pipe", "link", "out", "loop", "directory", "new", "made/on/the/way"] {
        directory.write(Path::new("tmp"), Path::new(path), b"new").expect("because it is ours");
        assert_eq!(directory.read(Path::new(path), 10).expect("because it was written"), b"new");
    }
    assert_eq!(tree::print(&scratch.path().join("outside")), outside);
    assert_eq!(directory.list(Path::new("tmp"), "").expect("because it was made").len(), 0);

    // Not through a link, neither there nor on the way.
    let (scratch, directory) = opened();
    for (temporary, path) in [("tmp", "out/new"), ("out", "new"), ("tmp", "../new")] {
        let written = directory.write(Path::new(temporary), Path::new(path), b"new");
        written.expect_err("because it leads out");
    }
    assert_eq!(tree::print(&scratch.path().join("outside")), outside);
}

#[test]
fn bytes_that_are_not_those_promised_do_not_appear() {
    let (scratch, directory) = opened();
    let check = |promised: &[u8], size: u64, expected: bool| {
        let digest = Digest::sha256_of(promised);
        let descriptor = Descriptor::new(MediaType::OciLayer, digest, size);
        let from = directory.open_file(Path::new("file")).expect("because it is plain");
        let copied = directory.copy_in(Path::new("tmp"), Path::new("copy"), from, &descriptor);
        assert_eq!(copied.is_ok(), expected, "{size}");
        assert_eq!(scratch.path().join("in/copy").exists(), expected);
    };
    check(b"tent", 4, false);
    check(b"text", 3, false);
    check(b"text", 5, false);
    check(b"tex", 3, false);
    check(b"text", 4, true);
}

#[test]
fn a_directory_comes_at_once_in_exchange_for_what_was_there() {
    let (scratch, directory) = opened();
    let outside = tree::print(&scratch.path().join("outside"));
    for path in ["new", "file", "pipe", "out", "directory", "directory"] {
        let filled = directory.temporary_directory(OsStr::new("tmp-")).expect("there is room");
        filled.directory().write_new(Path::new("deep/a"), b"a").expect("there is room");
        filled.place(Path::new(path)).expect("because it is ours");
        let below = Path::new(path).join("deep/a");
        assert_eq!(directory.read(&below, 10).expect("because it is there"), b"a", "{path}");
        assert_eq!(directory.list(Path::new(""), "tmp-").expect("it is a directory").len(), 0);
    }
    // One that is given up leaves nothing.
    drop(directory.temporary_directory(OsStr::new("tmp-")).expect("there is room"));
    assert_eq!(directory.list(Path::new(""), "tmp-").expect("it is a directory").len(), 0);
    assert_eq!(tree::print(&scratch.path().join("outside")), outside);
}

#[test]
fn removing_follows_nothing() {
    let (scratch, directory) = opened();
    let outside = tree::print(&scratch.path().join("outside"));
    std::os::unix::fs::symlink("../../outside", scratch.path().join("in/directory/out"))
        .expect("because the name is free");
    for path in ["directory", "out", "pipe", "gone", "gone/below"] {
        directory.remove(Path::new(path)).expect("because it is ours");
        assert!(directory.entry(Path::new(path)).expect("because it is ours").is_none());
    }
    directory.remove(Path::new("loop/x")).expect_err("because it is no directory");
    assert_eq!(tree::print(&scratch.path().join("outside")), outside);
}

#[test]
fn what_the_dead_left_is_told_by_age_and_lock() {
    let (_scratch, directory) = opened();
    let (here, now) = (Path::new(""), SystemTime::now());
    let later = |seconds| now + Duration::from_secs(seconds);
    let held = directory.temporary_directory(OsStr::new("tmp-")).expect("there is room");
    let left = Path::new("tmp-left");
    for (seconds, swept) in [(0, 0), (30, 0), (3600, 1)] {
        if directory.entry(left).expect("because it is ours").is_none() {
            directory.write(Path::new("tmp"), left, b"half").expect("there is room");
        }
        assert_eq!(directory.sweep(here, "tmp-", later(seconds)).expect("it is ours"), swept);
    }
    assert!(held.directory().read(Path::new("gone"), 1).is_err());
    // Where locks do not work, a day must do.
    assert_eq!(directory.sweep(here, "tmp-", later(100_000)).expect("it is ours"), 1);
    assert!(directory.entry(Path::new("file")).expect("because it is ours").is_some());
}

#[test]
fn locks_are_shared_or_not() {
    let (_scratch, directory) = opened();
    let path = Path::new("lock");
    let lock = |sharing| directory.lock(path, sharing).expect("because locks work").is_some();
    let shared = directory.lock(path, Sharing::Shared).expect("because locks work");
    assert!(lock(Sharing::Shared) && !lock(Sharing::Alone));
    drop(shared);
    let _alone = directory.lock(path, Sharing::Alone).expect("because locks work");
    assert!(!lock(Sharing::Shared) && !lock(Sharing::Alone));
    directory.lock(Path::new("link"), Sharing::Shared).expect_err("because it is a link");
}

#[test]
fn a_directory_below_has_no_way_out() {
    let scratch = ScratchRoot::with(
        "d 0755 /a\nd 0755 /a/b\nf 0644 /a/b/good \"text\"\nf 0644 /out \"x\"\n\
         l 0777 /a/up -> ..\nl 0777 /a/b/link -> good\nl 0777 /also -> a\np 0644 /a/fifo\n",
    );
    let above = SharedDir::open(scratch.path()).expect("because it is there");
    assert!(above.subdir(Path::new("also")).is_err());
    let directory = above.subdir(Path::new("a")).expect("because it is a directory");
    let check = |name: &str, expected: Option<&[u8]>| {
        let found = directory.read(Path::new(name), 4).ok();
        assert_eq!(found.as_deref(), expected, "{name}");
    };
    check("b/good", Some(b"text"));
    check("b/link", None);
    check("up/out", None);
    check("b", None);
    check("fifo", None);
    check("gone", None);
    std::fs::rename(scratch.path().join("a"), scratch.path().join("c"))
        .expect("because the directory is ours");
    check("b/good", Some(b"text"));
}
