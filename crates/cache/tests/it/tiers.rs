//! Several caches as one.

use std::path::Path;
use std::sync::Arc;

use cache::{CachedLayer, DirectoryCache, LayerCache, LayoutCache, TieredCache};
use store::BlobStore;
use testkit::ScratchRoot;

use super::{bytes, key, layer, store};

const EXPECT: &str = "because the cache is usable";

/// Two caches on one disk, alone and as one.
struct Two {
    scratch: ScratchRoot,
    near: Arc<dyn LayerCache>,
    far: Arc<dyn LayerCache>,
    tiers: TieredCache,
}

impl Two {
    fn new() -> Self {
        let scratch = ScratchRoot::new();
        let near: Arc<dyn LayerCache> = Arc::new(DirectoryCache::new(&scratch.path().join("near")));
        let far: Arc<dyn LayerCache> = Arc::new(LayoutCache::new(&scratch.path().join("far")));
        let tiers = TieredCache::new(vec![Arc::clone(&near), Arc::clone(&far)]);
        Self { scratch, near, far, tiers }
    }

    /// A result that is in one of them.
    async fn in_one(&self, cache: &dyn LayerCache, content: &[u8]) -> CachedLayer {
        let ours = store(&self.scratch, "ours");
        let made = layer(&ours, content);
        cache.put(&key("one"), &made, &ours).await.expect(EXPECT);
        made
    }
}

async fn has(cache: &dyn LayerCache) -> Option<CachedLayer> {
    cache.look_up(&key("one"), None).await.expect(EXPECT)
}

#[tokio::test]
async fn what_is_farther_comes_nearer_when_it_is_fetched() {
    let two = Two::new();
    let made = two.in_one(&*two.far, b"content").await;
    assert_eq!(has(&two.tiers).await, Some(made.clone()));
    two.tiers.settle().await;
    assert_eq!(has(&*two.near).await, None, "nobody needed its bytes");
    assert_eq!(bytes(&two.tiers, &key("one"), &made).await.as_deref(), Some(&b"content"[..]));
    // The store of the check is gone by now: a write in the background is as fast as it is.
    two.tiers.settle().await;
    let fresh = store(&two.scratch, "fresh");
    two.tiers.fetch(&key("one"), &made, &fresh).await.expect(EXPECT);
    two.tiers.settle().await;
    assert_eq!(has(&*two.near).await, Some(made.clone()));
    assert_eq!(bytes(&*two.near, &key("one"), &made).await.as_deref(), Some(&b"content"[..]));
}

#[tokio::test]
async fn the_nearer_answers_first_and_all_keep() {
    let two = Two::new();
    let far = two.in_one(&*two.far, b"far").await;
    let near = two.in_one(&*two.near, b"near").await;
    assert_eq!(has(&two.tiers).await, Some(near.clone()));
    // One that is too old does not hide another.
    let ours = store(&two.scratch, "ours");
    let newer = CachedLayer { created: 2_000, ..far };
    two.far.put(&key("one"), &newer, &ours).await.expect(EXPECT);
    let found = two.tiers.look_up(&key("one"), Some(1_500)).await.expect(EXPECT);
    assert_eq!(found.as_ref(), Some(&newer));

    let both = layer(&ours, b"both");
    two.tiers.put(&key("one"), &both, &ours).await.expect(EXPECT);
    assert_eq!(has(&*two.near).await, Some(both.clone()));
    assert_eq!(has(&*two.far).await, Some(both));
}

#[tokio::test]
async fn damage_in_the_nearer_is_healed_from_the_farther() {
    let two = Two::new();
    two.in_one(&*two.near, b"content").await;
    let made = two.in_one(&*two.far, b"content").await;
    let digest = &made.layer.descriptor.digest;
    let blob = two.scratch.path().join("near/blobs/sha256").join(digest.hex());
    std::fs::write(&blob, b"c0ntent").expect("because it is ours");
    assert_eq!(has(&two.tiers).await, Some(made.clone()));
    let fresh = store(&two.scratch, "fresh");
    two.tiers.fetch(&key("one"), &made, &fresh).await.expect(EXPECT);
    fresh.verify(digest).expect("because it came from the farther");
    two.tiers.settle().await;
    assert_eq!(std::fs::read(&blob).expect("because it is healed"), b"content");
    // In both: an error, and neither has it any more.
    std::fs::write(&blob, b"c0ntent").expect("because it is ours");
    let far = two.scratch.path().join(format!("far:{}", key("one")));
    std::fs::write(far.join("blobs/sha256").join(digest.hex()), b"").expect("because it is ours");
    assert_eq!(bytes(&two.tiers, &key("one"), &made).await, None);
    assert_eq!(has(&two.tiers).await, None);
}

/// A cache that cannot be used beside one that can.
async fn check_beside(broken: &Path, ours: &BlobStore, good: &Path) {
    let caches: Vec<Arc<dyn LayerCache>> =
        vec![Arc::new(DirectoryCache::new(broken)), Arc::new(LayoutCache::new(good))];
    let tiers = TieredCache::new(caches);
    let made = layer(ours, b"content");
    for word in ["one", "two", "three", "four", "five"] {
        tiers.put(&key(word), &made, ours).await.expect("because one of them kept it");
        let found = tiers.look_up(&key(word), None).await.expect(EXPECT);
        assert_eq!(found.as_ref(), Some(&made));
        assert_eq!(bytes(&tiers, &key(word), &made).await.as_deref(), Some(&b"content"[..]));
    }
    tiers.settle().await;
}

#[tokio::test]
async fn one_that_cannot_be_used_does_not_stop_another() {
    let scratch = ScratchRoot::with("f 0644 /file \"\"\nl 0777 /loop -> loop\n");
    let ours = store(&scratch, "ours");
    for broken in ["file", "file/below", "loop", "loop/below"] {
        check_beside(&scratch.path().join(broken), &ours, &scratch.path().join("good")).await;
    }
    let alone = TieredCache::new(vec![Arc::new(DirectoryCache::new(&scratch.path().join("file")))]);
    let made = layer(&ours, b"content");
    alone.put(&key("one"), &made, &ours).await.expect_err("because nobody kept it");
    assert_eq!(has(&alone).await, None);
    // None at all is one that has nothing.
    let none = TieredCache::new(Vec::new());
    assert_eq!(has(&none).await, None);
    none.fetch(&key("one"), &made, &store(&scratch, "fresh")).await.expect_err("because of that");
}
