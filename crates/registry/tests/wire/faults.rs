//! Faults of registries and networks, one line each: what must succeed does, what must fail fails
//! for the right reason, and nobody waits long.

use std::time::{Duration, Instant};

use oci::{Digest, Platform};
use testkit::fault::{Action, FaultRegistry, Subject};

use crate::support::{Blobs, chain, client_with, image, reference, silent};

use Action::{
    CutBody, Drip, Flip, Header, IgnoreRange, LongBody, RedirectOther, RedirectTo, Reset,
    ResetDone, ResetMidway, ShortBody, Stall, Status, StatusDone, WrongRange,
};
use Subject::{
    BlobGet, BlobHead, ManifestGet, ManifestHead, ManifestPut, Ping, Token, UploadPatch,
    UploadPost, UploadPut, UploadStatus,
};

/// Larger than a chunk, so that every kind of request occurs.
const SIZE: usize = 200_000;

fn status(code: u16) -> Action {
    Status(code, vec![], String::new())
}

type Faults<'a> = &'a [(Subject, Option<u32>, Action)];

async fn registry_with(faults: Faults<'_>) -> FaultRegistry {
    let registry = FaultRegistry::start();
    for (subject, times, action) in faults {
        registry.fault(*subject, *times, action.clone());
    }
    registry
}

/// Requests of one kind for one object are bounded, and so is the time.
fn assert_bounded(registry: &FaultRegistry, began: Instant, faults: Faults<'_>) {
    assert!(began.elapsed() < Duration::from_secs(60), "{faults:?} took {:?}", began.elapsed());
    let log = registry.log();
    assert!(log.len() < 60, "{faults:?}: {} requests", log.len());
    assert_eq!(registry.leaks(), 0, "credentials at the other host");
}

/// Pulls an image and its layer; `expected` is the end of the error, or nothing.
async fn check_pull(faults: Faults<'_>, expected: Option<&str>) {
    let registry = registry_with(faults).await;
    let (image, blobs) = image(SIZE);
    for bytes in blobs.bytes.values() {
        registry.put_blob("app", bytes);
    }
    registry.put_blob("app", image.config().bytes());
    let media_type = image.manifest_descriptor().media_type;
    registry.put_manifest("app", "v1", media_type.as_str(), image.manifest().bytes());
    let began = Instant::now();
    let name = reference(&registry.host(), "app:v1");
    let client = client_with(|_| {});
    let pulled = async {
        let resolved = client.resolve(&name, &Platform::new("linux", "amd64")).await?;
        let layer = &resolved.manifest.layers[0];
        let mut stream = client.pull_blob(&resolved.reference, layer).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.chunk().await? {
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(Digest::sha256_of(&bytes), layer.digest);
        Ok::<_, registry::Error>(())
    };
    compare(pulled.await, expected, faults);
    assert_bounded(&registry, began, faults);
}

/// Pushes an image; `expected` is the end of the error, or nothing.
async fn check_push(faults: Faults<'_>, expected: Option<&str>) {
    let registry = registry_with(faults).await;
    let (image, blobs) = image(SIZE);
    let name = reference(&registry.host(), "app:v1");
    let began = Instant::now();
    let pushed = client_with(|_| {}).push_image(&name, &image, &blobs, &silent).await;
    if pushed.is_ok() {
        assert_eq!(
            registry.tag("app", "v1").as_deref(),
            Some(image.digest().as_str()),
            "{faults:?}"
        );
    }
    assert_eq!(registry.missing(), Vec::<String>::new(), "{faults:?}");
    compare(pushed.map(|_| ()), expected, faults);
    assert_bounded(&registry, began, faults);
}

fn compare(outcome: Result<(), registry::Error>, expected: Option<&str>, faults: Faults<'_>) {
    match (outcome, expected) {
        (Ok(()), None) => {}
        (Err(error), Some(expected)) => {
            let text = chain(&error);
            assert!(text.contains(expected), "{faults:?}\n got: {text}\n for: {expected}");
        }
        (Ok(()), Some(expected)) => panic!("{faults:?} succeeds, not: {expected}"),
        (Err(error), None) => panic!("{faults:?} fails: {}", chain(&error)),
    }
}

#[tokio::test]
async fn pulls_survive_what_passes() {
    check_pull(&[], None).await;
    for subject in [ManifestGet, BlobGet] {
        for action in [Reset, CutBody, ShortBody, status(500), status(503), status(429)] {
            check_pull(&[(subject, Some(1), action)], None).await;
        }
    }
    check_pull(&[(BlobGet, Some(2), status(503))], None).await;
    check_pull(&[(BlobGet, Some(3), CutBody)], None).await;
    check_pull(&[(BlobGet, Some(1), Stall)], None).await;
    check_pull(&[(ManifestGet, Some(1), Stall)], None).await;
    check_pull(&[(Ping, Some(1), Reset)], None).await;
    check_pull(&[(Ping, None, status(404))], None).await;
    let soon = Status(429, vec![("Retry-After", "1".to_owned())], String::new());
    check_pull(&[(ManifestGet, Some(1), soon)], None).await;
}

#[tokio::test]
async fn pulls_resume_whatever_the_registry_makes_of_ranges() {
    check_pull(&[(BlobGet, Some(1), CutBody), (BlobGet, Some(1), IgnoreRange)], None).await;
    check_pull(&[(BlobGet, Some(1), CutBody), (BlobGet, Some(1), WrongRange)], None).await;
    check_pull(&[(BlobGet, Some(1), CutBody), (BlobGet, Some(1), status(416))], None).await;
    check_pull(&[(BlobGet, None, LongBody)], Some("the content has")).await;
}

#[tokio::test]
async fn pulls_follow_redirects_by_the_rule() {
    check_pull(&[(BlobGet, None, RedirectOther(1))], None).await;
    check_pull(&[(BlobGet, None, RedirectOther(5))], None).await;
    check_pull(&[(BlobGet, None, RedirectOther(30))], Some("redirects more than 10 times")).await;
    let there = RedirectTo("http://169.254.169.254/latest/meta-data".to_owned());
    check_pull(&[(BlobGet, None, there)], Some("to the link-local address")).await;
    let there = RedirectTo("file:///etc/passwd".to_owned());
    check_pull(&[(ManifestGet, None, there)], Some("to the scheme `file`")).await;
}

#[tokio::test]
async fn pulls_give_up_on_what_stays() {
    let pull = |subject, action, expected: &'static str| async move {
        check_pull(&[(subject, None, action)], Some(expected)).await;
    };
    for subject in [ManifestGet, BlobGet] {
        pull(subject, Reset, "broke").await;
        pull(subject, status(500), "answered 500").await;
        pull(subject, status(404), "answered 404").await;
        pull(subject, status(403), "answered 403").await;
        pull(subject, status(429), "answered 429").await;
        pull(subject, status(401), "asks for credentials (no scheme named)").await;
    }
    pull(BlobGet, CutBody, "broke").await;
    pull(BlobGet, ShortBody, "ended after").await;
    pull(BlobGet, Flip, "the content has digest").await;
    pull(ManifestGet, Flip, "digest").await;
    pull(BlobGet, Stall, "went silent").await;
    pull(BlobGet, Drip(Duration::from_millis(100)), "went silent").await;
    let hour = Status(429, vec![("Retry-After", "3600".to_owned())], String::new());
    pull(ManifestGet, hour, "answered 429").await;
    let index = "application/vnd.oci.image.index.v1+json".to_owned();
    pull(ManifestGet, Header("Content-Type", index), "is sent as").await;
    let huge = Status(200, vec![], "x".repeat(5 << 20));
    pull(ManifestGet, huge, "larger than 4194304 bytes").await;
    let zipped = Header("Content-Encoding", "gzip".to_owned());
    pull(BlobGet, zipped, "has the content encoding `gzip`").await;
    let basic = Status(401, vec![("WWW-Authenticate", "Basic realm=x".to_owned())], String::new());
    pull(ManifestGet, basic, "asks for credentials (Basic), and none are configured").await;
    let ansi = Status(
        400,
        vec![],
        "{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b[2Jhi\"}]}".to_owned(),
    );
    pull(ManifestGet, ansi, "answered 400 (X): \\u{1b}[2Jhi").await;
}

#[tokio::test]
async fn pushes_survive_what_passes() {
    check_push(&[], None).await;
    let subjects = [BlobHead, UploadPost, UploadPatch, UploadPut, ManifestPut, ManifestHead];
    for subject in subjects {
        for action in [Reset, ResetDone, status(500), StatusDone(500), status(429), ResetMidway] {
            check_push(&[(subject, Some(1), action)], None).await;
        }
        check_push(&[(subject, Some(2), status(503))], None).await;
    }
    check_push(&[(UploadPut, Some(1), status(404))], None).await;
    check_push(&[(UploadPatch, Some(1), status(404))], None).await;
    check_push(&[(UploadPatch, Some(1), status(413))], None).await;
    check_push(&[(UploadPatch, None, status(405))], None).await;
    check_push(&[(UploadPatch, None, Header("Range", "garbage".to_owned()))], None).await;
    check_push(&[(UploadPatch, None, Header("Range", "0-0".to_owned()))], None).await;
    check_push(&[(UploadPatch, Some(1), Reset), (UploadStatus, Some(1), status(500))], None).await;
    check_push(&[(UploadPatch, Some(1), Reset), (UploadStatus, None, status(404))], None).await;
    check_push(&[(ManifestHead, Some(3), status(404))], None).await;
    let late =
        Status(404, vec![], "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\"}]}".to_owned());
    check_push(&[(ManifestPut, Some(2), late)], None).await;
}

#[tokio::test]
async fn pushes_fail_for_good_reasons() {
    let push = |subject, action, expected: &'static str| async move {
        check_push(&[(subject, None, action)], Some(expected)).await;
    };
    push(UploadPost, status(403), "answered 403").await;
    push(UploadPost, status(500), "answered 500").await;
    push(UploadPut, status(403), "answered 403").await;
    push(UploadPut, Reset, "broke").await;
    push(UploadPatch, Reset, "broke").await;
    push(UploadPatch, status(413), "answered 413").await;
    push(ManifestPut, status(413), "answered 413").await;
    push(ManifestPut, status(405), "answered 405").await;
    push(ManifestPut, status(500), "answered 500").await;
    let immutable =
        "{\"errors\":[{\"code\":\"TAG_INVALID\",\"message\":\"the tag is immutable\"}]}";
    push(
        ManifestPut,
        Status(409, vec![], immutable.to_owned()),
        "(TAG_INVALID): the tag is immutable",
    )
    .await;
    let other = format!("sha256:{}", "0".repeat(64));
    push(ManifestPut, Header("Docker-Content-Digest", other.clone()), "the content has digest")
        .await;
    push(UploadPut, Header("Docker-Content-Digest", other.clone()), "the content has digest").await;
    // The registry says yes and keeps nothing.
    push(ManifestPut, status(201), "answered 404").await;
    push(ManifestHead, Header("Docker-Content-Digest", other), "the content has digest").await;
}

#[tokio::test]
async fn tokens_are_fetched_renewed_and_kept_from_others() {
    for uses in [1, 3, 1000] {
        let registry = FaultRegistry::start();
        registry.require_token(uses);
        registry.fault(Token, Some(2), status(500));
        let (image, blobs) = image(SIZE);
        let name = reference(&registry.host(), "app:v1");
        let client = client_with(|_| {});
        client.check_push(&name).await.expect("because a token is to be had");
        client
            .push_image(&name, &image, &blobs, &silent)
            .await
            .expect("because tokens are renewed");
        registry.fault(BlobGet, None, RedirectOther(1));
        let resolved = client
            .resolve(&name, &Platform::new("linux", "amd64"))
            .await
            .expect("because tokens are renewed");
        let layer = &resolved.manifest.layers[0];
        let mut stream = client.pull_blob(&name, layer).await.expect("because it is there");
        while stream.chunk().await.expect("because it is whole").is_some() {}
        assert_eq!(registry.leaks(), 0);
        assert_eq!(registry.missing(), Vec::<String>::new());
        let scopes: Vec<String> = registry
            .log()
            .iter()
            .filter(|entry| entry.subject == Token && entry.status == 200)
            .map(|entry| entry.request.rsplit_once("scope=").map_or("", |(_, s)| s).to_owned())
            .collect();
        assert!(scopes.contains(&"repository:app:pull,push".to_owned()), "{scopes:?}");
        assert!(scopes.contains(&"repository:app:pull".to_owned()), "{scopes:?}");
    }
}

#[tokio::test]
async fn token_servers_are_not_believed_blindly() {
    let check = |realm: &'static str, expected: &'static str| async move {
        let registry = FaultRegistry::start();
        let header = format!("Bearer realm=\"{realm}\"");
        let answer = Status(401, vec![("WWW-Authenticate", header)], String::new());
        registry.fault(ManifestGet, None, answer);
        let name = reference(&registry.host(), "app:v1");
        let error = client_with(|_| {})
            .resolve(&name, &Platform::new("linux", "amd64"))
            .await
            .expect_err("because no token is to be had");
        assert!(chain(&error).contains(expected), "{}", chain(&error));
        assert!(registry.log().len() < 20);
    };
    check("file:///etc/passwd", "`file:///etc/passwd`, which is not http").await;
    check("nonsense", "`nonsense`, which is no address").await;
}

#[tokio::test]
async fn a_fault_costs_one_chunk() {
    const CHUNK: u64 = 64 << 10;
    for action in [Reset, ResetMidway, ResetDone, status(500)] {
        let registry = FaultRegistry::start();
        let (image, blobs) = image(10 * 65_536);
        let layer = &image.layers()[0].descriptor;
        let name = reference(&registry.host(), "app:v1");
        registry.fault(UploadPatch, Some(1), action);
        client_with(|_| {}).push_blob(&name, layer, &blobs, &silent).await.expect("it is resumed");
        let sent: u64 = registry.log().iter().map(|entry| entry.received).sum();
        assert!(sent <= layer.size + CHUNK, "{sent} bytes for {}", layer.size);

        registry.fault(BlobGet, Some(1), CutBody);
        let before = registry.log().len();
        let client = client_with(|_| {});
        let mut stream = client.pull_blob(&name, layer).await.expect("because it is there");
        while stream.chunk().await.expect("because it is resumed").is_some() {}
        let log = registry.log();
        let ranges: Vec<_> = log[before..].iter().filter_map(|entry| entry.range.clone()).collect();
        assert_eq!(ranges.len(), 1, "one request for the rest");
    }
}

#[tokio::test]
async fn mounts_that_fail_become_uploads() {
    for action in [status(403), status(404), status(405), Reset] {
        let registry = FaultRegistry::start();
        let (image, mut blobs) = image(SIZE);
        blobs.known = vec![reference(&registry.host(), "other:1")];
        registry.fault(UploadPost, Some(1), action);
        let name = reference(&registry.host(), "app:v1");
        client_with(|_| {}).push_image(&name, &image, &blobs, &silent).await.expect("uploaded");
        assert_eq!(registry.missing(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_source_that_stops_is_asked_again() {
    let (from, to) = (FaultRegistry::start(), FaultRegistry::start());
    let (image, blobs) = image(SIZE);
    for bytes in blobs.bytes.values() {
        from.put_blob("app", bytes);
    }
    from.fault(BlobGet, Some(1), CutBody);
    let remote = Blobs { remote: Some(reference(&from.host(), "app:v1")), ..Blobs::default() };
    let name = reference(&to.host(), "copy:v1");
    client_with(|_| {}).push_image(&name, &image, &remote, &silent).await.expect("it is resumed");
    assert_eq!(to.missing(), Vec::<String>::new());
}

#[tokio::test]
async fn one_blob_is_sent_once_whoever_asks() {
    let registry = FaultRegistry::start();
    let (image, blobs) = image(SIZE);
    let layer = &image.layers()[0].descriptor;
    let name = reference(&registry.host(), "app:v1");
    let client = client_with(|_| {});
    let (one, two, three) = tokio::join!(
        client.push_blob(&name, layer, &blobs, &silent),
        client.push_blob(&name, layer, &blobs, &silent),
        client.push_blob(&name, layer, &blobs, &silent)
    );
    one.and(two).and(three).expect("because all is good");
    assert_eq!(registry.count(UploadPost), 1);
    // Before it was sent, and after.
    assert_eq!(registry.count(BlobHead), 2);
}
