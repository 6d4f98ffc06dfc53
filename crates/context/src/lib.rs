//! The build context: a directory tree, and what of it does not exist for a build.
//!
//! Responsible for obtaining the tree and for the ignore file that goes with it. Does not parse
//! Dockerfiles and copies nothing. Whatever a context comes from, the result is the same
//! [`BuildContext`]; read that first, then [`open_directory`].

#![forbid(unsafe_code)]

mod checksum;
mod download;
mod git;
mod ignore_file;
mod local;
mod reference;
mod validator;

pub use checksum::{Checksum, ChecksumFault};
pub use download::{Download, DownloadFault, Downloaded, download};
pub use git::{Cloned, GitFault, GitSource, clone_git};
pub use ignore_file::{DockerfilePlace, FoundIgnoreFile, read_ignore_file};
pub use local::{BuildContext, open_directory, read_dockerfile};
pub use reference::remote_commit;
pub use validator::validator;

use std::path::PathBuf;

/// Why a build context cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory of a local context cannot be opened.
    #[error("cannot open the build context `{}`", path.display())]
    Open {
        /// The directory on the host.
        path: PathBuf,
        /// Why.
        source: rootfs::Error,
    },
    /// An ignore file is there but cannot be read.
    #[error("cannot read the ignore file `{path}`")]
    ReadIgnoreFile {
        /// The file: inside the context, or on the host.
        path: String,
        /// Why.
        source: rootfs::Error,
    },
    /// An ignore file holds something that is no pattern.
    #[error("error in the ignore file `{path}`{}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    IgnoreFile {
        /// The file: inside the context, or on the host.
        path: String,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong there.
        source: glob::Error,
    },
    /// The Dockerfile cannot be read.
    #[error("cannot read the Dockerfile `{path}`")]
    ReadDockerfile {
        /// The file: inside the context, or on the host.
        path: String,
        /// Why.
        source: rootfs::Error,
    },
    /// A file cannot be downloaded.
    #[error("cannot download `{url}`")]
    Download {
        /// The address, without what may be secret.
        url: String,
        /// Why.
        source: Box<DownloadFault>,
    },
    /// A repository's files cannot be had.
    #[error("cannot clone `{remote}`")]
    Git {
        /// The address, without what may be secret.
        remote: String,
        /// Why.
        source: Box<GitFault>,
    },
    /// A path on the host that names no file.
    #[error("`{}` does not name a file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
