//! Warmers that are killed at any moment, beside each other and beside readers.
#![allow(clippy::disallowed_methods, reason = "a test starts the program and looks at its files")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use cache::{BaseImageCache, Freshness};
use oci::{
    Descriptor, DiffId, Digest, History, ImageDraft, ImageFormat, LayerRef, MediaType, Platform,
};
use testkit::ScratchRoot;
use testkit::fault::{FaultRegistry, Subject};

/// As many rounds as fit into the time, at most.
const ROUNDS: u64 = 100;
const BUDGET: Duration = Duration::from_secs(15);
const IMAGES: usize = 3;
/// Each image has this many layers of its own, and shares one with the others.
const LAYERS: usize = 3;

/// A registry with a few images of small layers.
fn registry() -> FaultRegistry {
    let registry = FaultRegistry::start();
    for image in 0..IMAGES {
        let mut draft = ImageDraft::from_scratch(&Platform::host());
        for layer in 0..=LAYERS {
            let which = if layer == 0 { 0 } else { 1 + image * LAYERS + layer };
            let content = vec![u8::try_from(which).expect("because it is small"); 50_000 + which];
            let digest = Digest::sha256_of(&content);
            let size = content.len() as u64;
            registry.put_blob("base", &content);
            let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), size);
            let layer = LayerRef { descriptor, diff_id: DiffId(digest) };
            draft.push_layer(layer, History::step("x", None));
        }
        let image_ = draft.finish(ImageFormat::Oci);
        registry.put_blob("base", image_.config().bytes());
        let media_type = image_.manifest_descriptor().media_type;
        let bytes = image_.manifest().bytes();
        registry.put_manifest("base", &image.to_string(), media_type.as_str(), bytes);
    }
    registry
}

fn warmer(cache: &Path, registry: &FaultRegistry) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmer"));
    command.env_clear().arg("--cache-dir").arg(cache).arg("--verbosity=warn");
    for image in 0..IMAGES {
        command.arg(format!("--image={}/base:{image}", registry.host()));
    }
    command.stdout(Stdio::null()).spawn().expect("because the program was built")
}

fn succeeded(mut child: Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().expect("because it is our child") {
            assert!(status.success(), "{status}");
            return;
        }
        assert!(Instant::now() < deadline, "the warmer hangs");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn entries(cache: &Path) -> Vec<(Digest, PathBuf)> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().filter_map(Result::ok);
    let named = entries.filter_map(|entry| {
        let digest = Digest::parse(entry.file_name().to_str()?).ok()?;
        Some((digest, entry.path()))
    });
    named.collect()
}

/// What reads as an image is one: returns how many there are.
fn check(cache: &Path, writers_at_work: bool) -> usize {
    let reader = BaseImageCache::new(cache);
    let freshness = Freshness { now: SystemTime::now(), lifetime: Duration::from_secs(3600) };
    let mut good = 0;
    for (digest, path) in entries(cache) {
        let Some(image) = reader.image(&digest, &freshness) else {
            // Only who removes entries, as this test does, may be in between.
            assert!(writers_at_work || !path.exists(), "{digest} is torn");
            continue;
        };
        for layer in &image.manifest().layers {
            let mut bytes = Vec::new();
            let blob = image.open_blob(&layer.digest);
            // It may go while it is read.
            let Some(mut blob) = blob.ok().filter(|_| !writers_at_work || path.exists()) else {
                assert!(writers_at_work, "{} of {digest} is gone", layer.digest);
                continue;
            };
            std::io::Read::read_to_end(&mut blob, &mut bytes).expect("because it is readable");
            assert!(layer.digest.matches(&bytes), "{} of {digest} is torn", layer.digest);
        }
        good += 1;
    }
    good
}

/// Every file that is named by a digest has it.
fn check_blobs(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            check_blobs(&path);
        } else if path.parent().is_some_and(|parent| parent.ends_with("blobs/sha256")) {
            let bytes = std::fs::read(&path).expect("because it is there");
            let name = path.file_name().and_then(|name| name.to_str());
            assert_eq!(name, Some(Digest::sha256_of(&bytes).hex()), "{}", path.display());
        }
    }
}

#[test]
fn warmers_that_die_leave_no_entry_that_reads_as_one() {
    let registry = registry();
    let scratch = ScratchRoot::new();
    let cache = scratch.path().join("cache");
    let (done, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    seen.fetch_add(check(&cache, true), Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(2));
                }
            });
        }
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            rounds(&cache, &registry);
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = rounds {
            std::panic::resume_unwind(panic);
        }
    });
    // No lock of a dead one holds anybody up, and what it left does not disturb.
    let started = Instant::now();
    succeeded(warmer(&cache, &registry));
    assert!(started.elapsed() < Duration::from_secs(30), "a lock is dead");
    assert_eq!(check(&cache, false), IMAGES);
    check_blobs(&cache);
    assert!(seen.load(Ordering::Relaxed) > 0, "the readers read nothing");
    for place in ["entries", "locks", "tmp"] {
        let left = std::fs::read_dir(cache.join(".warmer").join(place)).expect("it is there");
        assert_eq!(left.count(), 0, "{place} is not swept");
    }
}

fn rounds(cache: &Path, registry: &FaultRegistry) {
    // How long all of it takes here, so that warmers die at any point of it.
    let started = Instant::now();
    succeeded(warmer(cache, registry));
    let whole = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    };
    let end = Instant::now() + BUDGET;
    for _ in (0..ROUNDS).take_while(|_| Instant::now() < end) {
        let mut warmers = [warmer(cache, registry), warmer(cache, registry)];
        for warmer in &mut warmers {
            std::thread::park_timeout(Duration::from_micros(below(whole)));
            let _ = warmer.kill();
        }
        for mut warmer in warmers {
            let _ = warmer.wait();
        }
        check(cache, false);
        // Work for the next round: an entry goes, or one and its blobs.
        let found = entries(cache);
        if let Some((_, path)) = found.get(usize::try_from(below(4)).unwrap_or(0)) {
            std::fs::remove_dir_all(path).expect("because it is ours");
        }
        if below(2) == 0 {
            let _ = std::fs::remove_dir_all(cache.join(".warmer/blobs"));
        }
    }
}

#[test]
fn warmers_beside_each_other_fetch_no_blob_twice() {
    let registry = registry();
    let scratch = ScratchRoot::new();
    let cache = scratch.path().join("cache");
    let warmers = [(); 4].map(|()| warmer(&cache, &registry));
    warmers.into_iter().for_each(succeeded);
    assert_eq!(check(&cache, false), IMAGES);
    let log = registry.log();
    let blobs = log.iter().filter(|entry| entry.subject == Subject::BlobGet);
    let mut layers: Vec<&str> = blobs.map(|entry| entry.object.as_str()).collect();
    layers.sort_unstable();
    let configs: Vec<String> = entries(&cache)
        .iter()
        .map(|(digest, path)| {
            let manifest = std::fs::read(path.join("blobs/sha256").join(digest.hex()));
            let manifest: oci::Raw<oci::ImageManifest> =
                oci::Raw::parse(manifest.expect("because it is there")).expect("it is one");
            manifest.config.digest.to_string()
        })
        .collect();
    layers.retain(|object| !configs.iter().any(|config| object.ends_with(config.as_str())));
    let fetched = layers.len();
    layers.dedup();
    // The shared one, and each image's own: each of them once.
    assert_eq!((layers.len(), fetched), (1 + IMAGES * LAYERS, 1 + IMAGES * LAYERS));
}
