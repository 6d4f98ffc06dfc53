//! Why something cannot be cached. A caller may warn and go on.

use std::path::PathBuf;

use oci::Digest;

/// A failed operation of a cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An image is not one that can be built on.
    #[error("cannot use the image `{name}`")]
    Image {
        /// Which image.
        name: String,
        /// Why.
        #[source]
        source: Box<oci::Error>,
    },
    /// A directory cannot be made.
    #[error("cannot create the directory `{}`", path.display())]
    Directory {
        /// Which directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A layer that is recorded is not there any more.
    #[error("the layer `{digest}` of cache entry `{key}` is gone or damaged")]
    Layer {
        /// The entry.
        key: String,
        /// The layer.
        digest: Digest,
        /// What happened.
        #[source]
        source: store::Error,
    },
    /// What is under a key is no entry of it.
    #[error("the cache entry `{key}` is not one that can be used: {reason}")]
    Entry {
        /// The key.
        key: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// No cache is in use that has it, or would keep it.
    #[error("no cache holds the entry `{0}`")]
    NotKept(String),
    /// The task that wrote a blob ended without an answer.
    #[error("writing the blob `{0}` was interrupted")]
    Interrupted(Digest),
}

impl Error {
    /// The error with its causes, for a line of the log.
    pub(crate) fn told(&self) -> String {
        registry::chain(self)
    }
}
