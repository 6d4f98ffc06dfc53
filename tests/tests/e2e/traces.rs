//! What builds leave of themselves: on private roots nothing but their state and what was asked
//! for, on the machine as in the state directory that others build in.

use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Build, Lab, Tool, tool, wait};

use crate::{Test, asked_rounds, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("traces::a_build_writes_nothing_else_on_the_machine", on_an_overlay),
        root_test("traces::builds_that_share_their_state_are_as_if_alone", shared_state),
    ]
}

/// Stages, mounts of each kind, owners, removals and what a step finds to spoil.
const EVERYTHING: &str = "ARG REGISTRY
FROM ${REGISTRY}/busybox AS one
RUN --mount=type=cache,target=/c,sharing=locked --mount=type=tmpfs,target=/t \\
    --mount=type=bind,source=tree,target=/b,rw touch /c/f /t/f /b/f
RUN --mount=type=secret,id=s,target=/etc/secret wc -c < /etc/secret > /size
RUN chmod 600 /dev/null /dev/zero; rm -f /dev/tty; echo x > /etc/hosts; umount /proc; true
FROM ${REGISTRY}/busybox
RUN --mount=from=one,target=/one cp /one/size /size && chown 33:33 /size && rm /bin/vi
RUN --network=none mkdir -p /root/x /home/x /tmp/x /var/tmp/x && (setsid sleep 91301 &)
COPY --from=one /size /copied/
COPY tree /copied/
COPY --chown=www-data tree /owned/
ADD archive.tar /unpacked/
USER www-data
WORKDIR /tmp/work
RUN id > id
";

fn prepare(lab: &Arc<Lab>, name: &str) -> Result<Build> {
    let archive = testkit::tar_builder::TarBuilder::new().file("a", "a").fifo("p").end();
    Ok(lab
        .build(name)?
        .dockerfile(EVERYTHING)?
        .file("tree/a", "a")?
        .file("tree/b/c", "c")?
        .file("archive.tar", archive)?
        .arg("--secret=id=s,env=PLANTED_SECRET")
        .arg("--build-arg=SOURCE_DATE_EPOCH=1000000000"))
}

/// Runs a command on a fresh overlay of the machine's root, with the lab at `/mnt`, then lists
/// what is in the overlay's upper directory, and the rights of the devices before and after.
const SCRIPT: &str = "set -e
scratch=$1 lab=$2; shift 2
mount -t tmpfs tmpfs $scratch
mkdir $scratch/upper $scratch/work $scratch/root
mount -t overlay overlay -o lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work $scratch/root
mount --rbind /proc $scratch/root/proc
mount --rbind /dev $scratch/root/dev
mount --rbind /sys $scratch/root/sys
mount --rbind $lab $scratch/root/mnt
devices() { stat -c '%n %a %u:%g' /dev/null /dev/zero /dev/full /dev/random /dev/tty; }
devices > $scratch/before
code=0
chroot $scratch/root \"$@\" >&2 || code=$?
devices | cmp - $scratch/before
cd $scratch/upper
find . -mindepth 1 | sort
exit $code
";

fn on_an_overlay(lab: &Arc<Lab>) -> Result<()> {
    let build = prepare(lab, "on-an-overlay")?.push();
    let scratch = lab.scratch("overlay")?;
    let work = scratch.parent().context("the lab has a directory")?.to_owned();
    let inside = |path: &Path| -> Result<String> {
        Ok(Path::new("/mnt").join(path.strip_prefix(&work)?).display().to_string())
    };
    let mut arguments = build.arguments();
    arguments[0] = format!("--context={}", inside(&build.directory.join("context"))?);
    let finished = tool("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c", SCRIPT, "sh"])
        .args([&scratch, &work])
        .arg(inside(&lab.executor())?)
        .args(arguments)
        .args(["--isolation=namespaces", "--kaniko-dir=/e2e-state"])
        .args(["--digest-file=/e2e-output/digest", "--tar-path=/e2e-output/image.tar"])
        .env("PLANTED_SECRET", "do-not-show")
        .finish()?;
    let outcome = build.ended(finished);
    outcome.succeeded()?;
    let made: Vec<&str> = outcome.finished.stdout.lines().collect();
    let asked = |path: &&&str| {
        let of_state = path.starts_with("./e2e-state/");
        let output =
            ["./e2e-state", "./e2e-output", "./e2e-output/digest", "./e2e-output/image.tar"];
        of_state || output.contains(path)
    };
    let (asked, other): (Vec<&str>, Vec<&str>) = made.iter().partition(|path| asked(path));
    ensure!(asked.contains(&"./e2e-output/digest"), "no digest: {made:?}");
    ensure!(other.is_empty(), "the build left {other:?}");
    let state = |path: &&&str| path.starts_with("./e2e-state/builds/") || path.contains("/tmp/");
    let left: Vec<_> = asked.iter().filter(state).collect();
    ensure!(left.is_empty(), "the build left {left:?} in its state");
    Ok(())
}

fn command(lab: &Lab, build: &Build, state: &Path) -> Tool {
    tool(lab.executor())
        .args(build.arguments())
        .args(["--isolation=namespaces", "--no-push"])
        .arg(format!("--kaniko-dir={}", state.display()))
        .arg(format!("--digest-file={}", build.directory.join("digest").display()))
        .env("PLANTED_SECRET", "do-not-show")
        .current_dir(&build.directory)
}

fn ended(build: Build, child: Child) -> Result<String> {
    let file = build.directory.join("digest");
    build.ended(wait(child, Duration::from_secs(120))?).succeeded()?;
    Ok(std::fs::read_to_string(file)?)
}

fn shared_state(lab: &Arc<Lab>) -> Result<()> {
    let alone = {
        let build = prepare(lab, "alone")?;
        let child = command(lab, &build, &build.directory.join("state")).spawn()?;
        ended(build, child)?
    };
    let state = lab.scratch("shared-state")?;
    for round in 0..asked_rounds().unwrap_or(3) {
        let build = prepare(lab, "in-a-row")?;
        let child = command(lab, &build, &state).spawn()?;
        let digest = ended(build, child)?;
        ensure!(digest == alone, "{digest} in round {round}, {alone} alone");
    }
    let mut at_once = Vec::new();
    for _ in 0..4 {
        let build = prepare(lab, "at-once")?;
        let child = command(lab, &build, &state).spawn()?;
        at_once.push((build, child));
    }
    for (build, child) in at_once {
        let digest = ended(build, child)?;
        ensure!(digest == alone, "{digest} beside others, {alone} alone");
    }
    for directory in ["builds", "store/tmp"] {
        let left: Vec<_> = std::fs::read_dir(state.join(directory))?.flatten().collect();
        ensure!(left.is_empty(), "{left:?} was left");
    }
    Ok(())
}
