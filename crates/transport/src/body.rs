//! What a request sends: nothing, bytes, or pieces that are read while they are sent and can be
//! read again from the start for another try.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

/// One piece of a body, or why it could not be read.
pub type Piece = std::io::Result<Bytes>;
/// A body on its way.
pub type Pieces = Pin<Box<dyn Stream<Item = Piece> + Send>>;

/// The body of a request.
#[derive(Clone, Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// All of it.
    Bytes(Bytes),
    /// Read while it is sent.
    Stream {
        /// Exactly this many bytes come.
        length: u64,
        /// Starts reading from the beginning; called once per try.
        open: Arc<dyn Fn() -> Pieces + Send + Sync>,
    },
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { length, .. } => write!(f, "Stream({length})"),
        }
    }
}

impl Body {
    /// How many bytes will be sent.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { length, .. } => *length,
        }
    }

    /// Whether nothing will be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body as reqwest takes it, watched.
    pub(crate) fn start(&self, activity: &Activity) -> Option<reqwest::Body> {
        match self {
            Self::Empty => None,
            Self::Bytes(bytes) => Some(bytes.clone().into()),
            Self::Stream { open, .. } => {
                let activity = activity.clone();
                let watched = open().map(move |piece| match piece {
                    Ok(bytes) => {
                        activity.count.fetch_add(1, Ordering::Relaxed);
                        Ok(bytes)
                    }
                    Err(error) => {
                        activity.fail(error);
                        Err(std::io::Error::other("the source failed"))
                    }
                });
                Some(reqwest::Body::wrap_stream(watched))
            }
        }
    }
}

/// What the sender of a body sees of its progress.
#[derive(Clone, Default)]
pub(crate) struct Activity {
    count: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<std::io::Error>>>,
}

impl Activity {
    /// Changes whenever a piece was taken.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Why the source ended early, once.
    pub(crate) fn failure(&self) -> Option<std::io::Error> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn fail(&self, error: std::io::Error) {
        *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
    }
}
