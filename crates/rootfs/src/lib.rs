//! Safe access to one directory tree: an image root, a build context, the tree of a stage.
//!
//! Responsible for every open, create, rename and remove inside such a tree. All of them go
//! through one directory descriptor and cannot leave it, whatever links the tree holds.
//! *Does not* know tar, layers, ignore files or Dockerfiles.
//!
//! Read [`RootPath`] first (a path inside a root, never a host path), then [`RootDir`].
#![forbid(unsafe_code)]

mod accounts;
mod attributes;
mod change;
mod content;
mod create;
mod dir;
mod entry;
mod error;
mod metadata;
mod names;
mod node;
mod opened;
mod path;
mod protected;
mod queue;
mod remove;
mod resolve;
mod table;
mod walk;
mod xattr;

pub use accounts::{Account, Accounts, Group, User};
pub use change::{Change, ChangeSet};
pub use content::{CopyRoute, copy_file_contents, read_file_contents};
pub use dir::{DirEntry, RootDir};
pub use error::Error;
pub use metadata::{FileKind, Metadata, Timestamp};
pub use node::OpenNode;
pub use opened::{OpenDirectory, OpenFile};
pub use path::RootPath;
pub use protected::Protected;
pub use remove::Removal;
pub use resolve::Engine;
pub use table::AttributeTable;
pub use walk::{Flow, Order, VisitDirectories, WalkEntry, WalkOptions, walk, walk_directories};
pub use xattr::{Xattrs, belongs_in_layer};

/// The result of an operation in a root.
pub type Result<T, E = Error> = std::result::Result<T, E>;
