//! SIGTERM in every phase of a build: it ends with the status that says so, and nothing is left.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Lab, tool};
use rustix::process::{Pid, Signal, kill_process};
use testkit::fault::{Action, FaultRegistry, Subject};

use crate::errors::is_running;
use crate::mounts::holds;
use crate::{Test, asked_rounds, root_test};

/// How often in each phase, a little later each time, unless the caller asks for more.
const ROUNDS: u32 = 3;

/// When a build is told to stop.
#[derive(Clone, Copy)]
enum Moment {
    /// A registry was asked for the first time in this way, and does this.
    Asked(Subject, Fault),
    /// The log, or a step, said this.
    Said(&'static str),
    /// The step that sleeps is at work.
    Asleep,
}

#[derive(Clone, Copy)]
enum Fault {
    Stall,
    Unavailable,
}

const PHASES: &[(&str, Moment)] = &[
    ("pull", Moment::Asked(Subject::BlobGet, Fault::Stall)),
    ("unpack", Moment::Said("Building stage")),
    ("step", Moment::Asleep),
    ("snapshot", Moment::Said("the files are made")),
    ("layer_push", Moment::Asked(Subject::UploadPost, Fault::Unavailable)),
    ("manifest_push", Moment::Asked(Subject::ManifestPut, Fault::Unavailable)),
];

pub(crate) fn tests() -> Vec<Test> {
    let phases = PHASES.iter().zip(0..);
    let phases = phases.map(|((name, moment), number)| {
        root_test(format!("stopping::{name}"), move |lab| {
            (0..asked_rounds().unwrap_or(ROUNDS)).try_for_each(|round| {
                stop(lab, name, *moment, 97_100 + number * 100 + round, round)
                    .with_context(|| format!("round {round}"))
            })
        })
    });
    phases.collect()
}

const SECRET: &str = "pl4nted-5e1f77aa";

fn stop(lab: &Arc<Lab>, phase: &str, moment: Moment, seconds: u32, round: u32) -> Result<()> {
    let (registry, seconds) = (FaultRegistry::start(), seconds.to_string());
    tool("skopeo")
        .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .arg(format!("docker://{}/busybox", lab.host()))
        .arg(format!("docker://{}/busybox:latest", registry.host()))
        .read()?;
    let before = |subject| registry.count(subject);
    let pushing = matches!(moment, Moment::Asked(_, Fault::Unavailable));
    // A build that does not get as far as its push stays in its last step.
    let last = if pushing { "true" } else { "sleep" };
    let build = lab.build(&format!("stop-{phase}-{round}"))?.dockerfile(&format!(
        "FROM {}/busybox\nRUN --mount=type=secret,id=s,required \
         mkdir /made && cd /made && seq 1 2000 | xargs touch && echo the files are made\n\
         RUN --mount=type=secret,id=s --mount=type=cache,target=/c {last} {seconds}\n",
        registry.host()
    ))?;
    let asked_before = match moment {
        Moment::Asked(subject, fault) => {
            let action = match fault {
                Fault::Stall => Action::Stall,
                Fault::Unavailable => Action::Status(503, Vec::new(), String::new()),
            };
            registry.fault(subject, None, action);
            before(subject)
        }
        Moment::Said(_) | Moment::Asleep => 0,
    };
    let command = build
        .command()
        .args(["--secret=id=s,env=A_SECRET", "--skip-push-permission-check"])
        .arg(format!("--destination={}/stopped:latest", registry.host()))
        .env("A_SECRET", SECRET);
    let mut child = command.spawn_joined()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a strange pid")?;
    let said = Arc::new(AtomicBool::new(false));
    let reader = read(child.stdout.take(), moment, &said);
    let is_reached = || match moment {
        Moment::Asked(subject, _) => registry.count(subject) > asked_before,
        Moment::Said(_) => said.load(Ordering::Relaxed),
        Moment::Asleep => is_running(&seconds).unwrap_or(false),
    };
    // A machine with much to do takes its time.
    let started = Instant::now();
    while !is_reached() && started.elapsed() < Duration::from_secs(60) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let reached = is_reached();
    std::thread::park_timeout(Duration::from_millis(u64::from(round % 20) * 17));
    let killed = kill_process(pid, Signal::TERM);
    let (told, mut status) = (Instant::now(), None);
    while status.is_none() && told.elapsed() < Duration::from_secs(60) {
        std::thread::park_timeout(Duration::from_millis(5));
        status = child.try_wait()?;
    }
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let took = told.elapsed();
    let text = reader.join().unwrap_or_default();
    println!("{phase}, round {round}: ended within {took:?}");
    ensure!(reached, "it does not get there: {text}");
    ensure!(killed.is_ok(), "it had ended before: {text}");
    let code = status.and_then(|status| status.code());
    ensure!(code == Some(143), "{status:?} after {took:?}: {text}");
    nothing_is_left(lab, &build.directory, phase, round, &seconds)?;
    ensure!(registry.tag("stopped", "latest").is_none(), "a tag was written");
    ensure!(!text.contains(SECRET), "the secret is in the log");
    Ok(())
}

fn read(
    output: Option<std::process::ChildStdout>,
    moment: Moment,
    said: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<String> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut text = String::new();
        let Some(output) = output else { return text };
        let mut lines = BufReader::new(output.take(1 << 20));
        let mut start = 0;
        // A log that is no text ends here, and the test fails by what is missing in it.
        while lines.read_line(&mut text).unwrap_or(0) > 0 {
            let line = &text[start..];
            // The step's own line in the log says it, too, but not at its beginning.
            let hit = match moment {
                Moment::Said("Building stage") => line.contains("Building stage"),
                Moment::Said(words) => line.starts_with(words),
                Moment::Asked(..) | Moment::Asleep => false,
            };
            said.fetch_or(hit, Ordering::Relaxed);
            start = text.len();
        }
        text
    })
}

fn nothing_is_left(
    lab: &Lab,
    directory: &std::path::Path,
    phase: &str,
    round: u32,
    seconds: &str,
) -> Result<()> {
    ensure!(!is_running(seconds)?, "the step is still running");
    let mark = format!("-stop-{phase}-{round}/");
    ensure!(lab.mounts()?.iter().all(|mount| !mount.contains(&mark)), "a mount is left");
    for name in ["builds", "tmp"] {
        let left = std::fs::read_dir(directory.join("state").join(name));
        let left: Vec<_> = left.into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        ensure!(left.is_empty(), "state/{name} holds {left:?}");
    }
    ensure!(!holds(directory, SECRET.as_bytes())?, "the secret is on the disk");
    // Whoever comes next gets every lock at once.
    for path in locks(&directory.join("state"))? {
        let file = std::fs::File::options().read(true).write(true).open(&path)?;
        let free = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        ensure!(free.is_ok(), "{} is locked", path.display());
    }
    Ok(())
}

/// The lock files below a directory.
fn locks(directory: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(locks(&path)?);
        } else if name.ends_with("lock") {
            found.push(path);
        }
    }
    Ok(found)
}
