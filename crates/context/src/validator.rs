//! What a web server says a file is, without the file: the validator that a cache key can hold.

use http::{HeaderMap, Method};
use transport::{Http, Request, Response, RetryPolicy};
use url::Url;

use crate::download::{DownloadFault, address, refusal};
use crate::{Error, Result};

/// No longer tag is kept.
const LONGEST: usize = 1024;

/// The strong entity tag of the file at `url`, as `etag:"…"`; where redirects led elsewhere, with
/// the place they led to, since a tag tells the versions of one address apart. `None` if the server
/// gives none, or only a weak one, under which the bytes may differ.
///
/// Asks for the headers, and for the file where a server refuses that, but takes nothing of it.
/// Redirects are followed as for a download.
pub async fn validator(http: &Http, url: &str, retry: &RetryPolicy) -> Result<Option<String>> {
    let (url, shown) = address(url);
    let asked = match url {
        Some(url) => transport::retry(retry, &shown, || attempt(http, &url)).await,
        None => Err(DownloadFault::Address),
    };
    asked.map_err(|source| Error::Download { url: shown, source: Box::new(source) })
}

async fn attempt(http: &Http, url: &Url) -> Result<Option<String>, DownloadFault> {
    let answer = http.send(&Request::new(Method::HEAD, url.clone())).await?;
    if answer.status().is_success() {
        return Ok(tag(url, &answer));
    }
    if transport::is_transient_status(answer.status()) {
        return Err(refusal(&answer));
    }
    // Some know only GET, and a signed address may be signed for it.
    let answer = http.send(&Request::new(Method::GET, url.clone())).await?;
    if answer.status().is_success() { Ok(tag(url, &answer)) } else { Err(refusal(&answer)) }
}

fn tag(asked: &Url, answer: &Response) -> Option<String> {
    let tag = strong_tag(answer.headers())?;
    let place = answer.url();
    let same = (place.origin(), place.path()) == (asked.origin(), asked.path());
    Some(match same {
        true => format!("etag:{tag}"),
        // Without the query: it may hold a signature that is another one each time.
        false => format!("etag:{tag} of {}", transport::shown_url(place)),
    })
}

/// The entity tag, if there is exactly one and it is strong (RFC 9110, 8.8.3).
fn strong_tag(headers: &HeaderMap) -> Option<&str> {
    let mut tags = headers.get_all(http::header::ETAG).iter();
    let (Some(tag), None) = (tags.next(), tags.next()) else { return None };
    let tag = tag.to_str().ok().filter(|tag| tag.len() <= LONGEST)?;
    let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
    opaque.bytes().all(|byte| byte != b'"' && byte.is_ascii_graphic()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testkit::fault::{Action, FaultRegistry, Subject};
    use testkit::http_server::{HttpServer, Page};

    use super::*;

    async fn ask(url: &str) -> String {
        let http = Http::new(&transport::Settings::default()).expect("because they are plain");
        let first_pause = Duration::from_millis(5);
        let retry = RetryPolicy { first_pause, ..RetryPolicy::default() };
        match validator(&http, url, &retry).await {
            Ok(Some(found)) => found,
            Ok(None) => "none".to_owned(),
            Err(error) => transport::chain(&error),
        }
    }

    /// What a server that sends these tags is taken to say.
    async fn check(tags: &[&str], expected: &str) {
        let page =
            tags.iter().fold(Page::new("/file", "content"), |page, tag| page.header("ETag", tag));
        let server = HttpServer::start(vec![page]);
        assert_eq!(ask(&server.url("/file")).await, expected, "{tags:?}");
    }

    #[tokio::test]
    async fn only_strong_tags_count() {
        check(&["\"abc\""], "etag:\"abc\"").await;
        check(&["\"\""], "etag:\"\"").await;
        check(&[], "none").await;
        check(&["W/\"abc\""], "none").await;
        check(&["w/\"abc\""], "none").await;
        check(&["abc"], "none").await;
        check(&["\"abc"], "none").await;
        check(&["\""], "none").await;
        check(&["\"a\", \"b\""], "none").await;
        check(&["\"a b\""], "none").await;
        check(&[&format!("\"{}\"", "a".repeat(1022))], &format!("etag:\"{}\"", "a".repeat(1022)))
            .await;
        check(&[&format!("\"{}\"", "a".repeat(1023))], "none").await;
    }

    #[test]
    fn of_two_tags_none_counts() {
        let mut headers = HeaderMap::new();
        headers.append(http::header::ETAG, http::HeaderValue::from_static("\"a\""));
        assert_eq!(strong_tag(&headers), Some("\"a\""));
        headers.append(http::header::ETAG, http::HeaderValue::from_static("\"a\""));
        assert_eq!(strong_tag(&headers), None);
    }

    #[tokio::test]
    async fn a_tag_belongs_to_the_place_it_came_from() {
        let server = HttpServer::start(vec![
            Page::redirect("/latest", "/v2?signature=secret"),
            Page::new("/v2", "content").header("ETag", "\"1\""),
        ]);
        let expected = format!("etag:\"1\" of {}?…", server.url("/v2"));
        assert_eq!(ask(&server.url("/latest?key=secret")).await, expected);
        assert_eq!(ask(&server.url("/v2?key=secret")).await, "etag:\"1\"");
    }

    #[tokio::test]
    async fn a_server_that_refuses_head_is_asked_for_the_file() {
        let server = FaultRegistry::start();
        let digest = server.put_blob("files", b"content");
        server.fault(Subject::BlobGet, None, Action::Header("ETag", "\"1\"".to_owned()));
        let url = format!("http://user:pw@{}/v2/files/blobs/{digest}?key=secret", server.host());
        for status in [403, 405, 501] {
            let refused = Action::Status(status, vec![], String::new());
            server.fault(Subject::BlobHead, Some(1), refused);
            assert_eq!(ask(&url).await, "etag:\"1\"", "{status}");
        }
        // What passes is asked again.
        let busy = Action::Status(503, vec![], String::new());
        server.fault(Subject::BlobHead, Some(2), busy);
        server.fault(Subject::BlobHead, None, Action::Header("ETag", "\"2\"".to_owned()));
        assert_eq!(ask(&url).await, "etag:\"2\"");
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_named_without_secrets() {
        let server = HttpServer::start(Vec::new());
        let url = server.url("/gone").replace("http://", "http://user:pw@");
        let expected =
            format!("cannot download `{}?…`: invalid response status 404", server.url("/gone"));
        assert_eq!(ask(&format!("{url}?key=secret")).await, expected);
        let expected = "cannot download `…`: it is not an http or https address";
        assert_eq!(ask("ftp://user:pw@host/file").await, expected);
    }
}
