//! Why there is no plan, in BuildKit's words and with the lines it concerns.

use std::fmt;

use dockerfile::lint::LintOptionsError;
use dockerfile::word::WordError;
use dockerfile::{MountError, ParseError, Span, quote};
use oci::{DigestFault, PlatformFault, ReferenceFault};

use crate::features::Feature;
use crate::options::Entitlement;

/// One error with its places.
#[derive(Debug)]
pub struct Error {
    kind: Box<ErrorKind>,
    spans: Vec<Span>,
}

impl Error {
    pub(crate) fn new(kind: impl Into<ErrorKind>, span: Span) -> Error {
        Error { kind: Box::new(kind.into()), spans: vec![span] }
    }

    pub(crate) fn with_spans(kind: ErrorKind, spans: Vec<Span>) -> Error {
        Error { kind: Box::new(kind), spans }
    }

    pub(crate) fn nowhere(kind: ErrorKind) -> Error {
        Error { kind: Box::new(kind), spans: Vec::new() }
    }

    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The instructions it concerns; none where it is about the whole file or the options.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The first of the instructions it concerns.
    pub fn span(&self) -> Option<Span> {
        self.spans.first().copied()
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        self.kind.hint()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.kind.as_ref())
    }
}

/// `` (did you mean x?)``, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DidYouMean(pub Option<String>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(f, " (did you mean {word}?)"),
            None => Ok(()),
        }
    }
}

/// What can be wrong. The texts are BuildKit's wherever it has one.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// Nothing but `ARG`.
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// `# syntax=` names a program to run instead of us.
    #[error(
        "the frontend `{frontend}` named by `{origin}` cannot be run: only {covered} are covered"
    )]
    Frontend {
        /// The image it names.
        frontend: String,
        /// The directive or the build argument.
        origin: &'static str,
        /// What is covered.
        covered: &'static str,
    },
    /// `# check=` is malformed.
    #[error(transparent)]
    CheckOptions(LintOptionsError),
    /// The file or the caller wants findings of the linter to fail the build.
    #[error("lint violation found for rules: {0}")]
    Lint(String),
    /// `SOURCE_DATE_EPOCH` is no number.
    #[error("invalid SOURCE_DATE_EPOCH: {0}")]
    Epoch(String),
    /// `SOURCE_DATE_EPOCH` depends on the platform, and the build has several.
    #[error("SOURCE_DATE_EPOCH is not the same for every platform of this build")]
    EpochPerPlatform,
    /// A word cannot be expanded.
    #[error(transparent)]
    Word(#[from] WordError),
    /// A word of `FROM --platform` cannot be expanded.
    #[error("failed to process arguments for platform : {0}")]
    PlatformWord(WordError),
    /// `FROM` names nothing.
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    /// `FROM --platform` expands to nothing.
    #[error("empty platform value from expression {expression}{did_you_mean}")]
    EmptyPlatform {
        /// As written.
        expression: String,
        /// A name that exists.
        did_you_mean: DidYouMean,
    },
    /// `FROM --platform` is no platform.
    #[error("failed to parse platform {expression}: {fault}{did_you_mean}")]
    Platform {
        /// As written.
        expression: String,
        /// Why.
        fault: PlatformFault,
        /// A name that exists.
        did_you_mean: DidYouMean,
    },
    /// `--target` names no stage.
    #[error("target stage {} could not be found{did_you_mean}", quote(.name))]
    Target {
        /// As given.
        name: String,
        /// A name that exists.
        did_you_mean: DidYouMean,
    },
    /// An image's name is malformed.
    #[error("failed to parse stage name {}: {fault}", quote(.name))]
    Reference {
        /// The name, expanded.
        name: String,
        /// Why.
        fault: ReferenceFault,
    },
    /// `COPY --from=$X`
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG \
         from global scope as a workaround"
    )]
    FromExpansion,
    /// `COPY --from=5`
    #[error("invalid stage index {0}")]
    StageIndex(String),
    /// Stages need each other.
    #[error("circular dependency detected on stage: {0}")]
    Circular(String),
    /// `COPY --from` of a later stage.
    #[error(
        "cannot copy from stage {}, it needs to be defined before current stage {}",
        quote(.from),
        quote(.stage)
    )]
    CopyOrder {
        /// As written.
        from: String,
        /// The stage that copies.
        stage: String,
    },
    /// `RUN --mount=from` of a later stage.
    #[error(
        "cannot mount from stage {} to {}, stage needs to be defined before current command",
        quote(.from),
        quote(.target)
    )]
    MountOrder {
        /// As written.
        from: String,
        /// Where it is mounted.
        target: String,
    },
    /// A trigger of the base is malformed.
    #[error(transparent)]
    Trigger(ParseError),
    /// A trigger of the base is a `FROM`. The words are BuildKit's, who looks no further.
    #[error("*instructions.Stage is not a command type")]
    TriggerStage,
    /// A trigger of the base is an `ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    TriggerChain,
    /// A base image was not handed in.
    #[error("base image `{0}` is not resolved")]
    MissingBase(String),
    /// `--chmod` is no number it could be.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    ChmodOctal(String),
    /// `--chmod` is no mode.
    #[error("invalid syntax")]
    ChmodSymbolic(String),
    /// A source of `COPY` is an address.
    #[error("source can't be a URL for COPY")]
    CopyUrl,
    /// A source of `COPY` is a repository.
    #[error("source can't be a git ref for COPY")]
    CopyGit,
    /// A source is meant to be a repository, but it is wrong.
    #[error(transparent)]
    GitRef(crate::gitref::Error),
    /// `--checksum` with several sources.
    #[error("checksum can't be specified for multiple sources")]
    ChecksumSources,
    /// `--checksum` with a local source.
    #[error("checksum requires HTTP(S) or Git sources")]
    ChecksumLocal,
    /// `--checksum` is no digest.
    #[error(transparent)]
    ChecksumDigest(DigestFault),
    /// `--checksum` and the reference want different commits.
    #[error("checksum mismatch {} != {}", quote(.flag), quote(.reference))]
    ChecksumMismatch {
        /// What the flag says.
        flag: String,
        /// What the reference says.
        reference: String,
    },
    /// `--keep-git-dir` and the reference contradict each other.
    #[error("inconsistent keep-git-dir configuration")]
    KeepGitDir,
    /// A `VOLUME` expands to nothing.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// An `EXPOSE` is no port; the message is complete.
    #[error("{0}")]
    Port(String),
    /// A `STOPSIGNAL` is no signal.
    #[error("invalid signal: {0}")]
    Signal(String),
    /// A `RUN --mount` is malformed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A mount on `/`.
    #[error("invalid mount target {}", quote(.0))]
    MountTarget(String),
    /// `source` of an ssh mount.
    #[error("ssh does not support source")]
    SshSource,
    /// A here-document that becomes a file has a name that is a path.
    #[error("here-document name {} is not a file name", quote(.0))]
    HeredocName(String),
    /// A `RUN` has here-documents it cannot have.
    #[error("parsing produced an invalid run command: {0}")]
    RunHeredoc(String),
    /// Every `RUN` carries its environment, and all of them together are too much.
    #[error("the steps of the plan carry more than {0} variables")]
    TooManyVariables(usize),
    /// A feature of the language that is not carried out yet.
    #[error("{} is not supported yet", .feature.name)]
    Unimplemented {
        /// Which.
        feature: &'static Feature,
    },
    /// A step asks for what the operator has not granted. The words are BuildKit's.
    #[error("{0} is not allowed")]
    NotAllowed(Entitlement),
    /// A value of a build argument that is not carried out yet.
    #[error("SOURCE_DATE_EPOCH taken from `{0}` is not supported yet: give it in seconds")]
    EpochSource(String),
}

impl ErrorKind {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most messages need no advice")]
    fn hint(&self) -> Option<String> {
        match self {
            ErrorKind::Frontend { .. } => Some(
                "remove the directive if the file needs nothing beyond docker/dockerfile:1".into(),
            ),
            ErrorKind::CopyUrl | ErrorKind::CopyGit => Some("use ADD instead of COPY".into()),
            ErrorKind::ChmodSymbolic(mode) => Some(format!(
                "`{mode}` is neither an octal mode like `0755` nor a symbolic one like `u=rwX,go=rX`"
            )),
            ErrorKind::CopyOrder { from, .. } | ErrorKind::MountOrder { from, .. } => {
                Some(format!("move the stage `{from}` up"))
            }
            ErrorKind::TriggerStage => Some(
                "the base image has a FROM among its ONBUILD triggers, where none can be".into(),
            ),
            ErrorKind::Trigger(error) => error.hint(),
            ErrorKind::NotAllowed(asked) => {
                Some(format!("give the executor --allow={asked} if this Dockerfile may have it"))
            }
            ErrorKind::Unimplemented { feature } => feature.support.reason().map(str::to_owned),
            _ => None,
        }
    }
}
