//! Amazon: ECR, private and public. Whoever has keys of an account asks the registry's service, by a
//! signed question, for a password of the user `AWS`.
//!
//! Read [`Ecr`], then `chain.rs` for where keys come from and `sign.rs` for what is signed.

mod chain;
mod near;
mod profile;
mod sign;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use registry::{Asking, Cloud, Credential, Grant};
use serde_json::Value;
use url::Url;

use crate::Result;
use crate::ask::{self, Answer, Ask};
use crate::hosts;
use crate::inputs::Inputs;
use crate::memory::{Memory, end_of};

const PUBLIC: &str = "public.ecr.aws";
/// How the hosts of registries end in Amazon's partitions, and how those of the service do. What ends
/// in `on` is reached over IPv6 as well.
const PARTITIONS: [(&str, &str); 9] = [
    ("amazonaws.com", "amazonaws.com"),
    ("amazonaws.com.cn", "amazonaws.com.cn"),
    ("amazonaws.eu", "amazonaws.eu"),
    ("on.aws", "api.aws"),
    ("on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn"),
    ("sc2s.sgov.gov", "sc2s.sgov.gov"),
    ("c2s.ic.gov", "c2s.ic.gov"),
    ("cloud.adc-e.uk", "cloud.adc-e.uk"),
    ("csp.hci.ic.gov", "csp.hci.ic.gov"),
];

/// Amazon's registries.
#[derive(Debug)]
pub(crate) struct Ecr {
    inputs: Arc<Inputs>,
    ask: Arc<Ask>,
    known: Memory,
}

/// The service that lends passwords for a registry.
#[derive(Debug, PartialEq, Eq)]
struct Service {
    /// As signatures name it.
    name: &'static str,
    /// The call.
    target: &'static str,
    region: String,
    host: String,
    /// The variable that puts another address in its place.
    variable: &'static str,
}

/// The files that may say who we are.
pub(crate) fn files(inputs: &Inputs) -> Vec<PathBuf> {
    chain::files(inputs)
}

/// The service of a registry, if it is one of Amazon's.
fn service(registry: &str) -> Option<Service> {
    let labels = hosts::labels(registry)?;
    if registry == PUBLIC {
        return Some(Service {
            name: "ecr-public",
            target: "SpencerFrontendService.GetAuthorizationToken",
            region: "us-east-1".to_owned(),
            host: "api.ecr-public.us-east-1.amazonaws.com".to_owned(),
            variable: "AWS_ENDPOINT_URL_ECR_PUBLIC",
        });
    }
    let (rest, end) = PARTITIONS
        .into_iter()
        .find_map(|(ours, service)| Some((hosts::before(&labels, ours)?, service)))?;
    let (account, kind, region) = match rest {
        [account, "dkr", kind @ ("ecr" | "ecr-fips"), region] => (account, kind, region),
        [account, "dkr-ecr", region] => (account, &"ecr", region),
        [account, "dkr-ecr-fips", region] => (account, &"ecr-fips", region),
        _ => return None,
    };
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let host = match (*kind, end) {
        ("ecr-fips", _) => format!("ecr-fips.{region}.{end}"),
        (_, end) if end.starts_with("api.") => format!("ecr.{region}.{end}"),
        _ => format!("api.ecr.{region}.{end}"),
    };
    Some(Service {
        name: "ecr",
        target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
        region: (*region).to_owned(),
        host,
        variable: "AWS_ENDPOINT_URL_ECR",
    })
}

impl Ecr {
    pub(crate) fn new(inputs: Arc<Inputs>, ask: Arc<Ask>) -> Self {
        Self { inputs, ask, known: Memory::default() }
    }

    async fn lend(&self, service: &Service) -> Result<Option<Grant>> {
        let keys = chain::keys(&self.inputs, &self.ask, &service.region).await?;
        let Some((keys, origin)) = keys else { return Ok(None) };
        let url = self.endpoint(service.variable, &service.host)?;
        let headers = [
            (HeaderName::from_static("content-type"), "application/x-amz-json-1.1".to_owned()),
            (HeaderName::from_static("x-amz-target"), service.target.to_owned()),
        ];
        let scope = sign::Scope {
            region: &service.region,
            service: service.name,
            seconds: self.ask.clock.seconds(),
        };
        let request = sign::post(url, &headers, b"{}", &keys, &scope)?;
        let answer = self.ask.far("the address of the ECR service", &request).await?;
        Ok(Some(Grant { origin: format!("AWS, by {origin}"), ..self.password(&answer)? }))
    }

    /// The service's address, or what a variable puts in its place.
    fn endpoint(&self, variable: &str, host: &str) -> Result<Url> {
        let named = [variable, "AWS_ENDPOINT_URL"];
        match named.iter().find_map(|name| Some((*name, self.inputs.get(name)?))) {
            Some((name, text)) => ask::address(name, text),
            None => ask::address("the host of a registry", &format!("https://{host}/")),
        }
    }

    /// `authorizationData` is a list for private registries, and one thing for the public one.
    fn password(&self, answer: &Answer) -> Result<Grant> {
        let json = answer.json()?;
        let lent = &json["authorizationData"];
        let lent = if lent.is_array() { &lent[0] } else { lent };
        let lacks = || answer.lacks("holds no authorization token");
        let pair = lent["authorizationToken"].as_str().ok_or_else(lacks)?;
        let pair = STANDARD.decode(pair).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.ok_or_else(lacks)?;
        let (user, password) = pair.split_once(':').ok_or_else(lacks)?;
        let credential =
            Credential::Password { user: user.to_owned(), password: password.to_owned() };
        let end = seconds(&lent["expiresAt"]).map(|end| self.ask.clock.until(end));
        let until = end_of(end.unwrap_or_default());
        Ok(Grant { credential, until, origin: String::new() })
    }
}

/// A moment as Amazon's JSON has it: seconds, perhaps with a fraction.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

impl Cloud for Ecr {
    fn name(&self) -> &'static str {
        "ecr"
    }

    fn helper(&self) -> &'static str {
        "ecr-login"
    }

    fn serves(&self, registry: &str) -> bool {
        service(registry).is_some()
    }

    fn grant<'a>(&'a self, registry: &'a str) -> Asking<'a> {
        Box::pin(async move {
            let Some(service) = service(registry) else { return Ok(None) };
            Ok(self.known.get_or(&service.host, self.lend(&service)).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_registries_and_of_their_service() {
        let check = |registry: &str, expected: &str| {
            let shown = service(registry).map_or("none".to_owned(), |service| {
                format!("{} {}", service.region, service.host)
            });
            assert_eq!(shown, expected, "{registry}");
        };
        let account = "123456789012";
        let ours = |rest: &str, expected: &str| check(&format!("{account}.{rest}"), expected);
        ours("dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1 api.ecr.eu-west-1.amazonaws.com");
        ours(
            "dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "us-gov-west-1 ecr-fips.us-gov-west-1.amazonaws.com",
        );
        ours(
            "dkr.ecr.cn-north-1.amazonaws.com.cn",
            "cn-north-1 api.ecr.cn-north-1.amazonaws.com.cn",
        );
        ours("dkr-ecr.us-east-2.on.aws", "us-east-2 ecr.us-east-2.api.aws");
        ours("dkr-ecr-fips.us-east-2.on.aws", "us-east-2 ecr-fips.us-east-2.api.aws");
        ours("dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1 api.ecr.us-iso-east-1.c2s.ic.gov");
        check(PUBLIC, "us-east-1 api.ecr-public.us-east-1.amazonaws.com");
        for other in [
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
            "12345678901a.dkr.ecr.eu-west-1.amazonaws.com",
            "dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr.a.b.amazonaws.com",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-west-1.evilamazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
            "123456789012.DKR.ecr.eu-west-1.amazonaws.com",
            "u@123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkrXecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr-fipsy.eu-west-1.amazonaws.com",
            "xpublic.ecr.aws",
            "x.public.ecr.aws",
            "public.ecr.aws.evil.example",
            "amazonaws.com",
        ] {
            check(other, "none");
        }
    }
}
