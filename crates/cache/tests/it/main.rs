//! The caches of layers: what every one must do, on disks that rot, under writers that are killed,
//! against registries that misbehave.
#![allow(clippy::disallowed_methods, reason = "tests look at files from outside")]

mod collect;
mod conformance;
mod deaths;
mod keys;
mod registries;
mod rot;
mod tiers;

use std::path::Path;

use cache::{
    CacheKey, CachedLayer, DirectoryCache, Explained, KeyBuilder, LayerCache, LayoutCache, Part,
};
use oci::{Descriptor, DiffId, LayerRef, MediaType};
use store::BlobStore;
use testkit::ScratchRoot;

/// A key that only this word has.
fn explained(word: &str) -> Explained {
    let mut builder = KeyBuilder::new();
    builder.part(Part::Arguments, word.as_bytes());
    builder.finish()
}

fn key(word: &str) -> CacheKey {
    explained(word).key
}

/// A store of its own below a scratch directory.
fn store(scratch: &ScratchRoot, name: &str) -> BlobStore {
    BlobStore::open(&scratch.path().join(name)).expect("because it is new")
}

/// A result whose layer is put into a store.
fn layer(blobs: &BlobStore, content: &[u8]) -> CachedLayer {
    let digest = blobs.put(content).expect("because the store is writable");
    let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), content.len() as u64);
    CachedLayer {
        layer: LayerRef { descriptor, diff_id: DiffId(digest) },
        content: key("make"),
        below: None,
        created: 1_000,
        created_by: "RUN make".to_owned(),
        parts: explained("make").parts,
    }
}

/// A kind of cache on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Layouts,
}

const KINDS: [Kind; 2] = [Kind::Directory, Kind::Layouts];

impl Kind {
    /// The cache of this kind that keeps all it has below a directory.
    fn open(self, below: &Path) -> Box<dyn LayerCache> {
        match self {
            Self::Directory => Box::new(DirectoryCache::new(&below.join("layers"))),
            Self::Layouts => Box::new(LayoutCache::new(&below.join("layers"))),
        }
    }
}

/// The bytes that a cache gives for a result, through a store that has none.
async fn bytes(cache: &dyn LayerCache, key: &CacheKey, layer: &CachedLayer) -> Option<Vec<u8>> {
    let scratch = ScratchRoot::in_memory();
    let blobs = store(&scratch, "fresh");
    let digest = &layer.layer.descriptor.digest;
    match cache.fetch(key, layer, &blobs).await {
        Ok(()) => Some(std::fs::read(blobs.path(digest)).expect("because it was fetched")),
        Err(_) => {
            assert!(!blobs.contains(digest), "what is not good is not visible");
            None
        }
    }
}
