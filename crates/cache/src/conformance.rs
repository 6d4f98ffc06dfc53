//! What every [`LayerCache`] must do. A backend's test hands in an empty cache.

use oci::{Descriptor, DiffId, Digest, LayerRef, MediaType};
use store::BlobStore;
use testkit::ScratchRoot;

use crate::{CachedLayer, KeyBuilder, LayerCache, Part};

/// A key that only this word has.
pub(crate) fn key(word: &str) -> crate::Explained {
    let mut builder = KeyBuilder::new();
    builder.part(Part::Arguments, word.as_bytes());
    builder.finish()
}

/// A layer in a store.
pub(crate) fn layer(blobs: &BlobStore, content: &[u8]) -> CachedLayer {
    let digest = blobs.put(content).expect("because the store is writable");
    let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), content.len() as u64);
    CachedLayer {
        layer: LayerRef { descriptor, diff_id: DiffId(digest) },
        content: key("make").key,
        below: None,
        created: 1_000,
        created_by: "RUN make".to_owned(),
        parts: key("make").parts,
    }
}

/// Runs all of it.
pub(crate) async fn check(cache: &dyn LayerCache) {
    let scratch = ScratchRoot::new();
    let blobs = BlobStore::open(&scratch.path().join("ours")).expect("because it is new");
    let theirs = BlobStore::open(&scratch.path().join("theirs")).expect("because it is new");
    let (one, two) = (key("one").key, key("two").key);
    let expect = "because the cache is usable";

    // Nothing is there.
    assert_eq!(cache.look_up(&one, None).await.expect(expect), None);

    // What was put is found as it was, under its key only.
    let cached = layer(&blobs, b"content");
    cache.put(&one, &cached, &blobs).await.expect(expect);
    assert_eq!(cache.look_up(&one, None).await.expect(expect), Some(cached.clone()));
    assert_eq!(cache.look_up(&two, None).await.expect(expect), None);

    // Age is counted from when it was made.
    assert_eq!(cache.look_up(&one, Some(1_000)).await.expect(expect), Some(cached.clone()));
    assert_eq!(cache.look_up(&one, Some(1_001)).await.expect(expect), None);

    // Its bytes come when they are asked for, also twice.
    for _ in 0..2 {
        cache.fetch(&one, &cached, &theirs).await.expect(expect);
    }
    let digest = Digest::sha256_of(b"content");
    theirs.verify(&digest).expect("because it is the content");

    // A second result replaces the first; one layer may serve two keys.
    let newer = CachedLayer { created: 2_000, ..layer(&blobs, b"newer content") };
    cache.put(&one, &newer, &blobs).await.expect(expect);
    cache.put(&two, &newer, &blobs).await.expect(expect);
    assert_eq!(cache.look_up(&one, None).await.expect(expect), Some(newer.clone()));
    assert_eq!(cache.look_up(&two, None).await.expect(expect), Some(newer));

    // A layer that is nowhere cannot be put, and then is not there.
    let mut gone = layer(&blobs, b"gone");
    gone.layer.descriptor.digest = Digest::sha256_of(b"never stored");
    let three = key("three").key;
    cache.put(&three, &gone, &blobs).await.expect_err("because the store has no such blob");
    assert_eq!(cache.look_up(&three, None).await.expect(expect), None);
}
