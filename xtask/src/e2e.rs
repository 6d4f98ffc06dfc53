//! The end-to-end tests, with the static programs.

use std::path::Path;

use anyhow::Result;

use crate::{dist, setup, shell};

/// Builds the programs and runs the tests whose names contain one of the filters.
pub(crate) fn run(root: &Path, filters: &[&str]) -> Result<()> {
    if setup::can_install() {
        setup::run()?;
    }
    let dist = dist::run(root)?;
    tests(root, &dist, filters)
}

/// Runs the tests with programs that are there.
pub(crate) fn tests(root: &Path, dist: &Path, filters: &[&str]) -> Result<()> {
    shell::cargo(root)
        .args(["test", "--quiet", "--locked", "-p", "kaniko-tests", "--test", "e2e", "--"])
        .args(filters)
        .env("KANIKO_DIST", dist)
        .env("KANIKO_E2E_DIR", shell::target(root).join("e2e"))
        .run()
}
