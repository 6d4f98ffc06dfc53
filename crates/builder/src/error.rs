//! Why a build failed, and what the top needs to show it: the place in the Dockerfile, a hint, the
//! tail of the command's output, the exit status.

mod inner;

use std::path::PathBuf;

use dockerfile::{ParseError, Span};
use run::Exit;

use crate::digests::SendError;
use crate::foreign::ForeignError;
use crate::join::JoinError;
use crate::push::ImageFileError;

pub use inner::{BaseError, StepError};

/// A failed build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The builder's own directories.
    #[error("cannot use the state directory `{}`", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: rootfs::Error,
    },
    /// The local blobs.
    #[error("cannot use the blob store")]
    Store(#[from] store::Error),
    /// The build context.
    #[error("cannot get the build context")]
    Context(#[from] context::Error),
    /// The Dockerfile's text; the first error is shown, the others follow it.
    #[error("error parsing dockerfile: {}{}", first(errors), also(errors.len()))]
    Parse {
        /// All of them, never empty.
        errors: Vec<ParseError>,
    },
    /// What the Dockerfile asks for cannot be planned.
    #[error("{}{}", first(errors), also(errors.len()))]
    Plan {
        /// All of them, never empty.
        errors: Vec<plan::Error>,
    },
    /// A base image cannot be had.
    #[error("cannot get the image `{name}`")]
    Base {
        /// The name as the Dockerfile has it.
        name: String,
        /// Where it is named.
        span: Span,
        /// Why.
        #[source]
        source: Box<BaseError>,
    },
    /// A layer of the base image or of a cache that only an output needs.
    #[error("cannot get the layer `{digest}`")]
    FarLayer {
        /// The layer.
        digest: String,
        /// Why.
        #[source]
        source: Box<BaseError>,
    },
    /// A registry refuses the push, found out before the build.
    #[error(
        "error checking push permissions -- make sure you entered the correct tag name, and that \
         you are authenticated correctly, and try again: checking push permission for \
         \"{destination}\""
    )]
    CheckPush {
        /// The destination.
        destination: String,
        /// Why.
        #[source]
        source: Box<registry::Error>,
    },
    /// A client for registries cannot be made.
    #[error("cannot set up the registry client")]
    Client(#[source] Box<registry::Error>),
    /// Commands cannot be run here.
    #[error("the Dockerfile has RUN instructions")]
    CannotRun {
        /// The first of them.
        span: Span,
        /// Why not.
        #[source]
        source: run::Error,
    },
    /// A RUN step is for another processor than this machine's.
    #[error("a RUN instruction is for `{platform}`, and this machine is `{machine}`")]
    Foreign {
        /// Where it stands.
        span: Span,
        /// What it is for.
        platform: String,
        /// What this machine is.
        machine: String,
        /// Why it cannot be run all the same.
        #[source]
        source: Box<ForeignError>,
    },
    /// Images of other jobs cannot be joined.
    #[error("error joining images")]
    Join(#[source] Box<JoinError>),
    /// Several images, and no way to know them by one name.
    #[error("the images of several platforms are not to be joined")]
    NotJoined,
    /// A step failed. The text is kaniko's.
    #[error("error building stage: failed to execute command")]
    Step {
        /// Where it stands.
        span: Span,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// The roots of stages cannot be switched.
    #[error("cannot switch stages")]
    Stages(#[source] run::Error),
    /// A file or directory that the image was to be written to.
    #[error("cannot write the {what} `{}`", path.display())]
    Output {
        /// What it is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// A push failed. The text is kaniko's.
    #[error("error pushing image: failed to push to destination {destination}")]
    Push {
        /// The destination.
        destination: String,
        /// Why.
        #[source]
        source: Box<registry::Error>,
    },
    /// An address does not take the digest.
    #[error("cannot send the digest to `{url}`")]
    Send {
        /// The address, without its query.
        url: String,
        /// Why.
        #[source]
        source: Box<SendError>,
    },
    /// What is to be pushed is not there, or is no image.
    #[error("cannot push `{}`", path.display())]
    ImageFile {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: ImageFileError,
    },
    /// The machine has no descriptor to spare.
    #[error("cannot make a stop handle")]
    Handle(#[source] std::io::Error),
    /// The build was asked to stop.
    #[error("the build was stopped")]
    Stopped,
    /// A worker of the builder ended without a result.
    #[error("a worker of the builder ended without a result")]
    Worker,
}

fn first(errors: &[impl std::fmt::Display]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}

fn also(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        2 => " (and one more error)".to_owned(),
        more => format!(" (and {} more errors)", more - 1),
    }
}

/// Where the programs look.
const CREDENTIALS: &str = "credentials come from DOCKER_AUTH_CONFIG, config.json in DOCKER_CONFIG or \
    ~/.docker, podman's auth.json, KANIKO_<HOST>_USER and _PASSWORD, for Google, ECR and ACR from the \
    cloud's own variables, files and metadata service, and from GitLab's CI_REGISTRY_USER and \
    _PASSWORD; `executor doctor` says which ones there are";

const FOREIGN: &str = "stages without RUN, and those FROM --platform=$BUILDPLATFORM, are built here \
    for every platform; for others build on a machine of that platform and join the images with \
    --driver=ci, or register an emulator with binfmt_misc (flag F), with --multi-platform also give \
    --require-native-nodes=false";

impl Error {
    /// The lines of the Dockerfile that the error is about.
    #[must_use]
    pub fn location(&self) -> Option<Span> {
        match self {
            Error::Parse { errors } => errors.first().map(|error| error.span),
            Error::Plan { errors } => errors.first().and_then(plan::Error::span),
            Error::Base { span, .. }
            | Error::CannotRun { span, .. }
            | Error::Foreign { span, .. }
            | Error::Step { span, .. } => Some(*span),
            Error::State { .. }
            | Error::Store(_)
            | Error::Context(_)
            | Error::FarLayer { .. }
            | Error::CheckPush { .. }
            | Error::Client(_)
            | Error::Stages(_)
            | Error::Output { .. }
            | Error::Push { .. }
            | Error::Send { .. }
            | Error::ImageFile { .. }
            | Error::Handle(_)
            | Error::Join(_)
            | Error::NotJoined
            | Error::Stopped
            | Error::Worker => None,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Base { source, .. } if source.is_denied() => Some(CREDENTIALS.to_owned()),
            Error::Push { source, .. } | Error::CheckPush { source, .. } if source.is_denied() => {
                Some(CREDENTIALS.to_owned())
            }
            Error::Step { source, .. } => match source.as_ref() {
                StepError::Exit { reason: Some(reason), .. } => Some(reason.clone()),
                StepError::Exit { exit: Exit::Signal(9), .. } => Some(
                    "the kernel may have killed the command for want of memory: look at the pod's memory limit"
                        .to_owned(),
                ),
                StepError::Run { source: run::Error::Supervisor { .. }, .. } => Some(
                    "the step itself may have killed it (`kill -9 -1` and `kill -9 $PPID` do), or the kernel for want of memory"
                        .to_owned(),
                ),
                _ => None,
            },
            Error::Plan { errors } => errors.first().and_then(plan::Error::hint),
            Error::Join(error) if error.is_denied() => Some(CREDENTIALS.to_owned()),
            Error::Foreign { .. } => Some(FOREIGN.to_owned()),
            Error::CannotRun { .. } => Some(
                "RUN needs a pod that runs as root, the runtime's default profile will do, or one \
                 in which user namespaces are allowed; `executor doctor` says what this one allows"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The last lines of the command that failed.
    #[must_use]
    pub fn output_tail(&self) -> &[String] {
        match self {
            Error::Step { source, .. } => match source.as_ref() {
                StepError::Exit { tail, .. } => tail,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Further errors of the same kind as the one that is shown, each with its lines.
    #[must_use]
    pub fn siblings(&self) -> Vec<(String, Span)> {
        match self {
            Error::Parse { errors } => {
                errors.iter().skip(1).map(|error| (error.to_string(), error.span)).collect()
            }
            Error::Plan { errors } => {
                let others = errors.iter().skip(1);
                others.filter_map(|error| Some((error.to_string(), error.span()?))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The exit status of a program that fails with this error: a failing RUN's own, else 1.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Step { source, .. } => match source.as_ref() {
                StepError::Exit { exit, .. } => exit.status(),
                _ => 1,
            },
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests;
