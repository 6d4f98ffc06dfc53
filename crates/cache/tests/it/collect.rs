//! Caches that are kept small.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cache::{CacheKey, CachedLayer, CollectOptions, Collected, DirectoryCache, LayoutCache};
use testkit::ScratchRoot;

use super::{KINDS, Kind, bytes, key, layer, store};

const HOUR: Duration = Duration::from_secs(3600);
const EXPECT: &str = "because the cache is usable";

fn collect(kind: Kind, volume: &Path, options: &CollectOptions) -> Collected {
    let path = volume.join("layers");
    let collected = match kind {
        Kind::Directory => DirectoryCache::new(&path).collect(options),
        Kind::Layouts => LayoutCache::new(&path).collect(options),
    };
    collected.expect("because it is ours")
}

/// Three entries of 100,000 bytes, last used so many hours ago: `a` 30, `b` 10, `c` 20.
struct Three {
    scratch: ScratchRoot,
    kind: Kind,
    now: SystemTime,
    layers: Vec<CachedLayer>,
}

const WORDS: [&str; 3] = ["a", "b", "c"];

impl Three {
    async fn new(kind: Kind) -> Self {
        let scratch = ScratchRoot::in_memory();
        let ours = store(&scratch, "ours");
        let cache = kind.open(&scratch.path().join("volume"));
        let now = SystemTime::now() + 1000 * HOUR;
        let mut three = Self { scratch, kind, now, layers: Vec::new() };
        for (word, hours) in WORDS.into_iter().zip([30, 10, 20]) {
            let made = layer(&ours, &word.as_bytes().repeat(100_000));
            cache.put(&key(word), &made, &ours).await.expect(EXPECT);
            three.layers.push(made);
            three.use_at(&key(word), now - hours * HOUR);
        }
        three
    }

    fn volume(&self) -> PathBuf {
        self.scratch.path().join("volume")
    }

    fn use_at(&self, key: &CacheKey, time: SystemTime) {
        let text = key.to_string();
        let path = match self.kind {
            Kind::Directory => {
                self.volume().join("layers/records").join(&text[..2]).join(&text[2..])
            }
            Kind::Layouts => self.volume().join(format!("layers:{key}/index.json")),
        };
        let file = std::fs::File::open(path).expect("because it was put");
        file.set_modified(time).expect("because it is ours");
    }

    fn collect(&self, max_bytes: Option<u64>, max_hours: Option<u32>) -> Collected {
        let max_age = max_hours.map(|hours| hours * HOUR);
        let options = CollectOptions { max_bytes, max_age, now: self.now };
        collect(self.kind, &self.volume(), &options)
    }

    async fn left(&self) -> String {
        let cache = self.kind.open(&self.volume());
        let mut left = String::new();
        for (word, layer) in WORDS.into_iter().zip(&self.layers) {
            if let Some(found) = cache.look_up(&key(word), None).await.expect(EXPECT) {
                assert_eq!(found, *layer);
                assert!(bytes(&*cache, &key(word), layer).await.is_some(), "{word} is whole");
                left += word;
            }
        }
        left
    }
}

async fn check(max_bytes: Option<u64>, max_hours: Option<u32>, expected: &str) {
    for kind in KINDS {
        let three = Three::new(kind).await;
        let collected = three.collect(max_bytes, max_hours);
        assert_eq!(three.left().await, expected, "{kind:?}: {max_bytes:?} {max_hours:?}");
        assert_eq!(collected.left, expected.len());
        assert_eq!(collected.removed.len(), 3 - expected.len());
        let bytes = |entries: usize| entries as u64 * 100_000..entries as u64 * 105_000 + 1;
        assert!(bytes(3 - expected.len()).contains(&collected.removed_bytes), "{collected:?}");
        assert!(bytes(expected.len()).contains(&collected.left_bytes), "{collected:?}");
        // The oldest first.
        assert!(collected.removed.is_sorted_by_key(|entry| entry.used));
    }
}

#[tokio::test]
async fn the_least_recently_used_goes_first() {
    check(Some(u64::MAX), None, "abc").await;
    check(Some(320_000), None, "abc").await;
    check(Some(300_000), None, "bc").await;
    check(Some(220_000), None, "bc").await;
    check(Some(120_000), None, "b").await;
    check(Some(0), None, "").await;
    check(None, Some(40), "abc").await;
    check(None, Some(25), "bc").await;
    check(None, Some(5), "").await;
    check(Some(120_000), Some(25), "b").await;
    check(Some(220_000), Some(15), "b").await;
}

#[tokio::test]
async fn a_use_counts() {
    for kind in KINDS {
        let three = Three::new(kind).await;
        assert_eq!(three.left().await, "abc");
        // That was in the real world's present, long before this one's.
        let collected = three.collect(None, Some(999));
        assert_eq!((collected.removed.len(), collected.left), (3, 0), "{kind:?}");

        let three = Three::new(kind).await;
        for word in WORDS {
            three.use_at(&key(word), SystemTime::UNIX_EPOCH);
        }
        assert_eq!(three.left().await, "abc");
        let collected = three.collect(None, Some(1001));
        assert_eq!((collected.removed.len(), collected.left), (0, 3), "{kind:?}");
    }
}

#[tokio::test]
async fn builds_at_work_keep_what_they_may_count_on() {
    for kind in KINDS {
        let three = Three::new(kind).await;
        let build = kind.open(&three.volume());
        build.look_up(&key("a"), None).await.expect(EXPECT);
        // As if it were now.
        three.use_at(&key("a"), three.now);
        let collected = three.collect(Some(0), None);
        assert!(collected.in_use);
        assert_eq!((collected.removed.len(), collected.left), (2, 1), "{kind:?}");
        drop(build);
        let collected = three.collect(Some(0), None);
        assert!(!collected.in_use);
        assert_eq!((collected.removed.len(), collected.left), (1, 0), "{kind:?}");
    }
}

#[tokio::test]
async fn leftovers_go() {
    let three = Three::new(Kind::Directory).await;
    let layers = three.volume().join("layers");
    std::fs::write(layers.join("blobs/sha256").join("0".repeat(64)), b"orphan").expect("room");
    std::fs::write(layers.join("tmp/1-1"), b"half").expect("room");
    let text = key("rotten").to_string();
    std::fs::create_dir_all(layers.join("records").join(&text[..2])).expect("room");
    std::fs::write(layers.join("records").join(&text[..2]).join(&text[2..]), b"{").expect("room");
    // An entry whose layer is gone.
    let digest = &three.layers[0].layer.descriptor.digest;
    std::fs::remove_file(layers.join("blobs/sha256").join(digest.hex())).expect("it was put");
    let collected = three.collect(Some(u64::MAX), None);
    assert_eq!((collected.leftovers, collected.removed.len(), collected.left), (4, 0, 2));
    assert_eq!(three.left().await, "bc");

    let three = Three::new(Kind::Layouts).await;
    let volume = three.volume();
    // A half one is an entry like others, and what has another name is somebody else's.
    std::fs::create_dir(volume.join("layers:tmp-1-1")).expect("room");
    std::fs::create_dir(volume.join(format!("layers:{}", key("half")))).expect("room");
    std::fs::create_dir(volume.join("layers:abc")).expect("room");
    std::fs::create_dir(volume.join(format!("other:{}", key("half")))).expect("room");
    let collected = three.collect(None, Some(1));
    assert_eq!((collected.leftovers, collected.removed.len(), collected.left), (1, 4, 0));
    let mut names: Vec<String> = std::fs::read_dir(&volume)
        .expect("because it is ours")
        .map(|entry| entry.expect("because it is ours").file_name().display().to_string())
        .collect();
    names.sort();
    assert_eq!(names, ["layers:abc", "layers:lock", &format!("other:{}", key("half"))]);
}

#[tokio::test]
async fn one_layer_of_two_entries_goes_with_the_last() {
    let three = Three::new(Kind::Directory).await;
    let (cache, ours) = (three.kind.open(&three.volume()), store(&three.scratch, "none"));
    cache.put(&key("alias of a"), &three.layers[0], &ours).await.expect("because it is there");
    drop(cache);
    three.use_at(&key("alias of a"), three.now);
    let collected = three.collect(None, Some(25));
    assert_eq!((collected.removed.len(), collected.left), (1, 3));
    assert!(collected.removed_bytes < 10_000, "the layer stays: {collected:?}");
    let cache = three.kind.open(&three.volume());
    assert!(bytes(&*cache, &key("alias of a"), &three.layers[0]).await.is_some());
}

#[test]
fn a_cache_that_is_not_there_is_small() {
    for kind in KINDS {
        let scratch = ScratchRoot::new();
        let options = CollectOptions { max_bytes: Some(0), max_age: None, now: SystemTime::now() };
        let collected = collect(kind, &scratch.path().join("nowhere"), &options);
        assert_eq!(collected, Collected::default());
        assert_eq!(std::fs::read_dir(scratch.path()).expect("because it is ours").count(), 0);
    }
}
