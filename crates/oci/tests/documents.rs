//! Documents as registries serve them: what is kept, what is refused, and what is written.

use oci::{
    BaseImage, ConfigEdit, Descriptor, DiffId, Digest, Document, Healthcheck, History, ImageConfig,
    ImageDraft, ImageFormat, ImageIndex, ImageManifest, LayerRef, MediaType, Platform, Raw,
    Timestamp,
};
use proptest::prelude::*;

/// A config as Docker writes it, with fields of the container and keys nobody knows.
const DOCKER_CONFIG: &str = r#"{
    "architecture":"amd64","author":"someone",
    "config":{"Hostname":"h","Domainname":"","User":"app","AttachStdin":false,
        "ExposedPorts":{"80/tcp":{}},"Tty":false,"Env":["PATH=/bin","A=<b>&c"],
        "Cmd":["sh"],"Image":"sha256:x","Volumes":null,"WorkingDir":"/srv",
        "Entrypoint":null,"OnBuild":["RUN x"],"Labels":{"z":"1","a":"2"},
        "StopSignal":"SIGINT","StopTimeout":5,"Shell":["/bin/bash","-c"],
        "Healthcheck":{"Test":["CMD","x"],"Interval":5000000000,"Retries":3},
        "ArgsEscaped":true,"NetworkDisabled":true},
    "container":"c","container_config":{"Cmd":["/bin/sh"]},
    "created":"2023-11-14T22:13:20.5Z","docker_version":"20.10",
    "history":[{"created":"2023-11-14T22:13:20Z","created_by":"base"},
        {"created_by":"ENV A","empty_layer":true}],
    "os":"linux","variant":null,"custom":{"b":1,"a":[1.5e3,null]},
    "rootfs":{"type":"layers",
        "diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#;

fn parse<T: Document>(text: &str) -> Result<Raw<T>, String> {
    fn chain(error: &dyn std::error::Error) -> String {
        match error.source() {
            Some(cause) => format!("{error}: {}", chain(cause)),
            None => error.to_string(),
        }
    }
    Raw::parse(text.as_bytes().to_vec()).map_err(|error| chain(&error))
}

fn config() -> Raw<ImageConfig> {
    parse(DOCKER_CONFIG).expect("the document is valid")
}

fn layer(seed: &str) -> LayerRef {
    let digest = Digest::sha256_of(seed.as_bytes());
    LayerRef {
        descriptor: Descriptor::new(MediaType::DockerLayerGzip, digest.clone(), 9),
        diff_id: DiffId(digest),
    }
}

fn manifest(config: &Raw<ImageConfig>, layers: Vec<Descriptor>) -> ImageManifest {
    ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::DockerManifest),
        artifact_type: None,
        config: config.descriptor(MediaType::DockerConfig),
        layers,
        subject: None,
        annotations: std::collections::BTreeMap::new(),
        extra: serde_json::Map::new(),
    }
}

fn base() -> BaseImage {
    let config = config();
    let manifest = Raw::from_value(manifest(&config, vec![layer("base").descriptor]));
    BaseImage::new(manifest.descriptor(MediaType::DockerManifest), &manifest, config)
        .expect("the documents fit")
}

#[test]
fn pulled_documents_keep_bytes_and_unknown_fields() {
    let raw = config();
    assert_eq!(raw.bytes(), DOCKER_CONFIG.as_bytes());
    assert_eq!(raw.digest(), &Digest::sha256_of(DOCKER_CONFIG.as_bytes()));
    assert_eq!(raw.extra["docker_version"], "20.10");
    assert_eq!(raw.extra["custom"]["a"][0], 1500.0);
    assert_eq!(raw.config.extra["Hostname"], "h");
    assert_eq!(raw.config.env("A"), Some("<b>&c"));
    assert_eq!(raw.config.healthcheck.as_ref().map(|check| check.retries), Some(3));
    // Written again, every field is still there.
    let again: Raw<ImageConfig> = Raw::from_value(raw.value().clone());
    let again = parse::<ImageConfig>(&String::from_utf8_lossy(again.bytes())).expect("valid");
    assert_eq!(again.value(), raw.value());
}

#[test]
fn digests_are_checked_before_anything_is_read() {
    let expected = Digest::sha256_of(DOCKER_CONFIG.as_bytes());
    let bytes = DOCKER_CONFIG.as_bytes().to_vec();
    assert!(Raw::<ImageConfig>::parse_expecting(bytes.clone(), &expected).is_ok());
    let other = Digest::sha256_of(b"other");
    let error = Raw::<ImageConfig>::parse_expecting(bytes, &other).expect_err("another digest");
    assert_eq!(
        error.to_string(),
        format!("image config has digest `{expected}`, expected `{other}`")
    );
}

fn check_refused<T: Document + std::fmt::Debug>(text: &str, expected: &str) {
    let error = parse::<T>(text).expect_err(text);
    assert!(error.contains(expected), "{text}\n{error}");
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A manifest with one part replaced.
fn manifest_text(config: &str, layers: &str, more: &str) -> String {
    format!("{{\"schemaVersion\":2{more},\"config\":{config},\"layers\":{layers}}}")
}

fn descriptor_text(media_type: &str, digest: &str, size: &str) -> String {
    format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size}}}")
}

#[test]
fn manifests_that_could_be_read_two_ways_are_refused() {
    let good = descriptor_text("application/vnd.oci.image.config.v1+json", DIGEST, "2");
    assert!(parse::<ImageManifest>(&manifest_text(&good, "[]", "")).is_ok());
    let refused = check_refused::<ImageManifest>;
    refused(&manifest_text(&good, "[]", &format!(",\"config\":{good}")), "duplicate key `config`");
    refused(&manifest_text(&good, "null", ""), "invalid type: null");
    refused(&manifest_text(&good, "[]", ",\"Layers\":[]"), "key `Layers` differs from a known one");
    refused(&manifest_text(&good, "[]", ",\"manifests\":[]"), "another kind of document");
    let index_type = ",\"mediaType\":\"application/vnd.oci.image.index.v1+json\"";
    refused(&manifest_text(&good, "[]", index_type), "`mediaType` is");
    refused(&manifest_text(&good, "[]", "").replace(":2,", ":3,"), "`schemaVersion` is 3, not 2");
    refused(&format!("{}{{}}", manifest_text(&good, "[]", "")), "trailing characters");
    refused("{}", "missing field");
    let bad =
        |digest: &str, size: &str| manifest_text(&descriptor_text("x", digest, size), "[]", "");
    refused(&bad("sha256:0123456789", "1"), "invalid checksum digest length");
    refused(&bad("", "1"), "invalid checksum digest format");
    refused(&bad(&format!("sha256:{}/../", "a".repeat(60)), "1"), "invalid checksum digest format");
    refused(&bad(DIGEST, "1e3"), "invalid type: floating point");
    refused(&bad(DIGEST, "-1"), "invalid value: integer `-1`");
    refused(&bad(DIGEST, "\"1\""), "invalid type: string");
    let many = vec![good.as_str(); 1025].join(",");
    refused(&manifest_text(&good, &format!("[{many}]"), ""), "1025 layers, more than the limit");
    let long = format!(",\"annotations\":{{\"a\":\"{}\"}}", "x".repeat(4 << 20));
    refused(&manifest_text(&good, "[]", &long), "larger than the limit of 4194304 bytes");
}

#[test]
fn indexes_that_could_be_read_two_ways_are_refused() {
    let entry = descriptor_text("application/vnd.oci.image.manifest.v1+json", DIGEST, "2");
    let text = |more: &str| format!("{{\"schemaVersion\":2,\"manifests\":[{entry}]{more}}}");
    assert!(parse::<ImageIndex>(&text("")).is_ok());
    let refused = check_refused::<ImageIndex>;
    refused(&text(",\"config\":{}"), "another kind of document");
    refused(&text(",\"layers\":[]"), "another kind of document");
    refused(&text(",\"Manifests\":[]"), "differs from a known one only by case");
    let manifest_type = ",\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"";
    refused(&text(manifest_type), "`mediaType` is");
    let many = vec![entry.as_str(); 4097].join(",");
    refused(
        &format!("{{\"schemaVersion\":2,\"manifests\":[{many}]}}"),
        "4097 manifests, more than the limit",
    );
}

#[test]
fn configs_of_wrong_shape_are_refused() {
    let refused = check_refused::<ImageConfig>;
    refused(r#"{"config":{"Env":"A=B"}}"#, "invalid type: string \"A=B\"");
    refused(r#"{"config":{"User":0}}"#, "invalid type: integer `0`");
    refused(r#"{"config":{"Cmd":{"a":1}}}"#, "invalid type: map");
    refused(r#"{"config":{"env":[]}}"#, "key `env` differs from a known one only by case");
    refused(r#"{"rootfs":{"type":"other","diff_ids":[]}}"#, "`rootfs.type` is `other`");
    refused(r#"{"created":"yesterday"}"#, "invalid time \"yesterday\"");
    let labels: Vec<String> = (0..20_000).map(|n| format!("\"{n}\":\"\"")).collect();
    refused(
        &format!("{{\"config\":{{\"Labels\":{{{}}}}}}}", labels.join(",")),
        "20000 labels, more than the limit",
    );
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    refused(&deep, "nested deeper than 64 levels");
}

#[test]
fn bases_must_fit_together() {
    let check = |change: fn(&mut ImageManifest), config: &str, expected: &str| {
        let config = parse::<ImageConfig>(config).expect("valid");
        let mut manifest = manifest(&config, vec![layer("base").descriptor]);
        change(&mut manifest);
        let descriptor = Descriptor::new(MediaType::DockerManifest, Digest::sha256_of(b""), 1);
        match BaseImage::new(descriptor, &manifest, config) {
            Ok(_) => assert_eq!(expected, "", "a base is made"),
            Err(error) => {
                let error = error.to_string();
                assert!(!expected.is_empty() && error.contains(expected), "{error}");
            }
        }
    };
    check(|_| {}, DOCKER_CONFIG, "");
    check(|m| m.layers.clear(), DOCKER_CONFIG, "0 layers, but its config has 1 diff ids");
    check(|m| m.config.size += 1, DOCKER_CONFIG, "bytes came");
    check(|m| m.config.digest = Digest::sha256_of(b"x"), DOCKER_CONFIG, "bytes came");
    check(
        |m| m.config.media_type = MediaType::OciEmpty,
        DOCKER_CONFIG,
        "so this is no container image",
    );
    check(
        |m| m.layers[0].media_type = MediaType::parse("application/vnd.x.tar+gzip+encrypted"),
        DOCKER_CONFIG,
        "unknown media type",
    );
    check(|m| m.layers.clear(), "{}", "`os` or `architecture` is missing");
}

#[test]
fn an_image_on_a_docker_base() {
    let mut draft = ImageDraft::from_base(&base());
    draft.edit(&ConfigEdit::ClearOnBuild);
    draft.edit(&ConfigEdit::Env { key: "A".into(), value: "1".into() });
    draft.edit(&ConfigEdit::Env { key: "NEW".into(), value: "=".into() });
    draft.edit(&ConfigEdit::Label { key: "m".into(), value: "<&>".into() });
    draft.edit(&ConfigEdit::ExposedPort("81/udp".into()));
    draft.edit(&ConfigEdit::Volume("/v".into()));
    draft.edit(&ConfigEdit::Healthcheck(Healthcheck {
        test: vec!["NONE".into()],
        ..Healthcheck::default()
    }));
    let time = Timestamp::new(1_700_000_000, 0);
    draft.push_empty(History::step("ENV A=1", Some(time)));
    draft.push_layer(layer("new"), History::step("RUN x", Some(time)));
    draft.set_created(Some(time));
    let docker = draft.clone().finish(ImageFormat::Docker);
    insta::assert_snapshot!(String::from_utf8_lossy(docker.config().bytes()), @r#"{"created":"2023-11-14T22:13:20Z","author":"someone","architecture":"amd64","os":"linux","config":{"User":"app","ExposedPorts":{"80/tcp":{},"81/udp":{}},"Env":["PATH=/bin","A=1","NEW=="],"Cmd":["sh"],"Volumes":{"/v":{}},"WorkingDir":"/srv","Labels":{"a":"2","m":"\u003c\u0026\u003e","z":"1"},"StopSignal":"SIGINT","ArgsEscaped":true,"Healthcheck":{"Test":["NONE"]},"StopTimeout":5,"Shell":["/bin/bash","-c"]},"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000","sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"]},"history":[{"created":"2023-11-14T22:13:20Z","created_by":"base"},{"created_by":"ENV A","empty_layer":true},{"created":"2023-11-14T22:13:20Z","created_by":"ENV A=1","comment":"buildkit.dockerfile.v0","empty_layer":true},{"created":"2023-11-14T22:13:20Z","created_by":"RUN x","comment":"buildkit.dockerfile.v0"}]}"#);
    insta::assert_snapshot!(String::from_utf8_lossy(docker.manifest().bytes()), @r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:761bda80f59b51bc90ff2214d97309df4f40a46b0a843b2d26bd3e16318af656","size":909},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2","size":9},{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437","size":9}]}"#);
    let oci = draft.finish(ImageFormat::Oci);
    insta::assert_snapshot!(String::from_utf8_lossy(oci.manifest().bytes()), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:761bda80f59b51bc90ff2214d97309df4f40a46b0a843b2d26bd3e16318af656","size":909},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2","size":9},{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437","size":9}]}"#);
    // Only the names of media types differ between the formats.
    assert_eq!(oci.config().bytes(), docker.config().bytes());
    assert_eq!((oci.format(), docker.format()), (ImageFormat::Oci, ImageFormat::Docker));
    assert_eq!(oci.manifest_descriptor().digest, *oci.digest());
    assert_eq!(oci.config_descriptor().digest, *oci.config().digest());
    // The next stage begins where this one ends.
    assert_eq!(ImageDraft::from_image(&oci).finish(ImageFormat::Oci).layers().len(), 2);
}

#[test]
fn every_edit_changes_the_config() {
    let words = || vec!["w".to_owned()];
    for edit in [
        ConfigEdit::Env { key: "K".into(), value: "v".into() },
        ConfigEdit::Label { key: "K".into(), value: "v".into() },
        ConfigEdit::Cmd(words()),
        ConfigEdit::ClearCmd,
        ConfigEdit::Entrypoint(words()),
        ConfigEdit::User("u".into()),
        ConfigEdit::WorkingDir("/w".into()),
        ConfigEdit::ExposedPort("1/tcp".into()),
        ConfigEdit::Volume("/w".into()),
        ConfigEdit::StopSignal("9".into()),
        ConfigEdit::Healthcheck(Healthcheck { retries: 1, ..Healthcheck::default() }),
        ConfigEdit::Shell(words()),
        ConfigEdit::OnBuild("RUN y".into()),
        ConfigEdit::ClearOnBuild,
        ConfigEdit::Author("a".into()),
        ConfigEdit::Platform(Platform::new("linux", "s390x")),
    ] {
        let mut draft = ImageDraft::from_base(&base());
        let before = draft.config().clone();
        draft.edit(&edit);
        assert_ne!(draft.config(), &before, "{edit:?}");
    }
}

#[test]
fn scratch_images_are_whole() {
    let image = ImageDraft::from_scratch(&Platform::new("linux", "arm64")).finish(ImageFormat::Oci);
    insta::assert_snapshot!(
        String::from_utf8_lossy(image.config().bytes()),
        @r#"{"architecture":"arm64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#
    );
    assert!(image.layers().is_empty());
}

#[test]
fn histories_that_miscount_are_repaired() {
    let check = |entries: &str, pushed: usize, expected: &str| {
        let text = DOCKER_CONFIG.replace(
            r#"{"created":"2023-11-14T22:13:20Z","created_by":"base"},
        {"created_by":"ENV A","empty_layer":true}"#,
            entries,
        );
        let config = parse::<ImageConfig>(&text).expect("valid");
        let manifest = manifest(&config, vec![layer("base").descriptor]);
        let descriptor = Descriptor::new(MediaType::OciManifest, Digest::sha256_of(b""), 1);
        let base = BaseImage::new(descriptor, &manifest, config).expect("a base");
        let mut draft = ImageDraft::from_base(&base);
        for index in 0..pushed {
            let history = History::step(&format!("s{index}"), None);
            draft.push_layer(layer(&index.to_string()), history);
        }
        let image = draft.finish(ImageFormat::Oci);
        let shown: Vec<String> = image
            .config()
            .history
            .iter()
            .map(|entry| {
                let by = entry.created_by.as_deref().unwrap_or("?");
                format!("{by}{}", if entry.empty_layer { "-" } else { "" })
            })
            .collect();
        assert_eq!(shown.join(" "), expected, "{entries}");
    };
    check(r#"{"created_by":"a"}"#, 1, "a s0");
    check("", 0, "");
    check("", 1, "? s0");
    check(r#"{"created_by":"a","empty_layer":true}"#, 0, "? a-");
    check(r#"{"created_by":"a"},{"created_by":"b"}"#, 1, "a- b s0");
}

#[test]
fn oci_spec_reads_what_we_write() {
    let mut draft = ImageDraft::from_scratch(&Platform::new("linux", "amd64"));
    draft.edit(&ConfigEdit::Entrypoint(vec!["/x".into()]));
    draft.edit(&ConfigEdit::Env { key: "A".into(), value: "b".into() });
    draft.edit(&ConfigEdit::Label { key: "l".into(), value: "v".into() });
    draft.push_layer(layer("1"), History::step("RUN x", Some(Timestamp::new(0, 0))));
    let image = draft.finish(ImageFormat::Oci);
    let config: oci_spec::image::ImageConfiguration =
        serde_json::from_slice(image.config().bytes()).expect("a config");
    let container = config.config().as_ref().expect("a container");
    assert_eq!(container.entrypoint().as_deref(), Some(&["/x".to_owned()][..]));
    assert_eq!(container.env().as_deref(), Some(&["A=b".to_owned()][..]));
    assert_eq!(config.rootfs().diff_ids().len(), 1);
    let manifest: oci_spec::image::ImageManifest =
        serde_json::from_slice(image.manifest().bytes()).expect("a manifest");
    assert_eq!(manifest.config().digest().to_string(), image.config().digest().to_string());
    assert_eq!(manifest.layers().len(), 1);
}

/// Configs of any content.
fn any_config() -> impl Strategy<Value = ImageConfig> {
    let texts = || prop::collection::vec(".{0,8}", 0..4);
    let edits = (texts(), texts(), prop::collection::vec((".{0,5}", ".{0,5}"), 0..5));
    (edits, any::<Option<i32>>(), ".{0,6}", any::<bool>()).prop_map(
        |((cmd, shell, pairs), seconds, user, escaped)| {
            let mut image = ImageConfig {
                created: seconds.map(|seconds| Timestamp::new(seconds.into(), 5)),
                ..ImageConfig::default()
            };
            image.set_platform(&Platform::new("linux", "amd64"));
            image.config.cmd = cmd;
            image.config.shell = shell;
            image.config.user = user;
            image.config.args_escaped = escaped;
            for (key, value) in pairs {
                image.config.labels.insert(key.clone(), value.clone());
                image.history.push(History::step(&value, None));
            }
            image
        },
    )
}

proptest! {
    #[test]
    fn written_configs_read_as_themselves(config in any_config()) {
        let raw = Raw::from_value(config);
        let again = Raw::<ImageConfig>::parse(raw.bytes().to_vec()).expect("what is written is valid");
        prop_assert_eq!(again.value(), raw.value());
        // The same value always has the same bytes.
        let twice = Raw::from_value(again.value().clone());
        prop_assert_eq!(twice.bytes(), raw.bytes());
    }

    #[test]
    fn reading_never_panics(text in "[{}\\[\\]\":,a-z0-9.e-]{0,200}") {
        let _ = parse::<ImageConfig>(&text);
        let _ = parse::<ImageManifest>(&text);
        let _ = parse::<ImageIndex>(&text);
    }
}
