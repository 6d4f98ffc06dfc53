//! What happens to caches when writers are killed, disks are full, or nothing can be written.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cache::{CacheKey, CachedLayer, LayerCache, TieredCache};
use store::BlobStore;
use testkit::{ScratchRoot, in_private_mounts, mount_tmpfs_with, require_root};

use super::{KINDS, Kind, bytes, key, layer, store};

/// Says to the program of these tests that it is to put into the cache at this place until it is
/// killed; before the colon stands the kind.
const CACHE: &str = "KANIKO_TEST_CACHE";
const WRITERS: usize = 5;
const ROUNDS: usize = 100;
const KEYS: u64 = 6;

/// A row of numbers that looks random and is the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn contended(number: u64) -> CacheKey {
    key(&format!("contended {number}"))
}

/// Not a test of its own: what [`Writer`] starts in another program.
#[tokio::test]
async fn a_writer_that_writes_until_it_is_killed() {
    let Some(text) = std::env::var_os(CACHE) else { return };
    let text = text.into_string().expect("because we wrote it");
    let (kind, path) = text.split_once(':').expect("because we wrote it");
    let kind = if kind == "directory" { Kind::Directory } else { Kind::Layouts };
    let scratch = ScratchRoot::within(Path::new(path));
    let (cache, ours) = (kind.open(&Path::new(path).join("volume")), store(&scratch, "ours"));
    let mut numbers = Numbers(u64::from(std::process::id()));
    loop {
        let length = numbers.below(30_000);
        let content: Vec<u8> = (0..length).map(|_| numbers.below(256) as u8).collect();
        let key = contended(numbers.below(KEYS));
        let made = CachedLayer { content: key, ..layer(&ours, &content) };
        cache.put(&key, &made, &ours).await.expect("because the cache can be shared");
        let digest = &made.layer.descriptor.digest;
        ours.remove(digest).expect("because it is ours");
    }
}

struct Writer(Child);

impl Writer {
    fn start(kind: Kind, path: &Path) -> Self {
        let own = std::env::current_exe().expect("because it is running");
        let kind = if kind == Kind::Directory { "directory" } else { "layouts" };
        let child = Command::new(own)
            .args(["--exact", "deaths::a_writer_that_writes_until_it_is_killed"])
            .env(CACHE, format!("{kind}:{}", path.display()))
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("because it is running already"))
    }

    fn kill(mut self) {
        self.0.kill().expect("because it is ours");
        self.0.wait().expect("because it was killed");
    }
}

/// The names in a directory, if it is there.
fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// What is being written.
fn half_written(kind: Kind, volume: &Path) -> Vec<PathBuf> {
    match kind {
        Kind::Directory => names(&volume.join("layers/tmp")),
        Kind::Layouts => {
            let mut found = names(volume);
            found.retain(|path| path.to_string_lossy().contains(":tmp-"));
            found
        }
    }
}

/// Every key is absent, or whole; returns how many are there.
async fn check_all(kind: Kind, volume: &Path, round: usize) -> usize {
    let cache = kind.open(volume);
    let mut there = 0;
    for number in 0..KEYS {
        let key = contended(number);
        let found = cache.look_up(&key, None).await.expect("because it can be asked");
        let Some(found) = found else { continue };
        assert_eq!(found.content, key, "{kind:?}, round {round}");
        let came = bytes(&*cache, &key, &found).await;
        assert!(came.is_some(), "{kind:?}, round {round}: an entry is torn");
        there += 1;
    }
    there
}

async fn writers_are_killed(kind: Kind) {
    let scratch = ScratchRoot::in_memory();
    let volume = scratch.path().join("volume");
    let mut numbers = Numbers(7);
    let mut most = 0;
    for round in 0..ROUNDS {
        let writers: Vec<Writer> =
            (0..WRITERS).map(|_| Writer::start(kind, scratch.path())).collect();
        // Somebody writes by now; then for as long as it takes to look so many times.
        let begun = Instant::now();
        while half_written(kind, &volume).is_empty() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::yield_now();
        }
        for writer in writers {
            for _ in 0..numbers.below(40) {
                let _ = half_written(kind, &volume);
            }
            writer.kill();
        }
        most = most.max(check_all(kind, &volume, round).await);
        // The stores that they put from.
        for path in names(scratch.path()) {
            if path != volume {
                std::fs::remove_dir_all(path).expect("because their writers are dead");
            }
        }
    }
    assert!(most > 0, "nobody got through");
    what_they_left_is_swept(kind, &scratch, &volume).await;
}

async fn what_they_left_is_swept(kind: Kind, scratch: &ScratchRoot, volume: &Path) {
    let left = half_written(kind, volume);
    assert!(!left.is_empty(), "{kind:?}: of so many, one died in the middle");
    let ours = store(scratch, "last");
    let made = layer(&ours, b"last");
    // What is from this minute may belong to somebody who is just starting.
    kind.open(volume).put(&key("last"), &made, &ours).await.expect("because it can be shared");
    assert_eq!(half_written(kind, volume).len(), left.len());
    let earlier = SystemTime::now() - Duration::from_secs(3600);
    for path in &left {
        let file = std::fs::File::open(path).expect("because it was left");
        file.set_modified(earlier).expect("because it is ours");
    }
    let held = std::fs::File::open(&left[0]).expect("because it was left");
    held.lock().expect("because its writer is dead");
    kind.open(volume).put(&key("last"), &made, &ours).await.expect("because it can be shared");
    assert_eq!(half_written(kind, volume), [left[0].clone()], "one is locked");
}

#[tokio::test]
async fn killed_writers_leave_no_torn_entry_in_a_directory() {
    writers_are_killed(Kind::Directory).await;
}

#[tokio::test]
async fn killed_writers_leave_no_torn_layout() {
    writers_are_killed(Kind::Layouts).await;
}

/// Puts into a cache where that fails, in `act`, and looks what it gives then.
fn check_unusable(options: &str, act: fn(&Path)) {
    for kind in KINDS {
        let scratch = ScratchRoot::new();
        let ours = store(&scratch, "ours");
        let volume = scratch.path().join("volume");
        std::fs::create_dir(&volume).expect("because there is room");
        in_private_mounts(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("because there are threads").block_on(async {
                mount_tmpfs_with(&volume, options);
                let small = layer(&ours, b"small");
                let put = kind.open(&volume).put(&key("small"), &small, &ours).await;
                put.expect("because there is room for this");
                act(&volume);
                unusable(&TieredCache::new(vec![Arc::from(kind.open(&volume))]), &ours).await;
                assert_eq!(half_written(kind, &volume), Vec::<PathBuf>::new());
                assert_eq!(
                    bytes(&*kind.open(&volume), &key("small"), &small).await.as_deref(),
                    Some(&b"small"[..])
                );
            });
        });
    }
}

async fn unusable(cache: &dyn LayerCache, ours: &BlobStore) {
    let large = layer(ours, &vec![1; 1 << 20]);
    for word in ["one", "two", "three", "four"] {
        cache.put(&key(word), &large, ours).await.expect_err("because there is no room");
        assert_eq!(cache.look_up(&key(word), None).await.expect("because tiers bear it"), None);
    }
    let small = cache.look_up(&key("small"), None).await.expect("because tiers bear it");
    assert!(small.is_some(), "reading goes on");
}

#[test]
fn root_a_cache_that_is_full_or_cannot_be_written_to_gives_what_it_has() {
    use rustix::mount::{MountFlags, mount_remount};
    if !require_root("a small file system") {
        return;
    }
    check_unusable("size=256k", |_| {});
    check_unusable("", |volume| {
        mount_remount(volume, MountFlags::RDONLY, "").expect("because the mount is ours");
    });
}
