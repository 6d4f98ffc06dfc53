//! What happens to the store when writers are killed, disks are full, or nothing can be written.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci::Digest;
use store::{BlobStore, Error};
use testkit::{ScratchRoot, in_private_mounts, mount_tmpfs_with, require_root};

use super::{names, store};

/// Says to the program of these tests that it is to write into this store until it is killed.
const STORE: &str = "KANIKO_TEST_STORE";

/// The largest blob that is written until the end comes.
const LARGEST: u64 = 300_000;

/// A row of numbers that looks random and is the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// Not a test of its own: what [`Writer`] starts in another program.
#[test]
fn a_writer_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(STORE) else { return };
    let blobs = BlobStore::open(Path::new(&path)).expect("the store can be shared");
    let mut numbers = Numbers(u64::from(std::process::id()));
    loop {
        let content: Vec<u8> =
            (0..numbers.below(LARGEST)).map(|_| numbers.below(256) as u8).collect();
        let digest = Digest::sha256_of(&content);
        let mut writer = blobs.writer().expect("the store is there");
        for piece in content.chunks(10_000) {
            writer.write_all(piece).expect("room");
        }
        writer.commit(&digest, content.len() as u64).expect("it is what was expected");
    }
}

/// Another program that writes into the store.
struct Writer(Child);

impl Writer {
    fn start(store: &Path) -> Self {
        let own = std::env::current_exe().expect("it is running");
        let child = Command::new(own)
            .args(["--exact", "deaths::a_writer_that_writes_until_it_is_killed"])
            .env(STORE, store)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("it is running already"))
    }

    fn kill(mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it was killed");
    }
}

/// Waits until `happened`, for a generous while.
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// The largest file that is being written.
fn half_written(store: &BlobStore) -> u64 {
    let entries = std::fs::read_dir(store.root().join("tmp")).expect("the store is there");
    let sizes = entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len()));
    sizes.max().unwrap_or(0)
}

fn visible(store: &BlobStore) -> Vec<PathBuf> {
    let directory = store.root().join("blobs/sha256");
    names(&directory).into_iter().map(|name| directory.join(name)).collect()
}

#[test]
fn killed_writers_leave_whole_blobs_and_nothing_else() {
    let (_scratch, store) = store();
    let mut numbers = Numbers(4);
    for round in 0..12 {
        let (one, two) = (Writer::start(store.root()), Writer::start(store.root()));
        // Killed somewhere inside a file, or right after one became visible.
        let (size, count) = (numbers.below(LARGEST / 2), visible(&store).len());
        match round % 3 {
            0 => until("a new blob", || visible(&store).len() > count),
            _ => until("a longer file", || half_written(&store) > size),
        }
        one.kill();
        // The other one lives: what it writes is not taken away, and it goes on.
        let again = BlobStore::open(store.root()).expect("the store can be shared");
        let count = visible(&again).len();
        until("the other writer", || visible(&again).len() > count + 1);
        two.kill();
        for path in visible(&store) {
            let content = std::fs::read(&path).expect("nobody removes it");
            let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
            assert_eq!(Digest::sha256_of(&content).hex(), name, "round {round}");
            std::fs::remove_file(path).expect("it is ours");
        }
        BlobStore::open(store.root()).expect("the store is whole");
        assert_eq!(names(&store.root().join("tmp")), Vec::<String>::new(), "round {round}");
    }
}

/// What `put` says on a tmpfs of this kind; nothing may be left but what was there.
fn put_into(options: &str, content: &[u8]) -> String {
    let scratch = ScratchRoot::new();
    in_private_mounts(|| {
        mount_tmpfs_with(scratch.path(), options);
        let store = BlobStore::open(scratch.path()).expect("there is room for directories");
        let digest = store.put(b"small").expect("there is room for this");
        let error = store.put(content).expect_err("there is no room");
        assert_eq!(names(&store.root().join("tmp")), Vec::<String>::new());
        assert_eq!(visible(&store), [store.path(&digest)]);
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let error = error.to_string().replace(&scratch.path().display().to_string(), "DIR");
        let pid = std::process::id().to_string();
        format!("{error}: {}", cause.unwrap_or_default()).replace(&pid, "PID")
    })
}

#[test]
fn root_a_full_disk_is_a_named_error_and_leaves_nothing() {
    if !require_root("a small file system") {
        return;
    }
    let no_space = "No space left on device (os error 28)";
    let large = put_into("size=256k", &vec![1; 1 << 20]);
    assert_eq!(large, format!("cannot write `DIR/tmp/PID-1`: {no_space}"));
    let one_more = put_into("nr_inodes=8", b"one more");
    assert_eq!(one_more, format!("cannot create `DIR/tmp/PID-1`: {no_space}"));
}

#[test]
fn root_what_cannot_be_written_to_is_a_named_error_and_can_be_read() {
    use rustix::mount::{MountFlags, mount_remount};
    if !require_root("a file system that cannot be written to") {
        return;
    }
    let scratch = ScratchRoot::new();
    in_private_mounts(|| {
        mount_tmpfs_with(scratch.path(), "");
        let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
        let digest = BlobStore::open(&old).and_then(|store| store.put(b"content"));
        let digest = digest.expect("there is room");
        mount_remount(scratch.path(), MountFlags::RDONLY, "").expect("the mount is ours");
        let store = BlobStore::open(&old).expect("it is there");
        store.open_blob(&digest).expect("reading is allowed");
        let check = |error: Error, expected: &str| {
            let text = error.to_string().replace(&scratch.path().display().to_string(), "DIR");
            assert_eq!(text, expected);
        };
        check(
            store.put(b"other").expect_err("writing is not"),
            "cannot open the lock file `DIR/old/tmp.lock`",
        );
        check(
            BlobStore::open(&new).expect_err("it cannot be made"),
            "cannot create `DIR/new/blobs/sha256`",
        );
    });
}

/// A store of three blobs of 100,000 bytes, used in this order: `b`, `c`, `a`.
fn three(store: &BlobStore) -> Vec<Digest> {
    let put = |byte: u8| store.put(&vec![byte; 100_000]).expect("there is room");
    let digests: Vec<Digest> = b"abc".iter().map(|byte| put(*byte)).collect();
    for (digest, age) in digests.iter().zip([300, 200, 100]) {
        let file = std::fs::OpenOptions::new().write(true).open(store.path(digest));
        let file = file.expect("it is there");
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - age);
        file.set_modified(time).expect("it is ours");
    }
    drop(store.open_blob(&digests[0]).expect("it is there"));
    digests
}

#[test]
fn what_was_used_least_recently_goes_first() {
    for (most, gone, left) in [
        (300_000, 0, &[0, 1, 2][..]),
        (299_999, 100_000, &[0, 2][..]),
        (199_999, 200_000, &[0][..]),
        (0, 300_000, &[][..]),
    ] {
        let (_scratch, store) = store();
        let digests = three(&store);
        assert_eq!(store.collect(most).expect("it is ours"), gone);
        let found: Vec<usize> = (0..3).filter(|at| store.contains(&digests[*at])).collect();
        assert_eq!(found, left, "at most {most} bytes");
    }
}

#[test]
fn root_a_store_takes_at_most_half_of_its_disk() {
    if !require_root("a small file system") {
        return;
    }
    let scratch = ScratchRoot::new();
    in_private_mounts(|| {
        mount_tmpfs_with(scratch.path(), "size=500k");
        let store = BlobStore::open(scratch.path()).expect("there is room");
        let digests = three(&store);
        assert_eq!(store.collect(u64::MAX).expect("it is ours"), 100_000);
        assert!(!store.contains(&digests[1]) && store.contains(&digests[0]));
    });
}
