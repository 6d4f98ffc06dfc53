//! Who we are to a registry: credentials, and where they are looked for.
//!
//! A [`Keychain`] asks its sources in order, and the first that knows something wins: docker's config,
//! then variables named after the registry, the clouds, GitLab's job. Values come in as text; *does
//! not* read the environment or files, and starts programs only where a config names a credential
//! helper. Nothing here ever prints a secret.
//!
//! Read first: [`Keychain`], then [`docker`].

mod cloud;
pub(crate) mod docker;
pub(crate) mod helper;
mod hosts;
mod keychain;
mod login;

use std::fmt;

pub use cloud::{Asking, Cloud, CloudError, Grant};
pub use docker::{ConfigError, DockerConfig};
pub use helper::{HelperError, Helpers};
pub use hosts::{GitLab, HostVariables};
pub use keychain::{Asked, Keychain, Source};
pub use login::{Login, LoginError, Stored};

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which the registry's token server changes into others.
    Identity(String),
    /// A token that is shown as it is.
    Bearer(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(***)",
            Self::Identity(_) => "Identity(***)",
            Self::Bearer(_) => "Bearer(***)",
        })
    }
}
