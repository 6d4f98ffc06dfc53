//! An archive of a few Debian packages on loopback, for `apt-get` in steps: the machine's own
//! mirror is asked once, and the answer kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use testkit::http_server::{HttpServer, Page};

use crate::shell::tool;

/// Packages that the tests install. What they depend on is in the base image, or here too.
const PACKAGES: &[&str] = &["libcap2-bin", "sudo", "cron", "cron-daemon-common", "sensible-utils"];

/// Serves the packages; those that `cache` does not have are downloaded.
///
/// # Errors
/// Where they cannot be had.
pub(crate) fn serve(cache: &Path) -> Result<HttpServer> {
    let directory = download(cache)?;
    let (mut index, mut pages) = (String::new(), Vec::new());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&directory)? {
        files.push(entry?.path());
    }
    files.sort();
    for (number, file) in files.iter().enumerate() {
        let content = std::fs::read(file)?;
        let fields = tool("dpkg-deb").arg("--field").arg(file).read()?;
        let digest: String =
            Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        // apt's own names hold characters that a URL would have to escape.
        let name = format!("{number}.deb");
        let size = content.len();
        index += fields.trim_end();
        index += &format!("\nFilename: ./{name}\nSize: {size}\nSHA256: {digest}\n\n");
        pages.push(Page::new(&format!("/./{name}"), content));
    }
    // With the path as apt asks for it.
    pages.push(Page::new("/./Packages", index));
    Ok(HttpServer::start(pages))
}

fn download(cache: &Path) -> Result<PathBuf> {
    let directory = cache.join(format!("packages-{}", PACKAGES.join("-")));
    if directory.exists() {
        return Ok(directory);
    }
    let fresh = cache.join(format!("packages-{}.tmp", std::process::id()));
    std::fs::create_dir_all(&fresh)?;
    let apt = || tool("apt-get").args(["-qq", "-o", "Acquire::Retries=3"]).current_dir(&fresh);
    let download = || apt().arg("download").args(PACKAGES).read();
    if download().is_err() {
        // The machine has no lists yet.
        apt().arg("update").read()?;
        download().context("the packages cannot be had")?;
    }
    let count = std::fs::read_dir(&fresh)?.count();
    if count != PACKAGES.len() {
        bail!("{count} packages came, not {}", PACKAGES.len());
    }
    std::fs::rename(&fresh, &directory)?;
    Ok(directory)
}
