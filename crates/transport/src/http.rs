//! One exchange: a request goes out, redirects are followed by the rule, the answer's body streams
//! under an idle time-out. Trying again is [`crate::retry`]'s job.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::body::{Activity, Body};
use crate::inquiry::Inquiry;
use crate::redirect::{self, Step};
use crate::text::{printable, shown_url};
use crate::{Error, Result, Settings, configure};

/// What must arrive within one idle time-out. Less is a stall in disguise.
const RATE_FLOOR: u64 = 16 << 10;
/// Header lines of one answer; all of them together have to fit in hyper's 400 KiB.
const MOST_HEADERS: usize = 512;
/// How much of an error's text is read.
const EXCERPT_LIMIT: u64 = 64 << 10;

/// An HTTP client with its connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    inquiry: Arc<Inquiry>,
    idle: Duration,
    answer: Duration,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers. `Authorization` goes to this origin only, never along a redirect to another.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// Body and headers hold secrets that are not for other hosts: a redirect there is an error.
    pub within_origin: bool,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::Empty, within_origin: false }
    }

    /// The same for secrets: a redirect to another host is an error.
    #[must_use]
    pub fn within_origin(self) -> Self {
        Self { within_origin: true, ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

impl Http {
    /// A client from its settings.
    pub fn new(settings: &Settings) -> Result<Self> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_max_headers(MOST_HEADERS)
            .pool_idle_timeout(Duration::from_secs(30));
        let mut builder = configure::client(builder, settings)?;
        if let Some(resolver) = &settings.resolver {
            builder = builder.dns_resolver(resolver.clone());
        }
        let client = builder.build().map_err(configure::refused("these settings"))?;
        let (idle, answer) = (settings.idle_timeout, settings.answer_timeout);
        let inquiry = Arc::new(Inquiry::new(settings));
        Ok(Self { client, inquiry, idle, answer })
    }

    /// Sends one request, follows redirects, and returns the answer whatever its status.
    pub async fn send(&self, request: &Request) -> Result<Response> {
        let mut url = request.url.clone();
        let mut headers = request.headers.clone();
        // A coding that a proxy adds would change the bytes that digests are made of.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for _ in 0..=redirect::MAX_HOPS {
            let response = self.exchange(request, &url, &headers).await?;
            let location = response.header(header::LOCATION.as_str());
            match redirect::judge(&request.method, &url, response.status, location)? {
                Step::Stay => return Ok(response),
                Step::Follow { to, same_origin } => {
                    if !same_origin && request.within_origin {
                        let why = format!("to `{}`, where our secrets do not go", shown_url(&to));
                        return Err(Error::Redirect { url: shown_url(&url), why });
                    }
                    if !same_origin {
                        // Gone for the rest of the way, also if it leads back.
                        for secret in [header::AUTHORIZATION, header::COOKIE] {
                            headers.remove(secret);
                        }
                    }
                    response.discard().await;
                    url = to;
                }
            }
        }
        let why = format!("more than {} times", redirect::MAX_HOPS);
        Err(Error::Redirect { url: shown_url(&request.url), why })
    }

    async fn exchange(
        &self,
        request: &Request,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Response> {
        let activity = Activity::default();
        let mut outgoing =
            self.client.request(request.method.clone(), url.clone()).headers(headers.clone());
        if let Body::Stream { length, .. } = &request.body {
            outgoing = outgoing.header(header::CONTENT_LENGTH, *length);
        } else if request.body.is_empty() && has_body(&request.method) {
            outgoing = outgoing.header(header::CONTENT_LENGTH, 0);
        }
        if let Some(body) = request.body.start(&activity) {
            outgoing = outgoing.body(body);
        }
        let pending = outgoing.send();
        tokio::pin!(pending);
        let patience = if request.body.is_empty() { self.idle } else { self.answer };
        let answer = loop {
            let seen = activity.count();
            match timeout(patience, &mut pending).await {
                Ok(answer) => break answer,
                Err(_) if activity.count() != seen => {}
                Err(_) => return Err(Error::Silent { url: shown_url(url), idle: patience }),
            }
        };
        match answer {
            Ok(inner) => Response::new(inner, self.idle, &request.method),
            Err(error) => Err(match activity.failure() {
                Some(source) => Error::Source { url: shown_url(url), source },
                None => self.unanswered(url, error).await,
            }),
        }
    }
}

impl Http {
    /// What became of a request that got no answer.
    async fn unanswered(&self, url: &Url, error: reqwest::Error) -> Error {
        match classify(url, error) {
            Error::Broken { url: shown, source } => {
                let alert = self.inquiry.alert(url, &source).await;
                Error::Broken { url: shown, source: alert.unwrap_or(source) }
            }
            other => other,
        }
    }
}

fn classify(url: &Url, error: reqwest::Error) -> Error {
    let url = shown_url(url);
    let source = error.without_url();
    if source.is_builder() {
        Error::Setup { what: format!("the request to `{url}`"), source: Some(Box::new(source)) }
    } else if source.is_connect() {
        Error::Connect { url, source }
    } else {
        Error::Broken { url, source }
    }
}

fn has_body(method: &Method) -> bool {
    method == Method::POST || method == Method::PUT || method == Method::PATCH
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    url: Url,
    inner: reqwest::Response,
    idle: Duration,
    /// Time spent waiting since `window` bytes began to count.
    waited: Duration,
    window: u64,
}

impl Response {
    fn new(mut inner: reqwest::Response, idle: Duration, method: &Method) -> Result<Self> {
        let headers = std::mem::take(inner.headers_mut());
        let url = inner.url().clone();
        let status = inner.status();
        let response =
            Self { status, headers, url, inner, idle, waited: Duration::ZERO, window: 0 };
        match response.header(header::CONTENT_ENCODING.as_str()) {
            Some(encoding) if method != Method::HEAD && !is_identity(encoding) => {
                Err(Error::Encoding {
                    url: shown_url(&response.url),
                    encoding: printable(encoding, 40),
                })
            }
            _ => Ok(response),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// One header, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The announced length of the body.
    pub fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok())
    }

    /// Whom the connection was made to: the server, or the proxy before it.
    pub fn peer(&self) -> Option<std::net::IpAddr> {
        self.inner.remote_addr().map(|address| address.ip())
    }

    /// The address that answered, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The next piece of the body; `None` at its end. Fails when the other side is silent, or
    /// slower than 16 KiB per idle time-out; time the caller takes between calls does not count.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let start = Instant::now();
        let left = self.idle.saturating_sub(self.waited);
        let piece = match timeout(left, self.inner.chunk()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(classify(&self.url, error)),
            Err(_) => return Err(Error::Silent { url: shown_url(&self.url), idle: self.idle }),
        };
        self.waited += start.elapsed();
        self.window += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.window >= RATE_FLOOR {
            self.window = 0;
            self.waited = Duration::ZERO;
        }
        Ok(piece)
    }

    /// The whole body, if it is at most `limit` bytes.
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes> {
        let too_large = |url: &Url| Error::TooLarge { url: shown_url(url), limit };
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(too_large(&self.url));
        }
        let mut all = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if (all.len() as u64).saturating_add(piece.len() as u64) > limit {
                return Err(too_large(&self.url));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// The body as a stream of pieces.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        futures_util::stream::try_unfold(self, |mut response| async move {
            Ok(response.chunk().await?.map(|piece| (piece, response)))
        })
    }

    /// What the body says, for an error: the first 64 KiB as text, whatever goes wrong.
    pub async fn excerpt(mut self) -> String {
        let mut all = Vec::new();
        while let Ok(Some(piece)) = self.chunk().await {
            all.extend_from_slice(&piece);
            if all.len() as u64 >= EXCERPT_LIMIT {
                all.truncate(EXCERPT_LIMIT as usize);
                break;
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads a short rest, so that the connection can serve the next request.
    pub async fn discard(self) {
        let short = self.content_length().is_none_or(|length| length <= EXCERPT_LIMIT);
        if short {
            self.excerpt().await;
        }
    }
}

fn is_identity(encoding: &str) -> bool {
    encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")
}
