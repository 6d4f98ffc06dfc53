//! The warmer as a program, against a registry on loopback.
#![allow(clippy::disallowed_methods, reason = "a test starts the program and looks at its files")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use oci::{
    Descriptor, DiffId, Digest, History, Image, ImageDraft, ImageFormat, LayerRef, MediaType,
    Platform,
};
use testkit::ScratchRoot;
use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::http_server::{HttpServer, Page};

const CONTENT: &[u8] = b"not a tar, but registries do not look";

/// A registry that holds one image as `base:1`.
fn registry() -> (FaultRegistry, Image) {
    let digest = Digest::sha256_of(CONTENT);
    let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), CONTENT.len() as u64);
    let mut draft = ImageDraft::from_scratch(&Platform::host());
    draft.push_layer(LayerRef { descriptor, diff_id: DiffId(digest) }, History::step("x", None));
    let image = draft.finish(ImageFormat::Oci);
    let registry = FaultRegistry::start();
    registry.put_blob("base", CONTENT);
    registry.put_blob("base", image.config().bytes());
    let media_type = image.manifest_descriptor().media_type;
    registry.put_manifest("base", "1", media_type.as_str(), image.manifest().bytes());
    (registry, image)
}

fn warmer(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmer"));
    command.env_clear().arg("--cache-dir").arg(cache).args(arguments);
    command
}

fn run(cache: &Path, arguments: &[&str]) -> Output {
    warmer(cache, arguments).output().expect("because the program was built")
}

fn text_of(output: &Output) -> String {
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_image_is_an_oci_layout_named_by_its_digest() {
    let (registry, image) = registry();
    let scratch = ScratchRoot::new();
    let name = format!("{}/base:1", registry.host());
    let output = run(scratch.path(), &["--image", &name]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let entry = scratch.path().join(image.digest().as_str());
    let index = std::fs::read_to_string(entry.join("index.json")).expect("because it was warmed");
    assert!(index.contains(&format!(r#""org.opencontainers.image.ref.name":"{name}""#)), "{index}");
    let layer = entry.join("blobs/sha256").join(Digest::sha256_of(CONTENT).hex());
    assert_eq!(std::fs::read(layer).expect("because it was warmed"), CONTENT);

    let again = run(scratch.path(), &["--image", &name]);
    let expected = format!("Image already in cache: {name}");
    assert!(text(&again.stderr).contains(&expected), "{}", text(&again.stderr));
    let forced = run(scratch.path(), &["--image", &name, "--force"]);
    assert!(text(&forced.stderr).contains("Cached "), "{}", text(&forced.stderr));
}

#[test]
fn the_images_of_a_dockerfile_are_fetched_each_once() {
    let (registry, image) = registry();
    let scratch = ScratchRoot::new();
    let file = scratch.path().join("Dockerfile");
    let lines = "ARG HOST\nARG TAG=1\nFROM ${HOST}/base:$TAG AS one\nFROM scratch AS two\n\
                 FROM one\nFROM ${HOST}/base:1\nCOPY --from=two / /\n";
    std::fs::write(&file, lines).expect("because the directory is ours");
    let cache = scratch.path().join("cache");
    let path = file.to_str().expect("because it is text");
    let host = format!("HOST={}", registry.host());
    let output = run(&cache, &["--dockerfile", path, "--build-arg", &host]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(cache.join(image.digest().as_str()).join("index.json").exists());
    // Two blobs, one manifest.
    assert_eq!(registry.count(Subject::BlobGet), 2);
    assert_eq!(registry.count(Subject::ManifestGet), 1);
}

#[test]
fn a_dockerfile_may_be_on_the_web() {
    let (registry, image) = registry();
    let scratch = ScratchRoot::new();
    let text = format!("FROM {}/base:1\n", registry.host());
    let large = vec![b'#'; (16 << 20) + 1];
    let web = HttpServer::start(vec![
        Page::new("/Dockerfile", text),
        Page::redirect("/moved", "/Dockerfile"),
        Page::new("/large", large),
    ]);
    for path in ["/Dockerfile", "/moved"] {
        let cache = scratch.path().join(path.trim_start_matches('/'));
        let output = run(&cache, &["--dockerfile", &web.url(path)]);
        assert!(output.status.success(), "{}", text_of(&output));
        assert!(cache.join(image.digest().as_str()).join("index.json").exists());
    }
    let gone = scratch.path().join("gone");
    let not_text = scratch.path().join("image.tar");
    std::fs::write(&not_text, vec![0; 17 << 20]).expect("because the directory is ours");
    let path = |path: &Path| path.to_str().expect("because it is text").to_owned();
    for (place, expected) in [
        (web.url("/none"), "/none` answered 404"),
        (web.url("/large"), "larger than 16777216 bytes"),
        ("http://[".to_owned(), "cannot read `http://[`: "),
        (path(&gone), "gone`: No such file"),
        (path(&not_text), "is no Dockerfile: it has more than"),
    ] {
        let output = run(scratch.path(), &["--dockerfile", &place]);
        assert_eq!(output.status.code(), Some(1), "{place}");
        assert!(text_of(&output).contains(expected), "{place}: {}", text_of(&output));
    }
}

#[test]
fn several_platforms_and_what_is_no_image() {
    let (registry, image) = registry();
    let scratch = ScratchRoot::new();
    let mut index = Vec::new();
    for architecture in ["amd64", "arm64", "s390x"] {
        let draft = ImageDraft::from_scratch(&Platform::new("linux", architecture));
        let image = draft.finish(ImageFormat::Oci);
        registry.put_blob("many", image.config().bytes());
        let media_type = image.manifest_descriptor().media_type;
        let bytes = image.manifest().bytes();
        registry.put_manifest("many", architecture, media_type.as_str(), bytes);
        index.push(image.index_entry());
    }
    let digests: Vec<Digest> = index.iter().map(|entry| entry.digest.clone()).collect();
    let bytes = oci::Raw::from_value(oci::ImageIndex::new(index));
    registry.put_manifest("many", "1", MediaType::OciIndex.as_str(), bytes.bytes());
    let name = format!("{}/many:1", registry.host());
    let there = |cache: &Path| -> Vec<bool> {
        digests.iter().map(|digest| cache.join(digest.as_str()).exists()).collect()
    };
    for (number, (arguments, expected)) in [
        (&["--custom-platform=linux/amd64,linux/arm64"][..], [true, true, false]),
        (&["--customPlatform=linux/s390x", "--custom-platform=linux/arm64"], [false, true, true]),
    ]
    .into_iter()
    .enumerate()
    {
        let cache = scratch.path().join(number.to_string());
        let all = [&["--image", &name, "--image=scratch"], arguments].concat();
        let output = run(&cache, &all);
        assert!(output.status.success(), "{}", text_of(&output));
        assert_eq!(there(&cache), expected, "{arguments:?}");
    }
    // A stage for another platform is fetched for that one, unless platforms are asked for.
    let file = scratch.path().join("Dockerfile");
    let lines = format!("FROM --platform=linux/s390x {name}\nFROM scratch\n");
    std::fs::write(&file, lines).expect("because the directory is ours");
    let cache = scratch.path().join("stages");
    let output = run(&cache, &["-d", file.to_str().expect("because it is text")]);
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(there(&cache), [false, false, true]);

    for (value, expected) in [("linux/amd64,linux/amd64", "given twice"), ("linux/", "invalid")] {
        let output = run(&cache, &["--image", &name, "--custom-platform", value]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text_of(&output).contains(expected), "{}", text_of(&output));
    }
    // Nothing but what needs no fetching is no failure.
    assert!(run(&cache, &["--image=scratch"]).status.success());
    drop(image);
}

#[test]
fn age_and_force_fetch_again() {
    let (registry, _) = registry();
    let scratch = ScratchRoot::new();
    let name = format!("--image={}/base:1", registry.host());
    let counts = || {
        [Subject::ManifestHead, Subject::ManifestGet, Subject::BlobGet]
            .map(|subject| registry.count(subject))
    };
    for (arguments, expected, counted) in [
        (&[][..], "Cached ", [1, 1, 2]),
        (&[], "Image already in cache: ", [2, 1, 2]),
        (&["--cache-ttl=1h"], "Image already in cache: ", [3, 1, 2]),
        (&["--cache-ttl=1ns"], "none had to be fetched", [4, 2, 3]),
        (&["--cache-ttl=0"], "none had to be fetched", [5, 3, 4]),
        (&["--force"], "all fetched", [5, 4, 6]),
        (&["-f", "--cache-ttl=1h"], "all fetched", [5, 5, 8]),
    ] {
        let output = run(scratch.path(), &[&[name.as_str()], arguments].concat());
        assert!(output.status.success(), "{}", text_of(&output));
        assert!(text_of(&output).contains(expected), "{arguments:?}: {}", text_of(&output));
        assert_eq!(counts(), counted, "{arguments:?}");
    }
    let output = run(scratch.path(), &[&name, "--cache-ttl=6"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("missing unit in duration"), "{}", text_of(&output));
}

#[test]
fn one_failure_is_a_warning_and_only_failures_are_an_error() {
    let (registry, _) = registry();
    let scratch = ScratchRoot::new();
    let good = format!("{}/base:1", registry.host());
    let bad = format!("{}/gone:1", registry.host());
    let output = run(scratch.path(), &["--image", &bad, "--image", &good]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&format!("Failed to warm {bad}: cannot resolve image")));

    let strict = run(scratch.path(), &["--strict", "--image", &bad, "--image", &good]);
    assert_eq!(strict.status.code(), Some(1));
    let expected = "failed warming cache: failed to warm 1 of 2 images (--strict)\n";
    assert_eq!(text(&strict.stdout), expected);

    let output = run(scratch.path(), &["--image", &bad]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "failed warming cache: failed to warm any of the given images\n";
    assert_eq!(text(&output.stdout), expected);

    let output = run(scratch.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "Error: you must select at least one image to cache or a dockerfilepath to parse";
    assert!(text(&output.stderr).starts_with(expected), "{}", text(&output.stderr));
}

#[test]
fn a_signal_ends_it_and_leaves_no_entry_that_reads_as_one() {
    let (registry, image) = registry();
    registry.fault(Subject::BlobGet, None, Action::Stall);
    let scratch = ScratchRoot::new();
    let name = format!("{}/base:1", registry.host());
    let mut child =
        warmer(scratch.path(), &["--image", &name]).spawn().expect("because it was built");
    let deadline = Instant::now() + Duration::from_secs(30);
    while registry.count(Subject::BlobGet) == 0 {
        assert!(Instant::now() < deadline, "the warmer asks for no blob");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.expect("because kill is there").success());
    let status = child.wait().expect("because it is our child");
    assert_eq!(status.code(), Some(143));
    assert!(!scratch.path().join(image.digest().as_str()).join("index.json").exists());
}
