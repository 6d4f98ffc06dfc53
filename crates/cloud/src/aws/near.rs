//! Keys from what is beside a container or a machine of Amazon's.

use std::path::Path;

use http::{HeaderName, Method, header};
use serde_json::Value;
use transport::Request;
use url::{Host, Url};

use super::chain::{Found, Keys};
use crate::Result;
use crate::ask::{self, Answer, Ask, is_this_machine, secret_header};
use crate::error::Error;
use crate::inputs::Inputs;

const MACHINE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";

/// From the service that variables of the container name: ECS, EKS Pod Identity.
pub(super) async fn of_container(inputs: &Inputs, ask: &Ask) -> Result<Found> {
    let url = match (inputs.get(RELATIVE_URI), inputs.get(FULL_URI)) {
        (Some(path), _) => ask::address(RELATIVE_URI, &format!("{CONTAINER}{path}"))?,
        (None, Some(url)) => ask::address(FULL_URI, url)?,
        (None, None) => return Ok(None),
    };
    if !may_ask(&url) {
        return Err(Error::Address { what: FULL_URI.to_owned(), url: transport::shown_url(&url) });
    }
    let token = match inputs.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => Some(inputs.text(Path::new(path))?),
        None => inputs.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let mut request = ask::get(url);
    if let Some(token) = token {
        let what = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
        request = secret_header(request, header::AUTHORIZATION, token, what)?;
    }
    let answer = ask.near(&request).await?;
    answer.map(|answer| keys(&answer, "the service beside the container")).transpose()
}

/// Where the token of a container may go: as Amazon's SDKs have it, to this machine, to the two
/// services' own addresses, and over TLS to anywhere.
fn may_ask(url: &Url) -> bool {
    let own = match url.host() {
        Some(Host::Ipv4(ip)) => [[169, 254, 170, 2], [169, 254, 170, 23]].contains(&ip.octets()),
        Some(Host::Ipv6(ip)) => ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
        Some(Host::Domain(_)) | None => false,
    };
    url.scheme() == "https" || own || is_this_machine(url)
}

/// From the metadata service of a machine (the second version, which wants a token of its own).
pub(super) async fn of_machine(inputs: &Inputs, ask: &Ask) -> Result<Found> {
    let is_off = inputs.get("AWS_EC2_METADATA_DISABLED");
    if is_off.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let variable = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    let base = inputs.get(variable).unwrap_or(MACHINE).trim_end_matches('/');
    let address = |path: &str| ask::address(variable, &format!("{base}/latest/{path}"));
    let lifetime = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
    let request = Request::new(Method::PUT, address("api/token")?).within_origin();
    let request = secret_header(request, lifetime, "300", variable)?;
    let Some(session) = ask.near(&request).await? else { return Ok(None) };
    let session = session.text()?.to_owned();
    let asked = async |path: &str| {
        let name = HeaderName::from_static("x-aws-ec2-metadata-token");
        let request = secret_header(ask::get(address(path)?), name, &session, variable)?;
        ask.near(&request).await
    };
    let roles = "meta-data/iam/security-credentials/";
    let Some(role) = asked(roles).await? else { return Ok(None) };
    let role = role.text()?.lines().next().unwrap_or_default().trim().to_owned();
    let answer = asked(&format!("{roles}{role}")).await?;
    answer.map(|answer| keys(&answer, "the role of this machine")).transpose()
}

fn keys(answer: &Answer, origin: &str) -> Result<(Keys, String)> {
    let json: Value = answer.json()?;
    let text = |name: &str| json[name].as_str().filter(|text| !text.is_empty());
    let part = |name: &str| {
        let found = text(name).map(str::to_owned);
        found.ok_or_else(|| answer.lacks("holds no credentials"))
    };
    let (id, secret) = (part("AccessKeyId")?, part("SecretAccessKey")?);
    let keys = Keys { id, secret, session: text("Token").map(str::to_owned) };
    Ok((keys, origin.to_owned()))
}
