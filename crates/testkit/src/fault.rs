//! A registry in memory that misbehaves on demand.
//!
//! It speaks the distribution protocol well enough for pull and push, keeps a log of every request,
//! and answers the requests a [`Fault`] matches in the fault's way. A second listener, the "other
//! host", serves blobs after a redirect and notes credentials that should not have come along.
//! Read [`FaultRegistry`], then [`Action`].

pub mod modes;
mod protocol;
mod serve;
mod state;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use state::Shared;
pub use state::{Action, Fault, Logged, Subject};

/// A registry on loopback whose answers can be spoilt.
#[derive(Debug)]
pub struct FaultRegistry {
    shared: Arc<Shared>,
    address: SocketAddr,
    other: SocketAddr,
}

impl FaultRegistry {
    /// A good registry, until [`FaultRegistry::fault`] says otherwise.
    #[must_use]
    pub fn start() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let (listener, other) = (bind(), bind());
        let address = listener.local_addr().expect("a bound listener has an address");
        let other_address = other.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::new(address, other_address));
        serve::listen(listener, &shared, serve::Role::Registry);
        serve::listen(other, &shared, serve::Role::OtherHost);
        Self { shared, address, other: other_address }
    }

    /// `127.0.0.1:<port>`, as it stands in references.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The other host that redirects lead to.
    #[must_use]
    pub fn other_host(&self) -> String {
        self.other.to_string()
    }

    /// Adds a fault. The first that matches a request decides its answer.
    pub fn fault(&self, subject: Subject, times: Option<u32>, action: Action) {
        self.shared.lock().faults.push(Fault { subject, times, action, used: Default::default() });
    }

    /// Asks for a Bearer token from now on; each one serves `uses` requests.
    pub fn require_token(&self, uses: u32) {
        self.shared.lock().token_uses = Some(uses);
    }

    /// The token server gives tokens only to who shows this `Authorization` header, or posts this
    /// refresh token.
    pub fn require_secret(&self, secret: &str) {
        let mut state = self.shared.lock();
        state.token_uses.get_or_insert(u32::MAX);
        state.token_secret = Some(secret.to_owned());
    }

    /// Asks in these words from now on; `{realm}` stands for the token server.
    pub fn challenge(&self, text: &str) {
        text.clone_into(&mut self.shared.lock().challenge);
    }

    /// Stores a blob in a repository and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        self.shared.lock().put_blob(repository, bytes.to_vec())
    }

    /// Stores a manifest, also under a tag, and returns its digest. Nothing is checked.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> String {
        self.shared.lock().put_manifest(repository, tag, media_type, bytes.to_vec())
    }

    /// A stored blob.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let state = self.shared.lock();
        let key = (repository.to_owned(), digest.to_owned());
        state.blobs.get(&key).map(|bytes| bytes.as_ref().clone())
    }

    /// The digest that a tag leads to.
    #[must_use]
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.shared.lock().tags.get(&(repository.to_owned(), tag.to_owned())).cloned()
    }

    /// Every tag must lead to manifests and blobs that are all there; says what is missing.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.shared.lock().missing()
    }

    /// The requests so far.
    #[must_use]
    pub fn log(&self) -> Vec<Logged> {
        self.shared.lock().log.clone()
    }

    /// How many requests were of this kind.
    #[must_use]
    pub fn count(&self, subject: Subject) -> usize {
        self.shared.lock().log.iter().filter(|entry| entry.subject == subject).count()
    }

    /// The most requests of one kind for one object that failed in a row.
    #[must_use]
    pub fn longest_failure(&self) -> usize {
        let mut rows: BTreeMap<(Subject, String), (usize, usize)> = BTreeMap::new();
        for entry in &self.shared.lock().log {
            let (row, longest) = rows.entry((entry.subject, entry.object.clone())).or_default();
            // What asks for a token, or says that something is not there, is an answer.
            let answer = matches!(entry.status, 100..=399 | 401)
                || (entry.status == 404 && entry.request.starts_with("HEAD "));
            *row = if answer { 0 } else { *row + 1 };
            *longest = (*longest).max(*row);
        }
        rows.into_values().map(|(_, longest)| longest).max().unwrap_or(0)
    }

    /// Uploads that were opened and neither finished nor cancelled.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.shared.lock().uploads.len()
    }

    /// Requests to the other host that carried credentials.
    #[must_use]
    pub fn leaks(&self) -> usize {
        self.shared.lock().log.iter().filter(|entry| entry.other_host && entry.authorized).count()
    }
}

impl Drop for FaultRegistry {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
