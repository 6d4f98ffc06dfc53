//! From a parsed Dockerfile to a build plan: which stages live, what each step does and reads.
//!
//! Responsible for stages, scopes of variables, the config and the history that each step leaves,
//! and for refusing what cannot be carried out. Does not fetch and does not touch files: base
//! images come in as values, everything else stays a name.
//! Read first: [`BuildPlan`], then [`stage_graph`] and [`lower`], which make one in two moves with
//! the pull of the base images between them; [`merge`] joins those for several platforms.

#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

mod error;
mod model;
mod options;
mod print;

pub mod features;
pub mod gitref;

mod frontend;
mod text;
mod variables;

mod graph;
mod lower;
mod merge;

pub use error::{Error, ErrorKind};
pub use frontend::check_frontend;
pub use gitref::GitRef;
pub use graph::{BaseImageRequest, StageGraph, stage_graph};
pub use lower::{Base, lower};
pub use merge::merge;
pub use model::{
    AddOp, AddSource, BaseImageId, BuildPlan, CacheSharing, CopyOp, CopySource, Device,
    HistoryKind, InlineFile, MountSource, MountSpec, Op, RemoteFile, RunNetwork, RunOp,
    RunSecurity, Selection, StageBase, StageId, StagePlan, Step, StepId, StepInput, WorkdirOp,
};
pub use options::{Entitlement, Lint, PlanOptions, Unimplemented};

pub use dockerfile::lint::Warning;
