//! cargo-deny: licences, sources and banned dependencies, as `deny.toml` says.
//!
//! Advisories are left to where their database can be fetched.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell::{self, cargo, tool};

const VERSION: &str = "0.20.2";

/// Runs cargo-deny, and installs it first where it is missing.
pub(crate) fn run(root: &Path) -> Result<()> {
    let program = program(root)?;
    tool(root, program)
        .args(["--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        .run()
}

fn program(root: &Path) -> Result<PathBuf> {
    let tools = shell::target(root).join("tools");
    let program = tools.join("bin/cargo-deny");
    let is_right = |program: &Path| {
        let text = tool(root, program).arg("--version").read().unwrap_or_default();
        text.split_whitespace().any(|word| word == VERSION)
    };
    if program.is_file() && is_right(&program) {
        return Ok(program);
    }
    if let Some(installed) = shell::find_program("cargo-deny").filter(|found| is_right(found)) {
        return Ok(installed);
    }
    println!("deny: installing cargo-deny {VERSION} into {}", tools.display());
    // Unoptimised: it runs once per build of the tool, and compiles in a third of the time.
    cargo(root)
        .args(["install", "--quiet", "--locked", "--force", "--debug", "--no-default-features"])
        .arg("--root")
        .arg(&tools)
        .arg("--target-dir")
        .arg(tools.join("build"))
        .arg(format!("cargo-deny@{VERSION}"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .run()?;
    Ok(program)
}
