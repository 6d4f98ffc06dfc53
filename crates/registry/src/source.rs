//! Where the blobs of a push come from.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use oci::{Descriptor, Reference};

/// Where one blob lies.
#[derive(Clone, Debug)]
pub enum BlobOrigin {
    /// In a file, from its beginning to its end. Read at positions, so the file may be shared.
    File(Arc<File>),
    /// In memory.
    Bytes(Bytes),
    /// In this repository. On the destination's registry it is mounted; from another registry it
    /// streams through. Either way it need not be fetched before.
    Registry(Reference),
}

/// Finds the blobs of an image that is pushed. Implemented over a blob store by whoever has one.
pub trait BlobSource: Send + Sync {
    /// Where the blob lies. Called on an async thread: opening a file is fine, reading one is not.
    fn locate(&self, descriptor: &Descriptor) -> io::Result<BlobOrigin>;

    /// Repositories that are known to hold the blob, to mount it from.
    fn known_in(&self, descriptor: &Descriptor) -> Vec<Reference> {
        let _ = descriptor;
        Vec::new()
    }
}
