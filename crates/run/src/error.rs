//! What can go wrong before, during and after a step.

use std::path::PathBuf;

use rootfs::RootPath;
use rustix::io::Errno;

/// Why a rung cannot be used, a root cannot be had or a program could not be run.
///
/// That the program ended with another status than 0 is no error here: see [`Exit`](crate::Exit).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In place outside a container, not forced. The text is kaniko's.
    #[error(
        "kaniko should only be run inside of a container, run with the --force flag if you are \
         sure you want to continue"
    )]
    NotInContainer,
    /// A rung that was asked for cannot be had here.
    #[error("isolation `{rung}` is not possible here: {reason}")]
    Impossible {
        /// The rung.
        rung: &'static str,
        /// What is missing.
        reason: String,
    },
    /// No rung can run a program here.
    #[error("cannot run commands here: {reason}")]
    NoRung {
        /// What each rung lacks.
        reason: String,
    },
    /// Nobody here runs programs of another processor.
    #[error("programs for `{architecture}` cannot be run: {reason}")]
    NoEmulator {
        /// The processor.
        architecture: String,
        /// What is missing.
        reason: String,
    },
    /// The kernel refused one piece of the step's surroundings.
    #[error("cannot {action} for the command")]
    Setup {
        /// What was tried, in words.
        action: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The program is not there or cannot be executed.
    #[error("cannot execute `{program}`")]
    Execute {
        /// The first word of the command.
        program: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A step that is to have no network would have one.
    #[error("cannot take the network from the command: {reason}")]
    NoNetworkIsolation {
        /// What each way lacks.
        reason: String,
    },
    /// A device that the step asks for cannot be given.
    #[error("cannot give the device `{name}` to the command: {reason}")]
    Device {
        /// As it was asked for.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The user or group of a step has no place in the id map.
    #[error("the id {id} is not mapped here: {reason}")]
    UnmappedId {
        /// The id asked for.
        id: u32,
        /// What is missing.
        reason: String,
    },
    /// The working directory is missing or no directory.
    #[error("working directory `{path}` is not a directory")]
    WorkingDirectory {
        /// The path in the root.
        path: RootPath,
    },
    /// Something in the root is in the way of what a step must find there.
    #[error("cannot make room for `{path}` in the root")]
    Placeholder {
        /// The path in the root.
        path: RootPath,
        /// Why.
        #[source]
        source: rootfs::Error,
    },
    /// A mount's target is of another kind than what is to be mounted there.
    #[error("cannot mount {what} on `{target}`, which is {found}")]
    MountKind {
        /// A directory, or a file.
        what: &'static str,
        /// The target.
        target: RootPath,
        /// What is there.
        found: &'static str,
    },
    /// A mount's target is not there, and what it would lie in cannot be changed.
    #[error("cannot mount on `{target}`: it is missing in a read-only mount")]
    MountMissing {
        /// The target.
        target: RootPath,
    },
    /// Without mount(2) a target cannot be covered that holds what must stay.
    #[error("cannot put a mount on `{target}` in place: `{stays}` must stay where it is")]
    MountProtected {
        /// The target.
        target: RootPath,
        /// A mount point or a path of the builder, at the target or below.
        stays: RootPath,
    },
    /// What is to be mounted cannot be used.
    #[error("cannot mount `{}`", path.display())]
    MountSource {
        /// The host path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A command, variable or name that the kernel cannot take.
    #[error("the {what} `{value}` holds a NUL byte or is empty")]
    Malformed {
        /// What it is.
        what: &'static str,
        /// What it holds.
        value: String,
    },
    /// The build was asked to stop while the program ran.
    #[error("stopped while running `{program}`")]
    Stopped {
        /// The first word of the command.
        program: String,
    },
    /// The process that watches over the step was killed, from inside the step.
    #[error("the supervisor of `{program}` was killed")]
    Supervisor {
        /// The first word of the command.
        program: String,
    },
    /// A stage that was never made, or is gone.
    #[error("there is no root of stage {stage}")]
    NoStage {
        /// Its number.
        stage: usize,
    },
    /// The root file system holds something that must not be lost.
    #[error("`{path}` would be lost by starting a stage in place")]
    NotEmpty {
        /// What is in the way.
        path: RootPath,
    },
    /// A file or directory in a root.
    #[error("cannot switch stages")]
    Root(#[from] rootfs::Error),
    /// A directory of the builder itself.
    #[error("cannot {action} `{}`", path.display())]
    State {
        /// What was tried.
        action: &'static str,
        /// The host path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// A system call that should not fail.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
