//! What an HTTP client is made from. Plain values: whoever fills them in reads flags and the
//! environment, this crate does not.

use std::path::Path;
use std::time::Duration;

use crate::{Resolver, RootSources, Roots};

/// Settings of one client. One client is made per set of settings: certificates of one registry
/// are never trusted for another.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Certificate authorities, loaded once at start.
    pub roots: Roots,
    /// How names become addresses; without one libc is asked.
    pub resolver: Option<Resolver>,
    /// Proxies.
    pub proxies: Proxies,
    /// Do not verify the peer's certificate.
    pub skip_tls_verify: bool,
    /// The certificate and key shown to the peer.
    pub identity: Option<ClientIdentity>,
    /// Never speak HTTP/2.
    pub http1_only: bool,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// How long the other side may be silent, or slower than 16 KiB in this time, before the
    /// request counts as failed.
    pub idle_timeout: Duration,
    /// How long an answer may take once a body was sent: committing a large blob takes its time.
    pub answer_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user_agent: concat!("kaniko-rs/", env!("CARGO_PKG_VERSION")).to_owned(),
            roots: Roots::default(),
            resolver: None,
            proxies: Proxies::default(),
            skip_tls_verify: false,
            identity: None,
            http1_only: false,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// The settings of this host: its authorities, its hosts file and name servers, and these
    /// proxies. Reads files, so it is called before a root file system may change.
    #[must_use]
    pub fn of_host(authorities: &RootSources, proxies: Proxies) -> Self {
        Self {
            roots: Roots::load(authorities),
            resolver: Some(Resolver::load(Path::new("/etc/hosts"), Path::new("/etc/resolv.conf"))),
            proxies,
            ..Self::default()
        }
    }
}

/// Values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or of flags.
#[derive(Clone, Default)]
pub struct Proxies {
    /// Proxy for http addresses.
    pub http: Option<String>,
    /// Proxy for https addresses.
    pub https: Option<String>,
    /// Hosts that are asked directly, comma-separated, as curl and Go read it.
    pub no_proxy: Option<String>,
}

impl std::fmt::Debug for Proxies {
    /// A proxy's address may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// A client certificate chain and its private key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// Certificate chain and key, both PEM, in one text.
    pub pem: Vec<u8>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientIdentity(***)")
    }
}
