//! A build that is told to stop, stops: its step ends, nothing stays behind, the status says so.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Lab, eventually, wait};
use rustix::process::{Pid, Signal, kill_process};

use crate::errors::is_running;
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("signals::sigterm_ends_the_step_and_the_build", |lab| {
            stop(lab, "sigterm", Signal::TERM, 143, 91_001)
        }),
        root_test("signals::sigint_ends_the_step_and_the_build", |lab| {
            stop(lab, "sigint", Signal::INT, 130, 91_002)
        }),
    ]
}

fn stop(lab: &Arc<Lab>, name: &str, signal: Signal, code: i32, seconds: u32) -> Result<()> {
    let duration = seconds.to_string();
    let build = lab.build(name)?.dockerfile(&format!(
        "ARG REGISTRY\nFROM ${{REGISTRY}}/busybox\n\
         RUN trap '' TERM INT; setsid sleep {duration} & sleep {duration}\n"
    ))?;
    let digest = build.directory.join("digest");
    let build = build.arg(format!("--digest-file={}", digest.display())).push();
    let child = build.command().spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a strange pid")?;
    let started = eventually("the step starts", || is_running(&duration).unwrap_or(false));
    if started.is_ok() {
        kill_process(pid, signal)?;
    }
    let finished = wait(child, Duration::from_secs(30))?;
    let outcome = build.ended(finished);
    started.with_context(|| outcome.text())?;
    ensure!(outcome.finished.code == Some(code), "{}", outcome.text());
    ensure!(!is_running(&duration)?, "the step is still running");
    outcome.wrote_none_of(&["digest"])?;
    let mark = format!("-{name}/");
    ensure!(lab.mounts()?.iter().all(|mount| !mount.contains(&mark)), "a mount is left");
    Ok(())
}
