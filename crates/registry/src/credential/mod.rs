//! Who we are to a registry: credentials, and where they are looked for.
//!
//! A [`Keychain`] asks its sources in order, and the first that knows something wins: docker's config,
//! variables named after the registry, GitLab's job. Values come in as text; *does not* read the
//! environment or files, and starts programs only where a config names a credential helper. Nothing
//! here ever prints a secret.
//!
//! Read first: [`Keychain`], then [`docker`].

pub(crate) mod docker;
pub(crate) mod helper;
mod hosts;

use std::ffi::OsString;
use std::fmt;

pub use docker::{ConfigError, DockerConfig};
pub use helper::Helpers;
pub use hosts::{GitLab, HostVariables};

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which the registry's token server changes into others.
    Identity(String),
    /// A token that is shown as it is.
    Bearer(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(***)",
            Self::Identity(_) => "Identity(***)",
            Self::Bearer(_) => "Bearer(***)",
        })
    }
}

/// Where credentials come from, in this order.
#[derive(Clone, Debug, Default)]
pub struct Keychain {
    /// Configs in docker's format, the most important first, with what they are called in messages.
    pub configs: Vec<DockerConfig>,
    /// The programs that configs may name.
    pub helpers: Helpers,
    /// Variables named after registries.
    pub variables: HostVariables,
    /// A job of GitLab's.
    pub gitlab: Option<GitLab>,
}

impl Keychain {
    /// From configs, with what messages call them, and the variables of an environment.
    ///
    /// # Errors
    /// Where a config is not of docker's form.
    pub fn new(
        configs: &[(String, Vec<u8>)],
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let parse = |(origin, text): &(String, Vec<u8>)| DockerConfig::parse(origin, text);
        let texts =
            environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        Ok(Self {
            configs: configs.iter().map(parse).collect::<Result<_, _>>()?,
            variables: HostVariables::new(texts.clone()),
            gitlab: GitLab::new(texts),
            helpers: Helpers { environment },
        })
    }

    /// What there is for a repository of a registry (named as in references: Docker Hub is
    /// `index.docker.io`). A helper that fails is told in the log, and counts as one that knows
    /// nothing: images that everybody may read need none.
    pub async fn find(&self, registry: &str, repository: &str) -> Option<Credential> {
        for config in &self.configs {
            for found in config.places(registry, repository) {
                let credential = match found {
                    docker::Found::Credential(credential) => Some(credential),
                    docker::Found::Helper { name, server } => self.ask(name, &server).await,
                };
                if let Some(credential) = credential {
                    tracing::debug!("credentials for {registry} from {}", config.origin());
                    return Some(credential);
                }
            }
        }
        if let Some(credential) = self.variables.find(registry) {
            tracing::debug!("credentials for {registry} from variables of the environment");
            return Some(credential);
        }
        let gitlab = self.gitlab.as_ref().and_then(|gitlab| gitlab.find(registry));
        if gitlab.is_some() {
            tracing::debug!("credentials for {registry} from GitLab's job");
        }
        gitlab
    }

    async fn ask(&self, name: &str, server: &str) -> Option<Credential> {
        match self.helpers.get(name, server).await {
            Ok(credential) => credential,
            Err(error) => {
                tracing::warn!("docker-credential-{name} gives nothing for {server}: {error}");
                None
            }
        }
    }
}
