//! Executes one program inside the root of a stage and reports how it ended.
//!
//! Responsible for where a build happens (the *rung*: private roots in namespaces, or the
//! container's own `/`), for switching between the roots of stages, and for every process of a
//! build step: its environment, identity, capabilities, mounts, output and end. When
//! [`Isolation::run`] returns, no process of the step is alive, and every mount and placeholder
//! made for it is gone. *Does not* parse Dockerfiles, look for changes or write layers.
//!
//! Read [`enter`] first: it is called once, before the program has a second thread. The
//! [`Isolation`] it returns hides which rung is active; nothing outside this crate asks.
#![forbid(unsafe_code)]

mod confinement;
mod container;
mod defences;
mod devices;
mod emulation;
mod enter;
mod error;
mod host;
mod invocation;
mod namespaces;
mod pod;
mod stages;
mod step;

pub use confinement::{Confinement, DeviceRequest, Network, Rights};
pub use enter::{Choice, EnterOptions, Isolation, Owners, Rung, enter};
pub use error::Error;
pub use invocation::{Exit, Identity, Invocation, Mount, MountKind, Script, Stream};
pub use pod::{Capabilities, Disk, Pod, disk, memory_kills};
pub use stages::{ActiveRoot, Afterwards, Parent, StageRoots};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
