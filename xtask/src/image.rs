//! Our own image: the executor builds it from `deploy/Dockerfile`, into an OCI layout.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{dist, shell};

/// Certificates for those who look for them in the image; the programs have their own.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Builds the programs and then the image.
pub(crate) fn run(root: &Path) -> Result<()> {
    let dist = dist::run(root)?;
    let layout = build(root, &dist)?;
    println!("image: {}", layout.display());
    Ok(())
}

/// Builds the image from programs that are there, and gives its layout.
pub(crate) fn build(root: &Path, dist: &Path) -> Result<std::path::PathBuf> {
    let place = shell::target(root).join("image");
    let context = place.join("context");
    shell::fresh_directory(&place)?;
    for (directory, mode) in [
        ("rootfs", 0o755),
        ("rootfs/kaniko", 0o777),
        ("rootfs/kaniko/.docker", 0o755),
        ("rootfs/kaniko/ssl", 0o755),
        ("rootfs/kaniko/ssl/certs", 0o755),
        ("rootfs/etc", 0o755),
        ("rootfs/workspace", 0o777),
    ] {
        let directory = context.join(directory);
        shell::make_directory(&directory)?;
        set_mode(&directory, mode)?;
    }
    for program in ["executor", "warmer"] {
        let file = context.join("rootfs/kaniko").join(program);
        std::fs::copy(dist.join(program), &file)?;
        set_mode(&file, 0o755)?;
    }
    if Path::new(CERTIFICATES).exists() {
        let file = context.join("rootfs/kaniko/ssl/certs/ca-certificates.crt");
        std::fs::copy(CERTIFICATES, file).context("cannot copy the certificates")?;
    }
    shell::write(&context.join("rootfs/etc/nsswitch.conf"), "hosts: files dns\n")?;
    let layout = place.join("executor");
    shell::tool(root, dist.join("executor"))
        .arg(format!("--context={}", context.display()))
        .arg(format!("--dockerfile={}", root.join("deploy/Dockerfile").display()))
        .arg(format!("--oci-layout-path={}", layout.display()))
        .arg(format!("--kaniko-dir={}", place.join("state").display()))
        .args(["--no-push", "--reproducible", "--isolation=namespaces", "--verbosity=warn"])
        .run()?;
    Ok(layout)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}
