//! Where credentials are looked for, and in which order.

use std::ffi::OsString;
use std::sync::Arc;

use super::cloud::{Cloud, Grant};
use super::docker::{self, ConfigError, DockerConfig};
use super::helper::{HelperError, Helpers};
use super::hosts::{GitLab, HostVariables};

/// Where credentials come from: configs first, then the sources.
#[derive(Debug, Default)]
pub struct Keychain {
    /// Configs in docker's format, the most important first, with what they are called in messages.
    pub configs: Vec<DockerConfig>,
    /// The programs that configs may name.
    pub helpers: Helpers,
    /// Clouds that stand in for programs which configs name and which are not there.
    pub clouds: Vec<Arc<dyn Cloud>>,
    /// Asked in this order where no config knows the registry.
    pub sources: Vec<Source>,
}

/// Something beside docker's configs that knows credentials.
#[derive(Clone, Debug)]
pub enum Source {
    /// Variables named after registries.
    Variables(HostVariables),
    /// A cloud, for its own registries.
    Cloud(Arc<dyn Cloud>),
    /// A job of GitLab's.
    GitLab(GitLab),
}

/// What a credential is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The registry, named as in references: Docker Hub is `index.docker.io`.
    pub registry: &'a str,
    /// The repository.
    pub repository: &'a str,
    /// Nobody on the way can read it. What a cloud gives is never sent in clear.
    pub encrypted: bool,
}

impl Keychain {
    /// From configs, with what messages call them, the variables of an environment, and clouds.
    /// `chosen` are the sources in their order, by the names of kaniko's `--credential-helpers`;
    /// without it there are all: the variables, the clouds, GitLab.
    ///
    /// # Errors
    /// Where a config is not of docker's form.
    pub fn new(
        configs: &[(String, Vec<u8>)],
        environment: Vec<(OsString, OsString)>,
        clouds: Vec<Arc<dyn Cloud>>,
        chosen: Option<&[String]>,
    ) -> Result<Self, ConfigError> {
        let parse = |(origin, text): &(String, Vec<u8>)| DockerConfig::parse(origin, text);
        let configs: Vec<DockerConfig> = configs.iter().map(parse).collect::<Result<_, _>>()?;
        let texts =
            environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        let variables = Source::Variables(HostVariables::new(texts.clone()));
        let gitlab = GitLab::new(texts).map(Source::GitLab);
        let all = std::iter::once(variables)
            .chain(clouds.iter().map(|cloud| Source::Cloud(Arc::clone(cloud))))
            .chain(gitlab);
        let sources: Vec<Source> = match chosen {
            None => all.collect(),
            Some(chosen) => choose(&all.collect::<Vec<_>>(), chosen, &clouds),
        };
        let files = configs.iter().map(|config| config.origin().to_owned());
        let names: Vec<String> =
            files.chain(sources.iter().map(|source| source.name().to_owned())).collect();
        tracing::debug!("credential providers by priority: [{}]", names.join(", "));
        Ok(Self { configs, helpers: Helpers::new(environment), clouds, sources })
    }

    /// Asks the programs that configs name for a repository, so that their answers are known later.
    pub async fn ask_programs(&self, registry: &str, repository: &str) {
        for config in &self.configs {
            for found in config.places(registry, repository) {
                if let docker::Found::Helper { name, server } = found {
                    // What it fails with is told when its answer is needed.
                    let _ = self.helpers.get(name, &server).await;
                }
            }
        }
    }

    /// From now on no program is run: an image's files may lie where one lay. What the programs said
    /// before stays known.
    pub async fn seal(&self) {
        self.helpers.seal().await;
    }

    /// What there is. A helper or a cloud that fails is told in the log, and counts as one that
    /// knows nothing: images that everybody may read need none.
    pub async fn find(&self, asked: &Asked<'_>) -> Option<Grant> {
        for config in &self.configs {
            for found in config.places(asked.registry, asked.repository) {
                let grant = match found {
                    docker::Found::Credential(credential) => {
                        let origin = format!("`{}`", config.origin());
                        Some(Grant { credential, until: None, origin })
                    }
                    docker::Found::Helper { name, server } => {
                        self.ask_helper(config, name, &server, asked).await
                    }
                };
                if grant.is_some() {
                    return tell(asked, grant);
                }
            }
        }
        for source in &self.sources {
            let grant = source.find(asked).await;
            if grant.is_some() {
                return tell(asked, grant);
            }
        }
        None
    }

    async fn ask_helper(
        &self,
        config: &DockerConfig,
        name: &str,
        server: &str,
        asked: &Asked<'_>,
    ) -> Option<Grant> {
        match self.helpers.get(name, server).await {
            Ok(credential) => {
                let origin = format!("docker-credential-{name}, named in `{}`", config.origin());
                credential.map(|credential| Grant { credential, until: None, origin })
            }
            Err(error) => {
                // Behind the seal nobody looks whether there is one; what is built in may be asked.
                if matches!(error, HelperError::Missing | HelperError::Sealed)
                    && let Some(cloud) = self.clouds.iter().find(|cloud| cloud.helper() == name)
                {
                    return ask_cloud(cloud.as_ref(), asked).await;
                }
                tracing::warn!("docker-credential-{name} gives nothing for {server}: {error}");
                None
            }
        }
    }
}

/// The sources of these names, in their order. The empty name stands for none.
fn choose(all: &[Source], chosen: &[String], clouds: &[Arc<dyn Cloud>]) -> Vec<Source> {
    let mut sources = Vec::new();
    for name in chosen {
        let known = ["", "env", "gitlab"].contains(&name.as_str())
            || clouds.iter().any(|cloud| cloud.name() == name);
        if !known {
            let shown = transport::printable(name, 60);
            tracing::warn!("unknown source of credentials `{shown}`, skipped");
        }
        sources.extend(all.iter().find(|source| source.name() == name).cloned());
    }
    sources
}

fn tell(asked: &Asked<'_>, grant: Option<Grant>) -> Option<Grant> {
    if let Some(grant) = &grant {
        tracing::debug!("credentials for {} from {}", asked.registry, grant.origin);
    }
    grant
}

impl Source {
    /// The name that kaniko's `--credential-helpers` has for it.
    fn name(&self) -> &'static str {
        match self {
            Self::Variables(_) => "env",
            Self::Cloud(cloud) => cloud.name(),
            Self::GitLab(_) => "gitlab",
        }
    }

    async fn find(&self, asked: &Asked<'_>) -> Option<Grant> {
        let (credential, origin) = match self {
            Self::Variables(variables) => {
                (variables.find(asked.registry), "the variables KANIKO_*")
            }
            Self::GitLab(gitlab) => (gitlab.find(asked.registry), "the variables CI_REGISTRY_*"),
            Self::Cloud(cloud) => return ask_cloud(cloud.as_ref(), asked).await,
        };
        credential.map(|credential| Grant { credential, until: None, origin: origin.to_owned() })
    }
}

/// What a cloud gives for a registry of its own.
async fn ask_cloud(cloud: &dyn Cloud, asked: &Asked<'_>) -> Option<Grant> {
    let (name, registry) = (cloud.name(), asked.registry);
    if !cloud.serves(registry) {
        return None;
    }
    if !asked.encrypted {
        tracing::warn!("{name} is not asked for credentials: {registry} is spoken to in clear");
        return None;
    }
    match cloud.grant(registry).await {
        Ok(Some(grant)) => Some(grant),
        Ok(None) => {
            tracing::debug!("{name} has no credentials for {registry}: nothing says who we are");
            None
        }
        Err(error) => {
            tracing::warn!(
                "{name} gives no credentials for {registry}: {}",
                transport::chain(error.as_ref())
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{Asking, Credential};

    /// A cloud that serves `*.cloud.test`.
    #[derive(Debug)]
    struct Fake(&'static str, &'static str);

    impl Cloud for Fake {
        fn name(&self) -> &'static str {
            self.0
        }

        fn helper(&self) -> &'static str {
            self.1
        }

        fn serves(&self, registry: &str) -> bool {
            registry.ends_with(".cloud.test")
        }

        fn grant<'a>(&'a self, registry: &'a str) -> Asking<'a> {
            let answer = match registry.split('.').next() {
                Some("broken") => Err("its server is down".into()),
                Some("unknown") => Ok(None),
                _ => {
                    let credential = Credential::Bearer(format!("{} for {registry}", self.0));
                    Ok(Some(Grant { credential, until: None, origin: self.0.to_owned() }))
                }
            };
            Box::pin(std::future::ready(answer))
        }
    }

    const VARIABLES: &[(&str, &str)] = &[
        ("KANIKO_BOTH_CLOUD_TEST_USER", "kim"),
        ("KANIKO_BOTH_CLOUD_TEST_PASSWORD", "variables"),
        ("CI_REGISTRY", "job.cloud.test"),
        ("CI_REGISTRY_USER", "job"),
        ("CI_REGISTRY_PASSWORD", "gitlab"),
    ];

    async fn find(
        config: &str,
        chosen: Option<&[&str]>,
        registry: &str,
        encrypted: bool,
    ) -> String {
        let environment = VARIABLES.iter().map(|(name, value)| (name.into(), value.into()));
        let clouds: Vec<Arc<dyn Cloud>> =
            vec![Arc::new(Fake("first", "one")), Arc::new(Fake("second", "two"))];
        let chosen: Option<Vec<String>> =
            chosen.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let configs = [("config".to_owned(), config.as_bytes().to_vec())];
        let keychain = Keychain::new(&configs, environment.collect(), clouds, chosen.as_deref())
            .expect("because the config is well formed");
        let asked = Asked { registry, repository: "x", encrypted };
        match keychain.find(&asked).await.map(|grant| grant.credential) {
            Some(Credential::Password { password, .. }) => password,
            Some(Credential::Bearer(token) | Credential::Identity(token)) => token,
            None => "none".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_first_source_that_knows_something() {
        let check = async |registry: &str, expected: &str| {
            assert_eq!(find("{}", None, registry, true).await, expected, "{registry}");
        };
        check("both.cloud.test", "variables").await;
        check("a.cloud.test", "first for a.cloud.test").await;
        check("job.cloud.test", "first for job.cloud.test").await;
        check("broken.cloud.test", "none").await;
        check("unknown.cloud.test", "none").await;
        check("cloud.test.example", "none").await;
        let clear = find("{}", None, "a.cloud.test", false).await;
        assert_eq!(clear, "none", "what a cloud gives is not for a wire that others read");
        assert_eq!(find("{}", None, "both.cloud.test", false).await, "variables");
    }

    #[tokio::test]
    async fn sources_can_be_chosen() {
        let check = async |chosen: &[&str], registry: &str, expected: &str| {
            assert_eq!(find("{}", Some(chosen), registry, true).await, expected, "{chosen:?}");
        };
        check(&["gitlab", "first"], "job.cloud.test", "gitlab").await;
        check(&["second", "first"], "a.cloud.test", "second for a.cloud.test").await;
        check(&["first"], "both.cloud.test", "first for both.cloud.test").await;
        check(&["env"], "a.cloud.test", "none").await;
        check(&["no-such", "env"], "both.cloud.test", "variables").await;
        check(&[""], "both.cloud.test", "none").await;
        check(&[], "a.cloud.test", "none").await;
    }

    #[tokio::test]
    async fn a_cloud_stands_in_for_a_program_that_is_not_there() {
        let check = async |config: &str, registry: &str, expected: &str| {
            assert_eq!(find(config, Some(&[""]), registry, true).await, expected, "{config}");
        };
        let named = r#"{"credHelpers": {"a.cloud.test": "two"}}"#;
        check(named, "a.cloud.test", "second for a.cloud.test").await;
        check(named, "b.cloud.test", "none").await;
        let store = r#"{"credsStore": "one"}"#;
        check(store, "a.cloud.test", "first for a.cloud.test").await;
        // Never for a registry of somebody else.
        check(store, "a.cloud.test.evil.example", "none").await;
        check(r#"{"credsStore": "three"}"#, "a.cloud.test", "none").await;
    }

    /// A config whose helper is missing hands out nobody else's secret.
    #[tokio::test]
    async fn a_missing_program_means_nothing_for_its_registry_alone() {
        let config =
            r#"{"credsStore": "gone", "auths": {"other.example": {"auth": "YTpzZWNyZXQ="}}}"#;
        assert_eq!(find(config, None, "own.example", true).await, "none");
        assert_eq!(find(config, None, "other.example", true).await, "secret");
    }
}
