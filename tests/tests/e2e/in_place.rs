//! What is in a pod after a build in place, by the flags that say so.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use kaniko_tests::Lab;
use kaniko_tests::pod::{Pod, Seccomp};

use crate::pods::{run_in, with_context};
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("in_place::what_a_pod_holds_after_a_build", afterwards),
        root_test("in_place::files_that_no_step_needs", materialized),
        root_test("in_place::a_cache_in_the_containers_own_tree", caches),
        root_test("in_place::private_roots_take_the_same_flags", on_private_roots),
    ]
}

const STEPS: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN echo x > /made\n";
const FAILS: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN echo x > /made && exit 3\n";
const NO_STEPS: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nENV A=b\n";

/// Whether something is there afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stays {
    /// What the build made or unpacked.
    image: bool,
    /// What the pod brought: alone in a directory, and beside what the runtime mounts.
    pods: bool,
    /// Layers in the state directory.
    blobs: bool,
}

const IMAGE: Stays = Stays { image: true, pods: false, blobs: true };
const RESTORED: Stays = Stays { image: false, pods: true, blobs: false };
const EMPTY: Stays = Stays { image: false, pods: false, blobs: false };

/// Builds in an ordinary pod, and looks at what the pod holds then; and once more with the state
/// on a volume, where stages are parked in `/` itself.
fn check(
    lab: &Arc<Lab>,
    dockerfile: &str,
    flags: &[&str],
    code: i32,
    expected: Stays,
) -> Result<()> {
    check_in(lab, dockerfile, flags, code, expected, None)
}

fn check_on_volume(lab: &Arc<Lab>, flags: &[&str], expected: Stays) -> Result<()> {
    let volume = lab.scratch("volume")?;
    let flags: Vec<&str> = flags.iter().copied().chain(["--kaniko-dir=/state"]).collect();
    check_in(lab, STEPS, &flags, 0, Stays { blobs: false, ..expected }, Some(&volume))
}

fn check_in(
    lab: &Arc<Lab>,
    dockerfile: &str,
    flags: &[&str],
    code: i32,
    expected: Stays,
    volume: Option<&Path>,
) -> Result<()> {
    let build = lab.build("in-place")?.dockerfile(dockerfile)?.arg("--no-push");
    let build = flags.iter().fold(build, |build, flag| build.arg(*flag));
    let pod = Pod::new(lab, "in-place", Seccomp::Default)?;
    let pod = pod.file("tools/tool", "of the pod\n")?.file("etc/of-the-pod", "x\n")?;
    let pod = with_context(&build, pod);
    let pod = volume.into_iter().fold(pod, |pod, volume| pod.mount(volume, "/state", &["rw"]));
    let outcome = run_in(build, &pod)?;
    let wrong = |what: &str| anyhow!("{flags:?}: {what}: {}", outcome.text());
    if outcome.finished.code != Some(code) {
        return Err(wrong("the status is another"));
    }
    let files = pod.files()?;
    let below = |place: &str| files.keys().any(|path| path.starts_with(place));
    let file = |path: &str, content: &str| {
        files.get(path).is_some_and(|found| *found == format!("f 0644 0:0 {content:?}"))
    };
    let both = |one: bool, other: bool| match one == other {
        true => Ok(one),
        false => Err(wrong("one file without the other")),
    };
    let found = Stays {
        image: below("/bin/busybox"),
        pods: both(file("/tools/tool", "of the pod\n"), file("/etc/of-the-pod", "x\n"))?,
        blobs: below("/kaniko/store/blobs/sha256/"),
    };
    if found != expected {
        return Err(wrong(&format!("{found:?}, not {expected:?}")));
    }
    if below("/kaniko/builds/") || below("/.kaniko-parked") {
        return Err(wrong("the build's directory is left behind"));
    }
    match both(file("/made", "x\n"), found.image && dockerfile == STEPS) {
        Ok(_) => Ok(()),
        Err(_) => Err(wrong("/made is not as the rest of the image")),
    }
}

fn afterwards(lab: &Arc<Lab>) -> Result<()> {
    check(lab, STEPS, &[], 0, IMAGE)?;
    check(lab, STEPS, &["--pre-cleanup"], 0, IMAGE)?;
    check(lab, STEPS, &["--cleanup"], 0, RESTORED)?;
    check(lab, STEPS, &["--pre-cleanup", "--cleanup"], 0, EMPTY)?;
    check(lab, STEPS, &["--pre-cleanup", "--cleanup", "--preserve-context"], 0, RESTORED)?;
    check_on_volume(lab, &[], IMAGE)?;
    check_on_volume(lab, &["--cleanup"], RESTORED)?;
    check_on_volume(lab, &["--pre-cleanup", "--cleanup"], EMPTY)?;
    // Nobody has an image for what was there.
    let failed = Stays { blobs: true, ..RESTORED };
    check(lab, FAILS, &["--pre-cleanup", "--cleanup"], 3, failed)
}

/// It stays where it is while stages are switched, and gets into no image.
fn caches(lab: &Arc<Lab>) -> Result<()> {
    let text = "ARG REGISTRY\nFROM ${REGISTRY}/busybox AS one\nRUN echo one > /one\n\
                FROM ${REGISTRY}/busybox\nRUN echo x > /made\nCOPY --from=one /one /one\n";
    let build = lab.build("in-place-cache")?.dockerfile(text)?.push().arg("--cache");
    let build = build.arg("--cache-repo=oci:/layers/cache").arg("--layer-cache-dir=/near");
    let pod = with_context(&build, Pod::new(lab, "in-place-cache", Seccomp::Default)?);
    let outcome = run_in(build, &pod)?;
    outcome.succeeded()?;
    let (image, left) = (outcome.image()?.tree()?, pod.files()?);
    for place in ["/layers/cache:", "/near/records/"] {
        ensure!(left.keys().any(|path| path.starts_with(place)), "no {place}: {}", outcome.text());
    }
    let strange =
        image.keys().find(|path| path.starts_with("/layers") || path.starts_with("/near"));
    ensure!(strange.is_none(), "{strange:?} is in the image");
    Ok(())
}

fn materialized(lab: &Arc<Lab>) -> Result<()> {
    check(lab, NO_STEPS, &[], 0, RESTORED)?;
    check(lab, NO_STEPS, &["--materialize"], 0, IMAGE)?;
    check(lab, NO_STEPS, &["--materialize", "--cleanup"], 0, RESTORED)
}

fn on_private_roots(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("private-flags")?.dockerfile(NO_STEPS)?.arg("--no-push");
    let flags = ["--pre-cleanup", "--cleanup", "--preserve-context", "--materialize"];
    let build = flags.iter().fold(build, |build, flag| build.arg(*flag));
    let outcome = build.run()?;
    outcome.succeeded()?;
    let said = &outcome.finished.stderr;
    let blobs = outcome.directory.join("state/store/blobs/sha256");
    let left = std::fs::read_dir(&blobs)?.count();
    match said.contains("Unpacked 1 layers") && said.contains("private root") && left == 0 {
        true => Ok(()),
        false => Err(anyhow!("{left} blobs are left: {}", outcome.text())),
    }
}
