//! Blobs of some size: what a fault in the middle costs, counted in bytes by the other side.
#![allow(clippy::disallowed_methods, reason = "a test makes files")]

use std::fs::File;
use std::sync::Arc;

use oci::{Descriptor, Digest, MediaType};
use registry::{BlobOrigin, BlobSource, Client, ClientOptions};
use sha2::Digest as _;
use testkit::ScratchRoot;
use testkit::bulk::BulkRegistry;

use crate::support::{reference, silent};

const MIB: u64 = 1 << 20;
/// The size of an upload's chunks, as it is without being told.
const CHUNK: u64 = 8 * MIB;

/// A file of zeros, which takes no room.
pub(crate) struct Hole {
    pub(crate) descriptor: Descriptor,
    file: Arc<File>,
    _scratch: ScratchRoot,
}

impl Hole {
    pub(crate) fn new(size: u64) -> Hole {
        let scratch = ScratchRoot::new();
        let path = scratch.path().join("blob");
        std::fs::write(&path, "").expect("because the directory is ours");
        let file = File::options().write(true).read(true).open(&path).expect("because it is there");
        file.set_len(size).expect("because a hole takes no room");
        let zeros = vec![0; MIB as usize];
        let mut hash = sha2::Sha256::new();
        (0..size / MIB).for_each(|_| hash.update(&zeros));
        let digest = Digest::from_sha256(hash.finalize().into());
        let descriptor = Descriptor::new(MediaType::OciLayer, digest, size);
        Hole { descriptor, file: Arc::new(file), _scratch: scratch }
    }
}

impl BlobSource for Hole {
    fn locate(&self, _: &Descriptor) -> std::io::Result<BlobOrigin> {
        Ok(BlobOrigin::File(Arc::clone(&self.file)))
    }
}

fn client() -> Client {
    Client::new(ClientOptions::default()).expect("because the options are plain")
}

/// Pushes and pulls a blob while the connection is reset at these positions.
async fn check(size: u64, cuts: &[u64]) {
    let blob = Hole::new(size);
    let allowed = size + cuts.len() as u64 * CHUNK;
    let start = || {
        let server = BulkRegistry::start(size);
        cuts.iter().for_each(|cut| server.cut_at(*cut));
        let name = reference(&server.host(), "bulk:latest");
        (server, name)
    };
    let (server, name) = start();
    client().push_blob(&name, &blob.descriptor, &blob, &silent).await.expect("it is resumed");
    assert!(server.received() > size, "nothing was cut");
    assert!(server.received() <= allowed, "{} of {allowed} bytes", server.received());

    let (server, name) = start();
    let mut stream = client().pull_blob(&name, &blob.descriptor).await.expect("it is there");
    while stream.chunk().await.expect("because it is resumed").is_some() {}
    assert!(server.sent() >= size, "{} of {size} bytes", server.sent());
    assert!(server.sent() <= allowed, "{} of {allowed} bytes", server.sent());
}

#[tokio::test]
async fn a_reset_costs_one_chunk_at_most() {
    check(40 * MIB, &[20 * MIB]).await;
    check(64 * MIB, &[1, 13 * MIB, 24 * MIB, 50 * MIB, 64 * MIB - 1]).await;
}
