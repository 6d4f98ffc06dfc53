//! What every [`LayerCache`] must do. A backend's test hands in an empty cache.

use std::sync::Arc;

use cache::{CachedLayer, LayerCache, RegistryCache, TieredCache, recall, remember};
use oci::{Digest, Reference};
use registry::{Client, ClientOptions};
use store::BlobStore;
use testkit::ScratchRoot;
use testkit::fault::FaultRegistry;

use super::{KINDS, Kind, bytes, key, layer, store};

const EXPECT: &str = "because the cache is usable";

/// Runs all of it.
async fn check(cache: &dyn LayerCache) {
    let scratch = ScratchRoot::new();
    let ours = store(&scratch, "ours");
    what_was_put_is_found(cache, &ours).await;
    the_last_one_counts(cache, &ours).await;
    bytes_that_are_nowhere(cache, &ours).await;
    bytes_that_only_the_cache_has(cache, &scratch).await;
    several_at_a_time(cache, &ours).await;
    documents(cache, &scratch).await;
}

async fn what_was_put_is_found(cache: &dyn LayerCache, ours: &BlobStore) {
    let (one, two) = (key("one"), key("two"));
    assert_eq!(cache.look_up(&one, None).await.expect(EXPECT), None);

    // What was put is found as it was, under its key only.
    let cached = layer(ours, b"content");
    cache.put(&one, &cached, ours).await.expect(EXPECT);
    assert_eq!(cache.look_up(&one, None).await.expect(EXPECT), Some(cached.clone()));
    assert_eq!(cache.look_up(&two, None).await.expect(EXPECT), None);

    // Age is counted from when it was made, whatever clocks say.
    assert_eq!(cache.look_up(&one, Some(1_000)).await.expect(EXPECT), Some(cached.clone()));
    for oldest in [1_001, i64::MAX] {
        assert_eq!(cache.look_up(&one, Some(oldest)).await.expect(EXPECT), None);
    }
    for oldest in [-1, i64::MIN] {
        assert!(cache.look_up(&one, Some(oldest)).await.expect(EXPECT).is_some());
    }

    // Its bytes come when they are asked for, also twice.
    for _ in 0..2 {
        assert_eq!(bytes(cache, &one, &cached).await.as_deref(), Some(&b"content"[..]));
    }
    cache.fetch(&one, &cached, ours).await.expect("because they are there already");
}

async fn the_last_one_counts(cache: &dyn LayerCache, ours: &BlobStore) {
    let (one, two) = (key("one"), key("two"));
    // A second result replaces the first; one layer may serve two keys.
    let newer = CachedLayer { created: 2_000, ..layer(ours, b"newer content") };
    cache.put(&one, &newer, ours).await.expect(EXPECT);
    cache.put(&two, &newer, ours).await.expect(EXPECT);
    for key in [one, two] {
        assert_eq!(cache.look_up(&key, None).await.expect(EXPECT), Some(newer.clone()));
        assert_eq!(bytes(cache, &key, &newer).await.as_deref(), Some(&b"newer content"[..]));
    }
}

async fn bytes_that_are_nowhere(cache: &dyn LayerCache, ours: &BlobStore) {
    let mut gone = layer(ours, b"gone");
    gone.layer.descriptor.digest = Digest::sha256_of(b"never stored");
    let three = key("three");
    cache.put(&three, &gone, ours).await.expect_err("because the store has no such blob");
    assert_eq!(cache.look_up(&three, None).await.expect(EXPECT), None);
}

/// An alias of a result that was found, not built.
async fn bytes_that_only_the_cache_has(cache: &dyn LayerCache, scratch: &ScratchRoot) {
    let (builder, finder) = (store(scratch, "builder"), store(scratch, "finder"));
    let (content, alias) = (key("by content"), key("by what is known before"));
    let cached = CachedLayer { content, ..layer(&builder, b"of another stage") };
    cache.put(&content, &cached, &builder).await.expect(EXPECT);
    cache.put(&alias, &cached, &finder).await.expect(EXPECT);
    assert_eq!(cache.look_up(&alias, None).await.expect(EXPECT), Some(cached.clone()));
    assert_eq!(bytes(cache, &alias, &cached).await.as_deref(), Some(&b"of another stage"[..]));
}

async fn several_at_a_time(cache: &dyn LayerCache, ours: &BlobStore) {
    let contended = key("contended");
    let layers: Vec<CachedLayer> =
        (0..4u8).map(|number| layer(ours, &vec![number; 100_000])).collect();
    for _ in 0..3 {
        let puts = layers.iter().map(|layer| cache.put(&contended, layer, ours));
        for put in futures_util::future::join_all(puts).await {
            put.expect(EXPECT);
        }
        let found = cache.look_up(&contended, None).await.expect(EXPECT);
        let found = found.expect("because all of them were put");
        assert!(layers.contains(&found), "{found:?}");
        let content = bytes(cache, &contended, &found).await.expect("because it is whole");
        assert_eq!(Digest::sha256_of(&content), found.layer.descriptor.digest);
    }
}

async fn documents(cache: &dyn LayerCache, scratch: &ScratchRoot) {
    let (writer, reader) = (store(scratch, "writer"), store(scratch, "reader"));
    let (slot, other) = (key("slot"), key("other slot"));
    assert_eq!(recall(cache, &slot, &reader).await, None);
    for text in [&b"first"[..], b"", b"second"] {
        remember(cache, &slot, text, 1_000, &writer).await.expect(EXPECT);
        assert_eq!(recall(cache, &slot, &reader).await.as_deref(), Some(text));
    }
    assert_eq!(recall(cache, &other, &reader).await, None);
    // What is too long is left out, and a layer is no document.
    remember(cache, &other, &vec![0; (16 << 20) + 1], 1_000, &writer).await.expect(EXPECT);
    assert_eq!(recall(cache, &other, &reader).await, None);
    cache.put(&other, &layer(&writer, b"a layer"), &writer).await.expect(EXPECT);
    assert_eq!(recall(cache, &other, &reader).await, None);
}

pub(super) fn client() -> Client {
    let mut options = ClientOptions::default();
    options.retry.first_pause = std::time::Duration::from_millis(5);
    Client::new(options).expect("because the options are plain")
}

pub(super) fn repository(host: &str) -> Reference {
    Reference::parse(&format!("{host}/team/cache")).expect("because it is well formed")
}

#[tokio::test]
async fn caches_on_disks_conform() {
    for kind in KINDS {
        let scratch = ScratchRoot::new();
        check(&*kind.open(scratch.path())).await;
        // A second program sees the same.
        let cache = kind.open(scratch.path());
        assert!(cache.look_up(&key("one"), None).await.expect(EXPECT).is_some(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_registry_cache_conforms() {
    let registry = FaultRegistry::start();
    check(&RegistryCache::new(client(), repository(&registry.host()))).await;
    assert_eq!(registry.missing(), Vec::<String>::new());
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn a_real_registry_takes_the_entries() {
    let registry = testkit::registry::Registry::start().expect("because docker-registry is there");
    check(&RegistryCache::new(client(), repository(&registry.host()))).await;
}

#[tokio::test]
async fn tiers_conform() {
    let (scratch, registry) = (ScratchRoot::new(), FaultRegistry::start());
    let far = RegistryCache::new(client(), repository(&registry.host()));
    let tiers: [Vec<Arc<dyn LayerCache>>; 2] = [
        vec![Kind::Directory.open(scratch.path()).into()],
        vec![Kind::Layouts.open(scratch.path()).into(), Arc::new(far)],
    ];
    for caches in tiers {
        check(&TieredCache::new(caches)).await;
    }
}
