//! The plan itself: plain values that print, compare and hash.
//!
//! Nothing in a plan is expanded any more, and nothing later reads the Dockerfile again.

mod op;

use std::fmt;

use dockerfile::Span;
use dockerfile::lint::Warning;
use oci::{ConfigEdit, Platform};

pub use op::{
    AddOp, AddSource, CacheSharing, CopyOp, CopySource, Device, InlineFile, MountSource, MountSpec,
    RemoteFile, RunNetwork, RunOp, RunSecurity, WorkdirOp,
};

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
    /// The stage whose image the build is for: the first of the targets, as in kaniko.
    pub target: StageId,
    /// The stages whose images the build is for, one for each platform: `target` is the first.
    pub images: Vec<StageId>,
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
