//! What a client is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use transport::{ClientIdentity, RetryPolicy, Settings};

use crate::{Keychain, Policy, Repeat, Routes};

/// Options of a [`crate::Client`]. Registries are named as in references: host, with its port where
/// one is given; Docker Hub is `index.docker.io`.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// HTTP: user agent, authorities, resolver, proxies, time-outs.
    pub http: Settings,
    /// When a failed request is tried again.
    pub retry: RetryPolicy,
    /// Who we are to registries that ask.
    pub keychain: Arc<Keychain>,
    /// Any registry may be spoken to over http, after https was tried (`--insecure`).
    pub insecure: bool,
    /// These may (`--insecure-registry`). Loopback and private addresses may always.
    pub insecure_registries: BTreeSet<String>,
    /// No certificate is verified (`--skip-tls-verify`).
    pub skip_tls_verify: bool,
    /// The certificates of these are not verified (`--skip-tls-verify-registry`).
    pub skip_tls_verify_registries: BTreeSet<String>,
    /// Further authorities per registry, PEM (`--registry-certificate`).
    pub certificates: BTreeMap<String, Vec<u8>>,
    /// Client certificates per registry (`--registry-client-cert`).
    pub client_certificates: BTreeMap<String, ClientIdentity>,
    /// What stands in for registries when something is pulled.
    pub routes: Routes,
    /// Which images may be pulled.
    pub policy: Policy,
    /// How often an image is looked for once more.
    pub pull_again: Repeat,
    /// How often an image is pushed once more.
    pub push_again: Repeat,
    /// How many blobs are on their way at once.
    pub parallel: usize,
    /// The size of an upload's chunks; smaller blobs go in one request.
    pub chunk: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            http: Settings::default(),
            retry: RetryPolicy::default(),
            keychain: Arc::default(),
            insecure: false,
            insecure_registries: BTreeSet::new(),
            skip_tls_verify: false,
            skip_tls_verify_registries: BTreeSet::new(),
            certificates: BTreeMap::new(),
            client_certificates: BTreeMap::new(),
            routes: Routes::default(),
            policy: Policy::default(),
            pull_again: Repeat::default(),
            push_again: Repeat::default(),
            parallel: 4,
            chunk: 8 << 20,
        }
    }
}
