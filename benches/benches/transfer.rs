//! Images to a registry and back: an image of one GiB by our client and by skopeo, both against
//! Debian's docker-registry on loopback, and the memory that a blob of 10 GiB takes.
//!
//! `cargo bench -p kaniko-benches --bench transfer -- [MIB] [--mib 10240]`. Needs docker-registry
//! and skopeo (`cargo xtask setup`), and four times MIB in `/dev/shm`: a disk would be measured
//! instead of the programs.
#![allow(clippy::disallowed_methods, reason = "a bench makes files and starts programs")]

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kaniko_benches::images::incompressible;
use kaniko_benches::programs::succeed;
use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure, argument, memory, remark, size_argument};
use oci::{Descriptor, Digest, Image, MediaType, Platform, Reference};
use registry::{BlobOrigin, BlobSource, Client, ClientOptions, Silent};
use sha2::Digest as _;
use store::{BlobStore, OciLayout};
use testkit::ScratchRoot;
use testkit::bulk::BulkRegistry;
use testkit::registry::Registry;

const ROUNDS: usize = 5;
const MIB: u64 = 1 << 20;
const LAYERS: usize = 4;
const MEMORY_GOAL: u64 = 64 * MIB;
/// What the large blob is compared with.
const SMALL: u64 = 100;

fn main() {
    let part = |way: fn(&Client, &Reference, &Descriptor, &Path)| {
        let text = |name: &str| argument(name).unwrap_or_default();
        let reference = reference(&text("--host"), "bulk:latest");
        let size = text("--size").parse().unwrap_or(0);
        let digest = Digest::parse(&text("--digest")).expect("because the parent made it");
        let blob = Descriptor::new(MediaType::OciLayer, digest, size);
        way(&client(), &reference, &blob, Path::new(&text("--file")));
        memory::tell_peak();
    };
    match memory::part().as_deref() {
        Some("push") => part(push_blob),
        Some("pull") => part(pull_blob),
        Some(other) => panic!("there is no part `{other}`"),
        None => {
            throughput(size_argument(1024) as u64);
            peaks();
        }
    }
}

fn client() -> Client {
    Client::new(ClientOptions::default()).expect("because the options are plain")
}

fn reference(host: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{host}/{rest}")).expect("because it is well formed")
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().expect("because threads can be had")
}

/// The blobs of one image in a store.
struct Blobs(BlobStore);

impl BlobSource for Blobs {
    fn locate(&self, blob: &Descriptor) -> std::io::Result<BlobOrigin> {
        let file = self.0.open_blob(&blob.digest).map_err(std::io::Error::other)?;
        Ok(BlobOrigin::File(Arc::new(file)))
    }
}

fn throughput(mib: u64) {
    let shm = Path::new("/dev/shm").join(format!("kaniko-transfer-{}", std::process::id()));
    std::fs::create_dir_all(&shm).expect("because /dev/shm is there");
    let store = BlobStore::open(&shm.join("store")).expect("because there is room");
    let image = incompressible(&store, mib, LAYERS);
    let layout = shm.join("layout");
    OciLayout::write(&layout, &image, &store, Some("bench")).expect("because there is room");
    remark(format!("{mib} MiB in {LAYERS} layers, median of {ROUNDS} rounds"));
    let round = Round { image: &image, blobs: Blobs(store), layout: &layout, place: &shm };
    let [push, their_push, pull, their_pull] = medians(ROUNDS, || {
        let times = round.run();
        remark(format!(
            "push {:.2?} and {:.2?}, pull {:.2?} and {:.2?}",
            times[0], times[1], times[2], times[3]
        ));
        times
    });
    let bytes: u64 = image.layers().iter().map(|layer| layer.descriptor.size).sum();
    for (what, ours, theirs) in [("push", push, their_push), ("pull", pull, their_pull)] {
        Figure::new("transfer", format!("{what} {mib} MiB"), Measure::rate(bytes, ours))
            .against("skopeo", Measure::rate(bytes, theirs))
            .goal(Goal::RatioAtLeast(1.0))
            .report();
    }
    std::fs::remove_dir_all(&shm).expect("because it is ours");
}

struct Round<'a> {
    image: &'a Image,
    blobs: Blobs,
    layout: &'a Path,
    place: &'a Path,
}

impl Round<'_> {
    /// Every push goes to a registry of its own, where nothing is yet.
    fn run(&self) -> [Duration; 4] {
        let start = |name: &str| {
            Registry::start_in(&self.place.join(name))
                .expect("because docker-registry is installed")
        };
        let ours = start("ours");
        let (push, ()) = timed(|| self.push(&ours));
        let (pull, ()) = timed(|| self.pull(&ours));
        drop(ours);
        let theirs = start("theirs");
        let (from, to) = (format!("oci:{}:bench", self.layout.display()), self.place.join("copy"));
        let there = format!("docker://{}/bench:latest", theirs.host());
        let skopeo = |words: &[&str]| {
            succeed(Command::new("skopeo").args(["copy", "--quiet"]).args(words));
        };
        let (their_push, ()) = timed(|| skopeo(&["--dest-tls-verify=false", &from, &there]));
        let to = format!("oci:{}:bench", to.display());
        let (their_pull, ()) = timed(|| skopeo(&["--src-tls-verify=false", &there, &to]));
        std::fs::remove_dir_all(self.place.join("copy")).expect("because skopeo made it");
        [push, their_push, pull, their_pull]
    }

    fn push(&self, registry: &Registry) {
        let name = reference(&registry.host(), "bench:latest");
        runtime()
            .block_on(client().push_image(&name, self.image, &self.blobs, &Silent))
            .expect("because the registry is good");
    }

    fn pull(&self, registry: &Registry) {
        let name = reference(&registry.host(), "bench:latest");
        let directory = self.place.join("pulled");
        let store = BlobStore::open(&directory).expect("because there is room");
        runtime().block_on(async {
            let client = client();
            let found = client.resolve(&name, &Platform::new("linux", "amd64")).await;
            let found = found.expect("because it was pushed");
            let fetcher = cache::Fetcher::new(client, store);
            let blobs = found.manifest.layers.iter();
            let pulls = blobs.map(|blob| fetcher.fetch(&found.reference, blob, None, &Silent));
            futures_util::future::try_join_all(pulls).await.expect("because it was pushed");
        });
        std::fs::remove_dir_all(&directory).expect("because it is ours");
    }
}

/// The memory that one large blob takes, in a program that does nothing else.
fn peaks() {
    let large = argument("--mib").and_then(|text| text.parse().ok()).unwrap_or(10_240);
    for what in ["push", "pull"] {
        let (small_peak, large_peak) = (peak(what, SMALL), peak(what, large));
        let figure = format!("peak memory, {what} a blob of {large} MiB");
        Figure::new("transfer", figure, Measure::Memory(large_peak))
            .against(format!("one of {SMALL} MiB"), Measure::Memory(small_peak))
            .goal(Goal::AtMost(Measure::Memory(MEMORY_GOAL)))
            .report();
    }
}

fn peak(what: &str, mib: u64) -> u64 {
    let scratch = ScratchRoot::new();
    let (size, path) = (mib * MIB, scratch.path().join("blob"));
    // A hole takes no room.
    let file = File::create(&path).expect("because there is room");
    file.set_len(size).expect("because holes take no room");
    let server = BulkRegistry::start(size);
    let zeros = vec![0; MIB as usize];
    let mut hash = sha2::Sha256::new();
    (0..mib).for_each(|_| hash.update(&zeros));
    let digest = Digest::from_sha256(hash.finalize().into());
    let (host, size, path) = (server.host(), size.to_string(), path.display().to_string());
    let digest = digest.to_string();
    let words = ["--host", &host, "--size", &size, "--digest", &digest, "--file", &path];
    memory::peak_of(memory::start(what, &words))
}

fn push_blob(client: &Client, reference: &Reference, blob: &Descriptor, file: &Path) {
    struct One(Arc<File>);
    impl BlobSource for One {
        fn locate(&self, _: &Descriptor) -> std::io::Result<BlobOrigin> {
            Ok(BlobOrigin::File(Arc::clone(&self.0)))
        }
    }
    let source = One(Arc::new(File::open(file).expect("because the parent made it")));
    let pushed = runtime().block_on(client.push_blob(reference, blob, &source, &Silent));
    pushed.expect("because the server takes all");
}

fn pull_blob(client: &Client, reference: &Reference, blob: &Descriptor, _: &Path) {
    runtime().block_on(async {
        let mut stream = client.pull_blob(reference, blob).await.expect("because it is there");
        while stream.chunk().await.expect("because the server is good").is_some() {}
    });
}
