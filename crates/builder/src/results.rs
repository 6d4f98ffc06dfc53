//! Results of steps: what the cache answered, the states of stages by which keys are made, and what is
//! on its way into the cache.
//!
//! One per try of a build. Nothing here fails a build: a cache that cannot be used knows nothing.
//! `probe.rs` asks, `reuse.rs` takes and keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache::{CacheKey, CachedLayer, Explained, KeyPart, LayerCache, Source, Writer};
use copy::FileIdentity;
use oci::{ChainId, LayerRef, chain_ids};
use plan::{BuildPlan, Op, StageId, Step, StepId};
use store::BlobStore;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::explain;
use crate::request::{BuildRequest, LayerCaching};
use crate::sources::{Known, Seen};

/// Clocks of builders differ by no more than this, in seconds.
const CLOCK_SKEW: i64 = 3600;
/// So many keys are asked for at a time.
const QUESTIONS: usize = 16;

/// A result that a cache has.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// The key it was found under.
    pub key: CacheKey,
    pub cached: CachedLayer,
}

impl Hit {
    /// Whether it was made upon these layers, or upon none.
    pub(crate) fn fits(&self, below: &[LayerRef]) -> bool {
        self.cached.below.as_ref().is_none_or(|wanted| *wanted == self::below(below))
    }
}

/// What was found out about a step.
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    pub key: Explained,
    /// Whether the key is made of what stands for sources: there is another by content.
    pub early: bool,
    /// What the cache has, or not.
    pub hit: Option<Hit>,
}

/// What a key was made of.
#[derive(Debug, Clone)]
pub(crate) struct MadeOf {
    pub parts: Vec<KeyPart>,
    /// The files of each source, by its label.
    pub files: Vec<(String, Vec<FileIdentity>)>,
}

fn label(source: &Source) -> String {
    match source {
        Source::Content { label, .. } | Source::Early { label, .. } => label.clone(),
    }
}

/// Keys that the cache answered with what could not be used. They outlive a try of a build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Distrusted(Arc<Mutex<BTreeSet<CacheKey>>>);

impl Distrusted {
    pub(crate) fn add(&self, key: CacheKey) {
        lock(&self.0).insert(key);
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    fn contains(&self, key: &CacheKey) -> bool {
        lock(&self.0).contains(key)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Results {
    pub cache: Arc<dyn LayerCache>,
    pub options: LayerCaching,
    pub writer: Writer,
    pub distrusted: Distrusted,
    pub seen: Seen,
    /// What keys were made of in an earlier build, where that is to be told.
    pub earlier: Option<explain::Keys>,
    /// Where that is kept.
    slot: CacheKey,
    /// When the build happens, in seconds since 1970.
    now: i64,
    runtime: Handle,
    questions: Arc<tokio::sync::Semaphore>,
    probed: Mutex<BTreeMap<StepId, Probed>>,
    /// Of stages whose last state is known.
    states: Mutex<BTreeMap<StageId, CacheKey>>,
    made_of: Mutex<BTreeMap<StepId, MadeOf>>,
    /// Hits that became part of an image.
    taken: Mutex<Vec<Hit>>,
    keeping: Mutex<Vec<JoinHandle<()>>>,
    asked: AtomicUsize,
}

/// A question that is on its way.
pub(crate) type Asked = JoinHandle<Option<Hit>>;

impl Results {
    /// Of a build whose new layers have this bound for times.
    pub(crate) fn new(
        (cache, options): (Arc<dyn LayerCache>, LayerCaching),
        request: &BuildRequest,
        epoch: Option<i64>,
        distrusted: Distrusted,
        runtime: Handle,
    ) -> Results {
        let compression = format!("{:?}", request.compression);
        Results {
            cache,
            options,
            writer: Writer { compression, epoch },
            distrusted,
            seen: Seen::default(),
            earlier: None,
            slot: explain::slot(request),
            now: request.now.seconds(),
            runtime,
            questions: Arc::new(tokio::sync::Semaphore::new(QUESTIONS)),
            probed: Mutex::default(),
            states: Mutex::default(),
            made_of: Mutex::default(),
            taken: Mutex::default(),
            keeping: Mutex::default(),
            asked: AtomicUsize::new(0),
        }
    }

    /// Whether results of such a step are kept and looked for.
    pub(crate) fn is_cached(&self, op: &Op) -> bool {
        match op {
            Op::Config(_) => false,
            Op::Copy(_) | Op::Add(_) => self.options.copies,
            Op::Run(_) | Op::Workdir(_) => self.options.runs,
        }
    }

    /// Asks for a key.
    pub(crate) fn ask(&self, key: CacheKey) -> Asked {
        let (cache, questions) = (Arc::clone(&self.cache), Arc::clone(&self.questions));
        let distrusted = self.distrusted.contains(&key);
        let lifetime = i64::try_from(self.options.lifetime.as_secs()).unwrap_or(i64::MAX);
        let (oldest, newest) = (self.now.saturating_sub(lifetime), self.now + CLOCK_SKEW);
        self.runtime.spawn(async move {
            if distrusted {
                return None;
            }
            let _turn = questions.acquire_owned().await;
            match cache.look_up(&key, Some(oldest)).await {
                // What comes from the future would never grow old.
                Ok(found) => found
                    .filter(|cached| cached.created <= newest)
                    .map(|cached| Hit { key, cached }),
                Err(error) => {
                    tracing::debug!(%key, error = %transport::chain(&error), "cache not asked");
                    None
                }
            }
        })
    }

    /// A number that no other question has.
    pub(crate) fn next_question(&self) -> usize {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for an answer.
    pub(crate) fn answer(&self, asked: Asked) -> Option<Hit> {
        self.runtime.block_on(asked).ok().flatten()
    }

    pub(crate) fn note(&self, step: StepId, probed: Probed) {
        lock(&self.probed).insert(step, probed);
    }

    pub(crate) fn probed(&self, step: StepId) -> Option<Probed> {
        lock(&self.probed).get(&step).cloned()
    }

    /// The key of a step from what is known of its sources. What it was made of is remembered for
    /// explanations; what is known later replaces it.
    pub(crate) fn key(
        &self,
        step: &Step,
        state: Option<&CacheKey>,
        known: &[Known],
    ) -> Option<Explained> {
        let sources: Vec<Source> = known.iter().map(|known| known.source.clone()).collect();
        let key = cache::step_key(step, state, &sources, &self.writer)?;
        if self.options.keep || self.options.explain {
            let files = known.iter().map(|known| (label(&known.source), known.files.clone()));
            let made_of = MadeOf { parts: key.parts.clone(), files: files.collect() };
            lock(&self.made_of).insert(step.id, made_of);
        }
        Some(key)
    }

    /// What the key of a step was made of.
    pub(crate) fn made_of(&self, step: StepId) -> Option<MadeOf> {
        lock(&self.made_of).get(&step).cloned()
    }

    /// Forgets a hit that cannot be used after all.
    pub(crate) fn drop_hit(&self, step: StepId) {
        if let Some(probed) = lock(&self.probed).get_mut(&step) {
            probed.hit = None;
        }
    }

    pub(crate) fn state(&self, stage: StageId) -> Option<CacheKey> {
        lock(&self.states).get(&stage).copied()
    }

    pub(crate) fn set_state(&self, stage: StageId, state: CacheKey) {
        lock(&self.states).insert(stage, state);
    }

    pub(crate) fn take(&self, hit: Hit) {
        lock(&self.taken).push(hit);
    }

    pub(crate) fn taken(&self) -> Vec<Hit> {
        lock(&self.taken).clone()
    }

    /// Keeps a result under its keys, in the background, once `ready` is over.
    pub(crate) fn keep(
        &self,
        keys: Vec<CacheKey>,
        cached: CachedLayer,
        blobs: &BlobStore,
        ready: impl Future<Output = ()> + Send + 'static,
    ) {
        if !self.options.keep {
            return;
        }
        let (cache, blobs) = (Arc::clone(&self.cache), blobs.clone());
        self.in_background(async move {
            ready.await;
            for key in keys {
                let Err(error) = cache.put(&key, &cached, &blobs).await else { continue };
                // The cache has told a person.
                tracing::debug!(%key, error = %transport::chain(&error), "result not kept");
                break;
            }
        });
    }

    fn in_background(&self, keeping: impl Future<Output = ()> + Send + 'static) {
        lock(&self.keeping).push(self.runtime.spawn(keeping));
    }

    /// Looks for what keys were made of in an earlier build, if it is to be told.
    pub(crate) async fn recall(&mut self, blobs: &BlobStore) {
        if self.options.explain {
            let found = cache::recall(self.cache.as_ref(), &self.slot, blobs).await;
            self.earlier = found.and_then(|bytes| explain::Keys::parse(&bytes));
        }
    }

    /// Keeps what keys were made of in the build of this plan.
    pub(crate) fn keep_made_of(&self, plan: &BuildPlan, blobs: &BlobStore) {
        if !self.options.keep {
            return;
        }
        let bytes = explain::Keys::of(plan, self).to_bytes();
        let (cache, blobs) = (Arc::clone(&self.cache), blobs.clone());
        let (slot, now) = (self.slot, self.now);
        self.in_background(async move {
            if let Err(error) = cache::remember(cache.as_ref(), &slot, &bytes, now, &blobs).await {
                tracing::debug!(error = %transport::chain(&error), "keys are not remembered");
            }
        });
    }

    /// What a new result says of itself.
    pub(crate) fn result(
        &self,
        step: &Step,
        layer: LayerRef,
        content: &Explained,
        layers: &[LayerRef],
    ) -> CachedLayer {
        CachedLayer {
            layer,
            content: content.key,
            below: (!cache::stands_alone(&step.op)).then(|| below(layers)),
            created: self.now,
            created_by: step.created_by.clone(),
            parts: content.parts.clone(),
        }
    }

    /// Waits until all is kept that was to be.
    pub(crate) async fn kept(&self) {
        let keeping = std::mem::take(&mut *lock(&self.keeping));
        for keeping in keeping {
            // One that was lost is a result that the next build makes again.
            let _ = keeping.await;
        }
        self.cache.settle().await;
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        lock(&self.keeping).iter().for_each(JoinHandle::abort);
    }
}

/// The layers below a new one.
fn below(layers: &[LayerRef]) -> cache::Below {
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    cache::Below(chain_ids(&diff_ids).pop().map(|ChainId(digest)| digest))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
