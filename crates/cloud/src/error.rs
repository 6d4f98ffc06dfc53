//! Why a cloud gave no credentials. No secret is part of it.

use std::path::PathBuf;
use std::time::Duration;

use transport::Retryable;

/// A failure, told in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that a variable names cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something we were given is not of its form.
    #[error("{what} {why}")]
    Form {
        /// What: a file or a variable.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// An address is not one that a secret may go to.
    #[error("{what} is `{url}`, which is neither https nor on this machine")]
    Address {
        /// What has the address.
        what: String,
        /// The address.
        url: String,
    },
    /// A server says no.
    #[error("`{url}` answered {status}{}", said(message))]
    Refused {
        /// Which server.
        url: String,
        /// The status.
        status: u16,
        /// What it said, escaped.
        message: String,
        /// Asking again may help.
        transient: bool,
    },
    /// An answer is not what it should be.
    #[error("the answer of `{url}` {what}")]
    Answer {
        /// Which server.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A service beside the machine did not answer in time.
    #[error("`{url}` did not answer within {} s", limit.as_secs())]
    Slow {
        /// Which one.
        url: String,
        /// How long it had.
        limit: Duration,
    },
    /// The exchange failed.
    #[error(transparent)]
    Transport(#[from] transport::Error),
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl Error {
    /// Something we were given is not of its form.
    pub(crate) fn form(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Form { what: what.into(), why: why.into() }
    }
}

impl Retryable for Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Refused { transient, .. } => *transient,
            Self::Transport(error) => error.is_transient(),
            Self::File { .. }
            | Self::Form { .. }
            | Self::Address { .. }
            | Self::Answer { .. }
            | Self::Slow { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_silence())
    }
}
