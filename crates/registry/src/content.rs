//! The bytes of a blob that is pushed, readable from any position: an upload that was interrupted
//! goes on where the registry says it got to.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use transport::{Body, Pieces};

use crate::pull::Place;

/// How much of a file is read at once.
const PIECE: usize = 256 << 10;

/// What is to be sent, readable from any position.
#[derive(Clone)]
pub(crate) enum Content {
    File(Arc<std::fs::File>),
    Bytes(Bytes),
    Place(Place),
}

impl Content {
    /// That part of it, as a body that can be sent again.
    pub(crate) fn body(&self, start: u64, length: u64) -> Body {
        if length == 0 {
            return Body::Empty;
        }
        let content = self.clone();
        Body::Stream { length, open: Arc::new(move || content.pieces(start, length)) }
    }

    fn pieces(&self, start: u64, length: u64) -> Pieces {
        let end = start + length;
        match self {
            Self::File(file) => {
                let file = Arc::clone(file);
                Box::pin(futures_util::stream::try_unfold(start, move |at| {
                    read(Arc::clone(&file), at, end)
                }))
            }
            Self::Bytes(bytes) => {
                let whole = bytes.len() as u64;
                // Both fit: they are at most the length of what is in memory.
                let part = bytes.slice(start.min(whole) as usize..end.min(whole) as usize);
                let pieces: Vec<std::io::Result<Bytes>> = (0..part.len())
                    .step_by(PIECE)
                    .map(|at| Ok(part.slice(at..(at + PIECE).min(part.len()))))
                    .collect();
                Box::pin(futures_util::stream::iter(pieces))
            }
            Self::Place(place) => place.pieces(start, length),
        }
    }
}

/// One piece of a file, on a thread that may block.
async fn read(
    file: Arc<std::fs::File>,
    at: u64,
    end: u64,
) -> std::io::Result<Option<(Bytes, u64)>> {
    if at >= end {
        return Ok(None);
    }
    let reading = tokio::task::spawn_blocking(move || {
        let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, at)?;
        Ok::<_, std::io::Error>(Bytes::from(piece))
    });
    let piece = reading.await.map_err(std::io::Error::other)??;
    let next = at + piece.len() as u64;
    Ok(Some((piece, next)))
}
