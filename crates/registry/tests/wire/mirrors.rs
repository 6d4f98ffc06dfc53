//! What stands in for a registry: who is asked in which order, and where a blob goes on when the
//! place that its image was found in fails.

use std::time::{Duration, Instant};

use oci::{Digest, Platform, Reference};
use registry::{Cause, Client, Policy, Repeat, Resolved, Rule};
use testkit::fault::{Action, FaultRegistry, Subject};

use crate::support::{chain, client_with, image, reference, silent};

use Action::{CutBody, Flip, Reset, Stall, Status};
use Subject::{BlobGet, ManifestGet, ManifestPut, UploadPost};

type Faults<'a> = &'a [(Subject, Option<u32>, Action)];

/// What a place holds under the image's name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holds {
    /// The image.
    Image,
    /// Another one.
    Other,
    Nothing,
}
use Holds::{Image, Nothing, Other};

const SIZE: usize = 200_000;

fn status(code: u16, text: &str) -> Action {
    let document = format!(r#"{{"errors":[{{"code":"X","message":"{text}"}}]}}"#);
    Status(code, vec![("Content-Type", "application/json".to_owned())], document)
}

fn place(repository: &str, holds: Holds, faults: Faults<'_>) -> FaultRegistry {
    let registry = FaultRegistry::start();
    for (subject, times, action) in faults {
        registry.fault(*subject, *times, action.clone());
    }
    let (image, blobs) = match holds {
        Image => image(SIZE),
        Other => image(SIZE / 2),
        Nothing => return registry,
    };
    for bytes in blobs.bytes.values() {
        registry.put_blob(repository, bytes);
    }
    registry.put_blob(repository, image.config().bytes());
    let media_type = image.manifest_descriptor().media_type;
    registry.put_manifest(repository, "v1", media_type.as_str(), image.manifest().bytes());
    if holds == Other {
        // It lies about the digest, too.
        let digest = image_digest();
        let path = (repository, digest.as_str());
        registry.put_manifest(path.0, path.1, media_type.as_str(), image.manifest().bytes());
    }
    registry
}

fn image_digest() -> Digest {
    image(SIZE).0.digest().clone()
}

/// How the image is asked for.
#[derive(Clone, Copy, Debug)]
enum By {
    Tag,
    Digest,
    /// By tag, and the registry itself is not to be asked.
    TagOnlyThere,
}

/// Two stand-ins, `a` with a prefix and `b`, and the registry `o`. Expected is who gave the manifest
/// and who gave bytes of the layer (`a: ao`), or the end of the error.
async fn check(
    by: By,
    a: (Holds, Faults<'_>),
    b: (Holds, Faults<'_>),
    o: (Holds, Faults<'_>),
    expected: &str,
) {
    let places = [
        ("a", place("pre/fix/app", a.0, a.1)),
        ("b", place("app", b.0, b.1)),
        ("o", place("app", o.0, o.1)),
    ];
    let host = |index: usize| places[index].1.host();
    let name = reference(&host(2), "app:v1");
    let name = match by {
        By::Digest => name.with_digest(image_digest()),
        By::Tag | By::TagOnlyThere => name,
    };
    let client = client_with(|options| {
        let routes = &mut options.routes;
        routes.only_stand_ins = matches!(by, By::TagOnlyThere);
        routes.add(&host(2), &format!("{}/pre/fix", host(0))).expect("because it is a place");
        routes.add(&host(2), &host(1)).expect("because it is a place");
    });
    let began = Instant::now();
    let found = match pull(&client, &name).await {
        Ok(from) => {
            let gave = |registry: &FaultRegistry| {
                let bytes = |one: &testkit::fault::Logged| {
                    one.subject == BlobGet && matches!(one.status, 200 | 206)
                };
                registry.log().iter().filter(|one| bytes(one)).count() > 0
            };
            let names = |wanted: &dyn Fn(&FaultRegistry) -> bool| -> String {
                places.iter().filter(|(_, place)| wanted(place)).map(|(name, _)| *name).collect()
            };
            format!("{}: {}", names(&|place| from == place.host()), names(&gave))
        }
        Err(error) => chain(&error).replace(&host(0), "A").replace(&host(1), "B"),
    };
    let found = found.replace(&host(2), "O").replace(image_digest().as_str(), "DIGEST");
    assert!(found.ends_with(expected), "{by:?} {a:?} {b:?} {o:?}: {found}, not {expected}");
    assert!(began.elapsed() < Duration::from_secs(60), "took {:?}", began.elapsed());
}

/// Pulls an image and its layer; returns the registry that the manifest came from.
async fn pull(client: &Client, name: &Reference) -> registry::Result<String> {
    let resolved = client.resolve(name, &Platform::new("linux", "amd64")).await?;
    pull_layer(client, &resolved).await?;
    Ok(resolved.reference.registry().to_owned())
}

const GOOD: (Holds, Faults<'_>) = (Image, &[]);
const EMPTY: (Holds, Faults<'_>) = (Nothing, &[]);

#[tokio::test]
async fn places_are_asked_in_order() {
    check(By::Tag, GOOD, GOOD, GOOD, "a: a").await;
    check(By::Tag, EMPTY, GOOD, GOOD, "b: b").await;
    check(By::Tag, EMPTY, EMPTY, GOOD, "o: o").await;
    check(By::TagOnlyThere, EMPTY, GOOD, EMPTY, "b: b").await;
    let reset = (Image, &[(Subject::Ping, None, Reset)][..]);
    check(By::Tag, reset, GOOD, EMPTY, "b: b").await;
    for code in [401, 403, 429, 500] {
        let refuses = (Image, &[(ManifestGet, None, status(code, "no"))][..]);
        check(By::Tag, refuses, EMPTY, GOOD, "o: o").await;
    }
    // A place whose config is not to be had does not have the image.
    check(By::Tag, (Image, &[(BlobGet, None, status(404, "no"))]), GOOD, EMPTY, "b: b").await;
}

#[tokio::test]
async fn an_image_asked_for_by_digest_is_no_other() {
    check(By::Digest, (Other, &[]), GOOD, GOOD, "b: b").await;
    check(By::Digest, (Image, &[(ManifestGet, None, Flip)]), (Other, &[]), GOOD, "o: o").await;
}

#[tokio::test]
async fn what_is_nowhere_is_told_as_it_was_asked_for() {
    check(
        By::Tag,
        EMPTY,
        EMPTY,
        EMPTY,
        "cannot resolve image `O/app:v1`: the registry answered 404 (MANIFEST_UNKNOWN): MANIFEST_UNKNOWN",
    )
    .await;
    check(
        By::TagOnlyThere,
        EMPTY,
        EMPTY,
        GOOD,
        "image not found on any configured mapped registries for O/app:v1: cannot resolve image \
         `B/app:v1`: the registry answered 404 (MANIFEST_UNKNOWN): MANIFEST_UNKNOWN",
    )
    .await;
}

#[tokio::test]
async fn a_blob_goes_on_elsewhere() {
    for action in [CutBody, Stall, status(500, "no"), status(404, "no"), status(403, "no"), Flip] {
        check_layer(action).await;
    }
}

/// The first place gives manifest and config, then this meets the layer there for ever.
async fn check_layer(action: Action) {
    let (one, two) = (place("app", Image, &[]), place("app", Image, &[]));
    let origin = FaultRegistry::start();
    let client = client_with(|options| {
        for place in [&one, &two] {
            options.routes.add(&origin.host(), &place.host()).expect("because it is a place");
        }
    });
    let name = reference(&origin.host(), "app:v1");
    let platform = Platform::new("linux", "amd64");
    let resolved = client.resolve(&name, &platform).await.expect("because it is there");
    assert_eq!(resolved.reference.registry(), one.host());
    one.fault(BlobGet, None, action.clone());
    let began = Instant::now();
    if let Err(error) = pull_layer(&client, &resolved).await {
        panic!("{action:?}: {}", chain(&error));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{action:?} took {:?}", began.elapsed());
    let sent: Vec<_> = two.log().into_iter().filter(|one| one.subject == BlobGet).collect();
    assert_eq!(sent.len(), 1, "{action:?}");
    // What came before is not asked for again.
    let rest = sent[0].range.is_some();
    assert_eq!(rest, matches!(action, CutBody | Stall), "{action:?}: {:?}", sent[0].range);
}

/// Pulls the layer, once more when it came damaged, as `cache` does.
async fn pull_layer(client: &Client, resolved: &Resolved) -> registry::Result<()> {
    match pull_layer_once(client, resolved).await {
        Err(error) if matches!(error.cause(), Some(Cause::Digest { .. })) => {
            pull_layer_once(client, resolved).await
        }
        other => other,
    }
}

async fn pull_layer_once(client: &Client, resolved: &Resolved) -> registry::Result<()> {
    let layer = &resolved.manifest.layers[0];
    let mut stream = client.pull_blob(&resolved.reference, layer).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.chunk().await? {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(Digest::sha256_of(&bytes), layer.digest);
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_pulled_is_not_asked_for() {
    let origin = place("app", Image, &[]);
    let rule = Rule { denied: vec![origin.host()], ..Rule::default() };
    let client = client_with(|options| {
        options.policy = Policy { registries: rule, ..Policy::default() };
    });
    let name = reference(&origin.host(), "app:v1");
    let error = client.resolve(&name, &Platform::new("linux", "amd64")).await.expect_err("denied");
    let host = origin.host();
    assert_eq!(chain(&error), format!("the image `{name}` may not be used: `{host}` is denied"));
    assert_eq!(origin.log().len(), 0);
}

/// Repeats so often, quickly.
fn repeat(times: u32) -> Repeat {
    let first_pause = Duration::from_millis(5);
    Repeat { times, first_pause, ..Repeat::default() }
}

#[tokio::test]
async fn a_whole_operation_is_repeated_as_often_as_asked_for() {
    // Refused so often, repeated so often, the end of the error.
    for (refused, times, expected) in [
        (2, 2, None),
        (3, 2, Some("unable to complete operation after 2 attempts, last error: cannot")),
        (1, 0, Some("cannot")),
    ] {
        let registry = place("app", Image, &[(ManifestGet, Some(refused), status(403, "no"))]);
        let name = reference(&registry.host(), "app:v1");
        let client = client_with(|options| options.pull_again = repeat(times));
        let found = client.resolve(&name, &Platform::new("linux", "amd64")).await;
        compare("pull", found.map(|_| ()), expected);

        let registry = place("app", Nothing, &[(UploadPost, Some(refused), status(403, "no"))]);
        let name = reference(&registry.host(), "app:v1");
        let client = client_with(|options| {
            options.push_again = repeat(times);
            options.parallel = 1;
        });
        let (image, blobs) = image(SIZE);
        let found = client.push_image(&name, &image, &blobs, &silent).await;
        compare("push", found.map(|_| ()), expected);
        assert_eq!(registry.missing(), Vec::<String>::new());
    }
}

fn compare(what: &str, found: registry::Result<()>, expected: Option<&str>) {
    match (found, expected) {
        (Ok(()), None) => {}
        (Err(error), Some(text)) if chain(&error).starts_with(text) => {}
        (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
    }
}

#[tokio::test]
async fn a_tag_that_may_not_change_is_known_by_its_text() {
    for (text, expected) in [
        ("The repository has enabled tag immutability. x", true),
        ("The tag v1 cannot be overwritten because the tag is immutable.", true),
        ("The tag v1 cannot be overwritten because the repository is immutable.", true),
        ("manifest invalid", false),
    ] {
        let registry = place("app", Nothing, &[(ManifestPut, None, status(400, text))]);
        let name = reference(&registry.host(), "app:v1");
        let client = client_with(|options| options.push_again = repeat(1));
        let (image, blobs) = image(SIZE);
        let error = client.push_image(&name, &image, &blobs, &silent).await.expect_err("refused");
        assert_eq!(error.is_immutable_tag(), expected, "{}", chain(&error));
        // It is not tried again when it cannot help.
        assert_eq!(registry.count(ManifestPut), if expected { 1 } else { 2 }, "{text}");
    }
}
