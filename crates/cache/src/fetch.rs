//! Blobs into a local store, from the nearest place that has them: the store itself, the
//! base-image cache, the registry.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use oci::{Descriptor, Digest, Reference};
use registry::{Cause, Client, Progress, Transfer};
use store::BlobStore;

use crate::Result;
use crate::base_image::CachedImage;
use crate::directory::{blocking, copy_bytes};
use crate::error::Error;

/// Pieces between network and disk: some 16 KiB each from afar, up to 400 KiB on a fast network.
const PIECES: usize = 4;

/// Fetches blobs into one store. Clones share the knowledge of what is on its way, so that each
/// blob comes once, whoever asks.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    blobs: BlobStore,
    fetching: Arc<Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Fetcher {
    /// Into this store, from what this client reaches.
    pub fn new(client: Client, blobs: BlobStore) -> Self {
        Self { client, blobs, fetching: Arc::default() }
    }

    /// The store.
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// How many blobs are on their way at a time.
    pub fn parallel(&self) -> usize {
        self.client.options().parallel.max(1)
    }

    /// Brings one blob in. `cached` is tried before the registry; a damaged copy there is a
    /// warning.
    pub async fn fetch(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        cached: Option<&CachedImage>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let digest = &descriptor.digest;
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        if self.blobs.contains(digest) {
            progress.transfer(Transfer::Existed { digest: digest.clone() });
            return Ok(());
        }
        if let Some(cached) = cached.filter(|_| !descriptor.media_type.is_foreign()) {
            match self.copy(cached, descriptor).await {
                Ok(()) => {
                    progress.transfer(Transfer::Existed { digest: digest.clone() });
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%digest, %error, "copy in the base image cache ignored");
                }
            }
        }
        self.pull_twice(reference, descriptor, progress).await
    }

    /// The same from the registry, whatever is in the store: it is replaced.
    pub async fn fetch_anew(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<()> {
        let turn = self.turn(&descriptor.digest);
        let _turn = turn.lock().await;
        self.pull_twice(reference, descriptor, progress).await
    }

    fn turn(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(fetching.entry(digest.clone()).or_default())
    }

    async fn pull_twice(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        progress.transfer(Transfer::Started { digest: digest.clone(), size });
        match self.pull(reference, descriptor, progress).await {
            // Damaged on the way; once more, then it is the registry's fault.
            Err(Error::Registry(error)) if is_damage(&error) => {
                tracing::warn!(%digest, %error, "fetching again");
                self.pull(reference, descriptor, progress).await?;
            }
            other => other?,
        }
        progress.transfer(Transfer::Finished { digest: digest.clone() });
        Ok(())
    }

    async fn copy(&self, cached: &CachedImage, descriptor: &Descriptor) -> Result<()> {
        let (cached, blobs, descriptor) = (cached.clone(), self.blobs.clone(), descriptor.clone());
        blocking(move || {
            let file = cached.open_blob(&descriptor.digest)?;
            Ok(copy_bytes(file, &blobs, &descriptor)?)
        })
        .await
    }

    /// Network and disk at once: pieces go to a thread that may block.
    async fn pull(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut stream = self.client.pull_blob(reference, descriptor).await?;
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<bytes::Bytes>(PIECES);
        let (blobs, promised) = (self.blobs.clone(), descriptor.clone());
        let (whole, is_whole) = tokio::sync::oneshot::channel::<()>();
        let writing = tokio::spawn(blocking(move || {
            let mut writer = blobs.writer()?;
            while let Some(piece) = receiver.blocking_recv() {
                writer.write_all(&piece).map_err(|source| {
                    let path = blobs.path(&promised.digest);
                    store::Error::Io { action: "write", path, source }
                })?;
            }
            // Without the word that all came, what came is dropped.
            match is_whole.blocking_recv() {
                Ok(()) => Ok(writer.commit(&promised.digest, promised.size)?),
                Err(_) => Err(Error::Interrupted(promised.digest.clone())),
            }
        }));
        let mut pulled = Ok(());
        loop {
            match stream.chunk().await {
                Ok(Some(piece)) => {
                    let bytes = piece.len() as u64;
                    if sender.send(piece).await.is_err() {
                        break;
                    }
                    progress.transfer(Transfer::Moved { digest: descriptor.digest.clone(), bytes });
                }
                Ok(None) => {
                    let _ = whole.send(());
                    break;
                }
                Err(error) => {
                    pulled = Err(error);
                    drop(whole);
                    break;
                }
            }
        }
        drop(sender);
        let written =
            writing.await.unwrap_or_else(|_| Err(Error::Interrupted(descriptor.digest.clone())));
        pulled?;
        written
    }
}

fn is_damage(error: &registry::Error) -> bool {
    matches!(error.cause(), Some(Cause::Digest { .. } | Cause::Size { .. }))
}
