//! The instructions of a Dockerfile as types: one variant each, flags in typed fields.
//!
//! Every string is a raw word as it stands in the file (quotes and `$` in place) unless its field
//! says otherwise: nothing is expanded here, because what a word means depends on the stage it
//! stands in. Read [`Instruction`] first.

use std::time::Duration;

use crate::mount::MountFlag;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`
    Add(Add),
    /// `ARG`
    Arg(Arg),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`
    Env(Pairs),
    /// `EXPOSE`, its words in file order (BuildKit sorts them before it expands them)
    Expose(Vec<String>),
    /// `FROM`
    From(From),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Pairs),
    /// `MAINTAINER`, never expanded
    Maintainer(String),
    /// `ONBUILD`
    OnBuild(OnBuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`, at least one element, never expanded
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`, at least one element, each trimmed and not empty
    Volume(Vec<String>),
    /// `WORKDIR`
    Workdir(String),
}

impl Instruction {
    /// The name in upper case, as messages and history write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::From(_) => "FROM",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::OnBuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// `FROM [--platform=p] image [AS name]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The base image or stage, expanded with the global arguments only.
    pub image: String,
    /// The stage's name, lower-cased: what later references match.
    pub name: Option<String>,
    /// The name as it was written.
    pub written_name: Option<String>,
    /// The word `AS` as it was written.
    pub as_keyword: Option<String>,
    /// `--platform`; an empty value is no flag.
    pub platform: Option<String>,
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run. Its text still holds the here-document words (`<<EOF`).
    pub command: CommandLine,
    /// The here-documents, in order.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`
    pub network: Option<Network>,
    /// `--security`
    pub security: Option<Security>,
    /// `--device`, in order.
    pub devices: Vec<Device>,
}

/// What `RUN`, `CMD` and `ENTRYPOINT` take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// The shell form: one text, given to the `SHELL` in force. Empty for an instruction alone.
    Shell(String),
    /// The exec form: the argument vector, never expanded.
    Exec(Vec<String>),
}

/// `RUN --network`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// `default`
    Default,
    /// `none`
    None,
    /// `host`
    Host,
}

/// `RUN --security`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// `sandbox`
    Sandbox,
    /// `insecure`
    Insecure,
}

/// One `RUN --device`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The CDI name.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, quotes removed; as a COPY source also the file's name.
    pub name: String,
    /// Whether variables in it are expanded: no part of the name was quoted.
    pub expand: bool,
    /// `<<-`: leading tabs do not count. [`Heredoc::body`] applies it, `content` still has them.
    pub chomp: bool,
    /// The body, line ends included, as it stands in the file.
    pub content: String,
    /// The file descriptor before `<<`, 0 if none.
    pub fd: u64,
}

/// What `COPY` and `ADD` have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The sources that are paths, references or URLs, in order.
    pub sources: Vec<String>,
    /// The sources that are here-documents, in order. They are copied after the others.
    pub heredocs: Vec<Heredoc>,
    /// The destination.
    pub dest: String,
    /// `--chown`; an empty value is no flag.
    pub chown: Option<String>,
    /// `--chmod`; an empty value is no flag.
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// `--exclude`, in order, never expanded.
    pub exclude: Vec<String>,
}

/// `COPY`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Sources, destination and the flags shared with `ADD`.
    pub transfer: Transfer,
    /// `--from`, never expanded; an empty value is no flag.
    pub from: Option<String>,
    /// `--parents`
    pub parents: bool,
}

/// `ADD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Sources, destination and the flags shared with `COPY`.
    pub transfer: Transfer,
    /// `--checksum`; an empty value is no flag.
    pub checksum: Option<String>,
    /// `--keep-git-dir`, absent if not given.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, absent if not given.
    pub unpack: Option<bool>,
}

/// `ENV` and `LABEL`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// Keys and values, in order; both are expanded.
    pub pairs: Vec<(String, String)>,
    /// Written as `ENV key value`.
    pub legacy: bool,
}

/// `ARG`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The arguments it declares, in order.
    pub args: Vec<ArgDefinition>,
}

/// One argument of `ARG`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDefinition {
    /// The name, never expanded.
    pub name: String,
    /// The default, if there is one.
    pub default: Option<String>,
}

/// `HEALTHCHECK`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: disables an inherited check.
    None,
    /// `CMD`
    Check(HealthcheckCommand),
}

/// `HEALTHCHECK CMD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthcheckCommand {
    /// What to run; the shell form does not use `SHELL`.
    pub command: CommandLine,
    /// `--interval`
    pub interval: Option<Duration>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--start-period`
    pub start_period: Option<Duration>,
    /// `--start-interval`
    pub start_interval: Option<Duration>,
    /// `--retries`
    pub retries: Option<u32>,
}

/// `ONBUILD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBuild {
    /// The trigger as the image stores it: the text after `ONBUILD`, bodies of here-documents
    /// appended. [`crate::parse_trigger`] reads it again.
    pub trigger: String,
}
