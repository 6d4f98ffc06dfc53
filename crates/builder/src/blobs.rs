//! Blobs of one build: where each can be pulled from, and how it comes into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use oci::{Descriptor, Digest, Reference};
use registry::{BlobOrigin, BlobSource, Client};
use store::BlobStore;

use crate::error::BaseError;

/// The store, and the repositories that the base images' layers come from.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    store: BlobStore,
    known: Arc<Mutex<BTreeMap<Digest, BTreeSet<Reference>>>>,
}

impl Blobs {
    pub(crate) fn new(store: BlobStore) -> Blobs {
        Blobs { store, known: Arc::default() }
    }

    pub(crate) fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Notes that a repository holds a blob.
    pub(crate) fn note(&self, digest: &Digest, repository: &Reference) {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.entry(digest.clone()).or_default().insert(repository.clone());
    }

    fn repositories(&self, digest: &Digest) -> Vec<Reference> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(digest).into_iter().flatten().cloned().collect()
    }

    /// Brings a blob into the store, unless it is there. It is visible there only once its digest
    /// and size are verified.
    pub(crate) async fn fetch(
        &self,
        client: &Client,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<(), BaseError> {
        if self.store.contains(&descriptor.digest) {
            return Ok(());
        }
        let mut stream = client.pull_blob(repository, descriptor).await?;
        let mut writer = self.store.writer()?;
        while let Some(piece) = stream.chunk().await? {
            // A write of a few KiB into the page cache; not worth a thread of its own.
            writer.write_all(&piece).map_err(|source| store::Error::Io {
                action: "write a blob below",
                path: self.store.root().to_owned(),
                source,
            })?;
        }
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        tokio::task::spawn_blocking(move || writer.commit(&digest, size))
            .await
            .map_err(|_| BaseError::Workspace(Box::new(crate::Error::Worker)))??;
        Ok(())
    }
}

impl BlobSource for Blobs {
    fn locate(&self, descriptor: &Descriptor) -> io::Result<BlobOrigin> {
        if self.store.contains(&descriptor.digest) {
            let file = self.store.open_blob(&descriptor.digest).map_err(io::Error::other)?;
            return Ok(BlobOrigin::File(Arc::new(file)));
        }
        match self.repositories(&descriptor.digest).into_iter().next() {
            Some(repository) => Ok(BlobOrigin::Registry(repository)),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("nobody holds the blob `{}`", descriptor.digest),
            )),
        }
    }

    fn known_in(&self, descriptor: &Descriptor) -> Vec<Reference> {
        self.repositories(&descriptor.digest)
    }
}
