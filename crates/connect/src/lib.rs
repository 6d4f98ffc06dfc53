//! The way to registries, as the flags and the environment of a program ask for it.
//!
//! Responsible for: making [`registry::ClientOptions`] of [`cli::RegistryFlags`] and
//! [`cli::Environment`], the same for both programs. Reads the files that they name (authorities,
//! configs, name servers), so it is called before a root file system may change.
//!
//! Does not: connect, or look at the environment itself. It is a crate of its own because `cli` must
//! not need HTTP to describe a flag, and `registry` must not know flags.
//!
//! Read first: [`registries`].
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cli::{Environment, RegistryFlags};
use registry::{ClientOptions, Keychain, Proxies, RootSources, Settings};

/// No file of certificates or credentials is larger.
const FILE_LIMIT: u64 = 1 << 20;

/// The way to registries in both directions.
#[derive(Clone, Debug)]
pub struct Registries {
    /// For what is read: base images, images that steps copy from.
    pub pull: ClientOptions,
    /// For what is written.
    pub push: ClientOptions,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of credentials.
    #[error(transparent)]
    Unreadable(#[from] cli::UnreadableConfig),
    /// The text of credentials.
    #[error(transparent)]
    Config(#[from] registry::ConfigError),
    /// A file that a flag names.
    #[error("cannot read `{}`, which {flag} names for `{registry}`", path.display())]
    File {
        /// The flag.
        flag: &'static str,
        /// For which registry.
        registry: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The way that flags and environment ask for.
///
/// # Errors
/// Where a file that they name cannot be read, or holds something else.
pub fn registries(flags: &RegistryFlags, environment: &Environment) -> Result<Registries, Error> {
    let http = settings(environment);
    let both = ClientOptions {
        keychain: Arc::new(keychain(flags, environment, &http)?),
        http,
        insecure_registries: flags.insecure_registries.iter().cloned().collect(),
        skip_tls_verify: flags.skip_tls_verify,
        skip_tls_verify_registries: flags.skip_tls_verify_registries.iter().cloned().collect(),
        certificates: certificates(flags)?,
        ..ClientOptions::default()
    };
    Ok(Registries {
        pull: ClientOptions {
            insecure: flags.insecure_pull,
            // As in kaniko, the plain flag holds for both directions.
            skip_tls_verify: flags.skip_tls_verify || flags.skip_tls_verify_pull,
            ..both.clone()
        },
        push: ClientOptions { insecure: flags.insecure, ..both },
    })
}

/// HTTP to any host.
fn settings(environment: &Environment) -> Settings {
    let network = environment.network();
    let authorities =
        RootSources { file: network.certificate_file, dirs: network.certificate_dirs };
    let proxies = Proxies {
        http: network.http_proxy,
        https: network.https_proxy,
        no_proxy: network.no_proxy,
    };
    Settings::of_host(&authorities, proxies)
}

/// Who we are: by configs, variables and GitLab's job, and in the clouds.
fn keychain(
    flags: &RegistryFlags,
    environment: &Environment,
    http: &Settings,
) -> Result<Keychain, Error> {
    let found = environment.authentication()?;
    let texts = found.environment.iter();
    let texts = texts.filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    let inputs = cloud::Inputs::read(texts, read_bounded);
    let clouds = cloud::clouds(inputs, http, now());
    let chosen = flags.credential_helpers.as_deref();
    Ok(Keychain::new(&found.configs, found.environment, clouds, chosen)?)
}

/// The time, which signatures carry.
#[expect(clippy::disallowed_methods, reason = "the rim reads the clock and passes it down")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn certificates(flags: &RegistryFlags) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut certificates = BTreeMap::new();
    for (registry, path) in &flags.certificates {
        let pem = read("--registry-certificate", registry, path)?;
        certificates.insert(registry.clone(), pem);
    }
    Ok(certificates)
}

fn read(flag: &'static str, registry: &str, path: &Path) -> Result<Vec<u8>, Error> {
    read_bounded(path).map_err(|source| Error::File {
        flag,
        registry: registry.to_owned(),
        path: path.to_owned(),
        source,
    })
}

#[allow(clippy::disallowed_methods, reason = "files of flags and variables, before the build")]
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_LIMIT {
        true => Err(std::io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}
