//! From flags and environment to the images that are wanted, and the way to reach them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cli::{Environment, RegistryFlags, WarmerFlags};
use oci::{Platform, Reference};
use plan::PlanOptions;
use registry::{ClientOptions, Keychain, Proxies, RootSources, Settings};

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
        client: client_options(&flags.registry, environment)?,
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

/// The way to registries.
fn client_options(flags: &RegistryFlags, environment: &Environment) -> Result<ClientOptions> {
    let network = environment.network();
    let found = environment.authentication()?;
    let authorities =
        RootSources { file: network.certificate_file, dirs: network.certificate_dirs };
    let proxies = Proxies {
        http: network.http_proxy,
        https: network.https_proxy,
        no_proxy: network.no_proxy,
    };
    let mut certificates = BTreeMap::new();
    for (registry, path) in &flags.certificates {
        certificates.insert(registry.clone(), read(path)?);
    }
    Ok(ClientOptions {
        http: Settings::of_host(&authorities, proxies),
        keychain: Arc::new(Keychain::new(&found.configs, found.environment)?),
        insecure: flags.insecure_pull,
        insecure_registries: flags.insecure_registries.iter().cloned().collect(),
        skip_tls_verify: flags.skip_tls_verify || flags.skip_tls_verify_pull,
        skip_tls_verify_registries: flags.skip_tls_verify_registries.iter().cloned().collect(),
        certificates,
        ..ClientOptions::default()
    })
}

#[expect(clippy::disallowed_methods, reason = "the rim: files that the command line names")]
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()).into())
}
