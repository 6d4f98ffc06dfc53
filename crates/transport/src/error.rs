//! Everything that can go wrong between a request and the end of its answer.

use std::time::Duration;

use crate::retry::Retryable;

/// A failed exchange. Addresses are shown without user name, password and query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client could not be made from its settings.
    #[error("cannot set up http with {what}")]
    Setup {
        /// The setting that was refused.
        what: String,
        /// What the library below said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// No connection: name not found, refused, unreachable, TLS failure.
    #[error("cannot connect to `{url}`")]
    Connect {
        /// The address asked.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to `{url}` broke")]
    Broken {
        /// The address asked.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing, or next to nothing, arrived for too long.
    #[error("`{url}` went silent for {} s", idle.as_secs_f32())]
    Silent {
        /// The address asked.
        url: String,
        /// How long was waited.
        idle: Duration,
    },
    /// The body is larger than what is accepted.
    #[error("the answer of `{url}` is larger than {limit} bytes")]
    TooLarge {
        /// The address asked.
        url: String,
        /// The cap.
        limit: u64,
    },
    /// The body comes in a coding nobody asked for.
    #[error("the answer of `{url}` has the content encoding `{encoding}`")]
    Encoding {
        /// The address asked.
        url: String,
        /// The coding.
        encoding: String,
    },
    /// A redirect that is not followed.
    #[error("`{url}` redirects {why}")]
    Redirect {
        /// The address that answered with the redirect.
        url: String,
        /// Which rule it breaks.
        why: String,
    },
    /// The request's own body could not be read.
    #[error("cannot read what is to be sent to `{url}`")]
    Source {
        /// The address asked.
        url: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Retryable for Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Connect { source, .. } => !is_certificate(source),
            Self::Broken { source, .. } => !is_alert(source),
            Self::Silent { .. } => true,
            Self::Setup { .. }
            | Self::TooLarge { .. }
            | Self::Encoding { .. }
            | Self::Redirect { .. }
            | Self::Source { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }
}

impl Error {
    /// Whether the peer was reached but speaks no TLS, or TLS we do not trust: asking again gives
    /// the same answer.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if is_certificate(source))
    }
}

/// A certificate does not become valid by asking again.
fn is_certificate(error: &reqwest::Error) -> bool {
    has_tls_error(error, |_| true)
}

/// The peer's last word: it does not take our certificate, or wants one. Under TLS 1.3 that comes
/// after the connection stands. Anything else that TLS says by then may be damage on the way.
pub(crate) fn is_alert(error: &reqwest::Error) -> bool {
    has_tls_error(error, |error| matches!(error, rustls::Error::AlertReceived(_)))
}

/// Looks for rustls among the causes.
fn has_tls_error(error: &reqwest::Error, wanted: fn(&rustls::Error) -> bool) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if this.downcast_ref().is_some_and(wanted) {
            return true;
        }
        // io::Error hides what it wraps from `source`, and may wrap another one.
        let mut wrapped = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        while let Some(inner) = wrapped {
            if inner.downcast_ref().is_some_and(wanted) {
                return true;
            }
            wrapped = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        }
        cause = this.source();
    }
    false
}
