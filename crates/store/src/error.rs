//! The one error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

use oci::Digest;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The content is not what its digest says.
    #[error("content has the digest `{found}`, expected `{expected}`")]
    Digest {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The content is not as long as its descriptor says.
    #[error("blob `{digest}` has {found} bytes, expected {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// What it should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// There is no such blob.
    #[error("blob `{0}` is not in the store")]
    Missing(Digest),
    /// Another program holds the lock.
    #[error("`{}` is in use by another build", .0.display())]
    Locked(PathBuf),
    /// The directory is no OCI layout we can read.
    #[error("`{}` is not an OCI layout: {reason}", path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file holds no image, or not one that can be told.
    #[error("`{}` is not an image as `docker save` writes it: {reason}", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A document in a layout is invalid.
    #[error("the document `{}` is invalid", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<oci::Error>,
    },
    /// An image that a docker archive cannot hold.
    #[error("a docker archive cannot hold layer `{digest}` of type `{media_type}`")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// The content of a docker archive could not be put together.
    #[error("cannot write the docker archive")]
    Archive(#[source] io::Error),
}

impl Error {
    /// Whether there is nothing under the name or digest.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Missing(_) => true,
            other => other.is_io(io::ErrorKind::NotFound),
        }
    }

    /// Whether the name is taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.is_io(io::ErrorKind::AlreadyExists)
    }

    fn is_io(&self, kind: io::ErrorKind) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == kind)
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// For `map_err`: what was tried, on what.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
