//! What the cache has in place of carrying a step out, and keeping what was carried out.

use cache::{CacheKey, CachedLayer, Explained, state_after};
use oci::Descriptor;
use plan::{Op, Step};

use crate::error::StepError;
use crate::event::Event;
use crate::explain;
use crate::probe::Prober;
use crate::reads::Reads;
use crate::results::{Hit, Probed, Results};
use crate::sources::Reader;
use crate::stage::{Current, Executor, Sealed};
use crate::uploads::Arrival;

/// Under which keys the result of a step is kept.
pub(crate) struct Keys {
    content: Explained,
    /// Made of what stood for sources.
    alias: Option<CacheKey>,
}

/// What is to be done about a step.
pub(crate) enum Answer {
    /// Nothing: here is its layer.
    Have(Box<Hit>),
    /// Carry it out. What it reads may be at hand already.
    Build(Option<Keys>, Option<Reads>),
}

impl<'a> Executor<'a> {
    /// Asks the cache about a step.
    pub(crate) fn consult(&self, current: &Current<'a>, step: &Step) -> Result<Answer, StepError> {
        let Some((prober, state)) = self.prober.as_ref().zip(current.state) else {
            return Ok(Answer::Build(None, None));
        };
        if matches!(step.op, Op::Config(_)) {
            return Ok(Answer::Build(None, None));
        }
        let results = prober.results;
        if results.probed(step.id).is_none() {
            prober.go_on(current.stage, step.id, state);
        }
        let probed = results.probed(step.id);
        if let Some(hit) = probed.as_ref().and_then(|probed| probed.hit.clone()) {
            if hit.fits(current.draft.layers()) {
                return Ok(Answer::Have(Box::new(hit)));
            }
            results.drop_hit(step.id);
        }
        match probed {
            Some(Probed { key, early: false, .. }) => {
                Ok(Answer::Build(Some(Keys { content: key, alias: None }), None))
            }
            early => self.consult_by_content(current, step, early, prober),
        }
    }

    /// Reads what the step reads, and asks for that.
    fn consult_by_content(
        &self,
        current: &Current<'a>,
        step: &Step,
        early: Option<Probed>,
        prober: &Prober<'_>,
    ) -> Result<Answer, StepError> {
        let results = prober.results;
        let reads = self.reads(current, step)?;
        let known = {
            let share = self.cores.share();
            Reader { threads: share.threads, ..prober.reader }.after(&step.op, &reads)?
        };
        let Some(content) = results.key(step, current.state.as_ref(), &known) else {
            return Ok(Answer::Build(None, Some(reads)));
        };
        let alias = early.map(|probed| probed.key.key);
        let asked = results.is_cached(&step.op).then(|| results.ask(content.key));
        let found = asked.and_then(|asked| results.answer(asked));
        match found.filter(|hit| hit.fits(current.draft.layers())) {
            Some(hit) => {
                self.put_away(current.stage.id, &reads)?;
                if let Some(alias) = alias {
                    self.keep(results, vec![alias], hit.cached.clone(), None);
                }
                Ok(Answer::Have(Box::new(hit)))
            }
            None => Ok(Answer::Build(Some(Keys { content, alias }), Some(reads))),
        }
    }

    /// Makes a hit the next layer of the stage; its files come when a step needs them.
    pub(crate) fn take(&self, current: &mut Current<'a>, step: &Step, hit: &Hit) {
        let Some(prober) = &self.prober else { return };
        let results = prober.results;
        self.blobs.note_cached(&results.cache, hit);
        self.ledger.postpone(current.stage.id, hit.clone());
        results.take(hit.clone());
        current.state =
            current.state.map(|state| state_after(&step.op, &state, &hit.cached.content));
        self.observer.observe(&Event::StepCached {
            stage: current.name.clone(),
            text: step.text.clone(),
            key: hit.key.to_string(),
        });
    }

    /// Says that the cache does not have what a step makes, and why if it was asked.
    pub(crate) fn tell_miss(&self, current: &Current<'a>, step: &Step) {
        let Some(results) = self.prober.as_ref().map(|prober| prober.results) else { return };
        if !results.is_cached(&step.op) {
            return;
        }
        let explain = |earlier: &explain::Keys| {
            Some(earlier.reason(current.stage, step, results.made_of(step.id)?))
        };
        self.observer.observe(&Event::StepMissed {
            stage: current.name.clone(),
            text: step.text.clone(),
            reason: results.earlier.as_ref().and_then(explain),
        });
    }

    /// Keeps what a step made.
    pub(crate) fn remember(
        &self,
        current: &mut Current<'a>,
        step: &Step,
        sealed: &Sealed,
        keys: &Keys,
        uploading: Option<Arrival>,
    ) {
        let Some(prober) = &self.prober else { return };
        let results = prober.results;
        let content = &keys.content;
        current.state = current.state.map(|state| state_after(&step.op, &state, &content.key));
        if results.is_cached(&step.op) {
            let layers = current.draft.layers();
            let result = results.result(step, sealed.layer.clone(), content, layers);
            let under = std::iter::once(content.key).chain(keys.alias).collect();
            self.keep(results, under, result, uploading);
        }
    }

    fn keep(
        &self,
        results: &Results,
        keys: Vec<CacheKey>,
        result: CachedLayer,
        uploading: Option<Arrival>,
    ) {
        let ready = async move {
            if let Some(uploading) = uploading {
                uploading.wait().await;
            }
        };
        results.keep(keys, result, self.blobs.store(), ready);
    }

    /// A layer that is part of an image starts to go where the image goes.
    pub(crate) fn upload(&self, current: &Current<'a>, layer: &Descriptor) -> Option<Arrival> {
        let in_an_image = self.ledger.is_in_an_image(current.stage.id);
        in_an_image.then(|| self.uploads.start(layer))
    }
}
