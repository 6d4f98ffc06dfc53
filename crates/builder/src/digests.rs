//! Tells what was made and where it is now: the digest files, kaniko's bytes for bytes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use oci::{Digest, Platform, Reference};
use store::write_output;
use transport::{Body, Http, Request, RetryPolicy, Retryable, Settings};
use url::Url;

use crate::error::Error;
use crate::join;

/// Who is told.
#[derive(Debug, Clone, Default)]
pub struct DigestFiles {
    /// Takes the digest, without a line feed.
    pub digest: Option<DigestPlace>,
    /// Takes `repository@digest` of each destination, a line each.
    pub names: Option<DigestPlace>,
    /// Takes `repository:tag@digest` of each destination, a line each.
    pub tagged_names: Option<DigestPlace>,
    /// Takes a JSON object with `name` and `digest` for each destination that was pushed to, a line
    /// each.
    pub images: Option<PathBuf>,
}

/// Where such a text goes.
#[derive(Debug, Clone)]
pub enum DigestPlace {
    /// Into a file.
    File(PathBuf),
    /// To an address, by HTTP PUT.
    Web(Url),
}

/// What they are told.
pub(crate) struct Digests<'a> {
    /// The digest of the image, or of the index.
    pub whole: &'a Digest,
    /// Those of the images below an index.
    pub platforms: Vec<(Platform, Digest)>,
    /// The destinations that have it, or would have it if there were a push.
    pub destinations: &'a [&'a Reference],
    /// There was one.
    pub pushed: bool,
}

/// How to reach addresses.
#[derive(Clone, Copy)]
pub(crate) struct Web<'a> {
    pub settings: &'a Settings,
    pub retry: &'a RetryPolicy,
}

/// One line of `images`.
#[derive(serde::Serialize)]
struct Row<'a> {
    name: String,
    digest: &'a str,
}

/// Writes the digest, beside it that of each image of an index (`FILE.linux-arm-v7`), and the names.
pub(crate) async fn write(
    digests: &Digests<'_>,
    files: &DigestFiles,
    web: Web<'_>,
) -> Result<(), Error> {
    let digest = digests.whole;
    if let Some(place) = &files.digest {
        for (platform, digest) in &digests.platforms {
            put(&place.beside(&join::file_part(platform)), digest.as_str(), web).await?;
        }
        put(place, digest.as_str(), web).await?;
    }
    let (mut names, mut tags, mut images) = (String::new(), String::new(), String::new());
    for destination in digests.destinations {
        let repository = format!("{}/{}", destination.registry(), destination.repository());
        let tag = destination.tag().unwrap_or("latest");
        names.push_str(&format!("{repository}@{digest}\n"));
        tags.push_str(&format!("{repository}:{tag}@{digest}\n"));
        let row = Row { name: destination.to_string(), digest: digest.as_str() };
        images.push_str(&serde_json::to_string(&row).unwrap_or_default());
        images.push('\n');
    }
    if let Some(place) = &files.names {
        put(place, &names, web).await?;
    }
    if let Some(place) = &files.tagged_names {
        put(place, &tags, web).await?;
    }
    match &files.images {
        Some(path) if digests.pushed => write_file(path, &images),
        Some(_) | None => Ok(()),
    }
}

impl DigestPlace {
    /// The place for one platform's digest.
    fn beside(&self, part: &str) -> DigestPlace {
        match self {
            DigestPlace::File(path) => {
                let mut path = path.clone().into_os_string();
                path.push(format!(".{part}"));
                DigestPlace::File(path.into())
            }
            DigestPlace::Web(url) => {
                let mut url = url.clone();
                url.set_path(&format!("{}.{part}", url.path()));
                DigestPlace::Web(url)
            }
        }
    }
}

async fn put(place: &DigestPlace, text: &str, web: Web<'_>) -> Result<(), Error> {
    match place {
        DigestPlace::File(path) => write_file(path, text),
        DigestPlace::Web(url) => send(url, text, web).await,
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    write_output(path, text.as_bytes()).map_err(|source| Error::Output {
        what: "digest file",
        path: path.to_owned(),
        source,
    })
}

/// The address may hold a signature: it is shown without its query.
async fn send(url: &Url, text: &str, web: Web<'_>) -> Result<(), Error> {
    let shown = transport::shown_url(url);
    let failed = |source| Error::Send { url: shown.clone(), source: Box::new(source) };
    let http = Http::new(web.settings).map_err(|source| failed(source.into()))?;
    let request = Request::new(Method::PUT, url.clone())
        .header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))
        .body(Body::Bytes(text.to_owned().into()));
    let sent = transport::retry(web.retry, &shown, || async {
        let response = http.send(&request).await?;
        let status = response.status();
        if status.is_success() {
            response.discard().await;
            return Ok(());
        }
        let retry_after = transport::retry_after(response.headers());
        Err(SendError::Status { status, text: response.excerpt().await, retry_after })
    });
    sent.await.map_err(failed)
}

/// Why an address did not take a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There was no answer.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The answer was no.
    #[error("the server answers {status}: {text}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of what else it says.
        text: String,
        /// When to ask again.
        retry_after: Option<Duration>,
    },
}

impl Retryable for SendError {
    fn is_transient(&self) -> bool {
        match self {
            SendError::Transport(error) => error.is_transient(),
            SendError::Status { status, .. } => transport::is_transient_status(*status),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            SendError::Transport(_) => None,
            SendError::Status { retry_after, .. } => *retry_after,
        }
    }

    fn is_silence(&self) -> bool {
        matches!(self, SendError::Transport(error) if error.is_silence())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use testkit::ScratchRoot;

    use super::*;

    /// A server that gives these answers, one after the other, and tells what it was asked.
    fn server(answers: &'static [&'static str]) -> (Url, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because loopback has a free port");
        let address = listener.local_addr().expect("because it is bound");
        let asked = std::thread::spawn(move || {
            let ask = |answer: &&str| {
                let (mut stream, _) = listener.accept().expect("because somebody asks");
                let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
                while !request.ends_with(b"sha256:d") {
                    let count = stream.read(&mut buffer).expect("because it is sent");
                    request.extend_from_slice(&buffer[..count]);
                }
                let answer =
                    format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).expect("because somebody listens");
                String::from_utf8_lossy(&request).to_ascii_lowercase()
            };
            answers.iter().map(ask).collect()
        });
        let url = format!("http://{address}/put?signature=s3cret").parse();
        (url.expect("because it is an address"), asked)
    }

    async fn put(answers: &'static [&'static str]) -> (Result<(), Error>, Vec<String>) {
        let (url, asked) = server(answers);
        let settings = Settings::default();
        let retry = RetryPolicy { first_pause: Duration::ZERO, ..RetryPolicy::default() };
        let sent = send(&url, "sha256:d", Web { settings: &settings, retry: &retry }).await;
        (sent, asked.join().expect("because it ends"))
    }

    #[tokio::test]
    async fn an_address_takes_a_digest() {
        let (sent, asked) = put(&["503 Later", "201 Created"]).await;
        sent.expect("because it is taken in the end");
        assert_eq!(asked.len(), 2);
        for request in asked {
            assert!(request.starts_with("put /put?signature=s3cret http/1.1\r\n"), "{request}");
            assert!(request.contains("\r\ncontent-type: text/plain\r\n"), "{request}");
        }
        let (sent, _) = put(&["403 No"]).await;
        let error = sent.expect_err("because it is refused");
        let (text, cause) = (error.to_string(), format!("{error:?}"));
        assert!(text.starts_with("cannot send the digest to `http://127.0.0.1:"), "{text}");
        assert!(cause.contains("403") && !format!("{text}{cause}").contains("s3cret"), "{cause}");
    }

    #[tokio::test]
    async fn files_have_kanikos_bytes() {
        let scratch = ScratchRoot::new();
        let path = |name: &str| scratch.path().join(name);
        let place = |name: &str| Some(DigestPlace::File(path(name)));
        let files = DigestFiles {
            digest: place("digest"),
            names: place("deep/names"),
            tagged_names: place("tags"),
            images: Some(path("images")),
        };
        let parse = |text: &str| Reference::parse(text).expect("because it is a reference");
        let (one, two) = (parse("r.example/a"), parse("busybox:v1"));
        let (whole, below) = (Digest::sha256_of(b"a"), Digest::sha256_of(b"b"));
        let arm = Platform::parse("linux/arm/v7").expect("because it is a platform");
        let digests = Digests {
            whole: &whole,
            platforms: vec![(arm, below.clone())],
            destinations: &[&one, &two],
            pushed: true,
        };
        let (settings, retry) = (Settings::default(), RetryPolicy::default());
        let web = Web { settings: &settings, retry: &retry };
        write(&digests, &files, web).await.expect("because there is room");
        let check = |name: &str, expected: &str| {
            let found = store::read_file(&path(name), 4096).expect("because it was written");
            assert_eq!(String::from_utf8_lossy(&found), expected, "{name}");
        };
        check("digest", whole.as_str());
        check("digest.linux-arm-v7", below.as_str());
        check(
            "deep/names",
            &format!("r.example/a@{whole}\nindex.docker.io/library/busybox@{whole}\n"),
        );
        check(
            "tags",
            &format!("r.example/a:latest@{whole}\nindex.docker.io/library/busybox:v1@{whole}\n"),
        );
        let row = |name: &str| format!("{{\"name\":\"{name}\",\"digest\":\"{whole}\"}}\n");
        check("images", &format!("{}{}", row(&one.to_string()), row(&two.to_string())));
    }
}
