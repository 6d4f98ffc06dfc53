//! Pods of other kinds than the usual one: those of PodSecurity `restricted`, where no program can
//! be run and no file be given away, and those that other runtimes make.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::pod::{Pod, Runtime, Seccomp};
use kaniko_tests::{Build, Lab, Outcome, tree};
use testkit::tar_builder::{Member, TarBuilder};

use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("pods::a_restricted_pod_makes_the_image_that_root_makes", restricted),
        root_test("pods::a_restricted_pod_copies_onto_a_base", restricted_on_a_base),
        root_test("pods::a_restricted_pod_refuses_run_before_it_asks_anybody", restricted_run),
        root_test("pods::every_runtimes_files_stay_where_they_are", runtimes),
    ]
}

/// The build's context in the pod, where kaniko looks for it.
pub(crate) fn with_context(build: &Build, pod: Pod) -> Pod {
    pod.mount(&build.directory.join("context"), "/workspace", &["ro"])
}

/// Runs a build in a pod.
pub(crate) fn run_in(build: Build, pod: &Pod) -> Result<Outcome> {
    let words = build.words_in_pod();
    let finished = pod.run(&words)?;
    Ok(build.ended(finished))
}

/// Everything that a layer can say of a file and an ordinary user can give to none.
const COPIES: &str = "FROM scratch AS files
ADD tree.tar /data/
ADD --chown=77:88 tree.tar /given/
COPY --chown=1234:3000000 late.txt /own/late.txt
COPY --chmod=4711 late.txt /own/setuid
COPY --chmod=000 late.txt /own/dark
FROM files AS more
WORKDIR /place/deep
COPY --chown=5:6 <<MORE /inline.txt
inline
MORE
FROM scratch
COPY --from=files /data /data/
COPY --from=files /given/dark /again/
COPY --from=more --chown=9:9 /own /own/
COPY --from=more /inline.txt /place /
COPY --link --chown=3:4 late.txt /linked/
USER 42
WORKDIR /home/user/deep
CMD [\"/none\"]
";

/// An archive of files that only root can make.
fn archive() -> Vec<u8> {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let member = |flag, name: &str, mode, owner: (u64, u64)| {
        Member::new(flag, name).mode(mode).owner(owner.0, owner.1).mtime(1_000_000_000)
    };
    TarBuilder::new()
        .member(&member(b'5', "dark", 0o000, (5, 6)))
        .member(&Member { content: b"x".to_vec(), ..member(b'0', "dark/su", 0o4755, (7, 0)) })
        .member(&member(b'0', "dark/able", 0o755, (0, 0)).xattr("security.capability", capability))
        .member(&member(b'0', "noted", 0o640, (0, 42)).xattr("user.note", "mine"))
        .member(&member(b'2', "link", 0o777, (8, 9)).link("dark/su"))
        .member(&member(b'1', "name", 0o4755, (7, 0)).link("dark/su"))
        .member(&member(b'5', "group", 0o2775, (0, 50)))
        .member(&member(b'0', "group/file", 0o664, (1, 50)))
        .member(&Member { device: (1, 3), ..member(b'3', "null", 0o666, (0, 0)) })
        .member(&Member { device: (8, 1), ..member(b'4', "disk", 0o660, (0, 6)) })
        .member(&member(b'6', "pipe", 0o622, (3, 3)))
        .end()
}

fn copies(lab: &Arc<Lab>, name: &str, dockerfile: &str) -> Result<Build> {
    let build = lab.build(name)?.dockerfile(dockerfile)?.file("late.txt", "late\n")?;
    Ok(build.file("tree.tar", archive())?.arg("--reproducible").push())
}

fn restricted_pod(lab: &Arc<Lab>, name: &str) -> Result<Pod> {
    Ok(Pod::new(lab, name, Seccomp::Default)?.restricted())
}

/// The digest that a build has as root of the machine, and in a restricted pod.
fn same_as_root(lab: &Arc<Lab>, name: &str, dockerfile: &str) -> Result<Outcome> {
    let root = copies(lab, &format!("{name}-root"), dockerfile)?.run()?;
    root.succeeded()?;
    let build = copies(lab, name, dockerfile)?;
    let pod = with_context(&build, restricted_pod(lab, name)?);
    let pod = run_in(build, &pod)?;
    pod.succeeded()?;
    ensure!(pod.finished.stderr.contains("isolation files-only"), "the rung: {}", pod.text());
    let (expected, found) = (root.image()?.digest, pod.image()?.digest);
    ensure!(expected == found, "root made {expected}, the pod {found}: {}", pod.text());
    Ok(pod)
}

fn restricted(lab: &Arc<Lab>) -> Result<()> {
    let outcome = same_as_root(lab, "restricted", COPIES)?;
    let files = outcome.image()?.tree()?;
    // What is equal may still be wrong.
    for (path, found) in [
        ("/data/dark", "d 0000 5:6"),
        ("/data/dark/su", "f 4755 7:0 \"x\""),
        ("/data/null", "c 0666 0:0 259"),
        ("/own/dark", "f 0000 9:9 \"late\\n\""),
        ("/own/setuid", "f 4711 9:9 \"late\\n\""),
        ("/inline.txt", "f 0644 5:6 \"inline\\n\""),
        ("/home/user", "d 0755 42:42"),
    ] {
        let line = files.get(path).map(String::as_str);
        ensure!(line == Some(found), "{path} is {line:?}, not {found}");
    }
    Ok(())
}

fn restricted_on_a_base(lab: &Arc<Lab>) -> Result<()> {
    let busybox = format!("{}/busybox", lab.host());
    let dockerfile = format!(
        "FROM {busybox} AS base\nWORKDIR /srv\n\
         FROM base\nADD tree.tar /\nCOPY --from=base --chown=1:2 /bin/vi /bin/ed /srv/\n\
         COPY --from={busybox} /bin /again\n"
    );
    same_as_root(lab, "restricted-base", &dockerfile).map(drop)
}

/// The registry of this base does not exist: nobody may notice.
fn restricted_run(lab: &Arc<Lab>) -> Result<()> {
    let dockerfile = "FROM 127.0.0.1:9/none AS base\nCOPY late.txt /\n\
                      FROM base\nRUN true\n";
    let build = lab.build("restricted-run")?.dockerfile(dockerfile)?.file("late.txt", "late\n")?;
    let pod = with_context(&build, restricted_pod(lab, "restricted-run")?);
    let outcome = run_in(build.arg("--no-push"), &pod)?;
    outcome.failed(1, &["RUN true", "cannot run commands here", "user namespace", "needs root"])?;
    ensure!(!outcome.finished.stderr.contains("manifest"), "it asked: {}", outcome.text());
    Ok(())
}

/// A stage that is built on another while both are read later, so that every directory is parked
/// and comes back, and what a step sees of the files that the runtime mounts.
const SWITCHES: &str = "ARG REGISTRY
FROM ${REGISTRY}/busybox AS one
RUN echo one > /etc/one && mkdir -p /var/lib/one && ls /etc > /seen
FROM ${REGISTRY}/busybox AS two
COPY --from=one /etc/one /etc/copied
RUN test ! -e /etc/one && echo two > /etc/two && ls /etc > /seen
FROM one
COPY --from=two /etc/two /seen /two/
RUN test -e /etc/one && test ! -e /etc/two && test -e /var/lib/one && rm /bin/vi
";

fn runtimes(lab: &Arc<Lab>) -> Result<()> {
    let mut trees = Vec::new();
    for (runtime, seccomp, rung, of_the_pod) in [
        (Runtime::Docker, Seccomp::Default, "in-place", "hostname\nhosts\n"),
        (Runtime::Containerd, Seccomp::Default, "in-place", "hostname\nhosts\n"),
        (Runtime::Runc, Seccomp::Default, "in-place", ""),
        (Runtime::Docker, Seccomp::Unconfined, "namespaces", "hosts\n"),
        (Runtime::Runc, Seccomp::Unconfined, "namespaces", ""),
    ] {
        let name = format!("runtime-{runtime:?}-{rung}").to_lowercase();
        let build = lab.build(&name)?.dockerfile(SWITCHES)?.arg("--reproducible").push();
        let pod = with_context(&build, Pod::new(lab, &name, seccomp)?.runtime(runtime));
        let outcome = run_in(build, &pod)?;
        outcome.succeeded()?;
        let taken = outcome.finished.stderr.contains(&format!("isolation {rung}: "));
        ensure!(taken, "the rung: {}", outcome.text());
        let root = outcome.image()?.unpack()?;
        let files = tree::list(&root)?;
        for path in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/var/run/secrets"] {
            ensure!(!files.contains_key(path), "{runtime:?}: {path} is in the image");
        }
        for path in ["/seen", "/two/seen"] {
            let seen = std::fs::read_to_string(root.join(path.trim_start_matches('/')))?;
            ensure!(seen.contains(of_the_pod), "{runtime:?}: a step saw {seen:?} in /etc");
        }
        let same = |path: &str| !matches!(path, "/seen" | "/two/seen");
        let rest: Vec<_> = files.into_iter().filter(|(path, _)| same(path)).collect();
        trees.push(rest);
    }
    ensure!(trees.iter().all(|files| *files == trees[0]), "the runtimes' images differ");
    Ok(())
}
