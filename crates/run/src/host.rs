//! The few things done by host path: the builder's own directories, and what the system tells.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Makes a directory of the builder and those above it, for the owner alone to write.
#[allow(clippy::disallowed_methods, reason = "a path of the host")]
pub(crate) fn make_dirs(path: &Path) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) if path.parent().is_some_and(|parent| parent != path) => {
            make_dirs(path.parent().unwrap_or(path))?;
            make_dirs(path)
        }
        Err(errno) => Err(state("make", path)(errno)),
    }
}

/// The path without links and relative parts.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf> {
    let real = path.canonicalize();
    real.map_err(|source| Error::State { action: "find", path: path.to_owned(), source })
}

/// Writes a new file of the builder with exactly this mode.
pub(crate) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::from_raw_mode(0o600))
        .map_err(state("write", path))?;
    let mut file = File::from(file);
    let written = file.write_all(bytes);
    written.map_err(|source| Error::State { action: "write", path: path.to_owned(), source })?;
    // The mode given to `open` is cut by the umask.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(state("write", path))
}

/// A small file of the system, if it can be read.
pub(crate) fn read_file(path: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    File::from(file).take(1 << 20).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// An error about a directory or file of the builder.
pub(crate) fn state<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(Errno) -> Error + 'a {
    move |errno| Error::State { action, path: path.to_owned(), source: errno.into() }
}

/// An error of a system call that should not fail.
pub(crate) fn system(action: &'static str) -> impl FnOnce(Errno) -> Error {
    move |source| Error::System { action, source }
}
