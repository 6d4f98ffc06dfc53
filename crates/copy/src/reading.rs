//! What of a file counts for the identity of a source, read by the batch.

use blake3::Hash;
use rootfs::{FileKind, Metadata, OpenDirectory, RootDir, RootPath, Xattrs, read_file_contents};

use crate::archive::is_archive;
use crate::identity::{Domain, Entry, EntryHasher, Inode, Role};
use crate::threads::Work;
use crate::{Error, Result};

/// Files of one directory.
pub(crate) struct Batch<'a> {
    /// The source they are of, by its number.
    pub(crate) source: usize,
    pub(crate) root: &'a RootDir,
    pub(crate) keeps_owners: bool,
    pub(crate) directory: RootPath,
    /// The directory that the source names, if they are below it; else it names them themselves.
    pub(crate) top: Option<RootPath>,
    /// As what the directory itself counts, if it does.
    pub(crate) itself: Option<Role>,
    pub(crate) names: Vec<Name>,
}

/// A file of a directory.
pub(crate) struct Name {
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: FileKind,
    /// If a source names it: the name of its copy, and whether an archive is unpacked.
    pub(crate) named: Option<Box<(Vec<u8>, bool)>>,
}

/// What came of a batch.
pub(crate) struct Done {
    pub(crate) source: usize,
    pub(crate) top: Option<RootPath>,
    pub(crate) entries: Vec<Entry>,
}

/// Reads files.
pub(crate) struct Reading<'a> {
    pub(crate) domain: &'a Domain,
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Work for Reading<'a> {
    type Batch = Batch<'a>;
    type Done = Done;

    fn work(&self, batch: Batch<'a>) -> Result<Done> {
        let directory = batch.root.directory(&batch.directory)?;
        let mut entries = Vec::with_capacity(batch.names.len() + 1);
        let below = match &batch.top {
            Some(top) => batch.directory.strip_prefix(top).unwrap_or_default(),
            None => &[],
        };
        if let Some(role) = batch.itself {
            entries.push(self.directory(&directory, role, below, batch.keeps_owners)?);
        }
        let mut buffer = Vec::new();
        for name in &batch.names {
            if (self.stop)() {
                return Err(Error::Stopped);
            }
            entries.push(match &name.named {
                Some(named) => self.named(&batch, &directory, name, named, &mut buffer)?,
                None => {
                    let slash: &[u8] = if below.is_empty() { b"" } else { b"/" };
                    let relative = [below, slash, &name.name].concat();
                    let entry = self.domain.entry(Role::Below).framed(&relative);
                    let file = File { name, keeps_owner: batch.keeps_owners };
                    let (hash, inode) = self.file(&directory, &file, entry, &mut buffer)?;
                    Entry { role: Role::Below, relative, is_dir: false, hash, inode, at: None }
                }
            });
        }
        Ok(Done { source: batch.source, top: batch.top, entries })
    }
}

/// A file that is read, and what of it counts.
struct File<'n> {
    name: &'n Name,
    keeps_owner: bool,
}

impl Reading<'_> {
    fn directory(
        &self,
        directory: &OpenDirectory,
        role: Role,
        below: &[u8],
        keeps_owner: bool,
    ) -> Result<Entry> {
        let entry = self.domain.entry(role).framed(below);
        let entry = match role {
            // Only what is in it is copied.
            Role::Contents => entry,
            _ => entry.metadata(directory.metadata(), &directory.xattrs()?, keeps_owner),
        };
        let (relative, hash) = (below.to_vec(), entry.finish());
        Ok(Entry { role, relative, is_dir: true, hash, inode: None, at: None })
    }

    /// A file that a source names.
    fn named(
        &self,
        batch: &Batch<'_>,
        directory: &OpenDirectory,
        name: &Name,
        (called, unpack): &(Vec<u8>, bool),
        buffer: &mut Vec<u8>,
    ) -> Result<Entry> {
        let path = batch.directory.join(&name.name)?;
        let (role, hash) = if name.kind == FileKind::Socket {
            // Is not copied, but is one source more.
            (Role::File, self.domain.entry(Role::File).kind(FileKind::Socket).finish())
        } else if *unpack && name.kind == FileKind::File && is_archive(batch.root, &path)? {
            let content = self.content(directory, &name.name, buffer)?.0;
            (Role::Archive, self.domain.entry(Role::Archive).hash(&content).finish())
        } else {
            let entry = self.domain.entry(Role::File).framed(called);
            let file = File { name, keeps_owner: batch.keeps_owners };
            (Role::File, self.file(directory, &file, entry, buffer)?.0)
        };
        let relative = called.clone();
        Ok(Entry { role, relative, is_dir: false, hash, inode: None, at: Some(path) })
    }

    /// All that a copy has of a file, added to `entry`; and what the file is known by if it has
    /// several names.
    fn file(
        &self,
        directory: &OpenDirectory,
        file: &File<'_>,
        entry: EntryHasher,
        buffer: &mut Vec<u8>,
    ) -> Result<(Hash, Option<Inode>)> {
        let name = &file.name.name;
        if file.name.kind == FileKind::File {
            let (content, metadata, attributes) = self.content(directory, name, buffer)?;
            let entry = entry.metadata(&metadata, &attributes, file.keeps_owner).hash(&content);
            let inode = (metadata.nlink > 1).then_some((metadata.dev, metadata.ino));
            return Ok((entry.finish(), inode));
        }
        let metadata = directory.metadata_of(name)?;
        let attributes = directory.xattrs_of(name, metadata.kind)?;
        let entry = entry.metadata(&metadata, &attributes, file.keeps_owner);
        let entry = match metadata.kind {
            FileKind::Symlink => entry.framed(&directory.read_link(name)?),
            FileKind::BlockDevice | FileKind::CharDevice => entry.device(metadata.rdev),
            FileKind::File | FileKind::Directory | FileKind::Fifo | FileKind::Socket => entry,
        };
        Ok((entry.finish(), None))
    }

    /// The hash of a regular file's content, and what was known of the file meanwhile.
    fn content(
        &self,
        directory: &OpenDirectory,
        name: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(Hash, Metadata, Xattrs)> {
        let (file, metadata) = directory.open_regular(name)?;
        let mut content = blake3::Hasher::new();
        let mut each = |piece: &[u8]| {
            content.update(piece);
        };
        match read_file_contents(file.file(), &metadata, buffer, &mut each, self.stop) {
            Ok(()) => Ok((content.finalize(), metadata, file.xattrs()?)),
            Err(rootfs::Error::Stopped) => Err(Error::Stopped),
            Err(rootfs::Error::Content { action, source }) => {
                Err(Error::Content { action, path: file.path()?, source })
            }
            Err(source) => Err(Error::Changed { path: file.path()?, source }),
        }
    }
}
