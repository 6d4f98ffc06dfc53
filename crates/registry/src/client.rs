//! The client: its registries, and the questions that need one exchange.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode, header};
use oci::{BaseImage, Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, Raw, Reference};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transport::{Request, RetryPolicy};

use crate::endpoint::{Endpoint, Scopes, SharedEndpoint, accept, pull_scope, push_scope};
use crate::error::Cause;
use crate::pull::{BlobStream, Place, Suspects};
use crate::routes::Candidate;
use crate::session::Sessions;
use crate::{ClientOptions, Result};

/// A repository (with its registry) and a blob.
pub(crate) type BlobKey = (String, Digest);
/// A registry and a repository.
type Repository = (String, String);

/// How long failures of a registry are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Patience {
    /// As the options say.
    Full,
    /// Less: there is another place to ask, or another way to get it.
    Short,
}

impl Patience {
    pub(crate) fn with(candidate: &Candidate) -> Self {
        if candidate.last { Self::Full } else { Self::Short }
    }

    fn policy(self, options: &ClientOptions) -> RetryPolicy {
        let full = options.retry;
        match self {
            Self::Full => full,
            Self::Short => RetryPolicy {
                tries: full.tries.min(3),
                silences: 1,
                patience: full.patience.min(Duration::from_secs(20)),
                ..full
            },
        }
    }
}

/// A client of any number of registries. Cheap to clone; clones share connections, tokens, and the
/// knowledge of what is where.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    patience: Patience,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    endpoints: Mutex<HashMap<(String, Patience), SharedEndpoint>>,
    /// Per repository that an image was found in, where else it may be, in order.
    elsewhere: Mutex<HashMap<Repository, Vec<Candidate>>>,
    /// Blobs that came damaged, as registry, repository and digest.
    suspects: Suspects,
    permits: Arc<Semaphore>,
    /// Blobs that were seen in, or put into, a repository.
    present: Mutex<HashSet<BlobKey>>,
    /// One lock per blob being pushed, so that nobody sends it twice.
    pushing: Mutex<HashMap<BlobKey, Arc<tokio::sync::Mutex<()>>>>,
    sessions: Sessions,
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
    /// The index that led to the manifest, where one did.
    pub index: Option<Raw<ImageIndex>>,
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
            elsewhere: Mutex::default(),
            suspects: Suspects::default(),
            permits,
            present: Mutex::default(),
            pushing: Mutex::default(),
            sessions: Sessions::default(),
        };
        Ok(Self { inner: Arc::new(inner), patience: Patience::Full })
    }

    /// The same client, which bears failures less long: for what can be done without.
    #[must_use]
    pub fn impatient(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), patience: Patience::Short }
    }

    /// The options it was made from.
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Starts fetching a blob. Faults on the way are resumed from; where the image was found with
    /// the help of [`crate::Routes`], at the next place when this one fails for good.
    pub async fn pull_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobStream> {
        let places = self.places(reference, &descriptor.digest)?;
        let suspects = Arc::clone(&self.inner.suspects);
        BlobStream::open(places, descriptor, self.permit().await, suspects).await
    }

    /// Where a blob of an image that was found in this repository may be: there, and in the other
    /// places of the image. What came damaged from one before comes last.
    fn places(&self, reference: &Reference, digest: &Digest) -> Result<VecDeque<Place>> {
        let key = repository(reference);
        let elsewhere = lock(&self.inner.elsewhere).get(&key).cloned().unwrap_or_default();
        let patience = if elsewhere.is_empty() { self.patience } else { Patience::Short };
        let mut places = vec![self.place_with(reference, digest, patience)?];
        for candidate in &elsewhere {
            let patience = Patience::with(candidate);
            places.push(self.place_with(&candidate.reference, digest, patience)?);
        }
        let suspects = lock(&self.inner.suspects);
        places.sort_by_key(|place| suspects.contains(&place.object));
        Ok(places.into())
    }

    /// Remembers where else an image may be that was found in the first of these places. Those that
    /// were tried before did not have it.
    pub(crate) fn remember_elsewhere(&self, candidates: &[Candidate]) {
        if let Some((here, elsewhere)) = candidates.split_first() {
            let elsewhere = elsewhere.to_vec();
            lock(&self.inner.elsewhere).insert(repository(&here.reference), elsewhere);
        }
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
        let found = found.map_err(|cause| cause.while_trying("look for blob", &place.object))?;
        if found {
            let name = format!("{}/{}", reference.registry(), reference.repository());
            self.remember((name, digest.clone()));
        }
        Ok(found)
    }

    /// How large the registry says that a blob is; `None` where it has none.
    pub(crate) async fn blob_size(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Option<u64>> {
        let place = self.place(reference, digest)?;
        let asked = transport::retry(&place.endpoint.retry, &place.object, || async {
            let request = Request::new(Method::HEAD, place.endpoint.url(&place.path).await?);
            match place.endpoint.expect(&place.scopes, request).await {
                Ok(answer) => Ok(answer.content_length()),
                Err(cause) if cause.status() == Some(404) => Ok(None),
                Err(cause) => Err(cause),
            }
        });
        asked.await.map_err(|cause| cause.while_trying("look for blob", &place.object))
    }

    /// Where a blob of a repository lies.
    pub(crate) fn place(&self, reference: &Reference, digest: &Digest) -> Result<Place> {
        self.place_with(reference, digest, self.patience)
    }

    /// The same, where failures are borne as long as this.
    pub(crate) fn place_with(
        &self,
        reference: &Reference,
        digest: &Digest,
        patience: Patience,
    ) -> Result<Place> {
        let object = format!("{}/{}@{digest}", reference.registry(), reference.repository());
        let endpoint = self
            .endpoint_with(reference.registry(), patience)
            .map_err(|cause| cause.while_trying("reach the registry of", &object))?;
        let path = format!("{}/blobs/{digest}", reference.repository());
        Ok(Place { endpoint, scopes: pull_scope(reference.repository()), path, object })
    }

    /// The registry, made when first asked for.
    pub(crate) fn endpoint(&self, host: &str) -> std::result::Result<SharedEndpoint, Cause> {
        self.endpoint_with(host, self.patience)
    }

    /// The same, where failures are borne as long as this.
    pub(crate) fn endpoint_with(
        &self,
        host: &str,
        patience: Patience,
    ) -> std::result::Result<SharedEndpoint, Cause> {
        let mut endpoints = lock(&self.inner.endpoints);
        let key = (host.to_owned(), patience);
        if let Some(endpoint) = endpoints.get(&key) {
            return Ok(Arc::clone(endpoint));
        }
        let options = &self.inner.options;
        let endpoint = Arc::new(Endpoint::new(host, options, patience.policy(options))?);
        endpoints.insert(key, Arc::clone(&endpoint));
        Ok(endpoint)
    }

    /// How long failures are borne.
    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    /// The right to move one blob.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.permits).acquire_owned().await.ok()
    }

    /// Whether the blob is known to be there.
    pub(crate) fn knows(&self, key: &BlobKey) -> bool {
        lock(&self.inner.present).contains(key)
    }

    /// A repository of this registry that is known to hold the blob, after an earlier push.
    pub(crate) fn holder(&self, registry: &str, digest: &Digest) -> Option<Reference> {
        let present = lock(&self.inner.present);
        let here = |(name, found): &&BlobKey| {
            let repository = name.strip_prefix(registry);
            found == digest && repository.is_some_and(|rest| rest.starts_with('/'))
        };
        // The smallest name, so that two runs ask for the same.
        let name = present.iter().filter(here).map(|(name, _)| name).min()?;
        Reference::parse(name).ok()
    }

    /// Remembers that the blob is there.
    pub(crate) fn remember(&self, key: BlobKey) {
        lock(&self.inner.present).insert(key);
    }

    /// The uploads that are open.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// The lock of one blob on its way to one repository.
    pub(crate) fn pushing(&self, key: &BlobKey) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.inner.pushing).entry(key.clone()).or_default())
    }
}

fn repository(reference: &Reference) -> Repository {
    (reference.registry().to_owned(), reference.repository().to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a blob is there.
pub(crate) async fn head(
    endpoint: &Endpoint,
    scopes: &Scopes,
    path: &str,
) -> std::result::Result<bool, Cause> {
    transport::retry(&endpoint.retry, path, || head_once(endpoint, scopes, path)).await
}

/// The same, asked once.
pub(crate) async fn head_once(
    endpoint: &Endpoint,
    scopes: &Scopes,
    path: &str,
) -> std::result::Result<bool, Cause> {
    let request = Request::new(Method::HEAD, endpoint.url(path).await?);
    match accept(endpoint.send(scopes, request).await?).await {
        Ok(_) => Ok(true),
        Err(cause) if cause.status() == Some(404) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Where an upload goes on, absolute.
pub(crate) fn upload_url(response: &transport::Response) -> std::result::Result<url::Url, Cause> {
    let location = response.header(header::LOCATION.as_str());
    location.and_then(|location| response.url().join(location).ok()).ok_or_else(|| {
        Cause::Protocol("the registry does not say where the upload goes on".to_owned())
    })
}
