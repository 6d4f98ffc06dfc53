//! Azure: Container Registry. A token of the directory (Entra ID) becomes, by an exchange that the
//! registry itself has, a refresh token for its token server.
//!
//! Read [`Acr`], then `directory.rs` for where tokens come from.

mod directory;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use registry::{Asking, Cloud, Credential, Grant};
use transport::Request;

use crate::Result;
use crate::ask::{self, Ask};
use crate::hosts;
use crate::inputs::Inputs;
use crate::memory::{Memory, end_of};

/// Where registries are, by the cloud that they belong to.
const ENDS: [(&str, Environment); 4] = [
    ("azurecr.io", Environment::Public),
    ("azurecr.cn", Environment::China),
    ("azurecr.us", Environment::Government),
    ("azurecr.de", Environment::Germany),
];
/// Refresh tokens of registries are good for three hours; ours are renewed well before.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// One of Azure's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    Public,
    China,
    Government,
    Germany,
}

/// Azure's registries.
#[derive(Debug)]
pub(crate) struct Acr {
    inputs: Arc<Inputs>,
    ask: Arc<Ask>,
    known: Memory,
}

/// The files that may say who we are.
pub(crate) fn files(inputs: &Inputs) -> Vec<PathBuf> {
    directory::files(inputs)
}

/// The cloud of a registry, if it is one of Azure's.
fn environment(registry: &str) -> Option<Environment> {
    let labels = hosts::labels(registry)?;
    let mut ends = ENDS.into_iter();
    ends.find_map(|(end, environment)| {
        let rest = hosts::before(&labels, end)?;
        (!rest.is_empty()).then_some(environment)
    })
}

impl Acr {
    pub(crate) fn new(inputs: Arc<Inputs>, ask: Arc<Ask>) -> Self {
        Self { inputs, ask, known: Memory::default() }
    }

    async fn refresh_token(
        &self,
        registry: &str,
        environment: Environment,
    ) -> Result<Option<Grant>> {
        let token = directory::token(&self.inputs, &self.ask, environment).await?;
        let Some((token, origin)) = token else { return Ok(None) };
        let request = exchange(registry, self.inputs.get("AZURE_TENANT_ID"), &token)?;
        let answer = self.ask.far("the registry", &request).await?;
        let json = answer.json()?;
        let token = json["refresh_token"].as_str().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| answer.lacks("holds no refresh token"))?;
        Ok(Some(Grant {
            credential: Credential::Identity(token.to_owned()),
            until: end_of(LIFETIME),
            origin: format!("Azure, by {origin}"),
        }))
    }
}

/// The question by which a token of the directory becomes one of the registry.
fn exchange(registry: &str, tenant: Option<&str>, token: &str) -> Result<Request> {
    let url = ask::address("the registry", &format!("https://{registry}/oauth2/exchange"))?;
    let mut fields = vec![("grant_type", "access_token"), ("service", registry)];
    fields.extend(tenant.map(|tenant| ("tenant", tenant)));
    fields.push(("access_token", token));
    Ok(ask::form(url, &fields))
}

impl Cloud for Acr {
    fn name(&self) -> &'static str {
        "acr"
    }

    fn helper(&self) -> &'static str {
        "acr-env"
    }

    fn serves(&self, registry: &str) -> bool {
        environment(registry).is_some()
    }

    fn grant<'a>(&'a self, registry: &'a str) -> Asking<'a> {
        Box::pin(async move {
            let Some(environment) = environment(registry) else { return Ok(None) };
            let granted = self.refresh_token(registry, environment);
            Ok(self.known.get_or(registry, granted).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_registries() {
        let check = |registry: &str, expected: Option<Environment>| {
            assert_eq!(environment(registry), expected, "{registry}");
        };
        check("app.azurecr.io", Some(Environment::Public));
        check("app-1.azurecr.io", Some(Environment::Public));
        check("app.azurecr.cn", Some(Environment::China));
        check("app.azurecr.us", Some(Environment::Government));
        check("app.azurecr.de", Some(Environment::Germany));
        for other in [
            "azurecr.io",
            "app.azurecr.com",
            "appazurecr.io",
            "app.azurecr.io.evil.example",
            "app.azurecr.io.",
            "app.azurecr.io:443",
            "App.azurecr.io",
            "app.azurecr.io@evil.example",
            "u@app.azurecr.io",
            "app.azurecr.іo",
            "evil.example/app.azurecr.io",
            "mcr.microsoft.com",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn a_token_is_exchanged_at_the_registry_itself() {
        let request = exchange("app.azurecr.io", Some("t"), "a b").expect("because it is a host");
        assert_eq!(request.url.as_str(), "https://app.azurecr.io/oauth2/exchange");
        assert!(request.within_origin);
    }
}
