//! What answers a challenge: passwords as they are, and
//! Bearer tokens from its token server, with a credential or without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, header};
use tokio::time::Instant;
use transport::{Body, Http, Request, is_private_address, printable};
use url::{Host, Url};

use crate::Credential;
use crate::challenge::Challenge;
use crate::error::Cause;

/// No token answer is larger.
const TOKEN_LIMIT: u64 = 1 << 20;
/// Registries may leave the lifetime out; the protocol then promises a minute.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// No token is kept longer, whatever is said.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Tokens are renewed so long before their end.
const MARGIN: Duration = Duration::from_secs(10);

/// What goes into `Authorization`, and until when it is good.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: HeaderValue,
    pub(crate) until: Instant,
    /// Whether more than the task that fetched it have it.
    shared: Arc<AtomicBool>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    /// A token of this scheme. `None` where it is no text for a header.
    fn new(scheme: &str, text: &str, lifetime: Duration) -> Option<Self> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value = HeaderValue::try_from(format!("{scheme} {text}")).ok().filter(|_| plain)?;
        value.set_sensitive(true);
        let until = Instant::now() + lifetime;
        Some(Self { value, until, shared: Arc::default() })
    }

    /// The same token for one task more.
    pub(crate) fn share(&self) -> Self {
        self.shared.store(true, Ordering::Relaxed);
        self.clone()
    }

    /// Whether another task was given it too.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }
}

/// What answers the challenges of a registry: the credential itself, or a token from its token
/// server for it, or an anonymous one.
pub(crate) async fn token(
    http: &Http,
    registry: &Url,
    challenges: &[Challenge],
    scopes: &[String],
    credential: Option<&Credential>,
) -> Result<Token, Cause> {
    let find = |scheme: &str| challenges.iter().find(|c| c.scheme.eq_ignore_ascii_case(scheme));
    match (find("bearer"), find("basic"), credential) {
        (Some(_), _, Some(Credential::Bearer(token))) => {
            Token::new("Bearer", token, LONGEST_LIFETIME).ok_or_else(unusable)
        }
        (Some(bearer), ..) => bearer_token(http, registry, bearer, scopes, credential).await,
        (None, Some(_), Some(Credential::Password { user, password })) => basic(user, password),
        _ => Err(unauthorized(challenges, credential)),
    }
}

fn unauthorized(challenges: &[Challenge], credential: Option<&Credential>) -> Cause {
    let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
    let scheme = if schemes.is_empty() { "no scheme named".to_owned() } else { schemes.join(", ") };
    Cause::Unauthorized { scheme: printable(&scheme, 100), configured: credential.is_some() }
}

fn basic(user: &str, password: &str) -> Result<Token, Cause> {
    let pair = STANDARD.encode(format!("{user}:{password}"));
    Token::new("Basic", &pair, LONGEST_LIFETIME).ok_or_else(unusable)
}

fn unusable() -> Cause {
    Cause::Protocol("the credential is no text for a header".to_owned())
}

async fn bearer_token(
    http: &Http,
    registry: &Url,
    challenge: &Challenge,
    scopes: &[String],
    credential: Option<&Credential>,
) -> Result<Token, Cause> {
    let realm = realm(registry, challenge)?;
    let service = challenge.parameter("service");
    let mut scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let theirs = challenge.parameter("scope").filter(|scope| !scopes.contains(scope));
    scopes.extend(theirs);
    let request = match credential {
        Some(Credential::Identity(token)) => by_identity(realm, service, &scopes, token),
        other => by_scopes(realm, service, &scopes, other)?,
    };
    let response = http.send(&request).await?;
    let response = crate::endpoint::accept(response).await?;
    read_token(&response.bytes(TOKEN_LIMIT).await?)
}

/// The question of docker's token protocol, with a password or without.
fn by_scopes(
    mut realm: Url,
    service: Option<&str>,
    scopes: &[&str],
    credential: Option<&Credential>,
) -> Result<Request, Cause> {
    {
        let mut query = realm.query_pairs_mut();
        if let Some(Credential::Password { user, .. }) = credential {
            query.append_pair("account", user);
        }
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
    }
    let request = Request::new(Method::GET, realm);
    let Some(Credential::Password { user, password }) = credential else { return Ok(request) };
    Ok(request.header(header::AUTHORIZATION, basic(user, password)?.value))
}

/// The question of OAuth2, by which a refresh token becomes an access token.
fn by_identity(realm: Url, service: Option<&str>, scopes: &[&str], token: &str) -> Request {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("client_id", "kaniko");
    if let Some(service) = service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", &scopes.join(" "));
    form.append_pair("refresh_token", token);
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    Request::new(Method::POST, realm)
        .header(header::CONTENT_TYPE, kind)
        .body(Body::Bytes(form.finish().into()))
        .within_origin()
}

/// The token server's address, if we go there: http or https, no step down from https, and no
/// private address unless the registry itself has one (a public registry shall not make us ask
/// the neighbourhood).
fn realm(registry: &Url, challenge: &Challenge) -> Result<Url, Cause> {
    let text = challenge.parameter("realm").unwrap_or_default();
    let refuse = |why: &str| {
        let realm = printable(text, 200);
        Err(Cause::Protocol(format!("the registry names the token server `{realm}`, {why}")))
    };
    let Ok(url) = Url::parse(text) else { return refuse("which is no address") };
    match (registry.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return refuse("which is not https"),
        _ => return refuse("which is not http"),
    }
    if is_private(&url) && !is_private(registry) {
        return refuse("which is a private address");
    }
    Ok(url)
}

/// Whether the host is written as an address of this machine or of a private network.
pub(crate) fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => is_private_address(ip.into()),
        Some(Host::Ipv6(ip)) => is_private_address(ip.into()),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn read_token(body: &[u8]) -> Result<Token, Cause> {
    let wrong = |what: &str| Cause::Protocol(format!("the token server's answer {what}"));
    let json: serde_json::Value = serde_json::from_slice(body).map_err(|_| wrong("is not JSON"))?;
    let text = ["token", "access_token"].iter().find_map(|key| json[*key].as_str());
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| wrong("holds no token"))?;
    let lifetime = json["expires_in"].as_u64().map_or(DEFAULT_LIFETIME, Duration::from_secs);
    let lifetime = lifetime.clamp(DEFAULT_LIFETIME, LONGEST_LIFETIME).saturating_sub(MARGIN);
    Token::new("Bearer", text, lifetime)
        .ok_or_else(|| wrong("holds a token that is no header text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms() {
        let check = |registry: &str, text: &str, expected: &str| {
            let parameters = vec![("realm".to_owned(), text.to_owned())];
            let challenge = Challenge { scheme: "Bearer".to_owned(), parameters };
            let registry = Url::parse(registry).expect("an address");
            let got = match realm(&registry, &challenge) {
                Ok(url) => url.to_string(),
                Err(cause) => cause.to_string(),
            };
            let expected = expected.replace('@', "the registry names the token server");
            assert_eq!(got, expected);
        };
        check("https://r", "https://auth.r/t", "https://auth.r/t");
        check("http://127.0.0.1:5", "http://127.0.0.1:6/t", "http://127.0.0.1:6/t");
        check("https://r", "http://auth.r/t", "@ `http://auth.r/t`, which is not https");
        check("https://r", "file:///etc/passwd", "@ `file:///etc/passwd`, which is not http");
        check(
            "https://r",
            "https://10.0.0.1/",
            "@ `https://10.0.0.1/`, which is a private address",
        );
        check("https://r", "https://[::1]/", "@ `https://[::1]/`, which is a private address");
        check("https://r", "", "@ ``, which is no address");
    }

    #[tokio::test]
    async fn tokens() {
        let check = |body: &str, expected: &str| {
            let got = match read_token(body.as_bytes()) {
                Ok(token) => {
                    let left = token.until.saturating_duration_since(Instant::now());
                    format!(
                        "{} {}",
                        token.value.to_str().expect("text"),
                        (left.as_secs() + 5) / 10 * 10
                    )
                }
                Err(cause) => cause.to_string(),
            };
            assert_eq!(got, expected);
        };
        check(r#"{"token":"a"}"#, "Bearer a 50");
        check(r#"{"access_token":"b","expires_in":300}"#, "Bearer b 290");
        check(r#"{"token":"a","expires_in":-5}"#, "Bearer a 50");
        check(r#"{"token":"a","expires_in":18446744073709551615}"#, "Bearer a 86390");
        check(
            r#"{"token":"a\r\nX: y"}"#,
            "the token server's answer holds a token that is no header text",
        );
        check(r"{}", "the token server's answer holds no token");
        check("<html>", "the token server's answer is not JSON");
    }
}
