//! What benches start: our release programs, and what pushes a base image.
#![allow(clippy::disallowed_methods, reason = "a bench starts programs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::base_image;
use testkit::registry::Registry;

use crate::argument;

/// The executor that was named by `--executor`, else the one that cargo put near this program.
#[must_use]
pub fn executor() -> PathBuf {
    program("executor")
}

/// The same for any of our programs.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let near = || {
        let own = std::env::current_exe().expect("because /proc is there");
        own.ancestors().nth(2).unwrap_or(&own).join(name)
    };
    let path = argument(&format!("--{name}")).map_or_else(near, PathBuf::from);
    let path = path.canonicalize().unwrap_or(path);
    assert!(
        path.is_file(),
        "there is no `{}`: run `cargo build --release -p kaniko-{name}`",
        path.display()
    );
    path
}

/// Puts the base image `busybox:latest` into the registry.
pub fn push_busybox(scratch: &Path, registry: &Registry) {
    let layout = scratch.join("base");
    base_image::busybox(&layout, "busybox").expect("because busybox is installed");
    succeed(
        Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:busybox", layout.display()))
            .arg(format!("docker://{}/busybox:latest", registry.host())),
    );
}

/// Runs a program that must not fail.
pub fn succeed(command: &mut Command) {
    let status =
        command.status().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(status.success(), "{command:?} failed: {status}");
}
