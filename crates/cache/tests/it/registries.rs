//! Caches in registries: what they ask for, what they believe, and what happens when the registry
//! misbehaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache::{CacheKey, CachedLayer, LayerCache, RegistryCache, TieredCache};
use futures_util::StreamExt as _;
use oci::{Digest, Reference};
use registry::{Client, ClientOptions, RetryPolicy};
use serde_json::{Value, json};
use store::BlobStore;
use testkit::ScratchRoot;
use testkit::fault::modes::{Mode, modes};
use testkit::fault::{Action, FaultRegistry, Logged, Subject};

use super::conformance::repository;
use super::{bytes, key, layer, store};

const REPOSITORY: &str = "team/cache";
const EXPECT: &str = "because the registry is good";

/// A client that gives up within a second or two.
fn client() -> Client {
    let mut options = ClientOptions {
        retry: RetryPolicy {
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(40),
            ..RetryPolicy::default()
        },
        chunk: 64 << 10,
        ..ClientOptions::default()
    };
    options.http.idle_timeout = Duration::from_secs(1);
    options.http.answer_timeout = Duration::from_secs(3);
    Client::new(options).expect("because the options are plain")
}

/// A registry, a cache in it, and one result that is in it.
struct Kept {
    scratch: ScratchRoot,
    registry: FaultRegistry,
    ours: BlobStore,
    key: CacheKey,
    cached: CachedLayer,
}

impl Kept {
    async fn new() -> Self {
        let (scratch, registry) = (ScratchRoot::in_memory(), FaultRegistry::start());
        let ours = store(&scratch, "ours");
        let cached = layer(&ours, &vec![5; 100_000]);
        let kept = Self { scratch, registry, ours, key: key("mine"), cached };
        kept.cache().put(&kept.key, &kept.cached, &kept.ours).await.expect(EXPECT);
        kept
    }

    fn cache(&self) -> RegistryCache {
        RegistryCache::new(client(), repository(&self.registry.host()))
    }

    fn tag(&self) -> Reference {
        let repository = repository(&self.registry.host());
        repository.with_tag(&self.key.to_string()).expect("because it is well formed")
    }

    /// The documents of the entry.
    async fn documents(&self) -> (Value, Value) {
        let manifest = client().find_manifest(&self.tag()).await.expect(EXPECT);
        let manifest = manifest.expect("because it was put");
        let config = self.registry.blob(REPOSITORY, manifest.config.digest.as_str());
        let read = |bytes: &[u8]| serde_json::from_slice(bytes).expect("because it is JSON");
        (read(manifest.bytes()), read(&config.expect("because it was put")))
    }

    fn publish(&self, media_type: &str, manifest: &[u8]) {
        self.registry.put_manifest(REPOSITORY, &self.key.to_string(), media_type, manifest);
    }
}

fn requests(log: &[Logged]) -> Vec<Subject> {
    log.iter().map(|logged| logged.subject).filter(|subject| *subject != Subject::Ping).collect()
}

#[tokio::test]
async fn a_look_up_reads_no_layer() {
    let kept = Kept::new().await;
    let before = kept.registry.log().len();
    let found = kept.cache().look_up(&kept.key, None).await.expect(EXPECT);
    assert_eq!(found.as_ref(), Some(&kept.cached));
    let mut asked = requests(&kept.registry.log()[before..]);
    asked.sort();
    assert_eq!(asked, [Subject::ManifestGet, Subject::BlobGet, Subject::BlobHead]);
    let layer = kept.cached.layer.descriptor.digest.as_str();
    let log = kept.registry.log();
    let reads = |logged: &&Logged| logged.subject == Subject::BlobGet;
    assert!(!log.iter().filter(reads).any(|logged| logged.object.contains(layer)));

    // A miss is one question.
    let before = kept.registry.log().len();
    assert_eq!(kept.cache().look_up(&key("other"), None).await.expect(EXPECT), None);
    assert_eq!(requests(&kept.registry.log()[before..]), [Subject::ManifestGet]);
}

#[tokio::test]
async fn entries_have_kanikos_shape() {
    let kept = Kept::new().await;
    let (manifest, config) = kept.documents().await;
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(config["created"], "1970-01-01T00:16:40Z");
    assert_eq!(config["history"][0]["created_by"], "RUN make");
    assert_eq!(config["rootfs"]["diff_ids"][0], kept.cached.layer.diff_id.0.as_str());
    // It is no image to run.
    assert_eq!(config["architecture"], "");
}

#[tokio::test]
async fn what_the_registry_has_is_mounted() {
    let kept = Kept::new().await;
    let client = client();
    let app = Reference::parse(&format!("{}/app:v1", kept.registry.host()));
    let app = app.expect("because it is well formed");
    let made = layer(&kept.ours, &[6; 100_000]);
    let source = Held(&kept.ours);
    let pushed = client.push_blob(&app, &made.layer.descriptor, &source, &registry::Silent).await;
    pushed.expect(EXPECT);
    let before = kept.registry.log().len();
    let cache = RegistryCache::new(client, repository(&kept.registry.host()));
    cache.put(&key("made"), &made, &kept.ours).await.expect(EXPECT);
    let sent: u64 = kept.registry.log()[before..].iter().map(|logged| logged.received).sum();
    assert!(sent < 10_000, "{sent} bytes");
    assert_eq!(bytes(&cache, &key("made"), &made).await.map(|bytes| bytes.len()), Some(100_000));
}

struct Held<'a>(&'a BlobStore);

impl registry::BlobSource for Held<'_> {
    fn locate(&self, blob: &oci::Descriptor) -> std::io::Result<registry::BlobOrigin> {
        let file = self.0.open_blob(&blob.digest).map_err(std::io::Error::other)?;
        Ok(registry::BlobOrigin::File(Arc::new(file)))
    }
}

/// Whether the entry is found after somebody has changed its documents.
async fn check_edited(what: &str, expected: bool, edit: fn(&mut Value, &mut Value)) {
    let kept = Kept::new().await;
    let other = kept.registry.put_blob(REPOSITORY, b"another layer");
    assert_eq!(other, OTHER);
    let (mut manifest, mut config) = kept.documents().await;
    edit(&mut manifest, &mut config);
    let config = config.to_string();
    manifest["config"]["digest"] = kept.registry.put_blob(REPOSITORY, config.as_bytes()).into();
    manifest["config"]["size"] = config.len().into();
    let media_type = manifest["mediaType"].as_str().expect("because it has one").to_owned();
    kept.publish(&media_type, manifest.to_string().as_bytes());
    let found = kept.cache().look_up(&kept.key, None).await.expect(EXPECT);
    assert_eq!(found.is_some(), expected, "{what}");
}

/// The digest of `another layer`.
const OTHER: &str = "sha256:0414c189c82553ffdb5f8afeefeae2139f68d12d167763d16506b198974f0906";
const LABEL: &str = "io.kaniko-rs.cache.record";

fn edit_record(config: &mut Value, from: &str, to: &str) {
    let label = &mut config["config"]["Labels"][LABEL];
    let text = label.as_str().expect("because it has a record").to_owned();
    assert!(text.contains(from), "{text}");
    *label = text.replace(from, to).into();
}

#[tokio::test]
async fn documents_that_do_not_go_together_are_no_entry() {
    check_edited("nothing changed", true, |_, _| {}).await;
    check_edited("two layers", false, |manifest, _| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!([layer, layer]);
    })
    .await;
    check_edited("no layer", false, |manifest, _| manifest["layers"] = json!([])).await;
    check_edited("another layer", false, |manifest, _| {
        manifest["layers"][0]["digest"] = OTHER.into();
    })
    .await;
    check_edited("another size", false, |manifest, _| manifest["layers"][0]["size"] = 1.into())
        .await;
    check_edited("another type", false, |manifest, _| {
        manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into();
    })
    .await;
    check_edited("another diff id", false, |_, config| {
        config["rootfs"]["diff_ids"][0] = OTHER.into();
    })
    .await;
    check_edited("no diff id", false, |_, config| config["rootfs"]["diff_ids"] = json!([])).await;
    check_edited("no record", false, |_, config| config["config"]["Labels"] = json!({})).await;
    check_edited("half a record", false, |_, config| {
        config["config"]["Labels"][LABEL] = "{".into();
    })
    .await;
    check_edited("a newer record", false, |_, config| {
        edit_record(config, "\"version\":2", "\"version\":3");
    })
    .await;
    check_edited("a record of another key", false, |_, config| {
        edit_record(config, &key("mine").to_string(), &key("other").to_string());
    })
    .await;
    check_edited("another layer in both", true, |manifest, config| {
        // Bound to its key, but signed by nobody: who may push decides.
        let layer = manifest["layers"][0]["digest"].as_str().expect("it has one").to_owned();
        edit_record(config, &layer, OTHER);
        manifest["layers"][0]["digest"] = OTHER.into();
        config["rootfs"]["diff_ids"][0] = OTHER.into();
    })
    .await;
}

#[tokio::test]
async fn entries_that_are_elsewhere_or_not_whole_are_none() {
    let kept = Kept::new().await;
    let (manifest, config) = kept.documents().await;
    let manifest = manifest.to_string();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let look_up = async |key: CacheKey| {
        let tiers = TieredCache::new(vec![Arc::new(kept.cache())]);
        tiers.look_up(&key, None).await.expect("because tiers bear it")
    };
    // Under another key.
    let other = key("other");
    let tag = other.to_string();
    kept.registry.put_manifest(REPOSITORY, &tag, media_type, manifest.as_bytes());
    assert_eq!(look_up(other).await, None);
    // Something else under its key.
    let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    for (media_type, text) in [
        (media_type, "{"),
        (media_type, "null"),
        ("application/vnd.oci.image.index.v1+json", index.as_str()),
        ("text/html", "<html>"),
    ] {
        kept.publish(media_type, text.as_bytes());
        assert_eq!(look_up(kept.key).await, None, "{text}");
    }
    // In a repository that has neither layer nor config, and then no layer.
    let elsewhere = Reference::parse(&format!("{}/elsewhere", kept.registry.host()));
    let elsewhere = RegistryCache::new(client(), elsewhere.expect("because it is well formed"));
    let tag = kept.key.to_string();
    kept.registry.put_manifest("elsewhere", &tag, media_type, manifest.as_bytes());
    for _ in 0..2 {
        assert_eq!(elsewhere.look_up(&kept.key, None).await.expect(EXPECT), None);
        kept.registry.put_blob("elsewhere", config.to_string().as_bytes());
    }
}

/// What a build meets with a cache repository that misbehaves: the right result or none, soon.
async fn check_mode(mode: &Mode) -> Result<(), String> {
    let kept = Kept::new().await;
    mode.apply(&kept.registry);
    let began = Instant::now();
    let cache = TieredCache::new(vec![Arc::new(kept.cache())]);
    let fresh = store(&kept.scratch, "fresh");
    for word in ["mine", "new"] {
        let key = key(word);
        let found = cache.look_up(&key, None).await.map_err(|error| error.to_string())?;
        if found.as_ref().is_some_and(|found| *found != kept.cached) {
            return Err(format!("{}: another result", mode.name));
        }
        let digest = &kept.cached.layer.descriptor.digest;
        if cache.fetch(&key, &kept.cached, &fresh).await.is_ok() {
            fresh.verify(digest).map_err(|error| format!("{}: {error}", mode.name))?;
        } else if fresh.contains(digest) {
            return Err(format!("{}: bytes that are not good are visible", mode.name));
        }
        // It may fail; a person has been told.
        let _ = cache.put(&key, &kept.cached, &kept.ours).await;
    }
    let missing = kept.registry.missing();
    let took = began.elapsed();
    match missing.is_empty() && took < Duration::from_secs(100) && kept.registry.leaks() == 0 {
        true => Ok(()),
        false => Err(format!("{}: {took:?}, missing: {missing:?}", mode.name)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_misbehaves_costs_a_hit_at_most() {
    let modes = modes();
    let checked = futures_util::stream::iter(modes.iter().map(check_mode)).buffer_unordered(24);
    let wrong: Vec<String> = checked.filter_map(async |outcome| outcome.err()).collect().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_left_alone() {
    let kept = Kept::new().await;
    let fault = |status| Action::Status(status, Vec::new(), String::new());
    kept.registry.fault(Subject::Any, None, fault(503));
    let cache = TieredCache::new(vec![Arc::new(kept.cache())]);
    let before = kept.registry.log().len();
    let look_up = async |times: usize| {
        for _ in 0..times {
            let found = cache.look_up(&kept.key, None).await.expect("because tiers bear it");
            assert_eq!(found, None);
        }
        kept.registry.log().len()
    };
    let after = look_up(3).await;
    assert!(after > before);
    assert_eq!(look_up(10).await, after, "nothing is asked any more");
    cache.put(&kept.key, &kept.cached, &kept.ours).await.expect_err("because it is off");
    assert_eq!(kept.registry.log().len(), after);
}

#[tokio::test]
async fn one_that_refuses_pushes_is_read() {
    let kept = Kept::new().await;
    for subject in [Subject::UploadPost, Subject::ManifestPut] {
        kept.registry.fault(subject, None, Action::Status(403, Vec::new(), String::new()));
    }
    let cache = TieredCache::new(vec![Arc::new(kept.cache())]);
    let new = layer(&kept.ours, b"new");
    for _ in 0..3 {
        cache.put(&key("new"), &new, &kept.ours).await.expect_err("because it is refused");
    }
    assert_eq!(kept.registry.count(Subject::UploadPost), 2 + 1, "refused once, not asked again");
    let found = cache.look_up(&kept.key, None).await.expect("because tiers bear it");
    assert_eq!(found, Some(kept.cached.clone()));
    let digest = Digest::sha256_of(&[5; 100_000]);
    assert_eq!(found.map(|found| found.layer.descriptor.digest), Some(digest));
}
