//! A context that is a directory of this machine, and the Dockerfile that goes with it.

use std::path::Path;

use glob::IgnoreFile;
use rootfs::RootDir;

use crate::ignore_file::{DockerfilePlace, locate, read_ignore_file};
use crate::{Error, Result};

/// A Dockerfile of this size is no Dockerfile.
const DOCKERFILE_LIMIT: u64 = 64 << 20;

/// What COPY and ADD read from.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// The tree.
    pub root: RootDir,
    /// What of the tree does not exist for the build.
    pub ignore: IgnoreFile,
    /// The ignore file that was used, for people: inside the context, or on the host.
    pub ignore_file: Option<String>,
    /// Where the context comes from, for people.
    pub description: String,
}

impl BuildContext {
    /// A tree that is already there, with the ignore file that belongs to it.
    pub fn new(root: RootDir, dockerfile: &DockerfilePlace, description: String) -> Result<Self> {
        let found = read_ignore_file(&root, dockerfile)?;
        let (ignore, ignore_file) = match found {
            Some(found) => (found.ignore, Some(found.path)),
            None => (IgnoreFile::default(), None),
        };
        Ok(Self { root, ignore, ignore_file, description })
    }
}

/// Opens the directory `path` of this machine as a build context.
pub fn open_directory(path: &Path, dockerfile: &DockerfilePlace) -> Result<BuildContext> {
    let root =
        RootDir::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    BuildContext::new(root, dockerfile, path.display().to_string())
}

/// The text of the Dockerfile. An ignore file that excludes it hides it from COPY, not from here.
pub fn read_dockerfile(context: &RootDir, dockerfile: &DockerfilePlace) -> Result<Vec<u8>> {
    let Some(place) = locate(context, dockerfile)? else { return Ok(Vec::new()) };
    let read = || place.root.read(&place.root.resolve(&place.path)?, DOCKERFILE_LIMIT);
    read().map_err(|source| Error::ReadDockerfile { path: place.shown, source })
}
