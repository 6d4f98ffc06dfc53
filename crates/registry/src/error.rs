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
        cause: Box<Cause>,
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
    /// Doing it again, as often as was asked for, did not help.
    #[error("unable to complete operation after {attempts} attempts, last error")]
    GaveUp {
        /// How often it was done again.
        attempts: u32,
        /// Why the last time failed.
        #[source]
        source: Box<Error>,
    },
    /// Nothing that stands in for the registry has the image, and the registry is not to be asked.
    #[error("image not found on any configured mapped registries for {image}")]
    NoStandIn {
        /// The image, as it was asked for.
        image: String,
        /// Why the last of them did not give it.
        #[source]
        source: Box<Error>,
    },
    /// The image may not be pulled.
    #[error("the image `{image}` may not be used: {reason}")]
    Refused {
        /// The image, as it was asked for.
        image: String,
        /// What says so.
        reason: String,
    },
}

/// What registries say to a push under a tag that must not change.
const IMMUTABLE_TAG: [&str; 3] = [
    "The repository has enabled tag immutability",
    "cannot be overwritten because the tag is immutable",
    "cannot be overwritten because the repository is immutable",
];

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
    #[error(
        "the registry asks for credentials ({scheme}), and {}",
        if *configured { "those that are configured are of another kind" } else { "none are configured" }
    )]
    Unauthorized {
        /// The schemes it offers.
        scheme: String,
        /// There are some, which it cannot be shown.
        configured: bool,
    },
    /// What a request needs first (the registry's address, a token) was asked for as often as may be:
    /// the request itself is not tried again.
    #[error(transparent)]
    Exhausted(Box<Cause>),
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
    /// The content ended early.
    #[error("the content ended after {received} of {expected} bytes")]
    Truncated {
        /// What the descriptor says.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// The registry said that it took a blob, and does not show it.
    #[error("the registry took the blob, but does not have it")]
    Lost,
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
        self.cause().is_some_and(Retryable::is_transient)
    }

    /// Whether the registry keeps the tag from being changed.
    pub fn is_immutable_tag(&self) -> bool {
        let Some(Cause::Status { message, .. }) = self.cause() else { return false };
        IMMUTABLE_TAG.iter().any(|text| message.contains(text))
    }

    /// Whether the registry says that the object is not there.
    pub fn is_not_found(&self) -> bool {
        self.cause().is_some_and(|cause| cause.status() == Some(404))
    }

    /// Whether nobody answered: no connection, or one that broke or fell silent. A registry that says
    /// no, or shows a certificate that is not trusted, was reached.
    pub fn is_unreachable(&self) -> bool {
        self.cause().is_some_and(Cause::is_unreachable)
    }

    /// Whether it failed on this side: no registry can do better.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.cause(), None | Some(Cause::Source(_) | Cause::Document(_)))
    }

    /// Whether the registry refuses access.
    pub fn is_denied(&self) -> bool {
        self.cause().is_some_and(Cause::is_denied)
    }

    /// Why an operation on an object failed.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Failed { cause, .. } => Some(cause),
            Self::GaveUp { source, .. } | Self::NoStandIn { source, .. } => source.cause(),
            Self::Setup { .. } | Self::Refused { .. } => None,
        }
    }

    /// The error with its causes, for a line of the log.
    pub fn told(&self) -> String {
        transport::chain(self)
    }
}

impl Retryable for Cause {
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_transient(),
            Self::Status { transient, .. } => *transient,
            Self::Truncated { .. } | Self::Lost => true,
            Self::Exhausted(_)
            | Self::Unauthorized { .. }
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

    fn is_silence(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_silence())
    }
}

impl Cause {
    /// The status of the registry's answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Exhausted(cause) => cause.status(),
            _ => None,
        }
    }

    /// Whether nobody answered.
    fn is_unreachable(&self) -> bool {
        match self {
            Self::Transport(error) => {
                let broken = matches!(
                    error,
                    transport::Error::Connect { .. }
                        | transport::Error::Broken { .. }
                        | transport::Error::Silent { .. }
                );
                broken && !error.is_tls()
            }
            Self::Exhausted(cause) => cause.is_unreachable(),
            _ => false,
        }
    }

    /// Whether somebody wants to know who asks, and does not let us in.
    fn is_denied(&self) -> bool {
        match self {
            Self::Unauthorized { .. } | Self::Status { status: 401 | 403, .. } => true,
            Self::Exhausted(cause) => cause.is_denied(),
            _ => false,
        }
    }

    /// The registry's code for the error.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Status { code, .. } => code.as_deref(),
            Self::Exhausted(cause) => cause.code(),
            _ => None,
        }
    }

    /// Names what was tried, and on what.
    pub(crate) fn while_trying(
        self,
        action: &'static str,
        object: &dyn std::fmt::Display,
    ) -> Error {
        Error::Failed { action, object: object.to_string(), cause: Box::new(self) }
    }
}
