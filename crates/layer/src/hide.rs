//! What whiteouts remove: all that lower layers have at a path, and nothing that this one made.

use rootfs::{FileKind, RootPath};

use crate::error::Result;
use crate::parents::failed;
use crate::place::{Meaning, Placer};

impl Placer<'_> {
    /// A whiteout: `name` in `directory` is gone.
    pub(crate) fn hide(&mut self, directory: &RootPath, name: &[u8]) -> Result<()> {
        let Some(target) = self.locate(directory, name)? else {
            self.protected += 1;
            return Ok(());
        };
        // Opened for its time, which the removal must not move.
        if self.open_for_removal(&target.parent)? {
            self.hide_path(&target.path)?;
        }
        Ok(())
    }

    /// An opaque whiteout: all that was in `directory` is gone.
    pub(crate) fn hide_all(&mut self, directory: &RootPath) -> Result<()> {
        let logical = self.terms.dest.join(directory.relative());
        let logical = logical.map_err(|source| failed("name", directory, source))?;
        let path = self.parents.resolve(&logical)?;
        if self.terms.protected.covers(&path) {
            self.protected += 1;
            return Ok(());
        }
        self.hide_children(&path)
    }

    /// Whether the directory is there and ours.
    fn open_for_removal(&mut self, directory: &RootPath) -> Result<bool> {
        let mount_id = self.mount_id;
        let Some(parent) = self.parents.open(directory)? else { return Ok(false) };
        if parent.mount_id != mount_id {
            self.protected += 1;
            return Ok(false);
        }
        parent.change();
        Ok(true)
    }

    /// Removes what is at `path` but for what this layer made.
    fn hide_path(&mut self, path: &RootPath) -> Result<()> {
        let Meaning::Layer(made) = &self.meaning else { return Ok(()) };
        let (made_itself, made_below) = (made.contains(path), made.has_below(path));
        if !made_itself && !made_below {
            self.parents.forget(path);
            // What is protected stays, and that is right.
            let removed = self.terms.root.remove_tree(path, self.terms.protected);
            return removed.map(drop).map_err(|source| failed("remove", path, source));
        }
        let metadata = self.terms.root.metadata_opt(path);
        let metadata = metadata.map_err(|source| failed("inspect", path, source))?;
        if metadata.is_none_or(|metadata| metadata.kind != FileKind::Directory) {
            return Ok(());
        }
        if self.terms.protected.covers(path) {
            return Ok(());
        }
        self.hide_children(path)?;
        if !made_itself {
            // The directory is there only because this layer has something in it.
            self.make_implicit(path)?;
        }
        Ok(())
    }

    fn hide_children(&mut self, directory: &RootPath) -> Result<()> {
        if !self.open_for_removal(directory)? {
            return Ok(());
        }
        let names = self.terms.root.read_dir(directory);
        for entry in names.map_err(|source| failed("list", directory, source))? {
            let path = directory.join(&entry.name);
            self.hide_path(&path.map_err(|source| failed("name", directory, source))?)?;
            self.open_for_removal(directory)?;
        }
        Ok(())
    }
}
