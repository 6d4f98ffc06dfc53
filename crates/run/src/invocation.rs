//! What is to be run, and how it ended.

use std::path::PathBuf;
use std::time::Duration;

use rootfs::RootPath;
use sys::Secret;

use crate::Confinement;

/// One program to run in a root: everything the step gets, nothing is added.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program and its arguments; the shell is already in front where there is one. A name
    /// without a slash is searched in the `PATH` of `env`, inside the root.
    pub argv: Vec<String>,
    /// The whole environment, in order.
    pub env: Vec<(String, String)>,
    /// Where the program starts; it must be a directory.
    pub cwd: RootPath,
    /// Who the program is.
    pub identity: Identity,
    /// The name of the machine, where the rung can give it one.
    pub hostname: String,
    /// A script that the program is told to run: an executable file for the time of the step.
    pub script: Option<Script>,
    /// What else is put into the root for the time of the step.
    pub mounts: Vec<Mount>,
    /// How closely it is held.
    pub confinement: Confinement,
    /// How long a step that is asked to stop may take before it is killed.
    pub grace: Duration,
    /// How long the program may take before it is asked to stop.
    pub timeout: Option<Duration>,
}

/// A file at `/dev/pipes/<name>`, executable and read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its name, a single path component.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
}

impl Script {
    /// Where a step finds it.
    pub(crate) fn path(&self) -> crate::Result<RootPath> {
        let is_one =
            !self.name.is_empty() && !self.name.contains('/') && !self.name.starts_with('.');
        if !is_one {
            let value = self.name.clone();
            return Err(crate::Error::Malformed { what: "name of a script", value });
        }
        Ok(RootPath::new("/dev/pipes")?.join(&self.name)?)
    }
}

/// The user and groups of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// Something of the build that is put into the root for one step (`RUN --mount`).
///
/// Mounts are made in order; one may lie in another that was made before it. Nothing of them, nor
/// what was made in the root to put them on, is left when the step is over.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where in the root. Links on the way are followed inside the root.
    pub target: RootPath,
    /// What is found there.
    pub what: MountKind,
}

/// What a step finds at a mount's target.
#[derive(Clone, Debug)]
pub enum MountKind {
    /// A file, directory or socket of the builder.
    ///
    /// Where nothing can be mounted ([`ActiveRoot::moves_mounts`](crate::ActiveRoot)) it is moved
    /// to its target and back: then the step can change it, whatever `read_only` says, and two
    /// steps cannot have it at a time.
    Host {
        /// Where it is.
        path: PathBuf,
        /// The step may not change it.
        read_only: bool,
    },
    /// A directory in memory, empty.
    Tmpfs {
        /// How many bytes it may hold; half of the memory if `None`. It cannot be limited where
        /// nothing can be mounted.
        size: Option<u64>,
    },
    /// A file that is never written to a disk.
    Secret {
        /// What it holds.
        content: Secret,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// Where a line of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took longer than its timeout, and was ended.
    TimedOut(Duration),
}

impl Exit {
    /// Whether it ended with status 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    /// The status as a shell would tell it: 128+n for signal n, and 124 as `timeout(1)` does.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::TimedOut(_) => 124,
        }
    }
}
