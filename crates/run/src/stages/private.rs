//! Stages in directories of their own: `<build>/stages/<n>/rootfs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rootfs::{AttributeTable, Protected, RootDir, RootPath};

use super::{ActiveRoot, Parent, Place, tree};
use crate::{Error, Result, host};

/// The directory that holds them.
#[derive(Debug)]
pub(super) struct Private {
    path: PathBuf,
    dir: RootDir,
}

impl Private {
    pub(super) fn new(build_dir: &Path, table: Option<&Arc<AttributeTable>>) -> Result<Self> {
        let path = build_dir.join("stages");
        host::make_dirs(&path)?;
        let dir = RootDir::open(&path)?;
        let dir = table.map_or(Ok(dir.clone()), |table| dir.clone().with_table(table))?;
        Ok(Self { path, dir })
    }

    pub(super) fn activate(&self, stage: usize) -> Result<ActiveRoot> {
        let name = name(stage)?;
        let root = name.join("rootfs")?;
        if !self.dir.exists(&root)? {
            self.make_place(stage)?;
            self.dir.create_dir(&root, 0o755)?;
            // Whatever the umask and the mode of the directory around it are.
            self.dir.set_mode(&root, 0o755)?;
        }
        let dir = self.dir.subdir(&root)?;
        let directory = self.path.join(stage.to_string());
        Ok(ActiveRoot { dir, protected: Protected::none(), place: Place::Private { directory } })
    }

    pub(super) fn adopt(&self, from: usize, new: usize, parent: Parent) -> Result<()> {
        let source = name(from)?.join("rootfs")?;
        let target = name(new)?.join("rootfs")?;
        if !self.dir.exists(&source)? {
            return Err(Error::NoStage { stage: from });
        }
        self.make_place(new)?;
        match parent {
            Parent::Finished => Ok(self.dir.rename(&source, &target)?),
            Parent::StillNeeded => {
                self.dir.create_dir(&target, 0o700)?;
                Ok(tree::copy(&self.dir.subdir(&source)?, &self.dir.subdir(&target)?)?)
            }
        }
    }

    pub(super) fn read(&self, stage: usize) -> Result<RootDir> {
        let root = name(stage)?.join("rootfs")?;
        match self.dir.exists(&root)? {
            true => Ok(self.dir.subdir(&root)?),
            false => Err(Error::NoStage { stage }),
        }
    }

    pub(super) fn release(&self, stage: usize) -> Result<()> {
        let name = name(stage)?;
        if self.dir.exists(&name)? {
            self.dir.remove_tree(&name, &Protected::none())?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        self.dir.remove_contents(&RootPath::root(), &Protected::none())?;
        Ok(())
    }

    fn make_place(&self, stage: usize) -> Result<()> {
        let name = name(stage)?;
        if !self.dir.exists(&name)? {
            // A root may hold setuid programs; other users of the machine must not reach them.
            self.dir.create_dir(&name, 0o700)?;
        }
        Ok(())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // A build that failed leaves no roots either; its error is the one to tell.
        let _ = self.dir.remove_contents(&RootPath::root(), &Protected::none());
    }
}

fn name(stage: usize) -> Result<RootPath> {
    Ok(RootPath::new(stage.to_string())?)
}
