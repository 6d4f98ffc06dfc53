//! Which things of its trees a request's items name: wildcards expanded, nothing walked yet.

use std::rc::Rc;

use glob::IgnoreFile;
use rootfs::RootPath;

use crate::request::{Item, Tree};
use crate::resolve::Look;
use crate::source::{Found, View};
use crate::{Error, Result};

/// A source with its wildcards expanded.
pub(crate) enum Selected<'a> {
    /// A file or the contents of a directory.
    Tree {
        tree: &'a Tree<'a>,
        found: Box<Found>,
        unpack: bool,
        /// The patterns of `--parents`: what of it is meant.
        include: Option<Rc<IgnoreFile>>,
    },
    Inline {
        name: &'a [u8],
        content: &'a [u8],
    },
}

/// The patterns of `--exclude`.
pub(crate) fn excluded(patterns: &[String]) -> Result<IgnoreFile> {
    IgnoreFile::from_patterns(patterns)
        .map_err(|source| Error::Pattern { text: patterns.join(" "), source })
}

/// Everything `item` names; `parents` is for `--parents`.
pub(crate) fn select<'a>(item: &Item<'a>, parents: bool) -> Result<Vec<Selected<'a>>> {
    match *item {
        Item::Inline { name, content } => {
            if name.is_empty() || name.contains(&b'/') {
                let name = name.escape_ascii().to_string();
                return Err(Error::InlineName { name });
            }
            Ok(vec![Selected::Inline { name, content }])
        }
        Item::Exact { tree, path, unpack } => {
            let found = Box::new(View::new(tree).literal(path)?);
            Ok(vec![Selected::Tree { tree, found, unpack, include: None }])
        }
        Item::Path { tree, path, unpack } if parents => select_parents(tree, path, unpack),
        Item::Path { tree, path, unpack } => {
            let found = View::new(tree).expand(path)?.into_iter().map(Box::new);
            Ok(found.map(|found| Selected::Tree { tree, found, unpack, include: None }).collect())
        }
    }
}

/// `--parents`: the part before `/./` says where to start, the rest becomes a pattern there.
fn select_parents<'a>(
    tree: &'a Tree<'a>,
    source: &'a [u8],
    unpack: bool,
) -> Result<Vec<Selected<'a>>> {
    let pivot = source.windows(3).position(|part| part == b"/./");
    let (base, kept) = match pivot {
        Some(at) => (&source[..at], &source[at + 3..]),
        None => (&b"/"[..], source),
    };
    let kept = RootPath::new(kept)?;
    // Without anything kept, BuildKit looks for the root in vain; it means everything.
    let include = if kept.is_root() {
        None
    } else {
        let pattern = IgnoreFile::from_patterns([kept.relative()]);
        let text = kept.relative().escape_ascii().to_string();
        Some(Rc::new(pattern.map_err(|source| Error::Pattern { text, source })?))
    };
    let view = View::new(tree);
    let bases = view.expand(base)?;
    if !glob::has_wildcards(base) && !glob::has_wildcards(kept.relative()) {
        for base in &bases {
            require(&view, &base.path, &kept)?;
        }
    }
    let bases = bases.into_iter().map(Box::new);
    Ok(bases
        .map(|found| Selected::Tree { tree, found, unpack, include: include.clone() })
        .collect())
}

/// Fails if `kept` is not below `base`; links on the way do not count as directories.
fn require(view: &View<'_>, base: &RootPath, kept: &RootPath) -> Result<()> {
    for part in kept.ancestors() {
        let path = base.join(part.relative())?;
        let found = view.look(&path)?;
        if !found.is_some_and(|found| found.is_dir() || part == *kept) {
            return Err(view.not_found(&base.join(kept.relative())?));
        }
    }
    Ok(())
}
