//! A blob on its way into a registry, in pieces that survive faults.
//!
//! Small blobs go in one request. Others go in chunks, each acknowledged, so that a fault costs one
//! chunk: after it the registry is asked how far it got. What a registry misreports is found out by
//! its own check of the digest at the end, and then the upload starts anew. The registry is
//! believed to have a blob once it shows it.

use http::{HeaderValue, Method, StatusCode, header};
use oci::{Descriptor, Reference};
use transport::{Backoff, Request, Response, Retryable, printable};

use crate::client::{head, head_once, upload_url};
use crate::content::Content;
use crate::endpoint::{Scopes, SharedEndpoint, accept, push_scope};
use crate::error::Cause;
use crate::progress::{Progress, Transfer};
use crate::push::{Mounted, mount};
use crate::session::{Session, Sessions};

/// No registry may make us use smaller chunks.
const SMALLEST_CHUNK: u64 = 64 << 10;
/// No registry may make us use larger chunks.
const LARGEST_MINIMUM: u64 = 1 << 30;
/// How often an upload may begin anew.
const STARTS: u32 = 5;
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// One step of an upload.
enum Step {
    Advanced,
    Done,
}

/// A blob and where it is to go.
pub(crate) struct Upload<'a> {
    pub(crate) endpoint: &'a SharedEndpoint,
    pub(crate) sessions: &'a Sessions,
    pub(crate) repository: &'a str,
    pub(crate) descriptor: &'a Descriptor,
    pub(crate) content: Content,
    pub(crate) object: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

/// How the pieces of one upload are cut.
struct Cut {
    chunk: u64,
    /// The registry takes blobs in one request only.
    whole: bool,
}

impl Upload<'_> {
    /// Sends it, unless the registry has it or takes it from one of these repositories.
    pub(crate) async fn run(
        &self,
        known: &[Reference],
        chunk: u64,
    ) -> std::result::Result<Transfer, Cause> {
        let digest = self.descriptor.digest.clone();
        let scopes = push_scope(self.repository, &[]);
        let path = format!("{}/blobs/{digest}", self.repository);
        if head(self.endpoint, &scopes, &path).await? {
            return Ok(Transfer::Existed { digest });
        }
        let mut session = None;
        for from in known {
            let scopes = push_scope(self.repository, &[from.repository()]);
            let repository = from.repository();
            match mount(self.endpoint, &scopes, self.repository, repository, &digest).await {
                Mounted::Yes => return Ok(Transfer::Mounted { digest }),
                Mounted::Session(url) => {
                    session = Some(self.sessions.opened(self.object, self.endpoint, &scopes, url));
                    break;
                }
                Mounted::No => {}
            }
        }
        let size = self.descriptor.size;
        self.progress.transfer(Transfer::Started { digest: digest.clone(), size });
        self.send_all(&scopes, &path, session, chunk).await?;
        self.confirm(&scopes, &path).await?;
        Ok(Transfer::Finished { digest })
    }

    /// A registry that says it took a blob has it; one that replicates may take a moment to see it.
    async fn confirm(&self, scopes: &Scopes, path: &str) -> std::result::Result<(), Cause> {
        let mut backoff = self.endpoint.retry.start(self.object);
        loop {
            let cause = match head_once(self.endpoint, scopes, path).await {
                Ok(true) => return Ok(()),
                Ok(false) => Cause::Lost,
                Err(cause) => cause,
            };
            backoff.absorb(cause).await?;
        }
    }

    async fn send_all(
        &self,
        scopes: &Scopes,
        path: &str,
        mut session: Option<Session>,
        chunk: u64,
    ) -> std::result::Result<(), Cause> {
        let mut backoff = self.endpoint.retry.start(self.object);
        let mut cut = Cut { chunk: chunk.max(SMALLEST_CHUNK), whole: false };
        let (mut starts, mut high_water) = (0, 0);
        loop {
            if session.is_none() {
                starts += 1;
            }
            match self.step(scopes, &mut session, &mut cut).await {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Advanced) => {
                    let offset = session.as_ref().and_then(|session| session.offset).unwrap_or(0);
                    if offset > high_water {
                        high_water = offset;
                        backoff.progress();
                    }
                }
                Err(cause) => {
                    tracing::debug!(blob = self.object, %cause, "upload interrupted");
                    let offset = session.as_ref().and_then(|session| session.offset);
                    let ended = offset == Some(self.descriptor.size) || session.is_none();
                    if ended && head_once(self.endpoint, scopes, path).await.unwrap_or(false) {
                        // It was committed, only the answer was lost.
                        return Ok(());
                    }
                    self.recover(&mut session, &mut cut, &cause);
                    if starts >= STARTS && session.is_none() {
                        return Err(cause);
                    }
                    bear(&mut backoff, cause).await.inspect_err(|_| {
                        session.take();
                    })?;
                }
            }
        }
    }

    /// What to do differently after a fault.
    fn recover(&self, session: &mut Option<Session>, cut: &mut Cut, cause: &Cause) {
        let at_end = session.as_ref().and_then(|s| s.offset) == Some(self.descriptor.size);
        match cause.status() {
            Some(413) if cut.chunk > SMALLEST_CHUNK && !cut.whole => {
                cut.chunk = (cut.chunk / 2).max(SMALLEST_CHUNK);
            }
            Some(405 | 501) if !cut.whole => {
                cut.whole = true;
                *session = None;
            }
            Some(404) => {
                // The registry knows it no more.
                session.take().iter().for_each(Session::ended);
            }
            Some(400 | 405 | 501) => *session = None,
            _ if at_end || cut.whole => *session = None,
            _ => {}
        }
        if let Some(session) = session {
            session.offset = None;
        }
    }

    async fn step(
        &self,
        scopes: &Scopes,
        session: &mut Option<Session>,
        cut: &mut Cut,
    ) -> std::result::Result<Step, Cause> {
        let Some(current) = session else {
            let path = format!("{}/blobs/uploads/", self.repository);
            let request = Request::new(Method::POST, self.endpoint.url(&path).await?);
            let response = self.endpoint.expect(scopes, request).await?;
            adopt_minimum(&response, cut);
            let url = upload_url(&response)?;
            *session = Some(self.sessions.opened(self.object, self.endpoint, scopes, url));
            response.discard().await;
            return Ok(Step::Advanced);
        };
        let Some(offset) = current.offset else {
            return self.ask_offset(scopes, current).await;
        };
        let left = self.descriptor.size.saturating_sub(offset);
        if cut.whole || left == 0 || (offset == 0 && left <= cut.chunk) {
            self.put(scopes, current, offset, left).await?;
            return Ok(Step::Done);
        }
        self.patch(scopes, current, offset, left.min(cut.chunk)).await
    }

    async fn ask_offset(
        &self,
        scopes: &Scopes,
        session: &mut Session,
    ) -> std::result::Result<Step, Cause> {
        let request = Request::new(Method::GET, session.url.clone());
        let response = self.endpoint.expect(scopes, request).await?;
        if let Ok(url) = upload_url(&response) {
            session.moved(url);
        }
        // `0-0` is said of nothing and of one byte; we never send one byte.
        let end = range_end(&response).filter(|end| *end > 0);
        session.offset = Some(end.map_or(0, |end| end + 1).min(self.descriptor.size));
        response.discard().await;
        Ok(Step::Advanced)
    }

    async fn patch(
        &self,
        scopes: &Scopes,
        session: &mut Session,
        offset: u64,
        length: u64,
    ) -> std::result::Result<Step, Cause> {
        let end = offset + length;
        let range = HeaderValue::try_from(format!("{offset}-{}", end - 1))
            .map_err(|_| Cause::Protocol("no range".to_owned()))?;
        let request = Request::new(Method::PATCH, session.url.clone())
            .header(header::CONTENT_TYPE, OCTETS)
            .header(header::CONTENT_RANGE, range)
            .body(self.content.body(offset, length));
        // Unknown until the registry acknowledges.
        session.offset = None;
        let response = self.endpoint.send(scopes, request).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            response.discard().await;
            let received = offset;
            return Err(Cause::Truncated { expected: self.descriptor.size, received });
        }
        let response = accept(response).await?;
        if let Ok(url) = upload_url(&response) {
            session.moved(url);
        }
        // A registry may take less than was sent. Any other oddity is not believed.
        let taken = range_end(&response).map(|end| end + 1).filter(|at| *at > offset && *at < end);
        session.offset = Some(taken.unwrap_or(end));
        response.discard().await;
        let digest = self.descriptor.digest.clone();
        self.progress.transfer(Transfer::Moved { digest, bytes: length });
        Ok(Step::Advanced)
    }

    async fn put(
        &self,
        scopes: &Scopes,
        session: &Session,
        offset: u64,
        length: u64,
    ) -> std::result::Result<(), Cause> {
        let digest = &self.descriptor.digest;
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let request = Request::new(Method::PUT, url)
            .header(header::CONTENT_TYPE, OCTETS)
            .body(self.content.body(offset, length));
        let response = self.endpoint.expect(scopes, request).await?;
        session.ended();
        let reported = response.header("docker-content-digest").map(str::to_owned);
        response.discard().await;
        if let Some(text) = reported.filter(|text| text != digest.as_str()) {
            let found = printable(&text, 100);
            return Err(Cause::Digest { expected: digest.clone(), found });
        }
        if length > 0 {
            self.progress.transfer(Transfer::Moved { digest: digest.clone(), bytes: length });
        }
        Ok(())
    }
}

/// Waits before the next step, or gives the failure back. Statuses that ask for another way count
/// like transient ones: `recover` has changed the way.
async fn bear(backoff: &mut Backoff, cause: Cause) -> std::result::Result<(), Cause> {
    let another_way = match cause.status() {
        Some(404 | 405 | 413 | 501) => true,
        // Not ours: the pieces were mixed up on the way.
        Some(400) => cause.code().is_some_and(|code| {
            matches!(code, "DIGEST_INVALID" | "SIZE_INVALID" | "BLOB_UPLOAD_INVALID")
        }),
        _ => is_source_fault(&cause),
    };
    if !another_way {
        return backoff.absorb(cause).await;
    }
    match backoff.pause(cause.retry_after()) {
        Some(pause) => {
            tokio::time::sleep(pause).await;
            Ok(())
        }
        None => Err(cause),
    }
}

/// A blob that streams through from another registry may stop for a while.
fn is_source_fault(cause: &Cause) -> bool {
    let Cause::Transport(transport::Error::Source { source, .. }) = cause else { return false };
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<Cause>());
    let wire = source.get_ref().and_then(|inner| inner.downcast_ref::<transport::Error>());
    inner.is_some_and(Retryable::is_transient) || wire.is_some_and(Retryable::is_transient)
}

fn adopt_minimum(response: &Response, cut: &mut Cut) {
    let minimum = response.header("oci-chunk-min-length").and_then(|text| text.parse::<u64>().ok());
    if let Some(minimum) = minimum {
        cut.chunk = cut.chunk.max(minimum.min(LARGEST_MINIMUM));
    }
}

/// The position of the last byte the registry has: `0-123`, or with a unit before.
fn range_end(response: &Response) -> Option<u64> {
    parse_range_end(response.header("range")?)
}

pub(crate) fn parse_range_end(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    text.strip_prefix("0-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_headers() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_range_end(text), expected);
        check("0-99", Some(99));
        check("bytes=0-99", Some(99));
        check("bytes 0-0", Some(0));
        check("5-99", None);
        check("0-", None);
        check("x", None);
    }
}
