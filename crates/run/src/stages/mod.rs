//! The roots of a build's stages.
//!
//! On private rungs each stage has a directory of its own. In place they take turns in `/`, and
//! the others are parked. The caller sees no difference, but that in place one stage is active at
//! a time.

mod in_place;
mod private;
pub(crate) mod tree;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rootfs::{AttributeTable, Protected, RootDir, RootPath};

use crate::{Result, host};

use in_place::InPlace;
use private::Private;

/// The root that steps of one stage work on.
#[derive(Clone, Debug)]
pub struct ActiveRoot {
    /// The tree.
    pub dir: RootDir,
    /// What in it is not the image's.
    pub protected: Protected,
    /// How a step gets into it.
    pub(crate) place: Place,
}

impl ActiveRoot {
    /// Whether a step's mounts are moved into the root rather than mounted, so that it gets what
    /// it can change and what no other step may have meanwhile.
    #[must_use]
    pub fn moves_mounts(&self) -> bool {
        matches!(self.place, Place::InPlace { .. })
    }

    /// The host path of a directory of the builder on the root's file system, made if missing:
    /// for copies of what a step gets. It goes with the stage, or with the build.
    pub fn waiting_room(&self) -> Result<PathBuf> {
        let path = match &self.place {
            Place::Private { directory } => directory.join("mounts"),
            Place::InPlace { aside } => {
                let aside = std::ffi::OsStr::from_bytes(aside.as_bytes());
                Path::new(aside).join("mounts")
            }
        };
        host::make_dirs(&path)?;
        Ok(path)
    }
}

/// Where a root is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a directory that holds it as `rootfs`.
    Private {
        /// The directory's host path.
        directory: PathBuf,
    },
    /// It is `/`.
    InPlace {
        /// A directory in it where a step's substitutes push things aside.
        aside: RootPath,
    },
}

/// What becomes of the stage that another one is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It is read again later: the new stage gets a copy.
    StillNeeded,
    /// Nothing reads it any more: the new stage takes its tree over.
    Finished,
}

/// What `/` holds when a build in place has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The files of this stage, as in kaniko. What it held before is gone.
    Stage(usize),
    /// What it held before the build.
    AsBefore,
    /// Nothing but what must stay. What it held before is gone too.
    Empty,
}

/// The roots of the stages of one build. Stages are named by their index in the plan.
#[derive(Debug)]
pub struct StageRoots {
    rung: Rung,
}

#[derive(Debug)]
enum Rung {
    Private(Private),
    InPlace(Box<InPlace>),
}

impl StageRoots {
    pub(crate) fn private(build_dir: &Path, table: Option<&Arc<AttributeTable>>) -> Result<Self> {
        Ok(Self { rung: Rung::Private(Private::new(build_dir, table)?) })
    }

    pub(crate) fn in_place(
        state_dir: &Path,
        build_dir: &Path,
        protected: &[RootPath],
    ) -> Result<Self> {
        let in_place = InPlace::new(state_dir, build_dir, protected)?;
        Ok(Self { rung: Rung::InPlace(Box::new(in_place)) })
    }

    /// Whether each stage has a place of its own, so that several can be active at a time.
    #[must_use]
    pub fn are_separate(&self) -> bool {
        match &self.rung {
            Rung::Private(_) => true,
            Rung::InPlace(_) => false,
        }
    }

    /// The root of a stage, empty when the stage is new. On the rung `in-place` one stage is
    /// active at a time, and the one before is parked.
    pub fn activate(&self, stage: usize) -> Result<ActiveRoot> {
        match &self.rung {
            Rung::Private(private) => private.activate(stage),
            Rung::InPlace(in_place) => in_place.activate(stage),
        }
    }

    /// Starts stage `new` with the tree of stage `from` (`FROM stage`). Activate it afterwards.
    pub fn adopt(&self, from: usize, new: usize, parent: Parent) -> Result<()> {
        match &self.rung {
            Rung::Private(private) => private.adopt(from, new, parent),
            Rung::InPlace(in_place) => in_place.adopt(from, new, parent),
        }
    }

    /// The tree of a stage, for `COPY --from`. In place, an active stage is parked for that, and
    /// the stage that reads it is to be activated afterwards.
    pub fn read(&self, stage: usize) -> Result<RootDir> {
        match &self.rung {
            Rung::Private(private) => private.read(stage),
            Rung::InPlace(in_place) => in_place.read(stage),
        }
    }

    /// Forgets a stage that nothing reads any more. In place, an active stage stays where it is.
    pub fn release(&self, stage: usize) -> Result<()> {
        match &self.rung {
            Rung::Private(private) => private.release(stage),
            Rung::InPlace(in_place) => in_place.release(stage),
        }
    }

    /// Ends the build: says what `/` holds on the rung `in-place`; private roots are all removed.
    pub fn finish(self, afterwards: Afterwards) -> Result<()> {
        match self.rung {
            Rung::Private(private) => private.finish(),
            Rung::InPlace(in_place) => in_place.finish(afterwards),
        }
    }
}
