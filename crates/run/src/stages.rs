//! The roots of a build's stages.
#![allow(clippy::todo)]

use rootfs::{Protected, RootDir};

use crate::Result;

/// The root that steps of one stage work on.
#[derive(Clone, Debug)]
pub struct ActiveRoot {
    /// The tree.
    pub dir: RootDir,
    /// What in it is not the image's.
    pub protected: Protected,
}

/// What becomes of the stage that another one is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It is read again later: the new stage gets a copy.
    StillNeeded,
    /// Nothing reads it any more: the new stage takes its tree over.
    Finished,
}

/// The roots of the stages of one build. Stages are named by their index in the plan.
#[derive(Debug)]
pub struct StageRoots {}

impl StageRoots {
    /// The root of a stage, empty when the stage is new. On the rung `in-place` one stage is
    /// active at a time, and the one before is parked.
    pub fn activate(&self, stage: usize) -> Result<ActiveRoot> {
        let _ = stage;
        todo!()
    }

    /// Starts stage `new` with the tree of stage `from` (`FROM stage`). Activate it afterwards.
    pub fn adopt(&self, from: usize, new: usize, parent: Parent) -> Result<()> {
        let _ = (from, new, parent);
        todo!()
    }

    /// The tree of a stage that is not active, for `COPY --from`.
    pub fn read(&self, stage: usize) -> Result<RootDir> {
        let _ = stage;
        todo!()
    }

    /// Forgets a stage that nothing reads any more.
    pub fn release(&self, stage: usize) -> Result<()> {
        let _ = stage;
        todo!()
    }

    /// Ends the build. On the rung `in-place`, `/` holds stage `last` afterwards, as in kaniko
    /// (`None`: what it held before the build is back); private roots are all removed.
    pub fn finish(self, last: Option<usize>) -> Result<()> {
        let _ = last;
        todo!()
    }
}
