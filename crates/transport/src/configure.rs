//! The settings in the terms of reqwest, for its two kinds of client.

use std::time::Duration;

use crate::proxy::ProxyRules;
use crate::{Error, Result, Settings};

/// What both builders are told. They have the same methods, but no type in common.
macro_rules! configure {
    ($name:ident, $builder:ty, $doc:literal) => {
        #[doc = $doc]
        pub(crate) fn $name(builder: $builder, settings: &Settings) -> Result<$builder> {
            let mut builder = builder
                .user_agent(&settings.user_agent)
                .referer(false)
                .no_proxy()
                .tcp_nodelay(true)
                .tcp_keepalive(Duration::from_secs(30))
                .connect_timeout(settings.connect_timeout)
                .tls_danger_accept_invalid_certs(settings.skip_tls_verify);
            let mut certificates = Vec::new();
            for der in settings.roots.certificates() {
                let certificate = reqwest::Certificate::from_der(der);
                certificates.push(certificate.map_err(refused("a certificate authority"))?);
            }
            builder = builder.tls_certs_only(certificates);
            if let Some(identity) = &settings.identity {
                let identity = reqwest::Identity::from_pem(&identity.pem);
                builder = builder.identity(identity.map_err(refused("the client certificate"))?);
            }
            if settings.http1_only {
                builder = builder.http1_only();
            }
            let rules = ProxyRules::new(&settings.proxies)?;
            if !rules.is_empty() {
                // reqwest's own reading of NO_PROXY knows no ports.
                let choose = move |url: &url::Url| rules.proxy(url).cloned();
                builder = builder.proxy(reqwest::Proxy::custom(choose));
            }
            Ok(builder)
        }
    };
}

configure!(client, reqwest::ClientBuilder, "The client of this crate.");
configure!(blocking, reqwest::blocking::ClientBuilder, "The client of a library that blocks.");

/// Applies the settings to the client of a library that brings its own (git). Redirects and
/// retries are that library's; silence of the other side is cut here too.
pub fn configure_blocking_client(
    builder: reqwest::blocking::ClientBuilder,
    settings: &Settings,
) -> Result<reqwest::blocking::ClientBuilder> {
    // In the blocking client this bounds each wait, not the whole transfer.
    let builder = blocking(builder, settings)?.timeout(settings.answer_timeout);
    Ok(match &settings.resolver {
        Some(resolver) => builder.dns_resolver(std::sync::Arc::new(resolver.clone())),
        None => builder,
    })
}

/// For `map_err`: the setting that was refused.
pub(crate) fn refused(what: &'static str) -> impl FnOnce(reqwest::Error) -> Error {
    move |source| Error::Setup { what: what.to_owned(), source: Some(Box::new(source)) }
}
