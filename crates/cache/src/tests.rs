//! The base-image cache against a registry that misbehaves and disks that rot.

use std::path::Path;
use std::time::{Duration, SystemTime};

use oci::{
    Descriptor, DiffId, Digest, History, Image, ImageDraft, ImageFormat, LayerRef, MediaType,
    Platform, Reference,
};
use registry::{Client, ClientOptions, Silent};
use store::BlobStore;
use testkit::ScratchRoot;
use testkit::fault::{Action, FaultRegistry, Subject};

use crate::{BaseImageCache, Fetcher, WarmOptions, Warmed, warm};

const CONTENT: &[u8] = &[7; 100_000];

fn image() -> Image {
    let digest = Digest::sha256_of(CONTENT);
    let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), CONTENT.len() as u64);
    let mut draft = ImageDraft::from_scratch(&platform());
    let layer = LayerRef { descriptor, diff_id: DiffId(digest) };
    draft.push_layer(layer, History::step("COPY x /", None));
    draft.finish(ImageFormat::Oci)
}

fn platform() -> Platform {
    Platform::new("linux", "amd64")
}

/// A registry with the image as `base:1`.
fn registry() -> (FaultRegistry, Reference) {
    let registry = FaultRegistry::start();
    let image = image();
    registry.put_blob("base", CONTENT);
    registry.put_blob("base", image.config().bytes());
    let media_type = image.manifest_descriptor().media_type;
    registry.put_manifest("base", "1", media_type.as_str(), image.manifest().bytes());
    let name = format!("{}/base:1", registry.host());
    (registry, Reference::parse(&name).expect("because it is well formed"))
}

fn client() -> Client {
    let mut options = ClientOptions::default();
    options.retry.first_pause = Duration::from_millis(5);
    Client::new(options).expect("because the options are plain")
}

fn options() -> WarmOptions {
    WarmOptions { platform: platform(), refresh: false, oldest: None }
}

#[tokio::test]
async fn a_warmed_image_needs_no_registry() {
    let scratch = ScratchRoot::new();
    let (registry, name) = registry();
    let cache = BaseImageCache::new(&scratch.path().join("cache"));
    let (image, client) = (image(), client());
    let warmed =
        warm(&client, &cache, &name, &options(), &Silent).await.expect("because all is good");
    assert_eq!(warmed, Warmed::Fetched(image.digest().clone()));
    let blob_gets = registry.count(Subject::BlobGet);
    let again =
        warm(&client, &cache, &name, &options(), &Silent).await.expect("because all is good");
    assert_eq!(again, Warmed::Present(image.digest().clone()));
    // The config is read to resolve, the layer is not.
    assert_eq!(registry.count(Subject::BlobGet), blob_gets + 1);
    drop(registry);

    let cached = cache.find(image.digest(), None).expect("because it was warmed");
    assert_eq!(cached.config().bytes(), image.config().bytes());
    assert_eq!(cached.descriptor(), image.manifest_descriptor());
    let base = cached.base_image().expect("because it fits together");
    let blobs = BlobStore::open(&scratch.path().join("blobs")).expect("because it is new");
    let fetcher = Fetcher::new(client, blobs.clone());
    let layer = &base.layers()[0].descriptor;
    fetcher.fetch(&name, layer, Some(&cached), &Silent).await.expect("because it is in the cache");
    blobs.verify(&layer.digest).expect("because it is the layer");
}

#[tokio::test]
async fn force_and_age_fetch_again() {
    let scratch = ScratchRoot::new();
    let (registry, name) = registry();
    let cache = BaseImageCache::new(scratch.path());
    let (image, client) = (image(), client());
    let digest = image.digest();
    warm(&client, &cache, &name, &options(), &Silent).await.expect("because all is good");
    let blob = cache.entry(digest).join("blobs/sha256").join(Digest::sha256_of(CONTENT).hex());
    let rot = || store::write_output(&blob, &[8; 100_000]).expect("because it is writable");
    let blobs = BlobStore::open(&cache.entry(digest)).expect("because it is there");
    let tomorrow = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    for (refresh, oldest) in [(true, None), (false, Some(tomorrow))] {
        rot();
        let options = WarmOptions { refresh, oldest, ..options() };
        let warmed = warm(&client, &cache, &name, &options, &Silent).await.expect("all is good");
        assert_eq!(warmed, Warmed::Fetched(digest.clone()));
        blobs.verify(&Digest::sha256_of(CONTENT)).expect("because it was fetched again");
    }
    assert!(cache.find(digest, Some(tomorrow)).is_none(), "it is older than tomorrow");
    assert_eq!(registry.missing(), Vec::<String>::new());
}

#[tokio::test]
async fn what_rots_in_the_cache_is_fetched_from_the_registry() {
    let scratch = ScratchRoot::new();
    let (_registry, name) = registry();
    let cache = BaseImageCache::new(&scratch.path().join("cache"));
    let (image, client) = (image(), client());
    let digest = image.digest();
    warm(&client, &cache, &name, &options(), &Silent).await.expect("because all is good");
    let cached = cache.find(digest, None).expect("because it was warmed");
    let blob =
        |digest: &Digest| cache.entry(digest_of(&image)).join("blobs/sha256").join(digest.hex());
    let layer = &image.layers()[0].descriptor;
    store::write_output(&blob(&layer.digest), b"short").expect("because it is writable");
    let blobs = BlobStore::open(&scratch.path().join("blobs")).expect("because it is new");
    let fetcher = Fetcher::new(client.clone(), blobs.clone());
    fetcher.fetch(&name, layer, Some(&cached), &Silent).await.expect("because the registry has it");
    blobs.verify(&layer.digest).expect("because it is the layer");

    // Documents that rot make the entry disappear.
    for victim in [image.config().digest(), digest] {
        store::write_output(&blob(victim), b"{}").expect("because it is writable");
        assert!(cache.find(digest, None).is_none());
        let warmed = warm(&client, &cache, &name, &options(), &Silent).await.expect("all is good");
        assert_eq!(warmed, Warmed::Fetched(digest.clone()));
        assert!(cache.find(digest, None).is_some());
    }
    let index = cache.entry(digest).join("index.json");
    for text in ["", "{", "{\"schemaVersion\":2,\"manifests\":[]}"] {
        store::write_output(&index, text.as_bytes()).expect("because it is writable");
        assert!(cache.find(digest, None).is_none());
    }
    // An entry that is a link is nobody's.
    let other = Digest::sha256_of(b"other");
    std::os::unix::fs::symlink(Path::new("/etc"), cache.entry(&other)).expect("because it is new");
    assert!(cache.find(&other, None).is_none());
}

fn digest_of(image: &Image) -> &Digest {
    image.digest()
}

#[tokio::test]
async fn a_blob_that_is_damaged_on_the_way_is_fetched_once_more() {
    let scratch = ScratchRoot::new();
    let (registry, name) = registry();
    let layer = image().layers()[0].descriptor.clone();
    let blobs = BlobStore::open(scratch.path()).expect("because it is new");
    let fetcher = Fetcher::new(client(), blobs.clone());
    registry.fault(Subject::BlobGet, Some(1), Action::Flip);
    fetcher.fetch(&name, &layer, None, &Silent).await.expect("because it is whole the second time");
    blobs.verify(&layer.digest).expect("because it is the layer");

    blobs.remove(&layer.digest).expect("because it is there");
    registry.fault(Subject::BlobGet, None, Action::Flip);
    fetcher.fetch(&name, &layer, None, &Silent).await.expect_err("because it stays damaged");
    assert!(!blobs.contains(&layer.digest));
    assert_eq!(registry.count(Subject::BlobGet), 4);
}

#[tokio::test]
async fn one_blob_comes_once_and_warmers_take_turns() {
    let scratch = ScratchRoot::new();
    let (registry, name) = registry();
    let layer = image().layers()[0].descriptor.clone();
    let blobs = BlobStore::open(&scratch.path().join("blobs")).expect("because it is new");
    let fetcher = Fetcher::new(client(), blobs);
    let fetch = || fetcher.fetch(&name, &layer, None, &Silent);
    let (one, two, three) = tokio::join!(fetch(), fetch(), fetch());
    one.and(two).and(three).expect("because all is good");
    assert_eq!(registry.count(Subject::BlobGet), 1);

    let cache = BaseImageCache::new(&scratch.path().join("cache"));
    let (one, two) = (client(), client());
    let (options, silent) = (options(), Silent);
    let (first, second) = tokio::join!(
        warm(&one, &cache, &name, &options, &silent),
        warm(&two, &cache, &name, &options, &silent)
    );
    let outcomes = [first.expect("all is good"), second.expect("all is good")];
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Warmed::Present(_))), "{outcomes:?}");
    // The layer once, the config by both.
    assert_eq!(registry.count(Subject::BlobGet), 4);
}
