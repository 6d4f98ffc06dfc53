//! Asks the cache for everything that can be asked for, before anything is built, and says what is
//! left to do.
//!
//! Goes on past a miss: the key of a step needs what the step before it *is*, not what it made. Only
//! where a source is not read yet, and nothing that stands for it is in the cache, the keys of what
//! comes after are not known; `reuse.rs` goes on from there once the source is read. Touches no root.

use std::collections::{BTreeMap, BTreeSet};

use cache::{CacheKey, Start, first_state, stands_alone, state_after};
use oci::LayerRef;
use plan::{
    BaseImageId, BuildPlan, GitRef, Op, RemoteFile, StageBase, StageId, StagePlan, Step, StepId,
};
use tokio::runtime::Handle;

use crate::bases::Bases;
use crate::ledger::reads;
use crate::remote::git_source;
use crate::request::BuildRequest;
use crate::results::{Asked, Probed, Results};
use crate::sources::{Reader, StandIns};
use crate::workspace::Workspace;

/// The side root in which questions to git servers are put together.
const ASKING: &str = "asking";

/// A question on its way, and what it is about.
struct Question {
    step: StepId,
    probed: Probed,
    asked: Option<Asked>,
}

/// Asks for steps.
#[derive(Clone, Copy)]
pub(crate) struct Prober<'a> {
    pub request: &'a BuildRequest,
    pub plan: &'a BuildPlan,
    pub bases: &'a Bases,
    pub reader: Reader<'a>,
    pub results: &'a Results,
    pub runtime: &'a Handle,
    pub workspace: &'a Workspace,
}

/// What is left to do.
#[derive(Debug)]
pub(crate) struct Remainder {
    /// The plan without the stages that nobody needs.
    pub plan: BuildPlan,
    /// The stages that nobody needs: all that read them is cached.
    pub needless: Vec<StageId>,
    /// Steps that may have to be carried out, and so read what they read.
    pub open: BTreeSet<StepId>,
}

impl Prober<'_> {
    /// Asks for all steps of all stages.
    pub(crate) fn probe(&self) -> Remainder {
        let mut questions = Vec::new();
        for stage in &self.plan.stages {
            self.steps(stage, 0, self.start(stage), &mut questions);
        }
        self.settle(questions);
        self.remainder()
    }

    /// Asks for the steps of a stage from one on, now that the state before it is known.
    pub(crate) fn go_on(&self, stage: &StagePlan, from: StepId, state: CacheKey) {
        let at = stage.steps.iter().position(|step| step.id == from).unwrap_or(stage.steps.len());
        let mut questions = Vec::new();
        self.steps(stage, at, Some(state), &mut questions);
        self.settle(questions);
    }

    /// The state before the first step.
    pub(crate) fn start(&self, stage: &StagePlan) -> Option<CacheKey> {
        match &stage.base {
            StageBase::Scratch => Some(first_state(Start::Scratch, &stage.platform)),
            StageBase::Image(id) => {
                let digest = &self.bases.get(id)?.image.manifest_descriptor().digest;
                Some(first_state(Start::Image(digest), &stage.platform))
            }
            StageBase::Stage(parent) => self.results.state(*parent),
        }
    }

    fn steps(
        &self,
        stage: &StagePlan,
        from: usize,
        mut state: Option<CacheKey>,
        questions: &mut Vec<Question>,
    ) {
        for step in &stage.steps[from..] {
            if matches!(step.op, Op::Config(_)) || (state.is_none() && !stands_alone(&step.op)) {
                continue;
            }
            let Some(mut question) = self.question(step, state.as_ref()) else {
                state = None;
                continue;
            };
            let content = match (question.probed.early, question.asked.take()) {
                (false, asked) => {
                    question.asked = asked;
                    Some(question.probed.key.key)
                }
                // What comes after needs the answer.
                (true, Some(asked)) => {
                    question.probed.hit = self.results.answer(asked);
                    question.probed.hit.as_ref().map(|hit| hit.cached.content)
                }
                (true, None) => None,
            };
            state = state.zip(content).map(|(state, key)| state_after(&step.op, &state, &key));
            questions.push(question);
        }
        if let Some(state) = state {
            self.results.set_state(stage.id, state);
        }
    }

    fn question(&self, step: &Step, state: Option<&CacheKey>) -> Option<Question> {
        let known = self.reader.before(&step.op, self)?;
        let key = self.results.key(step, state, &known)?;
        let early = known.iter().any(|known| known.source.is_early());
        let asked = self.results.is_cached(&step.op).then(|| self.results.ask(key.key));
        Some(Question { step: step.id, probed: Probed { key, early, hit: None }, asked })
    }

    fn settle(&self, questions: Vec<Question>) {
        for Question { step, mut probed, asked } in questions {
            if let Some(asked) = asked {
                probed.hit = self.results.answer(asked);
            }
            self.results.note(step, probed);
        }
    }

    fn remainder(&self) -> Remainder {
        let open = self.open();
        let executed = |step: &Step| open.contains(&step.id);
        let mut needed: BTreeSet<StageId> = BTreeSet::new();
        let mut wanted: Vec<StageId> =
            self.plan.images.iter().chain(&self.plan.targets).copied().collect();
        while let Some(id) = wanted.pop() {
            if needed.insert(id)
                && let Some(stage) = self.plan.stage(id)
            {
                wanted.extend(reads(stage, &executed));
            }
        }
        let mut plan = self.plan.clone();
        plan.stages.retain(|stage| needed.contains(&stage.id));
        let all = self.plan.stages.iter().map(|stage| stage.id);
        let needless = all.filter(|id| !needed.contains(id)).collect();
        Remainder { plan, needless, open }
    }

    /// The steps whose layers are not certain: they are not in the cache, or what is there was made
    /// upon layers that are not known yet. A hit that was made upon others is forgotten.
    fn open(&self) -> BTreeSet<StepId> {
        let mut open = BTreeSet::new();
        let mut ends: BTreeMap<StageId, Option<Vec<LayerRef>>> = BTreeMap::new();
        for stage in &self.plan.stages {
            let mut layers = match &stage.base {
                StageBase::Scratch => Some(Vec::new()),
                StageBase::Image(id) => self.bases.get(id).map(|base| base.image.layers().to_vec()),
                StageBase::Stage(id) => ends.get(id).cloned().flatten(),
            };
            let steps = stage.steps.iter().filter(|step| !matches!(step.op, Op::Config(_)));
            for step in steps {
                let hit = self.results.probed(step.id).and_then(|probed| probed.hit);
                let certain = match (&hit, &layers) {
                    (Some(hit), Some(layers)) => hit.fits(layers),
                    (Some(hit), None) => hit.cached.below.is_none(),
                    (None, _) => false,
                };
                if !certain && layers.is_some() {
                    self.results.drop_hit(step.id);
                }
                match (hit.filter(|_| certain), &mut layers) {
                    (Some(hit), Some(layers)) => layers.push(hit.cached.layer),
                    (Some(_), None) => {}
                    (None, _) => {
                        open.insert(step.id);
                        layers = None;
                    }
                }
            }
            ends.insert(stage.id, layers);
        }
        open
    }
}

impl StandIns for Prober<'_> {
    fn stage(&self, id: StageId) -> Option<Vec<u8>> {
        self.results.state(id).map(|state| state.to_string().into_bytes())
    }

    fn image(&self, id: &BaseImageId) -> Option<Vec<u8>> {
        let base = self.bases.get(id)?;
        Some(base.image.manifest_descriptor().digest.as_str().as_bytes().to_vec())
    }

    fn address(&self, file: &RemoteFile) -> Option<Vec<u8>> {
        let pull = &self.request.pull;
        let http = transport::Http::new(&pull.http).ok()?;
        let asked = context::validator(&http, &file.url, &pull.retry);
        let validator = self.runtime.block_on(asked).ok().flatten()?;
        Some(validator.into_bytes())
    }

    fn commit(&self, git: &GitRef) -> Option<String> {
        // Stages at work may ask at the same time, so each question has a place of its own.
        self.workspace.side_root(ASKING).ok()?;
        let name = format!("{ASKING}/{}", self.results.next_question());
        let (source, place) = (git_source(git), self.workspace.path().join(name));
        context::remote_commit(&source, &self.request.pull.http, &place, self.reader.stop).ok()
    }
}
