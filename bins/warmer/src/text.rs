//! The text of the Dockerfile, from a file or the web.

use std::path::Path;
use std::time::Duration;

use http::Method;
use registry::ClientOptions;
use transport::{Http, Request, Retryable, is_transient_status, retry_after, shown_url};
use url::Url;

/// What BuildKit takes, and more than anybody writes.
const LIMIT: u64 = 16 << 20;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file.
    #[error("cannot read `{path}`")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no Dockerfile.
    #[error("`{path}` is no Dockerfile: it has more than {LIMIT} bytes")]
    TooLarge {
        /// Which.
        path: String,
    },
    /// The address.
    #[error("cannot read `{text}`")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: url::ParseError,
    },
    /// The exchange.
    #[error("cannot download the Dockerfile")]
    Transport(#[from] transport::Error),
    /// The server does not give it.
    #[error("cannot download the Dockerfile: `{url}` answered {status}")]
    Status {
        /// Without what is secret.
        url: String,
        /// The status.
        status: u16,
        /// Whether asking again may help.
        transient: bool,
        /// How long the server asked to wait.
        pause: Option<Duration>,
    },
}

impl Retryable for Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_transient(),
            Self::Status { transient, .. } => *transient,
            Self::File { .. } | Self::TooLarge { .. } | Self::Address { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { pause, .. } => *pause,
            _ => None,
        }
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_silence())
    }
}

/// Reads it.
pub(crate) async fn read(place: &str, options: &ClientOptions) -> Result<Vec<u8>, Error> {
    match ["http://", "https://"].iter().any(|scheme| place.starts_with(scheme)) {
        true => download(place, options).await,
        false => read_file(Path::new(place)),
    }
}

async fn download(place: &str, options: &ClientOptions) -> Result<Vec<u8>, Error> {
    let address = |source| Error::Address { text: place.to_owned(), source };
    let url = Url::parse(place).map_err(address)?;
    let http = Http::new(&options.http)?;
    let bytes = transport::retry(&options.retry, place, || async {
        let response = http.send(&Request::new(Method::GET, url.clone())).await?;
        let status = response.status();
        if !status.is_success() {
            let (url, pause) = (shown_url(&url), retry_after(response.headers()));
            let transient = is_transient_status(status);
            return Err(Error::Status { url, status: status.as_u16(), transient, pause });
        }
        Ok(response.bytes(LIMIT).await?)
    });
    Ok(bytes.await?.to_vec())
}

#[expect(clippy::disallowed_methods, reason = "the rim: files that the command line names")]
fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let shown = || path.display().to_string();
    let failed = |source| Error::File { path: shown(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > LIMIT {
        true => Err(Error::TooLarge { path: shown() }),
        false => Ok(bytes),
    }
}
