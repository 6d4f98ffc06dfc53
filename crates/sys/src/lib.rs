//! The raw system calls of the workspace: what runs between fork and exec, namespaces and id maps,
//! the seccomp filter, signals, the stop handle, secrets and the program's own environment block.
//!
//! This is the only crate with unsafe code; every other one forbids it. It knows processes and the
//! kernel, but neither images nor roots: which mounts a build step needs is decided in `run`, which
//! hands over a list of [`child::Action`]s.
//!
//! Read [`child`] first: it starts every program that a build runs.

#![allow(unsafe_code)]

pub mod capabilities;
pub mod child;
pub mod id_map;
pub mod namespaces;
pub mod nss;
pub mod resources;
pub mod seccomp;
pub mod signals;

mod attributes;
mod environment;
mod mapping;
mod secret;
mod stop;

pub use attributes::{become_subreaper, hide_memory, memory_is_hidden, no_new_privileges};
pub use environment::forget_environment;
pub use mapping::SharedMapping;
pub use secret::Secret;
pub use stop::StopHandle;
