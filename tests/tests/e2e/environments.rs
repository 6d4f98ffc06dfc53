//! Where a build can happen: as root and as an ordinary user on a host, in pods, in an empty root.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::user::{self, User};
use kaniko_tests::{Lab, Outcome, PulledImage, tool};

use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("environments::an_ordinary_user_with_subordinate_ids", with_subordinate_ids),
        root_test("environments::an_ordinary_user_without_them_builds_one_owner", one_owner),
        root_test(
            "environments::an_ordinary_user_without_them_is_told_what_is_missing",
            two_owners,
        ),
        root_test("environments::without_newuidmap_it_is_named", without_newuidmap),
        root_test("environments::a_pod_with_dockers_profile_builds_in_place", pod_in_place),
        root_test("environments::a_pod_without_a_profile_has_namespaces", pod_namespaces),
        root_test("environments::both_rungs_make_the_same_image", same_image),
        root_test("environments::a_failing_step_in_a_pod", pod_failure),
        root_test("environments::a_host_is_no_container", host_is_no_container),
        root_test("environments::an_empty_root", empty_root),
    ]
}

/// Two stages, two owners, files that the base has and a step removes.
const TWO_STAGES: &str = "ARG REGISTRY
FROM ${REGISTRY}/busybox AS build
RUN echo app:x:1234:1234::/home/app:/bin/sh >> /etc/passwd && mkdir /out && echo data > /out/file
RUN chown app:1234 /out/file
RUN ln -s file /out/link && rm /bin/vi && echo gone > /tmp/gone
FROM ${REGISTRY}/busybox
COPY --from=build /out /out/
RUN test ! -e /tmp/gone && test -e /bin/vi && cat /out/link > /copy && rm /bin/ed
RUN test -c /dev/null && test -d /proc/self && echo x > /dev/null
COPY late.txt /etc/late.txt
WORKDIR /out
CMD [\"cat\", \"file\"]
";

fn check_two_stages(image: &PulledImage) -> Result<()> {
    let files = image.tree()?;
    let expect = |path: &str, found: &str| -> Result<()> {
        let line = files.get(path).map(String::as_str);
        ensure!(line == Some(found), "{path} is {line:?}, not {found}");
        Ok(())
    };
    expect("/out/file", "f 0644 1234:1234 \"data\\n\"")?;
    expect("/copy", "f 0644 0:0 \"data\\n\"")?;
    expect("/etc/late.txt", "f 0644 0:0 \"late\\n\"")?;
    ensure!(files.get("/out/link").is_some_and(|line| line.ends_with("-> file")), "no link");
    ensure!(files.contains_key("/bin/vi") && !files.contains_key("/bin/ed"), "wrong applets");
    for path in [
        "/tmp/gone",
        "/kaniko",
        "/workspace",
        "/proc",
        "/dev",
        "/sys",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/hostname",
    ] {
        ensure!(!files.contains_key(path), "{path} of the build is in the image");
    }
    ensure!(image.layers() == 6, "{} layers", image.layers());
    Ok(())
}

/// Runs a build of this context as a user, with a state directory of the user's own.
fn run_as(lab: &Arc<Lab>, user: User, name: &str, dockerfile: &str) -> Result<Outcome> {
    let build = lab.build(name)?.dockerfile(dockerfile)?.file("late.txt", "late\n")?.push();
    let state = build.directory.join("state");
    std::fs::create_dir(&state)?;
    user.own(&build.directory)?;
    let finished = user
        .run(lab.executor())
        .args(build.arguments())
        .arg("--isolation=namespaces")
        .arg(format!("--kaniko-dir={}", state.display()))
        .current_dir(&build.directory)
        .finish()?;
    let outcome = build.ended(finished);
    Ok(outcome)
}

fn with_subordinate_ids(lab: &Arc<Lab>) -> Result<()> {
    let user = user::with_subordinate_ids()?;
    let outcome = run_as(lab, user, "user", TWO_STAGES)?;
    outcome.succeeded()?;
    check_two_stages(&outcome.image()?)
}

fn one_owner(lab: &Arc<Lab>) -> Result<()> {
    let user = user::without_subordinate_ids();
    let dockerfile = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN id -u > /id && rm /bin/vi\n\
                      COPY late.txt /late\n";
    let outcome = run_as(lab, user, "user-one", dockerfile)?;
    outcome.succeeded()?;
    let files = outcome.image()?.tree()?;
    ensure!(
        files.get("/id").is_some_and(|line| line == "f 0644 0:0 \"0\\n\""),
        "{:?}",
        files.get("/id")
    );
    ensure!(files.get("/late").is_some_and(|line| line == "f 0644 0:0 \"late\\n\""), "no /late");
    ensure!(!files.contains_key("/bin/vi"), "/bin/vi was removed");
    Ok(())
}

fn two_owners(lab: &Arc<Lab>) -> Result<()> {
    let user = user::without_subordinate_ids();
    let dockerfile = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nCOPY --chown=1234:1234 late.txt /\n";
    let outcome = run_as(lab, user, "user-two", dockerfile)?;
    outcome.failed(1, &["newuidmap", "/etc/subuid"])?;
    Ok(())
}

/// The same user with subordinate ids, where the program that maps them is not installed.
fn without_newuidmap(lab: &Arc<Lab>) -> Result<()> {
    let user = user::with_subordinate_ids()?;
    let dockerfile = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nCOPY --chown=1234:1234 late.txt /\n";
    let build = lab.build("no-newuidmap")?.dockerfile(dockerfile)?.file("late.txt", "")?.push();
    user.own(&build.directory)?;
    // In a mount namespace of its own, an empty file covers each program.
    let script = "set -e; : > \"$1\"; for p in newuidmap newgidmap; do \
                  mount --bind \"$1\" \"$(command -v $p)\"; done; shift; exec \"$@\"";
    let starter = tool("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c", script, "sh"])
        .arg(build.directory.join("empty"))
        .args(["setpriv", &format!("--reuid={}", user.id), &format!("--regid={}", user.id)])
        .args(["--clear-groups", "--"])
        .arg(lab.executor());
    let finished = build.command_by(starter).finish()?;
    build.ended(finished).failed(1, &["newuidmap"])?;
    Ok(())
}

/// Runs a build in a pod, which finds its rung by itself.
fn run_in_pod(lab: &Arc<Lab>, name: &str, seccomp: Seccomp, dockerfile: &str) -> Result<Outcome> {
    let build = lab.build(name)?.dockerfile(dockerfile)?.file("late.txt", "late\n")?;
    let context = build.directory.join("context");
    let pod = Pod::new(lab, name, seccomp)?.mount(&context, "/workspace", &["ro"]);
    let build = build.push();
    let mut words = build.words_in_pod();
    words.push("--digest-file=/dev/termination-log".to_owned());
    let finished = pod.run(&words)?;
    let log = std::fs::read_to_string(pod.termination_log())?;
    let outcome = build.ended(finished);
    if outcome.finished.code == Some(0) {
        let digest = outcome.image()?.digest;
        ensure!(log == digest, "the termination log is {log:?}, not {digest}");
    }
    Ok(outcome)
}

fn pod_in_place(lab: &Arc<Lab>) -> Result<()> {
    let outcome = run_in_pod(lab, "pod-default", Seccomp::Default, TWO_STAGES)?;
    outcome.succeeded()?;
    ensure!(outcome.finished.stderr.contains("in-place"), "the rung: {}", outcome.text());
    check_two_stages(&outcome.image()?)
}

fn pod_namespaces(lab: &Arc<Lab>) -> Result<()> {
    let outcome = run_in_pod(lab, "pod-unconfined", Seccomp::Unconfined, TWO_STAGES)?;
    outcome.succeeded()?;
    ensure!(outcome.finished.stderr.contains("namespaces"), "the rung: {}", outcome.text());
    check_two_stages(&outcome.image()?)
}

fn same_image(lab: &Arc<Lab>) -> Result<()> {
    // Times of a build are cut off, and the rest must not depend on the rung at all.
    let fixed = |text: &str| format!("{text}ENV LAST=1\n");
    let mut digests = Vec::new();
    let host =
        lab.build("rung-host")?.dockerfile(&fixed(TWO_STAGES))?.file("late.txt", "late\n")?;
    let outcome = host.arg("--reproducible").pushed()?;
    digests.push(outcome.image()?.digest);
    for (name, seccomp) in
        [("rung-in-place", Seccomp::Default), ("rung-namespaces", Seccomp::Unconfined)]
    {
        let build = lab.build(name)?.dockerfile(&fixed(TWO_STAGES))?.file("late.txt", "late\n")?;
        let context = build.directory.join("context");
        let pod = Pod::new(lab, name, seccomp)?.mount(&context, "/workspace", &["ro"]);
        let build = build.arg("--reproducible").push();
        let mut words = vec!["/kaniko/executor".to_owned(), "--context=/workspace".to_owned()];
        words.extend(build.arguments().into_iter().skip(1));
        let finished = pod.run(&words)?;
        let outcome = build.ended(finished);
        outcome.succeeded()?;
        digests.push(outcome.image()?.digest);
    }
    ensure!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    Ok(())
}

fn pod_failure(lab: &Arc<Lab>) -> Result<()> {
    let dockerfile = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN sleep 92001 & exit 42\n";
    for (name, seccomp) in [("pod-fails", Seccomp::Default), ("pod-fails-too", Seccomp::Unconfined)]
    {
        let outcome = run_in_pod(lab, name, seccomp, dockerfile)?;
        outcome.failed(42, &["exit 42"])?;
    }
    Ok(())
}

/// The machine may have been made from a container image and still have its marker. An in-place
/// build asked for here must be refused before anything is touched: it runs in a root of its own,
/// with the machine's view of where that root lies.
fn host_is_no_container(lab: &Arc<Lab>) -> Result<()> {
    let root = lab.scratch("host")?;
    prepare_root(lab, &root, "FROM scratch\nCOPY hello /\n")?;
    let finished = tool("unshare")
        .args(["--mount", "--pid", "--fork", "chroot"])
        .arg(&root)
        .args(["/executor", "--context=/context", "--no-push", "--isolation=in-place"])
        .args(["--kaniko-dir=/state", "--log-format=text"])
        .finish()?;
    ensure!(finished.code == Some(1), "{finished:?}");
    ensure!(finished.stderr.contains("--force"), "{}", finished.stderr);
    ensure!(root.join("context/hello").is_file(), "the refused build touched its root");
    Ok(())
}

fn prepare_root(lab: &Lab, root: &Path, dockerfile: &str) -> Result<()> {
    std::fs::create_dir(root.join("context"))?;
    std::fs::copy(lab.executor(), root.join("executor"))?;
    std::fs::write(root.join("context/Dockerfile"), dockerfile)?;
    std::fs::write(root.join("context/hello"), "hello\n")?;
    Ok(())
}

/// No /proc, no /dev, no /etc: the program alone.
fn empty_root(lab: &Arc<Lab>) -> Result<()> {
    let root = lab.scratch("empty")?;
    prepare_root(lab, &root, "FROM scratch\nCOPY hello /\nCMD [\"/hello\"]\n")?;
    let inside = || tool("unshare").args(["--mount", "--pid", "--fork", "chroot"]).arg(&root);
    let version = inside().args(["/executor", "version"]).read()?;
    ensure!(version.starts_with("Kaniko version :"), "{version}");
    let finished = inside()
        .args(["/executor", "--context=/context", "--no-push", "--oci-layout-path=/layout"])
        .args(["--digest-file=/digest", "--kaniko-dir=/state"])
        .finish()?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let digest = std::fs::read_to_string(root.join("digest")).context("no digest file")?;
    let index = std::fs::read_to_string(root.join("layout/index.json"))?;
    ensure!(digest.len() == 71 && index.contains(&digest), "{digest} is not in {index}");
    Ok(())
}
