//! A root whose attributes stand in a table looks as one that root made: every case runs with a
//! table, and as root once more without one, against the same text.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "tests look at roots from outside")]

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use rootfs::{
    AttributeTable, Error, FileKind, Flow, Order, Protected, RootDir, RootPath, Timestamp,
    WalkEntry, WalkOptions, walk,
};
use testkit::ScratchRoot;

type Done = Result<(), Error>;

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because paths in tests are short")
}

/// What the root tells of itself, in the tree notation.
fn told(root: &RootDir) -> Result<String, Error> {
    let lines = Mutex::new(String::new());
    let visit = |entry: &WalkEntry<'_>| -> Result<Flow, Error> {
        let (path, found) = (entry.path, entry.metadata);
        let node = root.open_node(path)?;
        assert_eq!(node.metadata(), found, "{path}: two ways to ask");
        assert_eq!(root.metadata(path)?, *found, "{path}: two ways to ask");
        assert_eq!(root.get_xattrs(path)?, node.xattrs()?, "{path}: two ways to ask");
        let kind = match found.kind {
            FileKind::File => 'f',
            FileKind::Directory => 'd',
            FileKind::Symlink => 'l',
            FileKind::Fifo => 'p',
            FileKind::Socket => 's',
            FileKind::BlockDevice => 'b',
            FileKind::CharDevice => 'c',
        };
        let mut line = format!("{kind} {:04o} {}:{} {path}", found.mode, found.uid, found.gid);
        if let (major, minor @ 1..) = found.rdev {
            line += &format!(" {major}:{minor}");
        }
        for (name, value) in node.xattrs()? {
            line += &format!(" {}={}", name.escape_ascii(), value.len());
        }
        lines.lock().expect("because nobody panics with it").push_str(&(line + "\n"));
        Ok(Flow::Continue)
    };
    let options = WalkOptions { order: Order::Sorted, threads: 1, protected: &Protected::none() };
    walk(root, &RootPath::root(), &options, &visit)?;
    Ok(lines.into_inner().expect("because nobody panicked with it"))
}

fn check(action: impl Fn(&RootDir) -> Done, expected: &str) {
    let lines: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let run = |root: &RootDir, how: &str| {
        let told =
            action(root).and_then(|()| told(root)).unwrap_or_else(|error| format!("{error}"));
        assert_eq!(told.trim(), lines.join("\n"), "{how}");
    };
    let scratch = ScratchRoot::new();
    let table = Arc::new(AttributeTable::default());
    let plain = RootDir::open(scratch.path()).expect("because it is there");
    run(&plain.with_table(&table).expect("because it is empty"), "with a table");
    if rustix::process::geteuid().is_root() {
        let scratch = ScratchRoot::new();
        let plain = RootDir::open(scratch.path()).expect("because it is there");
        run(&plain, "as root");
    }
}

fn file(root: &RootDir, name: &str, mode: u32) -> Result<File, Error> {
    root.create_file(&path(name), mode)
}

#[test]
fn owners_and_modes_need_not_be_ours() {
    check(
        |root| {
            root.create_dir(&path("/dark"), 0o000)?;
            file(root, "/dark/f", 0o000)?;
            root.set_owner(&path("/dark/f"), 12, 3_000_000)?;
            root.set_owner(&path("/dark"), 4, 5)?;
            root.symlink(&path("/link"), b"dark/f")?;
            root.set_owner(&path("/link"), 6, 7)?;
            root.create_dir(&path("/sticky"), 0o1777)?;
            root.rename(&path("/dark"), &path("/night"))?;
            root.hard_link(&path("/night/f"), &path("/name"))?;
            root.set_mode(&path("/name"), 0o4751)
        },
        "l 0777 6:7 /link
        f 4751 12:3000000 /name
        d 0000 4:5 /night
        f 4751 12:3000000 /night/f
        d 1777 0:0 /sticky",
    );
}

#[test]
fn devices_are_what_they_are_said_to_be() {
    check(
        |root| {
            root.mknod(&path("/null"), FileKind::CharDevice, 0o666, (1, 3))?;
            root.mknod(&path("/disk"), FileKind::BlockDevice, 0o660, (8, 1))?;
            root.set_owner(&path("/disk"), 0, 6)?;
            root.mknod(&path("/pipe"), FileKind::Fifo, 0o622, (0, 0))?;
            let kinds: Vec<_> =
                root.read_dir(&RootPath::root())?.into_iter().map(|entry| entry.kind).collect();
            assert_eq!(kinds, [FileKind::BlockDevice, FileKind::CharDevice, FileKind::Fifo]);
            for name in ["/disk", "/pipe"] {
                assert!(matches!(root.open_file(&path(name)), Err(Error::WrongKind { .. })));
            }
            let directory = root.directory(&RootPath::root())?;
            assert_eq!(directory.metadata_of(b"pipe")?.kind, FileKind::Fifo);
            Ok(())
        },
        "b 0660 0:6 /disk 8:1
        c 0666 0:0 /null 1:3
        p 0622 0:0 /pipe",
    );
}

/// A file capability as the kernel takes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_new_owner_takes_rights_away() {
    check(
        |root| {
            let dress = |name: &str, mode| {
                root.set_mode(&path(name), mode)?;
                root.set_xattr(&path(name), b"security.capability", &CAPABILITY)
            };
            for (name, mode) in [("/run", 0o6755), ("/lock", 0o2644)] {
                let open = file(root, name, 0o600)?;
                dress(name, mode)?;
                root.set_owner_of(&open, &path(name), 1, 2)?;
            }
            root.create_dir(&path("/dir"), 0o755)?;
            root.set_mode(&path("/dir"), 0o6755)?;
            root.set_owner(&path("/dir"), 1, 2)?;
            let open = file(root, "/kept", 0o600)?;
            root.set_owner_of(&open, &path("/kept"), 1, 2)?;
            root.set_mode_of(&open, &path("/kept"), 0o4711)?;
            root.set_xattr_of(&open, &path("/kept"), b"security.capability", &CAPABILITY)?;
            root.set_xattr_of(&open, &path("/kept"), b"user.x", b"y")?;
            root.set_xattr(&path("/dir"), b"user.gone", b"")?;
            root.remove_xattr(&path("/dir"), b"user.gone")
        },
        "d 6755 1:2 /dir
        f 4711 1:2 /kept security.capability=20 user.x=1
        f 2644 1:2 /lock
        f 0755 1:2 /run",
    );
}

#[test]
fn what_is_made_in_a_directory_of_a_group_is_the_groups() {
    check(
        |root| {
            root.create_dir(&path("/shared"), 0o755)?;
            root.set_owner(&path("/shared"), 1, 50)?;
            root.set_mode(&path("/shared"), 0o2775)?;
            root.create_dir(&path("/shared/dir"), 0o755)?;
            file(root, "/shared/dir/f", 0o644)?;
            root.symlink(&path("/shared/link"), b"x")?;
            let directory = root.directory(&path("/shared"))?;
            let made = directory.create_regular(b"g", 0o640)?.expect("because nothing is there");
            made.set_owner(9, 9)?;
            made.set_mode(0o4750)?;
            made.set_xattr(b"user.a", b"b")?;
            assert_eq!(made.metadata()?.mode, 0o4750);
            assert_eq!(made.xattrs()?.len(), 1);
            Ok(())
        },
        "d 2775 1:50 /shared
        d 0755 0:50 /shared/dir
        f 0644 0:0 /shared/dir/f
        f 4750 9:9 /shared/g user.a=1
        l 0777 0:50 /shared/link",
    );
}

#[test]
fn what_the_kernel_refuses_root_is_refused() {
    check(
        |root| {
            root.symlink(&path("/link"), b"x")?;
            root.set_xattr(&path("/link"), b"user.a", b"b")
        },
        "cannot set an attribute of `/link`",
    );
    check(
        |root| root.set_owner(&RootPath::root(), u32::MAX, 0),
        "4294967295 is not a valid owner for `/`",
    );
    check(
        |root| {
            root.symlink(&path("/link"), b"x")?;
            root.set_mode(&path("/link"), 0o600)
        },
        "`/link` is not a file that has a mode (it is a symbolic link)",
    );
}

fn with_table(scratch: &ScratchRoot) -> RootDir {
    let root = RootDir::open(scratch.path()).expect("because it is there");
    root.with_table(&Arc::default()).expect("because it is there")
}

/// An access list and the mode depend on each other; half of that would be wrong.
#[test]
fn access_lists_are_refused() {
    let scratch = ScratchRoot::new();
    let root = with_table(&scratch);
    let open = file(&root, "/f", 0o644).expect("because nothing is there");
    let name = b"system.posix_acl_access";
    for refused in
        [root.set_xattr(&path("/f"), name, b""), root.set_xattr_of(&open, &path("/f"), name, b"")]
    {
        assert!(matches!(refused, Err(Error::NotCarried { .. })), "{refused:?}");
    }
}

/// Nobody is told a guess: neither of what came into the root in another way, nor of a file that
/// has the number of one that is gone.
#[test]
fn only_files_that_were_made_in_the_root_are_known() {
    let scratch = ScratchRoot::new();
    let root = with_table(&scratch);
    std::fs::write(scratch.path().join("strange"), "x").expect("because it is ours");
    let stale = Some(rustix::io::Errno::STALE.raw_os_error());
    let asked = root.metadata(&path("/strange")).map_err(|error| error.raw_os_error());
    assert_eq!(asked, Err(stale));
    for round in 0..100 {
        let open = file(&root, "/f", 0o600).expect("because nothing is there");
        let number = open.metadata().expect("because it is open").ino();
        drop(open);
        let found = root.metadata(&path("/f")).expect("because it was made");
        assert_eq!((found.ino, found.uid, found.mode), (number, 0, 0o600), "round {round}");
        root.set_owner(&path("/f"), 7, 7).expect("because it was made");
        root.set_mode(&path("/f"), 0o4755).expect("because it was made");
        root.remove(&path("/f")).expect("because it is there");
    }
}

/// On disk, nobody gains anything by such a root.
#[test]
fn no_rights_are_on_disk() {
    let scratch = ScratchRoot::new();
    let root = with_table(&scratch);
    let open = file(&root, "/f", 0o6777).expect("because nothing is there");
    root.set_mode_of(&open, &path("/f"), 0o6777).expect("because it was made");
    root.create_dir(&path("/d"), 0o1777).expect("because nothing is there");
    root.mknod(&path("/n"), FileKind::CharDevice, 0o666, (1, 3)).expect("because nothing is there");
    root.set_times(&path("/f"), Timestamp::from_secs(5)).expect("because it was made");
    let mode = |name: &str| {
        let found = std::fs::symlink_metadata(scratch.path().join(name));
        found.expect("because it was made").mode()
    };
    assert_eq!([mode("f"), mode("d"), mode("n")], [0o100_600, 0o040_700, 0o100_600]);
    assert_eq!(root.metadata(&path("/f")).expect("because it was made").mtime.secs, 5);
}
