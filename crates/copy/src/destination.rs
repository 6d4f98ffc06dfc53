//! The tree that is copied into, and the record of what was changed in it.
//!
//! The only place that changes the root, and the narrow door through which its state is asked. With
//! `--link` the answers are those of an empty root: what the instruction itself has made is all
//! there is, and what really is at a path gives way as it would under a stacked layer.

use std::collections::BTreeSet;

use rootfs::{ChangeSet, Metadata, Protected, RootDir, RootPath, Timestamp};

use crate::owner::Owner;
use crate::request::Copied;
use crate::resolve::{Look, follow};
use crate::{Error, Result};

/// Warnings kept of one request.
const WARNINGS: usize = 50;

/// The tree that is copied into.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    root: &'a RootDir,
    protected: &'a Protected,
    /// With `--link`: everything made so far.
    made: Option<BTreeSet<RootPath>>,
    changes: ChangeSet,
    warnings: Vec<String>,
}

impl<'a> Destination<'a> {
    pub(crate) fn new(root: &'a RootDir, protected: &'a Protected) -> Self {
        Self { root, protected, made: None, changes: ChangeSet::new(), warnings: Vec::new() }
    }

    /// The same, to be treated as an empty root.
    pub(crate) fn stacked(root: &'a RootDir, protected: &'a Protected) -> Self {
        Self { made: Some(BTreeSet::new()), ..Self::new(root, protected) }
    }

    pub(crate) fn root(&self) -> &'a RootDir {
        self.root
    }

    pub(crate) fn protected(&self) -> &'a Protected {
        self.protected
    }

    /// Whether the tree is treated as an empty root.
    pub(crate) fn is_stacked(&self) -> bool {
        self.made.is_some()
    }

    pub(crate) fn into_copied(self) -> Copied {
        Copied { changes: self.changes, warnings: self.warnings }
    }

    /// Keeps a warning for people; of very many, the first.
    pub(crate) fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS {
            self.warnings.push(warning);
        }
    }

    /// Where `path` leads to, its last link followed too; what is missing is kept as written.
    pub(crate) fn resolve(&self, path: &RootPath) -> Result<RootPath> {
        Ok(follow(self, path)?.0)
    }

    /// Records that `path` is now different. The directories above it are part of a layer too.
    pub(crate) fn changed(&mut self, path: &RootPath) {
        if path.is_root() {
            return;
        }
        if let Some(made) = &mut self.made {
            made.insert(path.clone());
        }
        self.changes.upsert(path);
        self.changed_above(path.parent());
    }

    /// Records that these names in `directory` are now different.
    pub(crate) fn changed_names(
        &mut self,
        directory: &RootPath,
        names: &[Box<[u8]>],
    ) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        if let Some(made) = &mut self.made {
            for name in names {
                made.insert(directory.join(name)?);
            }
        }
        self.changes.upsert_names(directory, names.iter().map(AsRef::as_ref));
        self.changed_above(Some(directory.clone()));
        Ok(())
    }

    fn changed_above(&mut self, mut above: Option<RootPath>) {
        // What is recorded has its directories recorded: up to there is enough.
        while let Some(directory) = above.filter(|above| !above.is_root()) {
            if self.changes.upserts(&directory) {
                return;
            }
            self.changes.upsert(&directory);
            above = directory.parent();
        }
    }

    /// Fails if nobody may write at `path`.
    pub(crate) fn permit(&self, path: &RootPath) -> Result<()> {
        if self.protected.covers(path) {
            return Err(Error::Protected { path: path.clone() });
        }
        Ok(())
    }

    /// Makes the missing directories of `path`, which holds no links.
    pub(crate) fn make_directories(
        &mut self,
        path: &RootPath,
        mode: u32,
        owner: Owner,
    ) -> Result<()> {
        for directory in path.ancestors() {
            match self.look(&directory)? {
                Some(found) if found.is_dir() => {}
                Some(_) => return Err(Error::NotDirectory { path: directory }),
                None => self.make_directory(&directory, mode, owner)?,
            }
        }
        Ok(())
    }

    /// Makes the directory `path`, where nothing is to be seen.
    pub(crate) fn make_directory(
        &mut self,
        path: &RootPath,
        mode: u32,
        owner: Owner,
    ) -> Result<()> {
        self.permit(path)?;
        let covered = if self.is_stacked() { self.root.metadata_opt(path)? } else { None };
        match covered {
            Some(found) if found.is_dir() => {}
            Some(_) => {
                self.root.remove(path)?;
                self.root.create_dir(path, mode)?;
            }
            None => self.root.create_dir(path, mode)?,
        }
        self.root.set_owner(path, owner.uid, owner.gid)?;
        self.root.set_mode(path, mode)?;
        self.changed(path);
        Ok(())
    }

    /// Makes room for something at `path` that is no directory.
    pub(crate) fn make_room(&mut self, path: &RootPath) -> Result<()> {
        self.permit(path)?;
        match self.look(path)? {
            Some(found) if found.is_dir() => Err(Error::ReplaceDirectory { path: path.clone() }),
            Some(_) => Ok(self.root.remove(path)?),
            None if self.is_stacked() => {
                let removal = self.root.remove_tree(path, self.protected)?;
                match removal.stayed.into_iter().next() {
                    Some(path) => Err(Error::Protected { path }),
                    None => Ok(()),
                }
            }
            None => Ok(()),
        }
    }

    /// Gives the directory `path` the time of its source.
    pub(crate) fn set_directory_time(&self, path: &RootPath, time: Timestamp) -> Result<()> {
        if !path.is_root() {
            self.permit(path)?;
            self.root.set_times(path, time)?;
        }
        Ok(())
    }
}

impl Look for Destination<'_> {
    fn look(&self, path: &RootPath) -> Result<Option<Metadata>> {
        let hidden = self.made.as_ref().is_some_and(|made| !path.is_root() && !made.contains(path));
        if hidden { Ok(None) } else { Ok(self.root.metadata_opt(path)?) }
    }

    fn read_link(&self, path: &RootPath) -> Result<Vec<u8>> {
        Ok(self.root.read_link(path)?)
    }
}
