//! From flags and environment to the images that are wanted, and the way to reach them.

use std::path::{Path, PathBuf};

use cli::{Environment, WarmerFlags};
use oci::{Platform, Reference};
use plan::PlanOptions;
use registry::ClientOptions;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What to do, all defaults explicit.
pub(crate) struct Request {
    /// The images, each once.
    pub(crate) images: Vec<(Reference, Platform)>,
    /// The cache's directory.
    pub(crate) cache_dir: PathBuf,
    /// Fetch what is there, too.
    pub(crate) refresh: bool,
    /// How to reach registries.
    pub(crate) client: ClientOptions,
}

pub(crate) fn from_flags(flags: &WarmerFlags, environment: &Environment) -> Result<Request> {
    let build_platform = Platform::host();
    let platform = match &flags.platform {
        Some(text) => Some(Platform::parse(text)?),
        None => None,
    };
    let mut images = Vec::new();
    for text in &flags.images {
        let wanted = platform.clone().unwrap_or_else(|| build_platform.clone());
        images.push((Reference::parse(text)?, wanted));
    }
    if let Some(path) = &flags.dockerfile {
        let mut options = PlanOptions::new(build_platform);
        options.platform = platform;
        options.build_args.clone_from(&flags.build_args);
        images.extend(base_images(path, options)?);
    }
    let mut unique: Vec<(Reference, Platform)> = Vec::new();
    for image in images {
        if !unique.contains(&image) {
            unique.push(image);
        }
    }
    Ok(Request {
        images: unique,
        cache_dir: flags.cache_dir.clone(),
        refresh: flags.force,
        client: connect::registries(&flags.registry, environment)?.pull,
    })
}

/// The images that the Dockerfile's stages start from or copy from, of all stages.
fn base_images(path: &str, mut options: PlanOptions) -> Result<Vec<(Reference, Platform)>> {
    if path.starts_with("http://") || path.starts_with("https://") {
        return Err("a Dockerfile at an URL is not supported yet".into());
    }
    let text = read(Path::new(path))?;
    let file = dockerfile::parse(&text).map_err(first)?;
    options.targets = (0..file.stages.len()).map(|index| index.to_string()).collect();
    options.lint = plan::Lint::Off;
    options.unimplemented = plan::Unimplemented::Plan;
    let graph = plan::stage_graph(&file, &options).map_err(first)?;
    let images = graph.base_images().iter();
    Ok(images.map(|image| (image.reference.clone(), image.platform.clone())).collect())
}

/// One of several errors is enough to say no.
fn first<E: std::error::Error + 'static>(errors: Vec<E>) -> Box<dyn std::error::Error> {
    match errors.into_iter().next() {
        Some(error) => error.into(),
        None => "the Dockerfile is invalid".into(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the rim: files that the command line names")]
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()).into())
}
