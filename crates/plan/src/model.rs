//! The plan itself: plain values that print, compare and hash.
//!
//! Nothing in a plan is expanded any more, and nothing later reads the Dockerfile again.

use std::fmt;

use dockerfile::lint::Warning;
use dockerfile::{Network, Security, Sharing, Span};
use oci::{ConfigEdit, Digest, Platform};

use crate::gitref::GitRef;
use crate::graph::BaseImageRequest;

/// A stage, by its place in the Dockerfile, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub usize);

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A step, by its stage and its place in it, from 0. Triggers of the base come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    /// The stage.
    pub stage: StageId,
    /// The place among the stage's steps.
    pub index: usize,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stage, self.index)
    }
}

/// An image that the build starts from or copies from: its full name and its platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseImageId(String);

impl BaseImageId {
    /// The identity of a reference on a platform.
    pub fn new(reference: &oci::Reference, platform: &Platform) -> BaseImageId {
        BaseImageId(format!("{} for {platform}", reference.normalized()))
    }

    /// The text, for messages and as a key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaseImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything a build will do.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildPlan {
    /// The stages the targets need, each after those it depends on.
    pub stages: Vec<StagePlan>,
    /// The stages asked for, in the order they were asked for.
    pub targets: Vec<StageId>,
    /// The stage whose image the build is for: the last of the targets.
    pub target: StageId,
    /// The images the stages start from or copy from.
    pub base_images: Vec<BaseImageRequest>,
    /// `SOURCE_DATE_EPOCH`, where the build arguments or the file set it.
    pub epoch: Option<i64>,
    /// What the linter has to say.
    pub warnings: Vec<Warning>,
    /// Build arguments that nothing in the file asks for.
    pub unused_build_args: Vec<String>,
}

impl BuildPlan {
    /// A stage of the plan.
    pub fn stage(&self, id: StageId) -> Option<&StagePlan> {
        self.stages.iter().find(|stage| stage.id == id)
    }

    /// What an image of the plan was asked for as.
    pub fn base_image(&self, id: &BaseImageId) -> Option<&BaseImageRequest> {
        self.base_images.iter().find(|request| &request.id == id)
    }
}

/// One stage: a base, then steps in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StagePlan {
    /// Which one.
    pub id: StageId,
    /// Its name.
    pub name: Option<String>,
    /// What it starts from.
    pub base: StageBase,
    /// The platform its steps run on.
    pub platform: Platform,
    /// Changes of the base's config that no instruction makes and the history does not show,
    /// before the first step: the default PATH, the triggers that have fired.
    pub setup: Vec<ConfigEdit>,
    /// The steps.
    pub steps: Vec<Step>,
    /// The same after the last step, for a target: the caller's labels and platform.
    pub closing: Vec<ConfigEdit>,
    /// Where its `FROM` stands.
    pub span: Span,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StageBase {
    /// Nothing.
    Scratch,
    /// A pulled image.
    Image(BaseImageId),
    /// An earlier stage: its config, its history and its layers.
    Stage(StageId),
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// Which one.
    pub id: StepId,
    /// What it does.
    pub op: Op,
    /// What it reads besides the stage's own files.
    pub inputs: Vec<StepInput>,
    /// Where it stands; for a trigger, where the `FROM` stands that fired it.
    pub span: Span,
    /// What the history says made it.
    pub created_by: String,
    /// Whether and how it enters the history.
    pub history: HistoryKind,
    /// The instruction as it is written, for progress.
    pub text: String,
    /// Whether it comes from the base's `ONBUILD`.
    pub triggered: bool,
}

impl Step {
    /// What the step changes in the config.
    pub fn edits(&self) -> Vec<ConfigEdit> {
        match &self.op {
            Op::Config(edits) => edits.clone(),
            Op::Workdir(op) => vec![ConfigEdit::WorkingDir(op.path.clone())],
            Op::Copy(_) | Op::Add(_) | Op::Run(_) => Vec::new(),
        }
    }
}

/// How a step enters the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistoryKind {
    /// Not at all (`ONBUILD`).
    None,
    /// As a step without a layer.
    Empty,
    /// As the step that made a layer, even if the layer is empty.
    Layer,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Changes the config only; without an edit, not even that (`ARG`).
    Config(Vec<ConfigEdit>),
    /// Sets the working directory and makes it.
    Workdir(WorkdirOp),
    /// Copies.
    Copy(CopyOp),
    /// Copies, downloads, unpacks.
    Add(AddOp),
    /// Runs a program; what it changes is seen only afterwards.
    Run(RunOp),
}

/// `WORKDIR` of anything but `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkdirOp {
    /// The directory, absolute and clean; also the config's.
    pub path: String,
    /// The `USER` in force, who owns the directories that are made; empty for root.
    pub user: String,
}

/// `COPY`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CopyOp {
    /// Where the sources are.
    pub from: CopySource,
    /// The paths and patterns, as expanded.
    pub sources: Vec<String>,
    /// Here-documents, copied after the others.
    pub inline: Vec<InlineFile>,
    /// The destination, as expanded: a final `/` or `/.` matters, relative is below `cwd`.
    pub dest: String,
    /// The working directory, absolute.
    pub cwd: String,
    /// `--chown`, as expanded.
    pub chown: Option<String>,
    /// `--chmod`, as expanded and checked: octal up to 7777, or symbolic.
    pub chmod: Option<String>,
    /// `--link`, unless `--chmod` takes it out of force.
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
}

/// `ADD`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddOp {
    /// The sources, as expanded, each of its kind.
    pub sources: Vec<AddSource>,
    /// Here-documents, copied after the others.
    pub inline: Vec<InlineFile>,
    /// The destination, as expanded: a final `/` or `/.` matters, relative is below `cwd`.
    pub dest: String,
    /// The working directory, absolute.
    pub cwd: String,
    /// `--chown`, as expanded.
    pub chown: Option<String>,
    /// `--chmod`, as expanded and checked: octal up to 7777, or symbolic.
    pub chmod: Option<String>,
    /// `--link`, unless `--chmod` takes it out of force.
    pub link: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// `--unpack`; by default local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
}

/// Where `COPY` finds its sources.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CopySource {
    /// The build context, less what is ignored.
    Context,
    /// A stage's files.
    Stage(StageId),
    /// An image's files.
    Image(BaseImageId),
    /// `--from=scratch`: nothing.
    Scratch,
}

/// One source of `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AddSource {
    /// A path or pattern in the build context.
    Local(String),
    /// A file at an address.
    Url(RemoteFile),
    /// A repository's files; its `keep_git_dir` and `checksum` hold what the flags say.
    Git(GitRef),
}

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteFile {
    /// The address, as expanded.
    pub url: String,
    /// The name of the file in a directory.
    pub file_name: String,
    /// `--checksum`
    pub checksum: Option<Digest>,
}

/// A file whose content stands in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InlineFile {
    /// The here-document's name.
    pub name: String,
    /// Its body, tabs stripped and variables expanded where it says so.
    pub content: String,
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunOp {
    /// The program and its arguments, the shell already in front.
    pub argv: Vec<String>,
    /// The environment: the image's, then the build arguments in scope.
    pub env: Vec<(String, String)>,
    /// Proxy settings for the program that are no part of the step's identity.
    pub proxy: Vec<(String, String)>,
    /// The working directory, absolute.
    pub cwd: String,
    /// The `USER` in force; empty for root.
    pub user: String,
    /// The host's name.
    pub hostname: String,
    /// An executable at `/dev/pipes/<name>`: a here-document that begins with `#!`.
    pub script: Option<InlineFile>,
    /// `--mount`, in order.
    pub mounts: Vec<MountSpec>,
    /// `--network`
    pub network: RunNetwork,
    /// `--security`
    pub security: RunSecurity,
    /// `--device`, in order.
    pub devices: Vec<Device>,
}

/// One `RUN --mount`. Targets are absolute; sources are paths in what they come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MountSpec {
    /// `type=bind`
    Bind {
        /// What is mounted.
        from: MountSource,
        /// Which part of it.
        source: String,
        /// Where.
        target: String,
        /// Writes do not reach the source; where they are allowed they are dropped afterwards.
        read_only: bool,
    },
    /// `type=cache`
    Cache {
        /// Which cache, the namespace in front.
        id: String,
        /// What the cache is filled with when it is new.
        from: MountSource,
        /// Which part of it.
        source: String,
        /// Where.
        target: String,
        /// Who may use it at the same time.
        sharing: CacheSharing,
        /// Whether the program may change it.
        read_only: bool,
        /// Mode of a new cache's directory.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// `type=tmpfs`
    Tmpfs {
        /// Where.
        target: String,
        /// How large it may grow, in bytes.
        size: Option<u64>,
    },
    /// `type=secret`
    Secret {
        /// Which secret.
        id: String,
        /// The file, unless it is only a variable.
        target: Option<String>,
        /// The variable.
        env: Option<String>,
        /// Whether the step fails without the secret.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// `type=ssh`
    Ssh {
        /// Which agent.
        id: String,
        /// The socket, unless the default.
        target: Option<String>,
        /// Whether the step fails without the agent.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MountSource {
    /// The build context, less what is ignored.
    Context,
    /// A stage's files.
    Stage(StageId),
    /// An image's files.
    Image(BaseImageId),
    /// Nothing.
    Scratch,
}

/// One `RUN --device`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    /// The CDI name.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

/// `RUN --network`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunNetwork {
    /// What the builder has.
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
}

/// `RUN --security`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunSecurity {
    /// Confined.
    Sandbox,
    /// Not confined.
    Insecure,
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheSharing {
    /// Everybody.
    Shared,
    /// One step; another gets a cache of its own.
    Private,
    /// One step; another waits.
    Locked,
}

/// Something a step reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StepInput {
    /// Part of the build context.
    Context(Selection),
    /// Part of a stage's files.
    Stage(StageId, Selection),
    /// Part of an image's files.
    Image(BaseImageId, Selection),
    /// A file at an address.
    Url(RemoteFile),
    /// A repository.
    Git(GitRef),
}

/// Which files of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Paths and patterns below the tree's root.
    pub sources: Vec<String>,
    /// What is left out, relative to each source.
    pub exclude: Vec<String>,
    /// Whether the sources keep their paths.
    pub parents: bool,
}

impl From<Network> for RunNetwork {
    fn from(network: Network) -> RunNetwork {
        match network {
            Network::Default => RunNetwork::Default,
            Network::None => RunNetwork::None,
            Network::Host => RunNetwork::Host,
        }
    }
}

impl From<Security> for RunSecurity {
    fn from(security: Security) -> RunSecurity {
        match security {
            Security::Sandbox => RunSecurity::Sandbox,
            Security::Insecure => RunSecurity::Insecure,
        }
    }
}

impl From<Sharing> for CacheSharing {
    fn from(sharing: Sharing) -> CacheSharing {
        match sharing {
            Sharing::Shared => CacheSharing::Shared,
            Sharing::Private => CacheSharing::Private,
            Sharing::Locked => CacheSharing::Locked,
        }
    }
}
