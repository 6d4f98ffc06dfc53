//! Watching the executor: its log lines on arrival, the time each step took, its peak memory.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell;

/// Prints each line of a build that logs in JSON, with the seconds since the start; then the steps
/// with their times once more, without what they wrote.
pub(crate) fn watch(mut child: Child) -> Result<()> {
    let errors = child.stderr.take().context("standard error is no pipe")?;
    let status_file = PathBuf::from(format!("/proc/{}/status", child.id()));
    let start = Instant::now();
    let mut steps = Vec::new();
    let mut peak = 0;
    for line in BufReader::new(errors).split(b'\n') {
        let line = line.context("cannot read the executor's log")?;
        let line = message(&String::from_utf8_lossy(&line));
        println!("{:>7.2} s  {line}", start.elapsed().as_secs_f64());
        if line.contains(" took ") {
            steps.push(line);
        }
        peak = peak.max(peak_memory(&status_file));
    }
    let status = child.wait().context("the executor is gone")?;
    if !status.success() {
        bail!("the executor failed: {status}");
    }
    println!("\n   time per step:");
    for step in steps {
        println!("   {step}");
    }
    println!("   peak memory of the executor: {:.1} MB", peak as f64 / 1e3);
    Ok(())
}

/// The message of a log line; a line that is none, as it is.
fn message(line: &str) -> String {
    let object: Value = serde_json::from_str(line).unwrap_or_default();
    object["msg"].as_str().unwrap_or(line).to_owned()
}

/// The highest resident size so far, in kB; 0 once the program has ended.
fn peak_memory(status_file: &std::path::Path) -> u64 {
    let text = shell::read(status_file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
