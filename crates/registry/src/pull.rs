//! A blob on its way from a registry: skeleton.
#![allow(clippy::todo)]

use bytes::Bytes;
use futures_util::Stream;

use crate::Result;

/// A blob on its way. Its digest and size are verified at its end: bytes handed out before are to
/// be used only once the end came without an error.
#[derive(Debug)]
pub struct BlobStream {}

impl BlobStream {
    /// The next piece; `None` at the end, when all is verified.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        todo!()
    }

    /// The pieces as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        futures_util::stream::try_unfold(self, |mut this| async move {
            Ok(this.chunk().await?.map(|piece| (piece, this)))
        })
    }
}
