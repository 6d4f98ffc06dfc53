//! Everything CI runs, stage by stage, with the wall time of each.
//!
//! As an ordinary user it runs what needs no root and ends with what it left out; under CI nothing
//! may be left out.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{deny, dist, e2e, setup, shell, tidy};

/// Runs all stages, those after a failed one too: one run tells everything that is wrong.
pub(crate) fn run(root: &Path) -> Result<()> {
    if shell::is_ci() && !shell::is_root() {
        bail!("under CI nothing may be left out, and without root something would be");
    }
    let mut stages = Stages::default();
    let result = run_stages(root, &mut stages);
    stages.print();
    result?;
    match stages.failed().as_slice() {
        [] => Ok(()),
        failed => bail!("failed: {}", failed.join(", ")),
    }
}

fn run_stages(root: &Path, stages: &mut Stages) -> Result<()> {
    stages.run("setup", prepare);
    stages.run("fmt", || shell::cargo(root).args(["fmt", "--all", "--check"]).run());
    stages.run("tidy", || tidy::run(root));
    stages.run("clippy", || {
        shell::cargo(root)
            .args(["clippy", "--quiet", "--locked", "--workspace", "--all-targets"])
            .args(["--", "-D", "warnings"])
            .run()
    });
    stages.run("deny", || deny::run(root));
    stages.run("unit tests", || unit_tests(root).arg("--no-fail-fast").run());
    let mut programs = None;
    stages.run("dist", || {
        programs = Some(dist::run(root)?);
        Ok(())
    });
    stages.run("end-to-end tests", || match programs {
        Some(programs) => e2e::tests(root, &programs, &[]),
        None => bail!("there are no programs to test"),
    });
    leave_out(root, stages)
}

fn prepare() -> Result<()> {
    if setup::can_install() {
        return setup::run();
    }
    if shell::is_ci() {
        bail!("packages cannot be installed here");
    }
    for one in setup::missing() {
        println!("setup: {} is missing ({})", one.package, one.purpose);
    }
    Ok(())
}

fn unit_tests(root: &Path) -> shell::Tool {
    shell::cargo(root).args([
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--exclude",
        "kaniko-tests",
    ])
}

/// Names the tests that skipped themselves because this is not root.
fn leave_out(root: &Path, stages: &mut Stages) -> Result<()> {
    if shell::is_root() {
        return Ok(());
    }
    let list = unit_tests(root).args(["--", "--list"]).read()?;
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    stages.left_out.extend(
        names
            .filter(|name| name.rsplit("::").next().is_some_and(|last| last.starts_with("root_")))
            .map(|name| format!("{name}: needs root")),
    );
    stages.left_out.push("end-to-end tests that need root: named above by their runner".to_owned());
    Ok(())
}

#[derive(Default)]
struct Stages {
    times: Vec<(&'static str, Duration, bool)>,
    left_out: Vec<String>,
}

impl Stages {
    fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) {
        println!("\n== {name}");
        let start = Instant::now();
        let result = stage();
        if let Err(error) = &result {
            println!("{name}: {error:#}");
        }
        self.times.push((name, start.elapsed(), result.is_ok()));
    }

    fn failed(&self) -> Vec<&'static str> {
        self.times.iter().filter(|(_, _, passed)| !passed).map(|(name, ..)| *name).collect()
    }

    fn print(&self) {
        println!("\n== times");
        for (name, time, passed) in &self.times {
            let verdict = if *passed { "passed" } else { "FAILED" };
            println!("{name:<18} {:>7.1} s  {verdict}", time.as_secs_f64());
        }
        let total: Duration = self.times.iter().map(|(_, time, _)| *time).sum();
        println!("{:<18} {:>7.1} s", "all", total.as_secs_f64());
        if !self.left_out.is_empty() {
            println!("\n== left out, because this is not root");
            for line in &self.left_out {
                println!("{line}");
            }
        }
    }
}
