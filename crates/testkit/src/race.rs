//! An attacker who exchanges names while the code under test works with them.
//!
//! In a root, the directory [`DIRECTORY`] and the link [`LINK`], which leads to a *canary* outside,
//! exchange their names over and over, in one system call each, so that there is no moment at
//! which either is missing. Whatever the code does meanwhile may fail; the canary must come out as
//! it was, and nothing of it may come in. Names in the canary are those that tests use in the
//! directory, so that an operation that got out would find something to spoil.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::ScratchRoot;
use crate::tree::{self, Shown};

/// How many exchanges a race has at least.
pub const SWAPS: u64 = 100_000;
/// How often the work is done meanwhile at least.
const ROUNDS: u64 = 200;
/// A machine that is too slow for this is not one to test on.
const LONGEST: Duration = Duration::from_secs(240);
/// So many exchanges count only if both names are afterwards what they were.
const BATCH: u64 = 8;

/// The directory, inside the root. May be the link at any moment, and the link the directory.
pub const DIRECTORY: &str = "/dir";
/// The link.
pub const LINK: &str = "/link";
/// What files of the canary hold, and nothing inside the root does.
pub const SECRET: &str = "canary";
/// A name that is in the canary alone.
pub const SECRET_NAME: &str = "only-outside";

/// Names for tests to use in the directory: all of them are in the canary as well.
const CANARY: &str = "d 0755 /canary
    f 0600 /canary/x \"canary\" @1
    f 0644 /canary/y \"canary\" @2
    f 0644 /canary/only-outside \"canary\" @3
    f 0644 /canary/sub/x \"canary\" @4
    f 0644 /canary/sub/y \"canary\" @5
    f 0644 /canary/sub/sub/x \"canary\" @6
    d 0700 /canary/sub @7
    d 0711 /canary @8";

/// A root, and a canary that is not in it.
#[derive(Debug)]
pub struct Arena {
    root: ScratchRoot,
    outside: ScratchRoot,
    /// For what is in the attacker's way.
    aside: ScratchRoot,
}

impl Arena {
    /// A root that holds the tree `inside` (with [`DIRECTORY`] in it) and the link. In memory where
    /// that is to be had: exchanges are fastest there.
    #[must_use]
    pub fn new(inside: &str) -> Arena {
        let [root, outside, aside] = std::array::from_fn(|_| ScratchRoot::in_memory());
        tree::make(outside.path(), CANARY);
        tree::make(root.path(), inside);
        let arena = Arena { root, outside, aside };
        std::os::unix::fs::symlink(arena.target(), arena.at(LINK))
            .expect("because nothing is there");
        arena
    }

    /// Where the root is.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root().join(&name[1..])
    }

    /// What the link says.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        Path::new("..").join(self.outside.path().file_name().unwrap_or_default()).join("canary")
    }

    fn seen(&self) -> String {
        tree::print_with(self.outside.path(), Shown { owners: true, times: true })
    }

    /// Does `work` again and again while the names are exchanged.
    ///
    /// # Panics
    /// If the canary is not as it was, or the attacker did not come to enough exchanges.
    pub fn race(&self, work: impl FnMut()) {
        let before = self.seen();
        let intact = || self.is_intact() || self.repair();
        let swaps = exchange_during(&self.at(DIRECTORY), &self.at(LINK), intact, work);
        assert!(swaps >= SWAPS, "the attacker came to only {swaps} exchanges");
        assert_eq!(self.seen(), before, "something got out");
    }

    /// Whether the names are still those of a directory and of the link.
    fn is_intact(&self) -> bool {
        let kinds = [DIRECTORY, LINK].map(|name| {
            let found = self.at(name).symlink_metadata().ok()?;
            Some((found.is_dir(), found.is_symlink()))
        });
        // They may be exchanged between the two questions, but by nobody but the one who asks.
        matches!(
            kinds,
            [Some((true, false)), Some((false, true))] | [Some((false, true)), Some((true, false))]
        )
    }

    /// Puts a fresh directory and the link in the place of what the work has made of them. Always
    /// false: what was exchanged up to now does not count.
    fn repair(&self) -> bool {
        for name in [DIRECTORY, LINK] {
            let aside = ScratchRoot::within(self.aside.path());
            // Fails where nothing is.
            let _ = std::fs::rename(self.at(name), aside.path().join("it"));
        }
        // Fail where the work was faster.
        let _ = std::fs::create_dir(self.at(DIRECTORY));
        let _ = std::os::unix::fs::symlink(self.target(), self.at(LINK));
        false
    }
}

/// Exchanges the names `a` and `b` until that was done [`SWAPS`] times, and does `work` meanwhile.
/// Exchanges count only if both names are `intact` afterwards, which the attacker asks now and
/// then. Returns how many there were.
pub fn exchange_during(
    a: &Path,
    b: &Path,
    intact: impl Fn() -> bool + Sync,
    mut work: impl FnMut(),
) -> u64 {
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let attack = || {
        while !stop.load(Ordering::Relaxed) {
            let exchange = |_: &u64| renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok();
            let done = (0..BATCH).take_while(exchange).count();
            if intact() {
                swaps.fetch_add(u64::try_from(done).unwrap_or_default(), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(attack);
        // Also if the work panics: else nobody would ever end the attacker.
        let _stop = StopAtEnd(&stop);
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < LONGEST
            && (rounds < ROUNDS || swaps.load(Ordering::Relaxed) < SWAPS)
        {
            work();
            rounds += 1;
        }
    });
    swaps.into_inner()
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exchanged_and_a_spoiled_canary_is_seen() {
        let arena = Arena::new("d 0755 /dir");
        let mut rounds = 0;
        let link = arena.at(LINK);
        let (mut was_link, mut was_directory) = (false, false);
        arena.race(|| {
            rounds += 1;
            let found = link.symlink_metadata().expect("because it is never missing");
            was_link |= found.is_symlink();
            was_directory |= found.is_dir();
        });
        assert!(rounds >= ROUNDS && was_link && was_directory, "{rounds} rounds");
        // An operation by paths gets out at once.
        let spoiled = std::panic::catch_unwind(|| {
            arena.race(|| drop(std::fs::write(link.join("y"), "pwned")));
        });
        assert!(spoiled.is_err(), "a write through the link was not noticed");
    }

    #[test]
    fn the_attacker_goes_on_where_the_work_takes_the_link_away() {
        let arena = Arena::new("d 0755 /dir");
        let (link, mut links) = (arena.at(LINK), 0);
        arena.race(|| {
            if std::fs::remove_file(&link).is_ok() {
                links += 1;
            }
        });
        assert!(links > 10, "the link came only {links} times");
    }
}
