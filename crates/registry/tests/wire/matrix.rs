//! Every mode of the fault registry, through this client: what must succeed does, what must fail
//! says why, nobody waits long or asks without end, no secret goes to another host, and no tag
//! leads to an image that is not whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use oci::{Digest, Platform};
use registry::{Client, DockerConfig, Keychain};
use testkit::fault::FaultRegistry;
use testkit::fault::modes::{Mode, Outcome, Side, modes};

use crate::support::{chain, client_with, image, reference, silent};

/// Larger than a chunk, so that every kind of request occurs.
const SIZE: usize = 200_000;
/// The runs that the matrix must have.
const LEAST: usize = 120;
/// How many are at work at a time: they wait more than they compute.
const AT_ONCE: usize = 24;
const SECRET: &str = "s3cret";

/// One run; says what is wrong with it.
async fn check(mode: &Mode, side: Side) -> Result<(), String> {
    let registry = FaultRegistry::start();
    registry.require_secret(&format!("Basic {}", STANDARD.encode(format!("kim:{SECRET}"))));
    mode.apply(&registry);
    let client = client(&registry.host());
    let began = Instant::now();
    let outcome = match side {
        Side::Pull => pull(&registry, &client).await,
        Side::Push | Side::Both => push(&registry, &client).await,
    };
    let text = outcome.err();
    let fits = match (mode.outcome, &text) {
        (Outcome::Good, None) | (Outcome::Either, _) => true,
        (Outcome::Bad(expected), Some(text)) => text.contains(expected),
        (Outcome::Good, Some(_)) | (Outcome::Bad(_), None) => false,
    };
    let longest = registry.longest_failure();
    let wrong = if !fits {
        format!("ends with {text:?}, not {:?}", mode.outcome)
    } else if began.elapsed() > Duration::from_secs(60) {
        format!("takes {:?}", began.elapsed())
    } else if longest > 10 {
        format!("{longest} requests in a row fail: {:#?}", registry.log())
    } else if registry.log().len() > 100 {
        format!("{} requests", registry.log().len())
    } else if registry.leaks() > 0 {
        "credentials at the other host".to_owned()
    } else if !registry.missing().is_empty() {
        format!("a tag leads to what is not there: {:?}", registry.missing())
    } else if text.is_some_and(|text| text.contains(SECRET) || text.contains('\u{1b}')) {
        "the message holds what it must not".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("{} ({side:?}): {wrong}", mode.name))
}

/// One with a password for the registry, which gives up within seconds.
fn client(host: &str) -> Client {
    let text = format!(
        "{{\"auths\":{{\"{host}\":{{\"auth\":\"{}\"}}}}}}",
        STANDARD.encode(format!("kim:{SECRET}"))
    );
    let config = DockerConfig::parse("test", text.as_bytes()).expect("because it is well formed");
    let keychain = Arc::new(Keychain { configs: vec![config], ..Keychain::default() });
    client_with(|options| {
        options.keychain = keychain;
        // Many runs at a time on a machine that does other things as well.
        options.http.idle_timeout = Duration::from_secs(1);
        options.http.answer_timeout = Duration::from_secs(3);
    })
}

async fn pull(registry: &FaultRegistry, client: &Client) -> Result<(), String> {
    let (image, blobs) = image(SIZE);
    for bytes in blobs.bytes.values() {
        registry.put_blob("app", bytes);
    }
    registry.put_blob("app", image.config().bytes());
    let media_type = image.manifest_descriptor().media_type;
    registry.put_manifest("app", "v1", media_type.as_str(), image.manifest().bytes());
    let name = reference(&registry.host(), "app:v1");
    let pulled = async {
        let resolved = client.resolve(&name, &Platform::new("linux", "amd64")).await?;
        let layer = &resolved.manifest.layers[0];
        let mut stream = client.pull_blob(&resolved.reference, layer).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.chunk().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok::<_, registry::Error>(Digest::sha256_of(&bytes) == layer.digest)
    };
    match pulled.await {
        Ok(true) => Ok(()),
        Ok(false) => Err("bytes that are not those of the digest".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

async fn push(registry: &FaultRegistry, client: &Client) -> Result<(), String> {
    let (image, blobs) = image(SIZE);
    let name = reference(&registry.host(), "app:v1");
    let pushed = client.push_image(&name, &image, &blobs, &silent).await;
    pushed.map_err(|error| chain(&error))?;
    client.verify(&name, image.manifest()).await.map_err(|error| chain(&error))?;
    match registry.tag("app", "v1").as_deref() == Some(image.digest().as_str()) {
        true => Ok(()),
        false => Err("the tag leads elsewhere".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_has_the_outcome_that_it_must_have() {
    let modes = modes();
    let runs: Vec<(&Mode, Side)> = modes
        .iter()
        .flat_map(|mode| match mode.side {
            Side::Both => vec![(mode, Side::Pull), (mode, Side::Push)],
            side => vec![(mode, side)],
        })
        .collect();
    assert!(runs.len() >= LEAST, "{} runs", runs.len());
    let checked = runs.iter().map(|(mode, side)| check(mode, *side));
    let checked: Vec<Result<(), String>> =
        futures_util::stream::iter(checked).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = checked.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} of {} runs:\n{}", wrong.len(), runs.len(), wrong.join("\n"));
}
