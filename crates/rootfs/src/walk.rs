//! Walking a tree: every entry once, no link followed, no mount entered.
//!
//! [`walk_directories`] is the fast way: threads take directories from a queue and stat names as
//! the kernel lists them, in no order. [`walk`] gives single entries with their paths, sorted if
//! asked.

use rustix::io::Errno;

use crate::dir::RootDir;
use crate::entry::{Listed, list};
use crate::error::Error;
use crate::metadata::Metadata;
use crate::opened::OpenDirectory;
use crate::path::RootPath;
use crate::protected::Protected;
use crate::queue::Queue;

/// In which order entries are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By path, on the calling thread alone.
    Sorted,
    /// A directory before what is below it, else any, by several threads.
    Any,
}

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions<'a> {
    /// The order ([`walk_directories`] knows only [`Order::Any`]).
    pub order: Order,
    /// Threads, at least one.
    pub threads: usize,
    /// Neither visited nor entered. Mount points are visited but never entered.
    pub protected: &'a Protected,
}

/// What to do after an entry was visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Do not enter this directory.
    Skip,
}

/// One entry of a [`walk`].
#[derive(Debug)]
pub struct WalkEntry<'a> {
    /// Where.
    pub path: &'a RootPath,
    /// What it is.
    pub metadata: &'a Metadata,
}

/// What is done with each directory of a walk. Called from several threads, but for one directory
/// from one thread only, in the order `open`, `entry`…, `close`.
pub trait VisitDirectories: Sync {
    /// What is gathered of one directory.
    type Directory;
    /// Why a visit fails, which ends the walk.
    type Error: From<Error> + Send;

    /// A directory is about to be listed.
    fn open(&self, directory: &OpenDirectory) -> Result<Self::Directory, Self::Error>;

    /// One name in it. `Flow` matters for directories only.
    fn entry(
        &self,
        directory: &OpenDirectory,
        gathered: &mut Self::Directory,
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<Flow, Self::Error>;

    /// All names were given.
    fn close(
        &self,
        directory: &OpenDirectory,
        gathered: Self::Directory,
    ) -> Result<(), Self::Error>;
}

/// Visits the directory `start` and all directories below it, by several threads.
pub fn walk_directories<V: VisitDirectories>(
    root: &RootDir,
    start: &RootPath,
    options: &WalkOptions<'_>,
    visitor: &V,
) -> Result<(), V::Error> {
    let queue = Queue::new(start.clone());
    let mount = root.metadata(start).map_err(V::Error::from)?;
    let work = || {
        while let Some(path) = queue.take() {
            let found = visit_one(root, &path, &mount, options.protected, visitor);
            queue.done(found);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    queue.finish()
}

/// Lists one directory; returns those to be listed after it.
fn visit_one<V: VisitDirectories>(
    root: &RootDir,
    path: &RootPath,
    mount: &Metadata,
    protected: &Protected,
    visitor: &V,
) -> Result<Vec<RootPath>, V::Error> {
    let Some(directory) = open_walked(root, path, mount)? else { return Ok(Vec::new()) };
    let mut gathered = visitor.open(&directory)?;
    let mut below = Vec::new();
    // Most directories hold nothing protected: asked once for the directory, not for every name.
    let guarded = protected.holds_below(&directory.path);
    list(&directory.fd, |Listed { name, kind: _ }| -> Result<bool, Failure<V::Error>> {
        if guarded && protected.covers(&directory.path.child(name)?) {
            return Ok(true);
        }
        let metadata = match directory.look(name) {
            Ok(metadata) => metadata,
            // Gone since it was listed.
            Err(Errno::NOENT) => return Ok(true),
            Err(errno) => return Err(directory.failed("stat", name, errno).into()),
        };
        let flow =
            visitor.entry(&directory, &mut gathered, name, &metadata).map_err(Failure::Visitor)?;
        if flow == Flow::Continue && metadata.is_dir() && metadata.is_on_mount_of(mount) {
            below.push(directory.path.child(name)?);
        }
        Ok(true)
    })
    .map_err(|failure| match failure {
        Failure::Errno(errno) => Error::io("list", &directory.path, errno).into(),
        Failure::Root(error) => error.into(),
        Failure::Visitor(error) => error,
    })?;
    visitor.close(&directory, gathered)?;
    Ok(below)
}

/// Why listing one directory ended early.
enum Failure<E> {
    Errno(Errno),
    Root(Error),
    Visitor(E),
}

impl<E> From<Errno> for Failure<E> {
    fn from(errno: Errno) -> Failure<E> {
        Failure::Errno(errno)
    }
}

impl<E> From<Error> for Failure<E> {
    fn from(error: Error) -> Failure<E> {
        Failure::Root(error)
    }
}

/// Opens a directory that was listed before; `None` if it is gone or no longer what it was.
fn open_walked(
    root: &RootDir,
    path: &RootPath,
    mount: &Metadata,
) -> Result<Option<OpenDirectory>, Error> {
    match root.directory(path) {
        Ok(directory) => Ok(Some(directory).filter(|found| found.metadata.is_on_mount_of(mount))),
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Visits everything below the directory `start` (not itself), following no link.
pub fn walk<E: From<Error> + Send>(
    root: &RootDir,
    start: &RootPath,
    options: &WalkOptions<'_>,
    visit: &(dyn Fn(&WalkEntry<'_>) -> Result<Flow, E> + Sync),
) -> Result<(), E> {
    match options.order {
        Order::Any => walk_directories(root, start, options, &ByEntry { visit }),
        Order::Sorted => walk_sorted(root, start, options.protected, visit),
    }
}

struct ByEntry<'v, E> {
    visit: &'v (dyn Fn(&WalkEntry<'_>) -> Result<Flow, E> + Sync),
}

impl<E: From<Error> + Send> VisitDirectories for ByEntry<'_, E> {
    type Directory = ();
    type Error = E;

    fn open(&self, _: &OpenDirectory) -> Result<(), E> {
        Ok(())
    }

    fn entry(
        &self,
        directory: &OpenDirectory,
        (): &mut (),
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<Flow, E> {
        (self.visit)(&WalkEntry { path: &directory.child(name)?, metadata })
    }

    fn close(&self, _: &OpenDirectory, (): ()) -> Result<(), E> {
        Ok(())
    }
}

fn walk_sorted<E: From<Error>>(
    root: &RootDir,
    start: &RootPath,
    protected: &Protected,
    visit: &(dyn Fn(&WalkEntry<'_>) -> Result<Flow, E> + Sync),
) -> Result<(), E> {
    let mount = root.metadata(start)?;
    let listing = |path: &RootPath| -> Result<std::vec::IntoIter<(RootPath, Metadata)>, E> {
        let mut entries = Vec::new();
        if let Some(directory) = open_walked(root, path, &mount)? {
            list(&directory.fd, |Listed { name, kind: _ }| -> Result<bool, Failure<E>> {
                let path = directory.path.child(name)?;
                match directory.look(name) {
                    _ if protected.covers(&path) => {}
                    Ok(metadata) => entries.push((path, metadata)),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(Error::io("stat", &path, errno).into()),
                }
                Ok(true)
            })
            .map_err(|failure| match failure {
                Failure::Errno(errno) => Error::io("list", path, errno).into(),
                Failure::Root(error) => error.into(),
                Failure::Visitor(error) => error,
            })?;
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries.into_iter())
    };
    let mut levels = vec![listing(start)?];
    while let Some(level) = levels.last_mut() {
        let Some((path, metadata)) = level.next() else {
            levels.pop();
            continue;
        };
        let flow = visit(&WalkEntry { path: &path, metadata: &metadata })?;
        if flow == Flow::Continue && metadata.is_dir() && metadata.is_on_mount_of(&mount) {
            levels.push(listing(&path)?);
        }
    }
    Ok(())
}
