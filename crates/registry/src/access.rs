//! What a registry wants of whoever comes: the question that every client asks first.

use http::StatusCode;
use oci::Reference;
use transport::printable;

use crate::Result;
use crate::client::Client;
use crate::error::Cause;

/// How a registry answers `GET /v2/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its address, with the scheme that works.
    pub url: String,
    /// What it asks for.
    pub wanted: Wanted,
}

/// What a registry asks for before it lets anybody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Nothing,
    /// A token of this server; anonymous ones may do.
    Token {
        /// The server.
        realm: String,
    },
    /// Credentials, by these schemes.
    Credentials {
        /// The schemes.
        schemes: String,
    },
}

impl std::fmt::Display for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "answers at {}, asks for ", self.url)?;
        match &self.wanted {
            Wanted::Nothing => formatter.write_str("no credentials"),
            Wanted::Token { realm } => write!(formatter, "a token of `{realm}`"),
            Wanted::Credentials { schemes } => write!(formatter, "credentials ({schemes})"),
        }
    }
}

impl Client {
    /// Where the credentials come from that a repository is shown, if there are any. They are looked
    /// for, so that a cloud is asked; the secret itself is not told.
    pub async fn credential_origin(&self, reference: &Reference) -> Result<Option<String>> {
        let fail = |cause: Cause| cause.while_trying("reach the registry", &reference.registry());
        let endpoint = self.endpoint(reference.registry()).map_err(fail)?;
        let grant = endpoint.credential_of(reference.repository()).await;
        Ok(grant.map(|grant| grant.origin))
    }

    /// Asks the registry of a reference what it wants. Nothing is sent that could let anybody in.
    pub async fn access(&self, reference: &Reference) -> Result<Access> {
        let fail = |cause: Cause| cause.while_trying("reach the registry", &reference.registry());
        let endpoint = self.endpoint(reference.registry()).map_err(fail)?;
        let (url, status, challenges) =
            transport::retry(&endpoint.retry, "v2", || endpoint.greet()).await.map_err(fail)?;
        let url = transport::shown_url(&url);
        if status != StatusCode::UNAUTHORIZED {
            return Ok(Access { url, wanted: Wanted::Nothing });
        }
        let bearer = challenges.iter().find(|one| one.scheme.eq_ignore_ascii_case("bearer"));
        let wanted = match bearer.and_then(|bearer| bearer.parameter("realm")) {
            Some(realm) => Wanted::Token { realm: printable(realm, 200) },
            None => {
                let schemes: Vec<&str> = challenges.iter().map(|one| one.scheme.as_str()).collect();
                Wanted::Credentials { schemes: printable(&schemes.join(", "), 100) }
            }
        };
        Ok(Access { url, wanted })
    }
}
