//! The servers by which clouds give credentials, all in one on loopback: Google's token servers and
//! metadata, Amazon's STS, ECR and metadata, Azure's directory, metadata and registry exchange.
//!
//! It answers who shows what this file says, and nobody else; it remembers what was asked.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::fault::wire::{Answer, Connection, Head};

/// The key of Google's service account, PEM, and its public half (PKCS#1, PEM).
pub const GOOGLE_KEY: &str = include_str!("../certificates/google.key");
/// The public half.
pub const GOOGLE_PUBLIC_KEY: &str = include_str!("../certificates/google.pub");
/// The key that Amazon's services know, and its secret, of which no request may hold anything.
pub const AWS_KEY: (&str, &str) = ("AKIDEXAMPLE", "aws-s3cret");
/// What a cluster or another issuer says who we are.
pub const OTHER_TOKEN: &str = "token-of-the-cluster";

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The query, or the form of the body.
    pub fields: Vec<(String, String)>,
}

impl Asked {
    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        find(&self.headers, name)
    }

    /// A field, or nothing.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        find(&self.fields, name)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    let found = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value.as_str())
}

/// How the servers behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As they should.
    Good,
    /// They take the question and say nothing.
    Silent,
    /// They send who asks to another host.
    Elsewhere,
    /// They answer 64 MiB.
    Endless,
    /// They answer something else.
    Strange,
    /// They fail, and hold a secret in their answer.
    Broken,
}

/// The servers.
#[derive(Debug)]
pub struct CloudServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mood: Mood,
    asked: Mutex<Vec<Asked>>,
    stopped: AtomicBool,
}

impl CloudServer {
    /// Starts them.
    #[must_use]
    pub fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because loopback has a free port");
        let address = listener.local_addr().expect("because it is bound");
        let (asked, stopped) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { mood, asked, stopped });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { address, shared }
    }

    /// Where they listen, in plain HTTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for CloudServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let mut connection = Connection::new(stream);
    while let Some(head) = connection.head() {
        let Some(body) = connection.body(&head, 1) else { return };
        let mut fields = head.query.clone();
        if head.header("content-type") == Some("application/x-www-form-urlencoded") {
            fields.extend(crate::fault::wire::form(&String::from_utf8_lossy(&body)));
        }
        let line = format!("{} {}", head.method, head.path);
        let asked = Asked { line, headers: head.headers.clone(), fields };
        shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        let answer = match shared.mood {
            Mood::Good => answer(&head, &asked),
            Mood::Elsewhere => Answer::new(307).header("Location", "https://other.test/"),
            Mood::Endless => Answer::new(200).body(vec![b' '; 64 << 20]),
            Mood::Strange => Answer::new(200).body("<html>s3cret</html>"),
            Mood::Broken => Answer::new(400).body("s3cret"),
            Mood::Silent => {
                // Until the other side has given up.
                let _ = connection.reader.get_ref().set_read_timeout(Some(Duration::from_secs(30)));
                let _ = connection.head();
                return;
            }
        };
        let length = Some(answer.body.len() as u64);
        let sent = connection.send_head(&answer, length);
        if sent.and_then(|()| connection.send(&answer.body)).is_err() {
            return;
        }
    }
}

fn json(text: impl Into<String>) -> Answer {
    Answer::new(200).header("Content-Type", "application/json").body(text.into())
}

fn refused() -> Answer {
    Answer::new(400).body("{\"error\": \"invalid_grant\", \"error_description\": \"who are you?\"}")
}

fn answer(head: &Head, asked: &Asked) -> Answer {
    let given = |name: &str, value: &str| asked.field(name) == value;
    let shown = |name: &str, value: &str| asked.header(name) == value;
    let access = |good: bool, token: &str| match good {
        true => json(format!("{{\"access_token\": \"{token}\", \"expires_in\": 3600}}")),
        false => refused(),
    };
    match asked.line.as_str() {
        "POST /token" => match asked.field("grant_type") {
            "refresh_token" => {
                let client = given("client_id", "client") && given("client_secret", "s3cret");
                access(client && given("refresh_token", "refresh"), "google-token")
            }
            kind => {
                let parts = asked.field("assertion").split('.').count();
                access(kind.ends_with(":jwt-bearer") && parts == 3, "google-token")
            }
        },
        "POST /v1/token" => {
            let token = given("subject_token", OTHER_TOKEN) && given("audience", "//pool");
            access(token, "google-federated")
        }
        "POST /v1/account:generateAccessToken" => {
            match shown("authorization", "Bearer google-federated") {
                true => json(
                    "{\"accessToken\": \"google-account\", \"expireTime\": \"2100-01-01T00:00:00Z\"}",
                ),
                false => refused(),
            }
        }
        "GET /computeMetadata/v1/instance/service-accounts/default/token" => {
            access(shown("metadata-flavor", "Google"), "google-machine")
                .header("Metadata-Flavor", "Google")
        }
        "PUT /latest/api/token" => Answer::new(200).body("imds-session"),
        "GET /latest/meta-data/iam/security-credentials/" => match imds(asked) {
            true => Answer::new(200).body("the-role"),
            false => Answer::new(401),
        },
        "GET /latest/meta-data/iam/security-credentials/the-role" if imds(asked) => aws_keys(),
        "GET /container" if shown("authorization", OTHER_TOKEN) => aws_keys(),
        "POST /" => amazon(head, asked),
        "POST /tenant/oauth2/v2.0/token" => {
            let secret = given("client_secret", "s3cret");
            let good = given("client_id", "client")
                && given("scope", "https://containerregistry.azure.net/.default")
                && (secret || given("client_assertion", OTHER_TOKEN));
            access(good, "azure-access")
        }
        "GET /metadata/identity/oauth2/token" => {
            access(shown("metadata", "true") && !asked.field("resource").is_empty(), "azure-access")
        }
        "GET /identity" => access(shown("x-identity-header", "s3cret"), "azure-access"),
        "POST /oauth2/exchange" => {
            let good = given("access_token", "azure-access") && given("grant_type", "access_token");
            match good && shown("host", asked.field("service")) {
                true => json("{\"refresh_token\": \"azure-refresh\"}"),
                false => refused(),
            }
        }
        _ => Answer::new(404).body("there is no such page"),
    }
}

fn imds(asked: &Asked) -> bool {
    asked.header("x-aws-ec2-metadata-token") == "imds-session"
}

fn aws_keys() -> Answer {
    let (id, secret) = AWS_KEY;
    json(format!(
        "{{\"Code\": \"Success\", \"AccessKeyId\": \"{id}\", \"SecretAccessKey\": \"{secret}\", \
         \"Token\": \"session\", \"Expiration\": \"2100-01-01T00:00:00Z\"}}"
    ))
}

/// STS takes forms, ECR takes signed JSON.
fn amazon(head: &Head, asked: &Asked) -> Answer {
    let (id, secret) = AWS_KEY;
    if asked.field("Action") == "AssumeRoleWithWebIdentity" {
        if asked.field("WebIdentityToken") != OTHER_TOKEN || asked.field("RoleArn").is_empty() {
            return Answer::new(400).body(
                "<ErrorResponse><Error><Code>InvalidIdentityToken</Code>\
                 <Message>who are you?</Message></Error></ErrorResponse>",
            );
        }
        return Answer::new(200).body(format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>session</SessionToken></Credentials></AssumeRoleWithWebIdentityResult>\
             </AssumeRoleWithWebIdentityResponse>"
        ));
    }
    let start = format!("AWS4-HMAC-SHA256 Credential={id}/");
    let dated = head.header("x-amz-date").is_some_and(|date| date.len() == 16);
    if !dated || !asked.header("authorization").starts_with(&start) {
        return Answer::new(400)
            .body("{\"__type\": \"UnrecognizedClientException\", \"message\": \"who are you?\"}");
    }
    // `AWS:ecr-password`, for the private service and for the public one.
    let lent =
        "{\"authorizationToken\": \"QVdTOmVjci1wYXNzd29yZA==\", \"expiresAt\": 4102444800.5}";
    match asked.header("x-amz-target") {
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken" => {
            json(format!("{{\"authorizationData\": [{lent}]}}"))
        }
        "SpencerFrontendService.GetAuthorizationToken" => {
            json(format!("{{\"authorizationData\": {lent}}}"))
        }
        _ => Answer::new(404),
    }
}
