//! Steps that use up what there is: processes, disk, output, names; and what they leave for the
//! snapshot to read. The build ends as it should, with an error that names the reason, and whole.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::user::User;
use kaniko_tests::{Build, Lab, Outcome, tool};

use crate::archive::{into_archive, read};
use crate::pods::{run_in, with_context};
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        root_test("excess::processes_without_end", processes),
        root_test("excess::processes_in_a_pod_with_a_limit", processes_in_a_pod),
        root_test("excess::memory_in_a_pod_with_a_limit", memory_in_a_pod),
        root_test("excess::a_disk_that_a_step_fills", disk_full_in_step),
        root_test("excess::a_disk_with_no_room_for_the_layer", disk_full_at_layer),
        root_test("excess::output_without_end", output),
        root_test("excess::output_of_any_bytes", bytes),
        root_test("excess::few_descriptors", few_descriptors),
        root_test("excess::small_files_only", small_files),
        root_test("excess::a_step_that_kills_its_supervisor", supervisor),
        root_test("excess::a_key_file_is_no_agent", key_file),
    ];
    for case in CASES {
        tests.push(root_test(format!("excess::{}", case.name), move |lab| leaves(lab, case)));
    }
    tests
}

const BUSYBOX: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n";

/// What a step leaves in its root.
struct Case {
    name: &'static str,
    steps: &'static str,
    left: Left,
}

enum Left {
    Files(&'static [&'static str]),
    Error(&'static [&'static str]),
}

const CASES: &[Case] = &[
    // A layer has no holes: what is sparse here is zeros there, and small only when compressed.
    Case {
        name: "a_sparse_file",
        steps: "RUN truncate -s 67108864 /sparse\nRUN stat -c %s /sparse > /size && rm /sparse\n",
        left: Left::Files(&["f 0644 0:0 /size \"67108864\\n\"", "! /sparse"]),
    },
    Case {
        name: "a_tree_that_is_too_deep",
        steps: "RUN i=0; while [ $i -lt 1300 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done\n",
        left: Left::Error(&["d/d/d", "Dockerfile:3"]),
    },
    Case {
        name: "twenty_thousand_files_and_odd_names",
        steps: "RUN mkdir /many && cd /many && seq 1 20000 | xargs touch && \
                printf x > \"$(printf 'new\\nline')\"\nRUN set -- /many/*; echo $# > /count\n",
        left: Left::Files(&["f 0644 0:0 /many/20000", "f 0644 0:0 /count \"20001\\n\""]),
    },
];

fn leaves(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    let build = lab.build(case.name)?.dockerfile(&format!("{BUSYBOX}{}", case.steps))?;
    let outcome = into_archive(build).run()?;
    match case.left {
        Left::Files(files) => read(outcome)?.holds(files),
        Left::Error(texts) => failed_cleanly(&outcome, 1, texts),
    }
}

/// One error, no panic, no image, and nothing left of the build in its state.
fn failed_cleanly(outcome: &Outcome, code: i32, texts: &[&str]) -> Result<()> {
    outcome.failed(code, texts)?.wrote_none_of(&["image.tar", "digest"])?;
    ensure!(!outcome.text().contains("panicked"), "{}", outcome.text());
    let builds = std::fs::read_dir(outcome.directory.join("state/builds"))?;
    ensure!(builds.count() == 0, "the build left its directory behind");
    Ok(())
}

/// A user of its own, whose processes can be counted and limited.
const CROWD: User = User { id: 54_323 };

fn processes(lab: &Arc<Lab>) -> Result<()> {
    let bomb = format!("{BUSYBOX}RUN b() {{ b | b; }}; b\n");
    let build = into_archive(lab.build("bomb")?.dockerfile(&bomb)?);
    CROWD.own(&build.directory)?;
    let starter = tool("prlimit")
        .arg("--nproc=200:200")
        .args(["setpriv", &format!("--reuid={}", CROWD.id), &format!("--regid={}", CROWD.id)])
        .args(["--clear-groups", "--"])
        .arg(lab.executor());
    let finished = build.command_by(starter).finish()?;
    let outcome = build.ended(finished);
    ensure!(outcome.finished.code.is_some_and(|code| code != 0), "{}", outcome.text());
    failed_cleanly(&outcome, outcome.finished.code.unwrap_or(0), &["b | b", "Dockerfile:3"])?;
    ensure!(left_of(CROWD.id)? == 0, "processes of the step are left");
    Ok(())
}

/// In place there is no namespace that takes a crowd with it.
fn processes_in_a_pod(lab: &Arc<Lab>) -> Result<()> {
    let bomb = format!("{BUSYBOX}RUN b() {{ b | b; }}; b\n");
    let build = into_archive(lab.build("pod-bomb")?.dockerfile(&bomb)?);
    let pod = with_context(&build, Pod::new(lab, "bomb", Seccomp::Default)?.processes(100));
    let outcome = run_in(build, &pod)?;
    let code = outcome.finished.code.unwrap_or(0);
    outcome.failed(code, &["b | b", "Dockerfile:3"])?;
    ensure!(code != 0 && !outcome.text().contains("panicked"), "{}", outcome.text());
    Ok(())
}

/// What the kernel does, and why, is said; the builder is not what it kills.
fn memory_in_a_pod(lab: &Arc<Lab>) -> Result<()> {
    let greed = format!("{BUSYBOX}RUN head -c 1000000000 /dev/zero | tail\n");
    let build = into_archive(lab.build("pod-greed")?.dockerfile(&greed)?);
    let pod = Pod::new(lab, "greed", Seccomp::Default)?.memory(128 << 20);
    let pod = with_context(&build, pod);
    let outcome = run_in(build, &pod)?;
    outcome.failed(137, &["| tail", "Dockerfile:3", "for want of memory", "memory limit"])?;
    Ok(())
}

/// How many processes a user has.
fn left_of(user: u32) -> Result<usize> {
    use std::os::unix::fs::MetadataExt;
    let mut count = 0;
    for entry in std::fs::read_dir("/proc")? {
        // One that has ended meanwhile is none.
        count += usize::from(entry?.metadata().is_ok_and(|found| found.uid() == user));
    }
    Ok(count)
}

/// A build whose state lies on a small file system of its own, which goes with it.
fn on_small_disk(lab: &Arc<Lab>, name: &str, steps: &str) -> Result<Outcome> {
    let build = lab.build(name)?.dockerfile(&format!("{BUSYBOX}{steps}"))?;
    let digest = format!("--digest-file={}", build.directory.join("digest").display());
    let build = into_archive(build).arg(digest);
    let state = build.directory.join("state");
    std::fs::create_dir(&state)?;
    let script = "set -e; mount -t tmpfs -o size=24m none \"$1\"; state=$1; shift; code=0; \
                  \"$@\" || code=$?; test -z \"$(ls \"$state/builds\")\" || code=99; exit $code";
    let finished = tool("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c", script, "sh"])
        .arg(&state)
        .arg(lab.executor())
        .args(build.arguments())
        .arg("--isolation=namespaces")
        .arg(format!("--kaniko-dir={}", state.display()))
        .current_dir(&build.directory)
        .finish()?;
    // What the checks below look at is what the file system covered.
    std::fs::create_dir(state.join("builds"))?;
    Ok(build.ended(finished))
}

fn disk_full_in_step(lab: &Arc<Lab>) -> Result<()> {
    let outcome = on_small_disk(lab, "disk-step", "RUN dd if=/dev/zero of=/big bs=1M\n")?;
    failed_cleanly(&outcome, 1, &["No space left on device", "Dockerfile:3"])
}

/// The step itself may have its way; then the layer does not fit.
fn disk_full_at_layer(lab: &Arc<Lab>) -> Result<()> {
    let steps = "RUN dd if=/dev/urandom of=/big bs=1M 2> /dev/null || true\n";
    let outcome = on_small_disk(lab, "disk-layer", steps)?;
    failed_cleanly(&outcome, 1, &["No space left on device", "state/store", "Dockerfile:3"])
}

/// Much output passes through little memory, and waits for whoever reads it.
fn output(lab: &Arc<Lab>) -> Result<()> {
    const MEBIBYTES: u64 = 64;
    let line = "y".repeat(500);
    let build = lab.build("output")?.dockerfile(&format!(
        "{BUSYBOX}RUN yes {line} | head -c {}\nRUN head -c {} /dev/zero\n",
        MEBIBYTES << 20,
        MEBIBYTES << 20
    ))?;
    let build = into_archive(build);
    let mut child = std::process::Command::new(lab.executor())
        .env_clear()
        .args(build.arguments())
        .arg("--isolation=namespaces")
        .arg(format!("--kaniko-dir={}", build.directory.join("state").display()))
        .current_dir(&build.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let (mut peak, end) = (0, std::time::Instant::now() + Duration::from_secs(120));
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        ensure!(std::time::Instant::now() < end, "it does not end");
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|mark| mark.split_ascii_whitespace().next()?.parse().ok());
        peak = peak.max(mark.unwrap_or(0));
        std::thread::park_timeout(Duration::from_millis(20));
    };
    ensure!(ended.code() == Some(0), "{ended:?}, signal {:?}", ended.signal());
    ensure!(peak > 0 && peak < 100 << 10, "{peak} KiB of memory for {MEBIBYTES} MiB of output");
    Ok(())
}

/// What a step prints, a terminal does not obey.
fn bytes(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("bytes")?.dockerfile(&format!(
        "{BUSYBOX}RUN printf 'A\\033[31mB\\033]0;title\\007C\\000D\\377E\\rF\\n'; exit 3\n"
    ))?;
    let outcome = into_archive(build).run()?;
    failed_cleanly(&outcome, 3, &["exit 3"])?;
    for byte in ['\x1b', '\x07', '\0'] {
        let error = outcome.finished.stderr.contains(byte);
        ensure!(!error, "{byte:?} is in the error: {}", outcome.text());
    }
    Ok(())
}

/// The executor under a limit, with a step and a copy of many files.
fn limited(lab: &Arc<Lab>, name: &str, limit: &str) -> Result<Outcome> {
    let mut build = lab.build(name)?.dockerfile(&format!(
        "{BUSYBOX}RUN mkdir /made && cd /made && seq 1 300 | xargs touch\nCOPY many /many/\n\
         RUN echo x > /x\n"
    ))?;
    for number in 0..300 {
        build = build.file(&format!("many/{number}"), "x")?;
    }
    let build = into_archive(build);
    let starter = tool("prlimit").arg(limit).arg(lab.executor());
    let finished = build.command_by(starter).finish()?;
    Ok(build.ended(finished))
}

fn few_descriptors(lab: &Arc<Lab>) -> Result<()> {
    let outcome = limited(lab, "few-descriptors", "--nofile=64:64")?;
    read(outcome)?.holds(&["f 0644 0:0 /made/300", "f 0644 0:0 /many/299 \"x\"", "f 0644 0:0 /x"])
}

fn small_files(lab: &Arc<Lab>) -> Result<()> {
    let outcome = limited(lab, "small-files", "--fsize=65536:65536")?;
    failed_cleanly(&outcome, 1, &["File too large", "error: "])
}

fn supervisor(lab: &Arc<Lab>) -> Result<()> {
    // As root of the machine there is a pid namespace: what watches over the step is out of reach.
    let steps = "RUN kill -9 $PPID; kill -9 -1; sleep 0.1; echo x > /x\n";
    let build = lab.build("supervisor")?.dockerfile(&format!("{BUSYBOX}{steps}"))?;
    read(into_archive(build).run()?)?.holds(&["f 0644 0:0 /x"])
}

fn key_file(lab: &Arc<Lab>) -> Result<()> {
    let build: Build = lab.build("key-file")?.dockerfile(&format!("{BUSYBOX}RUN true\n"))?;
    let key = build.directory.join("id_ed25519");
    std::fs::write(&key, "-----BEGIN OPENSSH PRIVATE KEY-----\n").context("a file of ours")?;
    let build = build.arg(format!("--ssh=default={}", key.display())).arg("--no-push");
    let outcome = build.run()?;
    outcome.failed(1, &["ssh agent default", "id_ed25519", "ssh-add"])?;
    ensure!(!outcome.text().contains("PRIVATE KEY"), "{}", outcome.text());
    Ok(())
}
