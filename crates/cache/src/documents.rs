//! Small documents in a cache of layers: what a build remembers of itself to explain the next one.
//!
//! A document is kept as an entry whose one "layer" is the document, under a slot that is a key like
//! any other; a later one replaces it. Caches need nothing more for it.

use oci::{Descriptor, DiffId, Digest, LayerRef, MediaType};
use store::BlobStore;

use crate::Result;
use crate::directory::blocking;
use crate::key::CacheKey;
use crate::layer_cache::{CachedLayer, LayerCache};

/// No document is longer: a longer one is not kept.
const LIMIT: u64 = 16 << 20;
/// What stands in the history of the entry, for people.
const CREATED_BY: &str = "kaniko-rs cache document";

/// Keeps a document under a slot; `now` in seconds since 1970. What is too long is left out.
pub async fn remember(
    cache: &dyn LayerCache,
    slot: &CacheKey,
    document: &[u8],
    now: i64,
    blobs: &BlobStore,
) -> Result<()> {
    let size = document.len() as u64;
    if size > LIMIT {
        tracing::debug!(%slot, size, "document not kept: it is too long");
        return Ok(());
    }
    let digest = {
        let (blobs, document) = (blobs.clone(), document.to_vec());
        blocking(move || Ok(blobs.put(&document)?)).await?
    };
    let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), size);
    let entry = CachedLayer {
        layer: LayerRef { descriptor, diff_id: DiffId(digest) },
        content: *slot,
        below: None,
        created: now,
        created_by: CREATED_BY.to_owned(),
        parts: Vec::new(),
    };
    cache.put(slot, &entry, blobs).await
}

/// The document under a slot, if there is one.
pub async fn recall(cache: &dyn LayerCache, slot: &CacheKey, blobs: &BlobStore) -> Option<Vec<u8>> {
    let entry = cache.look_up(slot, None).await.ok()??;
    let descriptor = entry.layer.descriptor.clone();
    if descriptor.size > LIMIT || entry.created_by != CREATED_BY {
        return None;
    }
    cache.fetch(slot, &entry, blobs).await.ok()?;
    let blobs = blobs.clone();
    blocking(move || Ok(read(&blobs, &descriptor.digest))).await.ok()?
}

fn read(blobs: &BlobStore, digest: &Digest) -> Option<Vec<u8>> {
    let bytes = store::read_file(&blobs.path(digest), LIMIT).ok()?;
    digest.matches(&bytes).then_some(bytes)
}
