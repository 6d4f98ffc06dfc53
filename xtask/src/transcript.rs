//! Watching the executor: its log lines with the time each took.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// Prints each line of a build on arrival, with the seconds since the start.
pub(crate) fn watch(mut child: Child) -> Result<()> {
    let errors = child.stderr.take().context("standard error is no pipe")?;
    let start = Instant::now();
    for line in BufReader::new(errors).split(b'\n') {
        let line = line.context("cannot read the executor's log")?;
        let line = String::from_utf8_lossy(&line);
        println!("{:>7.2} s  {line}", start.elapsed().as_secs_f64());
    }
    let status = child.wait().context("the executor is gone")?;
    if !status.success() {
        bail!("the executor failed: {status}");
    }
    Ok(())
}
