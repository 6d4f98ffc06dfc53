//! The client: its registries, and the questions that need one exchange.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode, header};
use oci::{BaseImage, Descriptor, Digest, ImageConfig, ImageManifest, Raw, Reference};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transport::Request;

use crate::endpoint::{Endpoint, SharedEndpoint, accept, pull_scope, push_scope};
use crate::error::Cause;
use crate::pull::{BlobStream, Place};
use crate::{ClientOptions, Result};

/// A repository (with its registry) and a blob.
pub(crate) type BlobKey = (String, Digest);

/// A client of any number of registries. Cheap to clone; clones share connections, tokens, and the
/// knowledge of what is where.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    endpoints: Mutex<HashMap<String, SharedEndpoint>>,
    permits: Arc<Semaphore>,
    /// Blobs that were seen in, or put into, a repository.
    present: Mutex<HashSet<BlobKey>>,
    /// One lock per blob being pushed, so that nobody sends it twice.
    pushing: Mutex<HashMap<BlobKey, Arc<tokio::sync::Mutex<()>>>>,
}

/// An image as a registry describes it; no layer has been fetched.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The name with the digest of the manifest: what to pull its blobs from.
    pub reference: Reference,
    /// The manifest of the one platform.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Raw<ImageManifest>,
    /// The config.
    pub config: Raw<ImageConfig>,
}

impl Resolved {
    /// The image as a base; refused when manifest and config do not fit together.
    pub fn base_image(&self) -> std::result::Result<BaseImage, oci::Error> {
        BaseImage::new(self.descriptor.clone(), &self.manifest, self.config.clone())
    }
}

impl Client {
    /// A client. Does not connect.
    pub fn new(options: ClientOptions) -> Result<Self> {
        let permits = Arc::new(Semaphore::new(options.parallel.max(1)));
        let inner = Inner {
            options,
            endpoints: Mutex::default(),
            permits,
            present: Mutex::default(),
            pushing: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The options it was made from.
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Starts fetching a blob. Faults on the way are resumed from.
    pub async fn pull_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobStream> {
        let place = self.place(reference, &descriptor.digest)?;
        BlobStream::open(place, descriptor, self.permit().await).await
    }

    /// Whether the repository may be pushed to: opens an upload and cancels it.
    pub async fn check_push(&self, reference: &Reference) -> Result<()> {
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let fail = |cause: Cause| cause.while_trying("push to", &name);
        let endpoint = self.endpoint(reference.registry()).map_err(fail)?;
        let scopes = push_scope(reference.repository(), &[]);
        let path = format!("{}/blobs/uploads/", reference.repository());
        let opened = transport::retry(&endpoint.retry, &path, || async {
            let request = Request::new(Method::POST, endpoint.url(&path).await?);
            endpoint.expect(&scopes, request).await
        })
        .await
        .map_err(fail)?;
        if opened.status() != StatusCode::ACCEPTED {
            let status = opened.status();
            return Err(fail(Cause::Protocol(format!("the registry opens no upload ({status})"))));
        }
        if let Ok(url) = upload_url(&opened) {
            // Best effort: registries purge uploads that nobody ends.
            if let Ok(answer) = endpoint.send(&scopes, Request::new(Method::DELETE, url)).await {
                answer.discard().await;
            }
        }
        Ok(())
    }

    /// Whether the repository has the blob.
    pub async fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool> {
        let place = self.place(reference, digest)?;
        let found = head(&place.endpoint, &place.scopes, &place.path).await;
        found.map_err(|cause| cause.while_trying("look for blob", &place.object))
    }

    /// Where a blob of a repository lies.
    pub(crate) fn place(&self, reference: &Reference, digest: &Digest) -> Result<Place> {
        let object = format!("{}/{}@{digest}", reference.registry(), reference.repository());
        let endpoint = self
            .endpoint(reference.registry())
            .map_err(|cause| cause.while_trying("reach the registry of", &object))?;
        let path = format!("{}/blobs/{digest}", reference.repository());
        Ok(Place { endpoint, scopes: pull_scope(reference.repository()), path, object })
    }

    /// The registry, made when first asked for.
    pub(crate) fn endpoint(&self, host: &str) -> std::result::Result<SharedEndpoint, Cause> {
        let mut endpoints = lock(&self.inner.endpoints);
        if let Some(endpoint) = endpoints.get(host) {
            return Ok(Arc::clone(endpoint));
        }
        let endpoint = Arc::new(Endpoint::new(host, &self.inner.options)?);
        endpoints.insert(host.to_owned(), Arc::clone(&endpoint));
        Ok(endpoint)
    }

    /// The right to move one blob.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.permits).acquire_owned().await.ok()
    }

    /// Whether the blob is known to be there.
    pub(crate) fn knows(&self, key: &BlobKey) -> bool {
        lock(&self.inner.present).contains(key)
    }

    /// Remembers that the blob is there.
    pub(crate) fn remember(&self, key: BlobKey) {
        lock(&self.inner.present).insert(key);
    }

    /// The lock of one blob on its way to one repository.
    pub(crate) fn pushing(&self, key: &BlobKey) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.inner.pushing).entry(key.clone()).or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a blob is there.
pub(crate) async fn head(
    endpoint: &Endpoint,
    scopes: &Vec<String>,
    path: &str,
) -> std::result::Result<bool, Cause> {
    transport::retry(&endpoint.retry, path, || async {
        let request = Request::new(Method::HEAD, endpoint.url(path).await?);
        match accept(endpoint.send(scopes, request).await?).await {
            Ok(_) => Ok(true),
            Err(cause) if cause.status() == Some(404) => Ok(false),
            Err(cause) => Err(cause),
        }
    })
    .await
}

/// Where an upload goes on, absolute.
pub(crate) fn upload_url(response: &transport::Response) -> std::result::Result<url::Url, Cause> {
    let location = response.header(header::LOCATION.as_str());
    location.and_then(|location| response.url().join(location).ok()).ok_or_else(|| {
        Cause::Protocol("the registry does not say where the upload goes on".to_owned())
    })
}
