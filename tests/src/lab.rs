//! The place the tests work in: programs, a registry with base images, directories.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use testkit::base_image;
use testkit::http_server::HttpServer;
use testkit::registry::Registry;

use crate::build::Build;
use crate::packages;
use crate::shell::tool;

/// Everything a test needs; made once for all of them.
#[derive(Debug)]
pub struct Lab {
    dist: PathBuf,
    work: PathBuf,
    cache: PathBuf,
    registry: Registry,
    debian: Mutex<bool>,
    packages: Mutex<Option<HttpServer>>,
    next: AtomicU32,
}

impl Lab {
    /// Finds the programs, starts the registry and puts busybox into it.
    ///
    /// # Errors
    /// Where a program is missing, or the registry does not start.
    pub fn open() -> Result<Arc<Self>> {
        let repository = repository();
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let dist = path("KANIKO_DIST").unwrap_or_else(|| repository.join("target/dist"));
        let cache = path("KANIKO_E2E_DIR").unwrap_or_else(|| repository.join("target/e2e"));
        if !dist.join("executor").is_file() {
            bail!("no executor in {}: run `cargo xtask e2e`", dist.display());
        }
        // The repository may lie where an ordinary user cannot look, so the work is done elsewhere.
        let work = std::env::temp_dir().join(format!("kaniko-e2e-{}", std::process::id()));
        std::fs::create_dir(&work).with_context(|| format!("cannot make {}", work.display()))?;
        for program in ["executor", "warmer"] {
            std::fs::copy(dist.join(program), work.join(program))?;
        }
        let registry = Registry::start_in(&work.join("registry")).map_err(anyhow::Error::msg)?;
        let lab = Self {
            dist: work.clone(),
            work,
            cache,
            registry,
            debian: Mutex::new(false),
            packages: Mutex::new(None),
            next: AtomicU32::new(0),
        };
        let layout = lab.work.join("bases");
        base_image::busybox(&layout, "busybox").map_err(anyhow::Error::msg)?;
        lab.push_layout(&layout, "busybox", "busybox:latest", &[])?;
        lab.push_layout(&layout, "busybox", "busybox:docker", &["--format", "v2s2"])?;
        Ok(Arc::new(lab))
    }

    /// `127.0.0.1:PORT` of the registry.
    #[must_use]
    pub fn host(&self) -> String {
        self.registry.host()
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The executor, where everybody may run it.
    #[must_use]
    pub fn executor(&self) -> PathBuf {
        self.dist.join("executor")
    }

    /// Puts Debian into the registry, as `debian:12`, if it is not there yet.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn need_debian(&self) -> Result<()> {
        let mut done = self.debian.lock().map_err(|_| anyhow::anyhow!("another test failed"))?;
        if !*done {
            let layout = self.work.join("debian");
            base_image::debian(&layout, "debian", &self.cache).map_err(anyhow::Error::msg)?;
            self.push_layout(&layout, "debian", "debian:12", &[])?;
            *done = true;
        }
        Ok(())
    }

    /// The address of an archive with a few Debian packages, for `apt-get` in steps.
    ///
    /// # Errors
    /// Where the packages cannot be had.
    pub fn packages(&self) -> Result<String> {
        let mut server =
            self.packages.lock().map_err(|_| anyhow::anyhow!("another test failed"))?;
        if server.is_none() {
            *server = Some(packages::serve(&self.cache)?);
        }
        let url = server.as_ref().map(|server| server.url("/"));
        url.context("because it was just started")
    }

    /// Copies an image of an OCI layout into the registry.
    ///
    /// # Errors
    /// Where skopeo fails.
    pub fn push_layout(
        &self,
        layout: &Path,
        tag: &str,
        name: &str,
        options: &[&str],
    ) -> Result<()> {
        tool("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false"])
            .args(options)
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{}/{name}", self.host()))
            .read()?;
        Ok(())
    }

    /// An empty directory for one use, which everybody may enter.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.work.join(format!("{number:03}-{name}"));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// A build with a context of its own.
    ///
    /// # Errors
    /// Where its directory cannot be made.
    pub fn build(self: &Arc<Self>, name: &str) -> Result<Build> {
        Build::new(Arc::clone(self), name)
    }

    /// Removes everything. What a test left mounted would be removed with it, so that fails.
    ///
    /// # Errors
    /// Where something is still mounted below, or cannot be removed.
    pub fn close(self: Arc<Self>) -> Result<()> {
        let work = self.work.clone();
        drop(self);
        let left = mounts_below(&work)?;
        if !left.is_empty() {
            bail!("still mounted, so nothing is removed: {}", left.join(", "));
        }
        std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
    }

    /// What is mounted below the lab's directory.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn mounts(&self) -> Result<Vec<String>> {
        mounts_below(&self.work)
    }
}

fn mounts_below(directory: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let place = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    let below = |place: &String| Path::new(place).starts_with(directory);
    Ok(text.lines().filter_map(place).filter(below).collect())
}

/// The root of the repository the tests were built from.
#[must_use]
pub fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.to_owned(), Path::to_owned)
}
