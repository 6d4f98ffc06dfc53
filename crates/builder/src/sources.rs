//! What the sources of a step are known by: a hash of what they hold, or what stands for them.
//!
//! Which files a source names is for `copy` to say, the same code that copies them. Makes no keys and
//! asks no cache; `probe.rs` and `reuse.rs` do.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cache::{Source, mount_source};
use copy::{FileIdentity, IdentifyRequest, Item, Origin, Tree};
use plan::{
    AddOp, AddSource, BaseImageId, CopyOp, CopySource, GitRef, MountSource, Op, RemoteFile, RunOp,
    StageId,
};
use sys::StopHandle;

use crate::error::StepError;
use crate::mounts::find;
use crate::reads::{self, Fetched, Reads, seen, unpacks};

/// A source, and for explanations the files it names.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub source: Source,
    pub files: Vec<FileIdentity>,
}

impl Known {
    /// What stands for a source.
    pub(crate) fn early(label: &str, kind: &'static str, value: &[u8]) -> Known {
        let source = Source::Early { label: label.to_owned(), kind, value: value.to_vec() };
        Known { source, files: Vec::new() }
    }

    /// What a source holds, known without reading it.
    pub(crate) fn content(label: &str, hash: &[u8]) -> Known {
        let source = Source::Content { label: label.to_owned(), hash: hash.to_vec() };
        Known { source, files: Vec::new() }
    }
}

/// What stands for trees and addresses that are not read yet. Nothing where it is not known.
pub(crate) trait StandIns {
    fn stage(&self, id: StageId) -> Option<Vec<u8>>;
    fn image(&self, id: &BaseImageId) -> Option<Vec<u8>>;
    fn address(&self, file: &RemoteFile) -> Option<Vec<u8>>;
    fn commit(&self, git: &GitRef) -> Option<String>;
}

/// Reads files to tell what they hold.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub context: &'a context::BuildContext,
    pub threads: usize,
    pub stop: &'a StopHandle,
    pub seen: &'a Seen,
}

/// What COPY takes of the build context, less how it is placed: sources, `--exclude`, `--parents`.
type Selected = (Vec<String>, Vec<String>, bool);

/// What parts of the build context hold. It does not change during a build, and several stages or
/// platforms may copy the same of it.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<BTreeMap<Selected, Vec<Known>>>);

impl Reader<'_> {
    /// What can be said of the sources before another stage, an image or the web is read. Nothing
    /// where one of them is not known at all, or cannot be read: the step itself will tell.
    pub(crate) fn before(&self, op: &Op, known: &impl StandIns) -> Option<Vec<Known>> {
        let read = match op {
            Op::Config(_) | Op::Workdir(_) => return Some(Vec::new()),
            Op::Copy(copy) => match &copy.from {
                CopySource::Context => self.copied(copy, &self.context_tree()),
                CopySource::Scratch => return Some(Vec::new()),
                CopySource::Stage(id) => {
                    let state = known.stage(*id)?;
                    return Some(each(&copy.sources, "stage", &state));
                }
                CopySource::Image(id) => {
                    let digest = known.image(id)?;
                    return Some(each(&copy.sources, "image", &digest));
                }
            },
            Op::Add(add) => return self.added_before(add, known),
            Op::Run(run) => return self.mounted_before(run, known),
        };
        self.or_nothing(read)
    }

    fn added_before(&self, add: &AddOp, known: &impl StandIns) -> Option<Vec<Known>> {
        let sources = add.sources.iter().map(|source| match source {
            AddSource::Local(path) => self.or_nothing(self.local(add, source, path)),
            AddSource::Url(file) => match &file.checksum {
                Some(checksum) => Some(Known::content(&file.url, checksum.as_str().as_bytes())),
                None => Some(Known::early(&file.url, "validator", &known.address(file)?)),
            },
            AddSource::Git(git) => Some(Known::content(&git.remote, known.commit(git)?.as_bytes())),
        });
        sources.collect()
    }

    fn mounted_before(&self, run: &RunOp, known: &impl StandIns) -> Option<Vec<Known>> {
        let sources = run.mounts.iter().filter_map(mount_source).map(|(from, path)| match from {
            MountSource::Context => self.or_nothing(self.mounted(&self.context_tree(), path)),
            MountSource::Stage(id) => Some(Known::early(path, "stage", &known.stage(*id)?)),
            MountSource::Image(id) => Some(Known::early(path, "image", &known.image(id)?)),
            MountSource::Scratch => None,
        });
        sources.collect()
    }

    /// What the sources hold, now that they are there.
    pub(crate) fn after(&self, op: &Op, reads: &Reads) -> Result<Vec<Known>, StepError> {
        match (op, reads) {
            (Op::Copy(copy), Reads::Tree(root, origin)) => {
                self.copied(copy, &seen(self.context, root, *origin))
            }
            (Op::Add(add), Reads::Fetched(fetched)) => self.added(add, fetched),
            (Op::Run(run), Reads::Mounted(origins)) => {
                let mut known = Vec::new();
                for (spec, tree) in run.mounts.iter().zip(&origins.trees) {
                    if let (Some((_, path)), Some((root, origin))) = (mount_source(spec), tree) {
                        known.push(self.mounted(&seen(self.context, root, *origin), path)?);
                    }
                }
                Ok(known)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn added(&self, add: &AddOp, fetched: &[Fetched]) -> Result<Vec<Known>, StepError> {
        let mut coming = fetched.iter();
        let mut next = || coming.next().ok_or(StepError::NotImplemented("ADD"));
        let sources = add.sources.iter().map(|source| match source {
            AddSource::Local(path) => self.local(add, source, path),
            AddSource::Url(file) => {
                let fetched = next()?;
                if let Some(checksum) = &file.checksum {
                    return Ok(Known::content(&file.url, checksum.as_str().as_bytes()));
                }
                let tree = reads::fetched(&fetched.root, Origin::Context);
                let unpack = unpacks(add, source);
                let items = &[Item::Exact { tree: &tree, path: &fetched.path, unpack }];
                the_only(self.identify(all(items))?)
            }
            AddSource::Git(git) => {
                let commit = next()?.commit.as_deref().unwrap_or_default();
                Ok(Known::content(&git.remote, commit.as_bytes()))
            }
        });
        sources.collect()
    }

    fn copied(&self, copy: &CopyOp, tree: &Tree<'_>) -> Result<Vec<Known>, StepError> {
        if tree.origin == Origin::Image {
            return self.read_copied(copy, tree);
        }
        let selected = (copy.sources.clone(), copy.exclude.clone(), copy.parents);
        let seen = || self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen().get(&selected) {
            return Ok(known.clone());
        }
        let known = self.read_copied(copy, tree)?;
        seen().insert(selected, known.clone());
        Ok(known)
    }

    fn read_copied(&self, copy: &CopyOp, tree: &Tree<'_>) -> Result<Vec<Known>, StepError> {
        let paths = copy.sources.iter().map(String::as_bytes);
        let items: Vec<Item<'_>> =
            paths.map(|path| Item::Path { tree, path, unpack: false }).collect();
        let chown = copy.chown.as_ref().is_some_and(|owner| !owner.is_empty());
        let keeps_owners = tree.origin == Origin::Image && !chown;
        let (exclude, parents) = (&copy.exclude, copy.parents);
        self.identify(IdentifyRequest { exclude, parents, keeps_owners, ..all(&items) })
    }

    fn local(&self, add: &AddOp, source: &AddSource, path: &str) -> Result<Known, StepError> {
        let (tree, unpack) = (self.context_tree(), unpacks(add, source));
        let items = &[Item::Path { tree: &tree, path: path.as_bytes(), unpack }];
        the_only(self.identify(IdentifyRequest { exclude: &add.exclude, ..all(items) })?)
    }

    fn mounted(&self, tree: &Tree<'_>, source: &str) -> Result<Known, StepError> {
        let path = find(tree, source)?;
        let items = &[Item::Exact { tree, path: &path, unpack: false }];
        let keeps_owners = tree.origin == Origin::Image;
        let whole_directories = true;
        the_only(self.identify(IdentifyRequest {
            keeps_owners,
            whole_directories,
            ..all(items)
        })?)
    }

    fn identify(&self, request: IdentifyRequest<'_>) -> Result<Vec<Known>, StepError> {
        let stop = || self.stop.is_stopped();
        let threads = self.threads;
        let identities = copy::identify(&IdentifyRequest { threads, stop: &stop, ..request })?;
        Ok(identities
            .into_iter()
            .map(|one| Known {
                source: Source::Content { label: one.label, hash: one.digest.to_vec() },
                files: one.files,
            })
            .collect())
    }

    fn context_tree(&self) -> Tree<'_> {
        seen(self.context, &self.context.root, Origin::Context)
    }

    fn or_nothing<T>(&self, read: Result<T, StepError>) -> Option<T> {
        read.inspect_err(|error| {
            tracing::debug!(error = %transport::chain(error), "a source that cannot be read");
        })
        .ok()
    }
}

/// All files of these sources, of which nobody keeps owners.
fn all<'a>(items: &'a [Item<'a>]) -> IdentifyRequest<'a> {
    IdentifyRequest {
        items,
        exclude: &[],
        parents: false,
        keeps_owners: false,
        whole_directories: false,
        threads: 1,
        stop: &|| false,
    }
}

fn the_only(mut known: Vec<Known>) -> Result<Known, StepError> {
    known.pop().ok_or(StepError::NotImplemented("this source"))
}

fn each(sources: &[String], kind: &'static str, value: &[u8]) -> Vec<Known> {
    sources.iter().map(|source| Known::early(source, kind, value)).collect()
}
