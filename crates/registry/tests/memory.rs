//! The memory that a large blob takes, pushed and pulled. A program of its own, since a peak is a
//! program's for good; the bench `transfer` measures more.
#![allow(clippy::disallowed_methods, reason = "a test makes files")]

use std::fs::File;
use std::sync::Arc;

use oci::{Descriptor, Digest, MediaType, Reference};
use registry::{BlobOrigin, BlobSource, Client, ClientOptions, Silent};
use sha2::Digest as _;
use testkit::ScratchRoot;
use testkit::bulk::BulkRegistry;

const MIB: u64 = 1 << 20;
/// Several times what may be used.
const SIZE: u64 = 256 * MIB;
const GOAL: u64 = 64 * MIB;

struct One(Arc<File>);

impl BlobSource for One {
    fn locate(&self, _: &Descriptor) -> std::io::Result<BlobOrigin> {
        Ok(BlobOrigin::File(Arc::clone(&self.0)))
    }
}

#[tokio::test]
async fn large_blobs_take_little_memory() {
    let scratch = ScratchRoot::new();
    let path = scratch.path().join("blob");
    std::fs::write(&path, "").expect("because the directory is ours");
    let file = File::options().write(true).read(true).open(&path).expect("because it is there");
    file.set_len(SIZE).expect("because a hole takes no room");
    let zeros = vec![0; MIB as usize];
    let mut hash = sha2::Sha256::new();
    (0..SIZE / MIB).for_each(|_| hash.update(&zeros));
    let digest = Digest::from_sha256(hash.finalize().into());
    let blob = Descriptor::new(MediaType::OciLayer, digest, SIZE);

    let server = BulkRegistry::start(SIZE);
    let name = Reference::parse(&format!("{}/bulk:latest", server.host())).expect("well formed");
    let client = Client::new(ClientOptions::default()).expect("because the options are plain");
    let source = One(Arc::new(file));
    client.push_blob(&name, &blob, &source, &Silent).await.expect("because the server takes all");
    let mut stream = client.pull_blob(&name, &blob).await.expect("because it is there");
    while stream.chunk().await.expect("because the server is good").is_some() {}
    assert_eq!((server.received(), server.sent()), (SIZE, SIZE));
    let peak = peak();
    assert!(peak < GOAL, "{peak} bytes for a blob of {SIZE}");
}

/// The highest resident size of this program so far.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("because /proc is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("because the kernel tells it") << 10
}
