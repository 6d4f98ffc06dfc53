//! What a step did to a tree, and what the snapshot says about it: before → action → changes.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a step does not go through `RootDir` either")]

mod touches;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rootfs::{Change, ChangeSet, Protected, RootDir, RootPath};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use snapshot::{Contents, Error, ScanOptions, diff, scan};
use testkit::{ScratchRoot, require_root, tree};

/// A tree with one of everything a test needs.
const BEFORE: &str = "d 0755 /d
    f 0644 /d/f \"content\" @1000000000
    f 0644 /d/g \"other\"
    l 0777 /l -> d/f
    f 0644 /one \"linked\"
    h /two = /one
    p 0644 /p";

fn options(contents: Contents, protected: &Protected) -> ScanOptions<'_> {
    ScanOptions { threads: 3, protected, contents }
}

/// Waits until nothing in the tree can be taken for recent.
fn settle() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(60) {
        std::thread::yield_now();
    }
}

fn printed(root: &Path, changes: &ChangeSet) -> String {
    let line = |change: Change| match change {
        Change::Upsert(path) if path.is_root() => "d /".to_owned(),
        Change::Upsert(path) => tree::print_one(root, &path.to_string()),
        Change::Remove(path) => format!("w {path}"),
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The changes without owners, which are ours, and without directories, which a change of a name
/// in them always changes.
fn brief(root: &Path, changes: &ChangeSet) -> String {
    let text = printed(root, changes);
    let owner =
        format!(" {}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let lines = text.lines().filter(|line| !line.starts_with("d ") || line.contains("/new"));
    lines.map(|line| line.replacen(&owner, "", 1)).collect::<Vec<_>>().join("\n")
}

/// One way to look at a case.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// The step begins right after the tree was made. Whether contents are known depends on how
    /// soon that is, so nothing may be expected that depends on it.
    Fresh,
    /// Everything in the tree is old.
    Settled,
    /// Old, and all contents were read once.
    Known,
    /// Old, and all contents are read at every scan.
    All,
}

fn changes(scratch: &ScratchRoot, when: When, action: &dyn Fn(&Path)) -> Result<String, Error> {
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let contents = match when {
        When::Fresh | When::Settled => Contents::Recent,
        When::Known => Contents::Known,
        When::All => Contents::All,
    };
    let protected = Protected::none();
    let options = options(contents, &protected);
    if when != When::Fresh {
        settle();
    }
    let baseline = scan(&root, &options)?;
    action(scratch.path());
    let (changes, baseline) = diff(&root, baseline, &options)?;
    // And then nothing happens any more.
    let (rest, _) = diff(&root, baseline, &options)?;
    assert!(rest.is_empty(), "a second look found {rest:?}");
    Ok(brief(scratch.path(), &changes))
}

fn check_when(when: &[When], action: &dyn Fn(&Path), wanted: &str) {
    for when in when {
        let scratch = ScratchRoot::with(BEFORE);
        let found = changes(&scratch, *when, action).unwrap_or_else(|error| error.to_string());
        let wanted: Vec<&str> = wanted.lines().map(str::trim).collect();
        assert_eq!(found, wanted.join("\n"), "{when:?}");
    }
}

fn check(action: impl Fn(&Path), wanted: &str) {
    check_when(&[When::Fresh, When::Settled, When::Known, When::All], &action, wanted);
}

fn restore_time(path: &Path, before: &fs::Metadata) {
    let time = Timespec { tv_sec: before.mtime(), tv_nsec: before.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .expect("because it is ours");
}

fn write(path: impl AsRef<Path>, content: &str) {
    fs::write(path, content).expect("because it is ours");
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("because it is ours");
}

#[test]
fn nothing_is_no_change() {
    check(|_| {}, "");
    check(|root| drop(fs::read(root.join("d/f"))), "");
}

#[test]
fn contents() {
    check(|root| write(root.join("d/f"), "changed"), "f 0644 /d/f \"changed\"");
    check(|root| write(root.join("new"), "new"), "f 0644 /new \"new\"");
    check(
        |root| write(root.join("d/g"), "longer than before"),
        "f 0644 /d/g \"longer than before\"",
    );
    // The same size, and the time set back.
    check(
        |root| {
            let path = root.join("d/f");
            let before = fs::symlink_metadata(&path).expect("because it is there");
            write(&path, "CONTENT");
            restore_time(&path, &before);
        },
        "f 0644 /d/f \"CONTENT\"",
    );
    // Another file with the same size and time in its place.
    check(
        |root| {
            let path = root.join("d/f");
            let before = fs::symlink_metadata(&path).expect("because it is there");
            write(root.join("temporary"), "CONTENT");
            chmod(root.join("temporary"), 0o644);
            restore_time(&root.join("temporary"), &before);
            fs::rename(root.join("temporary"), &path).expect("because it is ours");
        },
        "f 0644 /d/f \"CONTENT\"",
    );
}

#[test]
fn removals_are_minimal() {
    check(|root| fs::remove_file(root.join("p")).expect("because it is ours"), "w /p");
    check(|root| fs::remove_dir_all(root.join("d")).expect("because it is ours"), "w /d");
    check(
        |root| {
            fs::remove_dir_all(root.join("d")).expect("because it is ours");
            fs::create_dir(root.join("d")).expect("because nothing is there");
            write(root.join("d/g"), "new");
        },
        "w /d/f\nf 0644 /d/g \"new\"",
    );
    check(
        |root| {
            fs::create_dir_all(root.join("x/y")).expect("because nothing is there");
            fs::remove_dir_all(root.join("x")).expect("because it is ours");
        },
        "",
    );
}

#[test]
fn metadata() {
    check(|root| chmod(root.join("d/f"), 0o4755), "f 4755 /d/f \"content\"");
    check(|root| chmod(root.join("p"), 0o600), "p 0600 /p");
    check(
        |root| restore_time(&root.join("l"), &fs::metadata(root.join("d/f")).expect("there")),
        "l 0777 /l -> d/f",
    );
    check(
        |root| {
            let path = root.join("d/f");
            rustix::fs::setxattr(path, "user.note", b"v", XattrFlags::empty()).expect("it is ours");
        },
        "f 0644 /d/f \"content\" user.note=\"v\"",
    );
}

#[test]
fn what_only_moved_its_ctime() {
    let there_and_back = |root: &Path| {
        chmod(root.join("d/f"), 0o600);
        chmod(root.join("d/f"), 0o644);
    };
    // The content is known: it did not change.
    check_when(&[When::Known, When::All], &there_and_back, "");
    // It is not: it may have been rewritten with its time restored.
    check_when(&[When::Settled], &there_and_back, "f 0644 /d/f \"content\"");
}

#[test]
fn kinds() {
    check(
        |root| {
            fs::remove_dir_all(root.join("d")).expect("because it is ours");
            write(root.join("d"), "file");
        },
        "f 0644 /d \"file\"",
    );
    check(
        |root| {
            fs::remove_dir_all(root.join("d")).expect("because it is ours");
            symlink("elsewhere", root.join("d")).expect("because nothing is there");
        },
        "l 0777 /d -> elsewhere",
    );
    check(
        |root| {
            fs::remove_file(root.join("p")).expect("because it is ours");
            fs::create_dir_all(root.join("p/new")).expect("because nothing is there");
        },
        "d 0755 /p/new",
    );
    check(
        |root| {
            fs::remove_file(root.join("l")).expect("because it is ours");
            symlink("d/g", root.join("l")).expect("because nothing is there");
        },
        "l 0777 /l -> d/g",
    );
    // A socket cannot be in a layer, but what it replaced is gone.
    check(
        |root| {
            fs::remove_file(root.join("p")).expect("because it is ours");
            drop(std::os::unix::net::UnixListener::bind(root.join("p")).expect("it is short"));
        },
        "w /p",
    );
}

#[test]
fn names_of_one_file() {
    // A third name: the others did not change, so the layer holds it as a file of its own.
    let link = |root: &Path| {
        fs::hard_link(root.join("one"), root.join("three")).expect("because it is ours");
    };
    check_when(&[When::Known, When::All], &link, "f 0644 /three \"linked\"");
    let all = "f 0644 /one \"linked\"\nf 0644 /three \"linked\"\nf 0644 /two \"linked\"";
    check_when(&[When::Settled], &link, all);
    check(
        |root| write(root.join("two"), "written through one of its names"),
        "f 0644 /one \"written through one of its names\"\nf 0644 /two \"written through one of its names\"",
    );
    // A name less: a removal says it all, if what is left is known not to have changed.
    let unlink = |root: &Path| fs::remove_file(root.join("two")).expect("because it is ours");
    check_when(&[When::Known, When::All], &unlink, "w /two");
    check_when(&[When::Settled], &unlink, "f 0644 /one \"linked\"\nw /two");
    // No longer one file.
    let part = |root: &Path| {
        unlink(root);
        write(root.join("two"), "linked");
    };
    check_when(&[When::Known, When::All], &part, "f 0644 /two \"linked\"");
    check_when(&[When::Settled], &part, "f 0644 /one \"linked\"\nf 0644 /two \"linked\"");
}

#[test]
fn a_name_moved_with_its_directory_does_not_bring_the_others() {
    for when in [When::Fresh, When::Settled, When::Known, When::All] {
        let scratch = ScratchRoot::with("f 0644 /a/x \"x\"\nh /b/y = /a/x");
        let rename = |root: &Path| fs::rename(root.join("a"), root.join("c")).expect("ours");
        let found = changes(&scratch, when, &rename).expect("because all can be read");
        assert_eq!(found, "w /a\nf 0644 /c/x \"x\"", "{when:?}");
    }
}

#[test]
fn directories_are_in_the_set_for_their_own_metadata() {
    let all = |action: &dyn Fn(&Path)| {
        let scratch = ScratchRoot::with(BEFORE);
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let protected = Protected::none();
        let options = options(Contents::Recent, &protected);
        let baseline = scan(&root, &options).expect("because all can be read");
        action(scratch.path());
        let (changes, _) = diff(&root, baseline, &options).expect("because all can be read");
        let paths = changes.iter().map(|change| match change {
            Change::Upsert(path) => format!("+{path}"),
            Change::Remove(path) => format!("-{path}"),
        });
        paths.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(all(&|root| write(root.join("d/f"), "in place")), "+/d/f");
    assert_eq!(all(&|root| write(root.join("d/new"), "")), "+/d +/d/new");
    assert_eq!(all(&|root| write(root.join("new"), "")), "+/new");
    assert_eq!(all(&|root| chmod(root.join("d"), 0o711)), "+/d");
    assert_eq!(all(&|root| chmod(root, 0o711)), "+/");
    let label = |path: &Path| {
        rustix::fs::setxattr(path, "user.n", b"v", XattrFlags::empty())
            .expect("because it is ours");
    };
    assert_eq!(all(&|root| label(&root.join("d"))), "+/d");
    assert_eq!(all(&|root| label(root)), "+/");
    let there_and_back = |root: &Path| {
        chmod(root.join("d"), 0o711);
        chmod(root.join("d"), 0o755);
    };
    assert_eq!(all(&there_and_back), "", "all about a directory is known without its ctime");
}

#[test]
fn names_that_mean_removals_are_refused() {
    let wanted =
        "`/d/.wh.f` cannot be stored in a layer: names beginning with `.wh.` mean a removal";
    check(|root| write(root.join("d/.wh.f"), ""), wanted);
}

#[test]
fn sparse_files_are_read_by_their_data() {
    let scratch = ScratchRoot::new();
    let make = |root: &Path, byte: u8| {
        let file =
            fs::OpenOptions::new().create(true).write(true).truncate(false).open(root.join("big"));
        let file = file.expect("because it is ours");
        file.set_len(1 << 40).expect("because holes take no room");
        file.write_all_at(&[byte; 3], (1 << 39) + 5).expect("because there is room");
    };
    make(scratch.path(), 1);
    let before = fs::metadata(scratch.path().join("big")).expect("because it is there");
    let again = |byte: u8| {
        make(scratch.path(), byte);
        restore_time(&scratch.path().join("big"), &before);
    };
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let protected = Protected::none();
    let options = options(Contents::All, &protected);
    let baseline = scan(&root, &options).expect("because all can be read");
    again(1);
    let (none, baseline) = diff(&root, baseline, &options).expect("because all can be read");
    assert!(none.is_empty(), "{none:?}");
    again(2);
    let (changes, _) = diff(&root, baseline, &options).expect("because all can be read");
    assert_eq!(changes.len(), 1);
}

#[test]
fn protected_paths_are_not_seen() {
    let scratch = ScratchRoot::with("f 0644 /kaniko/x \"\"\nf 0644 /etc/hosts \"\"");
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let none = Protected::none();
    let path = |text: &str| RootPath::new(text).expect("because it is short");
    let protected = Protected::from_paths([path("/kaniko"), path("/etc/hosts")]);
    // Protected from the start, or only later.
    for first in [&protected, &none] {
        let baseline = scan(&root, &options(Contents::Recent, first)).expect("all can be read");
        write(scratch.path().join("kaniko/x"), "state");
        write(scratch.path().join("etc/hosts"), "mine");
        let options = options(Contents::Recent, &protected);
        let (changes, _) = diff(&root, baseline, &options).expect("because all can be read");
        assert!(changes.is_empty(), "{changes:?}");
    }
}

#[test]
fn root_mounts_are_not_part_of_the_tree() {
    if !require_root("mounts") {
        return;
    }
    testkit::in_private_mounts(|| {
        let scratch =
            ScratchRoot::with("f 0644 /mnt/hidden \"\"\nf 0644 /file \"\"\nf 0644 /src/f \"\"");
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let protected = Protected::none();
        let options = options(Contents::Recent, &protected);
        let baseline = scan(&root, &options).expect("because all can be read");
        testkit::mount_bind(&scratch.path().join("src"), &scratch.path().join("mnt"));
        testkit::mount_bind(&scratch.path().join("src/f"), &scratch.path().join("file"));
        let (changes, baseline) = diff(&root, baseline, &options).expect("all can be read");
        assert!(changes.is_empty(), "{changes:?}");
        let unmount = |name: &str| {
            let flags = rustix::mount::UnmountFlags::empty();
            rustix::mount::unmount(scratch.path().join(name), flags).expect("it is mounted");
        };
        unmount("mnt");
        unmount("file");
        let (changes, _) = diff(&root, baseline, &options).expect("because all can be read");
        // What was under the mount is new to us; what it stands on is not.
        assert_eq!(brief(scratch.path(), &changes), "f 0644 /mnt/hidden \"\"");
    });
}
