//! Client of the OCI distribution protocol.
//!
//! Responsible for: images and blobs out of a registry and into one, verified, streamed, resumed
//! after a fault; anonymous, or with what a [`Keychain`] finds.
//!
//! Does not: know caches or builds, keep blobs (a [`BlobSource`] hands them in, a [`BlobStream`]
//! hands them out), read the environment or files.
//!
//! Read first: [`Client`], [`ClientOptions`], [`BlobSource`], [`Keychain`].
#![forbid(unsafe_code)]

mod access;
mod client;
mod content;
mod find;
mod manifest;
mod options;
mod publish;
mod pull;
mod push;
mod repeat;
mod resolve;
mod routes;
mod session;
mod source;
mod upload;

mod auth;
mod challenge;
mod credential;
mod endpoint;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod progress;
mod verify;

pub use oci::registry_name;

pub use access::{Access, Wanted};
pub use client::{Client, Resolved};
pub use credential::{
    Asked, Asking, Cloud, CloudError, ConfigError, Credential, DockerConfig, GitLab, Grant,
    HelperError, Helpers, HostVariables, Keychain, Login, LoginError, Source, Stored,
};
pub use error::{Cause, Error};
#[cfg(feature = "fuzzing")]
pub use fuzzing::headers;
pub use options::ClientOptions;
pub use progress::{Progress, Silent, Transfer};
pub use pull::BlobStream;
pub use repeat::Repeat;
pub use routes::{NoPlace, Policy, Routes, Rule};
pub use source::{BlobOrigin, BlobSource};
pub use transport::{
    ClientIdentity, Proxies, Resolver, RetryPolicy, RootSources, Roots, Settings, chain,
};

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;
