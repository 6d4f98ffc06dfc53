//! In which order stages are carried out, and how many at a time.
//!
//! Knows nothing of a stage but what it waits for. The earliest stage that may start does, so that
//! with one worker the order is the plan's. After a failure no stage starts any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use plan::StageId;

/// What each stage waits for.
#[derive(Debug)]
pub(crate) struct Schedule(BTreeMap<StageId, BTreeSet<StageId>>);

impl Schedule {
    /// A stage waits for others of the same plan, all of them earlier ones.
    pub(crate) fn new(waits: impl IntoIterator<Item = (StageId, BTreeSet<StageId>)>) -> Schedule {
        Schedule(waits.into_iter().collect())
    }

    /// How many stages these workers carry out at a time at most: one where each stage waits for
    /// the one before.
    pub(crate) fn at_once(&self, workers: usize) -> usize {
        let in_turn = self.0.keys().zip(self.0.values().skip(1));
        let in_turn = in_turn.into_iter().all(|(earlier, waits)| waits.contains(earlier));
        if in_turn { 1 } else { workers.clamp(1, self.0.len()) }
    }

    /// Carries all stages out; returns the failures. At the first one `halt` is called, which asks
    /// the stages at work to end.
    pub(crate) fn run<E: Send>(
        self,
        workers: usize,
        work: impl Fn(StageId) -> Result<(), E> + Sync,
        halt: impl Fn() + Sync,
    ) -> BTreeMap<StageId, E> {
        let workers = self.at_once(workers);
        let line = Line {
            state: Mutex::new(State {
                waiting: self.0,
                at_work: 0,
                failures: BTreeMap::new(),
                over: false,
            }),
            moved: Condvar::new(),
            work,
            halt,
        };
        std::thread::scope(|scope| {
            for _ in 1..workers {
                let worker = std::thread::Builder::new().name("stage".to_owned());
                // Where no further thread can be had, fewer stages are at work at a time.
                let _ = worker.spawn_scoped(scope, || line.work_off());
            }
            line.work_off();
        });
        line.state.into_inner().unwrap_or_else(PoisonError::into_inner).failures
    }
}

/// Where workers stand in line for stages.
struct Line<E, W, H> {
    state: Mutex<State<E>>,
    /// A stage ended: others may start, or there is nothing left to do.
    moved: Condvar,
    work: W,
    halt: H,
}

struct State<E> {
    /// Stages that have not started, and what each still waits for.
    waiting: BTreeMap<StageId, BTreeSet<StageId>>,
    at_work: usize,
    failures: BTreeMap<StageId, E>,
    /// No stage starts any more.
    over: bool,
}

impl<E, W, H> Line<E, W, H>
where
    W: Fn(StageId) -> Result<(), E>,
    H: Fn(),
{
    fn work_off(&self) {
        while let Some(stage) = self.next() {
            let mut turn = Turn { line: self, stage, outcome: None };
            turn.outcome = Some((self.work)(stage));
        }
    }

    /// Waits for a stage that may start; `None` when there will be none.
    fn next(&self) -> Option<StageId> {
        let mut state = self.lock();
        loop {
            if state.over {
                return None;
            }
            let ready = state.waiting.iter().find(|(_, waits)| waits.is_empty());
            if let Some(stage) = ready.map(|(stage, _)| *stage) {
                state.waiting.remove(&stage);
                state.at_work += 1;
                return Some(stage);
            }
            if state.at_work == 0 || state.waiting.is_empty() {
                return None;
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stage at work. It ends in `drop`, so that a panic wakes those who wait for it, too.
struct Turn<'a, E, W, H: Fn()> {
    line: &'a Line<E, W, H>,
    stage: StageId,
    outcome: Option<Result<(), E>>,
}

impl<E, W, H: Fn()> Drop for Turn<'_, E, W, H> {
    fn drop(&mut self) {
        let mut state = self.line.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.at_work -= 1;
        let succeeded = matches!(self.outcome, Some(Ok(())));
        if let Some(Err(error)) = self.outcome.take() {
            state.failures.insert(self.stage, error);
        }
        if succeeded {
            for waits in state.waiting.values_mut() {
                waits.remove(&self.stage);
            }
        }
        let first = !succeeded && !state.over;
        state.over |= !succeeded;
        drop(state);
        self.line.moved.notify_all();
        if first {
            (self.line.halt)();
        }
    }
}

#[cfg(test)]
mod tests;
