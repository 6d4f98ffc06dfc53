//! The environment, read once when the program starts.
//!
//! No other place of the workspace asks the operating system for a variable: everything below gets
//! values. Does not interpret; the flags and the programs do.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What stays in the program's environment: where programs are found, and how panics are told.
const LEFT: [&str; 3] = ["PATH", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];

/// The variables of the program.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// They are nowhere else.
    forgotten: bool,
}

impl Environment {
    /// Reads the program's own environment.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    pub fn read() -> Self {
        Self { variables: std::env::vars_os().collect(), forgotten: false }
    }

    /// Reads the program's own environment and takes it away: from here on it is in this value
    /// alone, neither in `/proc/PID/environ` nor in what a child inherits.
    ///
    /// Call it first in `main`, before there is a second thread.
    #[must_use]
    pub fn take() -> Self {
        let environment = Self::read();
        let forgotten = sys::forget_environment(&LEFT).is_ok();
        Self { forgotten, ..environment }
    }

    /// Whether nobody else can find the variables in this program's environment any more.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// An environment with these variables only.
    #[must_use]
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        let variables = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, forgotten: false }
    }

    /// The value of a variable; an empty one counts as unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|v| !v.is_empty())
    }

    /// The value of a variable if it is text; an empty one counts as unset.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// All variables.
    pub(crate) fn pairs(&self) -> Vec<(OsString, OsString)> {
        self.variables.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The value of a variable if it is set, be it empty.
    pub(crate) fn raw_text(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name)).and_then(|value| value.to_str())
    }
}

/// What the environment says about the way to other hosts, under the names that Go programs and
/// OpenSSL use.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// A file of certificate authorities, instead of the system's.
    pub certificate_file: Option<PathBuf>,
    /// Directories of them, colon between.
    pub certificate_dirs: Option<String>,
    /// The proxy for http.
    pub http_proxy: Option<String>,
    /// The proxy for https.
    pub https_proxy: Option<String>,
    /// What is reached without a proxy.
    pub no_proxy: Option<String>,
    /// What is built on top of this program, for the `User-Agent`; visible ASCII only.
    pub client_type: Option<String>,
    /// `GODEBUG` says `http2client=0`, as it does in pods behind proxies that break HTTP/2.
    pub http1_only: bool,
}

impl std::fmt::Debug for Network {
    /// A proxy's address may hold a password.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Network")
            .field("certificate_file", &self.certificate_file)
            .field("certificate_dirs", &self.certificate_dirs)
            .field("http_proxy", &self.http_proxy.is_some())
            .field("https_proxy", &self.https_proxy.is_some())
            .field("no_proxy", &self.no_proxy)
            .field("client_type", &self.client_type)
            .field("http1_only", &self.http1_only)
            .finish()
    }
}

impl Environment {
    /// How other hosts are reached. Where both spellings of a name are set, the upper-case one
    /// counts.
    #[must_use]
    pub fn network(&self) -> Network {
        let text =
            |names: &[&str]| names.iter().find_map(|name| self.text(name)).map(str::to_owned);
        let visible = |text: String| text.chars().filter(char::is_ascii_graphic).collect();
        let debug = self.text("GODEBUG").unwrap_or_default();
        Network {
            certificate_file: text(&["SSL_CERT_FILE"]).map(PathBuf::from),
            certificate_dirs: text(&["SSL_CERT_DIR"]),
            http_proxy: text(&["HTTP_PROXY", "http_proxy"]),
            https_proxy: text(&["HTTPS_PROXY", "https_proxy"]),
            no_proxy: text(&["NO_PROXY", "no_proxy"]),
            client_type: text(&["UPSTREAM_CLIENT_TYPE"]).map(visible),
            http1_only: debug.split(',').any(|setting| setting.trim() == "http2client=0"),
        }
    }
}

impl std::fmt::Debug for Environment {
    /// Values may be secrets, so only the names are shown.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset_and_values_are_never_printed() {
        let environment = Environment::from_pairs(&[("EMPTY", ""), ("TOKEN", "s3cret")]);
        assert_eq!(environment.get("EMPTY"), None);
        assert_eq!(environment.raw_text("EMPTY"), Some(""));
        assert_eq!(environment.text("TOKEN"), Some("s3cret"));
        assert_eq!(format!("{environment:?}"), r#"{"EMPTY", "TOKEN"}"#);
    }

    #[test]
    fn the_network_has_the_names_that_go_programs_know() {
        let network = Environment::from_pairs(&[
            ("SSL_CERT_FILE", "/ca.pem"),
            ("http_proxy", "http://lower"),
            ("https_proxy", "http://lower"),
            ("HTTPS_PROXY", "http://upper"),
            ("NO_PROXY", ""),
        ]);
        let expected = Network {
            certificate_file: Some(PathBuf::from("/ca.pem")),
            http_proxy: Some("http://lower".to_owned()),
            https_proxy: Some("http://upper".to_owned()),
            ..Network::default()
        };
        assert_eq!(network.network(), expected);
        assert!(!format!("{expected:?}").contains("upper"), "{expected:?}");
    }
}
