//! Removing trees: what goes, what stays, and that nothing else is touched.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rootfs::{Engine, Protected, RootDir, RootPath};
use testkit::{ScratchRoot, require_root, tree};

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because paths in tests are short")
}

const ENGINES: [Engine; 2] = [Engine::Kernel, Engine::Walking];

fn open(scratch: &ScratchRoot, engine: Engine) -> RootDir {
    RootDir::open_with(scratch.path(), engine).expect("because it is there")
}

/// Removes `target` but for what is protected; says what stayed and shows what is left. Once with
/// each engine.
fn check(before: &str, target: &str, protected: &[&str], after: &str) {
    let protected = Protected::from_paths(protected.iter().map(|text| path(text)));
    let target = path(target);
    let after: Vec<&str> = after.lines().map(str::trim).collect();
    for engine in ENGINES {
        let scratch = ScratchRoot::with(before);
        let root = open(&scratch, engine);
        let removal = if target.is_root() {
            root.remove_contents(&target, &protected)
        } else {
            root.remove_tree(&target, &protected)
        };
        let stayed = removal.map(|removal| format!("{:?}", removal.stayed));
        let tree = tree::print_with(scratch.path(), tree::Shown { owners: false, times: false });
        let answer = stayed.unwrap_or_else(|error| error.to_string());
        assert_eq!(format!("{answer}\n{tree}").trim(), after.join("\n"), "with {engine:?}");
    }
}

#[test]
fn trees_go_and_the_rest_stays() {
    let tree = "f 0644 /d/a/b/c \"\"
        p 0600 /d/a/p
        l 0777 /d/out -> ../e
        f 0644 /e/f \"\"";
    check(tree, "/d", &[], "[]\nd 0755 /e\nf 0644 /e/f \"\"");
    check(
        tree,
        "/d/out",
        &[],
        "[]\nd 0755 /d\nd 0755 /d/a\nd 0755 /d/a/b\nf 0644 /d/a/b/c \"\"\np 0600 /d/a/p\nd 0755 /e\nf 0644 /e/f \"\"",
    );
    check(tree, "/", &[], "[]");
    check("f 0644 /e \"\"", "/nothing/here", &[], "[]\nf 0644 /e \"\"");
    check("f 0644 /e \"\"", "/e", &[], "[]");
    check("f 0644 /e \"\"", "/e/below", &[], "[]\nf 0644 /e \"\"");
    check("d 0000 /d/closed\nf 0000 /d/f \"\"", "/d", &[], "[]");
}

#[test]
fn root_what_was_made_immutable_goes_too() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    if !require_root("immutable files") {
        return;
    }
    let scratch = ScratchRoot::with("f 0644 /d/closed/f \"\"\nf 0644 /d/only-more \"\"");
    for (name, flag) in [
        ("d/closed/f", IFlags::IMMUTABLE),
        ("d/closed", IFlags::IMMUTABLE),
        ("d/only-more", IFlags::APPEND),
        ("d", IFlags::IMMUTABLE),
    ] {
        let file = std::fs::OpenOptions::new().read(true).open(scratch.path().join(name));
        let file = file.expect("because we made it");
        // A file system that knows no flags has nothing in the way either.
        if let Ok(flags) = ioctl_getflags(&file) {
            let _ = ioctl_setflags(&file, flags | flag);
        }
    }
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let removal = root.remove_tree(&path("/d"), &Protected::none());
    assert!(removal.expect("because root may").is_complete());
    assert_eq!(tree::print(scratch.path()), "");
}

#[test]
fn protected_paths_stay_with_their_parents() {
    let tree = "f 0644 /a/b/keep/x \"\"
        f 0644 /a/b/go \"\"
        f 0644 /a/c/go \"\"
        f 0644 /k \"\"";
    check(
        tree,
        "/a",
        &["/a/b/keep"],
        "[`/a/b/keep`]\nd 0755 /a\nd 0755 /a/b\nd 0755 /a/b/keep\nf 0644 /a/b/keep/x \"\"\nf 0644 /k \"\"",
    );
    check(
        tree,
        "/",
        &["/a/b/keep", "/k"],
        "[`/a/b/keep`, `/k`]\nd 0755 /a\nd 0755 /a/b\nd 0755 /a/b/keep\nf 0644 /a/b/keep/x \"\"\nf 0644 /k \"\"",
    );
    check("f 0644 /a/b \"\"", "/a/b", &["/a"], "[`/a/b`]\nd 0755 /a\nf 0644 /a/b \"\"");
    check("f 0644 /a/b \"\"", "/a", &["/a/b/c"], "[]");
    // A link on the way is no way around.
    let tree = "f 0644 /kaniko/x \"\"\nl 0777 /l -> kaniko";
    let left = "d 0755 /kaniko\nf 0644 /kaniko/x \"\"\nl 0777 /l -> kaniko";
    check(tree, "/l/x", &["/kaniko"], &format!("[`/kaniko/x`]\n{left}"));
    check(tree, "/l", &["/kaniko"], "[]\nd 0755 /kaniko\nf 0644 /kaniko/x \"\"");
}

#[test]
fn wide_and_deep_trees_take_few_descriptors() {
    let scratch = ScratchRoot::with("d 0755 /wide");
    let root = RootDir::open(scratch.path()).expect("because it is there");
    for index in 0..5000 {
        let name = path(&format!("/wide/{index}"));
        root.create_file(&name, 0o644).map(drop).expect("because there is room");
    }
    // Deeper than any path may be: made from the inside, as a step would.
    let mut deep = root.clone();
    for _ in 0..1300 {
        deep.create_dir(&path("/d"), 0o755).expect("because there is room");
        deep.create_file(&path("/f"), 0o644).map(drop).expect("because there is room");
        deep = deep.subdir(&path("/d")).expect("because it was just made");
    }
    drop(deep);
    let removal = root.remove_contents(&RootPath::root(), &Protected::none());
    assert!(removal.expect("because all of it is ours").is_complete());
    assert_eq!(tree::print(scratch.path()), "");
}

#[test]
fn root_mounts_are_not_entered() {
    if !require_root("mounts") {
        return;
    }
    for engine in ENGINES {
        let outside = ScratchRoot::with("f 0644 /precious \"\"");
        let scratch = ScratchRoot::with(
            "d 0755 /a/mnt\nf 0644 /a/go \"\"\nf 0644 /a/hosts \"\"\nd 0755 /a/tmp",
        );
        testkit::in_private_mounts(|| {
            // The same file system: only the mount's id tells.
            testkit::mount_bind(outside.path(), &scratch.path().join("a/mnt"));
            testkit::mount_bind(&outside.path().join("precious"), &scratch.path().join("a/hosts"));
            testkit::mount_tmpfs(&scratch.path().join("a/tmp"));
            let root = open(&scratch, engine);
            let mounts = Protected::none().with_mounts(&root).expect("because /proc is there");
            let listed: Vec<_> = mounts.iter().map(ToString::to_string).collect();
            assert_eq!(listed, ["/a/hosts", "/a/mnt", "/a/tmp"]);
            let stayed = |target: &str| {
                let removal = root.remove_tree(&path(target), &Protected::none());
                format!("{:?}", removal.expect("because mounts are no error").stayed)
            };
            assert_eq!(stayed("/a"), "[`/a/hosts`, `/a/mnt`, `/a/tmp`]");
            assert_eq!(stayed("/a/mnt"), "[`/a/mnt`]");
            assert_eq!(stayed("/a/mnt/precious"), "[`/a/mnt/precious`]");
            let all = root.remove_contents(&path("/a/mnt"), &Protected::none());
            assert_eq!(all.expect("because mounts are no error").stayed, [path("/a/mnt")]);
        });
        assert!(outside.path().join("precious").exists());
        let left = tree::print(scratch.path());
        assert_eq!(left.lines().count(), 4, "{left}");
    }
}

/// Something is mounted and unmounted at directories that are being removed.
#[test]
fn root_mounts_that_come_meanwhile_are_not_entered() {
    if !require_root("mounts") {
        return;
    }
    const MOUNTS: u64 = 500;
    // Holds every name that is made below, so that making one changes nothing there.
    let outside = ScratchRoot::with("f 0644 /precious \"\"\nf 0644 /b/d/precious \"\"\nd 0755 /d");
    let before = tree::print(outside.path());
    let scratch = ScratchRoot::with("d 0755 /a/b/d");
    testkit::in_private_mounts(|| {
        let (stop, mounted) = (AtomicBool::new(false), AtomicU64::new(0));
        let root = open(&scratch, Engine::Kernel);
        let mount = || {
            let points = ["a", "a/b", "a/b/d"].map(|point| scratch.path().join(point));
            for point in points.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                if rustix::mount::mount_bind(outside.path(), point).is_ok() {
                    mounted.fetch_add(1, Ordering::Relaxed);
                    let flags = rustix::mount::UnmountFlags::DETACH;
                    // Fails where the directory went meanwhile, which takes its mount with it.
                    let _ = rustix::mount::unmount(point, flags);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(mount);
            let start = Instant::now();
            while mounted.load(Ordering::Relaxed) < MOUNTS
                && start.elapsed() < Duration::from_secs(100)
            {
                drop(root.create_dir_all(&path("/a/b/d"), 0o755));
                let removal = root.remove_tree(&path("/a"), &Protected::none());
                drop(removal.expect("because a mount that comes or goes is no error"));
                let removal = root.remove_contents(&RootPath::root(), &Protected::none());
                drop(removal.expect("because a mount that comes or goes is no error"));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(mounted.load(Ordering::Relaxed) >= MOUNTS, "the mounts did not come to anything");
    });
    assert_eq!(tree::print(outside.path()), before);
}
