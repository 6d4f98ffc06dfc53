//! A source tree as COPY sees it: through the ignore file, links inside the root.

use glob::{IgnoreFile, Pattern, Verdict, has_wildcards};
use rootfs::{FileKind, Metadata, RootPath};

use crate::request::{Origin, Tree};
use crate::resolve::{Look, follow};
use crate::{Error, Result};

/// One thing a source names.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where it is, without links.
    pub(crate) path: RootPath,
    /// The name it was found by: what it is called in a destination directory.
    pub(crate) name: Vec<u8>,
    pub(crate) metadata: Metadata,
}

/// A source tree seen through its ignore file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) tree: &'a Tree<'a>,
}

impl<'a> View<'a> {
    pub(crate) fn new(tree: &'a Tree<'a>) -> Self {
        Self { tree }
    }

    fn ignore(&self) -> Option<&'a IgnoreFile> {
        self.tree.ignore.filter(|ignore| !ignore.is_empty())
    }

    /// The verdict of the ignore file on `path`.
    pub(crate) fn verdict(&self, path: &RootPath) -> Verdict {
        match self.ignore() {
            Some(ignore) if !path.is_root() => ignore.walk_to(path.relative()),
            _ => Verdict::default(),
        }
    }

    /// The verdict on `path`, given that on its directory.
    pub(crate) fn judge(&self, parent: &Verdict, path: &RootPath) -> Verdict {
        match self.ignore() {
            Some(ignore) => ignore.judge(parent, path.relative()),
            None => Verdict::default(),
        }
    }

    /// Whether anything at or below the directory `path` can be in view.
    pub(crate) fn may_hold(&self, verdict: &Verdict, path: &RootPath) -> bool {
        self.ignore().is_none_or(|ignore| ignore.may_include_below(verdict, path.relative()))
    }

    /// The names in a directory that exist for a copy, sorted; the ignore file is not asked.
    pub(crate) fn names(&self, directory: &RootPath) -> Result<Vec<(RootPath, FileKind)>> {
        let mut names = Vec::new();
        for entry in self.tree.root.read_dir(directory)? {
            let path = directory.join(&entry.name)?;
            if !self.tree.protected.covers(&path) {
                names.push((path, entry.kind));
            }
        }
        Ok(names)
    }

    /// Whether an excluded directory is in view after all, for something below it.
    fn holds_included(&self, directory: &RootPath, verdict: &Verdict) -> Result<bool> {
        let mut open = vec![(directory.clone(), verdict.clone())];
        while let Some((directory, verdict)) = open.pop() {
            if !self.may_hold(&verdict, &directory) {
                continue;
            }
            for (path, kind) in self.names(&directory)? {
                let verdict = self.judge(&verdict, &path);
                if !verdict.is_excluded() {
                    return Ok(true);
                }
                if kind == FileKind::Directory {
                    open.push((path, verdict));
                }
            }
        }
        Ok(false)
    }

    /// Whether `path`, which exists, is in view.
    fn is_visible(&self, path: &RootPath, kind: FileKind, verdict: &Verdict) -> Result<bool> {
        if !verdict.is_excluded() {
            return Ok(true);
        }
        Ok(kind == FileKind::Directory && self.holds_included(path, verdict)?)
    }

    /// The one thing at `path`, which has no wildcards; the last link is followed.
    pub(crate) fn literal(&self, path: &RootPath) -> Result<Found> {
        let (resolved, metadata) = follow(self, path)?;
        let metadata = metadata.ok_or_else(|| self.not_found(path))?;
        let name = path.file_name().unwrap_or_default().to_vec();
        Ok(Found { path: resolved, name, metadata })
    }

    /// Everything `source` names: one thing if it has no wildcards, else any number.
    pub(crate) fn expand(&self, source: &[u8]) -> Result<Vec<Found>> {
        let path = RootPath::new(source)?;
        let (base, pattern) = split(&path)?;
        if pattern.is_empty() {
            return Ok(vec![self.literal(&path)?]);
        }
        let compiled = Pattern::new(&pattern).map_err(|source| Error::Pattern {
            text: pattern.escape_ascii().to_string(),
            source,
        })?;
        let base = self.literal(&base)?;
        let mut found = Vec::new();
        if base.metadata.is_dir() {
            self.matches(&base.path, &compiled, &mut found)?;
        }
        Ok(found)
    }

    /// What matches below `base`, in the order of a sorted walk; a match is not walked into.
    fn matches(&self, base: &RootPath, pattern: &Pattern, found: &mut Vec<Found>) -> Result<()> {
        let mut open = vec![(self.names(base)?.into_iter(), self.verdict(base))];
        while let Some((names, parent)) = open.last_mut() {
            let Some((path, kind)) = names.next() else {
                open.pop();
                continue;
            };
            let verdict = self.judge(parent, &path);
            let relative = path.strip_prefix(base).unwrap_or_default();
            if pattern.matches(relative) {
                if self.is_visible(&path, kind, &verdict)?
                    && let Some(matched) = self.matched(path)?
                {
                    found.push(matched);
                }
            } else if kind == FileKind::Directory
                && pattern.may_match_below(relative)
                && self.may_hold(&verdict, &path)
            {
                open.push((self.names(&path)?.into_iter(), verdict));
            }
        }
        Ok(())
    }

    /// What a wildcard found at `path`. A link that leads nowhere stands for itself (BuildKit
    /// fails the step, and every `COPY *` of a tree with a dangling link with it).
    fn matched(&self, path: RootPath) -> Result<Option<Found>> {
        let name = path.file_name().unwrap_or_default().to_vec();
        let target = match follow(self, &path) {
            Err(Error::TooManyLinks { .. }) => None,
            followed => {
                let (resolved, metadata) = followed?;
                metadata.map(|metadata| (resolved, metadata))
            }
        };
        if let Some((path, metadata)) = target {
            return Ok(Some(Found { path, name, metadata }));
        }
        let metadata = self.tree.root.metadata_opt(&path)?;
        Ok(metadata.map(|metadata| Found { path, name, metadata }))
    }

    /// The error for a literal source that is not in view.
    pub(crate) fn not_found(&self, path: &RootPath) -> Error {
        let hidden = || {
            let whole = Tree { ignore: None, ..*self.tree };
            follow(&View::new(&whole), path).is_ok_and(|(_, found)| found.is_some())
        };
        let place = match self.tree.origin {
            Origin::Context => "build context",
            Origin::Image => "source image",
        };
        Error::NotFound { path: path.clone(), place, excluded: self.ignore().is_some() && hidden() }
    }
}

impl Look for View<'_> {
    fn look(&self, path: &RootPath) -> Result<Option<Metadata>> {
        if self.tree.protected.covers(path) {
            return Ok(None);
        }
        let Some(metadata) = self.tree.root.metadata_opt(path)? else { return Ok(None) };
        let visible = self.is_visible(path, metadata.kind, &self.verdict(path))?;
        Ok(visible.then_some(metadata))
    }

    fn read_link(&self, path: &RootPath) -> Result<Vec<u8>> {
        Ok(self.tree.root.read_link(path)?)
    }
}

/// The path down to the first component with a wildcard, and the pattern from there on.
fn split(path: &RootPath) -> Result<(RootPath, Vec<u8>)> {
    let components: Vec<&[u8]> = path.components().collect();
    let first = components.iter().position(|name| has_wildcards(name)).unwrap_or(components.len());
    let base = RootPath::new(components[..first].join(&b'/'))?;
    Ok((base, components[first..].join(&b'/')))
}
