//! What can go wrong with a registry.

use std::time::Duration;

use oci::Digest;
use transport::Retryable;

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on one object failed.
    #[error("cannot {action} `{object}`")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        #[source]
        cause: Cause,
    },
    /// The client could not be made.
    #[error("cannot set up the client of the registry `{registry}`")]
    Setup {
        /// Which registry.
        registry: String,
        /// Why.
        #[source]
        source: transport::Error,
    },
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The exchange itself failed.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The registry answered with an error.
    #[error("the registry answered {status}{}", said(code.as_deref(), message))]
    Status {
        /// The status.
        status: u16,
        /// The registry's code, such as `MANIFEST_UNKNOWN`.
        code: Option<String>,
        /// What it said, escaped.
        message: String,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
        /// Whether asking again may help.
        transient: bool,
    },
    /// The registry wants to know who asks.
    #[error("the registry asks for credentials ({scheme}), and none are configured")]
    Unauthorized {
        /// The schemes it offers.
        scheme: String,
    },
    /// The bytes are not those that the digest names.
    #[error("the content has digest `{found}`, not `{expected}`")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: String,
    },
    /// There are more or fewer bytes than the descriptor says.
    #[error("the content has {found} bytes, not {expected}")]
    Size {
        /// What the descriptor says.
        expected: u64,
        /// What came, at least.
        found: u64,
    },
    /// The answer breaks the protocol.
    #[error("{0}")]
    Protocol(String),
    /// A document is not what it should be.
    #[error(transparent)]
    Document(#[from] oci::Error),
    /// A blob to be pushed cannot be read.
    #[error("the blob cannot be read")]
    Source(#[from] std::io::Error),
}

fn said(code: Option<&str>, message: &str) -> String {
    match (code, message) {
        (Some(code), "") => format!(" ({code})"),
        (Some(code), message) => format!(" ({code}): {message}"),
        (None, "") => String::new(),
        (None, message) => format!(": {message}"),
    }
}

impl Error {
    /// Whether the same operation may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Failed { cause, .. } => cause.is_transient(),
            Self::Setup { .. } => false,
        }
    }

    /// Whether the registry says that the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Failed { cause: Cause::Status { status: 404, .. }, .. })
    }

    /// Whether the registry refuses access.
    pub fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                cause: Cause::Status { status: 401 | 403, .. } | Cause::Unauthorized { .. },
                ..
            }
        )
    }
}

impl Retryable for Cause {
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_transient(),
            Self::Status { transient, .. } => *transient,
            Self::Unauthorized { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::Protocol(_)
            | Self::Document(_)
            | Self::Source(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
