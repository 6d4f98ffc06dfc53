//! Tokens of the directory: for a client's secret, for a token that a cluster gives (workload
//! identity), or from the service beside a machine (managed identity).

use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::Environment;
use crate::Result;
use crate::ask::{self, Ask, secret_header};
use crate::inputs::{Inputs, shown};

/// What a token is for: registries, in every cloud.
const AUDIENCE: &str = "https://containerregistry.azure.net";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const MACHINE: &str = "http://169.254.169.254";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// The files that may say who we are.
pub(super) fn files(inputs: &Inputs) -> Vec<PathBuf> {
    inputs.get(TOKEN_FILE).map(PathBuf::from).into_iter().collect()
}

/// A token of the directory, with where it comes from.
pub(super) async fn token(
    inputs: &Inputs,
    ask: &Ask,
    environment: Environment,
) -> Result<Option<(String, String)>> {
    let client = inputs.get("AZURE_CLIENT_ID");
    if let (Some(client), Some(tenant)) = (client, inputs.get("AZURE_TENANT_ID")) {
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", "https://containerregistry.azure.net/.default"),
        ];
        let origin = if let Some(secret) = inputs.get("AZURE_CLIENT_SECRET") {
            fields.push(("client_secret", secret));
            Some("the variable AZURE_CLIENT_SECRET".to_owned())
        } else if let Some(path) = inputs.get(TOKEN_FILE).map(Path::new) {
            fields.push(("client_assertion_type", ASSERTION));
            fields.push(("client_assertion", inputs.text(path)?));
            Some(format!("the token in {}", shown(path)))
        } else if let Some(token) = inputs.get("AZURE_FEDERATED_TOKEN") {
            fields.push(("client_assertion_type", ASSERTION));
            fields.push(("client_assertion", token));
            Some("the variable AZURE_FEDERATED_TOKEN".to_owned())
        } else {
            None
        };
        if let Some(origin) = origin {
            let url = token_server(inputs, environment, tenant)?;
            let what = "the address of the directory";
            let (token, _) = ask.far(what, &ask::form(url, &fields)).await?.token()?;
            return Ok(Some((token, origin)));
        }
    }
    managed(inputs, ask, client).await
}

/// The directory's token server: what a variable says, else that of the cloud.
fn token_server(inputs: &Inputs, environment: Environment, tenant: &str) -> Result<Url> {
    let named = inputs.get("AZURE_ENVIRONMENT").map(str::to_ascii_lowercase);
    let environment = match named.as_deref() {
        Some("azurepubliccloud" | "azurecloud") => Environment::Public,
        Some("azurechinacloud") => Environment::China,
        Some("azureusgovernmentcloud" | "azureusgovernment") => Environment::Government,
        Some("azuregermancloud") => Environment::Germany,
        Some(_) | None => environment,
    };
    let usual = match environment {
        Environment::Public => "https://login.microsoftonline.com/",
        Environment::China => "https://login.chinacloudapi.cn/",
        Environment::Government => "https://login.microsoftonline.us/",
        Environment::Germany => "https://login.microsoftonline.de/",
    };
    let variable = "AZURE_AUTHORITY_HOST";
    let mut url = ask::address(variable, inputs.get(variable).unwrap_or(usual))?;
    // Parts are escaped: a tenant cannot be a path of its own.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend([tenant, "oauth2", "v2.0", "token"]);
    }
    Ok(url)
}

/// From the service that a container names, or from the one beside a machine.
async fn managed(
    inputs: &Inputs,
    ask: &Ask,
    client: Option<&str>,
) -> Result<Option<(String, String)>> {
    let container = (inputs.get("IDENTITY_ENDPOINT"), inputs.get("IDENTITY_HEADER"));
    let (mut url, version, secret) = match container {
        (Some(endpoint), Some(secret)) => {
            (ask::address("IDENTITY_ENDPOINT", endpoint)?, "2019-08-01", Some(secret))
        }
        _ => {
            let variable = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
            let mut url = ask::address(variable, inputs.get(variable).unwrap_or(MACHINE))?;
            url.set_path("/metadata/identity/oauth2/token");
            (url, "2018-02-01", None)
        }
    };
    url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", AUDIENCE);
    if let Some(client) = client {
        url.query_pairs_mut().append_pair("client_id", client);
    }
    let request = ask::get(url);
    let request = match secret {
        Some(secret) => {
            let name = HeaderName::from_static("x-identity-header");
            secret_header(request, name, secret, "IDENTITY_HEADER")?
        }
        None => {
            request.header(HeaderName::from_static("metadata"), HeaderValue::from_static("true"))
        }
    };
    let Some(answer) = ask.near(&request).await? else { return Ok(None) };
    let (token, _) = answer.token()?;
    Ok(Some((token, "the managed identity of this machine".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_servers_of_the_clouds() {
        let check = |variables: &[(&str, &str)], environment: Environment, expected: &str| {
            let none = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
            let inputs = Inputs::read(variables.iter().copied(), none);
            let url = token_server(&inputs, environment, "a/b").expect("because it is an address");
            assert_eq!(url.as_str(), expected);
        };
        let path = "a%2Fb/oauth2/v2.0/token";
        check(&[], Environment::Public, &format!("https://login.microsoftonline.com/{path}"));
        check(&[], Environment::China, &format!("https://login.chinacloudapi.cn/{path}"));
        check(
            &[("AZURE_ENVIRONMENT", "AzureUSGovernmentCloud")],
            Environment::Public,
            &format!("https://login.microsoftonline.us/{path}"),
        );
        check(
            &[("AZURE_AUTHORITY_HOST", "https://login.example")],
            Environment::Germany,
            &format!("https://login.example/{path}"),
        );
    }
}
