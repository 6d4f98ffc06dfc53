//! An index of several images: pushed last, and only when all its images are there.

use std::collections::BTreeMap;

use oci::{Image, ImageFormat, ImageIndex, MediaType, Platform, Raw, Reference};
use registry::Client;
use testkit::registry::Registry;

use crate::support::{chain, client, image_for, reference, silent};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

fn platform(text: &str) -> Platform {
    text.parse().expect("because the cases are platforms")
}

/// Pushes the same layer as an image for each platform, by digest alone.
async fn push_images(client: &Client, name: &Reference) -> Vec<Image> {
    let mut images = Vec::new();
    for text in PLATFORMS {
        let (image, blobs) = image_for(&platform(text), 100_000);
        let pinned = name.by_digest(image.digest().clone());
        client.push_image(&pinned, &image, &blobs, &silent).await.expect("because all is good");
        images.push(image);
    }
    images
}

fn index_of(format: ImageFormat, images: &[Image]) -> Raw<ImageIndex> {
    let entries = images.iter().map(Image::index_entry).collect();
    Raw::from_value(ImageIndex::of(format, entries, BTreeMap::new()))
}

async fn check(format: ImageFormat, expected: MediaType) {
    let registry = Registry::start().expect("because docker-registry is installed");
    let client = client();
    let name = reference(&registry.host(), "team/app:v1");
    let images = push_images(&client, &name).await;
    let (_, tags) = registry.get("/v2/team/app/tags/list").expect("because it answers");
    assert!(!tags.contains("v1"), "an image pushed by digest has no tag: {tags}");
    let uploads =
        registry.requests().iter().filter(|r| r.contains("PUT /v2/team/app/blobs")).count();
    assert_eq!(uploads, 1 + PLATFORMS.len(), "the layer goes once, beside the configs");

    let index = index_of(format, &images);
    assert_eq!(index.media_type(), expected);
    let digest = client.push_index(&name, &index).await.expect("because all images are there");
    assert_eq!(&digest, index.digest());
    for (text, image) in PLATFORMS.iter().zip(&images) {
        let found = crate::support::client().resolve(&name, &platform(text)).await;
        let found = found.expect("because the index has it");
        assert_eq!(&found.descriptor.digest, image.digest(), "{text}");
        assert_eq!(found.config.platform().normalized(), platform(text).normalized());
    }
}

#[tokio::test]
async fn every_platform_is_found_in_an_oci_index() {
    check(ImageFormat::Oci, MediaType::OciIndex).await;
}

#[tokio::test]
async fn every_platform_is_found_in_a_docker_manifest_list() {
    check(ImageFormat::Docker, MediaType::DockerManifestList).await;
}

#[tokio::test]
async fn an_index_of_an_image_that_is_not_there_is_never_sent() {
    let registry = Registry::start().expect("because docker-registry is installed");
    let client = client();
    let name = reference(&registry.host(), "team/app:v1");
    let mut images = push_images(&client, &name).await;
    let (missing, _) = image_for(&platform("linux/s390x"), 100);
    images.push(missing.clone());
    let index = index_of(ImageFormat::Oci, &images);
    let error = client.push_index(&name, &index).await.expect_err("because one is missing");
    let text = chain(&error);
    let expected =
        format!("cannot find the manifest `{}`", name.by_digest(missing.digest().clone()));
    assert!(text.starts_with(&expected) && text.contains("404"), "{text}");
    assert!(!registry.requests().iter().any(|request| request.contains(index.digest().as_str())));
    let (_, tags) = registry.get("/v2/team/app/tags/list").expect("because it answers");
    assert!(!tags.contains("v1"), "{tags}");
}
