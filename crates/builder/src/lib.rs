//! Carries out a build request: context, Dockerfile, plan, stages, layers, outputs.
//!
//! The only crate that knows the order of things. It decides nothing about the language (`plan`
//! does), touches no file itself but the build's own directory, and prints nothing: what it has to
//! tell are [`Event`]s. *Does not* parse flags, read the environment or the clock.
//!
//! Read [`BuildRequest`] first, then [`build`], then `schedule.rs`, the order of the stages,
//! `stage.rs`, which carries out one of them, and `step.rs`, the one `match` over what a step can be.
//! What comes from a cache of layers instead: `probe.rs` before the stages, `reuse.rs` at each step.
#![forbid(unsafe_code)]

mod agent;
mod bases;
mod blobs;
mod build;
mod caches;
mod cores;
mod digests;
mod each;
mod error;
mod event;
mod explain;
mod files;
mod foreign;
mod images;
mod join;
mod layer_cache;
mod ledger;
mod mounts;
mod plain;
mod prepare;
mod probe;
mod product;
mod program;
mod publish;
mod push;
mod reads;
mod remote;
mod request;
mod results;
mod reuse;
mod schedule;
mod sources;
mod stage;
mod step;
mod trees;
mod uploads;
mod workdir;
mod workspace;

pub use build::{BuildOutcome, build, dockerfile_text, plan_only};
pub use digests::{DigestFiles, DigestPlace, SendError};
pub use error::{BaseError, Error, StepError};
pub use event::{Event, LayerSummary, Observer, StageName};
pub use foreign::ForeignError;
pub use join::{JoinError, JoinRequest, join};
pub use prepare::read_host_file;
pub use push::{ImageFileError, PushRequest, push};
pub use request::{
    BaseCacheOptions, BuildRequest, CachePlace, Emulation, IndexOptions, LayerCaching, Outputs,
};

// What a caller needs of the crates below, to make a request.
pub use context::DockerfilePlace;
pub use layer::Compression;
pub use oci::{ImageFormat, Platform, Reference, Timestamp};
pub use plan::{BuildPlan, Entitlement, Lint};
pub use rootfs::RootPath;
pub use run::{Afterwards, Choice, Disk, EnterOptions, Isolation, Pod, Rung, disk, enter};
pub use sys::Secret;
pub use transport::{Proxies, Resolver, RootSources, Roots, Settings};
