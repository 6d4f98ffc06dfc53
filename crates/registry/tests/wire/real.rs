//! Push to and pull from Debian's docker-registry.

use std::sync::Mutex;

use crate::support::{Blobs, chain, client, client_with, image, reference, silent};
use oci::{Digest, Platform};
use registry::{Client, Transfer};
use testkit::registry::{AUTHORITY, Registry};

fn start() -> Registry {
    Registry::start().expect("because docker-registry is installed")
}

async fn pull(client: &Client, name: &oci::Reference, layer: &oci::Descriptor) -> Vec<u8> {
    let mut stream = client.pull_blob(name, layer).await.expect("because it was pushed");
    let mut all = Vec::new();
    while let Some(piece) = stream.chunk().await.expect("because the registry is good") {
        all.extend_from_slice(&piece);
    }
    all
}

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let registry = start();
    // Several chunks, the last one short.
    let (image, blobs) = image(300_001);
    let name = reference(&registry.host(), "a/b:v1");
    let client = client();
    client.check_push(&name).await.expect("because anybody may push");
    let seen = Mutex::new(Vec::new());
    let watch = |transfer| seen.lock().expect("because nobody panics with it").push(transfer);
    let digest =
        client.push_image(&name, &image, &blobs, &watch).await.expect("because all is good");
    assert_eq!(&digest, image.digest());

    let moved: u64 = seen
        .lock()
        .expect("because nobody panics with it")
        .iter()
        .map(|transfer| match transfer {
            Transfer::Moved { bytes, .. } => *bytes,
            _ => 0,
        })
        .sum();
    assert_eq!(moved, 300_001 + image.config().size());

    let resolved =
        client.resolve(&name, &Platform::new("linux", "amd64")).await.expect("because it is there");
    assert_eq!(resolved.descriptor.digest, digest);
    assert_eq!(resolved.manifest.bytes(), image.manifest().bytes());
    assert_eq!(resolved.config.bytes(), image.config().bytes());
    let base = resolved.base_image().expect("because it fits together");
    let layer = &base.layers()[0].descriptor;
    let bytes = pull(&client, &resolved.reference, layer).await;
    assert_eq!(Digest::sha256_of(&bytes), layer.digest);

    // By digest, with a new client, too.
    let pinned = name.with_digest(digest.clone());
    let again = crate::support::client()
        .resolve(&pinned, &Platform::new("linux", "amd64"))
        .await
        .expect("because it is there");
    assert_eq!(again.descriptor.digest, digest);
}

#[tokio::test]
async fn blobs_are_mounted_or_found() {
    let registry = start();
    let (image, mut blobs) = image(200_000);
    let first = reference(&registry.host(), "first:1");
    let client = client();
    client.push_image(&first, &image, &blobs, &silent).await.expect("because all is good");

    let layer = &image.layers()[0].descriptor;
    let second = reference(&registry.host(), "second:1");
    blobs.known = vec![first.clone()];
    let seen = Mutex::new(Vec::new());
    let watch = |transfer| seen.lock().expect("because nobody panics with it").push(transfer);
    client.push_blob(&second, layer, &blobs, &watch).await.expect("because it can be mounted");
    let mounted = Transfer::Mounted { digest: layer.digest.clone() };
    assert_eq!(*seen.lock().expect("because nobody panics with it"), [mounted]);

    let third = reference(&registry.host(), "third:1");
    assert!(!client.has_blob(&third, &layer.digest).await.expect("because it answers"));
    assert!(client.mount_blob(&third, &first, &layer.digest).await.expect("because it answers"));
    assert!(client.has_blob(&third, &layer.digest).await.expect("because it answers"));
    let unknown = Digest::sha256_of(b"unknown");
    assert!(!client.mount_blob(&third, &first, &unknown).await.expect("because it answers"));

    let fresh = crate::support::client();
    fresh.push_image(&second, &image, &blobs, &silent).await.expect("because all is good");
    let uploads = registry.requests().iter().filter(|r| r.starts_with("PATCH")).count();
    assert_eq!(uploads, 4, "only the first push sends the layer: {:?}", registry.requests());
}

#[tokio::test]
async fn a_blob_streams_from_one_registry_to_another() {
    let (from, to) = (start(), start());
    let (image, blobs) = image(200_000);
    let there = reference(&from.host(), "there:1");
    let here = reference(&to.host(), "here:1");
    let client = client();
    client.push_image(&there, &image, &blobs, &silent).await.expect("because all is good");
    let remote = Blobs { remote: Some(there), ..Blobs::default() };
    client.push_image(&here, &image, &remote, &silent).await.expect("because it streams through");
    let layer = &image.layers()[0].descriptor;
    assert_eq!(Digest::sha256_of(&pull(&client, &here, layer).await), layer.digest);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let registry = start();
    let name = reference(&registry.host(), "nothing/here:1");
    let error =
        client().resolve(&name, &Platform::new("linux", "amd64")).await.expect_err("missing");
    assert!(error.is_not_found() && !error.is_transient());
    let expected = format!(
        "cannot resolve image `{name}`: the registry answered 404 (MANIFEST_UNKNOWN): manifest unknown"
    );
    assert_eq!(chain(&error), expected);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("because a port is free");
        listener.local_addr().expect("because it is bound")
    };
    let name = reference(&gone.to_string(), "x:1");
    let error = client().resolve(&name, &Platform::new("linux", "amd64")).await.expect_err("gone");
    let text = chain(&error);
    assert!(
        text.starts_with(&format!("cannot resolve image `{name}`: cannot connect to `https://"))
    );
    assert!(text.ends_with("Connection refused (os error 111)"), "{text}");
}

#[tokio::test]
async fn certificates_are_verified_against_the_registry_s_own_authority() {
    let registry = Registry::start_tls().expect("because docker-registry is installed");
    let host = registry.host();
    let name = reference(&host, "secure:1");
    let (image, blobs) = image(1000);
    let trusting = client_with(|options| {
        options.certificates.insert(host.clone(), AUTHORITY.to_vec());
    });
    trusting.push_image(&name, &image, &blobs, &silent).await.expect("because it is trusted");
    let blind = client_with(|options| {
        options.skip_tls_verify_registries.insert(host.clone());
    });
    let platform = Platform::new("linux", "amd64");
    blind.resolve(&name, &platform).await.expect("because nothing is verified");

    // No other registry's authority counts, and asking again would not help.
    let other = client_with(|options| {
        options.certificates.insert("other.example".to_owned(), AUTHORITY.to_vec());
    });
    let error = other.resolve(&name, &platform).await.expect_err("because it is not trusted");
    let text = chain(&error);
    assert!(text.contains("invalid peer certificate: UnknownIssuer"), "{text}");
    assert!(!error.is_transient(), "{text}");
}

#[tokio::test]
async fn a_text_that_is_no_certificate_is_named() {
    let client = client_with(|options| {
        options.certificates.insert("reg.example".to_owned(), b"no PEM".to_vec());
    });
    let name = reference("reg.example", "x:1");
    let error = client.check_push(&name).await.expect_err("because it is no certificate");
    let expected = "cannot push to `reg.example/x`: cannot set up http with the certificate \
                    `reg.example`, which holds no PEM certificate";
    assert_eq!(chain(&error), expected);
}
