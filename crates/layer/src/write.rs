//! Writes a change set as a layer, in one pass and in memory that does not grow with it.
//!
//! The order is that of the change set, every field of a header is fixed or a property of the
//! file, and nothing depends on time, threads or the machine. A file that changes while it is
//! read is an error: the digest would be that of bytes which never were a file.

use std::collections::HashMap;
use std::io::Write;

use oci::{Descriptor, DiffId, Digest, LayerRef, MediaType};
use rootfs::{
    Change, ChangeSet, FileKind, Metadata, Protected, RootDir, RootPath, Timestamp, Xattrs,
};

use crate::compress::{Compression, Encoder};
use crate::content::Content;
use crate::encode;
use crate::entry::{Entry, Kind};
use crate::error::{Error, Result, shown};
use crate::header::BLOCK;
use crate::parents::failed;
use crate::stop::StopCheck;
use crate::whiteout;

/// How a layer is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// How the tar is stored.
    pub compression: Compression,
    /// How many threads compress. The bytes do not depend on it.
    pub threads: usize,
    /// Later times become this one (seconds since 1970): `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// gzip as one member, for readers that stop after the first; slower.
    pub single_member: bool,
    /// What must not be read: a change there is an error.
    pub protected: Protected,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            epoch: None,
            single_member: false,
            protected: Protected::none(),
        }
    }
}

/// A layer that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenLayer {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The digest of the stored bytes.
    pub digest: Digest,
    /// The number of stored bytes.
    pub size: u64,
    /// The number of bytes of the tar.
    pub uncompressed_size: u64,
    /// How many entries the tar has.
    pub entries: u64,
    /// How the tar is stored.
    pub compression: Compression,
    /// Sockets, which an archive cannot hold and which were left out.
    pub sockets: Vec<RootPath>,
}

/// Writes `changes`, as `root` now has them, to `sink`.
pub fn write<W: Write>(
    root: &RootDir,
    changes: &ChangeSet,
    sink: W,
    options: &WriteOptions,
    stop: &dyn StopCheck,
) -> Result<WrittenLayer> {
    let compression = options.compression;
    let encoder = Encoder::new(sink, compression, options.threads, options.single_member)?;
    let mut writer = LayerWriter {
        root,
        options,
        stop,
        encoder,
        directory: None,
        links: HashMap::new(),
        entries: 0,
        sockets: Vec::new(),
    };
    let mut changes = changes.iter().peekable();
    while let Some(change) = changes.next() {
        if stop.is_stopped() {
            return Err(Error::Stopped);
        }
        match change {
            Change::Upsert(path) => drop(writer.upsert(&path)?),
            Change::Remove(path) => {
                let again = Change::Upsert(path.clone());
                if changes.next_if_eq(&again).is_some() {
                    writer.replace(&path)?;
                } else {
                    writer.whiteout(&path)?;
                }
            }
        }
    }
    writer.finish()
}

/// The state of one layer being written.
struct LayerWriter<'a, W: Write> {
    root: &'a RootDir,
    options: &'a WriteOptions,
    stop: &'a dyn StopCheck,
    encoder: Encoder<W>,
    /// The directory of the last change, open: changes come in the order of paths.
    directory: Option<(RootPath, RootDir)>,
    /// Files with several names: which name carries the content.
    links: HashMap<Inode, RootPath>,
    entries: u64,
    sockets: Vec<RootPath>,
}

/// Device and inode number.
type Inode = ((u32, u32), u64);

impl<W: Write> LayerWriter<'_, W> {
    /// A path that was gone and is there again. A directory must not show what it had before.
    fn replace(&mut self, path: &RootPath) -> Result<()> {
        match self.upsert(path)? {
            Some(FileKind::Directory) => self.absence(path, whiteout::OPAQUE),
            // A socket is left out, but what was there before it is gone.
            None => self.whiteout(path),
            Some(_) => Ok(()),
        }
    }

    fn whiteout(&mut self, path: &RootPath) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(unstorable(path, "the root cannot be removed"));
        };
        if name.starts_with(whiteout::PREFIX) {
            return Err(unstorable(path, "its name is that of a whiteout"));
        }
        self.absence(&parent, &[whiteout::PREFIX, name].concat())
    }

    fn absence(&mut self, parent: &RootPath, name: &[u8]) -> Result<()> {
        let mut path = parent.relative().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        self.append(&Entry {
            name: path,
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Timestamp { secs: 0, nanos: 0 },
            size: 0,
            xattrs: Xattrs::new(),
        })
    }

    /// Writes the path as it is; says what it was, or `None` if it had to be left out.
    fn upsert(&mut self, path: &RootPath) -> Result<Option<FileKind>> {
        if self.options.protected.covers(path) {
            return Err(unstorable(path, "it is protected"));
        }
        if path.components().any(|name| name.starts_with(whiteout::PREFIX)) {
            return Err(unstorable(path, "its name is that of a whiteout"));
        }
        let (directory, name) = self.locate(path)?;
        // Held open, so that all that is written of it is of one file.
        let node = directory.open_node(&name).map_err(|source| failed("open", path, source))?;
        let metadata = *node.metadata();
        if metadata.kind == FileKind::Socket {
            self.sockets.push(path.clone());
            return Ok(None);
        }
        let mut entry = self.entry(path, &metadata);
        if let Some(first) = self.first_name(path, &metadata) {
            entry.kind = Kind::HardLink(first.relative().to_vec());
            entry.size = 0;
            self.append(&entry)?;
            return Ok(Some(metadata.kind));
        }
        entry.xattrs =
            node.xattrs().map_err(|source| failed("read the attributes of", path, source))?;
        match metadata.kind {
            FileKind::File => {
                let file = node.into_file().map_err(|source| failed("open", path, source))?;
                self.append(&entry)?;
                Content { path, encoder: &mut self.encoder, stop: self.stop }
                    .copy(&metadata, file)?;
            }
            FileKind::Symlink => {
                let target =
                    node.read_link().map_err(|source| failed("read the link", path, source))?;
                entry.kind = Kind::Symlink(target);
                self.append(&entry)?;
            }
            FileKind::Directory
            | FileKind::Fifo
            | FileKind::BlockDevice
            | FileKind::CharDevice
            | FileKind::Socket => self.append(&entry)?,
        }
        Ok(Some(metadata.kind))
    }

    /// The directory that holds `path`, and its name in there.
    fn locate(&mut self, path: &RootPath) -> Result<(RootDir, RootPath)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok((self.root.clone(), RootPath::root()));
        };
        let name = RootPath::new(name).map_err(|source| failed("name", path, source))?;
        if let Some((open, directory)) = &self.directory
            && *open == parent
        {
            return Ok((directory.clone(), name));
        }
        let directory = self.root.subdir(&parent);
        let directory =
            directory.map_err(|source| failed("open the directory of", path, source))?;
        self.directory = Some((parent, directory.clone()));
        Ok((directory, name))
    }

    fn entry(&self, path: &RootPath, metadata: &Metadata) -> Entry {
        let (major, minor) = metadata.rdev;
        let kind = match metadata.kind {
            FileKind::Directory => Kind::Directory,
            FileKind::Fifo => Kind::Fifo,
            FileKind::CharDevice => Kind::CharDevice(major, minor),
            FileKind::BlockDevice => Kind::BlockDevice(major, minor),
            FileKind::Symlink => Kind::Symlink(Vec::new()),
            FileKind::File | FileKind::Socket => Kind::File,
        };
        let mut name = path.relative().to_vec();
        if kind == Kind::Directory {
            if name.is_empty() {
                name.push(b'.');
            }
            name.push(b'/');
        }
        let size = if kind == Kind::File { metadata.size } else { 0 };
        Entry {
            name,
            kind,
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: self.clamped(metadata.mtime),
            size,
            xattrs: Xattrs::new(),
        }
    }

    fn clamped(&self, mtime: Timestamp) -> Timestamp {
        match self.options.epoch {
            Some(epoch) if mtime.secs >= epoch => Timestamp { secs: epoch, nanos: 0 },
            _ => mtime,
        }
    }

    /// The name under which the content of this file already is in the layer.
    fn first_name(&mut self, path: &RootPath, metadata: &Metadata) -> Option<RootPath> {
        if metadata.nlink < 2 || metadata.kind == FileKind::Directory {
            return None;
        }
        let inode = (metadata.dev, metadata.ino);
        if let Some(first) = self.links.get(&inode) {
            return Some(first.clone());
        }
        self.links.insert(inode, path.clone());
        None
    }

    fn append(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.encoder.push(&encode::header(entry))
    }

    fn finish(mut self) -> Result<WrittenLayer> {
        self.encoder.push_zeros(2 * BLOCK as u64)?;
        let (_, encoded) = self.encoder.finish()?;
        Ok(WrittenLayer {
            diff_id: encoded.diff_id,
            digest: encoded.digest,
            size: encoded.size,
            uncompressed_size: encoded.uncompressed_size,
            entries: self.entries,
            compression: self.options.compression,
            sockets: self.sockets,
        })
    }
}

fn unstorable(path: &RootPath, reason: &'static str) -> Error {
    Error::Unstorable { path: shown(path.as_bytes()), reason }
}

impl WrittenLayer {
    /// What a manifest says of the layer, in OCI's words.
    #[must_use]
    pub fn layer_ref(&self) -> LayerRef {
        let media_type = match self.compression {
            Compression::None => MediaType::OciLayer,
            Compression::Gzip { .. } => MediaType::OciLayerGzip,
            Compression::Zstd { .. } => MediaType::OciLayerZstd,
        };
        let descriptor = Descriptor::new(media_type, self.digest.clone(), self.size);
        LayerRef { descriptor, diff_id: self.diff_id.clone() }
    }
}
