//! Caches that are damaged, full, away, slow, or somebody else's: the build is made all the same, and
//! of the right files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Build, Lab, Outcome, tool};
use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::tar_builder::TarBuilder;

use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("caching_faults::a_damaged_layer_is_built_again", damaged),
        root_test("caching_faults::a_damaged_layer_that_only_an_output_needs", damaged_output),
        root_test("caching_faults::records_that_are_none", records),
        root_test("caching_faults::a_registry_with_any_fault", faults),
        root_test("caching_faults::a_registry_that_is_away", away),
        root_test("caching_faults::a_layer_that_the_registry_damages", damaged_far),
        root_test("caching_faults::an_entry_under_another_key", moved),
        root_test("caching_faults::a_directory_that_is_full", full),
        root_test("caching_faults::a_directory_that_cannot_be_written", read_only),
    ]
}

const EARLIER: &str = "RUN echo one > /one\nCOPY file /file\nRUN cat /one /file > /both\n";
/// A step that needs the files of all before.
const LATER: &str = "RUN cat /one /file /both > /all\n";
const ALL: &str = "one\ncontent\none\ncontent\n";

fn build(lab: &Arc<Lab>, name: &str, steps: &str, cache: &str) -> Result<Build> {
    let text = format!("FROM {}/busybox\n{steps}", lab.host());
    let build = lab.build(name)?.dockerfile(&text)?.file("file", "content\n")?;
    Ok(build.arg("--cache").arg(format!("--cache-repo={cache}")).arg("--reproducible"))
}

/// The image has the files that the steps make, whatever the cache said.
fn is_right(outcome: &Outcome) -> Result<()> {
    outcome.succeeded()?;
    let root = outcome.image()?.unpack()?;
    let all = std::fs::read_to_string(root.join("all"))?;
    ensure!(all == ALL, "{all:?}: {}", outcome.text());
    Ok(())
}

fn warnings(outcome: &Outcome) -> usize {
    outcome.finished.stderr.lines().filter(|line| line.contains("level=warning")).count()
}

/// The files of a cache below a directory, largest first.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

/// A valid layer with a file that must never be seen.
fn canary() -> Vec<u8> {
    TarBuilder::new().file("canary", b"tweet").bytes()
}

/// Every layer is damaged in one of these ways.
type Damage = fn(&Path) -> Result<()>;

const DAMAGES: &[(&str, Damage)] = &[
    ("another layer", |path| Ok(std::fs::write(path, canary())?)),
    ("half of it", |path| {
        let length = path.metadata()?.len();
        Ok(std::fs::File::options().write(true).open(path)?.set_len(length / 2)?)
    }),
    ("nothing", |path| Ok(std::fs::write(path, "")?)),
    ("a byte", |path| {
        let mut bytes = std::fs::read(path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Ok(std::fs::write(path, bytes)?)
    }),
    ("gone", |path| Ok(std::fs::remove_file(path)?)),
    ("a link", |path| {
        std::fs::remove_file(path)?;
        Ok(std::os::unix::fs::symlink("/etc/passwd", path)?)
    }),
    ("a pipe", |path| {
        std::fs::remove_file(path)?;
        tool("mkfifo").arg(path).read().map(drop)
    }),
    ("a directory", |path| {
        std::fs::remove_file(path)?;
        Ok(std::fs::create_dir(path)?)
    }),
];

fn damaged(lab: &Arc<Lab>) -> Result<()> {
    let steps = format!("{EARLIER}{LATER}");
    let expected = build(lab, "sound", &steps, "dir:sound")?.pushed()?.image()?.digest;
    for scheme in ["dir", "oci"] {
        for (what, damage) in DAMAGES {
            let shared = lab.scratch("damaged")?;
            let cache = format!("{scheme}:{}/cache", shared.display());
            let build = |steps: &str| build(lab, "damaged", steps, &cache);
            build(EARLIER)?.pushed()?;
            let mut count = 0;
            for path in files(&shared)? {
                if path.to_string_lossy().contains("blobs/sha256") {
                    damage(&path).with_context(|| format!("{what}: {}", path.display()))?;
                    count += 1;
                }
            }
            ensure!(count >= 3, "{scheme}: only {count} blobs");
            let again = build(&steps)?.deadline(Duration::from_secs(60)).push().run()?;
            is_right(&again).with_context(|| format!("{scheme}, {what}"))?;
            let digest = again.image()?.digest;
            ensure!(digest == expected, "{scheme}, {what}: another image: {}", again.text());
        }
    }
    Ok(())
}

/// The steps are all cached, but a file is written that needs the layers.
fn damaged_output(lab: &Arc<Lab>) -> Result<()> {
    let shared = lab.scratch("damaged-output")?;
    let cache = format!("dir:{}", shared.display());
    let steps = format!("{EARLIER}{LATER}");
    let build = || build(lab, "damaged-output", &steps, &cache);
    build()?.pushed()?;
    for path in files(&shared.join("blobs"))? {
        std::fs::write(&path, canary())?;
    }
    let again = build()?.arg("--tar-path=image.tar").push().run()?;
    is_right(&again)
}

/// What a record may have become; the step is carried out.
fn records(lab: &Arc<Lab>) -> Result<()> {
    let steps = format!("{EARLIER}{LATER}");
    let others: &[&[u8]] = &[b"", b"{", b"null", b"[]", b"{\"version\":99}", &[0xff; 100]];
    for other in others {
        let shared = lab.scratch("records")?;
        let build = || build(lab, "records", &steps, &format!("dir:{}", shared.display()));
        build()?.pushed()?;
        for path in files(&shared.join("records"))? {
            std::fs::write(&path, other)?;
        }
        let again = build()?.push().run()?;
        is_right(&again)?;
        ensure!(warnings(&again) >= 1, "no warning: {}", again.text());
        // They are replaced.
        let known = build()?.pushed()?;
        let missed = known.missed().len();
        ensure!(missed == 0, "{missed} missed: {}", known.text());
    }
    Ok(())
}

/// Requests of the cache alone fail: the image goes to another registry.
fn faults(lab: &Arc<Lab>) -> Result<()> {
    let steps = format!("{EARLIER}{LATER}");
    let text = || String::from("{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}");
    let cases: Vec<(Subject, Action)> = vec![
        (Subject::Any, Action::Status(500, vec![], text())),
        (Subject::Any, Action::Status(401, vec![], text())),
        (Subject::Any, Action::Status(403, vec![], text())),
        (Subject::Any, Action::Reset),
        (Subject::ManifestGet, Action::Status(503, vec![], text())),
        (Subject::ManifestGet, Action::Flip),
        (Subject::ManifestGet, Action::CutBody),
        (Subject::BlobGet, Action::Flip),
        (Subject::BlobGet, Action::Status(404, vec![], text())),
        (Subject::BlobHead, Action::Status(404, vec![], text())),
        (Subject::UploadPost, Action::Status(403, vec![], text())),
        (Subject::UploadPatch, Action::Reset),
        (Subject::UploadPut, Action::Status(500, vec![], text())),
        (Subject::ManifestPut, Action::Status(405, vec![], text())),
    ];
    for (subject, action) in cases {
        let registry = FaultRegistry::start();
        let cache = format!("{}/cache", registry.host());
        build(lab, "faults", EARLIER, &cache)?.pushed()?;
        let shown = format!("{subject:?} {action:?}");
        registry.fault(subject, None, action);
        let again = build(lab, "faults", &steps, &cache)?;
        let again = again.deadline(Duration::from_secs(60)).push().run()?;
        is_right(&again).with_context(|| shown.clone())?;
        ensure!(!again.finished.stderr.contains("panicked"), "{shown}: {}", again.text());
    }
    Ok(())
}

fn away(lab: &Arc<Lab>) -> Result<()> {
    // Port 1 is nobody's.
    let outcome = build(lab, "away", &format!("{EARLIER}{LATER}"), "127.0.0.1:1/cache")?;
    let outcome = outcome.deadline(Duration::from_secs(60)).push().run()?;
    is_right(&outcome)?;
    let warnings = warnings(&outcome);
    ensure!((1..=3).contains(&warnings), "{warnings} warnings: {}", outcome.text());
    Ok(())
}

/// What a registry sends in place of a layer is not believed.
fn damaged_far(lab: &Arc<Lab>) -> Result<()> {
    let registry = FaultRegistry::start();
    let cache = format!("{}/cache", registry.host());
    build(lab, "damaged-far", EARLIER, &cache)?.pushed()?;
    registry.fault(Subject::BlobGet, None, Action::Flip);
    let steps = format!("{EARLIER}{LATER}");
    is_right(&build(lab, "damaged-far", &steps, &cache)?.push().run()?)
}

/// Somebody puts one entry under the key of another: it is recognised.
fn moved(lab: &Arc<Lab>) -> Result<()> {
    let repository = format!("{}/e2e/moved/cache", lab.host());
    let steps = format!("{EARLIER}{LATER}");
    build(lab, "moved", &steps, &repository)?.pushed()?;
    let tags = tool("skopeo")
        .args(["list-tags", "--tls-verify=false"])
        .arg(format!("docker://{repository}"))
        .read()?;
    let tags: serde_json::Value = serde_json::from_str(&tags)?;
    let tags: Vec<&str> =
        tags["Tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str()).collect();
    ensure!(tags.len() >= 4, "{tags:?}");
    // Each goes under the key of the next.
    let copy = |from: &str, to: &str| {
        tool("skopeo")
            .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .arg(format!("docker://{repository}:{from}"))
            .arg(format!("docker://{repository}:{to}"))
            .read()
    };
    copy(tags[0], "kept")?;
    for pair in tags.windows(2) {
        copy(pair[1], pair[0])?;
    }
    copy("kept", tags[tags.len() - 1])?;
    let again = build(lab, "moved", &steps, &repository)?.push().run()?;
    is_right(&again)?;
    ensure!(again.cached().is_empty(), "{}", again.text());
    Ok(())
}

fn full(lab: &Arc<Lab>) -> Result<()> {
    let directory = lab.scratch("full")?;
    let steps = format!("RUN head -c 3000000 /dev/urandom > /large\n{EARLIER}{LATER}");
    let build = build(lab, "full", &steps, &format!("dir:{}", directory.display()))?.push();
    let script = "set -e; mount -t tmpfs -o size=1m none \"$1\"; place=$1; shift; code=0; \
                  \"$@\" || code=$?; umount \"$place\"; exit $code";
    let starter = tool("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&directory)
        .arg(lab.executor());
    let finished = build.command_by(starter).finish()?;
    let outcome = build.ended(finished);
    is_right(&outcome)?;
    ensure!(warnings(&outcome) >= 1, "no warning: {}", outcome.text());
    Ok(())
}

/// An ordinary user may read it, and that is all.
fn read_only(lab: &Arc<Lab>) -> Result<()> {
    let directory = lab.scratch("read-only")?;
    let cache = format!("dir:{}", directory.display());
    let steps = format!("{EARLIER}{LATER}");
    build(lab, "read-only", EARLIER, &cache)?.pushed()?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o555))?;
    let build = build(lab, "read-only", &steps, &cache)?.push();
    let script =
        "set -e; mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"; shift; exec \"$@\"";
    let starter = tool("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&directory)
        .arg(lab.executor());
    let finished = build.command_by(starter).finish()?;
    let outcome = build.ended(finished);
    is_right(&outcome)?;
    let hits = outcome.cached().len();
    ensure!(hits == 3, "{hits} hits: {}", outcome.text());
    Ok(())
}
