//! Which ignore file a build uses, and its contents.
//!
//! `<Dockerfile>.dockerignore` beside the Dockerfile, if it is there, replaces the context's own
//! `.dockerignore`, even when it is empty. A file that is there but cannot be read is an error:
//! taking it for absent would ship what it excludes.

use std::path::{Path, PathBuf};

use glob::IgnoreFile;
use rootfs::{RootDir, RootPath};

use crate::{Error, Result};

/// Larger than any list a person or a generator writes.
const SIZE_LIMIT: u64 = 4 << 20;

/// Where the Dockerfile of a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfilePlace {
    /// Inside the context.
    Context(RootPath),
    /// On the host, outside the context or not.
    Host(PathBuf),
    /// Nowhere in a file system: it came from a URL or as text, and no file lies beside it.
    Elsewhere,
}

/// An ignore file that was found.
#[derive(Debug, Clone)]
pub struct FoundIgnoreFile {
    /// Its patterns.
    pub ignore: IgnoreFile,
    /// Its path, for people: inside the context, or on the host.
    pub path: String,
}

/// A file in some root.
pub(crate) struct Place {
    pub(crate) root: RootDir,
    pub(crate) path: RootPath,
    /// The path for people.
    pub(crate) shown: String,
}

/// The ignore file of a build with this context and Dockerfile, if there is one.
pub fn read_ignore_file(
    context: &RootDir,
    dockerfile: &DockerfilePlace,
) -> Result<Option<FoundIgnoreFile>> {
    if let Some(place) = locate(context, dockerfile)?
        && let Some(beside) = beside(&place)?
        && let Some(found) = read(&beside)?
    {
        return Ok(Some(found));
    }
    let path = inside(".dockerignore", ".dockerignore")?;
    read(&Place { root: context.clone(), path, shown: ".dockerignore".to_owned() })
}

/// The Dockerfile as a file in a root.
pub(crate) fn locate(context: &RootDir, dockerfile: &DockerfilePlace) -> Result<Option<Place>> {
    match dockerfile {
        DockerfilePlace::Context(path) => Ok(Some(Place {
            root: context.clone(),
            path: path.clone(),
            shown: path.to_string().trim_start_matches('/').to_owned(),
        })),
        DockerfilePlace::Host(path) => on_host(path).map(Some),
        DockerfilePlace::Elsewhere => Ok(None),
    }
}

fn on_host(path: &Path) -> Result<Place> {
    let no_file = || Error::NoFile { path: path.to_owned() };
    let name = path.file_name().ok_or_else(no_file)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let shown = path.display().to_string();
    let failed = |source| Error::ReadDockerfile { path: shown.clone(), source };
    let root = RootDir::open(directory).map_err(failed)?;
    let path = RootPath::new(name.as_encoded_bytes()).map_err(failed)?;
    Ok(Place { root, path, shown })
}

/// `<Dockerfile>.dockerignore`, whether it exists or not.
fn beside(dockerfile: &Place) -> Result<Option<Place>> {
    let (Some(parent), Some(name)) = (dockerfile.path.parent(), dockerfile.path.file_name()) else {
        return Ok(None);
    };
    let shown = format!("{}.dockerignore", dockerfile.shown);
    let path = parent.join([name, b".dockerignore"].concat());
    let path = path.map_err(|source| Error::ReadIgnoreFile { path: shown.clone(), source })?;
    Ok(Some(Place { root: dockerfile.root.clone(), path, shown }))
}

fn inside(path: &str, shown: &str) -> Result<RootPath> {
    RootPath::new(path).map_err(|source| Error::ReadIgnoreFile { path: shown.to_owned(), source })
}

fn read(place: &Place) -> Result<Option<FoundIgnoreFile>> {
    let text = || {
        if place.root.metadata_opt(&place.path)?.is_none() {
            return Ok(None);
        }
        // A link is followed inside its root; one that leads nowhere there is an error.
        place.root.read(&place.root.resolve(&place.path)?, SIZE_LIMIT).map(Some)
    };
    let path = place.shown.clone();
    let Some(text) = text().map_err(|source| Error::ReadIgnoreFile { path, source })? else {
        return Ok(None);
    };
    let ignore = IgnoreFile::parse(&text).map_err(|source| Error::IgnoreFile {
        path: place.shown.clone(),
        line: source.line(),
        source,
    })?;
    Ok(Some(FoundIgnoreFile { ignore, path: place.shown.clone() }))
}
