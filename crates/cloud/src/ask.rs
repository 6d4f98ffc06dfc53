//! One question to a server of a cloud, and to the services beside the machine that a cloud has.
//!
//! Secrets are in the bodies and headers of these questions, so they go over https (or stay on this
//! machine), never along a redirect to another host, and no answer but its own words gets into a log.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use transport::{
    Body, Http, Proxies, Request, RetryPolicy, Settings, is_transient_status, printable, shown_url,
};
use url::{Host, Url};

use crate::Result;
use crate::clock::Clock;
use crate::error::Error;

/// No answer is larger.
const ANSWER_LIMIT: u64 = 1 << 20;
/// A service beside the machine is asked for no longer.
pub(crate) const NEAR_LIMIT: Duration = Duration::from_secs(2);
const RETRY: RetryPolicy = RetryPolicy {
    tries: 4,
    first_pause: Duration::from_millis(200),
    longest_pause: Duration::from_secs(2),
    silences: 2,
    patience: Duration::from_secs(30),
    seed: 0,
};

/// The way to a cloud's servers.
#[derive(Debug)]
pub(crate) struct Ask {
    far: (Settings, OnceLock<Http>),
    near: (Settings, OnceLock<Http>),
    pub(crate) clock: Clock,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Ask {
    pub(crate) fn new(settings: &Settings, clock: Clock) -> Self {
        // What is beside the machine is not behind a proxy.
        let near = Settings {
            proxies: Proxies::default(),
            connect_timeout: NEAR_LIMIT,
            idle_timeout: NEAR_LIMIT,
            answer_timeout: NEAR_LIMIT,
            ..settings.clone()
        };
        Self { far: (settings.clone(), OnceLock::new()), near: (near, OnceLock::new()), clock }
    }

    /// Asks a server; every status but success is an error.
    pub(crate) async fn far(&self, what: &str, request: &Request) -> Result<Answer> {
        if !may_hold_secrets(&request.url) {
            let url = shown_url(&request.url);
            return Err(Error::Address { what: what.to_owned(), url });
        }
        let http = client(&self.far)?;
        transport::retry(&RETRY, what, || exchange(http, request)).await
    }

    /// Asks a service beside the machine. `None`: nobody is there, or it knows nothing of us.
    pub(crate) async fn near(&self, request: &Request) -> Result<Option<Answer>> {
        let http = client(&self.near)?;
        let url = shown_url(&request.url);
        let limited = || async {
            let slow = |_| Error::Slow { url: url.clone(), limit: NEAR_LIMIT };
            tokio::time::timeout(NEAR_LIMIT, exchange(http, request)).await.map_err(slow)?
        };
        let policy = RetryPolicy { silences: 1, patience: NEAR_LIMIT, ..RETRY };
        match transport::retry(&policy, &url, limited).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::Refused { status: 404, .. }) => Ok(None),
            Err(error @ (Error::Slow { .. } | Error::Transport(_))) => {
                tracing::debug!("no answer: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn client((settings, made): &(Settings, OnceLock<Http>)) -> Result<&Http> {
    match made.get() {
        Some(http) => Ok(http),
        None => {
            let http = Http::new(settings)?;
            Ok(made.get_or_init(|| http))
        }
    }
}

async fn exchange(http: &Http, request: &Request) -> Result<Answer> {
    let response = http.send(request).await?;
    let (status, url) = (response.status(), shown_url(&request.url));
    if !status.is_success() {
        let transient = is_transient_status(status);
        let message = match status {
            StatusCode::NOT_FOUND => String::new(),
            _ => said(&response.excerpt().await),
        };
        return Err(Error::Refused { url, status: status.as_u16(), message, transient });
    }
    let headers = response.headers().clone();
    let body = response.bytes(ANSWER_LIMIT).await?;
    Ok(Answer { url, headers, body })
}

/// What an error's document says: by OAuth2, or in Amazon's JSON or XML. Nothing of other documents.
fn said(text: &str) -> String {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let find = |names: &[&str]| names.iter().find_map(|name| json[*name].as_str());
    let code = find(&["error", "__type", "Code", "code"]).or_else(|| element(text, "Code"));
    let message = find(&["error_description", "message", "Message"])
        .or_else(|| json["error"]["message"].as_str())
        .or_else(|| json["errors"][0]["message"].as_str())
        .or_else(|| element(text, "Message"));
    let parts: Vec<String> =
        [code, message].into_iter().flatten().map(|text| printable(text, 200)).collect();
    parts.join(": ")
}

/// The text of the first element of this name in a document of XML that holds nothing unusual.
pub(crate) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    (!content.contains(['<', '&'])).then_some(content.trim())
}

impl Answer {
    /// The answer as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|_| self.lacks("is not JSON"))
    }

    /// The answer as text.
    pub(crate) fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).map_err(|_| self.lacks("is not text"))
    }

    /// It is not what it should be.
    pub(crate) fn lacks(&self, what: &'static str) -> Error {
        Error::Answer { url: self.url.clone(), what }
    }

    /// A token by OAuth2, and for how long it is good.
    pub(crate) fn token(&self) -> Result<(String, Duration)> {
        let json = self.json()?;
        let token = json["access_token"].as_str().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.lacks("holds no access token"))?;
        // Azure's services write the number as text.
        let lifetime = &json["expires_in"];
        let seconds = lifetime.as_u64().or_else(|| lifetime.as_str()?.parse().ok());
        Ok((token.to_owned(), Duration::from_secs(seconds.unwrap_or(0))))
    }
}

/// A form, as token servers take it.
pub(crate) fn form(url: Url, fields: &[(&str, &str)]) -> Request {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    Request::new(Method::POST, url)
        .header(header::CONTENT_TYPE, kind)
        .body(Body::Bytes(form.finish().into()))
        .within_origin()
}

/// A question without a body.
pub(crate) fn get(url: Url) -> Request {
    Request::new(Method::GET, url).within_origin()
}

/// A header that shows a secret.
pub(crate) fn secret_header(
    request: Request,
    name: HeaderName,
    text: &str,
    what: &str,
) -> Result<Request> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Error::form(what, "is no text for a header"))?;
    value.set_sensitive(true);
    Ok(request.header(name, value))
}

/// An address that was configured.
pub(crate) fn address(what: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.filter(Url::has_host).ok_or_else(|| Error::form(what, "is no address"))
}

/// Whether nobody on the way can read what is sent there.
fn may_hold_secrets(url: &Url) -> bool {
    url.scheme() == "https" || is_this_machine(url)
}

/// Whether an address is written as one of this machine.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_servers_say() {
        let check = |text: &str, expected: &str| assert_eq!(said(text), expected);
        check(
            r#"{"error": "invalid_client", "error_description": "no\nsuch secret"}"#,
            "invalid_client: no\\nsuch secret",
        );
        check(
            r#"{"__type": "UnrecognizedClientException", "message": "The token is invalid."}"#,
            "UnrecognizedClientException: The token is invalid.",
        );
        check(
            "<ErrorResponse><Error><Code>ExpiredTokenException</Code>\n<Message>Expired</Message>",
            "ExpiredTokenException: Expired",
        );
        check(r#"{"error": {"code": 403, "message": "denied"}}"#, "denied");
        check("<html>s3cret</html>", "");
        check("s3cret", "");
    }

    #[test]
    fn secrets_go_over_https_or_nowhere() {
        let check = |url: &str, expected: bool| {
            let url = Url::parse(url).expect("because it is an address");
            assert_eq!(may_hold_secrets(&url), expected, "{url}");
        };
        check("https://sts.amazonaws.com/", true);
        check("http://127.0.0.1:8080/", true);
        check("http://[::1]/", true);
        check("http://localhost:1/", true);
        check("http://sts.amazonaws.com/", false);
        check("http://10.0.0.1/", false);
        check("http://localhost.evil.example/", false);
    }
}
