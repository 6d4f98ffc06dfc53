//! The cache of base images against a registry that misbehaves, disks that rot, and neighbours.
#![allow(clippy::disallowed_methods, reason = "files are as old as they are; mkfifo is a program")]

use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::{DiffId, History, Image, ImageDraft, ImageFormat, ImageIndex, LayerRef, MediaType, Raw};
use registry::{ClientOptions, Silent};
use store::BlobStore;
use testkit::ScratchRoot;
use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::tar_builder::TarBuilder;

use super::*;
use crate::BaseImages;

const CONTENT: &[u8] = &[7; 100_000];
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn platform(architecture: &str) -> Platform {
    Platform::new("linux", architecture)
}

fn image_of(layers: &[&[u8]], architecture: &str) -> Image {
    let mut draft = ImageDraft::from_scratch(&platform(architecture));
    for content in layers {
        let digest = Digest::sha256_of(content);
        let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), content.len() as u64);
        let layer = LayerRef { descriptor, diff_id: DiffId(digest) };
        draft.push_layer(layer, History::step("COPY x /", None));
    }
    draft.finish(ImageFormat::Oci)
}

fn image() -> Image {
    image_of(&[CONTENT], "amd64")
}

/// What a test needs: a registry, an empty cache and a clock.
struct Lab {
    registry: FaultRegistry,
    scratch: ScratchRoot,
    cache: BaseImageCache,
}

impl Lab {
    /// With the image as `base:1`.
    fn new() -> Lab {
        let scratch = ScratchRoot::new();
        let cache = BaseImageCache::new(&scratch.path().join("cache"));
        let lab = Lab { registry: FaultRegistry::start(), scratch, cache };
        lab.put("1", &image(), &[CONTENT]);
        lab
    }

    fn put(&self, tag: &str, image: &Image, layers: &[&[u8]]) {
        for bytes in layers.iter().copied().chain([image.config().bytes()]) {
            self.registry.put_blob("base", bytes);
        }
        let media_type = image.manifest_descriptor().media_type;
        self.registry.put_manifest("base", tag, media_type.as_str(), image.manifest().bytes());
    }

    /// Two platforms under one tag; they share a layer.
    fn put_index(&self, tag: &str) -> (Raw<ImageIndex>, [Image; 2]) {
        let layers: [&[&[u8]]; 2] = [&[CONTENT, b"amd64"], &[CONTENT, b"arm64"]];
        let images = [image_of(layers[0], "amd64"), image_of(layers[1], "arm64")];
        for (image, layers) in images.iter().zip(layers) {
            self.put(image.digest().hex(), image, layers);
        }
        let index =
            Raw::from_value(ImageIndex::new(images.iter().map(Image::index_entry).collect()));
        let media_type = MediaType::OciIndex;
        self.registry.put_manifest("base", tag, media_type.as_str(), index.bytes());
        (index, images)
    }

    fn name(&self, rest: &str) -> Reference {
        let name = format!("{}/base{rest}", self.registry.host());
        Reference::parse(&name).expect("because it is well formed")
    }

    fn client() -> Client {
        let mut options = ClientOptions::default();
        options.retry.first_pause = Duration::from_millis(5);
        Client::new(options).expect("because the options are plain")
    }

    fn options(&self, refresh: Refresh, later: Duration) -> WarmOptions {
        let freshness = Freshness { now: now() + later, lifetime: 2 * WEEK };
        WarmOptions { freshness, refresh, patience: Duration::from_millis(300) }
    }

    /// A run over one image.
    async fn warm_with(&self, name: &str, architecture: &str, options: WarmOptions) -> Warmed {
        let warmer = Warmer::new(Self::client(), self.cache.clone(), options);
        let name = self.name(name);
        let warmed = warmer.warm(&name, &platform(architecture), &Silent).await;
        let warmed = warmed.expect("because all is good");
        warmer.finish().await.expect("because all is ours");
        warmed
    }

    async fn warm(&self, name: &str) -> Warmed {
        let options = self.options(Refresh::Expired, Duration::ZERO);
        self.warm_with(name, "amd64", options).await
    }

    /// What a build finds, of a registry that may be gone.
    async fn find(&self, name: &Reference, architecture: &str) -> Option<Digest> {
        let images = BaseImages::new(self.cache.clone(), now(), 2 * WEEK);
        let found = images.find(&Self::client(), name, &platform(architecture)).await;
        found.expect("because it may be used").map(|found| found.image.digest().clone())
    }

    fn freshness(&self) -> Freshness {
        Freshness { now: now(), lifetime: WEEK }
    }

    fn blob(&self, entry: &Digest, blob: &Digest) -> PathBuf {
        self.cache.entry(entry).join("blobs/sha256").join(blob.hex())
    }

    fn counts(&self) -> [usize; 3] {
        [Subject::ManifestHead, Subject::ManifestGet, Subject::BlobGet]
            .map(|subject| self.registry.count(subject))
    }

    /// Every blob of every entry is what its name says, and there is nothing else.
    fn check_whole(&self) {
        for entry in std::fs::read_dir(self.cache.root()).expect("because it is there") {
            let entry = entry.expect("because it is there").path();
            let name = entry.file_name().and_then(|name| name.to_str()).expect("it is text");
            let Ok(digest) = Digest::parse(name) else {
                assert!([".warmer", ".warmer-locks", ".indexes"].contains(&name), "{name}");
                continue;
            };
            assert!(self.cache.image(&digest, &self.freshness()).is_some(), "{digest}");
            let blobs = std::fs::read_dir(entry.join("blobs/sha256")).expect("because it is there");
            for blob in blobs {
                let path = blob.expect("because it is there").path();
                let bytes = store::read_file(&path, 1 << 30).expect("because it is plain");
                let name = path.file_name().and_then(|name| name.to_str()).expect("it is text");
                assert_eq!(Digest::sha256_of(&bytes).hex(), name);
            }
        }
    }
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn fetched(image: &Image, layers: usize, bytes: u64) -> Warmed {
    Warmed::Fetched { digest: image.digest().clone(), layers, bytes }
}

fn once() -> Warmed {
    fetched(&image(), 1, CONTENT.len() as u64)
}

fn present() -> Warmed {
    Warmed::Present(image().digest().clone())
}

#[tokio::test]
async fn a_warmed_image_costs_one_question_and_then_no_registry() {
    let lab = Lab::new();
    assert_eq!(lab.warm(":1").await, once());
    // The config and the layer.
    assert_eq!(lab.counts(), [1, 1, 2]);
    assert_eq!(lab.warm(":1").await, present());
    assert_eq!(lab.counts(), [2, 1, 2]);
    let by_digest = format!("@{}", image().digest());
    assert_eq!(lab.warm(&by_digest).await, present());
    assert_eq!(lab.counts(), [2, 1, 2]);
    lab.check_whole();

    // Without the header, the manifest must come.
    let tell = Action::Header("Docker-Content-Digest", "none".to_owned());
    lab.registry.fault(Subject::ManifestHead, None, tell);
    assert_eq!(lab.warm(":1").await, present());
    // Where HEAD is refused as well.
    lab.registry.fault(Subject::ManifestHead, None, Action::Status(405, vec![], String::new()));
    assert_eq!(lab.warm(":1").await, present());

    let (tag, by_digest) = (lab.name(":1"), lab.name(&by_digest));
    let Lab { registry, scratch, cache } = lab;
    drop(registry);
    let cached = cache.image(image().digest(), &Freshness { now: now(), lifetime: WEEK });
    let cached = cached.expect("because it was warmed");
    assert_eq!(cached.config().bytes(), image().config().bytes());
    assert_eq!(cached.descriptor(), image().manifest_descriptor());
    let base = cached.base_image().expect("because it fits together");
    // In place, the directory may move with all of `/`: what was found stays found.
    let moved = scratch.path().join("parked");
    std::fs::rename(cache.root(), &moved).expect("because it is ours");
    let blobs = BlobStore::open(&scratch.path().join("blobs")).expect("because it is new");
    let fetcher = Fetcher::new(Lab::client(), blobs.clone());
    let layer = &base.layers()[0].descriptor;
    fetcher.fetch(&tag, layer, Some(&cached), &Silent).await.expect("because it is in the cache");
    blobs.verify(&layer.digest).expect("because it is the layer");
    std::fs::rename(&moved, cache.root()).expect("because it is ours");

    for (name, age, expected) in [
        (&tag, Duration::ZERO, true),
        (&by_digest, Duration::ZERO, true),
        (&tag, 3 * WEEK, false),
        (&by_digest, 3 * WEEK, false),
    ] {
        let images = BaseImages::new(cache.clone(), now() + age, 2 * WEEK);
        let found = images.find(&Lab::client(), name, &platform("amd64")).await;
        let found = found.expect("because it may be used");
        assert_eq!(found.is_some(), expected, "{name} {age:?}");
        assert!(found.is_none_or(|found| !found.confirmed), "nobody was there to ask");
    }
}

#[tokio::test]
async fn an_index_is_known_by_its_digest() {
    let lab = Lab::new();
    let (index, [amd, arm]) = lab.put_index("many");
    let options = lab.options(Refresh::Expired, Duration::ZERO);
    let size = CONTENT.len() as u64 + 5;
    assert_eq!(lab.warm(":many").await, fetched(&amd, 2, size));
    assert_eq!(lab.warm_with(":many", "arm64", options).await, fetched(&arm, 2, size));
    // Two configs, and three layers: they share one.
    assert_eq!(lab.registry.count(Subject::BlobGet), 5);
    let [heads, gets, blobs] = lab.counts();
    assert_eq!(lab.warm(":many").await, Warmed::Present(amd.digest().clone()));
    assert_eq!(
        lab.warm_with(":many", "arm64", options).await,
        Warmed::Present(arm.digest().clone())
    );
    let (tag, pinned) = (lab.name(":many"), lab.name(&format!("@{}", index.digest())));
    assert_eq!(lab.find(&tag, "arm64").await.as_ref(), Some(arm.digest()));
    assert_eq!(lab.counts(), [heads + 3, gets, blobs]);
    assert_eq!(lab.find(&pinned, "amd64").await.as_ref(), Some(amd.digest()));
    assert_eq!(lab.find(&pinned, "riscv64").await, None);
    assert_eq!(lab.counts(), [heads + 3, gets, blobs]);
    lab.check_whole();

    // An index that is not what its name says leads nowhere.
    let path = lab.cache.root().join(".indexes").join(index.digest().as_str());
    store::write_output(&path, b"{}").expect("because it is writable");
    assert_eq!(lab.find(&pinned, "amd64").await, None);
    lab.warm(":many").await;
    assert_eq!(lab.find(&pinned, "amd64").await.as_ref(), Some(amd.digest()));
    // Without images in the cache it is of no use, and goes.
    for image in [&amd, &arm] {
        store::remove_directory(&lab.cache.entry(image.digest())).expect("because it is ours");
    }
    lab.warm(":1").await;
    assert!(!path.exists());
}

#[tokio::test]
async fn names_lead_to_what_was_fetched_last() {
    let lab = Lab::new();
    let (_, [amd, arm]) = lab.put_index("many");
    let options = lab.options(Refresh::Expired, Duration::ZERO);
    lab.warm(":1").await;
    lab.put("also", &image(), &[]);
    let written = || {
        let index = lab.cache.entry(image().digest()).join("index.json");
        index.metadata().and_then(|found| found.modified()).expect("because it is there")
    };
    let before = written();
    assert_eq!(lab.warm(":also").await, present());
    // A further name makes nothing younger.
    assert_eq!(written(), before);
    lab.warm(":many").await;
    lab.warm_with(":many", "arm64", options).await;
    let new = image_of(&[b"new"], "amd64");
    lab.put("1", &new, &[b"new"]);
    lab.warm(":1").await;
    let names = [":1", ":also", ":many", ":gone"].map(|name| lab.name(name));
    let Lab { registry, scratch: _scratch, cache } = lab;
    drop(registry);
    let images = BaseImages::new(cache, now(), WEEK);
    let client = Lab::client();
    for (name, architecture, expected) in [
        (&names[0], "amd64", Some(new.digest())),
        // It is in no index, so it is what the name means whoever asks.
        (&names[0], "arm64", Some(new.digest())),
        (&names[1], "amd64", Some(image().digest())),
        (&names[2], "amd64", Some(amd.digest())),
        (&names[2], "arm64", Some(arm.digest())),
        (&names[2], "riscv64", None),
        (&names[3], "amd64", None),
    ] {
        let found = images.find(&client, name, &platform(architecture)).await;
        let found = found.expect("because it may be used").map(|found| found.image);
        assert_eq!(found.as_ref().map(CachedImage::digest), expected, "{name} {architecture}");
    }
}

#[tokio::test]
async fn force_fetches_all_and_age_what_is_not_good() {
    let lab = Lab::new();
    lab.warm(":1").await;
    let image = image();
    let (digest, layer) = (image.digest(), Digest::sha256_of(CONTENT));
    let later = lab.options(Refresh::Expired, 3 * WEEK);
    let force = lab.options(Refresh::Everything, Duration::ZERO);

    let [heads, gets, blobs] = lab.counts();
    assert_eq!(lab.warm_with(":1", "amd64", force).await, once());
    assert_eq!(lab.counts(), [heads, gets + 1, blobs + 2]);
    // What is there is compared, not fetched; but the registry is asked what the name means.
    assert_eq!(lab.warm_with(":1", "amd64", later).await, once());
    assert_eq!(lab.counts(), [heads + 1, gets + 2, blobs + 3]);
    // In place, so that every name of the file is damaged.
    for (number, options) in [later, force].into_iter().enumerate() {
        let file = std::fs::OpenOptions::new().write(true).open(lab.blob(digest, &layer));
        file.and_then(|file| file.write_all_at(&[8; 10], 50_000)).expect("because it is ours");
        assert_eq!(lab.warm_with(":1", "amd64", options).await, once());
        assert_eq!(lab.counts()[2], blobs + 5 + 2 * number);
        lab.check_whole();
    }
    // Nothing of it stays behind.
    let left =
        |name: &str| std::fs::read_dir(lab.cache.root().join(name)).map(Iterator::count).ok();
    assert_eq!((left(".warmer/entries"), left(".warmer/tmp")), (Some(0), Some(0)));
}

#[test]
fn what_is_fresh() {
    let now = SystemTime::UNIX_EPOCH + 100 * WEEK;
    let check = |age: i64, lifetime: u64, expected: bool| {
        let by = Duration::from_secs(age.unsigned_abs());
        let fetched = if age < 0 { now + by } else { now - by };
        let freshness = Freshness { now, lifetime: Duration::from_secs(lifetime) };
        assert_eq!(freshness.holds(fetched), expected, "{age} {lifetime}");
    };
    check(10, 11, true);
    check(10, 10, false);
    check(0, 0, false);
    check(-10, 0, false);
    check(-10, 60, true);
    // A clock that was set back gives no endless life.
    check(-86_400, 1 << 40, false);
    check(-(1 << 33), 1 << 40, false);
    check(3_000_000, u64::MAX, true);
}

#[tokio::test]
async fn what_rots_in_the_cache_is_fetched_from_the_registry() {
    let lab = Lab::new();
    let image = image();
    let digest = image.digest();
    lab.warm(":1").await;
    let freshness = lab.freshness();
    let find = || lab.cache.image(digest, &freshness);
    let cached = find().expect("because it was warmed");
    let layer = &image.layers()[0].descriptor;
    let blob = lab.blob(digest, &layer.digest);
    store::write_output(&blob, &[9; 100_000]).expect("because it is writable");
    let blobs = BlobStore::open(&lab.scratch.path().join("blobs")).expect("because it is new");
    let fetcher = Fetcher::new(Lab::client(), blobs.clone());
    let name = lab.name(":1");
    fetcher.fetch(&name, layer, Some(&cached), &Silent).await.expect("because the registry has it");
    blobs.verify(&layer.digest).expect("because it is the layer");

    // What rots so that it is seen at once makes the entry disappear, and come back.
    let config = lab.blob(digest, image.config().digest());
    let manifest = lab.blob(digest, digest);
    let entry = lab.cache.entry(digest);
    let (index, marker) = (entry.join("index.json"), entry.join("oci-layout"));
    let victims: [(&Path, &[u8]); 9] = [
        (&config, b"{}"),
        (&manifest, b"{}"),
        (&blob, b""),
        (&blob, &[7; 100_001]),
        (&index, b""),
        (&index, b"{"),
        (&index, b"{\"schemaVersion\":2,\"manifests\":[]}"),
        (&marker, b"{\"imageLayoutVersion\":\"2.0.0\"}"),
        (&marker, b""),
    ];
    for (path, bytes) in victims {
        store::write_output(path, bytes).expect("because it is writable");
        assert!(find().is_none(), "{}", path.display());
        assert_eq!(lab.warm(":1").await, once());
        lab.check_whole();
    }
    // Neither is what is no file followed, nor waited for.
    for path in [&config, &manifest, &blob, &index, &marker] {
        for put in [
            |path: &Path| symlink("/etc/passwd", path),
            |path: &Path| std::fs::DirBuilder::new().create(path),
            |path: &Path| {
                let made = std::process::Command::new("mkfifo").arg(path).status()?;
                assert!(made.success(), "because mkfifo is there");
                Ok(())
            },
        ] {
            std::fs::remove_file(path).expect("because it is there");
            put(path).expect("because the directory is ours");
            assert!(find().is_none(), "{}", path.display());
            assert_eq!(lab.warm(":1").await, once());
        }
    }
    lab.check_whole();
    // Nor an entry that is a link; it is replaced, and what it leads to stays.
    let elsewhere = lab.scratch.path().join("elsewhere");
    std::fs::rename(&entry, &elsewhere).expect("because it is ours");
    symlink(&elsewhere, &entry).expect("because nothing is there");
    assert!(find().is_none());
    assert_eq!(lab.warm(":1").await, once());
    assert!(find().is_some() && elsewhere.join("index.json").exists());
}

#[tokio::test]
async fn kanikos_older_form_is_read() {
    let lab = Lab::new();
    let image = image();
    let digest = image.digest();
    let (config, layer) = ("sha256:config", "layer.tar.gz");
    let row = serde_json::json!([{
        "Config": config, "RepoTags": [lab.name(":1").to_string()], "Layers": [layer],
    }]);
    let archive = |content: &[u8]| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        TarBuilder::new()
            .file(config, text(image.config().bytes()))
            .file(layer, text(content))
            .file("manifest.json", row.to_string())
            .end()
    };
    let entry = lab.cache.entry(digest);
    let beside = lab.cache.root().join(format!("{digest}.json"));
    let put = |path: &Path, bytes: &[u8]| {
        store::write_output(path, bytes).expect("because it is writable");
    };
    let freshness = lab.freshness();
    let find = || lab.cache.image(digest, &freshness);
    put(&entry, &archive(CONTENT));
    assert!(find().is_none(), "nothing says which manifest it has");
    put(&beside, image.manifest().bytes());
    let cached = find().expect("because all of it is there");
    assert_eq!(cached.descriptor(), image.manifest_descriptor());
    assert!(cached.is_named(&lab.name(":1")));
    assert_eq!(lab.warm(":1").await, present());
    assert_eq!(lab.counts(), [1, 0, 0]);
    let blobs = BlobStore::open(&lab.scratch.path().join("blobs")).expect("because it is new");
    let fetcher = Fetcher::new(Lab::client(), blobs.clone());
    let layer = &image.layers()[0].descriptor;
    let name = lab.name(":1");
    fetcher.fetch(&name, layer, Some(&cached), &Silent).await.expect("because it is in the cache");
    blobs.verify(&layer.digest).expect("because it is the layer");
    assert_eq!(lab.counts(), [1, 0, 0]);

    // Layers that are not as the registry has them, and a manifest that is another's.
    put(&entry, &archive(b"uncompressed"));
    assert!(find().is_none());
    put(&entry, b"no archive");
    assert!(find().is_none());
    put(&entry, &archive(CONTENT));
    put(&beside, b"{}");
    assert!(find().is_none());
    put(&beside, image.manifest().bytes());
    // When it is too old, its bytes serve once more, and it becomes a directory.
    let later = lab.options(Refresh::Expired, 3 * WEEK);
    assert_eq!(lab.warm_with(":1", "amd64", later).await, once());
    assert_eq!(lab.registry.count(Subject::BlobGet), 1, "the config");
    assert!(find().is_some_and(|image| image.is_layout()));
}

#[tokio::test]
async fn a_blob_that_is_damaged_on_the_way_is_fetched_once_more() {
    let lab = Lab::new();
    let layer = image().layers()[0].descriptor.clone();
    let blobs = BlobStore::open(lab.scratch.path()).expect("because it is new");
    let fetcher = Fetcher::new(Lab::client(), blobs.clone());
    let name = lab.name(":1");
    lab.registry.fault(Subject::BlobGet, Some(1), Action::Flip);
    fetcher.fetch(&name, &layer, None, &Silent).await.expect("because it is whole the second time");
    blobs.verify(&layer.digest).expect("because it is the layer");

    blobs.remove(&layer.digest).expect("because it is there");
    lab.registry.fault(Subject::BlobGet, None, Action::Flip);
    fetcher.fetch(&name, &layer, None, &Silent).await.expect_err("because it stays damaged");
    assert!(!blobs.contains(&layer.digest));
    assert_eq!(lab.registry.count(Subject::BlobGet), 4);
}

#[tokio::test]
async fn one_blob_comes_once_and_warmers_take_turns() {
    let lab = Lab::new();
    let layer = image().layers()[0].descriptor.clone();
    let blobs = BlobStore::open(&lab.scratch.path().join("blobs")).expect("because it is new");
    let fetcher = Fetcher::new(Lab::client(), blobs);
    let name = lab.name(":1");
    let fetch = || fetcher.fetch(&name, &layer, None, &Silent);
    let (one, two, three) = tokio::join!(fetch(), fetch(), fetch());
    one.and(two).and(three).expect("because all is good");
    assert_eq!(lab.registry.count(Subject::BlobGet), 1);

    let options = lab.options(Refresh::Expired, Duration::ZERO);
    let (first, second) =
        tokio::join!(lab.warm_with(":1", "amd64", options), lab.warm_with(":1", "amd64", options));
    let outcomes = [first, second];
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Warmed::Present(_))), "{outcomes:?}");
    // The layer once, the config by both.
    assert_eq!(lab.registry.count(Subject::BlobGet), 4);

    // Different images of one run share what they share.
    lab.put_index("many");
    let warmer =
        Warmer::new(Lab::client(), lab.cache.clone(), lab.options(Refresh::Everything, WEEK));
    let many = lab.name(":many");
    let (amd, arm) = (platform("amd64"), platform("arm64"));
    let (first, second) =
        tokio::join!(warmer.warm(&many, &amd, &Silent), warmer.warm(&many, &arm, &Silent));
    first.and(second).expect("because all is good");
    warmer.finish().await.expect("because all is ours");
    // Two configs and three layers.
    assert_eq!(lab.registry.count(Subject::BlobGet), 4 + 5);
    lab.check_whole();
}

#[tokio::test]
async fn a_lock_whose_owner_is_stopped_holds_nobody_up() {
    let lab = Lab::new();
    let digest = image().digest().clone();
    let blob = Digest::sha256_of(CONTENT);
    let paths = [fill::entry_lock(&lab.cache, &digest), fill::blob_lock(&lab.cache, &blob)];
    let held = paths.map(|path| {
        fill::try_lock(&path, StoreLock::exclusive).expect("because nobody else is here")
    });
    assert_eq!(lab.warm(":1").await, once());
    lab.check_whole();
    drop(held);

    // One that is alive is waited for.
    let lock = fill::entry_lock(&lab.cache, &digest);
    let held = fill::try_lock(&lock, StoreLock::exclusive).expect("because nobody else is here");
    let alive = tokio::spawn(async move {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            held.touch();
        }
        drop(held);
        tokio::time::Instant::now()
    });
    lab.warm_with(":1", "amd64", lab.options(Refresh::Everything, Duration::ZERO)).await;
    let done = tokio::time::Instant::now();
    assert!(alive.await.expect("because it only waits") <= done);
}

#[tokio::test]
async fn links_in_the_cache_lead_the_warmer_nowhere() {
    for name in [".warmer", ".warmer-locks"] {
        let lab = Lab::new();
        let elsewhere = lab.scratch.path().join("elsewhere");
        for path in [elsewhere.as_path(), lab.cache.root()] {
            std::fs::DirBuilder::new().create(path).expect("because it is ours");
        }
        let path = lab.cache.root().join(name);
        symlink(&elsewhere, &path).expect("because nothing is there");
        let options = lab.options(Refresh::Expired, Duration::ZERO);
        let warmer = Warmer::new(Lab::client(), lab.cache.clone(), options);
        let error = warmer.warm(&lab.name(":1"), &platform("amd64"), &Silent).await;
        let error = error.expect_err("because it is a link");
        assert!(matches!(error, Error::Directory { .. }), "{error}");
        assert_eq!(std::fs::read_dir(&elsewhere).expect("because it is there").count(), 0);
        std::fs::remove_file(&path).expect("because it is ours");
        assert_eq!(lab.warm(":1").await, once());
    }
}
