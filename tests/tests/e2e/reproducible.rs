//! One build, one digest: with an epoch, nothing of where, when and by whom it is built is in the
//! image.
//!
//! Each case is built three times, in surroundings as different as one machine has them. Sources
//! are younger than the epoch throughout: an older time is part of the content, and kept.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Lab, tool};
use serde_json::Value;

use crate::cases::copy_context;
use crate::{Test, root_test};

/// Cases with every kind of source, and steps that run.
const CASES: &[&str] = &[
    "add-archives",
    "copy-links",
    "copy-odd-names",
    "copy-over",
    "run-modes",
    "run-removes",
    "stages",
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = CASES
        .iter()
        .map(|name| {
            root_test(format!("reproducible::{name}_has_one_digest"), move |lab| check(lab, name))
        })
        .collect();
    tests.push(root_test("reproducible::only_what_is_new_is_clamped", only_what_is_new));
    tests
}

/// 2001-09-09, before any file of a clone.
const EPOCH: &str = "1000000000";

/// Everything around a build that the image must not depend on.
struct Surroundings {
    umask: &'static str,
    /// When the sources were last changed.
    time: &'static str,
    owner: &'static str,
    /// The sources come to be in another order, and so have other inodes.
    reversed: bool,
    /// Programs that start the executor.
    through: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
}

const SURROUNDINGS: &[Surroundings] = &[
    Surroundings {
        umask: "022",
        time: "2020-01-01T00:00:00Z",
        owner: "0:0",
        reversed: false,
        through: &[],
        environment: &[("SOURCE_DATE_EPOCH", EPOCH)],
        arguments: &[],
    },
    Surroundings {
        umask: "077",
        time: "2026-05-05T05:05:05.123456789Z",
        owner: "1234:5678",
        reversed: true,
        through: &["taskset", "--cpu-list", "0"],
        environment: &[
            ("SOURCE_DATE_EPOCH", EPOCH),
            ("HOME", "/nowhere"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("TZ", "Asia/Tokyo"),
            ("USER", "somebody"),
        ],
        arguments: &["--reproducible"],
    },
    Surroundings {
        umask: "000",
        time: "2035-12-31T23:59:59Z",
        owner: "65534:65534",
        reversed: true,
        through: &["nice", "--adjustment=1"],
        // The build argument goes first.
        environment: &[("SOURCE_DATE_EPOCH", "5")],
        arguments: &["--build-arg=SOURCE_DATE_EPOCH=1000000000"],
    },
];

fn check(lab: &Arc<Lab>, case: &str) -> Result<()> {
    let mut digests = Vec::new();
    for surroundings in SURROUNDINGS {
        digests.push(digest(lab, case, surroundings)?);
    }
    ensure!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    Ok(())
}

/// Builds the case in these surroundings; the digest of the image.
fn digest(lab: &Arc<Lab>, case: &str, surroundings: &Surroundings) -> Result<String> {
    let build = lab.build(case)?;
    let (directory, context) = (build.directory.clone(), build.directory.join("context"));
    let plain = lab.scratch("context")?;
    copy_context(&kaniko_tests::repository().join("tests/cases").join(case), &plain)?;
    copy_in_order(&plain, &context, surroundings.reversed)?;
    tool("chown").args(["-h", "-R", surroundings.owner]).arg(&context).read()?;
    tool("find")
        .arg(&context)
        .args(["-depth", "-exec", "touch", "-h", "-d", surroundings.time, "{}", "+"])
        .read()?;
    let temporary = directory.join("temporary");
    std::fs::create_dir(&temporary)?;
    let file = directory.join("digest");
    let mut executor = tool("sh")
        .args(["-c", "umask $1; shift; exec \"$@\"", "sh", surroundings.umask])
        .args(surroundings.through)
        .arg(lab.executor())
        .args(build.arguments())
        .args(surroundings.arguments)
        .args(["--isolation=namespaces", "--no-push"])
        .arg(format!("--kaniko-dir={}", directory.join("state").display()))
        .arg(format!("--digest-file={}", file.display()))
        .env("TMPDIR", &temporary)
        .current_dir(&directory);
    for (name, value) in surroundings.environment {
        executor = executor.env(name, value);
    }
    build.ended(executor.finish()?).succeeded()?;
    Ok(std::fs::read_to_string(&file)?)
}

/// Copies a tree; the names of each directory are made in this order.
fn copy_in_order(from: &Path, to: &Path, reversed: bool) -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(from)? {
        names.push(entry?.file_name());
    }
    names.sort();
    if reversed {
        names.reverse();
    }
    for name in names {
        let (source, target) = (from.join(&name), to.join(&name));
        let metadata = source.symlink_metadata()?;
        if metadata.is_dir() {
            std::fs::create_dir(&target)?;
            std::fs::set_permissions(&target, metadata.permissions())?;
            copy_in_order(&source, &target, reversed)?;
        } else if metadata.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// The document in a layout that a descriptor is of.
fn document(layout: &Path, descriptor: &Value) -> Result<Value> {
    let text = std::fs::read(blob(layout, descriptor))?;
    Ok(serde_json::from_slice(&text)?)
}

fn blob(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Documents say the epoch, new layers hold nothing younger, and what comes from the base image is
/// as it was; the formats are those that were asked for.
fn only_what_is_new(lab: &Arc<Lab>) -> Result<()> {
    let base = lab
        .build("clamped-base")?
        .dockerfile("ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN echo base > /base\n")?
        .pushed()?
        .image()?;
    let build = lab.build("clamped")?.file("old", "old")?.file("young", "young")?.dockerfile(
        "ARG REGISTRY\nFROM ${REGISTRY}/e2e/clamped-base\nCOPY old young /files/\n\
         RUN echo new > /new\nWORKDIR /there\n",
    )?;
    let old = build.directory.join("context/old");
    tool("touch").args(["-d", "1960-06-06T06:06:06Z"]).arg(old).read()?;
    let layout = build.directory.join("layout");
    let outcome = build
        .arg(format!("--oci-layout-path={}", layout.display()))
        .arg("--reproducible")
        .arg("--compression=zstd")
        .arg("--image-format=oci")
        .arg("--no-push")
        .run()?;
    outcome.succeeded()?;
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json"))?)?;
    let manifest = document(&layout, &index["manifests"][0])?;
    let config = document(&layout, &manifest["config"])?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();

    let (layers, below) = (list(&manifest["layers"]), list(&base.manifest["layers"]));
    ensure!(layers.len() == below.len() + 3, "{manifest}");
    let digests = |layers: &[Value]| -> Vec<Value> {
        layers.iter().map(|layer| layer["digest"].clone()).collect()
    };
    ensure!(digests(&layers[..below.len()]) == digests(&below), "{manifest}");

    let (history, before) = (list(&config["history"]), list(&base.config["history"]));
    ensure!(history[..before.len()] == before[..], "{config}");
    let epoch = "1970-01-01T00:00:00Z";
    ensure!(config["created"] == epoch, "{config}");
    ensure!(history[before.len()..].iter().all(|entry| entry["created"] == epoch), "{config}");

    let mut times = Vec::new();
    for layer in &layers[below.len()..] {
        let media_type = layer["mediaType"].as_str().context("a layer has a type")?;
        ensure!(media_type == "application/vnd.oci.image.layer.v1.tar+zstd", "{manifest}");
        let listing = tool("tar")
            .args(["--zstd", "--utc", "--full-time", "-tvf"])
            .arg(blob(&layout, layer))
            .read()?;
        times.extend(listing.lines().map(str::to_owned));
    }
    let young = |line: &&String| !line.contains(" 1970-01-01 00:00:00 ");
    let kept: Vec<&String> = times.iter().filter(young).collect();
    let [kept] = kept.as_slice() else { anyhow::bail!("{times:?}") };
    ensure!(kept.contains(" 1960-06-06 06:06:06 files/old"), "{times:?}");
    Ok(())
}
