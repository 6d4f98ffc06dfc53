//! What `login` changes in a docker config: one entry; everything else stays as it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::docker::{ConfigError, DockerConfig, HUB, HUB_KEY, HUB_NAMES};

/// Who logs in where.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The registry, as a person writes it.
    pub registry: &'a str,
    /// The user.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
}

impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.registry)
    }
}

/// What is to be done.
pub struct Stored {
    /// The key of the entry.
    pub server: String,
    /// The config's new text.
    pub config: Vec<u8>,
    /// The credential helper that gets the password; the config holds it if `None`.
    pub helper: Option<String>,
}

impl std::fmt::Debug for Stored {
    /// The config holds passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stored({}, helper {:?})", self.server, self.helper)
    }
}

/// Why nobody can log in so.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The config that is there cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is no registry's name.
    #[error("`{0}` is no registry: write HOST or HOST:PORT")]
    Registry(String),
    /// The user cannot be written into a config.
    #[error("a user's name holds no colon")]
    User,
}

impl Login<'_> {
    /// The change to a config; `origin` is what messages call it, `text` its text, if there is one.
    ///
    /// # Errors
    /// Where the config is not of docker's form, so that a part of it would be lost, or what is
    /// given cannot be written into one.
    pub fn store(&self, origin: &str, text: Option<&[u8]>) -> Result<Stored, LoginError> {
        let text = text.filter(|text| !text.trim_ascii().is_empty()).unwrap_or(b"{}");
        let config = DockerConfig::parse(origin, text)?;
        let server = self.server()?;
        if self.user.contains(':') {
            return Err(LoginError::User);
        }
        let host = if server == HUB_KEY { HUB } else { &server };
        let helper = config.helper(host).map(str::to_owned);
        let entry = match helper {
            // The entry says that the helper knows.
            Some(_) => json!({}),
            None => json!({"auth": STANDARD.encode(format!("{}:{}", self.user, self.password))}),
        };
        let mut document: Map<String, Value> = serde_json::from_slice(text).unwrap_or_default();
        let entries = document.entry("auths").or_insert(Value::Null);
        if !entries.is_object() {
            *entries = json!({});
        }
        entries[&server] = entry;
        Ok(Stored { server, config: indented(&document), helper })
    }

    /// The key of the registry in a config. Docker Hub has one of its own, under whatever name it is
    /// given: docker looks for no other.
    fn server(&self) -> Result<String, LoginError> {
        let wrong = || LoginError::Registry(transport::printable(self.registry, 200));
        let after = ["https://", "http://"].iter().find_map(|scheme| {
            // With a scheme there may be the path of the interface.
            self.registry.strip_prefix(scheme).and_then(|rest| rest.split('/').next())
        });
        let host = after.unwrap_or(self.registry.trim_end_matches('/'));
        if HUB_NAMES.contains(&host) {
            return Ok(HUB_KEY.to_owned());
        }
        let named = oci::Reference::parse(&format!("{host}/x")).map_err(|_| wrong())?;
        match named.registry() == host {
            true => Ok(host.to_owned()),
            false => Err(wrong()),
        }
    }
}

/// As docker writes it.
fn indented(document: &Map<String, Value>) -> Vec<u8> {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    // Into memory and of text keys alone: nothing of it can fail.
    let _ = document.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format));
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(registry: &str, user: &str, text: Option<&str>) -> Result<Stored, LoginError> {
        let login = Login { registry, user, password: "pass:word" };
        assert!(!format!("{login:?}").contains("word"));
        login.store("config.json", text.map(str::as_bytes))
    }

    #[test]
    fn one_name_for_docker_hub_and_each_registry_under_its_own() {
        let check = |registry: &str, expected: &str| {
            let found = match store(registry, "kim", None) {
                Ok(stored) => stored.server,
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{registry}");
        };
        for name in ["docker.io", "index.docker.io", "registry-1.docker.io", HUB_KEY] {
            check(name, HUB_KEY);
        }
        check("reg.example", "reg.example");
        check("reg.example:5000", "reg.example:5000");
        check("https://reg.example/v2/", "reg.example");
        check("localhost", "localhost");
        check("127.0.0.1:5000", "127.0.0.1:5000");
        check("reg.example/team", "`reg.example/team` is no registry: write HOST or HOST:PORT");
        check("somewhere", "`somewhere` is no registry: write HOST or HOST:PORT");
        check("", "`` is no registry: write HOST or HOST:PORT");
        check("a b.example", "`a b.example` is no registry: write HOST or HOST:PORT");
    }

    #[test]
    fn one_entry_changes_and_the_rest_stays() {
        let check = |text: Option<&str>, expected: &str| {
            let stored = store("reg.example", "kim", text).expect("because it is well formed");
            let shown = String::from_utf8_lossy(&stored.config);
            assert_eq!(shown, expected);
            assert!(stored.helper.is_none());
            // What was written is what is read.
            let config = DockerConfig::parse("new", &stored.config).expect("because it is");
            assert_eq!(config.places("reg.example", "x").len(), 1);
        };
        let alone = "{\n\t\"auths\": {\n\t\t\"reg.example\": {\n\t\t\t\"auth\": \
                     \"a2ltOnBhc3M6d29yZA==\"\n\t\t}\n\t}\n}\n";
        check(None, alone);
        check(Some(" \n"), alone);
        check(Some("{\"auths\": null}"), alone);
        check(Some("{\"auths\": {\"reg.example\": {\"identitytoken\": \"old\"}}}"), alone);
        check(
            Some(
                "{\"zeta\": [1, {\"b\": 2}], \"auths\": {\"other\": {\"auth\": \"YTpi\", \"email\": \"e\"}}}",
            ),
            "{\n\t\"zeta\": [\n\t\t1,\n\t\t{\n\t\t\t\"b\": 2\n\t\t}\n\t],\n\t\"auths\": {\n\t\t\"other\": \
             {\n\t\t\t\"auth\": \"YTpi\",\n\t\t\t\"email\": \"e\"\n\t\t},\n\t\t\"reg.example\": {\n\t\t\t\
             \"auth\": \"a2ltOnBhc3M6d29yZA==\"\n\t\t}\n\t}\n}\n",
        );
    }

    #[test]
    fn a_helper_that_is_configured_gets_the_password() {
        let check = |registry: &str, text: &str, expected: Option<&str>| {
            let stored = store(registry, "kim", Some(text)).expect("because it is well formed");
            assert_eq!(stored.helper.as_deref(), expected, "{text}");
            let shown = String::from_utf8_lossy(&stored.config);
            assert_eq!(shown.contains("\"auth\""), expected.is_none(), "{shown}");
        };
        check("reg.example", r#"{"credsStore": "pass"}"#, Some("pass"));
        check("reg.example", r#"{"credHelpers": {"reg.example": "own"}}"#, Some("own"));
        check("reg.example", r#"{"credHelpers": {"other.example": "own"}}"#, None);
        check(
            "docker.io",
            r#"{"credHelpers": {"https://index.docker.io/v1/": "hub"}}"#,
            Some("hub"),
        );
    }

    #[test]
    fn what_would_be_lost_or_misread_is_refused() {
        let check = |user: &str, text: &str, expected: &str| {
            let error = store("reg.example", user, Some(text)).expect_err("it is refused");
            assert_eq!(error.to_string(), expected);
        };
        check("kim", "s3cret", "`config.json` is no docker config: line 1, column 1");
        check("kim", "[]", "`config.json` is no docker config: line 1, column 1");
        check("k:im", "{}", "a user's name holds no colon");
    }
}
