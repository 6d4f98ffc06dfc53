//! Workload identity federation: another issuer's token, from a file, becomes one of Google's, and
//! where the file asks for it, one of a service account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Method, header};
use oci::Timestamp;
use serde_json::{Value, json};
use transport::{Body, Request};

use super::{File, SCOPE};
use crate::Result;
use crate::ask::{self, Ask};
use crate::error::Error;
use crate::inputs::Inputs;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN_SERVER: &str = "https://sts.googleapis.com/v1/token";

/// The file that a file of credentials names.
pub(super) fn token_file(content: &[u8]) -> Option<PathBuf> {
    let json: Value = serde_json::from_slice(content).ok()?;
    json["credential_source"]["file"].as_str().map(PathBuf::from)
}

/// The token, and for how long it is good.
pub(super) async fn token(
    ask: &Ask,
    inputs: &Inputs,
    file: &File<'_>,
) -> Result<(String, Duration)> {
    let subject = subject(inputs, file)?;
    let fields = [
        ("grant_type", EXCHANGE),
        ("audience", file.text("audience")?),
        ("scope", SCOPE),
        ("requested_token_type", ACCESS_TOKEN),
        ("subject_token_type", file.text("subject_token_type")?),
        ("subject_token", &subject),
    ];
    let url = file.address("token_url", TOKEN_SERVER)?;
    let (token, lifetime) = ask.far(file.place, &ask::form(url, &fields)).await?.token()?;
    if file.json["service_account_impersonation_url"].is_null() {
        return Ok((token, lifetime));
    }
    let url = file.address("service_account_impersonation_url", "")?;
    let body = json!({"scope": [SCOPE], "lifetime": "3600s"}).to_string();
    let request = Request::new(Method::POST, url)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Body::Bytes(body.into()))
        .within_origin();
    let bearer = format!("Bearer {token}");
    let request = ask::secret_header(request, header::AUTHORIZATION, &bearer, file.place)?;
    let answer = ask.far(file.place, &request).await?;
    let json = answer.json()?;
    let token =
        json["accessToken"].as_str().ok_or_else(|| answer.lacks("holds no access token"))?;
    let end = json["expireTime"].as_str().and_then(|text| Timestamp::parse(text).ok());
    let lifetime = end.map_or(Duration::ZERO, |end| ask.clock.until(end.seconds()));
    Ok((token.to_owned(), lifetime))
}

/// The other issuer's token.
fn subject(inputs: &Inputs, file: &File<'_>) -> Result<String> {
    let source = &file.json["credential_source"];
    let Some(path) = source["file"].as_str().map(Path::new) else {
        return Err(Error::form(file.place, "has a `credential_source` that is no file"));
    };
    let text = inputs.text(path)?;
    if source["format"]["type"].as_str() != Some("json") {
        return Ok(text.to_owned());
    }
    let name = source["format"]["subject_token_field_name"].as_str().unwrap_or_default();
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let token = json[name].as_str().map(str::to_owned);
    token.ok_or_else(|| Error::form(crate::inputs::shown(path), format!("has no `{name}`")))
}
