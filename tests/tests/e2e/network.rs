//! Every mode of the fault registry through the program itself: as the base image's registry, and
//! as the destination.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use kaniko_tests::Lab;
use testkit::base_image;
use testkit::fault::modes::{Mode, Outcome, Pace, Side, modes};
use testkit::fault::{FaultRegistry, Subject};
use testkit::tar_builder::TarBuilder;

use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![root_test("network::every_fault_has_the_outcome_that_it_must_have", faults)]
}

/// They wait more than they compute.
const AT_ONCE: usize = 6;
/// Of those that need all tries, with the pauses that are made for networks: one in so many.
const SOME: usize = 6;
/// More than a chunk, so that every kind of request occurs.
const LARGE: usize = (8 << 20) + 100_000;
const SMALL: usize = 200_000;
const USER: &str = "kim";
const PASSWORD: &str = "s3cret-of-kim";
/// `kim:s3cret-of-kim`.
const ENCODED: &str = "a2ltOnMzY3JldC1vZi1raW0=";

fn faults(lab: &Arc<Lab>) -> Result<()> {
    let modes = modes();
    let runs: Vec<(&Mode, Side)> = modes
        .iter()
        .flat_map(|mode| match mode.side {
            Side::Both => vec![(mode, Side::Pull), (mode, Side::Push)],
            side => vec![(mode, side)],
        })
        .filter(|(mode, _)| mode.pace != Pace::Silent)
        .enumerate()
        .filter(|(number, (mode, _))| mode.pace == Pace::Quick || number % SOME == 0)
        .map(|(_, run)| run)
        .collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let content = noise();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((mode, side)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = check(lab, mode, *side, &content) {
                        let text = format!("{} ({side:?}): {error:#}", mode.name);
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    anyhow::ensure!(
        wrong.is_empty(),
        "{} of {} runs:\n{}",
        wrong.len(),
        runs.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// One build; fails where something is wrong with it.
fn check(lab: &Arc<Lab>, mode: &Mode, side: Side, content: &[u8]) -> Result<()> {
    let registry = FaultRegistry::start();
    registry.require_secret(&format!("Basic {ENCODED}"));
    let host = registry.host();
    let build = lab.build(&format!("network-{}-{side:?}", mode.name).to_lowercase())?;
    let build = match side {
        Side::Pull => {
            base_image::store(
                &registry,
                "app",
                &[TarBuilder::new().file("base", &content[..SMALL]).bytes()],
            );
            let text = format!("FROM {host}/app:latest\nCOPY Dockerfile /\n");
            build.dockerfile(&text)?.arg("--no-push").arg("--oci-layout-path=layout")
        }
        Side::Push | Side::Both => {
            // What goes in one piece costs less.
            let pieces = mode.faults.iter().any(|(subject, ..)| *subject == Subject::UploadPatch);
            let content = if pieces { content } else { &content[..SMALL] };
            let build = build.dockerfile("FROM scratch\nCOPY file /\n")?.file("file", content)?;
            build.arg(format!("--destination={host}/app:latest")).arg("--verify-push")
        }
    };
    mode.apply(&registry);
    let build = build.deadline(Duration::from_secs(60));
    login(&build.directory, &host)?;
    let command = build.command().env("DOCKER_CONFIG", build.directory.join("docker"));
    let finished = command.finish()?;
    let log = &finished.stderr;
    match mode.outcome {
        Outcome::Good => anyhow::ensure!(finished.code == Some(0), "{log}"),
        Outcome::Bad(text) => {
            anyhow::ensure!(finished.code == Some(1) && log.contains(text), "no `{text}` in {log}");
        }
        Outcome::Either => anyhow::ensure!(matches!(finished.code, Some(0 | 1)), "{log}"),
    }
    anyhow::ensure!(!log.contains("panicked") && !log.contains('\u{1b}'), "{log}");
    for secret in [PASSWORD, ENCODED] {
        anyhow::ensure!(!log.contains(secret), "a secret of {USER} in {log}");
    }
    let longest = registry.longest_failure();
    anyhow::ensure!(longest <= 10, "{longest} requests in a row fail: {:#?}", registry.log());
    anyhow::ensure!(registry.leaks() == 0, "credentials at the other host");
    anyhow::ensure!(registry.missing().is_empty(), "a tag without {:?}", registry.missing());
    if finished.code == Some(0) && side != Side::Pull {
        anyhow::ensure!(registry.tag("app", "latest").is_some(), "there is no tag: {log}");
    }
    Ok(())
}

fn login(directory: &Path, host: &str) -> Result<()> {
    let config = directory.join("docker");
    std::fs::create_dir(&config)?;
    let text = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{ENCODED}\"}}}}}}");
    Ok(std::fs::write(config.join("config.json"), text)?)
}

/// Bytes that do not compress.
fn noise() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut bytes = Vec::with_capacity(LARGE + 8);
    while bytes.len() < LARGE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
