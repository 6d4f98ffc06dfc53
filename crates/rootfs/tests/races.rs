//! Somebody swaps directories for links out of the root while we work: nothing gets out.
#![allow(missing_docs)]

use std::os::unix::fs::symlink;

use rootfs::{
    Engine, Error, Flow, Order, Protected, RootDir, RootPath, Timestamp, WalkOptions, walk,
};
use testkit::race::{Arena, SECRET, SECRET_NAME, SWAPS, exchange_during};
use testkit::{ScratchRoot, require_root};

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because paths in tests are short")
}

/// Does `work` again and again while `/dir` and a link to the canary exchange their names; the
/// canary must come out as it was.
fn check(inside: &str, work: impl Fn(&RootDir)) {
    for engine in [Engine::Kernel, Engine::Walking] {
        let arena = Arena::new(inside);
        let root = RootDir::open_with(arena.root(), engine).expect("because it is there");
        arena.race(|| work(&root));
    }
}

#[test]
fn attributes_do_not_get_out() {
    check("f 0644 /dir/x \"\"\nf 0644 /dir/sub/y \"\"", |root| {
        // Whether any of these succeeds is the attacker's choice; where they land is not.
        for target in ["/dir/x", "/dir/sub/y", "/dir", "/link/x", "/link"] {
            drop(root.set_mode(&path(target), 0o711));
            drop(root.set_times(&path(target), Timestamp::from_secs(7)));
            drop(root.set_xattr(&path(target), b"user.pwn", b"1"));
            drop(root.remove_xattr(&path(target), b"user.pwn"));
        }
    });
}

#[test]
fn root_owners_do_not_get_out() {
    if !require_root("owners") {
        return;
    }
    check("f 0644 /dir/x \"\"\nf 0644 /dir/sub/y \"\"", |root| {
        for target in ["/dir/x", "/dir/sub/y", "/dir", "/link/x", "/link"] {
            drop(root.set_owner(&path(target), 7, 8));
        }
    });
}

#[test]
fn new_names_do_not_get_out() {
    check("d 0755 /dir\nf 0644 /f \"inside\"", |root| {
        drop(root.create_file(&path("/dir/pwn"), 0o644));
        drop(root.create_dir_all(&path("/dir/a/b"), 0o755));
        drop(root.symlink(&path("/link/l"), b"x"));
        drop(root.mknod(&path("/link/p"), rootfs::FileKind::Fifo, 0o644, (0, 0)));
        drop(root.hard_link(&path("/f"), &path("/dir/h")));
        drop(root.hard_link(&path("/dir/x"), &path("/stolen")));
        drop(root.rename(&path("/dir/pwn"), &path("/link/moved")));
        for name in ["/dir/moved", "/link/l", "/link/p", "/dir/h", "/dir/x", "/link/y"] {
            drop(root.remove(&path(name)));
        }
        assert!(!root.exists(&path("/stolen")).expect("because the root is there"));
    });
}

#[test]
fn removing_does_not_get_out() {
    check("d 0755 /dir", |root| {
        drop(root.create_dir_all(&path("/dir/sub/sub"), 0o755));
        drop(root.create_file(&path("/dir/sub/y"), 0o644));
        drop(root.create_file(&path("/dir/sub/sub/x"), 0o644));
        drop(root.remove_contents(&path("/dir"), &Protected::none()));
        drop(root.remove_tree(&path("/link/sub"), &Protected::none()));
        drop(root.create_file(&path("/dir/x"), 0o644));
        drop(root.remove_tree(&path("/dir/x"), &Protected::none()));
        // With something protected, paths are resolved first.
        let protected = Protected::from_paths([path("/kept")]);
        drop(root.remove_contents(&path("/link"), &protected));
        drop(root.remove_tree(&path("/dir/sub"), &protected));
    });
}

/// The sweep comes upon the exchanged names by itself.
#[test]
fn removing_what_is_above_does_not_get_out() {
    for engine in [Engine::Kernel, Engine::Walking] {
        let arena = Arena::new("d 0755 /dir");
        let root = RootDir::open_with(arena.root(), engine).expect("because it is there");
        arena.race(|| {
            drop(root.remove_contents(&RootPath::root(), &Protected::none()));
            drop(root.create_dir_all(&path("/dir/sub/sub"), 0o755));
            for file in ["/dir/x", "/dir/sub/y", "/dir/sub/sub/x"] {
                drop(root.create_file(&path(file), 0o644));
            }
        });
    }
}

#[test]
fn reading_does_not_get_out() {
    check("f 0644 /dir/x \"inside\"", |root| {
        for target in ["/dir/x", "/link/x"] {
            if let Ok(content) = root.read(&path(target), 100) {
                assert_eq!(content, b"inside");
            }
        }
        for name in root.read_dir(&path("/dir")).into_iter().flatten() {
            assert_eq!(name.name, b"x");
        }
        assert!(root.metadata(&path(&format!("/dir/{SECRET_NAME}"))).is_err());
        assert_ne!(root.read(&path("/link/y"), 100).ok().as_deref(), Some(SECRET.as_bytes()));
    });
}

#[test]
fn walking_does_not_get_out() {
    check("f 0644 /dir/x \"inside\"\nf 0644 /dir/sub/y \"inside\"", |root| {
        for (order, threads) in [(Order::Any, 2), (Order::Sorted, 1)] {
            let options = WalkOptions { order, threads, protected: &Protected::none() };
            let done = walk(root, &RootPath::root(), &options, &|entry| {
                assert_ne!(entry.path.file_name(), Some(SECRET_NAME.as_bytes()));
                Ok::<_, Error>(Flow::Continue)
            });
            drop(done);
        }
    });
}

/// A directory is moved out of the root while `..` of a link in it is resolved.
#[test]
fn climbing_does_not_get_out() {
    for engine in [Engine::Kernel, Engine::Walking] {
        let arena = Arena::new("d 0755 /dir/b\nf 0644 /x \"inside\"");
        symlink("dir/b/../../x", arena.root().join("up")).expect("because nothing is there");
        let root = RootDir::open_with(arena.root(), engine).expect("because it is there");
        let outside = ScratchRoot::within(&arena.root().join(".."));
        testkit::tree::make(outside.path(), "d 0755 /hole/in\nf 0600 /x \"canary\"");
        let (inner, outer) = (arena.root().join("dir/b"), outside.path().join("hole/in"));
        let swaps = exchange_during(
            &inner,
            &outer,
            || true,
            || {
                if let Ok(found) = root.resolve(&path("/up")) {
                    assert_eq!(found, path("/x"));
                }
                if let Ok(up) = root.subdir(&path("/dir/b")) {
                    assert!(up.read(&path("/../x"), 10).is_err());
                }
                if let Ok(content) = root.resolve(&path("/up")).and_then(|up| root.read(&up, 10)) {
                    assert_eq!(content, b"inside");
                }
            },
        );
        assert!(swaps >= SWAPS, "the attacker came to only {swaps} exchanges");
    }
}
