//! Google: Artifact Registry and Container Registry, by "application default credentials": a key file,
//! what `gcloud auth application-default login` leaves, or the metadata server of Google's machines.
//!
//! An access token is the password of the user `oauth2accesstoken`. Read [`Google`].

mod assertion;
mod federated;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use registry::{Asking, Cloud, Credential, Grant};
use serde_json::Value;

use crate::ask::{self, Ask};
use crate::error::Error;
use crate::hosts;
use crate::inputs::{Inputs, shown};
use crate::memory::{Memory, end_of};
use crate::{Result, google};

/// What a token may do. Registries want no less.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_SERVER: &str = "https://oauth2.googleapis.com/token";
const METADATA_HOST: &str = "169.254.169.254";
const TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Google's registries.
#[derive(Debug)]
pub(crate) struct Google {
    inputs: Arc<Inputs>,
    ask: Arc<Ask>,
    known: Memory,
}

/// A token, for how long it is good, and what it was made from.
type Token = (String, Duration, String);

/// The files that may say who we are.
pub(crate) fn files(inputs: &Inputs) -> Vec<PathBuf> {
    let named = inputs.get(FILE).map(PathBuf::from);
    let mut files: Vec<PathBuf> =
        named.clone().or_else(|| usual_file(inputs)).into_iter().collect();
    let content = files.first().and_then(|path| inputs.usual_file(path));
    files.extend(content.and_then(federated::token_file));
    files
}

/// Where `gcloud` leaves its own.
fn usual_file(inputs: &Inputs) -> Option<PathBuf> {
    let directory = inputs.get("CLOUDSDK_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| inputs.at_home(".config/gcloud"))?;
    Some(directory.join("application_default_credentials.json"))
}

impl Google {
    pub(crate) fn new(inputs: Arc<Inputs>, ask: Arc<Ask>) -> Self {
        Self { inputs, ask, known: Memory::default() }
    }

    async fn token(&self) -> Result<Option<Token>> {
        if let Some(path) = self.inputs.get(FILE).map(Path::new) {
            return self.by_file(path, self.inputs.file(path)?).await.map(Some);
        }
        let usual = google::usual_file(&self.inputs);
        if let Some((path, content)) =
            usual.and_then(|path| Some((path.clone(), self.inputs.usual_file(&path)?)))
        {
            return self.by_file(&path, content).await.map(Some);
        }
        self.by_metadata().await
    }

    async fn by_file(&self, path: &Path, content: &[u8]) -> Result<Token> {
        let place = shown(path);
        let json: Value =
            serde_json::from_slice(content).map_err(|_| Error::form(&*place, "is not JSON"))?;
        let file = File { place: &place, json: &json };
        let (token, lifetime) = match file.text("type")? {
            "service_account" => {
                let url = file.address("token_uri", TOKEN_SERVER)?;
                let assertion = assertion::sign(&file, &url, self.ask.clock.seconds())?;
                let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let fields = [("grant_type", kind), ("assertion", &assertion)];
                self.ask.far(&place, &ask::form(url, &fields)).await?.token()?
            }
            "authorized_user" => {
                let url = file.address("token_uri", TOKEN_SERVER)?;
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("client_id", file.text("client_id")?),
                    ("client_secret", file.text("client_secret")?),
                    ("refresh_token", file.text("refresh_token")?),
                ];
                self.ask.far(&place, &ask::form(url, &fields)).await?.token()?
            }
            "external_account" => federated::token(&self.ask, &self.inputs, &file).await?,
            other => return Err(file.cannot(other)),
        };
        Ok((token, lifetime, format!("Google, by {place}")))
    }

    async fn by_metadata(&self) -> Result<Option<Token>> {
        let host = self.inputs.get("GCE_METADATA_HOST").unwrap_or(METADATA_HOST);
        let url = ask::address("GCE_METADATA_HOST", &format!("http://{host}{TOKEN_PATH}"))?;
        let flavor = HeaderName::from_static("metadata-flavor");
        let request = ask::get(url).header(flavor.clone(), HeaderValue::from_static("Google"));
        let Some(answer) = self.ask.near(&request).await? else { return Ok(None) };
        // On another cloud's machine something else has this address.
        if answer.headers.get(flavor).is_none_or(|value| value != "Google") {
            return Ok(None);
        }
        let (token, lifetime) = answer.token()?;
        Ok(Some((token, lifetime, "Google, by the metadata server".to_owned())))
    }
}

impl Cloud for Google {
    fn name(&self) -> &'static str {
        "google"
    }

    fn helper(&self) -> &'static str {
        "gcr"
    }

    fn serves(&self, registry: &str) -> bool {
        let Some(labels) = hosts::labels(registry) else { return false };
        let below = |end| hosts::before(&labels, end).is_some_and(|rest| !rest.is_empty());
        registry == "gcr.io" || ["gcr.io", "pkg.dev", "google.com"].into_iter().any(below)
    }

    fn grant<'a>(&'a self, _: &'a str) -> Asking<'a> {
        Box::pin(async move {
            let granted = self.known.get_or("google", async {
                Ok(self.token().await?.map(|(password, lifetime, origin)| {
                    let user = "oauth2accesstoken".to_owned();
                    let credential = Credential::Password { user, password };
                    Grant { credential, until: end_of(lifetime), origin }
                }))
            });
            Ok(granted.await?)
        })
    }
}

/// A file of credentials.
struct File<'a> {
    place: &'a str,
    json: &'a Value,
}

impl<'a> File<'a> {
    /// A field that must be there.
    fn text(&self, name: &str) -> Result<&'a str> {
        let text = self.json[name].as_str().filter(|text| !text.is_empty());
        text.ok_or_else(|| Error::form(self.place, format!("has no `{name}`")))
    }

    /// The address in a field that may be missing.
    fn address(&self, name: &str, otherwise: &str) -> Result<url::Url> {
        ask::address(self.place, self.json[name].as_str().unwrap_or(otherwise))
    }

    fn cannot(&self, kind: &str) -> Error {
        let kind = transport::printable(kind, 60);
        Error::form(self.place, format!("holds `{kind}`, a kind that is not supported yet"))
    }
}
