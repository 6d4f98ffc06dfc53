//! `ADD <url>`: a file from an http server, with the mode and time BuildKit gives it.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use rootfs::{RootDir, RootPath, Timestamp};
use transport::{Http, Request, Response, RetryPolicy, Retryable};
use url::Url;

use crate::checksum::{Checksum, Hasher};
use crate::{Error, Result};

/// Pieces between network and disk.
const PIECES: usize = 32;
/// The mode of a downloaded file, unless `--chmod` says otherwise.
const MODE: u32 = 0o600;

/// What to download, and where to.
#[derive(Clone, Debug)]
pub struct Download {
    /// The address, http or https.
    pub url: String,
    /// `--checksum`.
    pub checksum: Option<Checksum>,
    /// No more than this many bytes are taken.
    pub limit: u64,
    /// When a failed request is tried again.
    pub retry: RetryPolicy,
}

/// A file that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The digest of its content, `sha256:…`: what it contributes to a cache key.
    pub digest: String,
    /// How many bytes it has.
    pub size: u64,
    /// `Last-Modified` in seconds since 1970; without one 0.
    pub modified: i64,
}

/// Why one try failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadFault {
    /// The exchange failed.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The server does not give the file.
    #[error("invalid response status {status}")]
    Status {
        /// The status.
        status: u16,
        /// Whether asking again may help.
        transient: bool,
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
    },
    /// The file is larger than allowed.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// The content is not what `--checksum` says.
    #[error("digest mismatch {found}: {expected}")]
    Checksum {
        /// The digest of what came.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The file cannot be made.
    #[error(transparent)]
    Root(#[from] rootfs::Error),
    /// The file cannot be written.
    #[error("the file cannot be written")]
    Write(#[source] std::io::Error),
    /// The address is none we can ask.
    #[error("it is not an http or https address")]
    Address,
}

impl Retryable for DownloadFault {
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_transient(),
            Self::Status { transient, .. } => *transient,
            Self::TooLarge(_)
            | Self::Checksum { .. }
            | Self::Root(_)
            | Self::Write(_)
            | Self::Address => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_silence())
    }
}

/// Downloads a file to `path`, which must not exist, with mode 0600, the current owner, and
/// the time of `Last-Modified`. When it fails nothing is left at `path`.
pub async fn download(
    http: &Http,
    download: &Download,
    root: &RootDir,
    path: &RootPath,
) -> Result<Downloaded> {
    let (url, shown) = address(&download.url);
    let tried = match url {
        Some(url) => {
            transport::retry(&download.retry, &shown, || attempt(http, &url, download, root, path))
                .await
        }
        None => Err(DownloadFault::Address),
    };
    tried.map_err(|source| Error::Download { url: shown, source: Box::new(source) })
}

/// An address that can be asked, if it is one; and as it may be shown, without what may be secret.
pub(crate) fn address(url: &str) -> (Option<Url>, String) {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let shown = url.as_ref().map_or_else(|| "…".to_owned(), transport::shown_url);
    (url, shown)
}

/// What an answer is that gives no file.
pub(crate) fn refusal(answer: &Response) -> DownloadFault {
    DownloadFault::Status {
        status: answer.status().as_u16(),
        transient: transport::is_transient_status(answer.status()),
        retry_after: transport::retry_after(answer.headers()),
    }
}

async fn attempt(
    http: &Http,
    url: &Url,
    download: &Download,
    root: &RootDir,
    path: &RootPath,
) -> Result<Downloaded, DownloadFault> {
    let mut response = http.send(&Request::new(http::Method::GET, url.clone())).await?;
    if !response.status().is_success() {
        return Err(refusal(&response));
    }
    if response.content_length().is_some_and(|length| length > download.limit) {
        return Err(DownloadFault::TooLarge(download.limit));
    }
    let modified = response.header("last-modified").and_then(transport::http_date).unwrap_or(0);
    let file = root.create_file(path, MODE)?;
    let (sender, receiver) = tokio::sync::mpsc::channel(PIECES);
    let checksum = download.checksum.clone();
    let writing = tokio::task::spawn_blocking(move || write(file, receiver, checksum.as_ref()));
    let limit = download.limit;
    let reading = async {
        let mut size = 0u64;
        while let Some(piece) = response.chunk().await? {
            size = size.saturating_add(piece.len() as u64);
            if size > limit {
                return Err(DownloadFault::TooLarge(limit));
            }
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        Ok(size)
    };
    let read = reading.await;
    let written = match writing.await {
        Ok(written) => written,
        Err(error) => Err(DownloadFault::Write(std::io::Error::other(error))),
    };
    let finished = read.and_then(|size| {
        let digest = written?;
        root.set_times(path, Timestamp::from_secs(modified))?;
        Ok(Downloaded { digest, size, modified })
    });
    if finished.is_err() {
        root.remove(path)?;
    }
    finished
}

/// Writes and hashes what comes. Returns the sha256 digest, after comparing with the checksum.
fn write(
    mut file: File,
    mut pieces: tokio::sync::mpsc::Receiver<bytes::Bytes>,
    checksum: Option<&Checksum>,
) -> Result<String, DownloadFault> {
    let mut own = Hasher::sha256();
    let mut asked = checksum.map(Checksum::hasher);
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece).map_err(DownloadFault::Write)?;
        own.update(&piece);
        if let Some(hasher) = &mut asked {
            hasher.update(&piece);
        }
    }
    if let (Some(hasher), Some(checksum)) = (asked, checksum) {
        let found = hasher.finish();
        let expected = checksum.to_string();
        if found != expected {
            return Err(DownloadFault::Checksum { found, expected });
        }
    }
    Ok(own.finish())
}

#[cfg(test)]
mod tests {
    use testkit::ScratchRoot;
    use testkit::fault::{Action, FaultRegistry, Subject};

    use super::*;

    const CONTENT: &[u8] = b"content of a file";
    const SHA512: &str = "sha512:0f3e2e9a";

    /// Serves the file with a fault, downloads it, and says what happened.
    async fn check(
        fault: Option<(Option<u32>, Action)>,
        checksum: Option<&str>,
        limit: u64,
        expected: &str,
    ) {
        let server = FaultRegistry::start();
        let digest = server.put_blob("files", CONTENT);
        if let Some((times, action)) = fault {
            server.fault(Subject::BlobGet, times, action);
        }
        let scratch = ScratchRoot::new();
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let path = RootPath::new("/file").expect("because it is a path");
        let settings = transport::Settings {
            idle_timeout: Duration::from_millis(300),
            ..transport::Settings::default()
        };
        let http = Http::new(&settings).expect("because the settings are plain");
        let request = Download {
            url: format!("http://user:pw@{}/v2/files/blobs/{digest}?key=secret", server.host()),
            checksum: checksum.map(|text| Checksum::parse(text).expect("because it is one")),
            limit,
            retry: RetryPolicy { first_pause: Duration::from_millis(5), ..RetryPolicy::default() },
        };
        let got = match download(&http, &request, &root, &path).await {
            Ok(found) => {
                assert_eq!(found.digest, digest);
                let metadata = root.metadata(&path).expect("because it was downloaded");
                assert_eq!(metadata.mtime.secs, found.modified);
                assert_eq!(root.read(&path, 100).expect("because it is there"), CONTENT);
                format!("{:o} {} {}", metadata.mode, metadata.size, found.modified)
            }
            Err(error) => {
                assert!(!root.exists(&path).expect("because the root is readable"));
                let shown = format!("http://{}/v2/files/blobs/{digest}?…", server.host());
                let mut text = error.to_string().replace(&shown, "URL");
                let mut cause = std::error::Error::source(&error);
                while let Some(this) = cause {
                    text.push_str(": ");
                    text.push_str(&this.to_string().replace(&shown, "URL"));
                    cause = this.source();
                }
                text
            }
        };
        assert!(got.starts_with(expected), "got: {got}\nfor: {expected}");
        assert!(!got.contains("secret") && !got.contains("pw"), "{got}");
    }

    #[tokio::test]
    async fn files_come_with_mode_and_time() {
        check(None, None, 100, "600 17 0").await;
        let date = Action::Header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
        check(Some((None, date)), None, 100, "600 17 784111777").await;
        check(Some((Some(1), Action::Reset)), None, 100, "600 17 0").await;
        check(Some((Some(2), Action::CutBody)), None, 100, "600 17 0").await;
        check(Some((Some(1), Action::Stall)), None, 100, "600 17 0").await;
        check(Some((None, Action::RedirectOther(2))), None, 100, "600 17 0").await;
    }

    #[tokio::test]
    async fn checksums_are_compared() {
        let good = "sha256:ba5a6cd0ee8ae0ec0f53e1eaa1a5ee2b5c3a0a4de8b0ea5d1d0e6b4f1e0a3d7c";
        let actual = {
            let mut hasher = Hasher::sha256();
            hasher.update(CONTENT);
            hasher.finish()
        };
        check(None, Some(&actual), 100, "600 17 0").await;
        let expected = format!("cannot download `URL`: digest mismatch {actual}: {good}");
        check(None, Some(good), 100, &expected).await;
        assert!(Checksum::parse(SHA512).is_err());
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_named() {
        let status = |code| Action::Status(code, vec![], String::new());
        let lead = "cannot download `URL`: ";
        let expected = format!("{lead}invalid response status 404");
        check(Some((None, status(404))), None, 100, &expected).await;
        let expected = format!("{lead}invalid response status 503");
        check(Some((None, status(503))), None, 100, &expected).await;
        let expected = format!("{lead}the file is larger than 16 bytes");
        check(None, None, 16, &expected).await;
        let gzip = Action::Header("Content-Encoding", "gzip".to_owned());
        check(Some((None, gzip)), None, 100, lead).await;
    }
}
