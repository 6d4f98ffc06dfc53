//! The trait every cache of layers implements.

use std::future::Future;
use std::pin::Pin;

use oci::{Algorithm, Digest, LayerRef, Reference};
use serde::{Deserialize, Serialize};
use store::BlobStore;

use crate::Result;
use crate::key::{CacheKey, KeyPart};

/// A future in a box: the trait is used as an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The result of a step as a cache knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedLayer {
    /// The layer; its bytes are fetched only if they are needed.
    pub layer: LayerRef,
    /// The key by the content of what the step read. Another than the one it is kept under where that
    /// is an alias, made before the content was known.
    pub content: CacheKey,
    /// The layers that it was made upon; `None` where it does not depend on them (`--link`).
    pub below: Option<Below>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The step, for people.
    pub created_by: String,
    /// What its key was made of, to explain later misses.
    pub parts: Vec<KeyPart>,
}

impl CachedLayer {
    /// Whether it was made before that, if there is such a bound.
    pub(crate) fn is_older_than(&self, oldest: Option<i64>) -> bool {
        oldest.is_some_and(|oldest| self.created < oldest)
    }
}

/// The layers below a layer, by their chain id; on scratch there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Below(pub Option<Digest>);

/// Where results of steps are kept. What is missing, expired, torn, or recorded for another key is
/// `None`, not an error; an error means that the cache itself cannot be used.
///
/// Room is left for the caches of `RUN --mount=type=cache` that outlive a pod: they would be further
/// methods here, of content-defined chunks that are restored when they are read. None is there yet.
pub trait LayerCache: std::fmt::Debug + Send + Sync {
    /// What it is, for people: a repository or a directory.
    fn name(&self) -> String;

    /// The repository that registries may take the layers from, where there is one.
    fn repository(&self) -> Option<&Reference>;

    /// The result for a key, unless it was made before `oldest`.
    fn look_up<'a>(
        &'a self,
        key: &'a CacheKey,
        oldest: Option<i64>,
    ) -> BoxFuture<'a, Result<Option<CachedLayer>>>;

    /// Brings the layer's bytes into `blobs`, verified.
    fn fetch<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>>;

    /// Keeps a result whose bytes are in `blobs`, or in this cache already. Visible whole or not at
    /// all; replaces an earlier one.
    fn put<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>>;

    /// Waits for what it still does in the background.
    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A result as it is written down. It names its key, so that a record that was moved under another
/// key is recognised.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    version: u32,
    key: String,
    descriptor: oci::Descriptor,
    diff_id: oci::DiffId,
    content: String,
    below: Option<Below>,
    created: i64,
    created_by: String,
    parts: Vec<KeyPart>,
}

/// Raised when the meaning of a field changes; other versions are not read.
const RECORD_VERSION: u32 = 2;
/// No record is longer.
pub(crate) const RECORD_LIMIT: usize = 1 << 20;

impl Record {
    pub(crate) fn new(key: &CacheKey, cached: &CachedLayer) -> Self {
        Self {
            version: RECORD_VERSION,
            key: key.to_string(),
            descriptor: cached.layer.descriptor.clone(),
            diff_id: cached.layer.diff_id.clone(),
            content: cached.content.to_string(),
            below: cached.below.clone(),
            created: cached.created,
            created_by: cached.created_by.clone(),
            parts: cached.parts.clone(),
        }
    }

    /// The record as text. One that would be too long keeps the result, and explains nothing.
    pub(crate) fn into_json(mut self) -> String {
        let text = |record: &Self| {
            serde_json::to_string(record).expect("because a record is plain values")
        };
        let whole = text(&self);
        if whole.len() <= RECORD_LIMIT {
            return whole;
        }
        self.parts.clear();
        text(&self)
    }

    /// The result, if the text is a record of this key and says nothing impossible; the reason if
    /// not.
    pub(crate) fn parse(
        text: &[u8],
        key: &CacheKey,
    ) -> std::result::Result<CachedLayer, &'static str> {
        let record: Self = serde_json::from_slice(text).map_err(|_| "its record cannot be read")?;
        if record.version != RECORD_VERSION {
            return Err("its record is of another version");
        }
        if record.key != key.to_string() {
            return Err("its record is of another key");
        }
        let layer = &record.descriptor;
        if !layer.media_type.is_layer() || layer.media_type.is_foreign() {
            return Err("its layer is none that a step makes");
        }
        if layer.digest.algorithm() != Algorithm::Sha256 {
            return Err("its layer has a digest that no cache writes");
        }
        let content = CacheKey::parse(&record.content).ok_or("its record names no content")?;
        Ok(CachedLayer {
            layer: LayerRef { descriptor: record.descriptor, diff_id: record.diff_id },
            content,
            below: record.below,
            created: record.created,
            created_by: record.created_by,
            parts: record.parts,
        })
    }
}
