//! A blob on its way from a registry: verified, and resumed after a fault.
//!
//! After a fault the registry is asked again (not the storage it redirected to, whose signed
//! address may have expired) for the rest of the blob. A registry that cannot give a rest gives the
//! whole, and the part that came before is dropped. The running hash covers every byte handed out,
//! so a wrong rest is found at the end at the latest.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Method, StatusCode, header};
use oci::Descriptor;
use tokio::sync::OwnedSemaphorePermit;
use transport::{Backoff, Pieces, Request, Response};

use crate::Result;
use crate::endpoint::{Scopes, SharedEndpoint, accept};
use crate::error::Cause;
use crate::verify::Verifier;

/// So much must come through before earlier failures are forgiven.
const PROGRESS: u64 = 1 << 20;
/// Resumptions that are granted to any blob; large ones get more.
const RESUMES: u64 = 10;
const RESUMES_PER: u64 = 64 << 20;

/// Blobs that came damaged from one of several places, as [`Place::object`] names them.
pub(crate) type Suspects = Arc<Mutex<HashSet<String>>>;

/// Where a blob lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) endpoint: SharedEndpoint,
    pub(crate) scopes: Scopes,
    /// `repository/blobs/digest`.
    pub(crate) path: String,
    /// Registry, repository and digest, for messages.
    pub(crate) object: String,
}

impl Place {
    /// Asks for the blob from `offset` on. Returns the answer and how many of its first bytes come
    /// before `offset`.
    async fn open(&self, offset: u64) -> std::result::Result<(Response, u64), Cause> {
        let mut request = Request::new(Method::GET, self.endpoint.url(&self.path).await?);
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"))
                .map_err(|_| Cause::Protocol("no range".to_owned()))?;
            request = request.header(header::RANGE, range);
        }
        let origin = request.url.origin();
        let mut response = self.endpoint.send(&self.scopes, request.clone()).await?;
        if offset > 0 && response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            response.discard().await;
            request.headers.remove(header::RANGE);
            response = self.endpoint.send(&self.scopes, request).await?;
        }
        let elsewhere = response.url().origin() != origin;
        let response = match accept(response).await {
            // A signed address of the storage expired: a new one helps.
            Err(Cause::Status { status: 403, code, message, retry_after, .. }) if elsewhere => {
                let transient = true;
                return Err(Cause::Status { status: 403, code, message, retry_after, transient });
            }
            other => other?,
        };
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok((response, offset));
        }
        match range_start(response.header(header::CONTENT_RANGE.as_str())) {
            Some(start) if start <= offset => Ok((response, offset - start)),
            _ => Err(Cause::Truncated { expected: offset, received: 0 }),
        }
    }

    /// `length` bytes from `start` on, for sending them elsewhere. Not verified: the receiver does.
    pub(crate) fn pieces(&self, start: u64, length: u64) -> Pieces {
        let place = self.clone();
        let opened = async move {
            let (response, skip) = place.open(start).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(cut(
                response.stream().map_err(std::io::Error::other),
                skip,
                length,
            ))
        };
        Box::pin(futures_util::stream::once(opened).try_flatten())
    }
}

/// The pieces without the first `skip` bytes, `length` bytes in all.
fn cut(
    pieces: impl Stream<Item = std::io::Result<Bytes>> + Send,
    skip: u64,
    length: u64,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let mut at = 0u64;
    let end = skip + length;
    pieces
        .map(move |piece| {
            piece.map(|piece| {
                let size = piece.len() as u64;
                let from = skip.saturating_sub(at).min(size);
                let to = end.saturating_sub(at).min(size);
                at += size;
                // Both fit: they are at most the piece's own length.
                (piece.slice(from as usize..(to.max(from)) as usize), at >= end)
            })
        })
        .scan(false, |over, piece| {
            let stop = *over;
            if let Ok((_, last)) = &piece {
                *over = *last;
            }
            futures_util::future::ready((!stop).then_some(piece.map(|(piece, _)| piece)))
        })
}

pub(crate) fn range_start(header: Option<&str>) -> Option<u64> {
    header?.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}

/// A blob on its way. Its digest and size are verified at its end: bytes handed out before are to
/// be used only once the end came without an error.
#[derive(Debug)]
pub struct BlobStream {
    place: Place,
    /// Where it goes on when this place fails for good.
    others: VecDeque<Place>,
    /// The place that its first byte came from.
    first: Option<String>,
    suspects: Suspects,
    descriptor: Descriptor,
    verifier: Option<Verifier>,
    response: Option<Response>,
    skip: u64,
    received: u64,
    backoff: Backoff,
    progress_at: u64,
    resumes: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl BlobStream {
    /// Opens the blob in the first place that gives it; what all refuse is known at once.
    pub(crate) async fn open(
        mut places: VecDeque<Place>,
        descriptor: &Descriptor,
        permit: Option<OwnedSemaphorePermit>,
        suspects: Suspects,
    ) -> Result<Self> {
        let Some(place) = places.pop_front() else {
            let nowhere = Cause::Protocol("there is no place to pull it from".to_owned());
            return Err(nowhere.while_trying("pull blob", &descriptor.digest));
        };
        let mut stream = Self {
            backoff: place.endpoint.retry.start(&place.object),
            verifier: Some(Verifier::new(descriptor.digest.algorithm())),
            descriptor: descriptor.clone(),
            place,
            others: places,
            first: None,
            suspects,
            response: None,
            skip: 0,
            received: 0,
            progress_at: 0,
            resumes: 0,
            _permit: permit,
        };
        while let Err(cause) = stream.connect().await {
            stream.bear(cause).await?;
        }
        Ok(stream)
    }

    /// The next piece; `None` at the end, when all is verified.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.verifier.is_none() {
                return Ok(None);
            }
            if self.received == self.descriptor.size {
                return self.finish().await;
            }
            match self.receive().await {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                Err(cause) => {
                    self.response = None;
                    self.bear(cause).await?;
                }
            }
        }
    }

    /// The pieces as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        futures_util::stream::try_unfold(self, |mut this| async move {
            Ok(this.chunk().await?.map(|piece| (piece, this)))
        })
    }

    /// All of it, when it is at most `limit` bytes.
    pub(crate) async fn into_bytes(mut self, limit: u64) -> Result<Vec<u8>> {
        if self.descriptor.size > limit {
            let cause = Cause::Size { expected: limit, found: self.descriptor.size };
            return Err(self.failed(cause));
        }
        let mut all = Vec::new();
        while let Some(piece) = self.chunk().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    async fn receive(&mut self) -> std::result::Result<Bytes, Cause> {
        if self.response.is_none() {
            self.connect().await?;
        }
        let Some(response) = &mut self.response else { return Ok(Bytes::new()) };
        let Some(mut piece) = response.chunk().await? else {
            return Err(Cause::Truncated {
                expected: self.descriptor.size,
                received: self.received,
            });
        };
        let skipped = self.skip.min(piece.len() as u64);
        self.skip -= skipped;
        // Fits: it is at most the piece's own length.
        let mut piece = piece.split_off(skipped as usize);
        let left = self.descriptor.size - self.received;
        if piece.len() as u64 > left {
            // Never more than the descriptor says, whatever comes.
            piece.truncate(left as usize);
        }
        if self.first.is_none() && !piece.is_empty() {
            self.first = Some(self.place.object.clone());
        }
        self.received += piece.len() as u64;
        if let Some(verifier) = &mut self.verifier {
            verifier.update(&piece);
        }
        if self.received - self.progress_at >= PROGRESS {
            self.progress_at = self.received;
            self.backoff.progress();
        }
        Ok(piece)
    }

    async fn connect(&mut self) -> std::result::Result<(), Cause> {
        let (response, skip) = self.place.open(self.received).await?;
        let promised = response.content_length();
        let expected = self.descriptor.size - self.received + skip;
        match promised {
            Some(length) if length > expected => {
                let found = self.received + length - skip;
                return Err(Cause::Size { expected: self.descriptor.size, found });
            }
            Some(length) if length < expected => {
                // A proxy that lost its upstream may cut a body and say so.
                let received = self.received + length.saturating_sub(skip);
                return Err(Cause::Truncated { expected: self.descriptor.size, received });
            }
            _ => {}
        }
        self.skip = skip;
        self.response = Some(response);
        Ok(())
    }

    async fn finish(&mut self) -> Result<Option<Bytes>> {
        if let Some(mut response) = self.response.take()
            && response.content_length().is_some()
        {
            // The end of a body of known length costs nothing, and frees the connection.
            let _ = response.chunk().await;
        }
        let Some(verifier) = self.verifier.take() else { return Ok(None) };
        match verifier.finish(&self.descriptor.digest) {
            Ok(()) => Ok(None),
            Err(cause) => {
                if let Some(first) = self.first.take() {
                    let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
                    suspects.insert(first);
                }
                Err(self.failed(cause))
            }
        }
    }

    async fn bear(&mut self, cause: Cause) -> Result<()> {
        self.resumes += 1;
        let borne = match self.resumes > RESUMES + self.descriptor.size / RESUMES_PER {
            true => Err(cause),
            false => {
                let (blob, at) = (&self.place.object, self.received);
                tracing::debug!(%blob, at, %cause, "pull interrupted");
                self.backoff.absorb(cause).await
            }
        };
        match borne {
            Ok(()) => Ok(()),
            Err(cause) => self.go_elsewhere(cause),
        }
    }

    /// Goes on in the next place, from the byte that this one got to.
    fn go_elsewhere(&mut self, cause: Cause) -> Result<()> {
        let Some(next) = self.others.pop_front() else { return Err(self.failed(cause)) };
        let error = self.failed(cause).told();
        let (there, at) = (&next.object, self.received);
        tracing::warn!("Failed to retrieve a blob: {error}. Will go on at byte {at} with {there}");
        self.backoff = next.endpoint.retry.start(&next.object);
        self.place = next;
        self.resumes = 0;
        self.response = None;
        Ok(())
    }

    fn failed(&self, cause: Cause) -> crate::Error {
        cause.while_trying("pull blob", &self.place.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(range_start(Some(text)), expected);
        check("bytes 5-9/10", Some(5));
        check("bytes 0-0/1", Some(0));
        check("bytes */10", None);
        check("items 5-9/10", None);
        check("", None);
        assert_eq!(range_start(None), None);
    }

    #[tokio::test]
    async fn cuts() {
        async fn check(skip: u64, length: u64, expected: &str) {
            let pieces = ["ab", "cd", "ef"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
            let got: Vec<Bytes> = cut(futures_util::stream::iter(pieces), skip, length)
                .try_collect()
                .await
                .expect("no piece fails");
            assert_eq!(got.concat(), expected.as_bytes());
        }
        check(0, 6, "abcdef").await;
        check(1, 4, "bcde").await;
        check(2, 2, "cd").await;
        check(3, 1, "d").await;
        check(5, 9, "f").await;
    }
}
