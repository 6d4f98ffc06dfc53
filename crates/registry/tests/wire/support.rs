//! What the tests of this crate share: a small image, a source of its blobs, a client that is not
//! patient.

use std::collections::BTreeMap;
use std::time::Duration;

use oci::{
    Descriptor, DiffId, Digest, History, Image, ImageDraft, ImageFormat, LayerRef, MediaType,
    Platform, Reference,
};
use registry::{BlobOrigin, BlobSource, Client, ClientOptions, RetryPolicy, Transfer};

/// Blobs in memory, and where else they are known to lie.
#[derive(Default)]
pub(crate) struct Blobs {
    pub(crate) bytes: BTreeMap<Digest, Vec<u8>>,
    pub(crate) known: Vec<Reference>,
    pub(crate) remote: Option<Reference>,
}

impl BlobSource for Blobs {
    fn locate(&self, descriptor: &Descriptor) -> std::io::Result<BlobOrigin> {
        if let Some(remote) = &self.remote {
            return Ok(BlobOrigin::Registry(remote.clone()));
        }
        let bytes = self.bytes.get(&descriptor.digest).cloned();
        bytes
            .map(|bytes| BlobOrigin::Bytes(bytes.into()))
            .ok_or(std::io::ErrorKind::NotFound.into())
    }

    fn known_in(&self, _: &Descriptor) -> Vec<Reference> {
        self.known.clone()
    }
}

/// An image with one layer of so many bytes (no real tar: registries do not look inside).
pub(crate) fn image(size: usize) -> (Image, Blobs) {
    image_for(&Platform::new("linux", "amd64"), size)
}

/// The same for another platform.
pub(crate) fn image_for(platform: &Platform, size: usize) -> (Image, Blobs) {
    let content = noise(size);
    let digest = Digest::sha256_of(&content);
    let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), size as u64);
    let mut draft = ImageDraft::from_scratch(platform);
    let layer = LayerRef { descriptor, diff_id: DiffId(digest.clone()) };
    draft.push_layer(layer, History::step("COPY x /", None));
    let blobs = Blobs { bytes: BTreeMap::from([(digest, content)]), ..Blobs::default() };
    (draft.finish(ImageFormat::Oci), blobs)
}

/// Bytes that repeat nowhere, the same each time.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A client that gives up within a second or two.
pub(crate) fn client() -> Client {
    client_with(|_| {})
}

/// The same, changed.
pub(crate) fn client_with(change: impl FnOnce(&mut ClientOptions)) -> Client {
    let mut options = ClientOptions {
        retry: RetryPolicy {
            tries: 6,
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(40),
            ..RetryPolicy::default()
        },
        chunk: 64 << 10,
        ..ClientOptions::default()
    };
    options.http.idle_timeout = Duration::from_millis(400);
    options.http.answer_timeout = Duration::from_secs(2);
    change(&mut options);
    Client::new(options).expect("because the options are plain")
}

/// A reference on a registry.
pub(crate) fn reference(host: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{host}/{rest}")).expect("because it is well formed")
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        text.push_str(": ");
        text.push_str(&this.to_string());
        cause = this.source();
    }
    text
}

/// Watches nothing.
pub(crate) fn silent(_: Transfer) {}
