//! What a cloud that gives credentials for its own registries looks like from here.
//!
//! How one finds out who we are, and what it exchanges with its own services, is not known here.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::time::Instant;

use super::Credential;

/// A credential with where it comes from.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What the registry is shown.
    pub credential: Credential,
    /// Until when it is good, where that is known.
    pub until: Option<Instant>,
    /// Where it comes from, for the log and for `doctor`; never the secret.
    pub origin: String,
}

/// Why a cloud gave nothing, though it had something to ask with. No secret is part of it.
pub type CloudError = Box<dyn std::error::Error + Send + Sync>;

/// A cloud's answer, on its way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Option<Grant>, CloudError>> + Send + 'a>>;

/// A cloud.
pub trait Cloud: Send + Sync + fmt::Debug {
    /// Its name as a source of credentials: `google`, `ecr`, `acr`.
    fn name(&self) -> &'static str;

    /// The credential helper that it stands in for where no such program is there: the `ecr-login`
    /// of `docker-credential-ecr-login`.
    fn helper(&self) -> &'static str;

    /// Whether the registry, named as in references, is one of its own. Whole labels, to the end.
    fn serves(&self, registry: &str) -> bool;

    /// A credential for one of its registries. `None` where nothing says who we are.
    fn grant<'a>(&'a self, registry: &'a str) -> Asking<'a>;
}
