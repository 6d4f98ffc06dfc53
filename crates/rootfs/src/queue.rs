//! The directories that a walk by several threads has yet to list.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::path::RootPath;

/// Directories to be listed. Taken from the end, so that it stays short in deep trees.
pub(crate) struct Queue<E> {
    state: Mutex<QueueState<E>>,
    changed: Condvar,
}

struct QueueState<E> {
    waiting: Vec<RootPath>,
    active: usize,
    failure: Option<E>,
}

impl<E> Queue<E> {
    pub(crate) fn new(start: RootPath) -> Queue<E> {
        let state = QueueState { waiting: vec![start], active: 0, failure: None };
        Queue { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next directory; `None` when all are done or one failed.
    pub(crate) fn take(&self) -> Option<RootPath> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(path) = state.waiting.pop() {
                state.active += 1;
                return Some(path);
            }
            if state.active == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn done(&self, found: Result<Vec<RootPath>, E>) {
        let mut state = self.lock();
        state.active -= 1;
        match found {
            Ok(below) => state.waiting.extend(below),
            Err(error) => drop(state.failure.get_or_insert(error)),
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn finish(self) -> Result<(), E> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failure.map_or(Ok(()), Err)
    }
}
