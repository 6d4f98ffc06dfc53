//! A base image of 2 GiB from Debian's docker-registry on loopback into the warmer's cache, against
//! `skopeo copy docker://.. oci:..` of the same image; and the memory that the warmer takes.
//!
//! `cargo build --release -p kaniko-warmer`, then
//! `cargo bench -p kaniko-benches --bench warmer -- [MIB] [--warmer PATH]`. Needs docker-registry and
//! skopeo (`cargo xtask setup`), and twice MIB in `/dev/shm`: a disk would be measured instead of the
//! programs.
#![allow(clippy::disallowed_methods, reason = "a bench makes files and starts programs")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kaniko_benches::images::incompressible;
use kaniko_benches::programs::{program, succeed};
use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure, memory, remark, size_argument};
use oci::{Descriptor, Image, Reference};
use registry::{BlobOrigin, BlobSource, Client, ClientOptions, Silent};
use store::BlobStore;
use testkit::registry::Registry;

const ROUNDS: usize = 5;
const LAYERS: usize = 4;
const MEMORY_GOAL: u64 = 64 << 20;

fn main() {
    let mib = size_argument(2048) as u64;
    let warmer = program("warmer");
    let shm = Path::new("/dev/shm").join(format!("kaniko-warmer-{}", std::process::id()));
    std::fs::create_dir_all(&shm).expect("because /dev/shm is there");
    let registry = Registry::start_in(&shm.join("registry"));
    let registry = registry.expect("because docker-registry is installed");
    let image = push(&registry, &shm.join("store"), mib);
    let bytes: u64 = image.layers().iter().map(|layer| layer.descriptor.size).sum();
    remark(format!("{mib} MiB in {LAYERS} layers, median of {ROUNDS} rounds"));
    let mut peak = 0;
    let [ours, theirs] = medians(ROUNDS, || {
        let (cache, copy) = (shm.join("cache"), shm.join("copy"));
        let (ours, high) = timed(|| warm(&warmer, &registry, &cache));
        assert!(
            cache.join(image.digest().as_str()).join("index.json").exists(),
            "nothing is there"
        );
        std::fs::remove_dir_all(&cache).expect("because it is ours");
        let from = format!("docker://{}/bench:latest", registry.host());
        let to = format!("oci:{}:bench", copy.display());
        let (theirs, ()) = timed(|| {
            let words = ["copy", "--quiet", "--src-tls-verify=false", &from, &to];
            succeed(Command::new("skopeo").args(words));
        });
        std::fs::remove_dir_all(&copy).expect("because skopeo made it");
        peak = peak.max(high);
        remark(format!("{ours:.2?} and {theirs:.2?}, peak {} KiB", high >> 10));
        [ours, theirs]
    });
    Figure::new("warmer", format!("an image of {mib} MiB"), Measure::rate(bytes, ours))
        .against("skopeo", Measure::rate(bytes, theirs))
        .goal(Goal::RatioAtLeast(1.0))
        .report();
    Figure::new("warmer", "peak memory of the warmer", Measure::Memory(peak))
        .goal(Goal::AtMost(Measure::Memory(MEMORY_GOAL)))
        .report();
    drop(registry);
    std::fs::remove_dir_all(&shm).expect("because it is ours");
}

/// Puts an image into the registry, and leaves nothing else behind.
fn push(registry: &Registry, place: &Path, mib: u64) -> Image {
    struct Blobs(BlobStore);
    impl BlobSource for Blobs {
        fn locate(&self, blob: &Descriptor) -> std::io::Result<BlobOrigin> {
            let file = self.0.open_blob(&blob.digest).map_err(std::io::Error::other)?;
            Ok(BlobOrigin::File(Arc::new(file)))
        }
    }
    let store = BlobStore::open(place).expect("because there is room");
    let image = incompressible(&store, mib, LAYERS);
    let name = Reference::parse(&format!("{}/bench:latest", registry.host()));
    let name = name.expect("because it is well formed");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("because threads can be had");
    let client = Client::new(ClientOptions::default()).expect("because the options are plain");
    let pushed = runtime.block_on(client.push_image(&name, &image, &Blobs(store), &Silent));
    pushed.expect("because the registry is good");
    std::fs::remove_dir_all(place).expect("because it is ours");
    image
}

/// One run of the warmer; returns its peak memory. The kernel's mark only grows, so a look at it now
/// and then misses nothing but the very last moment.
fn warm(program: &Path, registry: &Registry, cache: &Path) -> u64 {
    let mut child = Command::new(program)
        .arg(format!("--image={}/bench:latest", registry.host()))
        .arg(format!("--cache-dir={}", cache.display()))
        .args(["--custom-platform=linux/amd64", "--verbosity=warn"])
        .stdin(Stdio::null())
        .spawn()
        .expect("because the warmer is there");
    let mut peak = 0;
    let status = loop {
        peak = peak.max(memory::peak(&child.id().to_string()));
        if let Some(status) = child.try_wait().expect("because it was started") {
            break status;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    assert!(status.success(), "the warmer failed: {status}");
    peak
}
