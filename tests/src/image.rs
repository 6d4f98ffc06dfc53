//! An image as other people's tools see it: skopeo for the documents, umoci for the files.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::lab::Lab;
use crate::shell::tool;
use crate::tree;

/// An image that was pulled from the registry.
#[derive(Debug)]
pub struct PulledImage {
    /// The digest of the manifest.
    pub digest: String,
    /// The manifest as it lies in the registry.
    pub manifest: Value,
    /// The image config as it lies in the registry.
    pub config: Value,
    layout: PathBuf,
}

impl PulledImage {
    /// Pulls `name` from the lab's registry.
    ///
    /// # Errors
    /// Where skopeo cannot.
    pub fn pull(lab: &Lab, name: &str) -> Result<Self> {
        let reference = format!("docker://{}/{name}", lab.host());
        let inspect = |options: &[&str]| {
            tool("skopeo").args(["inspect", "--tls-verify=false"]).args(options).arg(&reference)
        };
        let layout = lab.scratch("pulled")?;
        tool("skopeo")
            .args(["copy", "--quiet", "--src-tls-verify=false"])
            .arg(&reference)
            .arg(format!("oci:{}:image", layout.display()))
            .read()?;
        Ok(Self {
            digest: inspect(&["--format", "{{.Digest}}"]).read()?.trim().to_owned(),
            manifest: serde_json::from_str(&inspect(&["--raw"]).read()?)?,
            config: serde_json::from_str(&inspect(&["--config", "--raw"]).read()?)?,
            layout,
        })
    }

    /// Unpacks the layers with umoci and lists the files.
    ///
    /// # Errors
    /// Where umoci cannot.
    pub fn tree(&self) -> Result<tree::Tree> {
        tree::list(&self.unpack()?)
    }

    /// Unpacks the layers with umoci and gives the root.
    ///
    /// # Errors
    /// Where umoci cannot.
    pub fn unpack(&self) -> Result<PathBuf> {
        unpack_layout(&self.layout, "image")
    }

    /// The number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.manifest["layers"].as_array().map_or(0, Vec::len)
    }

    /// A field of the config's `config`.
    #[must_use]
    pub fn setting(&self, name: &str) -> &Value {
        &self.config["config"][name]
    }
}

/// Unpacks an image of an OCI layout with umoci, beside the layout, and gives the root.
///
/// # Errors
/// Where umoci cannot.
pub fn unpack_layout(layout: &std::path::Path, tag: &str) -> Result<PathBuf> {
    let bundle = layout.with_extension("bundle");
    tool("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:{tag}", layout.display()))
        .arg(&bundle)
        .read()
        .context("umoci does not accept the image")?;
    Ok(bundle.join("rootfs"))
}
