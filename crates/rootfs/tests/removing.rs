//! Removing trees: what goes, what stays, and that nothing else is touched.
#![allow(missing_docs)]

use rootfs::{Protected, RootDir, RootPath};
use testkit::{ScratchRoot, require_root, tree};

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because paths in tests are short")
}

/// Removes `target` but for what is protected; says what stayed and shows what is left.
fn check(before: &str, target: &str, protected: &[&str], after: &str) {
    let scratch = ScratchRoot::with(before);
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let protected = Protected::from_paths(protected.iter().map(|text| path(text)));
    let target = path(target);
    let removal = if target.is_root() {
        root.remove_contents(&target, &protected)
    } else {
        root.remove_tree(&target, &protected)
    };
    let stayed = removal.map(|removal| format!("{:?}", removal.stayed));
    let tree = tree::print_with(scratch.path(), tree::Shown { owners: false, times: false });
    let answer = stayed.unwrap_or_else(|error| error.to_string());
    let after: Vec<&str> = after.lines().map(str::trim).collect();
    assert_eq!(format!("{answer}\n{tree}").trim(), after.join("\n"));
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
    let outside = ScratchRoot::with("f 0644 /precious \"\"");
    let scratch =
        ScratchRoot::with("d 0755 /a/mnt\nf 0644 /a/go \"\"\nf 0644 /a/hosts \"\"\nd 0755 /a/tmp");
    testkit::in_private_mounts(|| {
        // The same file system: only the mount's id tells.
        testkit::mount_bind(outside.path(), &scratch.path().join("a/mnt"));
        testkit::mount_bind(&outside.path().join("precious"), &scratch.path().join("a/hosts"));
        testkit::mount_tmpfs(&scratch.path().join("a/tmp"));
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let mounts = Protected::none().with_mounts(&root).expect("because /proc is there");
        let listed: Vec<_> = mounts.iter().map(ToString::to_string).collect();
        assert_eq!(listed, ["/a/hosts", "/a/mnt", "/a/tmp"]);
        let removal = root.remove_tree(&path("/a"), &Protected::none());
        let stayed = removal.expect("because mounts are no error").stayed;
        assert_eq!(format!("{stayed:?}"), "[`/a/hosts`, `/a/mnt`, `/a/tmp`]");
        let direct = root.remove_tree(&path("/a/mnt"), &Protected::none());
        assert_eq!(direct.expect("because mounts are no error").stayed, [path("/a/mnt")]);
        let below = root.remove_tree(&path("/a/mnt/precious"), &Protected::none());
        assert_eq!(below.expect("because mounts are no error").stayed, [path("/a/mnt/precious")]);
    });
    assert!(outside.path().join("precious").exists());
    let left = tree::print(scratch.path());
    assert_eq!(left.lines().count(), 4, "{left}");
}
