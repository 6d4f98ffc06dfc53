//! What is selected below a directory: the one walk of those who copy it and of those who only tell
//! what a copy would hold.
//!
//! A directory that is excluded itself is still walked where something below it can be included.
//! Nothing here recurses on the stack, so depth is bounded by paths alone.

use glob::{IgnoreFile, Verdict};
use rootfs::{FileKind, RootPath};

use crate::Result;
use crate::source::View;

/// What a walk comes to.
pub(crate) enum Met {
    /// A directory; what is met from now on until its [`End`](Self::End) is in it. If it is not
    /// `included` itself, it counts only once something below it is.
    Directory { path: RootPath, included: bool },
    /// Anything else that is included.
    Other { path: RootPath, kind: FileKind },
    /// There is no more in the directory.
    End,
}

/// What the patterns say about one path: the context's, `--exclude` and those of `--parents`.
#[derive(Debug, Clone, Default)]
struct Verdicts {
    ignore: Verdict,
    exclude: Verdict,
    include: Verdict,
}

/// The patterns of a walk.
struct Patterns<'a, 'p> {
    view: View<'a>,
    exclude: &'p IgnoreFile,
    /// The patterns of `--parents`: what is selected at all.
    include: Option<&'p IgnoreFile>,
}

/// A directory on the way down.
struct Level {
    names: std::vec::IntoIter<(RootPath, FileKind)>,
    verdicts: Verdicts,
}

/// A walk below one directory of a source tree.
pub(crate) struct Walk<'a, 'p> {
    patterns: Patterns<'a, 'p>,
    top: RootPath,
    stack: Vec<Level>,
}

impl<'a, 'p> Walk<'a, 'p> {
    /// Begins in the directory `top`, which itself is selected.
    pub(crate) fn new(
        view: View<'a>,
        exclude: &'p IgnoreFile,
        include: Option<&'p IgnoreFile>,
        top: &RootPath,
    ) -> Result<Self> {
        let verdicts = Verdicts { ignore: view.verdict(top), ..Verdicts::default() };
        let patterns = Patterns { view, exclude, include };
        let mut walk = Self { patterns, top: top.clone(), stack: Vec::new() };
        walk.enter(top, verdicts)?;
        Ok(walk)
    }

    /// What comes next; `None` after the end of the top.
    pub(crate) fn step(&mut self) -> Result<Option<Met>> {
        while let Some(level) = self.stack.last_mut() {
            let Some((path, kind)) = level.names.next() else {
                self.stack.pop();
                return Ok(Some(Met::End));
            };
            let relative = path.strip_prefix(&self.top).unwrap_or_default();
            let verdicts = self.patterns.judge(&level.verdicts, &path, relative);
            let included = self.patterns.include(&verdicts);
            if kind != FileKind::Directory {
                if included {
                    return Ok(Some(Met::Other { path, kind }));
                }
            } else if included || self.patterns.may_include_below(&path, relative, &verdicts) {
                self.enter(&path, verdicts)?;
                return Ok(Some(Met::Directory { path, included }));
            }
        }
        Ok(None)
    }

    fn enter(&mut self, directory: &RootPath, verdicts: Verdicts) -> Result<()> {
        let mut names = self.patterns.view.names(directory)?;
        // Files first, so that those of one directory are taken together.
        names.sort_by_key(|(_, kind)| *kind == FileKind::Directory);
        self.stack.push(Level { names: names.into_iter(), verdicts });
        Ok(())
    }
}

impl Patterns<'_, '_> {
    fn judge(&self, above: &Verdicts, path: &RootPath, relative: &[u8]) -> Verdicts {
        Verdicts {
            ignore: self.view.judge(&above.ignore, path),
            exclude: self.exclude.judge(&above.exclude, relative),
            include: match self.include {
                Some(patterns) => patterns.judge(&above.include, relative),
                None => Verdict::default(),
            },
        }
    }

    fn include(&self, verdicts: &Verdicts) -> bool {
        !verdicts.ignore.is_excluded()
            && !verdicts.exclude.is_excluded()
            && (self.include.is_none() || verdicts.include.is_excluded())
    }

    /// Whether something below an excluded directory can be included.
    fn may_include_below(&self, path: &RootPath, relative: &[u8], verdicts: &Verdicts) -> bool {
        self.view.may_hold(&verdicts.ignore, path)
            && self.exclude.may_include_below(&verdicts.exclude, relative)
            && self
                .include
                .is_none_or(|patterns| patterns.may_exclude_below(&verdicts.include, relative))
    }
}
