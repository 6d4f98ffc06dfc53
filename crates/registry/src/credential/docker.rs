//! docker's `config.json`, which podman's `auth.json` is as well.
//!
//! An entry serves the registry it names, or, where it names a path, repositories at or below that
//! path; never a neighbour whose name begins alike.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;

use super::Credential;

/// Docker Hub, as references name it, and as configs do.
pub(super) const HUB: &str = "index.docker.io";
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";
pub(super) const HUB_NAMES: [&str; 3] = [HUB, "docker.io", "registry-1.docker.io"];
/// The user that says that the password is an identity token.
const TOKEN_USER: &str = "<token>";

/// A config that was read.
#[derive(Clone)]
pub struct DockerConfig {
    origin: String,
    entries: BTreeMap<String, Credential>,
    /// The helper for every registry that has none of its own.
    store: Option<String>,
    helpers: BTreeMap<String, String>,
}

impl std::fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DockerConfig({})", self.origin)
    }
}

/// A config that cannot be used. No secret is part of it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not JSON, or not of docker's form.
    #[error("`{origin}` is no docker config: line {line}, column {column}")]
    Json {
        /// Which config.
        origin: String,
        /// Where in it, from 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An entry holds something else than user and password.
    #[error("`{origin}`: the entry `{key}` holds no `user:password` in base64")]
    Entry {
        /// Which config.
        origin: String,
        /// Which entry.
        key: String,
    },
    /// A helper's name would be a path.
    #[error("`{origin}` names a credential helper `{name}`, which is no name")]
    Helper {
        /// Which config.
        origin: String,
        /// The name.
        name: String,
    },
}

/// What a config knows, in the order in which it counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Credential(Credential),
    /// A program has to be asked.
    Helper {
        name: &'a str,
        server: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    auths: Option<BTreeMap<String, Entry>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl DockerConfig {
    /// Reads a config; `origin` is what messages call it.
    ///
    /// # Errors
    /// Where it is not of docker's form: rather an error than no credentials.
    pub fn parse(origin: &str, text: &[u8]) -> Result<Self, ConfigError> {
        let wrong = |line, column| ConfigError::Json { origin: origin.to_owned(), line, column };
        // A list would be read as well, field by field.
        if text.trim_ascii_start().starts_with(b"[") {
            return Err(wrong(1, 1));
        }
        let document: Document =
            serde_json::from_slice(text).map_err(|error| wrong(error.line(), error.column()))?;
        let mut entries = BTreeMap::new();
        for (key, entry) in document.auths.unwrap_or_default() {
            let entry = entry.credential();
            let wrong = || ConfigError::Entry { origin: origin.to_owned(), key: key.clone() };
            if let Some(credential) = entry.map_err(|()| wrong())? {
                entries.insert(key, credential);
            }
        }
        let store = document.creds_store.filter(|name| !name.is_empty());
        let helpers = document.cred_helpers.unwrap_or_default();
        if let Some(name) = helpers.values().chain(&store).find(|name| !is_name(name)) {
            return Err(ConfigError::Helper { origin: origin.to_owned(), name: name.clone() });
        }
        Ok(Self { origin: origin.to_owned(), entries, store, helpers })
    }

    /// What messages call it.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// All that may serve a repository, the closest first: the repository itself, the paths above
    /// it, the registry; then the helper for everything.
    pub(crate) fn places(&self, registry: &str, repository: &str) -> Vec<Found<'_>> {
        let mut found = Vec::new();
        let mut path = repository;
        loop {
            for host in names(registry) {
                let key = format!("{host}/{path}");
                let helper = self.helpers.get(&key).filter(|_| path == repository);
                found.extend(helper.map(|name| Found::Helper { name, server: key.clone() }));
                found.extend(self.entries.get(&key).cloned().map(Found::Credential));
            }
            match path.rsplit_once('/') {
                Some((above, _)) => path = above,
                None => break,
            }
        }
        let server = server(registry);
        let helper = self.helper(registry);
        found.extend(helper.map(|name| Found::Helper { name, server: server.to_owned() }));
        let exact = self.entries.get(server);
        let any = || self.entries.iter().find(|(key, _)| names_registry(key, registry));
        let entry = exact.or_else(|| any().map(|(_, entry)| entry));
        found.extend(entry.cloned().map(Found::Credential));
        found
    }
}

impl DockerConfig {
    /// The helper of a registry, or the one for everything.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        let keys = || self.helpers.iter().find(|(key, _)| names_registry(key, registry));
        let own = self.helpers.get(server(registry)).or_else(|| keys().map(|(_, name)| name));
        own.or(self.store.as_ref()).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// A registry's name in a config.
fn server(registry: &str) -> &str {
    if registry == HUB { HUB_KEY } else { registry }
}

impl Entry {
    /// Nothing where the entry only says that a helper knows.
    fn credential(self) -> Result<Option<Credential>, ()> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::Bearer(self.registrytoken)));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity(self.identitytoken)));
        }
        if self.auth.is_empty() {
            let known = !self.username.is_empty();
            return Ok(known.then(|| from_pair(self.username, self.password)));
        }
        let bytes = STANDARD_NO_PAD.decode(self.auth.trim().trim_end_matches('='));
        let pair = String::from_utf8(bytes.map_err(|_| ())?).map_err(|_| ())?;
        let (user, password) = pair.split_once(':').ok_or(())?;
        let password = password.trim_end_matches('\0');
        if user.is_empty() {
            return Ok(None);
        }
        Ok(Some(from_pair(user.to_owned(), password.to_owned())))
    }
}

/// A user and a password, or an identity token in their form.
pub(crate) fn from_pair(user: String, password: String) -> Credential {
    match user == TOKEN_USER {
        true => Credential::Identity(password),
        false => Credential::Password { user, password },
    }
}

/// The names under which a registry may stand in a config.
fn names(registry: &str) -> Vec<&str> {
    match registry == HUB {
        true => HUB_NAMES.to_vec(),
        false => vec![registry],
    }
}

/// Whether a key is the registry, with or without a scheme and the path of its interface.
fn names_registry(key: &str, registry: &str) -> bool {
    let with_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = match with_scheme {
        Some(rest) => rest.split('/').next().unwrap_or_default(),
        None => key.trim_end_matches('/'),
    };
    names(registry).contains(&host)
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.bytes().all(plain) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{
        "auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnBhc3M6d29yZA=="},
            "https://old.example/v2/": {"auth": "b2xkOm9sZA"},
            "reg.example:5000": {"username": "plain", "password": "pass"},
            "reg.example:5000/team": {"auth": "dGVhbTp0"},
            "reg.example:5000/team/app": {"auth": "YXBwOmE="},
            "token.example": {"registrytoken": "abc"},
            "identity.example": {"identitytoken": "refresh", "auth": "eDp5"},
            "pair.example": {"auth": "PHRva2VuPjpyZWZyZXNo"},
            "docker.io/own": {"auth": "b3duOm8="},
            "empty.example": {},
            "helped.example": {"auth": "ZmlsZTpm"}
        },
        "credHelpers": {"helped.example": "one", "helped.example/exact": "two", "gcr.io": "gcr"}
    }"#;

    fn show(found: &[Found<'_>]) -> String {
        let show = |found: &Found<'_>| match found {
            Found::Helper { name, server } => format!("{name}({server})"),
            Found::Credential(Credential::Password { user, password }) => {
                format!("{user}:{password}")
            }
            Found::Credential(Credential::Identity(token)) => format!("identity {token}"),
            Found::Credential(Credential::Bearer(token)) => format!("bearer {token}"),
        };
        found.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    fn config(text: &str) -> DockerConfig {
        DockerConfig::parse("config.json", text.as_bytes()).expect("because it is well formed")
    }

    #[test]
    fn entries_serve_their_registry_and_what_is_below_their_path() {
        let config = config(CONFIG);
        let check = |registry: &str, repository: &str, expected: &str| {
            let found = show(&config.places(registry, repository));
            assert_eq!(found, expected, "{registry}/{repository}");
        };
        check("index.docker.io", "library/debian", "hub:pass:word");
        check("index.docker.io", "own/x", "own:o, hub:pass:word");
        check("old.example", "x", "old:old");
        check("reg.example:5000", "x", "plain:pass");
        check("reg.example:5000", "team", "team:t, plain:pass");
        check("reg.example:5000", "team/app", "app:a, team:t, plain:pass");
        check("reg.example:5000", "team/application", "team:t, plain:pass");
        check("reg.example:5000", "teams/app", "plain:pass");
        check("reg.example", "team/app", "");
        check("token.example", "x", "bearer abc");
        check("identity.example", "x", "identity refresh");
        check("pair.example", "x", "identity refresh");
        check("empty.example", "x", "");
        check("other.example", "x", "");
        // Of a host, neither another port nor what is below it.
        check("token.example:444", "x", "");
        check("sub.token.example", "x", "");
        check("token.example.evil.example", "x", "");
        check("helped.example", "x", "one(helped.example), file:f");
        let exact = "two(helped.example/exact), one(helped.example), file:f";
        check("helped.example", "exact", exact);
        check("helped.example", "exact/below", "one(helped.example), file:f");
        check("gcr.io", "p/x", "gcr(gcr.io)");
    }

    #[test]
    fn a_store_is_asked_for_every_registry() {
        let config = config(r#"{"auths": {"a.example": {}}, "credsStore": "pass"}"#);
        let check = |registry: &str, expected: &str| {
            assert_eq!(show(&config.places(registry, "x")), expected);
        };
        check("a.example", "pass(a.example)");
        check("index.docker.io", "pass(https://index.docker.io/v1/)");
    }

    #[test]
    fn what_is_no_config_is_an_error_without_its_content() {
        let check = |text: &str, expected: &str| {
            let error = DockerConfig::parse("/c", text.as_bytes()).expect_err("it is no config");
            assert_eq!(error.to_string(), expected);
        };
        check("s3cret", "`/c` is no docker config: line 1, column 1");
        check("[]", "`/c` is no docker config: line 1, column 1");
        check(r#"{"auths": []}"#, "`/c` is no docker config: line 1, column 10");
        let holds = "`/c`: the entry `r` holds no `user:password` in base64";
        check(r#"{"auths": {"r": {"auth": "s3cret!"}}}"#, holds);
        check(r#"{"auths": {"r": {"auth": "bm90aGluZw=="}}}"#, holds);
        check(
            r#"{"credsStore": "../../bin/sh"}"#,
            "`/c` names a credential helper `../../bin/sh`, which is no name",
        );
        check(
            r#"{"credHelpers": {"r": "-x"}}"#,
            "`/c` names a credential helper `-x`, which is no name",
        );
    }

    #[test]
    fn whatever_docker_writes_beside_them_is_left_alone() {
        let text = r#"{"HttpHeaders": {"User-Agent": "Docker"}, "experimental": "disabled",
            "auths": {"r": {"auth": "YTpi", "email": "x@y"}}, "credsStore": ""}"#;
        assert_eq!(show(&config(text).places("r", "x")), "a:b");
        assert_eq!(show(&config("{}").places("r", "x")), "");
    }
}
