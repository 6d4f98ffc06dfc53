//! The rules of this repository that no compiler knows.
//!
//! The dependency table and forbidden reachability (`edges`), and what every source file must and
//! must not hold (`sources`). Sizes are reported, and never fail.

mod edges;
mod sources;

use std::path::Path;

use anyhow::{Result, bail};

use crate::codegen;

/// Checks every rule, and prints all findings before it fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut findings = edges::check(root)?;
    let files = sources::read_all(root)?;
    findings.extend(sources::check(&files));
    findings.extend(sources::check_manifests(root)?);
    if let Err(error) = codegen::check(root) {
        findings.push(error.to_string());
    }
    sources::report_sizes(&files);
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("tidy has {} findings", findings.len());
    }
    println!("tidy: {} source files, no findings", files.len());
    Ok(())
}
