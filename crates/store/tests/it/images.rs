//! Images in the forms that other tools read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use oci::{
    Descriptor, DiffId, Digest, History, Image, ImageDraft, ImageFormat, ImageIndex, LayerRef,
    MediaType, Platform, Raw, Reference,
};
use store::{BlobStore, DockerArchive, Error, OciLayout};
use testkit::layout::{read_docker_archive, read_oci};
use testkit::tar_builder::{TarBuilder, gzip, zstd};
use testkit::{ScratchRoot, require_program};

use super::{names, store};

/// An image of two layers, the first of them twice.
fn image(blobs: &BlobStore, format: ImageFormat, file: &str) -> Image {
    let mut draft = ImageDraft::from_scratch(&Platform::new("linux", "amd64"));
    for tar in [
        TarBuilder::new().dir("etc", 0o755).file("etc/a", "a").end(),
        TarBuilder::new().file("etc/.wh.a", "").file(file, "content").end(),
        TarBuilder::new().dir("etc", 0o755).file("etc/a", "a").end(),
    ] {
        let blob = gzip(&tar);
        let digest = blobs.put(&blob).expect("room");
        let descriptor = Descriptor::new(MediaType::OciLayerGzip, digest, blob.len() as u64);
        let diff_id = DiffId(Digest::sha256_of(&tar));
        let history = History { created_by: Some("a test".to_owned()), ..History::default() };
        draft.push_layer(LayerRef { descriptor, diff_id }, history);
    }
    draft.finish(format)
}

fn tree(file: &str) -> String {
    format!("d 0755 0:0 /etc\nf 0644 0:0 /etc/a \"a\"\nf 0644 0:0 /{file} \"content\"\n")
}

/// Lets skopeo read an image and write it as a layout; false where it is not installed.
fn copy_with_skopeo(from: &str, to: &Path) -> bool {
    if !require_program("skopeo") {
        return false;
    }
    let to = format!("oci:{}:copied", to.display());
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", from, &to]);
    let output = skopeo.output().expect("it is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn a_layout_is_read_by_us_and_by_others() {
    for format in [ImageFormat::Oci, ImageFormat::Docker] {
        let (scratch, blobs) = store();
        let image = image(&blobs, format, "file");
        let path = scratch.path().join("layout");
        OciLayout::write(&path, &image, &blobs, None).expect("room");
        assert_eq!(names(&path), ["blobs", "index.json", "oci-layout"]);
        let layout = OciLayout::read(&path).expect("our own layout");
        let descriptor = layout.index().value().manifests[0].clone();
        assert_eq!(descriptor, image.manifest_descriptor());
        let manifest = layout.manifest(&descriptor).expect("it is there");
        assert_eq!(manifest.bytes(), image.manifest().bytes());
        let config = layout.config(&manifest.config).expect("it is there");
        assert_eq!(config.bytes(), image.config().bytes());
        let read = read_oci(&path, None).expect("a valid layout");
        assert_eq!(read.digest, image.digest().to_string());
        assert_eq!(read.tree().expect("valid layers"), tree("file"));
        let copied = ScratchRoot::new();
        let from = format!("oci:{}", path.display());
        if copy_with_skopeo(&from, &copied.path().join("to")) {
            let copied = read_oci(&copied.path().join("to"), Some("copied")).expect("a layout");
            assert_eq!(copied.tree().expect("valid layers"), tree("file"));
        }
    }
}

#[test]
fn writing_replaces_the_index_and_appending_adds_to_it() {
    let (scratch, blobs) = store();
    let path = scratch.path().join("layout");
    let (one, two) =
        (image(&blobs, ImageFormat::Oci, "one"), image(&blobs, ImageFormat::Oci, "two"));
    let check = |expected: &[(&str, &Image)]| {
        let layout = OciLayout::read(&path).expect("our own layout");
        assert_eq!(layout.index().value().manifests.len(), expected.len());
        for (name, image) in expected {
            let found = layout.find(name).expect("it was written");
            assert_eq!(found.digest, *image.digest());
        }
    };
    OciLayout::append(&path, &one, &blobs, "a").expect("room");
    check(&[("a", &one)]);
    OciLayout::append(&path, &two, &blobs, "b").expect("room");
    check(&[("a", &one), ("b", &two)]);
    OciLayout::append(&path, &two, &blobs, "a").expect("room");
    check(&[("a", &two), ("b", &two)]);
    OciLayout::write(&path, &one, &blobs, Some("c")).expect("room");
    check(&[("c", &one)]);
}

#[test]
fn what_is_no_layout_is_an_error() {
    let check = |marker: Option<&str>, index: &str, expected: &str| {
        let scratch = ScratchRoot::new();
        if let Some(marker) = marker {
            std::fs::write(scratch.path().join("oci-layout"), marker).expect("room");
        }
        std::fs::write(scratch.path().join("index.json"), index).expect("room");
        let error = OciLayout::read(scratch.path()).expect_err(expected);
        let text = error.to_string().replace(&scratch.path().display().to_string(), "DIR");
        assert_eq!(text, expected);
    };
    check(None, "{}", "cannot open `DIR/oci-layout`");
    check(Some("{}"), "{}", "`DIR` is not an OCI layout: its marker has no version");
    let other = r#"{"imageLayoutVersion":"2.0.0"}"#;
    check(Some(other), "{}", "`DIR` is not an OCI layout: its version is not 1.0.0");
    let right = r#"{"imageLayoutVersion":"1.0.0"}"#;
    check(Some(right), "{}", "the document `DIR/index.json` is invalid");
}

#[test]
fn a_damaged_store_does_not_become_an_output() {
    let (scratch, blobs) = store();
    let image = image(&blobs, ImageFormat::Docker, "file");
    let layer = &image.layers()[1].descriptor.digest;
    let mut content = std::fs::read(blobs.path(layer)).expect("it is there");
    content[20] ^= 1;
    std::fs::write(blobs.path(layer), content).expect("it is ours");
    let (layout, archive) = (scratch.path().join("layout"), scratch.path().join("image.tar"));
    OciLayout::write(&layout, &image, &blobs, None).expect_err("a blob is damaged");
    assert!(!layout.join("index.json").exists());
    DockerArchive::write(&archive, &image, &blobs, &[]).expect_err("a blob is damaged");
    assert!(!archive.exists());
    assert_eq!(names(scratch.path()), ["layout", "store"]);
}

#[test]
fn a_docker_archive_is_as_kaniko_writes_it_and_is_read_by_others() {
    let (scratch, blobs) = store();
    let image = image(&blobs, ImageFormat::Docker, "file");
    let path = scratch.path().join("sub/image.tar");
    let name = |text| Reference::parse(text).expect("a name");
    let names = [name("example.com/a/b:1"), name("busybox"), name("example.com/a/b:1")];
    DockerArchive::write(&path, &image, &blobs, &names).expect("room");
    let bytes = std::fs::read(&path).expect("it is there");
    let members: Vec<_> = tar::Archive::new(&bytes[..])
        .entries()
        .expect("an archive")
        .map(|entry| entry.expect("a member").path().expect("a name").display().to_string())
        .collect();
    let layer = |at: usize| format!("{}.tar.gz", image.layers()[at].descriptor.digest.hex());
    let config = image.config().digest().to_string();
    assert_eq!(members, [config, layer(0), layer(1), "manifest.json".to_owned()]);
    let read = read_docker_archive(&path).expect("a valid archive");
    assert_eq!(read.tree().expect("valid layers"), tree("file"));
    let tags = ["example.com/a/b:1", "docker.io/library/busybox:latest"];
    assert_eq!(read.manifest["RepoTags"], serde_json::json!(tags));
    let again = scratch.path().join("again.tar");
    DockerArchive::write(&again, &image, &blobs, &names).expect("room");
    assert!(std::fs::read(&again).expect("it is there") == bytes);
    let copied = ScratchRoot::new();
    let from = format!("docker-archive:{}", path.display());
    if copy_with_skopeo(&from, &copied.path().join("to")) {
        let copied = read_oci(&copied.path().join("to"), Some("copied")).expect("a layout");
        assert_eq!(copied.tree().expect("valid layers"), tree("file"));
    }
}

#[test]
fn a_docker_archive_holds_no_zstd() {
    let (scratch, blobs) = store();
    let blob = zstd(&TarBuilder::new().end());
    let digest = blobs.put(&blob).expect("room");
    let mut draft = ImageDraft::from_scratch(&Platform::new("linux", "amd64"));
    let descriptor = Descriptor::new(MediaType::OciLayerZstd, digest, blob.len() as u64);
    let diff_id = DiffId(Digest::sha256_of(&TarBuilder::new().end()));
    draft.push_layer(LayerRef { descriptor, diff_id }, History::default());
    let image = draft.finish(ImageFormat::Oci);
    let path = scratch.path().join("image.tar");
    let error = DockerArchive::write(&path, &image, &blobs, &[]).expect_err("zstd");
    assert!(matches!(error, Error::Layer { .. }), "{error}");
    assert!(!path.exists());
}

/// The same files for two platforms, and the index of both.
fn two_platforms(blobs: &BlobStore) -> (Vec<Image>, Raw<ImageIndex>) {
    let images: Vec<Image> = ["linux/amd64", "linux/arm/v7"]
        .map(|platform| {
            let mut draft = ImageDraft::from_scratch(&platform.parse().expect("a platform"));
            for layer in image(blobs, ImageFormat::Oci, "file").layers() {
                draft.push_layer(layer.clone(), History::default());
            }
            draft.finish(ImageFormat::Oci)
        })
        .into();
    let entries = images.iter().map(Image::index_entry).collect();
    let index = ImageIndex::of(ImageFormat::Oci, entries, BTreeMap::default());
    (images, Raw::from_value(index))
}

#[test]
fn several_images_are_below_one_index() {
    let (scratch, blobs) = store();
    let path = scratch.path().join("layout");
    let (images, index) = two_platforms(&blobs);
    let all: Vec<&Image> = images.iter().collect();
    let written = OciLayout::write_several(&path, &index, &all, &blobs, Some("a")).expect("room");
    let found = written.find("a").expect("it was written");
    assert_eq!(found.media_type, MediaType::OciIndex);
    let nested = written.nested_index(found).expect("it is there");
    assert_eq!(nested.bytes(), index.bytes());
    let platforms: Vec<String> = nested
        .manifests
        .iter()
        .map(|entry| entry.platform.as_ref().map(Platform::to_string).unwrap_or_default())
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v7"]);
    // Two layers, which the images share; of each image the manifest and the config; the index.
    assert_eq!(names(&path.join("blobs/sha256")).len(), 2 + 2 * 2 + 1);
    for (architecture, tag) in [("amd64", "one"), ("arm", "two")] {
        if !require_program("skopeo") {
            return;
        }
        let copied = ScratchRoot::new();
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "--override-arch", architecture, "copy", "--quiet"]);
        skopeo.arg(format!("oci:{}:a", path.display()));
        skopeo.arg(format!("oci:{}:{tag}", copied.path().join("to").display()));
        let output = skopeo.output().expect("it is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = read_oci(&copied.path().join("to"), Some(tag)).expect("a valid layout");
        assert_eq!(read.tree().expect("valid layers"), tree("file"));
    }
}
