//! What a caller asks of a build. Every default is explicit: nothing is read from the environment,
//! the clock or the host later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use oci::{ImageFormat, Platform, Reference, Timestamp};
use plan::{Entitlement, Lint};
use sys::Secret;

use crate::digests::DigestFiles;

/// One build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The directory that COPY and ADD read, on the host.
    pub context: PathBuf,
    /// The Dockerfile; it need not lie in the context.
    pub dockerfile: context::DockerfilePlace,
    /// The stages to build, by name or index; the last one is the image. Empty: the last stage of
    /// the Dockerfile.
    pub targets: Vec<String>,
    /// `--build-arg`, in the order given.
    pub build_args: Vec<(String, String)>,
    /// `--label`: set on the image after everything else.
    pub labels: Vec<(String, String)>,
    /// `--annotation`: said in the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What the image is built for, if the caller named it: it then wins over what base images say.
    /// Of several platforms each gets an image, and [`Outputs::index`] says how they are joined.
    pub platforms: Vec<Platform>,
    /// What the build runs on.
    pub build_platform: Platform,
    /// Whether RUN steps of another platform may run under an emulator.
    pub emulation: Emulation,
    /// What RUN steps may ask for beyond their usual confinement.
    pub allow: Vec<Entitlement>,
    /// How long a RUN step may take.
    pub command_timeout: Option<Duration>,
    /// `--secret`: what `RUN --mount=type=secret` may ask for, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: sockets of agents that `RUN --mount=type=ssh` may ask for, by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// What to do with findings about the Dockerfile.
    pub lint: Lint,
    /// Base images that a warmer fetched; they are only read.
    pub base_cache: Option<BaseCacheOptions>,
    /// How pulling speaks to registries.
    pub pull: registry::ClientOptions,
    /// How pushing speaks to registries.
    pub push: registry::ClientOptions,
    /// Where results of steps are looked for and kept.
    pub layer_cache: Option<LayerCaching>,
    /// Where the image goes.
    pub outputs: Outputs,
    /// How layers are compressed.
    pub compression: layer::Compression,
    /// The documents' format; `None`: the base image's, OCI on scratch.
    pub format: Option<ImageFormat>,
    /// Where the builder keeps its state. It must be the directory that `run::enter` was given.
    pub state_dir: PathBuf,
    /// Names this build's directory below `state_dir`; unique among builds that run at a time.
    pub build_id: String,
    /// When the build happens: the created times of image and history.
    pub now: Timestamp,
    /// A bound for the times in new layers; also the created times (SOURCE_DATE_EPOCH).
    pub epoch: Option<i64>,
    /// Threads for walking and compressing, of all stages together.
    pub threads: usize,
    /// How many stages may be at work at a time, where each has a root of its own.
    pub max_parallel_stages: usize,
}

/// How results of steps are cached.
#[derive(Debug, Clone)]
pub struct LayerCaching {
    /// Where; asked in this order, and all of them keep what is new.
    pub places: Vec<CachePlace>,
    /// What is older is not there.
    pub lifetime: Duration,
    /// What COPY and ADD make.
    pub copies: bool,
    /// What RUN and WORKDIR make.
    pub runs: bool,
    /// Whether new results are kept.
    pub keep: bool,
    /// Whether to say of each step why it is not cached.
    pub explain: bool,
}

/// A place for results of steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A repository, a tag for each key. It is reached as what is pushed.
    Repository(Reference),
    /// OCI layouts, a directory for each key: the path with the key behind it.
    Layouts(PathBuf),
    /// A directory.
    Directory(PathBuf),
}

/// A cache of base images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseCacheOptions {
    /// Where it is, on the host.
    pub directory: PathBuf,
    /// How long after it was fetched an image may be used.
    pub lifetime: Duration,
}

/// Whether programs of another processor may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulation {
    /// Where the machine has an emulator for them.
    IfPossible,
    /// Not even then: a RUN step that needs it is an error.
    Never,
}

/// How images of several platforms are joined.
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// OCI's index, or Docker's list.
    pub format: ImageFormat,
    /// Annotations of the index; Docker's list has none.
    pub annotations: BTreeMap<String, String>,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions { format: ImageFormat::Oci, annotations: BTreeMap::new() }
    }
}

/// Where a finished image goes.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// References to push to; nothing is pushed when `push` is false.
    pub destinations: Vec<Reference>,
    /// Whether to push at all.
    pub push: bool,
    /// Whether to read back what was pushed: the manifest, and every blob by its size.
    pub verify_push: bool,
    /// Whether to ask the registries for permission before the build.
    pub check_push: bool,
    /// A tag that the registry keeps from being changed is no failure.
    pub ignore_immutable_tags: bool,
    /// The images are joined, and the index goes where one image would go. Several images need it.
    pub index: Option<IndexOptions>,
    /// A docker archive to write; it holds one image.
    pub tar_path: Option<PathBuf>,
    /// An OCI layout to write.
    pub oci_layout_path: Option<PathBuf>,
    /// Who is told what was pushed.
    pub digests: DigestFiles,
    /// On the rung `in-place`: `/` does not hold the image's files after the build, but what
    /// `restore` says; on every rung nothing of the build stays in the state directory but caches
    /// of RUN.
    pub cleanup: bool,
    /// With `cleanup`: what `/` held before the build is back. Else it is gone.
    pub restore: bool,
    /// The target's files are made although no step needs them.
    pub materialize: bool,
}
