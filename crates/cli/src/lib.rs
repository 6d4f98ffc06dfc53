//! What a person meets of the two programs: flags, environment, log lines, error reports.
//!
//! Responsible for kaniko's flag grammar and flag tables, the one reading of the environment, the
//! answer to "is this a container?", kaniko's log formats, and the rendering of a failed build.
//! It does not depend on the builder: the programs map [`ExecutorFlags`] to a build request and a
//! build error to a [`Report`]. Read [`flag::Flag`] first, then [`executor_flags`].
#![forbid(unsafe_code)]

mod allow;
mod authentication;
mod cache;
mod cache_gc;
pub mod console;
pub mod container;
mod digest_files;
mod environment;
mod error;
mod executor;
pub mod flag;
mod grammar;
pub mod log;
mod login;
mod not_yet;
mod platforms;
mod push;
mod registry;
pub mod report;
mod secret;
mod subcommand;
mod table;
mod value;
mod warmer;

#[cfg(test)]
mod tests;

pub use allow::Allow;
pub use authentication::{Authentication, UnreadableConfig, read as read_config};
pub use cache::{CacheFlags, CachePlace};
pub use cache_gc::{CacheGcFlags, cache_gc_flags};
pub use digest_files::{DigestFlags, Place};
pub use environment::{Environment, Network};
pub use error::Error;
pub use executor::{
    Command, Compression, ExecutorFlags, ImageFormat, Isolation, Lint, executor_flags,
};
pub use grammar::Parsed;
pub use log::LogFlags;
pub use login::{LoginFlags, login_flags, password};
pub use platforms::{Driver, IndexFlags, PlatformFlags};
pub use push::{PushFlags, push_flags};
pub use registry::{Again, ClientCertificate, Patterns, RegistryFlags};
pub use report::{Excerpt, Report};
pub use secret::{SecretFlag, SecretSource, SshFlag};
pub use subcommand::Subcommand;
pub use table::{executor_table, warmer_table};
pub use warmer::{WarmerFlags, warmer_flags};

/// The version of kaniko whose flags and files these programs take the place of.
pub const KANIKO_VERSION: &str = "1.28.3";
/// The version both programs print.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
