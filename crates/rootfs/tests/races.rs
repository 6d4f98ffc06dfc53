//! Somebody swaps directories for links out of the root while we work: nothing gets out.
#![allow(missing_docs)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rootfs::{Engine, Protected, RootDir, RootPath, Timestamp};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use testkit::{ScratchRoot, tree};

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because paths in tests are short")
}

/// Exchanges `a` and `b` until told to stop.
fn swap(a: &Path, b: &Path, stop: &AtomicBool, swaps: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        if renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok() {
            swaps.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Does `work` again and again while `/dir` and a link to the canary exchange their names; the
/// canary must come out as it was.
fn check(engine: Engine, prepare: &str, work: impl Fn(&RootDir)) {
    let canary =
        ScratchRoot::with("f 0600 /x \"canary\" @1\nd 0700 /sub @2\nf 0644 /sub/y \"\" @3");
    let before = seen(canary.path());
    let scratch = ScratchRoot::with(prepare);
    let root = RootDir::open_with(scratch.path(), engine).expect("because it is there");
    let (dir, link) = (scratch.path().join("dir"), scratch.path().join("link"));
    symlink(canary.path(), &link).expect("because nothing is there");
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&dir, &link, &stop, &swaps));
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut rounds = 0;
        while Instant::now() < deadline && (rounds < 300 || swaps.load(Ordering::Relaxed) < 3000) {
            work(&root);
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(swaps.load(Ordering::Relaxed) > 100, "the attacker did not come to anything");
    assert_eq!(seen(canary.path()), before, "with {engine:?}");
}

fn seen(canary: &Path) -> String {
    tree::print_with(canary, tree::Shown { owners: true, times: true })
}

fn both(prepare: &str, work: impl Fn(&RootDir)) {
    for engine in [Engine::Kernel, Engine::Walking] {
        check(engine, prepare, &work);
    }
}

#[test]
fn attributes_do_not_get_out() {
    both("f 0644 /dir/x \"\"\nf 0644 /dir/sub/y \"\"", |root| {
        // Whether any of these succeeds is the attacker's choice; where they land is not.
        for target in ["/dir/x", "/dir/sub/y", "/dir", "/link/x", "/link"] {
            drop(root.set_mode(&path(target), 0o711));
            drop(root.set_times(&path(target), Timestamp::from_secs(7)));
            drop(root.set_xattr(&path(target), b"user.pwn", b"1"));
        }
    });
}

#[test]
fn new_names_do_not_get_out() {
    both("d 0755 /dir", |root| {
        drop(root.create_file(&path("/dir/pwn"), 0o644));
        drop(root.create_dir_all(&path("/dir/a/b"), 0o755));
        drop(root.symlink(&path("/link/l"), b"x"));
        drop(root.rename(&path("/dir/pwn"), &path("/link/moved")));
        drop(root.remove(&path("/dir/moved")));
        drop(root.remove(&path("/link/l")));
    });
}

#[test]
fn removing_does_not_get_out() {
    both("d 0755 /dir", |root| {
        drop(root.create_dir_all(&path("/dir/sub"), 0o755));
        drop(root.create_file(&path("/dir/sub/y"), 0o644));
        drop(root.remove_contents(&path("/dir"), &Protected::none()));
        drop(root.remove_tree(&path("/dir/sub"), &Protected::none()));
    });
}

#[test]
fn reading_does_not_get_out() {
    both("f 0644 /dir/x \"inside\"", |root| {
        for target in ["/dir/x", "/link/x"] {
            if let Ok(content) = root.read(&path(target), 100) {
                assert_eq!(content, b"inside");
            }
        }
        for name in root.read_dir(&path("/dir")).into_iter().flatten() {
            assert_eq!(name.name, b"x");
        }
    });
}

/// A directory is moved out of the root while `..` of a link in it is resolved.
#[test]
fn climbing_does_not_get_out() {
    for engine in [Engine::Kernel, Engine::Walking] {
        let outside = ScratchRoot::with("d 0755 /hole/in\nf 0600 /x \"canary\"");
        let scratch =
            ScratchRoot::with("d 0755 /a/b\nf 0644 /x \"inside\"\nl 0777 /up -> a/b/../../x");
        let root = RootDir::open_with(scratch.path(), engine).expect("because it is there");
        let (inner, outer) = (scratch.path().join("a/b"), outside.path().join("hole/in"));
        let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| swap(&inner, &outer, &stop, &swaps));
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && swaps.load(Ordering::Relaxed) < 5000 {
                let found = root.resolve(&path("/up"));
                if let Ok(found) = found {
                    assert_eq!(found, path("/x"));
                }
                if let Ok(up) = root.subdir(&path("/a/b")) {
                    drop(up.read(&path("/../x"), 10));
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
