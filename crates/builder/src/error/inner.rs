//! What an error of a build is made of: why a base image cannot be had, why a step failed.

use std::path::PathBuf;

use run::Exit;

use super::Error;

/// Why a base image cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A layer on its way into the store.
    #[error(transparent)]
    Fetch(Box<cache::Error>),
    /// Its documents.
    #[error(transparent)]
    Document(#[from] oci::Error),
    /// A layer cannot be applied.
    #[error("cannot unpack layer `{digest}`")]
    Unpack {
        /// The layer.
        digest: String,
        /// Why.
        #[source]
        source: layer::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A directory for its files.
    #[error(transparent)]
    Workspace(Box<Error>),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The program ended with another status than 0. The text is BuildKit's.
    #[error("process \"{program}\" did not complete successfully: {}", ended(*exit))]
    Exit {
        /// The command line.
        program: String,
        /// How it ended.
        exit: Exit,
        /// The last lines it wrote.
        tail: Vec<String>,
        /// What may have been the reason, where something around the command tells.
        reason: Option<String>,
    },
    /// The program could not be run.
    #[error("cannot run \"{program}\"")]
    Run {
        /// The command line.
        program: String,
        /// Why.
        #[source]
        source: run::Error,
    },
    /// The user of a step. The text is BuildKit's.
    #[error("unable to use user `{user}`")]
    User {
        /// As the Dockerfile has it.
        user: String,
        /// Why.
        #[source]
        source: rootfs::Error,
    },
    /// COPY or ADD.
    #[error(transparent)]
    Copy(#[from] copy::Error),
    /// What ADD fetches.
    #[error(transparent)]
    Fetch(#[from] context::Error),
    /// `--checksum`.
    #[error("`--checksum` is no checksum")]
    Checksum(#[source] context::ChecksumFault),
    /// A client for downloads cannot be made.
    #[error("cannot set up the download")]
    Http(#[source] transport::Error),
    /// The build was asked to stop.
    #[error("the build was stopped")]
    Stopped,
    /// A base image whose files the step needs.
    #[error("cannot get the files of `{name}`")]
    Base {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<BaseError>,
    },
    /// Layers that the cache had, and whose files the step needs.
    #[error("cannot get the files of cached layers")]
    Cached(#[source] Box<BaseError>),
    /// What a mount is to show. The text is BuildKit's.
    #[error("\"{path}\": not found")]
    MountSource {
        /// The path, in the tree it comes from.
        path: String,
    },
    /// A secret that a step cannot do without. The text is BuildKit's.
    #[error("secret {id}: not found")]
    NoSecret {
        /// Its id.
        id: String,
    },
    /// A secret that is to be a variable and is no text.
    #[error("the secret for the variable {0} is no UTF-8 text")]
    SecretText(String),
    /// An agent that a step cannot do without.
    #[error("ssh agent {id}: not found")]
    NoAgent {
        /// Its id.
        id: String,
    },
    /// An agent that cannot be asked.
    #[error("cannot offer the ssh agent `{}`", path.display())]
    Agent {
        /// Its socket, on the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The working directory.
    #[error("cannot make the working directory `{path}`")]
    Workdir {
        /// The directory, in the image.
        path: String,
        /// Why.
        #[source]
        source: rootfs::Error,
    },
    /// What the step changed.
    #[error("cannot see what the step changed")]
    Snapshot(#[from] snapshot::Error),
    /// The layer of the step.
    #[error("cannot write the layer")]
    Layer(#[from] layer::Error),
    /// The store of layers.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file or directory in the root.
    #[error(transparent)]
    Root(#[from] rootfs::Error),
    /// The roots of stages.
    #[error("cannot switch stages")]
    Stages(#[source] run::Error),
    /// A directory of the builder.
    #[error(transparent)]
    Workspace(Box<Error>),
    /// The plan asks for what no step can do yet; the planner should have refused it.
    #[error("{0} is not implemented yet")]
    NotImplemented(&'static str),
}

fn ended(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code: {code}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::TimedOut(limit) => {
            format!("ended after the {limit:?} that --command-timeout allows")
        }
    }
}

impl BaseError {
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, BaseError::Registry(error) if error.is_denied())
    }
}
