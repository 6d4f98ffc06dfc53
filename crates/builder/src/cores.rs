//! The threads for walking and compressing, shared by the stages that want them at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// All threads that a build may use.
#[derive(Debug)]
pub(crate) struct Cores {
    all: usize,
    sharing: AtomicUsize,
}

/// A part of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    cores: &'a Cores,
    /// How many threads, at least one.
    pub threads: usize,
}

impl Cores {
    pub(crate) fn new(all: usize) -> Cores {
        Cores { all, sharing: AtomicUsize::new(0) }
    }

    /// An equal part of all, among those who have one now.
    pub(crate) fn share(&self) -> Share<'_> {
        let sharing = 1 + self.sharing.fetch_add(1, Ordering::Relaxed);
        Share { cores: self, threads: (self.all / sharing).max(1) }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.cores.sharing.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Cores;

    #[test]
    fn who_comes_later_gets_less_and_nobody_gets_nothing() {
        let cores = Cores::new(4);
        let (first, second, third) = (cores.share(), cores.share(), cores.share());
        assert_eq!([&first, &second, &third].map(|share| share.threads), [4, 2, 1]);
        drop((first, second, third));
        assert_eq!(cores.share().threads, 4);
        assert_eq!(Cores::new(0).share().threads, 1);
    }
}
