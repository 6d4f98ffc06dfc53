//! Walks: every entry once, nothing twice, nothing outside.
#![allow(missing_docs)]

use std::sync::Mutex;

use rootfs::{Engine, Error, Flow, Order, Protected, RootDir, RootPath, WalkOptions, walk};
use testkit::{ScratchRoot, require_root};

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because paths in tests are short")
}

/// What a walk visits, in each order; directories called `skip` are not entered.
fn check(before: &str, start: &str, protected: &[&str], visited: &str) {
    let scratch = ScratchRoot::with(before);
    let protected = Protected::from_paths(protected.iter().map(|text| path(text)));
    for (order, threads, engine) in [
        (Order::Sorted, 1, Engine::Kernel),
        (Order::Sorted, 1, Engine::Walking),
        (Order::Any, 1, Engine::Kernel),
        (Order::Any, 4, Engine::Kernel),
        (Order::Any, 4, Engine::Walking),
    ] {
        let root = RootDir::open_with(scratch.path(), engine).expect("because it is there");
        let seen = Mutex::new(Vec::new());
        let options = WalkOptions { order, threads, protected: &protected };
        let done = walk(&root, &path(start), &options, &|entry| -> Result<Flow, Error> {
            seen.lock().expect("because no visit panics").push(entry.path.clone());
            let skip = entry.path.file_name() == Some(b"skip");
            Ok(if skip { Flow::Skip } else { Flow::Continue })
        });
        done.expect("because all can be read");
        let mut seen = seen.into_inner().expect("because no visit panics");
        if order == Order::Any {
            seen.sort();
        }
        let seen: Vec<_> = seen.iter().map(ToString::to_string).collect();
        assert_eq!(seen.join(" "), visited, "{order:?} with {threads}, {engine:?}");
    }
}

#[test]
fn everything_is_visited_once() {
    let tree = "f 0644 /a/b/c \"\"
        f 0644 /a.b/x \"\"
        l 0777 /a/l -> ../a.b
        f 0644 /skip/below \"\"
        d 0755 /z";
    check(tree, "/", &[], "/a /a/b /a/b/c /a/l /a.b /a.b/x /skip /z");
    check(tree, "/a", &[], "/a/b /a/b/c /a/l");
    check(tree, "/", &["/a/b", "/z"], "/a /a/l /a.b /a.b/x /skip");
    check("", "/", &[], "");
}

#[test]
fn a_failing_visit_ends_the_walk() {
    let scratch = ScratchRoot::with("f 0644 /a/b \"\"\nf 0644 /c/d \"\"");
    let root = RootDir::open(scratch.path()).expect("because it is there");
    for (order, threads) in [(Order::Sorted, 1), (Order::Any, 3)] {
        let options = WalkOptions { order, threads, protected: &Protected::none() };
        let done =
            walk(&root, &RootPath::root(), &options, &|_| RootPath::new("\0").map(|_| Flow::Skip));
        assert!(matches!(done, Err(Error::PathHasNul { .. })));
    }
}

#[test]
fn too_deep_is_an_error_with_a_name() {
    let scratch = ScratchRoot::new();
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let mut deep = root.clone();
    for _ in 0..1100 {
        deep.create_dir(&path("/d"), 0o755).expect("because there is room");
        deep = deep.subdir(&path("/d")).expect("because it was just made");
    }
    drop(deep);
    let options = WalkOptions { order: Order::Any, threads: 2, protected: &Protected::none() };
    let done = walk(&root, &RootPath::root(), &options, &|_| Ok::<_, Error>(Flow::Continue));
    assert!(matches!(done, Err(Error::PathTooDeep { .. })));
    root.remove_contents(&RootPath::root(), &Protected::none()).expect("because it is ours");
}

#[test]
fn root_mounts_are_visited_but_not_entered() {
    if !require_root("mounts") {
        return;
    }
    let scratch = ScratchRoot::with("d 0755 /mnt\nf 0644 /other/f \"\"");
    testkit::in_private_mounts(|| {
        testkit::mount_bind(&scratch.path().join("other"), &scratch.path().join("mnt"));
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let seen = Mutex::new(Vec::new());
        let options =
            WalkOptions { order: Order::Sorted, threads: 1, protected: &Protected::none() };
        walk(&root, &RootPath::root(), &options, &|entry| -> Result<Flow, Error> {
            seen.lock().expect("because no visit panics").push(entry.path.to_string());
            Ok(Flow::Continue)
        })
        .expect("because all can be read");
        let seen = seen.into_inner().expect("because no visit panics");
        assert_eq!(seen, ["/mnt", "/other", "/other/f"]);
    });
}
