//! Files that a build leaves for others: digest files, archives. Whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::blob::sync_parent;
use crate::error::{Result, failed};

/// Writes `bytes` to the file at `path`; missing directories above it are made.
///
/// A regular file is replaced at once or not at all. What cannot be replaced (a FIFO, a device, a
/// file that is a mount point such as a pod's termination log) is written to as it is.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<()> {
    Output::create(path)?.finish(|file| file.write_all(bytes))
}

/// The same for what nobody else may read (mode 0600), whatever the mode of the file before it.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    Output::create_with(path, 0o600)?.finish(|file| file.write_all(bytes))
}

/// An output file being written.
pub(crate) struct Output {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    /// Written beside its place, then renamed.
    Replace(File, PathBuf),
    /// Written into what is there.
    InPlace(File),
}

impl Output {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Self::create_with(path, 0o644)
    }

    fn create_with(path: &Path, mode: u32) -> Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(parent).map_err(failed("create", parent))?;
        }
        // A link is followed: the file it names is what the user asked for.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let special = fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file());
        if special {
            let file = open_in_place(&path).map_err(failed("open", &path))?;
            return Ok(Self { path, kind: Kind::InPlace(file) });
        }
        let kind = match create_beside(&path, mode) {
            Ok((file, temporary)) => Kind::Replace(file, temporary),
            // A directory where nothing can be made may still hold a file that can be written.
            Err(error) if path.exists() => {
                Kind::InPlace(open_in_place(&path).map_err(|_| failed("create", &path)(error))?)
            }
            Err(error) => return Err(failed("create", &path)(error)),
        };
        Ok(Self { path, kind })
    }

    /// Lets `write` fill the file and puts it in its place.
    pub(crate) fn finish(self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        let path = self.path;
        let (mut file, temporary) = match self.kind {
            Kind::InPlace(mut file) => {
                return write(&mut file)
                    .and_then(|()| sync_if_possible(&file))
                    .map_err(failed("write", &path));
            }
            Kind::Replace(file, temporary) => (file, Temporary(temporary)),
        };
        write(&mut file).and_then(|()| file.sync_all()).map_err(failed("write", &path))?;
        match fs::rename(&temporary.0, &path) {
            Ok(()) => sync_parent(&path),
            // A file that is mounted cannot be replaced, only written to.
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                copy_into(&temporary.0, &path).map_err(failed("write", &path))
            }
            Err(error) => Err(failed("rename to", &path)(error)),
        }
    }
}

/// Removed when dropped; after a rename there is nothing left of that name.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn create_beside(path: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    for attempt in 0..1000 {
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{attempt}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).mode(mode).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn open_in_place(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).truncate(true).open(path)
}

fn copy_into(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = crate::blob::open_read(from)?;
    let mut target = open_in_place(to)?;
    io::copy(&mut source, &mut target)?;
    sync_if_possible(&target)
}

/// A pipe or a terminal has nothing to sync.
fn sync_if_possible(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}
