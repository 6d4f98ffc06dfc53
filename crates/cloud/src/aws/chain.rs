//! Where keys come from, in the order of Amazon's own SDKs: variables, a token that the cluster gives
//! (IRSA), a profile in a file, the service beside a container (ECS, EKS Pod Identity), and the one
//! beside a machine (EC2).

use std::path::{Path, PathBuf};

use transport::printable;

use super::near;
use super::profile::{self, Profile};
use crate::Result;
use crate::ask::{self, Ask, element};
use crate::error::Error;
use crate::inputs::{Inputs, shown};

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

/// A key, its secret, and the session that it belongs to.
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) session: Option<String>,
}

/// Keys, with where they come from.
pub(super) type Found = Option<(Keys, String)>;

/// The files that may say who we are.
pub(super) fn files(inputs: &Inputs) -> Vec<PathBuf> {
    let named = [TOKEN_FILE, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
    let mut files: Vec<PathBuf> =
        named.iter().filter_map(|name| inputs.get(name)).map(PathBuf::from).collect();
    files.extend(profile_files(inputs).into_iter().map(|(path, _)| path));
    let profile = Profile::of(inputs, &profile_files(inputs));
    files.extend(profile.get("web_identity_token_file").map(PathBuf::from));
    files
}

/// The files that hold profiles, and whether a section of theirs is named `profile NAME`.
fn profile_files(inputs: &Inputs) -> Vec<(PathBuf, profile::Naming)> {
    let place = |variable: &str, usual: &str| {
        inputs.get(variable).map(PathBuf::from).or_else(|| inputs.at_home(usual))
    };
    let credentials = place("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    let config = place("AWS_CONFIG_FILE", ".aws/config");
    let credentials = credentials.map(|path| (path, profile::Naming::Bare));
    let config = config.map(|path| (path, profile::Naming::Prefixed));
    credentials.into_iter().chain(config).collect()
}

/// The first keys that there are. `region` is where to ask, if nothing says otherwise.
pub(super) async fn keys(inputs: &Inputs, ask: &Ask, region: &str) -> Result<Found> {
    if let (Some(id), Some(secret)) =
        (inputs.get("AWS_ACCESS_KEY_ID"), inputs.get("AWS_SECRET_ACCESS_KEY"))
    {
        let session = inputs.get("AWS_SESSION_TOKEN").map(str::to_owned);
        let keys = Keys { id: id.to_owned(), secret: secret.to_owned(), session };
        return Ok(Some((keys, "the variable AWS_ACCESS_KEY_ID".to_owned())));
    }
    if let (Some(file), Some(role)) = (inputs.get(TOKEN_FILE), inputs.get("AWS_ROLE_ARN")) {
        let session = inputs.get("AWS_ROLE_SESSION_NAME");
        let role = Role { role, session, token: inputs.text(Path::new(file))? };
        let keys = by_token(inputs, ask, region, &role).await?;
        return Ok(Some((keys, format!("the role of the token in {}", shown(Path::new(file))))));
    }
    let profile = Profile::of(inputs, &profile_files(inputs));
    if let Some(found) = of_profile(inputs, ask, region, &profile).await? {
        return Ok(Some(found));
    }
    if let Some(found) = near::of_container(inputs, ask).await? {
        return Ok(Some(found));
    }
    near::of_machine(inputs, ask).await
}

async fn of_profile(inputs: &Inputs, ask: &Ask, region: &str, profile: &Profile) -> Result<Found> {
    let origin = format!("the profile `{}`", printable(&profile.name, 60));
    if let (Some(id), Some(secret)) =
        (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key"))
    {
        let session = profile.get("aws_session_token").map(str::to_owned);
        return Ok(Some((Keys { id: id.to_owned(), secret: secret.to_owned(), session }, origin)));
    }
    if let (Some(role), Some(file)) =
        (profile.get("role_arn"), profile.get("web_identity_token_file"))
    {
        let session = profile.get("role_session_name");
        let role = Role { role, session, token: inputs.text(Path::new(file))? };
        let region = profile.get("region").unwrap_or(region);
        return Ok(Some((by_token(inputs, ask, region, &role).await?, origin)));
    }
    let unknown = ["role_arn", "sso_session", "sso_start_url", "credential_process"];
    if let Some(name) = unknown.iter().find(|name| profile.get(name).is_some()) {
        return Err(Error::form(origin, format!("uses `{name}`, which is not supported yet")));
    }
    // A profile that somebody asks for by its name is meant to be there.
    if inputs.get("AWS_PROFILE").is_some() && profile.is_empty() {
        return Err(Error::form(origin, "is in no file"));
    }
    Ok(None)
}

/// A role that a token of another issuer stands for.
struct Role<'a> {
    role: &'a str,
    session: Option<&'a str>,
    token: &'a str,
}

/// Exchanges the token of a cluster for keys.
async fn by_token(inputs: &Inputs, ask: &Ask, region: &str, role: &Role<'_>) -> Result<Keys> {
    let region =
        inputs.get("AWS_REGION").or_else(|| inputs.get("AWS_DEFAULT_REGION")).unwrap_or(region);
    let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let usual = format!("https://sts.{region}.{end}/");
    let named = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
    let url = named.iter().find_map(|name| inputs.get(name)).unwrap_or(&usual);
    let url = ask::address("the address of the STS service", url)?;
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role.role),
        ("RoleSessionName", role.session.unwrap_or("kaniko")),
        ("WebIdentityToken", role.token),
    ];
    let answer = ask.far("the address of the STS service", &ask::form(url, &fields)).await?;
    let text = answer.text()?;
    let part = |name: &str| {
        let found = element(text, name).filter(|value| !value.is_empty());
        found.map(str::to_owned).ok_or_else(|| answer.lacks("holds no credentials"))
    };
    let session = Some(part("SessionToken")?);
    Ok(Keys { id: part("AccessKeyId")?, secret: part("SecretAccessKey")?, session })
}
