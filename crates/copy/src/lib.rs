//! COPY and ADD: files from one tree into another, by BuildKit's rules.
//!
//! Responsible for which files a source names, where they land, what they replace and which
//! owner, mode and times they get; the answer is the exact list of changes a layer is written
//! from. Does not download, does not parse Dockerfiles, and knows no image formats but the
//! archives that ADD unpacks (through `layer`). Read [`CopyRequest`] first, then [`copy`];
//! [`identify`] tells what a copy would hold without making it, by the same selection.
//!
//! Nothing outside the two roots is ever read or written: every path is resolved inside its root,
//! link by link, and every file operation goes through [`rootfs::RootDir`].

#![forbid(unsafe_code)]

mod archive;
mod batch;
mod destination;
mod error;
mod file;
mod identify;
mod identity;
mod listing;
mod mode;
mod owner;
mod reading;
mod request;
mod resolve;
mod select;
mod source;
mod threads;
mod tree;
mod walk;

pub use error::Error;
pub use identify::{IdentifyRequest, identify};
pub use identity::SourceIdentity;
pub use listing::FileIdentity;
pub use mode::ModeChange;
pub use owner::{Owner, Ownership};
pub use request::{Copied, CopyRequest, Instruction, Item, Origin, Tree, copy};

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
