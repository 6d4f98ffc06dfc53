//! What the registry holds, and which faults are planned.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::Digest as _;

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// `/v2/`.
    Ping,
    /// GET of a token.
    Token,
    /// GET of a manifest.
    ManifestGet,
    /// HEAD of a manifest.
    ManifestHead,
    /// PUT of a manifest.
    ManifestPut,
    /// GET of a blob.
    BlobGet,
    /// HEAD of a blob.
    BlobHead,
    /// POST that opens an upload, or mounts.
    UploadPost,
    /// PATCH of an upload.
    UploadPatch,
    /// PUT that ends an upload.
    UploadPut,
    /// GET of an upload's status.
    UploadStatus,
    /// DELETE of an upload.
    UploadDelete,
    /// Anything else.
    Other,
    /// In a [`Fault`]: requests of every kind.
    Any,
}

/// What a fault does to a request that it matches.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answer with this status, these header lines and this text, and do nothing.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Reset the connection before reading the body or answering.
    Reset,
    /// Carry the request out, then reset instead of answering.
    ResetDone,
    /// Carry the request out, then answer with this status.
    StatusDone(u16),
    /// Send half of the body, then reset.
    CutBody,
    /// Send half of the body, then close as if that were all of it.
    ShortBody,
    /// Send half of the body, then nothing.
    Stall,
    /// Never answer where the request or the answer has more bytes of body than this.
    Silence(usize),
    /// Send one byte at a time, with this pause.
    Drip(Duration),
    /// Flip one bit of the body.
    Flip,
    /// Send more bytes than the blob has.
    LongBody,
    /// Answer a Range request from a wrong offset.
    WrongRange,
    /// Ignore Range and send everything with 200.
    IgnoreRange,
    /// Redirect to the other host this many times, then serve there.
    RedirectOther(u32),
    /// Redirect there.
    RedirectTo(String),
    /// Add or replace a header of the answer.
    Header(&'static str, String),
    /// Read the first half of the request's body, then reset.
    ResetMidway,
    /// Send a body without an announced length, so many bytes of it.
    Endless(u64),
    /// Send so many interim answers before the answer.
    Interim(u32),
    /// Add so many header lines of one name.
    Lines(&'static str, u32),
    /// Close the connection after the answer, without a word.
    CloseAfter,
    /// Read the request's body slowly: so many bytes at a time, with this pause.
    SlowRead(usize, Duration),
    /// Send uploads to the other host.
    LocationOther,
    /// Do not mount, but open an upload.
    NoMount,
    /// Say yes and keep nothing: 201, with the digest that was asked for.
    Lie,
    /// Answer with the manifest in other bytes each time.
    Moves,
    /// Redirect to the other host, which refuses the first time as if the address had expired.
    RedirectExpired,
}

/// A planned fault.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which requests.
    pub subject: Subject,
    /// The first so many requests of each path; all without.
    pub times: Option<u32>,
    /// What happens to them.
    pub action: Action,
    pub(super) used: BTreeMap<String, u32>,
}

/// One request as the registry saw it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// What it was.
    pub subject: Subject,
    /// What it was about: the path; of uploads, where they are opened.
    pub object: String,
    /// `GET /v2/…`, with the query.
    pub request: String,
    /// The answer, 0 when there was none.
    pub status: u16,
    /// The Range or Content-Range header.
    pub range: Option<String>,
    /// How many bytes of body came.
    pub received: u64,
    /// Whether an Authorization header came along.
    pub authorized: bool,
    /// Whether the other host was asked.
    pub other_host: bool,
    /// The User-Agent.
    pub user_agent: String,
}

/// A media type and the bytes of it.
pub(super) type Typed = (String, Arc<Vec<u8>>);

pub(super) struct State {
    pub(super) faults: Vec<Fault>,
    pub(super) log: Vec<Logged>,
    pub(super) blobs: BTreeMap<(String, String), Arc<Vec<u8>>>,
    pub(super) manifests: BTreeMap<(String, String), Typed>,
    pub(super) tags: BTreeMap<(String, String), String>,
    pub(super) uploads: BTreeMap<String, Vec<u8>>,
    pub(super) next_upload: u32,
    pub(super) token_uses: Option<u32>,
    pub(super) tokens: BTreeMap<String, u32>,
    /// What the token server wants to see: the `Authorization` header, or the refresh token.
    pub(super) token_secret: Option<String>,
    /// The challenge of a registry that wants tokens; `{realm}` is its token server.
    pub(super) challenge: String,
    stopped: bool,
}

pub(super) struct Shared {
    state: Mutex<State>,
    stop: Condvar,
    pub(super) address: SocketAddr,
    pub(super) other: SocketAddr,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.address)
    }
}

impl Shared {
    pub(super) fn new(address: SocketAddr, other: SocketAddr) -> Self {
        let state = State {
            faults: Vec::new(),
            log: Vec::new(),
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            uploads: BTreeMap::new(),
            next_upload: 0,
            token_uses: None,
            tokens: BTreeMap::new(),
            token_secret: None,
            challenge: "Bearer realm=\"{realm}\",service=\"fault\"".to_owned(),
            stopped: false,
        };
        Self { state: Mutex::new(state), stop: Condvar::new(), address, other }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every stall and, with one last connection each, both listeners.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.stop.notify_all();
        for address in [self.address, self.other] {
            let _ = std::net::TcpStream::connect(address);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits that long, or until the registry stops; says whether it did.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let (state, _) = self
            .stop
            .wait_timeout_while(self.lock(), time, |state| !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        state.stopped
    }
}

impl State {
    /// The action for a request, counted per path.
    pub(super) fn action(&mut self, subject: Subject, path: &str) -> Option<Action> {
        let meant = |fault: &&mut Fault| [subject, Subject::Any].contains(&fault.subject);
        for fault in self.faults.iter_mut().filter(meant) {
            let used = fault.used.entry(format!("{subject:?} {path}")).or_default();
            if fault.times.is_none_or(|times| *used < times) {
                *used += 1;
                return Some(fault.action.clone());
            }
        }
        None
    }

    pub(super) fn put_blob(&mut self, repository: &str, bytes: Vec<u8>) -> String {
        let digest = digest_of(&bytes);
        self.blobs.insert((repository.to_owned(), digest.clone()), Arc::new(bytes));
        digest
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> String {
        let digest = digest_of(&bytes);
        let key = (repository.to_owned(), digest.clone());
        self.manifests.insert(key, (media_type.to_owned(), Arc::new(bytes)));
        if !tag.starts_with("sha256:") {
            self.tags.insert((repository.to_owned(), tag.to_owned()), digest.clone());
        }
        digest
    }

    /// The digests and sizes that a manifest names: manifests, then blobs.
    pub(super) fn named(bytes: &[u8]) -> (Vec<Named>, Vec<Named>) {
        let json: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        let named = |entry: &serde_json::Value| {
            let digest = entry["digest"].as_str()?.to_owned();
            Some((digest, entry["size"].as_u64()))
        };
        let all = |value: &serde_json::Value| -> Vec<Named> {
            let list = value.as_array().cloned().unwrap_or_default();
            list.iter().filter(|entry| entry.get("urls").is_none()).filter_map(named).collect()
        };
        let mut blobs = all(&json["layers"]);
        blobs.extend(named(&json["config"]));
        (all(&json["manifests"]), blobs)
    }

    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = BTreeSet::new();
        for ((repository, tag), digest) in &self.tags {
            let mut todo = vec![(digest.clone(), None)];
            while let Some((digest, size)) = todo.pop() {
                let key = (repository.clone(), digest.clone());
                let found = self.manifests.get(&key).map(|(_, bytes)| bytes);
                let Some(bytes) = found.filter(|bytes| is_whole(bytes, &digest, size)) else {
                    missing.insert(format!("{repository}:{tag} manifest {digest}"));
                    continue;
                };
                let (children, blobs) = Self::named(bytes);
                todo.extend(children);
                for (blob, size) in blobs {
                    let stored = self.blobs.get(&(repository.clone(), blob.clone()));
                    if stored.is_none_or(|bytes| !is_whole(bytes, &blob, size)) {
                        missing.insert(format!("{repository}:{tag} blob {blob}"));
                    }
                }
            }
        }
        missing.into_iter().collect()
    }
}

/// A digest, and the size where one is said.
type Named = (String, Option<u64>);

fn is_whole(bytes: &[u8], digest: &str, size: Option<u64>) -> bool {
    digest_of(bytes) == digest && size.is_none_or(|size| size == bytes.len() as u64)
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
