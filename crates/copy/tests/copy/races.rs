//! Somebody swaps a directory and a link that leads out, while it is copied from or to.

use copy::{CopyRequest, IdentifyRequest, Instruction, Item, Origin, Tree};
use rootfs::{Engine, FileKind, Protected, RootDir, RootPath};
use testkit::ScratchRoot;
use testkit::race::{Arena, SECRET, SECRET_NAME};

use super::can_run;

/// One COPY from the tree `from` to the root `to`. Whether it succeeds is the attacker's choice.
fn copy(from: &RootDir, source: &str, to: &RootDir, dest: &str, origin: Origin) {
    let none = Protected::none();
    let tree = Tree { root: from, ignore: None, protected: &none, origin };
    let item = Item::Path { tree: &tree, path: source.as_bytes(), unpack: false };
    drop(copy::copy(&CopyRequest {
        instruction: Instruction::Copy,
        items: &[item],
        dest: dest.as_bytes(),
        cwd: &RootPath::root(),
        root: to,
        protected: &none,
        owner: None,
        mode: None,
        exclude: &[],
        parents: false,
        link: false,
        threads: 2,
        stop: &|| false,
    }));
}

/// What the tree `from` has at `source`, if the attacker lets it be told.
fn identify(from: &RootDir, source: &str) {
    let none = Protected::none();
    let tree = Tree { root: from, ignore: None, protected: &none, origin: Origin::Image };
    let item = Item::Path { tree: &tree, path: source.as_bytes(), unpack: false };
    let found = copy::identify(&IdentifyRequest {
        items: &[item],
        exclude: &[],
        parents: false,
        keeps_owners: true,
        whole_directories: true,
        threads: 2,
        stop: &|| false,
    });
    for file in found.into_iter().flatten().flat_map(|source| source.files) {
        assert!(!file.path.contains(SECRET_NAME), "{}", file.path);
    }
}

const INSIDE: &str = "f 0644 /dir/x \"inside\"\nf 0644 /dir/sub/y \"inside\"";

fn open(scratch: &ScratchRoot) -> RootDir {
    RootDir::open(scratch.path()).expect("because it is there")
}

fn check(work: impl Fn(&RootDir)) {
    if !can_run() {
        return;
    }
    for engine in [Engine::Kernel, Engine::Walking] {
        let arena = Arena::new(INSIDE);
        let root = RootDir::open_with(arena.root(), engine).expect("because it is there");
        arena.race(|| work(&root));
    }
}

/// Looks for anything of the canary.
fn assert_clean(root: &RootDir, directory: &RootPath) {
    for entry in root.read_dir(directory).expect("because nobody swaps here") {
        assert_ne!(entry.name, SECRET_NAME.as_bytes());
        let path = directory.join(&entry.name).expect("because it is short");
        match entry.kind {
            FileKind::Directory => assert_clean(root, &path),
            FileKind::File => {
                let content = root.read(&path, 100).expect("because it is small");
                assert_ne!(content, SECRET.as_bytes(), "{path}");
            }
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::BlockDevice
            | FileKind::CharDevice => {}
        }
    }
}

#[test]
fn root_copying_from_takes_nothing_in() {
    let scratch = ScratchRoot::new();
    let to = open(&scratch);
    check(|from| {
        for source in ["/dir", "/link", "/dir/x", "/link/sub", "/*/x", "/"] {
            copy(from, source, &to, "/out/", Origin::Context);
            copy(from, source, &to, "/image/", Origin::Image);
            identify(from, source);
        }
        assert_clean(&to, &RootPath::root());
        to.remove_contents(&RootPath::root(), &Protected::none()).expect("because it is ours");
    });
}

#[test]
fn root_copying_to_does_not_get_out() {
    let scratch = ScratchRoot::with(
        "f 0600 /x \"pwn\"\nf 0600 /y \"pwn\"\nf 0600 /sub/y \"pwn\"\nf 0600 /sub/new \"pwn\"",
    );
    let from = open(&scratch);
    check(|to| {
        for dest in ["/dir", "/link", "/dir/sub/", "/link/new/"] {
            copy(&from, "/", to, dest, Origin::Context);
            copy(&from, "/sub", to, dest, Origin::Image);
            copy(&from, "/x", to, dest, Origin::Context);
        }
    });
}
