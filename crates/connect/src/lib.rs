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

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cli::{Environment, RegistryFlags};
use registry::{
    ClientIdentity, ClientOptions, Keychain, Policy, Proxies, Repeat, RootSources, Routes, Rule,
    Settings,
};

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
    /// What shall stand in for a registry.
    #[error(transparent)]
    Place(#[from] registry::NoPlace),
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
    let http = Settings { http1_only: flags.http1_only, ..settings(environment) };
    let default = ClientOptions::default();
    let both = ClientOptions {
        keychain: Arc::new(keychain(flags, environment, &http)?),
        http,
        insecure_registries: names(&flags.insecure_registries),
        skip_tls_verify: flags.skip_tls_verify,
        skip_tls_verify_registries: names(&flags.skip_tls_verify_registries),
        certificates: certificates(flags)?,
        client_certificates: identities(flags)?,
        routes: routes(flags)?,
        policy: Policy {
            registries: rule(&flags.registries),
            repositories: rule(&flags.repositories),
        },
        pull_again: repeat(flags.pull_again),
        push_again: repeat(flags.push_again),
        parallel: flags.parallel.unwrap_or(default.parallel),
        ..default
    };
    Ok(Registries {
        pull: ClientOptions {
            insecure: flags.insecure_pull,
            // As in kaniko, the plain flag holds for both directions.
            skip_tls_verify: flags.skip_tls_verify || flags.skip_tls_verify_pull,
            ..both.clone()
        },
        push: ClientOptions {
            insecure: flags.insecure,
            // What is pushed goes where it is sent, and is looked for there.
            routes: Routes::default(),
            policy: Policy::default(),
            ..both
        },
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
    let user_agent = user_agent(network.client_type.as_deref());
    Settings { user_agent, ..Settings::of_host(&authorities, proxies) }
}

/// kaniko's token first: there are registries that let nobody else in.
fn user_agent(client_type: Option<&str>) -> String {
    let upstream = client_type.map(|name| format!(",{name}")).unwrap_or_default();
    format!("kaniko/{}{upstream} kaniko-rs/{}", cli::KANIKO_VERSION, cli::VERSION)
}

/// Registries as references name them.
fn names(hosts: &[String]) -> BTreeSet<String> {
    hosts.iter().map(|host| registry::registry_name(host).to_owned()).collect()
}

fn routes(flags: &RegistryFlags) -> Result<Routes, Error> {
    let mut routes = Routes::default();
    for (registry, place) in &flags.stand_ins {
        routes.add(registry, place)?;
    }
    routes.only_stand_ins = flags.only_stand_ins;
    Ok(routes)
}

fn rule(patterns: &cli::Patterns) -> Rule {
    Rule { allowed: patterns.allowed.clone(), denied: patterns.denied.clone() }
}

fn repeat(again: cli::Again) -> Repeat {
    let cli::Again { times, first_pause, longest_pause, factor } = again;
    Repeat { times, first_pause, longest_pause, factor }
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
        certificates.insert(registry::registry_name(registry).to_owned(), pem);
    }
    Ok(certificates)
}

fn identities(flags: &RegistryFlags) -> Result<BTreeMap<String, ClientIdentity>, Error> {
    let mut identities = BTreeMap::new();
    for cli::ClientCertificate { registry, certificate, key } in &flags.client_certificates {
        let flag = "--registry-client-cert";
        let mut pem = read(flag, registry, certificate)?;
        pem.push(b'\n');
        pem.extend(read(flag, registry, key)?);
        let name = registry::registry_name(registry).to_owned();
        identities.insert(name, ClientIdentity { pem });
    }
    Ok(identities)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn made(flags: &RegistryFlags, variables: &[(&str, &str)]) -> Registries {
        let environment = Environment::from_pairs(variables);
        registries(flags, &environment).expect("because the flags are good")
    }

    #[test]
    fn kanikos_token_comes_first() {
        let version = cli::VERSION;
        for (client_type, expected) in [
            (None, format!("kaniko/1.28.3 kaniko-rs/{version}")),
            (Some("Upstream"), format!("kaniko/1.28.3,Upstream kaniko-rs/{version}")),
            // Nothing gets into a header that is no part of a word.
            (Some("a b\r\nX: y\u{fc}"), format!("kaniko/1.28.3,abX:y kaniko-rs/{version}")),
        ] {
            let variables: Vec<_> =
                client_type.iter().map(|name| ("UPSTREAM_CLIENT_TYPE", *name)).collect();
            let made = made(&RegistryFlags::default(), &variables);
            assert_eq!(made.pull.http.user_agent, expected);
            assert_eq!(made.push.http.user_agent, expected);
        }
    }

    #[test]
    fn docker_hub_has_one_name_and_directions_their_own_flags() {
        let hosts = || vec!["docker.io".to_owned(), "r:5".to_owned()];
        let flags = RegistryFlags {
            insecure: true,
            skip_tls_verify_pull: true,
            insecure_registries: hosts(),
            skip_tls_verify_registries: hosts(),
            stand_ins: vec![("docker.io".to_owned(), "m".to_owned())],
            only_stand_ins: true,
            parallel: Some(9),
            ..RegistryFlags::default()
        };
        let Registries { pull, push } = made(&flags, &[]);
        let names = BTreeSet::from(["index.docker.io".to_owned(), "r:5".to_owned()]);
        for one in [&pull, &push] {
            assert_eq!(one.insecure_registries, names);
            assert_eq!(one.skip_tls_verify_registries, names);
            assert_eq!(one.parallel, 9);
        }
        assert_eq!((pull.insecure, pull.skip_tls_verify), (false, true));
        assert_eq!((push.insecure, push.skip_tls_verify), (true, false));
        // What is pushed goes where it is sent.
        assert!(pull.routes.only_stand_ins && pull.routes != Routes::default());
        assert_eq!(push.routes, Routes::default());
    }
}
