//! Directories that are put together beside their place and come into it at once.
//!
//! A blob is given a further name where the file system has links, and copied where not.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use oci::Digest;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::blob::{BlobStore, create_dir_all, open_read, sync_parent};
use crate::error::{Error, Result, failed};

/// How a blob came out of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It is the same file.
    Same,
    /// It is another one: the file system has no links, or no more of them.
    Copied,
}

impl BlobStore {
    /// Gives a blob a further name at `target`, where nothing must be; directories above are made. The
    /// content is not compared again.
    pub fn link(&self, digest: &Digest, target: &Path) -> Result<Linked> {
        if let Some(parent) = target.parent() {
            create_dir_all(parent)?;
        }
        let source = self.path(digest);
        let linked = match fs::hard_link(&source, target) {
            Ok(()) => Linked::Same,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(digest.clone()));
            }
            Err(_) => {
                copy(&source, target).map_err(failed("copy to", target))?;
                Linked::Copied
            }
        };
        sync_parent(target)?;
        Ok(linked)
    }
}

fn copy(source: &Path, target: &Path) -> io::Result<()> {
    let mut from = open_read(source)?;
    let mut to = File::create_new(target)?;
    // The kernel shares the blocks where it can.
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// Puts the directory `from` in the place of whatever `to` is, at once: who opens `to` finds the one or
/// the other. What was there is removed; a link there is not followed.
pub fn replace_directory(from: &Path, to: &Path) -> Result<()> {
    let rename = |from: &Path, to: &Path, flags| {
        renameat_with(CWD, from, CWD, to, flags)
            .map_err(|errno| (errno, failed("rename to", to)(errno.into())))
    };
    let aside = || {
        let mut name = from.as_os_str().to_owned();
        name.push(".old");
        PathBuf::from(name)
    };
    let old = match rename(from, to, RenameFlags::empty()) {
        Ok(()) => None,
        Err((Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR, _)) => {
            match rename(from, to, RenameFlags::EXCHANGE) {
                Ok(()) => Some(from.to_owned()),
                // Not every file system can; for a moment there is nothing then.
                Err((Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP, _)) => {
                    let aside = aside();
                    let (old, new) = (RenameFlags::empty(), RenameFlags::empty());
                    rename(to, &aside, old).map_err(|(_, error)| error)?;
                    rename(from, to, new).map_err(|(_, error)| error)?;
                    Some(aside)
                }
                Err((_, error)) => return Err(error),
            }
        }
        Err((_, error)) => return Err(error),
    };
    sync_parent(to)?;
    old.map_or(Ok(()), |old| remove_directory(&old))
}

/// Removes a directory with all that is in it, or whatever else has this name; links are not followed.
#[expect(clippy::disallowed_methods, reason = "the store removes what it put together")]
pub fn remove_directory(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

#[cfg(test)]
mod tests {
    use testkit::ScratchRoot;

    use super::*;

    #[test]
    fn whatever_was_there_is_replaced() {
        fn check(there: &str) {
            let tree =
                format!("d 0755 /new\nf 0644 /new/a \"new\"\nf 0644 /kept \"kept\"\n{there}");
            let scratch = ScratchRoot::with(&tree);
            let path = |name: &str| scratch.path().join(name);
            replace_directory(&path("new"), &path("place")).expect("because all is ours");
            let found = crate::read_file(&path("place/a"), 3).expect("because it is the new one");
            assert_eq!(found, b"new", "{there}");
            assert!(!path("new").exists(), "{there}");
            assert_eq!(crate::read_file(&path("kept"), 4).expect("because it is"), b"kept");
        }
        check("");
        check("d 0755 /place\n");
        check("d 0755 /place\nf 0644 /place/a \"old\"\nf 0644 /place/b \"old\"\n");
        check("f 0644 /place \"old\"\n");
        check("l 0777 /place -> kept\n");
        check("l 0777 /place -> .\n");
    }

    #[test]
    fn a_blob_has_further_names() {
        let scratch = ScratchRoot::new();
        let store = BlobStore::open(&scratch.path().join("store")).expect("because it is new");
        let digest = store.put(b"content").expect("because there is room");
        let target = scratch.path().join("x/y/blob");
        assert_eq!(store.link(&digest, &target).expect("because it is there"), Linked::Same);
        assert_eq!(crate::read_file(&target, 7).expect("because it is linked"), b"content");
        let gone = Digest::sha256_of(b"gone");
        let missing = store.link(&gone, &scratch.path().join("z")).expect_err("it is not there");
        assert!(matches!(missing, Error::Missing(_)), "{missing}");

        let late = std::time::SystemTime::UNIX_EPOCH;
        let far = late + std::time::Duration::from_secs(1 << 40);
        store.put(b"alone").expect("because there is room");
        assert_eq!(store.collect_unlinked(late).expect("because it is ours"), 0);
        assert_eq!(store.collect_unlinked(far).expect("because it is ours"), 1);
        assert!(store.contains(&digest));
        remove_directory(&scratch.path().join("x")).expect("because it is ours");
        assert_eq!(store.collect_unlinked(far).expect("because it is ours"), 1);
    }
}
