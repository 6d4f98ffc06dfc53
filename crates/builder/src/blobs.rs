//! Blobs of one build: where each can be pulled from, and how it comes into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use cache::Fetcher;
use oci::{Descriptor, Digest, Reference};
use registry::{BlobOrigin, BlobSource, Client};
use store::BlobStore;

use crate::error::BaseError;

/// The store, and the repositories that the base images' layers come from.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    fetcher: Fetcher,
    known: Arc<Mutex<BTreeMap<Digest, BTreeSet<Reference>>>>,
}

impl Blobs {
    /// Blobs of this store; what is not there comes through this client.
    pub(crate) fn new(client: Client, store: BlobStore) -> Blobs {
        Blobs { fetcher: Fetcher::new(client, store), known: Arc::default() }
    }

    pub(crate) fn store(&self) -> &BlobStore {
        self.fetcher.blobs()
    }

    /// How many of them are on their way at a time.
    pub(crate) fn parallel(&self) -> usize {
        self.fetcher.parallel()
    }

    /// Notes that a blob can be pulled from a repository.
    pub(crate) fn note(&self, digest: &Digest, repository: &Reference) {
        lock(&self.known).entry(digest.clone()).or_default().insert(repository.clone());
    }

    /// Where a blob can be pulled from.
    pub(crate) fn repositories(&self, digest: &Digest) -> Vec<Reference> {
        lock(&self.known).get(digest).into_iter().flatten().cloned().collect()
    }

    /// Brings a blob into the store, unless it is there. It is visible there only once its digest
    /// and size are verified.
    pub(crate) async fn fetch(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<(), BaseError> {
        let fetched = self.fetcher.fetch(repository, descriptor, None, &registry::Silent).await;
        fetched.map_err(|error| BaseError::Fetch(Box::new(error)))
    }
}

impl BlobSource for Blobs {
    fn locate(&self, descriptor: &Descriptor) -> io::Result<BlobOrigin> {
        if self.store().contains(&descriptor.digest) {
            let file = self.store().open_blob(&descriptor.digest).map_err(io::Error::other)?;
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
