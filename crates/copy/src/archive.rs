//! ADD of a local archive: unpacked into the destination instead of copied.
//!
//! What is an archive is decided by content, never by name; anything else, a compressed file that
//! is no tar included, is copied as the file it is. `--chmod` and `--exclude` mean nothing here,
//! `--chown` applies to every entry.

use layer::UnpackOptions;
use rootfs::{Protected, RootDir, RootPath};

use crate::destination::Destination;
use crate::request::Rules;
use crate::{Error, Result};

/// Whether ADD unpacks the regular file at `path`.
pub(crate) fn is_archive(source: &RootDir, path: &RootPath) -> Result<bool> {
    Ok(layer::is_archive(source.open_file(path)?))
}

/// Unpacks the archive at `from` into the directory `to`, which exists.
///
/// The destination is all an archive can reach: its links are resolved inside it, as in BuildKit,
/// which unpacks with the destination as its root.
pub(crate) fn unpack(
    source: &RootDir,
    from: &RootPath,
    to: &RootPath,
    destination: &mut Destination<'_>,
    rules: &Rules<'_>,
) -> Result<()> {
    destination.permit(to)?;
    let below = |path: &RootPath| path.strip_prefix(to).map(RootPath::new).transpose();
    let mut protected = Protected::none();
    for path in destination.protected().iter() {
        if let Some(path) = below(path)? {
            protected.insert(path);
        }
    }
    let options = UnpackOptions {
        owner: rules.owner.map(|owner| (owner.uid, owner.gid)),
        protected,
        ..UnpackOptions::default()
    };
    let archive = source.open_file(from)?;
    let inside = destination.root().subdir(to)?;
    let top = RootPath::root();
    let unpacked = layer::unpack(&inside, &top, archive, &options, &|| rules.is_stopped());
    let unpacked = match unpacked {
        Ok(unpacked) => unpacked,
        Err(_) if rules.is_stopped() => return Err(Error::Stopped),
        Err(error) => {
            return Err(Error::Archive { path: from.clone(), source: Box::new(error) });
        }
    };
    for change in unpacked.changes.iter() {
        destination.changed(&to.join(change.path().relative())?);
    }
    for warning in unpacked.warnings {
        destination.warn(format!("`{from}`: {warning}"));
    }
    Ok(())
}
