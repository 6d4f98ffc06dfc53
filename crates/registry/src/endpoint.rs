//! One registry: its address and scheme, what it is shown, and one authorised exchange with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode, header};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use transport::{
    Http, Request, Response, RetryPolicy, Retryable as _, Settings, is_private_address,
    is_transient_status, printable, retry_after,
};
use url::Url;

use crate::auth::{self, Token};
use crate::challenge::{Challenge, challenges};
use crate::error::{Cause, Error};
use crate::options::ClientOptions;
use crate::{Asked, Grant, Keychain};

/// So many tokens are tried for one exchange, where other tasks use them up.
const TOKENS_PER_EXCHANGE: u32 = 8;

/// What a request needs to be allowed to do, in the words of token servers.
pub(crate) type Scopes = Vec<String>;

/// The scope of reading a repository.
pub(crate) fn pull_scope(repository: &str) -> Scopes {
    vec![format!("repository:{repository}:pull")]
}

/// The scope of writing to a repository, and reading others to mount from.
pub(crate) fn push_scope(repository: &str, from: &[&str]) -> Scopes {
    let mut scopes = vec![format!("repository:{repository}:pull,push")];
    for other in from.iter().filter(|other| **other != repository) {
        scopes.push(format!("repository:{other}:pull"));
    }
    scopes
}

/// A registry.
#[derive(Debug)]
pub(crate) struct Endpoint {
    host: String,
    http: Http,
    /// For token servers of registries on the internet: reaches nothing in a private network.
    public: Option<(Settings, OnceLock<Http>)>,
    /// Where the registry was reached first.
    peer: OnceLock<IpAddr>,
    plain_allowed: bool,
    pub(crate) retry: RetryPolicy,
    base: OnceCell<Url>,
    keychain: Arc<Keychain>,
    tokens: Mutex<HashMap<Scopes, Token>>,
    /// What was found for repositories, each looked for once.
    credentials: Mutex<HashMap<String, Option<Grant>>>,
    /// Whether any token was ever accepted.
    accepted: AtomicBool,
}

impl Endpoint {
    pub(crate) fn new(
        host: &str,
        options: &ClientOptions,
        retry: RetryPolicy,
    ) -> Result<Self, Error> {
        let setup = |source| Error::Setup { registry: host.to_owned(), source };
        let mut settings: Settings = options.http.clone();
        settings.skip_tls_verify |=
            options.skip_tls_verify || options.skip_tls_verify_registries.contains(host);
        if let Some(pem) = options.certificates.get(host) {
            settings.roots = settings.roots.with_pem(pem, host).map_err(setup)?;
        }
        if let Some(identity) = options.client_certificates.get(host) {
            settings.identity = Some(identity.clone());
        }
        Ok(Self {
            host: host.to_owned(),
            http: Http::new(&settings).map_err(setup)?,
            public: public(&settings).map(|settings| (settings, OnceLock::new())),
            peer: OnceLock::new(),
            plain_allowed: options.insecure
                || options.insecure_registries.contains(host)
                || is_local(host),
            retry,
            base: OnceCell::new(),
            keychain: Arc::clone(&options.keychain),
            tokens: Mutex::new(HashMap::new()),
            credentials: Mutex::new(HashMap::new()),
            accepted: AtomicBool::new(false),
        })
    }

    /// The registry's root. Where http is allowed both schemes are tried, https first, once.
    pub(crate) async fn base(&self) -> Result<&Url, Cause> {
        self.base.get_or_try_init(|| self.find_base()).await
    }

    async fn find_base(&self) -> Result<Url, Cause> {
        let root = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}/", self.host)).map_err(|_| {
                Cause::Protocol(format!("`{}` is no host", printable(&self.host, 200)))
            })
        };
        let secure = root("https")?;
        if !self.plain_allowed {
            return Ok(secure);
        }
        let plain = root("http")?;
        transport::retry(&self.retry, &self.host, || async {
            let over_tls = match self.ping(&secure).await {
                Ok(_) => return Ok(secure.clone()),
                Err(error) => error,
            };
            match self.ping(&plain).await {
                // Servers that want TLS answer plain text with 400.
                Ok(StatusCode::BAD_REQUEST) => Err(over_tls.into()),
                Ok(_) => Ok(plain.clone()),
                Err(error) if over_tls.is_tls() => Err(error.into()),
                Err(_) => Err(over_tls.into()),
            }
        })
        .await
        .map_err(exhausted)
    }

    async fn ping(&self, root: &Url) -> Result<StatusCode, transport::Error> {
        let mut url = root.clone();
        url.set_path("/v2/");
        let response = self.http.send(&Request::new(Method::GET, url)).await?;
        let status = response.status();
        response.discard().await;
        Ok(status)
    }

    /// The first question, and how it is answered: the registry's root, the status, and what it
    /// wants. Every status but success and a challenge is an error.
    pub(crate) async fn greet(&self) -> Result<(Url, StatusCode, Vec<Challenge>), Cause> {
        let base = self.base().await?.clone();
        let response = self.http.send(&Request::new(Method::GET, self.url("").await?)).await?;
        let (status, challenges) = (response.status(), challenges(response.headers()));
        match status {
            StatusCode::UNAUTHORIZED => response.discard().await,
            _ => accept(response).await?.discard().await,
        }
        Ok((base, status, challenges))
    }

    /// The address of a path below `/v2/`.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Cause> {
        let mut url = self.base().await?.clone();
        url.set_path(&format!("/v2/{path}"));
        Ok(url)
    }

    /// One exchange, whatever its status but 401: that fetches a token and tries again.
    /// Credentials go to the registry's own origin only.
    pub(crate) async fn send(
        &self,
        scopes: &Scopes,
        mut request: Request,
    ) -> Result<Response, Cause> {
        let base = self.base().await?;
        if request.url.origin() != base.origin() {
            if base.scheme() == "https" && request.url.scheme() != "https" {
                let url = transport::shown_url(&request.url);
                return Err(Cause::Protocol(format!(
                    "the registry sends us to `{url}`, not https"
                )));
            }
            return Ok(self.http.send(&request).await?);
        }
        let mut used = self.known_token(scopes).await;
        if let Some(token) = &used {
            request.headers.insert(header::AUTHORIZATION, token.value.clone());
        }
        let mut response = self.http.send(&request).await?;
        if let Some(peer) = response.peer() {
            let _ = self.peer.set(peer);
        }
        // A token that another task was given as well may be used up by that one; one that this task
        // fetched and had to itself is its last try.
        let mut tries = 0;
        while response.status() == StatusCode::UNAUTHORIZED && tries < TOKENS_PER_EXCHANGE {
            let challenges = challenges(response.headers());
            response.discard().await;
            let (token, fetched) = self.new_token(scopes, used.as_ref(), base, &challenges).await?;
            request.headers.insert(header::AUTHORIZATION, token.value.clone());
            response = self.http.send(&request).await?;
            let is_known = used.as_ref().is_some_and(|used| used.value == token.value);
            let is_last = is_known || fetched && !token.is_shared();
            tries = if is_last { TOKENS_PER_EXCHANGE } else { tries + 1 };
            used = Some(token);
        }
        if response.status() != StatusCode::UNAUTHORIZED {
            if used.is_some() {
                self.accepted.store(true, Ordering::Relaxed);
            }
            return Ok(response);
        }
        match accept(response).await {
            // Where tokens were good before, this one ended while it was on its way.
            Err(Cause::Status { status, code, message, retry_after, .. }) => {
                let transient = self.accepted.load(Ordering::Relaxed);
                let message = match message.is_empty() && self.credential(scopes).await.is_some() {
                    true => "it refuses the credentials that are configured".to_owned(),
                    false => message,
                };
                Err(Cause::Status { status, code, message, retry_after, transient })
            }
            other => other,
        }
    }

    async fn known_token(&self, scopes: &Scopes) -> Option<Token> {
        let tokens = self.tokens.lock().await;
        tokens.get(scopes).filter(|token| token.until > Instant::now()).map(Token::share)
    }

    /// A token that is not `used`, and whether it was fetched now: another task may have fetched one
    /// meanwhile.
    async fn new_token(
        &self,
        scopes: &Scopes,
        used: Option<&Token>,
        base: &Url,
        challenges: &[Challenge],
    ) -> Result<(Token, bool), Cause> {
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(scopes)
            && token.until > Instant::now()
            && used.is_none_or(|used| used.value != token.value)
        {
            return Ok((token.share(), false));
        }
        let grant = self.credential(scopes).await;
        let credential = grant.as_ref().map(|grant| &grant.credential);
        let name = format!("token {}", scopes.join(" "));
        let http = self.token_http()?;
        let mut token = transport::retry(&self.retry, &name, || {
            auth::token(http, base, challenges, scopes, credential)
        })
        .await
        .map_err(exhausted)?;
        // A password that a cloud lent is shown as it is, and not for longer than it is good.
        if let Some(end) = grant.and_then(|grant| grant.until) {
            token.until = token.until.min(end);
        }
        tokens.insert(scopes.clone(), token.clone());
        Ok((token, true))
    }

    /// What speaks to the token server that the registry names. One that is out on the internet must
    /// not make us ask the neighbourhood, whatever name that has.
    fn token_http(&self) -> Result<&Http, Cause> {
        let is_near = self.peer.get().is_some_and(|peer| is_private_address(*peer));
        let Some((settings, made)) = self.public.as_ref().filter(|_| !is_near) else {
            return Ok(&self.http);
        };
        match made.get() {
            Some(http) => Ok(http),
            None => {
                let http = Http::new(settings)?;
                Ok(made.get_or_init(|| http))
            }
        }
    }

    /// What the registry is shown for the repository that the scopes are about.
    async fn credential(&self, scopes: &Scopes) -> Option<Grant> {
        let scope = scopes.first().map(String::as_str).unwrap_or_default();
        self.credential_of(scope.split(':').nth(1).unwrap_or_default()).await
    }

    /// What it is shown for a repository; looked for once, and again when it is no longer good.
    pub(crate) async fn credential_of(&self, repository: &str) -> Option<Grant> {
        let encrypted = self.base().await.is_ok_and(|base| base.scheme() == "https");
        let mut known = self.credentials.lock().await;
        let is_good = |grant: &Grant| grant.until.is_none_or(|until| until > Instant::now());
        if let Some(grant) = known.get(repository)
            && grant.as_ref().is_none_or(is_good)
        {
            return grant.clone();
        }
        let found =
            self.keychain.find(&Asked { registry: &self.host, repository, encrypted }).await;
        known.insert(repository.to_owned(), found.clone());
        found
    }

    /// One exchange that must succeed.
    pub(crate) async fn expect(
        &self,
        scopes: &Scopes,
        request: Request,
    ) -> Result<Response, Cause> {
        accept(self.send(scopes, request).await?).await
    }
}

/// Settings by which public addresses alone are connected to. Behind a proxy it is the proxy that looks names
/// up, and what it may reach is its own to know.
fn public(settings: &Settings) -> Option<Settings> {
    let proxies = &settings.proxies;
    let is_direct = proxies.http.is_none() && proxies.https.is_none();
    let resolver = settings.resolver.as_ref().filter(|_| is_direct)?.public_only();
    Some(Settings { resolver: Some(resolver), ..settings.clone() })
}

/// One retry below another would multiply their tries.
fn exhausted(cause: Cause) -> Cause {
    match cause.is_transient() {
        true => Cause::Exhausted(Box::new(cause)),
        false => cause,
    }
}

/// Turns every status but success into an error that says what the registry said.
pub(crate) async fn accept(response: Response) -> Result<Response, Cause> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    let (code, message) = read_errors(&response.excerpt().await);
    let transient = is_transient_status(status);
    Err(Cause::Status { status: status.as_u16(), code, message, retry_after, transient })
}

/// The first error of a registry's error document, or the beginning of whatever text there is.
fn read_errors(text: &str) -> (Option<String>, String) {
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let first = &json["errors"][0];
    let code = first["code"].as_str().map(|code| printable(code, 60));
    let message = first["message"].as_str().or_else(|| json["message"].as_str());
    match (code, message) {
        (None, None) if text.trim_start().starts_with('<') => (None, String::new()),
        (None, None) => (None, printable(text, 200)),
        (code, message) => (code, printable(message.unwrap_or_default(), 300)),
    }
}

/// Hosts that may be spoken to in clear without a flag, as kaniko has it: this machine, and private
/// addresses written as such.
fn is_local(host: &str) -> bool {
    Url::parse(&format!("http://{host}/")).is_ok_and(|url| auth::is_private(&url))
}

/// Shared by all who talk to this registry.
pub(crate) type SharedEndpoint = Arc<Endpoint>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts() {
        let check = |host: &str, expected: bool| assert_eq!(is_local(host), expected, "{host}");
        check("localhost:5000", true);
        check("reg.localhost", true);
        check("127.0.0.1:5000", true);
        check("[::1]:5000", true);
        check("192.168.1.9", true);
        check("10.0.0.1:443", true);
        check("172.32.0.1", false);
        check("index.docker.io", false);
        check("localhost.example", false);
    }

    #[test]
    fn token_servers_of_registries_on_the_internet_are_there_too() {
        let check = |peer: &str, proxy: Option<&str>, is_bound: bool| {
            let mut options = ClientOptions::default();
            options.http.resolver = Some(transport::Resolver::from_texts("", ""));
            options.http.proxies.https = proxy.map(str::to_owned);
            let endpoint = Endpoint::new("reg.example", &options, options.retry);
            let endpoint = endpoint.expect("because it is plain");
            let _ = endpoint.peer.set(peer.parse().expect("because it is an address"));
            let http = endpoint.token_http().expect("because the settings are plain");
            assert_eq!(!std::ptr::eq(http, &raw const endpoint.http), is_bound, "{peer}");
        };
        check("198.51.100.7", None, true);
        check("2001:db8::7", None, true);
        check("127.0.0.1", None, false);
        check("10.1.2.3", None, false);
        check("fd00::1", None, false);
        check("198.51.100.7", Some("http://127.0.0.1:1"), false);
    }

    #[test]
    fn error_documents() {
        let check = |text: &str, code: Option<&str>, message: &str| {
            assert_eq!(read_errors(text), (code.map(str::to_owned), message.to_owned()));
        };
        check(r#"{"errors":[{"code":"A","message":"b\u001b[0m"}]}"#, Some("A"), "b\\u{1b}[0m");
        check(r#"{"errors":[{"code":"A"}]}"#, Some("A"), "");
        check(r#"{"message":"no"}"#, None, "no");
        check("slow down\n", None, "slow down");
        check("<html><body>", None, "");
        check("", None, "");
    }

    #[test]
    fn scopes() {
        assert_eq!(
            push_scope("a/b", &["c", "a/b"]),
            ["repository:a/b:pull,push", "repository:c:pull"]
        );
    }
}
