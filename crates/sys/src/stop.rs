//! The stop handle: how a signal or a caller ends work that blocks.
//!
//! Local crates know no async runtime, so cancellation reaches them as a flag to look at between
//! two pieces of work, and as a descriptor to poll beside the one they wait for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// Asks running work to end. Clones share one state; once stopped it stays stopped.
#[derive(Clone, Debug)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    signal: AtomicI32,
    event: OwnedFd,
    /// What is stopped together with this.
    below: Mutex<Vec<Weak<Shared>>>,
}

impl StopHandle {
    /// A handle that nobody has stopped yet. Fails only when no descriptor is to be had.
    pub fn new() -> Result<Self, Errno> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Shared {
            stopped: AtomicBool::new(false),
            signal: AtomicI32::new(0),
            event,
            below: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A handle for a part of the work: it can be stopped alone, and is stopped with this one,
    /// whose signal it then names as well.
    pub fn below(&self) -> Result<Self, Errno> {
        let part = Self::new()?;
        self.shared.parts().push(Arc::downgrade(&part.shared));
        // A stop that came before the line above has not seen the part.
        if self.is_stopped() {
            part.shared.stop(self.shared.signal.load(Ordering::SeqCst));
        }
        Ok(part)
    }

    /// Asks everything that holds this handle to end.
    pub fn stop(&self) {
        self.shared.stop(0);
    }

    /// As [`stop`](Self::stop), and remembers the signal that was the reason.
    pub fn stop_by(&self, signal: i32) {
        self.shared.stop(signal);
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    /// The signal that was the reason, where a signal was.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        Some(self.shared.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// Waits until stopped or until the time is over; returns whether it is stopped.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let mut entries = [PollFd::new(&self.shared.event, PollFlags::IN)];
        let limit = Timespec::try_from(limit).ok();
        // A failing poll (a signal, say) only shortens the wait, and the flag tells the truth.
        let _ = rustix::event::poll(&mut entries, limit.as_ref());
        self.is_stopped()
    }
}

impl Shared {
    /// Stops, for this signal unless it is 0.
    fn stop(&self, signal: i32) {
        // The first signal is the reason; a later one changes nothing.
        let _ = self.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        self.stopped.store(true, Ordering::SeqCst);
        // The write makes the descriptor readable for good. It can only fail with EAGAIN, when the
        // counter is full, that is when the descriptor has long been readable.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        for part in self.parts().iter().filter_map(Weak::upgrade) {
            part.stop(signal);
        }
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.below.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for StopHandle {
    /// Readable once stopped. Poll it; never read from it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_reaches_every_clone_and_keeps_the_first_signal() {
        let stop = StopHandle::new().expect("an eventfd can be had");
        let clone = stop.clone();
        assert!(!clone.is_stopped() && !clone.wait(Duration::ZERO));
        stop.stop_by(15);
        stop.stop_by(2);
        assert!(clone.is_stopped() && clone.wait(Duration::from_secs(3600)));
        assert_eq!(clone.signal(), Some(15));
    }

    #[test]
    fn stopping_without_a_signal_names_none() {
        let stop = StopHandle::new().expect("an eventfd can be had");
        stop.stop();
        assert!(stop.is_stopped());
        assert_eq!(stop.signal(), None);
    }

    #[test]
    fn a_part_stops_alone_and_with_the_whole() {
        let whole = StopHandle::new().expect("an eventfd can be had");
        let [first, second] = [(); 2].map(|()| whole.below().expect("an eventfd can be had"));
        first.stop();
        assert!(first.is_stopped() && !second.is_stopped() && !whole.is_stopped());
        whole.stop_by(15);
        assert!(second.wait(Duration::from_secs(3600)));
        assert_eq!([&first, &second].map(StopHandle::signal), [Some(15); 2]);
        let late = whole.below().expect("an eventfd can be had");
        assert_eq!((late.is_stopped(), late.signal()), (true, Some(15)));
    }
}
