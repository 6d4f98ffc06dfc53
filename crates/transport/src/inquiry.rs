//! Why a connection ended before it carried anything.
//!
//! A peer that does not take our certificate, or wants one, says so when the connection stands
//! already (TLS 1.3). Under HTTP/2 that word is lost below us: all we see is a connection that was
//! closed, and would try again. Asked over HTTP/1.1, the connection tells.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use crate::error::is_alert;
use crate::{Settings, configure};

/// Asks peers why they close connections.
#[derive(Debug)]
pub(crate) struct Inquiry {
    settings: Settings,
    client: OnceLock<Option<reqwest::Client>>,
}

impl Inquiry {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), client: OnceLock::new() }
    }

    /// What the peer ends every connection with, if it does. Asks for nothing but the root, and
    /// shows no credentials.
    pub(crate) async fn alert(&self, url: &Url, failed: &reqwest::Error) -> Option<reqwest::Error> {
        if url.scheme() != "https" || self.settings.http1_only || has_io_error(failed) {
            return None;
        }
        let client = self.client.get_or_init(|| self.client()).as_ref()?;
        let root = url.join("/").ok()?;
        match timeout(PATIENCE, client.head(root).send()).await {
            Ok(Err(error)) if is_alert(&error) => Some(error.without_url()),
            _ => None,
        }
    }

    fn client(&self) -> Option<reqwest::Client> {
        let settings = Settings { http1_only: true, ..self.settings.clone() };
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        let mut builder = configure::client(builder, &settings).ok()?;
        if let Some(resolver) = &settings.resolver {
            builder = builder.dns_resolver(resolver.clone());
        }
        builder.build().ok()
    }
}

/// The request failed already; its reason is not worth more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the connection itself said what became of it.
fn has_io_error(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(this) = cause {
        if this.is::<std::io::Error>() {
            return true;
        }
        cause = this.source();
    }
    false
}
