//! Every way to a credential, against the servers of all clouds on loopback, under their real names.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use cloud::Inputs;
use registry::{Credential, Roots, Settings};
use testkit::cloud::{AWS_KEY, CloudServer, GOOGLE_KEY, Mood, OTHER_TOKEN};
use testkit::internet::{AUTHORITY, Behind, Internet};

const GOOGLE: &str = "europe-docker.pkg.dev";
const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const ACR: &str = "app.azurecr.io";

/// Servers, and the internet in front of them.
struct World {
    servers: CloudServer,
    internet: Internet,
}

/// What came of a question, as text.
struct Outcome {
    text: String,
    took: Duration,
}

impl World {
    fn new(mood: Mood) -> Self {
        let servers = CloudServer::start(mood);
        let names = [
            "oauth2.googleapis.com",
            "sts.googleapis.com",
            "iamcredentials.googleapis.com",
            "sts.eu-west-1.amazonaws.com",
            "api.ecr.eu-west-1.amazonaws.com",
            "api.ecr-public.us-east-1.amazonaws.com",
            "login.microsoftonline.com",
            "other.test",
            ACR,
        ];
        let led = names.map(|name| (name, Behind::Plain(servers.address())));
        Self { internet: Internet::start(&led), servers }
    }

    /// Asks the cloud that serves a registry; `$S` in a variable is the servers' address.
    async fn ask(
        &self,
        registry: &str,
        variables: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Outcome {
        let mut settings = Settings {
            roots: Roots::default().with_pem(AUTHORITY, "test").expect("because it is PEM"),
            ..Settings::default()
        };
        settings.proxies.https = Some(self.internet.proxy());
        let server = self.servers.address().to_string();
        let variables: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (*name, value.replace("$S", &server))).collect();
        let files: BTreeMap<&Path, String> = files
            .iter()
            .map(|(path, text)| (Path::new(*path), text.replace("$S", &server)))
            .collect();
        let inputs =
            Inputs::read(variables.iter().map(|(name, value)| (*name, value.as_str())), |path| {
                match files.get(path) {
                    Some(text) => Ok(text.clone().into_bytes()),
                    None => Err(std::io::ErrorKind::NotFound.into()),
                }
            });
        let shown = format!("{inputs:?}");
        assert!(!shown.contains("s3cret") && !shown.contains(OTHER_TOKEN), "{shown}");
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clouds = cloud::clouds(inputs, &settings, now);
        let cloud = clouds.iter().find(|cloud| cloud.serves(registry));
        let cloud = cloud.expect("because the registry is one of a cloud's");
        let start = Instant::now();
        let text = match cloud.grant(registry).await {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(grant)) => {
                assert!(grant.until.is_some(), "what is lent ends");
                assert!(!format!("{grant:?}").contains("token-"), "{grant:?}");
                let credential = match grant.credential {
                    Credential::Password { user, password } => format!("{user}:{password}"),
                    Credential::Identity(token) => format!("identity {token}"),
                    Credential::Bearer(token) => format!("bearer {token}"),
                };
                format!("{credential} from {}", grant.origin)
            }
            Err(error) => {
                let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
                format!("{error}{cause}")
            }
        };
        Outcome { text: text.replace(&server, "$S"), took: start.elapsed() }
    }
}

/// What comes of a question to good servers.
async fn check(registry: &str, variables: &[(&str, &str)], files: &[(&str, &str)], expected: &str) {
    let world = World::new(Mood::Good);
    let outcome = world.ask(registry, variables, files).await;
    assert_eq!(outcome.text, expected);
    for asked in world.servers.asked() {
        assert!(!format!("{asked:?}").contains(AWS_KEY.1), "the secret itself is sent: {asked:?}");
    }
}

fn service_account() -> String {
    let key = GOOGLE_KEY.replace('\n', "\\n");
    format!(r#"{{"type": "service_account", "client_email": "a@b", "private_key": "{key}"}}"#)
}

const USER: &str = r#"{"type": "authorized_user", "client_id": "client",
    "client_secret": "s3cret", "refresh_token": "refresh"}"#;

/// Nothing is beside this machine: what stands for it is a port that nobody listens on.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test]
async fn google_by_files() {
    let named = [("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")];
    let by_key = "oauth2accesstoken:google-token from Google, by `/key.json`";
    check(GOOGLE, &named, &[("/key.json", &service_account())], by_key).await;
    check(GOOGLE, &named, &[("/key.json", USER)], by_key).await;
    let usual = "/home/.config/gcloud/application_default_credentials.json";
    let by_user = format!("oauth2accesstoken:google-token from Google, by `{usual}`");
    check(GOOGLE, &[("HOME", "/home")], &[(usual, USER)], &by_user).await;
    let moved = [("HOME", "/home"), ("CLOUDSDK_CONFIG", "/sdk")];
    let file = "/sdk/application_default_credentials.json";
    let by_user = format!("oauth2accesstoken:google-token from Google, by `{file}`");
    check(GOOGLE, &moved, &[(file, USER), (usual, "no JSON")], &by_user).await;
}

#[tokio::test]
async fn google_by_another_issuers_token() {
    let named = [("GOOGLE_APPLICATION_CREDENTIALS", "/pool.json")];
    let start = r#""type": "external_account", "audience": "//pool",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt""#;
    let source = r#""credential_source": {"file": "/token"}"#;
    let plain = format!("{{{start}, {source}}}");
    let files = [("/pool.json", plain.as_str()), ("/token", "token-of-the-cluster\n")];
    let expected = "oauth2accesstoken:google-federated from Google, by `/pool.json`";
    check(GOOGLE, &named, &files, expected).await;
    let account = "https://iamcredentials.googleapis.com/v1/account:generateAccessToken";
    let json = r#"{"file": "/token",
        "format": {"type": "json", "subject_token_field_name": "jwt"}}"#;
    let account = format!(
        r#"{{{start}, "service_account_impersonation_url": "{account}", "credential_source": {json}}}"#
    );
    let token = r#"{"jwt": "token-of-the-cluster"}"#;
    let expected = "oauth2accesstoken:google-account from Google, by `/pool.json`";
    check(GOOGLE, &named, &[("/pool.json", &account), ("/token", token)], expected).await;
    let elsewhere = format!(r#"{{{start}, "credential_source": {{"url": "http://x"}}}}"#);
    let expected = "`/pool.json` has a `credential_source` that is no file";
    check(GOOGLE, &named, &[("/pool.json", &elsewhere)], expected).await;
}

#[tokio::test]
async fn google_by_metadata_or_not_at_all() {
    let expected = "oauth2accesstoken:google-machine from Google, by the metadata server";
    check(GOOGLE, &[("GCE_METADATA_HOST", "$S")], &[], expected).await;
    check(GOOGLE, &[("GCE_METADATA_HOST", NOBODY)], &[], "nothing").await;
    let named = [("GOOGLE_APPLICATION_CREDENTIALS", "/key.json"), ("GCE_METADATA_HOST", "$S")];
    // A file that is named is meant, so that nothing else takes its place.
    let gone = "cannot read `/key.json`: entity not found";
    check(GOOGLE, &named, &[], gone).await;
    check(GOOGLE, &named, &[("/key.json", "s3cret")], "`/key.json` is not JSON").await;
    check(GOOGLE, &named, &[("/key.json", "{}")], "`/key.json` has no `type`").await;
    let kind = "`/key.json` holds `gdch`, a kind that is not supported yet";
    check(GOOGLE, &named, &[("/key.json", r#"{"type": "gdch"}"#)], kind).await;
    let clear = USER.replace("{\"type\"", "{\"token_uri\": \"http://evil.example/\", \"type\"");
    let refused =
        "`/key.json` is `http://evil.example/`, which is neither https nor on this machine";
    check(GOOGLE, &named, &[("/key.json", &clear)], refused).await;
    let wrong = USER.replace("refresh\"}", "other\"}");
    let refused = "`https://oauth2.googleapis.com/token` answered 400: invalid_grant: who are you?";
    check(GOOGLE, &named, &[("/key.json", &wrong)], refused).await;
}

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", AWS_KEY.0), ("AWS_SECRET_ACCESS_KEY", AWS_KEY.1)];

#[tokio::test]
async fn amazon_by_variables_and_files() {
    let expected = "AWS:ecr-password from AWS, by the variable AWS_ACCESS_KEY_ID";
    check(ECR, &KEYS, &[], expected).await;
    check("public.ecr.aws", &KEYS, &[], expected).await;
    let unknown = [("AWS_ACCESS_KEY_ID", "AKIDOTHER"), KEYS[1]];
    let refused = "`https://api.ecr.eu-west-1.amazonaws.com/` answered 400: \
                   UnrecognizedClientException: who are you?";
    check(ECR, &unknown, &[], refused).await;
    let named = [("AWS_PROFILE", "ci"), ("HOME", "/home")];
    let text = "[ci]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = aws-s3cret\n";
    let expected = "AWS:ecr-password from AWS, by the profile `ci`";
    check(ECR, &named, &[("/home/.aws/credentials", text)], expected).await;
    check(ECR, &named, &[], "the profile `ci` is in no file").await;
    let sso = "[profile ci]\nsso_session = x\n";
    let refused = "the profile `ci` uses `sso_session`, which is not supported yet";
    check(ECR, &named, &[("/home/.aws/config", sso)], refused).await;
}

#[tokio::test]
async fn amazon_by_the_token_of_a_cluster() {
    let role = ("AWS_ROLE_ARN", "arn:aws:iam::1:role/x");
    let named = [role, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")];
    let expected = "AWS:ecr-password from AWS, by the role of the token in `/token`";
    check(ECR, &named, &[("/token", OTHER_TOKEN)], expected).await;
    let refused = "`https://sts.eu-west-1.amazonaws.com/` answered 400: InvalidIdentityToken: \
                   who are you?";
    check(ECR, &named, &[("/token", "other")], refused).await;
    let missing = "cannot read `/token`: entity not found";
    check(ECR, &named, &[], missing).await;
    let text = "[default]\nrole_arn = a\nweb_identity_token_file = /token\n";
    let files = [("/c", text), ("/token", OTHER_TOKEN)];
    let expected = "AWS:ecr-password from AWS, by the profile `default`";
    check(ECR, &[("AWS_CONFIG_FILE", "/c")], &files, expected).await;
}

#[tokio::test]
async fn amazon_by_what_is_beside_it() {
    let machine = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://$S/");
    let expected = "AWS:ecr-password from AWS, by the role of this machine";
    check(ECR, &[machine], &[], expected).await;
    check(ECR, &[machine, ("AWS_EC2_METADATA_DISABLED", "true")], &[], "nothing").await;
    let nobody = format!("http://{NOBODY}");
    check(ECR, &[(machine.0, &nobody)], &[], "nothing").await;
    let uri = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://$S/container");
    let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
    let expected = "AWS:ecr-password from AWS, by the service beside the container";
    check(ECR, &[uri, token], &[("/token", OTHER_TOKEN)], expected).await;
    let elsewhere = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.1.2.3/container");
    let refused = "AWS_CONTAINER_CREDENTIALS_FULL_URI is `http://10.1.2.3/container`, which is \
                   neither https nor on this machine";
    check(ECR, &[elsewhere, token], &[("/token", OTHER_TOKEN)], refused).await;
}

#[tokio::test]
async fn azure() {
    let known = [("AZURE_CLIENT_ID", "client"), ("AZURE_TENANT_ID", "tenant")];
    let with = |more: (&'static str, &'static str)| [known[0], known[1], more];
    let expected = "identity azure-refresh from Azure, by the variable AZURE_CLIENT_SECRET";
    check(ACR, &with(("AZURE_CLIENT_SECRET", "s3cret")), &[], expected).await;
    let refused = "`https://login.microsoftonline.com/tenant/oauth2/v2.0/token` answered 400: \
                   invalid_grant: who are you?";
    check(ACR, &with(("AZURE_CLIENT_SECRET", "other")), &[], refused).await;
    let file = with(("AZURE_FEDERATED_TOKEN_FILE", "/token"));
    let expected = "identity azure-refresh from Azure, by the token in `/token`";
    check(ACR, &file, &[("/token", OTHER_TOKEN)], expected).await;
    let expected = "identity azure-refresh from Azure, by the variable AZURE_FEDERATED_TOKEN";
    check(ACR, &with(("AZURE_FEDERATED_TOKEN", OTHER_TOKEN)), &[], expected).await;
    let machine = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://$S");
    let expected = "identity azure-refresh from Azure, by the managed identity of this machine";
    check(ACR, &[machine], &[], expected).await;
    let container = [("IDENTITY_ENDPOINT", "http://$S/identity"), ("IDENTITY_HEADER", "s3cret")];
    check(ACR, &container, &[], expected).await;
    let nobody = format!("http://{NOBODY}");
    check(ACR, &[(machine.0, &nobody)], &[], "nothing").await;
}

/// What servers may do that mean no good, or are not what they are taken for.
#[tokio::test]
async fn bad_servers() {
    let key = [("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")];
    let client = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_SECRET", "s3cret"),
    ];
    let check = async |mood: Mood, expected: &str| {
        for (registry, variables) in [(GOOGLE, &key[..]), (ECR, &KEYS[..]), (ACR, &client[..])] {
            let world = World::new(mood);
            let outcome = world.ask(registry, variables, &[("/key.json", USER)]).await;
            assert!(outcome.text.contains(expected), "{registry}: {}", outcome.text);
            assert!(!outcome.text.contains("s3cret"), "{registry}: {}", outcome.text);
            let asked = world.internet.asked();
            assert!(!asked.iter().any(|name| name == "other.test"), "{registry}: {asked:?}");
        }
    };
    check(Mood::Elsewhere, "to `https://other.test/`, where our secrets do not go").await;
    check(Mood::Endless, "larger than").await;
    check(Mood::Strange, "is not JSON").await;
    check(Mood::Broken, "answered 400").await;
}

/// What is beside a machine and says nothing costs two seconds, once.
#[tokio::test]
async fn silent_metadata() {
    let all = [
        (GOOGLE, ("GCE_METADATA_HOST", "$S")),
        (ECR, ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://$S")),
        (ACR, ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://$S")),
    ];
    for (registry, variable) in all {
        let world = World::new(Mood::Silent);
        let outcome = world.ask(registry, &[variable], &[]).await;
        assert_eq!(outcome.text, "nothing", "{registry}");
        assert_eq!(world.servers.asked().len(), 1, "{registry}");
        // Two seconds on a machine that has nothing else to do.
        assert!(outcome.took < Duration::from_secs(10), "{registry}: {:?}", outcome.took);
    }
}

/// A token is fetched once for all registries that it is good for, and only when one asks.
#[tokio::test]
async fn one_token_for_all_registries_of_a_cloud() {
    let world = World::new(Mood::Good);
    let mut settings = Settings::default();
    settings.proxies.https = Some(world.internet.proxy());
    let host = world.servers.address().to_string();
    let variables = [("GCE_METADATA_HOST", host.as_str())];
    let inputs = Inputs::read(variables, |_| Err(std::io::ErrorKind::NotFound.into()));
    let clouds = cloud::clouds(inputs, &settings, UNIX_EPOCH);
    assert_eq!(world.servers.asked().len(), 0);
    for registry in ["gcr.io", "eu.gcr.io", GOOGLE] {
        let grant = clouds[0].grant(registry).await.expect("because the server is good");
        assert!(grant.is_some(), "{registry}");
    }
    assert_eq!(world.servers.asked().len(), 1);
}

/// Google's hosts; the tables of the others are beside their code.
#[test]
fn hosts() {
    let none = Inputs::read([], |_| Err(std::io::ErrorKind::NotFound.into()));
    let clouds = cloud::clouds(none, &Settings::default(), UNIX_EPOCH);
    let check = |registry: &str, expected: &[&str]| {
        let serving: Vec<&str> = clouds
            .iter()
            .filter(|cloud| cloud.serves(registry))
            .map(|cloud| cloud.name())
            .collect();
        assert_eq!(serving, expected, "{registry}");
    };
    for registry in ["gcr.io", "eu.gcr.io", "a.b.gcr.io", GOOGLE, "x.google.com"] {
        check(registry, &["google"]);
    }
    check(ECR, &["ecr"]);
    check(ACR, &["acr"]);
    for registry in [
        "index.docker.io",
        "pkg.dev",
        "google.com",
        "notgcr.io",
        "gcr.io.evil.example",
        "eu.gcr.io.",
        "gcr.io:443",
        "GCR.IO",
        "u@gcr.io",
        "gcr.io@evil.example",
        "gсr.io",
        "xn--gr-nmc.io",
        "europe-docker.pkg.dev.evil.example",
        "europe-docker-pkg.dev",
        "evil.example/gcr.io",
        "",
        ".gcr.io",
        "..gcr.io",
    ] {
        check(registry, &[]);
    }
}
