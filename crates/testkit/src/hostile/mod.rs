//! Archives that want out of their root, break the format or ask for too much, as one table.
//!
//! Every case is tried on every way into a build: as layers, through `COPY --from`, by `ADD`, and
//! as a context. [`check`] does so for one way: it runs each case with a canary beside the root
//! and compares that before and after, down to its times of change. The cases carry the numbers of
//! the project's list of inputs; a letter after the number is a sibling of ours.

mod compression;
mod framing;
mod links;
mod names;
mod types;
mod whiteouts;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ScratchRoot;
use crate::tar_builder::TarBuilder;
use crate::tree::{Shown, make, print_with};

/// No case may take longer, on a busy machine either.
const DEADLINE: Duration = Duration::from_secs(60);

/// What must come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An error.
    Reject,
    /// Success or an error; only the canary counts.
    Contain,
    /// Success.
    Accept,
}
pub(crate) use Outcome::{Accept, Contain, Reject};

/// A way into a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Layers of a base image.
    Layers,
    /// Layers of an image that `COPY --from` copies from.
    CopyFrom,
    /// A local file that `ADD` unpacks if it is an archive.
    Add,
    /// A context that is an archive.
    Context,
}

/// What a case makes: the archives, one above the other.
type Build = Box<dyn Fn(&Canary) -> Vec<Vec<u8>> + Send + Sync>;

/// One case.
pub struct Case {
    /// Its number.
    pub id: String,
    layers: Outcome,
    files: Outcome,
    add: Outcome,
    build: Build,
}

impl Case {
    fn new(
        id: impl Into<String>,
        expected: Outcome,
        build: impl Fn(&Canary) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let build = Box::new(build);
        Self { id: id.into(), layers: expected, files: expected, add: expected, build }
    }

    /// What is expected where whiteouts are just names, and names that climb are clamped.
    fn files(self, expected: Outcome) -> Self {
        Self { files: expected, add: expected, ..self }
    }

    /// What is expected of `ADD`, which copies what does not begin as an archive.
    fn add(self, expected: Outcome) -> Self {
        Self { add: expected, ..self }
    }

    /// What must come of it.
    #[must_use]
    pub fn expected(&self, way: Way) -> Outcome {
        match way {
            // What a layer may hold can still be too deep to be copied elsewhere.
            Way::Layers | Way::CopyFrom => self.layers,
            Way::Add => self.add,
            Way::Context => self.files,
        }
    }

    /// Its archives.
    #[must_use]
    pub fn archives(&self, canary: &Canary) -> Vec<Vec<u8>> {
        (self.build)(canary)
    }
}

/// A case of one archive.
fn one(
    id: impl Into<String>,
    expected: Outcome,
    build: impl Fn(&Canary) -> TarBuilder + Send + Sync + 'static,
) -> Case {
    Case::new(id, expected, move |canary| vec![build(canary).end()])
}

/// A case of several archives.
fn stack(
    id: impl Into<String>,
    expected: Outcome,
    build: impl Fn(&Canary) -> Vec<TarBuilder> + Send + Sync + 'static,
) -> Case {
    Case::new(id, expected, move |canary| build(canary).into_iter().map(TarBuilder::end).collect())
}

/// A case of bytes.
fn bytes(id: impl Into<String>, expected: Outcome, archive: Vec<u8>) -> Case {
    Case::new(id, expected, move |_| vec![archive.clone()])
}

fn tar() -> TarBuilder {
    TarBuilder::new()
}

/// An archive with nothing wrong.
fn okf() -> TarBuilder {
    tar().file("ok", "ok")
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(names::cases());
    cases.extend(links::symbolic());
    cases.extend(links::hard());
    cases.extend(whiteouts::cases());
    cases.extend(types::cases());
    cases.extend(framing::cases());
    cases.extend(compression::cases());
    cases
}

/// A directory outside every root that nobody may touch.
#[derive(Debug)]
pub struct Canary {
    directory: ScratchRoot,
    before: String,
}

impl Canary {
    /// A fresh one.
    #[must_use]
    pub fn new() -> Self {
        let directory = ScratchRoot::in_memory();
        let tree = "f 0600 /secret \"s\" user.mine=\"1\" @1\nd 0700 /dir @2\n\
                    f 0600 /dir/in \"i\" @3\nf 0644 /f644 \"f\" @4";
        make(directory.path(), tree);
        let before = observe(directory.path());
        Self { directory, before }
    }

    /// Its path with `rest` behind it.
    #[must_use]
    pub fn at(&self, rest: &str) -> Vec<u8> {
        [self.directory.path().as_os_str().as_bytes(), rest.as_bytes()].concat()
    }

    /// The same, climbed to from far below.
    #[must_use]
    pub fn climbed(&self, rest: &str) -> Vec<u8> {
        [&b"../".repeat(24)[..], &self.at(rest)[1..]].concat()
    }

    /// What changed of it.
    ///
    /// # Errors
    /// Both states, where it is not as it was.
    pub fn is_untouched(&self) -> Result<(), String> {
        let after = observe(self.directory.path());
        if after == self.before {
            return Ok(());
        }
        Err(format!("the canary changed from\n{}to\n{after}", self.before))
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

/// Everything of a tree, with what no one can set back: the times of change.
fn observe(root: &Path) -> String {
    let mut text = print_with(root, Shown { owners: true, times: true });
    let mut todo = vec![root.to_owned()];
    let mut kernel: BTreeMap<PathBuf, String> = BTreeMap::new();
    while let Some(path) = todo.pop() {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            todo.extend(entries.map(|entry| entry.path()));
        }
        let (mode, names) = (metadata.mode(), metadata.nlink());
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        kernel.insert(path, format!("{mode:o} {names} {changed:?}"));
    }
    for (path, line) in kernel {
        text += &format!("{} {line}\n", path.display());
    }
    text
}

/// Tries every case on one way. `run` takes the archives into a fresh root, in their order.
///
/// # Panics
/// With all cases that came out otherwise than the table says, panicked, took too long, or changed
/// the canary.
pub fn check(way: Way, run: impl Fn(&[Vec<u8>]) -> Result<(), String> + Send + Sync + 'static) {
    let (run, cases) = (Arc::new(run), cases());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(reason) = try_case(case, way, &run) {
                        let line = format!("{} {way:?}: {reason}", case.id);
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn try_case<F>(case: &Case, way: Way, run: &Arc<F>) -> Result<(), String>
where
    F: Fn(&[Vec<u8>]) -> Result<(), String> + Send + Sync + 'static,
{
    let canary = Canary::new();
    let archives = case.archives(&canary);
    let (done, answer) = channel();
    let run = Arc::clone(run);
    // A thread that can be left behind: one that hangs cannot be joined.
    std::thread::spawn(move || done.send(run(&archives)));
    let result = match answer.recv_timeout(DEADLINE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => return Err(format!("hangs for {DEADLINE:?}")),
        Err(RecvTimeoutError::Disconnected) => return Err("panicked".to_owned()),
    };
    canary.is_untouched()?;
    match (result, case.expected(way)) {
        (Ok(()), Outcome::Reject) => Err("was accepted".to_owned()),
        (Err(error), Outcome::Accept) => Err(format!("was rejected: {error}")),
        (Err(error), _) if error.chars().any(|c| c.is_control() && c != '\n') => {
            Err(format!("the message holds control characters: {error:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_number_of_its_own() {
        let mut ids: Vec<String> = cases().into_iter().map(|case| case.id).collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    /// The check itself must notice what it is there to notice.
    #[test]
    fn a_canary_notices_every_change() {
        let check = |what: &str, change: &dyn Fn(&Path)| {
            let canary = Canary::new();
            assert_eq!(canary.is_untouched(), Ok(()));
            change(canary.directory.path());
            assert!(canary.is_untouched().is_err(), "{what}");
        };
        let elsewhere = ScratchRoot::in_memory();
        check("content", &|at| std::fs::write(at.join("secret"), "s").expect("room"));
        check("new file", &|at| std::fs::write(at.join("dir/pwn"), "").expect("room"));
        check("another name", &|at| {
            let link = std::fs::hard_link(at.join("secret"), elsewhere.path().join("h"));
            link.expect("both are in one place");
        });
        check("mode", &|at| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(at, mode).expect("it is ours");
        });
        check("removal", &|at| std::fs::remove_file(at.join("dir/in")).expect("it is there"));
    }
}
