//! The same Dockerfile, built by Debian's buildah.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::image::PulledImage;
use crate::lab::Lab;
use crate::shell::{Tool, tool};

/// Builds with buildah, pushes to the lab's registry, and pulls it back.
///
/// # Errors
/// Where buildah fails.
pub fn build(
    lab: &Lab,
    name: &str,
    context: &Path,
    build_args: &BTreeMap<String, String>,
    target: Option<&str>,
) -> Result<PulledImage> {
    let store = lab.scratch("buildah")?;
    let policy = store.join("policy.json");
    std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
    let image = format!("{}/buildah/{name}:latest", lab.host());
    let mut command = buildah(&store)
        .args(["build", "--quiet", "--isolation=chroot", "--format=docker", "--layers"])
        .args(["--tls-verify=false", "--network=host", "--pull-always"])
        .arg(format!("--signature-policy={}", policy.display()))
        .arg(format!("--build-arg=REGISTRY={}", lab.host()))
        .arg(format!("--tag={image}"));
    for (name, value) in build_args {
        command = command.arg(format!("--build-arg={name}={value}"));
    }
    if let Some(target) = target {
        command = command.arg(format!("--target={target}"));
    }
    command.arg(context).read()?;
    buildah(&store)
        .args(["push", "--quiet", "--tls-verify=false", "--format=v2s2"])
        .arg(format!("--signature-policy={}", policy.display()))
        .arg(&image)
        .arg(format!("docker://{image}"))
        .read()?;
    PulledImage::pull(lab, &format!("buildah/{name}:latest"))
}

/// buildah with a store of its own, so that builds do not wait for each other.
fn buildah(store: &Path) -> Tool {
    tool("buildah")
        .arg("--storage-driver=vfs")
        .arg(format!("--root={}", store.join("root").display()))
        .arg(format!("--runroot={}", store.join("run").display()))
        .deadline(Duration::from_secs(300))
}
