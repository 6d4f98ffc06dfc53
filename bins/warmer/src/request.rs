//! From flags and environment to the images that are wanted, and the way to reach them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cache::{Freshness, Refresh, WarmOptions};
use cli::{Environment, WarmerFlags};
use oci::{Platform, Reference};
use plan::PlanOptions;
use registry::ClientOptions;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An image for a platform.
pub(crate) type Wanted = (Reference, Platform);

/// How long the lock of a warmer that shows no sign of life is respected.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to do, all defaults explicit.
pub(crate) struct Request {
    /// What `--image` names.
    names: Vec<String>,
    /// The Dockerfile whose images are wanted too: a path or an address.
    pub(crate) dockerfile: Option<String>,
    /// Arguments for its FROM lines.
    build_args: Vec<(String, String)>,
    /// The platforms; empty: this machine's, or what the Dockerfile says.
    platforms: Vec<Platform>,
    /// The cache's directory.
    pub(crate) cache_dir: PathBuf,
    /// What is fetched although it is there.
    pub(crate) warm: WarmOptions,
    /// One failure is one too many.
    pub(crate) strict: bool,
    /// How to reach registries.
    pub(crate) client: ClientOptions,
}

pub(crate) fn from_flags(flags: &WarmerFlags, environment: &Environment) -> Result<Request> {
    Ok(Request {
        names: flags.images.clone(),
        dockerfile: flags.dockerfile.clone(),
        build_args: flags.build_args.clone(),
        platforms: flags.platforms.clone(),
        cache_dir: flags.cache_dir.clone(),
        warm: WarmOptions {
            freshness: Freshness { now: now(), lifetime: flags.lifetime },
            refresh: if flags.force { Refresh::Everything } else { Refresh::Expired },
            patience: PATIENCE,
        },
        strict: flags.strict,
        client: connect::registries(&flags.registry, environment)?.pull,
    })
}

impl Request {
    /// The images, each once; `dockerfile` is the text of the one that was asked for.
    pub(crate) fn images(&self, dockerfile: Option<&[u8]>) -> Result<Vec<Wanted>> {
        let mut images = Vec::new();
        let host = [Platform::host()];
        let platforms = if self.platforms.is_empty() { &host[..] } else { &self.platforms };
        for name in &self.names {
            if name == "scratch" {
                tracing::info!("scratch is no image: there is nothing to fetch");
                continue;
            }
            let reference = Reference::parse(name)?;
            images.extend(platforms.iter().map(|platform| (reference.clone(), platform.clone())));
        }
        if let Some(text) = dockerfile {
            let each = self.platforms.iter().cloned().map(Some);
            let each: Vec<_> = if each.len() == 0 { vec![None] } else { each.collect() };
            for platform in each {
                images.extend(self.base_images(text, platform)?);
            }
        }
        let mut unique: Vec<Wanted> = Vec::new();
        for image in images {
            if !unique.contains(&image) {
                unique.push(image);
            }
        }
        Ok(unique)
    }

    /// The images that the Dockerfile's stages start from or copy from, of all stages.
    fn base_images(&self, text: &[u8], platform: Option<Platform>) -> Result<Vec<Wanted>> {
        let file = dockerfile::parse(text).map_err(first)?;
        let mut options = PlanOptions::new(Platform::host());
        options.platform = platform;
        options.build_args.clone_from(&self.build_args);
        options.targets = (0..file.stages.len()).map(|index| index.to_string()).collect();
        options.lint = plan::Lint::Off;
        options.unimplemented = plan::Unimplemented::Plan;
        let graph = plan::stage_graph(&file, &options).map_err(first)?;
        let images = graph.base_images().iter();
        Ok(images.map(|image| (image.reference.clone(), image.platform.clone())).collect())
    }
}

/// One of several errors is enough to say no.
fn first<E: std::error::Error + 'static>(errors: Vec<E>) -> Box<dyn std::error::Error> {
    match errors.into_iter().next() {
        Some(error) => error.into(),
        None => "the Dockerfile is invalid".into(),
    }
}

/// The one reading of the clock.
#[expect(clippy::disallowed_methods, reason = "the rim reads the clock and passes it down")]
fn now() -> SystemTime {
    SystemTime::now()
}
