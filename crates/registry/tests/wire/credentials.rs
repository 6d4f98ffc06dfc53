//! Who we are to a registry: passwords, tokens for them, and what is said where they do not do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::{
    Asking, Client, Cloud, Credential, DockerConfig, GitLab, Grant, Keychain, Roots, Source,
};
use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::internet::{AUTHORITY, Behind, Internet};
use testkit::registry::{Registry, USER};

use crate::support::{chain, client_with, image, reference, silent};

/// A client with an entry for a host, or for a repository on it, in a config.
fn client(entries: &[(&str, &str)]) -> Client {
    let entries: Vec<String> =
        entries.iter().map(|(key, entry)| format!("\"{key}\": {{{entry}}}")).collect();
    let text = format!("{{\"auths\": {{{}}}}}", entries.join(","));
    let config = DockerConfig::parse("test", text.as_bytes()).expect("because it is well formed");
    let keychain = Arc::new(Keychain { configs: vec![config], ..Keychain::default() });
    client_with(|options| options.keychain = keychain)
}

fn password(user: &str, password: &str) -> String {
    format!("\"auth\": \"{}\"", STANDARD.encode(format!("{user}:{password}")))
}

/// What comes of a push to `app:v1`.
async fn push(client: &Client, host: &str) -> String {
    let (image, blobs) = image(70_000);
    let name = reference(host, "app:v1");
    match client.push_image(&name, &image, &blobs, &silent).await {
        Ok(_) => "pushed".to_owned(),
        Err(error) => chain(&error).replace(host, "HOST"),
    }
}

#[tokio::test]
async fn a_real_registry_with_a_password() {
    let registry = Registry::start_with_password().expect("because docker-registry is installed");
    let host = registry.host();
    let right = password(USER.0, USER.1);
    let (image, blobs) = image(300_001);
    let name = reference(&host, "a/b:v1");

    let keyed = client(&[(&host, &right)]);
    keyed.check_push(&name).await.expect("because the password is right");
    keyed.push_image(&name, &image, &blobs, &silent).await.expect("because it is right");
    let platform = oci::Platform::new("linux", "amd64");
    let found = keyed.resolve(&name, &platform).await.expect("because it was pushed");
    assert_eq!(&found.descriptor.digest, image.digest());

    // An entry for this repository alone, and none for the others.
    let scoped = client(&[(&format!("{host}/a/b"), &right)]);
    scoped.resolve(&name, &platform).await.expect("because the entry is for it");
    assert!(push(&scoped, &host).await.contains("none are configured"));

    let job = GitLab { registry: host.clone(), user: USER.0.into(), password: USER.1.into() };
    let keychain = Arc::new(Keychain { sources: vec![Source::GitLab(job)], ..Keychain::default() });
    let job = client_with(|options| options.keychain = keychain);
    assert_eq!(push(&job, &host).await, "pushed");

    let wrong = push(&client(&[(&host, &password("kim", "wrong"))]), &host).await;
    let expected = "the registry answered 401: it refuses the credentials that are configured";
    assert!(wrong.ends_with(expected), "{wrong}");
    let none = push(&client(&[]), &host).await;
    let expected = "the registry asks for credentials (Basic), and none are configured";
    assert!(none.contains(expected), "{none}");
    let kind = push(&client(&[(&host, "\"identitytoken\": \"x\"")]), &host).await;
    let expected = "the registry asks for credentials (Basic), and those that are configured are of \
                    another kind";
    assert!(kind.contains(expected), "{kind}");
}

#[tokio::test]
async fn tokens_for_passwords_and_for_refresh_tokens() {
    let check = async |wanted: &str, entry: &str, expected: &str| {
        let registry = FaultRegistry::start();
        registry.require_secret(wanted);
        let host = registry.host();
        let result = push(&client(&[(&host, entry)]), &host).await;
        assert!(result.contains(expected), "{result}");
        assert!(!result.contains("s3cret"), "{result}");
        assert_eq!(registry.leaks(), 0);
    };
    let basic = format!("Basic {}", STANDARD.encode("kim:s3cret"));
    check(&basic, &password("kim", "s3cret"), "pushed").await;
    check(&basic, &password("kim", "s3cret2"), "the registry answered 401").await;
    check(&basic, "", "the registry answered 401").await;
    check("s3cret", "\"identitytoken\": \"s3cret\"", "pushed").await;
    check("s3cret", &password("<token>", "s3cret"), "pushed").await;
    check("s3cret", "\"identitytoken\": \"s3cret2\"", "the registry answered 401").await;
}

/// Two paths of one registry with different credentials: the longest path wins, and where a layer is
/// mounted from the other one, it is still who pushes that asks.
#[tokio::test]
async fn each_repository_is_shown_its_own() {
    let registry = FaultRegistry::start();
    registry.require_secret(&format!("Basic {}", STANDARD.encode("kim:own")));
    let host = registry.host();
    let (image, mut blobs) = image(70_000);
    for bytes in blobs.bytes.values() {
        registry.put_blob("team/other", bytes);
    }
    blobs.known = vec![reference(&host, "team/other:v1")];
    let client = client(&[
        (&format!("{host}/team/app"), &password("kim", "own")),
        (&format!("{host}/team"), &password("kim", "team")),
        (&format!("{host}/team/other"), &password("kim", "other")),
        (&host, &password("kim", "host")),
    ]);
    let name = reference(&host, "team/app:v1");
    client.push_image(&name, &image, &blobs, &silent).await.expect("because it is shown its own");
    let log = registry.log();
    let mounted = |entry: &testkit::fault::Logged| {
        entry.request.contains("from=team/other") && entry.status == 201
    };
    assert!(log.iter().any(mounted), "{log:?}");
    let refused = push(&client, &host).await;
    assert!(refused.contains("the registry answered 401"), "{refused}");
}

/// A refresh token is in the body of a question, which a redirect would repeat elsewhere.
#[tokio::test]
async fn a_refresh_token_goes_along_no_redirect() {
    let registry = FaultRegistry::start();
    registry.require_secret("s3cret");
    let elsewhere = format!("http://{}/token", registry.other_host());
    let answer = Action::Status(307, vec![("Location", elsewhere)], String::new());
    registry.fault(Subject::Token, None, answer);
    let host = registry.host();
    let result = push(&client(&[(&host, "\"identitytoken\": \"s3cret\"")]), &host).await;
    assert!(result.contains("where our secrets do not go"), "{result}");
    assert!(!registry.log().iter().any(|entry| entry.other_host), "{:?}", registry.log());
}

/// A cloud that lends what the registry takes, for so long.
#[derive(Debug)]
struct Lender {
    lifetime: Duration,
    asked: AtomicUsize,
}

impl Cloud for Lender {
    fn name(&self) -> &'static str {
        "lender"
    }

    fn helper(&self) -> &'static str {
        "lender"
    }

    fn serves(&self, registry: &str) -> bool {
        registry == "registry.test"
    }

    fn grant<'a>(&'a self, _: &'a str) -> Asking<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (user, password) = ("AWS".to_owned(), "ecr-password".to_owned());
        let credential = Credential::Password { user, password };
        let until = Some(tokio::time::Instant::now() + self.lifetime);
        Box::pin(std::future::ready(Ok(Some(Grant { credential, until, origin: "it".to_owned() }))))
    }
}

/// What a cloud lends is kept for as long as it is good; a build may take longer.
#[tokio::test]
async fn what_is_lent_is_asked_for_again() {
    let registry = Registry::start_in_a_cloud().expect("because docker-registry is installed");
    let internet = Internet::start(&[("registry.test", Behind::Tls(registry.address()))]);
    let check = async |lifetime: Duration, expected: bool| {
        let lender = Arc::new(Lender { lifetime, asked: AtomicUsize::new(0) });
        let cloud: Arc<dyn Cloud> = lender.clone();
        let client = client_with(|options| {
            let sources = vec![Source::Cloud(cloud)];
            options.keychain = Arc::new(Keychain { sources, ..Keychain::default() });
            options.http.roots = Roots::default().with_pem(AUTHORITY, "test").expect("it is PEM");
            options.http.proxies.https = Some(internet.proxy());
        });
        let name = reference("registry.test", "app:v1");
        for _ in 0..2 {
            client.check_push(&name).await.expect("because it is the password");
        }
        let again = lender.asked.load(Ordering::SeqCst) > 1;
        assert_eq!(again, expected, "{lifetime:?}");
    };
    check(Duration::from_secs(3600), false).await;
    check(Duration::ZERO, true).await;
}
