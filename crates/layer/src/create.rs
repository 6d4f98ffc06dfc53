//! Makes the file of an entry and gives it its attributes: owner, mode, attributes, times, in the
//! order in which none undoes another.

use std::fs::File;
use std::io::BufRead;
use std::os::unix::fs::FileExt;

use rootfs::{FileKind, Metadata, RootDir, RootPath, Xattrs, belongs_in_layer};
use rustix::fs::{Timespec, Timestamps};
use rustix::io::Errno;

use crate::apply::Owners;
use crate::archive::Archive;
use crate::entry::{Entry, Kind};
use crate::error::{Error, Result, shown};
use crate::parents::failed;
use crate::place::{Existing, Placer, Target};

/// Between two questions whether to stop.
const PIECE: u64 = 8 << 20;
/// As many zeros at once are left to be a hole; for fewer it is not worth one.
const HOLE: usize = 32 << 10;

impl Placer<'_> {
    pub(crate) fn make(
        &mut self,
        entry: &Entry,
        target: &Target,
        archive: &mut Archive<'_, impl BufRead>,
    ) -> Result<()> {
        match &entry.kind {
            Kind::File => self.make_file(entry, target, archive),
            Kind::Directory => self.make_directory(entry, target),
            Kind::Symlink(link) => self.make_symlink(entry, target, link),
            Kind::HardLink(link) => self.make_hard_link(entry, target, link),
            Kind::Fifo => self.make_node(entry, target, FileKind::Fifo, (0, 0)),
            Kind::CharDevice(major, minor) => {
                self.make_node(entry, target, FileKind::CharDevice, (*major, *minor))
            }
            Kind::BlockDevice(major, minor) => {
                self.make_node(entry, target, FileKind::BlockDevice, (*major, *minor))
            }
        }
    }

    /// Makes way for something that is no directory. False where that is not ours to do.
    fn make_way(&mut self, target: &Target) -> Result<bool> {
        match self.existing(target)? {
            Existing::Nothing => {}
            Existing::Mount => {
                self.protected += 1;
                return Ok(false);
            }
            Existing::Here(metadata) => self.clear(target, &metadata)?,
        }
        Ok(true)
    }

    /// The directory of the target; it was opened before and can only be gone if somebody else
    /// works in the root.
    fn directory(&mut self, target: &Target) -> Result<RootDir> {
        match self.parents.open(&target.parent)? {
            Some(parent) => Ok(parent.change().clone()),
            None => Err(self.refuse(&target.path, "its directory is gone")),
        }
    }

    fn make_file(
        &mut self,
        entry: &Entry,
        target: &Target,
        archive: &mut Archive<'_, impl BufRead>,
    ) -> Result<()> {
        // Mostly nothing is there, and the attempt says so.
        let directory = self.directory(target)?;
        let file = match directory.create_file(&target.name, 0o600) {
            Err(error) if error.is_already_exists() => {
                if !self.make_way(target)? {
                    return Ok(());
                }
                directory.create_file(&target.name, 0o600)
            }
            made => made,
        };
        let file = file.map_err(|source| failed("create", &target.path, source))?;
        self.note(&target.path);
        self.content(entry, &target.path, &file, archive)?;
        self.attributes_of_file(entry, &target.path, &directory, &file)
    }

    fn content(
        &self,
        entry: &Entry,
        path: &RootPath,
        file: &File,
        archive: &mut Archive<'_, impl BufRead>,
    ) -> Result<()> {
        let (mut end, mut asked) = (0, 0);
        archive.copy_body(&mut |offset, bytes| {
            let after = offset + bytes.len() as u64;
            if bytes.len() < HOLE || !is_zero(bytes) {
                file.write_all_at(bytes, offset).map_err(|source| failed("write", path, source))?;
                end = after;
            }
            if after - asked > PIECE {
                asked = after;
                if self.terms.stop.is_stopped() {
                    return Err(Error::Stopped);
                }
            }
            Ok(())
        })?;
        if end < entry.size {
            file.set_len(entry.size).map_err(|source| failed("write", path, source))?;
        }
        Ok(())
    }

    fn make_directory(&mut self, entry: &Entry, target: &Target) -> Result<()> {
        let is_new = match self.existing(target)? {
            Existing::Mount => {
                self.protected += 1;
                return Ok(());
            }
            Existing::Here(metadata) if metadata.kind == FileKind::Directory => false,
            Existing::Here(metadata) => {
                self.clear(target, &metadata)?;
                true
            }
            Existing::Nothing => true,
        };
        if is_new {
            let made = self.directory(target)?.create_dir(&target.name, entry.mode & 0o777);
            made.map_err(|source| failed("create", &target.path, source))?;
            self.parents.forget_links();
        }
        self.note(&target.path);
        self.attributes_of_directory(entry, &target.path, !is_new)
    }

    fn make_symlink(&mut self, entry: &Entry, target: &Target, link: &[u8]) -> Result<()> {
        let limit = self.terms.limits.link_bytes;
        if link.len() > limit {
            return Err(Error::Limit { what: "bytes of a symbolic link", limit: limit as u64 });
        }
        if link.is_empty() || link.contains(&0) {
            return Err(self.refuse(&target.path, "its target is empty or holds a NUL"));
        }
        if !self.make_way(target)? {
            return Ok(());
        }
        let made = self.directory(target)?.symlink(&target.name, link);
        made.map_err(|source| failed("create", &target.path, source))?;
        self.parents.forget_links();
        self.note(&target.path);
        self.attributes_of_name(entry, target)
    }

    /// Another name of a file that is in the root already, from this layer or a lower one.
    fn make_hard_link(&mut self, entry: &Entry, target: &Target, link: &[u8]) -> Result<()> {
        let refuse = |reason: &str| {
            let reason = format!("its target `{}` {reason}", shown(link));
            Error::Refused { path: shown(&entry.name), reason }
        };
        let inside = self.clean(link)?.ok_or_else(|| refuse("is the root"))?;
        let source = self.locate(&inside.directory, &inside.name)?;
        let source = source.ok_or_else(|| refuse("is protected"))?;
        match self.existing(&source)? {
            Existing::Nothing => return Err(refuse("does not exist")),
            Existing::Mount => return Err(refuse("is protected")),
            Existing::Here(metadata) if metadata.kind == FileKind::Directory => {
                return Err(refuse("is a directory"));
            }
            Existing::Here(metadata) => {
                let here = self.existing(target)?;
                if matches!(here, Existing::Here(here) if is_same(&here, &metadata)) {
                    self.note(&target.path);
                    return Ok(());
                }
            }
        }
        if !self.make_way(target)? {
            return Ok(());
        }
        self.directory(target)?;
        let made = self.terms.root.hard_link(&source.path, &target.path);
        made.map_err(|source| failed("link", &target.path, source))?;
        self.note(&target.path);
        Ok(())
    }

    fn make_node(
        &mut self,
        entry: &Entry,
        target: &Target,
        kind: FileKind,
        device: (u32, u32),
    ) -> Result<()> {
        if !self.make_way(target)? {
            return Ok(());
        }
        match self.directory(target)?.mknod(&target.name, kind, entry.mode, device) {
            Ok(()) => {}
            Err(error) if kind != FileKind::Fifo && error.is_permission_denied() => {
                self.warn(&target.path, "device nodes cannot be made here; it was left out");
                return Ok(());
            }
            Err(error) => return Err(failed("create", &target.path, error)),
        }
        self.note(&target.path);
        self.attributes_of_name(entry, target)
    }

    /// All attributes, through the open file.
    fn attributes_of_file(
        &mut self,
        entry: &Entry,
        path: &RootPath,
        directory: &RootDir,
        file: &File,
    ) -> Result<()> {
        let (uid, gid) = self.owner(entry);
        if self.sets_owner(path, uid, gid)? {
            directory.set_owner_of(file, path, uid, gid).map_err(|error| {
                let errno = errno_of(&error);
                owner_failed(path, uid, gid, errno, error)
            })?;
        }
        if entry.mode != 0o600 {
            let set = directory.set_mode_of(file, path, entry.mode);
            set.map_err(|source| failed("set the mode of", path, source))?;
        }
        for (name, value) in self.travelling(&entry.xattrs) {
            let set = directory.set_xattr_of(file, path, name, value).err();
            self.xattr_was_set(path, name, set.as_ref().and_then(errno_of), set)?;
        }
        let time = Timespec { tv_sec: entry.mtime.secs, tv_nsec: entry.mtime.nanos.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(file, &times).map_err(|errno| failed("set the times of", path, errno))
    }

    /// The attributes of what cannot be opened: links, devices, FIFOs.
    fn attributes_of_name(&mut self, entry: &Entry, target: &Target) -> Result<()> {
        let (path, name) = (&target.path, &target.name);
        let directory = self.directory(target)?;
        let (uid, gid) = self.owner(entry);
        if self.sets_owner(path, uid, gid)? {
            directory.set_owner(name, uid, gid).map_err(|error| {
                let errno = errno_of(&error);
                owner_failed(path, uid, gid, errno, error)
            })?;
        }
        if !matches!(entry.kind, Kind::Symlink(_)) {
            let set = directory.set_mode(name, entry.mode);
            set.map_err(|source| failed("set the mode of", path, source))?;
        }
        for (key, value) in self.travelling(&entry.xattrs) {
            let set = directory.set_xattr(name, key, value).err();
            self.xattr_was_set(path, key, set.as_ref().and_then(errno_of), set)?;
        }
        let set = directory.set_times(name, entry.mtime);
        set.map_err(|source| failed("set the times of", path, source))
    }

    /// A directory that was there before loses what attributes the entry does not have.
    pub(crate) fn attributes_of_directory(
        &mut self,
        entry: &Entry,
        path: &RootPath,
        was_there: bool,
    ) -> Result<()> {
        let root = self.terms.root;
        let (uid, gid) = self.owner(entry);
        self.set_owner_of(path, uid, gid)?;
        if was_there {
            self.drop_xattrs(path, &entry.xattrs)?;
        }
        for (key, value) in self.travelling(&entry.xattrs) {
            let set = root.set_xattr(path, key, value).err();
            self.xattr_was_set(path, key, set.as_ref().and_then(errno_of), set)?;
        }
        let open = self.parents.take_attributes(path, entry.mode, entry.mtime);
        let mode = if open { self.parents.usable(entry.mode) } else { entry.mode };
        root.set_mode(path, mode).map_err(|source| failed("set the mode of", path, source))?;
        if open {
            return Ok(());
        }
        let set = root.set_times(path, entry.mtime);
        set.map_err(|source| failed("set the times of", path, source))
    }

    /// Makes a directory look as if nobody had described it.
    pub(crate) fn make_implicit(&mut self, path: &RootPath) -> Result<()> {
        let (uid, gid) = self.implicit_owner();
        self.set_owner_of(path, uid, gid)?;
        self.drop_xattrs(path, &Xattrs::new())?;
        self.parents.keep_mode(path);
        let set = self.terms.root.set_mode(path, 0o755);
        set.map_err(|source| failed("set the mode of", path, source))
    }

    fn drop_xattrs(&self, path: &RootPath, keep: &Xattrs) -> Result<()> {
        let root = self.terms.root;
        let there = root.get_xattrs(path);
        let there = there.map_err(|source| failed("read the attributes of", path, source))?;
        for key in there.keys().filter(|key| !keep.contains_key(*key)) {
            let removed = root.remove_xattr(path, key);
            removed.map_err(|source| failed("remove an attribute of", path, source))?;
        }
        Ok(())
    }

    pub(crate) fn set_owner_of(&self, path: &RootPath, uid: u32, gid: u32) -> Result<()> {
        if !self.sets_owner(path, uid, gid)? {
            return Ok(());
        }
        self.terms.root.set_owner(path, uid, gid).map_err(|error| {
            let errno = errno_of(&error);
            owner_failed(path, uid, gid, errno, error)
        })
    }

    fn owner(&self, entry: &Entry) -> (u32, u32) {
        self.terms.owner.unwrap_or((entry.uid, entry.gid))
    }

    /// Who owns directories that no entry describes.
    pub(crate) fn implicit_owner(&self) -> (u32, u32) {
        match (self.terms.owner, self.terms.owners) {
            (Some(owner), _) => owner,
            (None, Owners::Keep) => (0, 0),
            (None, Owners::One(uid, gid)) => (uid, gid),
        }
    }

    /// Whether the owner must be set; an error where it cannot be had.
    fn sets_owner(&self, path: &RootPath, uid: u32, gid: u32) -> Result<bool> {
        match self.terms.owners {
            Owners::Keep => Ok(true),
            Owners::One(only_uid, only_gid) if (uid, gid) == (only_uid, only_gid) => Ok(false),
            Owners::One(..) => Err(Error::Owner { path: path.to_string(), uid, gid }),
        }
    }

    /// The attributes that belong to the image; the rest is the host's affair.
    fn travelling<'x>(&self, xattrs: &'x Xattrs) -> Vec<(&'x Vec<u8>, &'x Vec<u8>)> {
        xattrs.iter().filter(|(name, _)| belongs_in_layer(name)).collect()
    }

    /// An attribute that this kernel, file system or user cannot set is a warning.
    fn xattr_was_set<E>(
        &mut self,
        path: &RootPath,
        name: &[u8],
        errno: Option<Errno>,
        error: Option<E>,
    ) -> Result<()>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let Some(error) = error else { return Ok(()) };
        match errno {
            Some(
                Errno::OPNOTSUPP
                | Errno::PERM
                | Errno::ACCESS
                | Errno::NOSPC
                | Errno::TOOBIG
                | Errno::RANGE
                | Errno::INVAL,
            ) => {
                let what = format!("extended attribute `{}` cannot be set here", shown(name));
                self.warn(path, &what);
                Ok(())
            }
            _ => Err(failed("set an attribute of", path, error)),
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev, one.ino) == (other.dev, other.ino)
}

fn errno_of(error: &rootfs::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

/// A user namespace answers `EINVAL` for ids that it does not have.
fn owner_failed(
    path: &RootPath,
    uid: u32,
    gid: u32,
    errno: Option<Errno>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    match errno {
        Some(Errno::INVAL) => Error::Owner { path: path.to_string(), uid, gid },
        _ => failed("set the owner of", path, source),
    }
}
