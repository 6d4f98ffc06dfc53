//! Credentials that clouds give for their own registries, without a program or an SDK of theirs.
//!
//! Responsible for: which registries belong to Google, Amazon and Azure; finding out who we are there,
//! from keys, tokens and the services that a cloud has beside its machines; exchanging that for what
//! the registry is shown. Everything happens when a registry of that cloud asks for credentials, and
//! not before.
//!
//! Does not: read the environment or files later than at its start ([`Inputs`] holds them), keep
//! anything on disk, start programs, speak to registries (but for the exchange that Azure's have).
//!
//! Read first: [`clouds`], then `google.rs`, `aws.rs`, `azure.rs`.
#![forbid(unsafe_code)]

mod ask;
mod aws;
mod azure;
mod clock;
mod error;
mod google;
mod hosts;
mod inputs;
mod memory;

use std::sync::Arc;
use std::time::SystemTime;

use registry::Cloud;
use transport::Settings;

pub use error::Error;
pub use inputs::Inputs;

/// What this crate's functions return.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// All clouds, in the order in which kaniko asks them: Google, Amazon, Azure. `now` is the time at
/// which they are made; from then on it is counted.
#[must_use]
pub fn clouds(inputs: Inputs, settings: &Settings, now: SystemTime) -> Vec<Arc<dyn Cloud>> {
    let inputs = Arc::new(inputs);
    let ask = Arc::new(ask::Ask::new(settings, clock::Clock::starting(now)));
    vec![
        Arc::new(google::Google::new(Arc::clone(&inputs), Arc::clone(&ask))),
        Arc::new(aws::Ecr::new(Arc::clone(&inputs), Arc::clone(&ask))),
        Arc::new(azure::Acr::new(inputs, ask)),
    ]
}
