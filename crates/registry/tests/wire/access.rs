//! What a registry asks for, by the answer to the first question.

use std::time::Duration;

use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::http_server::{HttpServer, Page};
use testkit::registry::Registry;

use super::support::{chain, client_with, reference};

/// What is told of a registry that answers `/v2/` with this page.
async fn check(page: Page, expected: &str) {
    let server = HttpServer::start(vec![page]);
    let host = server.host();
    let told = match client_with(|_| {}).access(&reference(&host, "app:v1")).await {
        Ok(access) => access.to_string(),
        Err(error) => chain(&error),
    };
    assert_eq!(told.replace(&host, "HOST"), expected);
}

#[tokio::test]
async fn a_registry_says_what_it_wants() {
    let answer = |status, wanted: &str| {
        let page = Page::new("/v2/", "{}").status(status);
        if wanted.is_empty() { page } else { page.header("WWW-Authenticate", wanted) }
    };
    check(answer(200, ""), "answers at http://HOST/, asks for no credentials").await;
    check(
        answer(401, "Bearer realm=\"https://auth.test/token\",service=\"x\""),
        "answers at http://HOST/, asks for a token of `https://auth.test/token`",
    )
    .await;
    check(
        answer(401, "Basic realm=\"here\""),
        "answers at http://HOST/, asks for credentials (Basic)",
    )
    .await;
    check(
        Page::new("/elsewhere", ""),
        "cannot reach the registry `HOST`: the registry answered 404: there is no such page",
    )
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_the_questions() {
    let registry = Registry::start().expect("because docker-registry is installed");
    let (name, client) = (reference(&registry.host(), "asked/only:v1"), client_with(|_| {}));
    let access = client.access(&name).await.expect("because it is there");
    assert!(access.to_string().ends_with("asks for no credentials"), "{access}");
    client.check_push(&name).await.expect("because anybody may push");
    // The upload that was opened was cancelled, and the registry knows it no more.
    let cancelled = || {
        let requests = registry.requests();
        let upload = requests.iter().find_map(|line| line.strip_prefix("DELETE "));
        upload.and_then(|line| line.strip_suffix(" 204")).map(str::to_owned)
    };
    // The registry writes its log when it likes.
    let waited = async {
        loop {
            match cancelled() {
                Some(upload) => break upload,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waited).await;
    let upload = waited.unwrap_or_else(|_| panic!("{:?}", registry.requests()));
    let (status, _) = registry.get(&upload).expect("because the registry answers");
    assert_eq!(status, 404, "{upload}");
}

/// What every request needs first is asked for as often as the policy says, and not as often as that
/// for each of as many tries.
#[tokio::test]
async fn tries_do_not_multiply() {
    for (subject, action) in [
        (Subject::Ping, Action::Reset),
        (Subject::Token, Action::Reset),
        (Subject::Token, Action::Status(503, vec![], String::new())),
    ] {
        let registry = FaultRegistry::start();
        if subject == Subject::Token {
            registry.require_token(1000);
        }
        registry.fault(subject, None, action.clone());
        let name = reference(&registry.host(), "app:v1");
        let Err(error) = client_with(|_| {}).check_push(&name).await else {
            panic!("{subject:?} {action:?}: {:?}", registry.log());
        };
        let count = registry.count(subject);
        assert_eq!(count, 6, "{action:?}: {}", chain(&error));
    }
}
