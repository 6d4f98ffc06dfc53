//! [`identify`]: what a copy would transfer, without making it.
//!
//! For cache keys. What is selected says the same code as for copying (`select`, `source`, `walk`),
//! and what of a file counts (`reading`) is what a copy has of it; so the two cannot differ.

use glob::IgnoreFile;
use rootfs::{FileKind, RootPath};

use crate::identity::{Collecting, Domain, Entry, Role, SourceIdentity};
use crate::reading::{Batch, Done, Name, Reading};
use crate::request::{Item, Origin, Tree};
use crate::select::{Selected, excluded, select};
use crate::source::{Found, View};
use crate::threads::{NAMES, Shared, Threads};
use crate::walk::{Met, Walk};
use crate::{Error, Result};

/// Sources whose identity is asked for.
#[derive(Clone, Copy)]
pub struct IdentifyRequest<'a> {
    /// The sources, in order.
    pub items: &'a [Item<'a>],
    /// `--exclude`, in order.
    pub exclude: &'a [String],
    /// `--parents`.
    pub parents: bool,
    /// Whether copies of what is an image's keep their owners: not with `--chown`.
    pub keeps_owners: bool,
    /// Whether a directory that is named itself counts with its own metadata, as for a mount; of a
    /// copied one only the contents do.
    pub whole_directories: bool,
    /// Threads that read files, at least one. The result does not depend on them.
    pub threads: usize,
    /// Asked between files, and between pieces of long ones, whether to give up.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// The identities of all sources of `request`, in order. Fails where a copy would fail to find or
/// read its sources.
pub fn identify(request: &IdentifyRequest<'_>) -> Result<Vec<SourceIdentity>> {
    let exclude = excluded(request.exclude)?;
    // All sources first, as for a copy: the first that is missing is what is told.
    let selected = request.items.iter().map(|item| select(item, request.parents));
    let selected = selected.collect::<Result<Vec<_>>>()?;
    let domain = Domain::new();
    let sources = request.items.iter().map(|item| Collecting::new(label(item), &domain));
    let reading = Reading { domain: &domain, stop: request.stop };
    let shared = Shared::new(&reading);
    let sources = std::thread::scope(|scope| {
        let threads = Threads::new(scope, &shared, request.threads);
        let mut readers = Readers {
            request,
            exclude: &exclude,
            domain: &domain,
            threads,
            filling: None,
            sources: sources.collect(),
        };
        let walked = readers.walk_all(&selected);
        readers.finish(walked)
    })?;
    Ok(sources.into_iter().map(Collecting::finish).collect())
}

fn label<'a>(item: &Item<'a>) -> &'a [u8] {
    match *item {
        Item::Path { path, .. } => path,
        Item::Exact { path, .. } => path.as_bytes(),
        Item::Inline { name, .. } => name,
    }
}

/// The walk over all sources, and the threads that read for it.
struct Readers<'scope, 'env, 'a> {
    request: &'a IdentifyRequest<'a>,
    exclude: &'a IgnoreFile,
    domain: &'a Domain,
    threads: Threads<'scope, 'env, Reading<'a>>,
    filling: Option<Batch<'a>>,
    sources: Vec<Collecting>,
}

impl<'a> Readers<'_, '_, 'a> {
    fn walk_all(&mut self, selected: &'a [Vec<Selected<'a>>]) -> Result<()> {
        for (source, selected) in selected.iter().enumerate() {
            for selected in selected {
                match selected {
                    Selected::Inline { name, content } => {
                        let entry = self.domain.entry(Role::Inline).framed(name).framed(content);
                        let relative = name.to_vec();
                        let (role, hash, at) = (Role::Inline, entry.finish(), None);
                        let entry = Entry { role, relative, is_dir: false, hash, inode: None, at };
                        self.sources[source].add(entry, &RootPath::root(), self.domain);
                    }
                    Selected::Tree { tree, found, unpack, include } => {
                        let from = From { source, tree };
                        if found.metadata.is_dir() {
                            self.directory(from, &found.path, include.as_deref())?;
                        } else {
                            self.named(from, found, *unpack)?;
                        }
                    }
                }
                if !self.threads.go_on() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A file that a source names.
    fn named(&mut self, from: From<'a>, found: &Found, unpack: bool) -> Result<()> {
        let directory = found.path.parent().unwrap_or_else(RootPath::root);
        let name = Name {
            name: Box::from(found.path.file_name().unwrap_or(b".")),
            kind: found.metadata.kind,
            named: Some(Box::new((found.name.clone(), unpack))),
        };
        self.add(from, &directory, None, name)
    }

    /// The contents of a directory that a source names.
    fn directory(
        &mut self,
        from: From<'a>,
        top: &RootPath,
        include: Option<&IgnoreFile>,
    ) -> Result<()> {
        let mut walk = Walk::new(View::new(from.tree), self.exclude, include, top)?;
        let role = if self.request.whole_directories { Role::Whole } else { Role::Contents };
        self.begin(from, top, Some(top), Some(role))?;
        // The directories down to where the walk is, and whether they count yet.
        let mut open = vec![(top.clone(), true)];
        while self.threads.go_on() {
            if (self.request.stop)() {
                return Err(Error::Stopped);
            }
            match walk.step()? {
                None => break,
                Some(Met::End) => drop(open.pop()),
                Some(Met::Directory { path, included }) => {
                    open.push((path, false));
                    if included {
                        self.count(from, top, &mut open)?;
                    }
                }
                Some(Met::Other { path, kind }) => {
                    self.count(from, top, &mut open)?;
                    let (Some((directory, _)), Some(name)) = (open.last(), path.file_name()) else {
                        continue;
                    };
                    // What no layer can hold is left out.
                    if kind != FileKind::Socket {
                        let name = Name { name: Box::from(name), kind, named: None };
                        self.add(from, directory, Some(top), name)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// From now on all directories down to where the walk is count: something in them does.
    fn count(
        &mut self,
        from: From<'a>,
        top: &RootPath,
        open: &mut [(RootPath, bool)],
    ) -> Result<()> {
        for (directory, counts) in open.iter_mut().filter(|(_, counts)| !counts) {
            *counts = true;
            self.begin(from, directory, Some(top), Some(Role::Below))?;
        }
        Ok(())
    }

    /// Begins a batch, and submits the one before.
    fn begin(
        &mut self,
        from: From<'a>,
        directory: &RootPath,
        top: Option<&RootPath>,
        itself: Option<Role>,
    ) -> Result<()> {
        self.submit()?;
        self.filling = Some(Batch {
            source: from.source,
            root: from.tree.root,
            keeps_owners: self.request.keeps_owners && from.tree.origin == Origin::Image,
            directory: directory.clone(),
            top: top.cloned(),
            itself,
            names: Vec::new(),
        });
        Ok(())
    }

    fn add(
        &mut self,
        from: From<'a>,
        directory: &RootPath,
        top: Option<&RootPath>,
        name: Name,
    ) -> Result<()> {
        let goes_on = self.filling.as_ref().is_some_and(|batch| {
            batch.source == from.source
                && batch.top.as_ref() == top
                && batch.directory == *directory
                && batch.names.len() < NAMES
        });
        if !goes_on {
            self.begin(from, directory, top, None)?;
        }
        if let Some(batch) = &mut self.filling {
            batch.names.push(name);
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<()> {
        let Some(batch) = self.filling.take() else { return Ok(()) };
        let (files, domain) = (batch.names.len(), self.domain);
        let sources = &mut self.sources;
        self.threads.submit(batch, files, &mut |done| take(sources, done, domain))
    }

    /// Waits for all files.
    fn finish(mut self, walked: Result<()>) -> Result<Vec<Collecting>> {
        let walked = walked.and(self.submit());
        let Self { threads, domain, mut sources, .. } = self;
        threads.finish(walked, &mut |done| take(&mut sources, done, domain))?;
        Ok(sources)
    }
}

/// Where files come from.
#[derive(Clone, Copy)]
struct From<'a> {
    /// The number of the source.
    source: usize,
    tree: &'a Tree<'a>,
}

fn take(sources: &mut [Collecting], done: Done, domain: &Domain) -> Result<()> {
    let root = RootPath::root();
    let top = done.top.as_ref().unwrap_or(&root);
    for entry in done.entries {
        sources[done.source].add(entry, top, domain);
    }
    Ok(())
}
