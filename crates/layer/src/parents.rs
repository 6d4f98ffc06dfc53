//! The directories that entries are being made in, kept open, and put in order when left.
//!
//! Making a file changes the time of its directory. Instead of remembering the time of every
//! directory until the end, the time is read when a directory is opened to make something in it,
//! and set again when it is closed. Only some directories are open at once, so memory and
//! descriptors are bounded, and an archive in the usual order closes each directory once.

use std::collections::HashMap;

use rootfs::{FileKind, Metadata, RootDir, RootPath, Timestamp};

use crate::error::{Error, Result};

/// Directories open at once.
const OPEN: usize = 64;
/// What the owner of a directory needs to make files in it.
const OWNER: u32 = 0o700;

/// An open directory.
pub(crate) struct Parent {
    pub(crate) dir: RootDir,
    pub(crate) mount_id: Option<u64>,
    mtime: Timestamp,
    /// The mode to give back: an ordinary user needs rights of its own while making files.
    mode: Option<u32>,
    /// Whether something was changed in it.
    dirty: bool,
    used: u64,
}

/// The open directories, by their resolved path.
pub(crate) struct Parents<'a> {
    root: &'a RootDir,
    open: HashMap<RootPath, Parent>,
    clock: u64,
    /// Whether the kernel asks us for rights.
    restricted: bool,
    /// The last path that was resolved, and where it led.
    last: Option<(RootPath, RootPath)>,
}

impl<'a> Parents<'a> {
    pub(crate) fn new(root: &'a RootDir) -> Self {
        let restricted = !rustix::process::geteuid().is_root();
        Self { root, open: HashMap::new(), clock: 0, restricted, last: None }
    }

    /// Where `path` leads inside the root; a tail that is missing stays as written.
    pub(crate) fn resolve(&mut self, path: &RootPath) -> Result<RootPath> {
        if let Some((asked, found)) = &self.last
            && asked == path
        {
            return Ok(found.clone());
        }
        let found =
            self.root.resolve_existing(path).map_err(|source| failed("reach", path, source))?;
        self.last = Some((path.clone(), found.clone()));
        Ok(found)
    }

    /// Opens the directory at the resolved `path`. `None` if nothing is there.
    pub(crate) fn open(&mut self, path: &RootPath) -> Result<Option<&mut Parent>> {
        self.clock += 1;
        if !self.open.contains_key(path) {
            let Some(parent) = self.enter(path)? else { return Ok(None) };
            if self.open.len() >= OPEN {
                self.close_oldest()?;
            }
            self.open.insert(path.clone(), parent);
        }
        let mut parent = self.open.get_mut(path);
        if let Some(parent) = &mut parent {
            parent.used = self.clock;
        }
        Ok(parent)
    }

    fn enter(&mut self, path: &RootPath) -> Result<Option<Parent>> {
        let found =
            self.root.metadata_opt(path).map_err(|source| failed("inspect", path, source))?;
        let Some(metadata) = found else { return Ok(None) };
        if metadata.kind != FileKind::Directory {
            let reason = "it lies below something that is no directory".to_owned();
            return Err(Error::Refused { path: path.to_string(), reason });
        }
        let mode = self.make_usable(path, &metadata)?;
        let dir = self.root.subdir(path).map_err(|source| failed("open", path, source))?;
        let (mtime, mount_id) = (metadata.mtime, metadata.mount_id);
        Ok(Some(Parent { dir, mount_id, mtime, mode, dirty: false, used: self.clock }))
    }

    fn make_usable(&self, path: &RootPath, metadata: &Metadata) -> Result<Option<u32>> {
        if !self.restricted || metadata.mode & OWNER == OWNER {
            return Ok(None);
        }
        let usable = metadata.mode | OWNER;
        self.root.set_mode(path, usable).map_err(|source| failed("open", path, source))?;
        Ok(Some(metadata.mode))
    }

    /// Whether the directory is open, and its time and mode therefore set when it is closed.
    pub(crate) fn take_attributes(&mut self, path: &RootPath, mode: u32, mtime: Timestamp) -> bool {
        let restricted = self.restricted;
        let Some(parent) = self.open.get_mut(path) else { return false };
        parent.mtime = mtime;
        parent.dirty = true;
        parent.mode = (restricted && mode & OWNER != OWNER).then_some(mode);
        true
    }

    /// The directory was given a mode that can be worked with: nothing is to be given back.
    pub(crate) fn keep_mode(&mut self, path: &RootPath) {
        if let Some(parent) = self.open.get_mut(path) {
            parent.mode = None;
        }
    }

    /// A mode with which an open directory can still be worked in.
    pub(crate) fn usable(&self, mode: u32) -> u32 {
        if self.restricted { mode | OWNER } else { mode }
    }

    /// Forgets what is at and below a path that is gone, and where links led.
    pub(crate) fn forget(&mut self, path: &RootPath) {
        self.last = None;
        self.open.retain(|open, _| !open.starts_with(path));
    }

    /// Forgets where paths led: something on the way may lead elsewhere now.
    pub(crate) fn forget_links(&mut self) {
        self.last = None;
    }

    /// Closes all directories.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.last = None;
        let mut open: Vec<_> = self.open.drain().collect();
        // What is deepest first: giving back a mode may take the rights to go below.
        open.sort_by(|(a, _), (b, _)| b.cmp(a));
        open.into_iter().try_for_each(|(path, parent)| leave(&path, &parent))
    }

    fn close_oldest(&mut self) -> Result<()> {
        // One whose mode is to be given back stays: there may be more to come below it.
        let closable = self.open.iter().filter(|(_, parent)| parent.mode.is_none());
        let oldest = closable.min_by_key(|(_, parent)| parent.used);
        let Some(path) = oldest.map(|(path, _)| path.clone()) else { return Ok(()) };
        match self.open.remove(&path) {
            Some(parent) => leave(&path, &parent),
            None => Ok(()),
        }
    }
}

impl Parent {
    /// Says that something in the directory is about to change.
    pub(crate) fn change(&mut self) -> &RootDir {
        self.dirty = true;
        &self.dir
    }
}

fn leave(path: &RootPath, parent: &Parent) -> Result<()> {
    let here = RootPath::root();
    if parent.dirty {
        let set = parent.dir.set_times(&here, parent.mtime);
        set.map_err(|source| failed("set the times of", path, source))?;
    }
    // Last: it may take the rights to do anything else.
    if let Some(mode) = parent.mode {
        let set = parent.dir.set_mode(&here, mode);
        set.map_err(|source| failed("set the mode of", path, source))?;
    }
    Ok(())
}

/// For `map_err`.
pub(crate) fn failed(
    action: &'static str,
    path: &RootPath,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Root { action, path: path.to_string(), source: Box::new(source) }
}
