//! What a build keeps on disk: blobs by digest, OCI layouts, docker archives, output files.
//!
//! Responsible for that nothing is visible before it is whole and verified, whatever dies when.
//! *Does not* speak to registries, and knows no roots: its paths are the host's.
//!
//! Read [`BlobStore`] first; the outputs ([`OciLayout`], [`DockerArchive`]) copy out of it. What others
//! may write to as well is a [`SharedDir`].
#![forbid(unsafe_code)]
mod error;

mod assemble;
mod blob;
mod collect;
mod docker;
mod layout;
mod lock;
mod output;
mod read;
mod saved;
mod shared;
mod verified;

pub use assemble::{Linked, remove_directory, replace_directory};
pub use blob::{BlobStore, BlobWriter};
pub use docker::DockerArchive;
pub use error::{Error, Result};
pub use layout::{LAYOUT_MARKER, OciLayout, REF_NAME, blob_path};
pub use lock::StoreLock;
pub use output::{write_output, write_private};
pub use read::{is_open_to_others, read_file};
pub use saved::{Member, SavedImage};
pub use shared::{SharedDir, SharedEntry, SharedKind, Sharing, TemporaryDir};
