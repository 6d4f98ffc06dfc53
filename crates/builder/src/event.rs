//! What a build tells while it runs. The builder prints nothing itself: whoever calls it decides
//! how an event is shown.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dockerfile::Span;
use plan::StagePlan;

/// Something worth telling.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A finding about the Dockerfile; it does not stop the build.
    Lint {
        /// The rule, in BuildKit's spelling.
        rule: String,
        /// What was found.
        detail: String,
        /// Where.
        span: Span,
    },
    /// Something the user should know and that does not stop the build.
    Warning(String),
    /// The plan stands: the build starts.
    Planned {
        /// Stages that will be built.
        stages: usize,
        /// Steps in all of them.
        steps: usize,
    },
    /// The manifest of a base image is known.
    BaseResolved {
        /// The name as the Dockerfile has it.
        name: String,
        /// Its digest.
        digest: String,
    },
    /// The stages are about to start.
    Scheduled {
        /// How many of them may be at work at a time.
        at_once: usize,
    },
    /// A stage starts.
    StageStarted {
        /// The stage.
        stage: StageName,
        /// What it starts from, as the Dockerfile has it.
        base: String,
    },
    /// The files of a stage's base image are in place.
    BaseUnpacked {
        /// The stage.
        stage: StageName,
        /// The name of the image.
        name: String,
        /// How many layers it has.
        layers: usize,
        /// How long it took.
        took: Duration,
    },
    /// The files of layers that the cache had are in place.
    CacheUnpacked {
        /// The stage.
        stage: StageName,
        /// How many layers.
        layers: usize,
        /// How long it took.
        took: Duration,
    },
    /// A step starts.
    StepStarted {
        /// The stage it belongs to.
        stage: StageName,
        /// The instruction, expanded.
        text: String,
    },
    /// A stage is not built: all that would read it is cached.
    StageNeedless {
        /// The stage.
        stage: StageName,
    },
    /// The cache has what a step makes, so it is not carried out.
    StepCached {
        /// The stage it belongs to.
        stage: StageName,
        /// The instruction, expanded.
        text: String,
        /// The key it was found under.
        key: String,
    },
    /// The cache does not have what a step makes.
    StepMissed {
        /// The stage it belongs to.
        stage: StageName,
        /// The instruction, expanded.
        text: String,
        /// What differs from an earlier build, where that was asked for.
        reason: Option<String>,
    },
    /// A step is done.
    StepFinished {
        /// The stage it belongs to.
        stage: StageName,
        /// The instruction, expanded.
        text: String,
        /// How long it took.
        took: Duration,
        /// The layer it made, if it made one.
        layer: Option<LayerSummary>,
    },
    /// Lines that a RUN step wrote.
    Output {
        /// The stage of the step.
        stage: StageName,
        /// Whether it came on stderr.
        stderr: bool,
        /// One line or more, each with its line feed.
        lines: Vec<u8>,
    },
    /// The image is made.
    ImageFinished {
        /// The digest of its manifest.
        digest: String,
        /// What it is for, where the build makes several.
        platform: Option<String>,
    },
    /// The index of several images is made.
    IndexFinished {
        /// Its digest.
        digest: String,
    },
    /// A destination is about to get the image.
    Pushing {
        /// The destination.
        destination: String,
    },
    /// A destination keeps its tag from being changed, and that is no failure.
    TagKept {
        /// Registry and repository of the destination.
        repository: String,
        /// The digest of the manifest that did not get the tag.
        digest: String,
    },
    /// A destination has the image.
    Pushed {
        /// Registry and repository of the destination.
        repository: String,
        /// The destination.
        destination: String,
        /// The digest of the manifest there.
        digest: String,
        /// How long it took.
        took: Duration,
    },
    /// A destination of several does not have the image.
    PushFailed {
        /// The destination.
        destination: String,
        /// Why, with all causes.
        reason: String,
    },
    /// A file or directory with the image was written.
    Written {
        /// What was written: `docker archive` or `OCI layout`.
        what: &'static str,
        /// Where.
        path: String,
    },
}

/// The stage that something happens in. It prints as its name, or as `stage N` where it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageName {
    /// Its place in the Dockerfile, from 0.
    pub index: usize,
    /// Its name, where it has one.
    pub name: Option<Arc<str>>,
}

impl StageName {
    pub(crate) fn of(stage: &StagePlan) -> StageName {
        StageName { index: stage.id.0, name: stage.name.as_deref().map(Arc::from) }
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "stage {}", self.index),
        }
    }
}

/// The size of a layer that a step made.
#[derive(Debug, Clone)]
pub struct LayerSummary {
    /// Entries in the tar archive.
    pub entries: u64,
    /// Bytes of the stored blob.
    pub bytes: u64,
    /// The digest of the blob.
    pub digest: String,
}

/// Receives the events of a build. It is called from several threads, and the events of stages that
/// are at work at the same time come in any order.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: &Event);
}
