//! What the instructions that touch files come down to.

use dockerfile::{Network, Security, Sharing};
use oci::Digest;

use crate::gitref::GitRef;
use crate::model::{BaseImageId, StageId};

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
