//! Which rung a build takes.
#![allow(clippy::todo)]

use std::path::{Path, PathBuf};

use sys::StopHandle;

use crate::stages::{ActiveRoot, StageRoots};
use crate::{Exit, Invocation, Result, Stream};

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best rung that works here.
    #[default]
    Auto,
    /// Private roots, or an error.
    Namespaces,
    /// The container's own `/`, or an error.
    InPlace,
}

/// The rung that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Private roots under the state directory; steps in namespaces of their own.
    Namespaces,
    /// The container's own `/`.
    InPlace,
    /// Private roots under the state directory, and no way to run a program in them: good for
    /// builds without RUN.
    FilesOnly,
}

/// What [`enter`] needs to know.
#[derive(Clone, Debug)]
pub struct EnterOptions {
    /// What the user asked for.
    pub choice: Choice,
    /// The user is sure, although no container is detected.
    pub force: bool,
    /// Something that only the caller can see says that this is a container: the variable
    /// `container` in the environment.
    pub in_container: bool,
    /// Where the build keeps its state; made if missing.
    pub state_dir: PathBuf,
    /// Host paths that the build must not touch, beside mount points and the state directory.
    pub protected: Vec<PathBuf>,
}

/// Which owners files and steps can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Every id.
    All,
    /// Ids below the number.
    Below(u32),
    /// Only 0:0, for want of `newuidmap` or of a range in `/etc/subuid`.
    One,
}

/// The rung of this program; made once by [`enter`].
#[derive(Debug)]
pub struct Isolation {}

/// Finds the best rung by trying, and takes it: from here on the whole program is in it.
///
/// Call it before the program has a second thread, and once.
pub fn enter(options: &EnterOptions) -> Result<Isolation> {
    let _ = options;
    todo!()
}

impl Isolation {
    /// The rung taken.
    #[must_use]
    pub fn rung(&self) -> Rung {
        todo!()
    }

    /// One line for the log: the rung and why.
    #[must_use]
    pub fn reason(&self) -> &str {
        todo!()
    }

    /// Which owners files can have here.
    #[must_use]
    pub fn owners(&self) -> Owners {
        todo!()
    }

    /// Whether programs can be run, and the error that [`run`](Self::run) would give if not. To
    /// be asked before the build when a plan has a RUN.
    pub fn can_run(&self) -> Result<()> {
        todo!()
    }

    /// The roots of one build's stages, below `build_dir` (made if missing, on the state
    /// directory's file system).
    pub fn stage_roots(&self, build_dir: &Path) -> Result<StageRoots> {
        let _ = build_dir;
        todo!()
    }

    /// Runs one program in an active root; `output` gets each line without its newline.
    ///
    /// When it returns, every process of the step is gone.
    pub fn run(
        &self,
        root: &ActiveRoot,
        invocation: &Invocation,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &StopHandle,
    ) -> Result<Exit> {
        let _ = (root, invocation, output, stop);
        todo!()
    }
}
