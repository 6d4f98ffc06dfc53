//! [`CopyRequest`]: one COPY or ADD instruction, and how it is carried out.

use glob::IgnoreFile;
use rootfs::{ChangeSet, CopyRoute, Metadata, Protected, RootDir, RootPath};

use crate::archive::{is_archive, unpack};
use crate::destination::Destination;
use crate::error::Reason;
use crate::file::{copy_file, write_inline};
use crate::mode::ModeChange;
use crate::owner::Owner;
use crate::resolve::Look;
use crate::select::{Selected, excluded, select};
use crate::source::{Found, View};
use crate::tree::TreeCopy;
use crate::{Error, Result};

/// Which instruction a request carries out; only texts depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// COPY.
    Copy,
    /// ADD.
    Add,
}

impl Instruction {
    fn name(self) -> &'static str {
        match self {
            Self::Copy => "COPY",
            Self::Add => "ADD",
        }
    }
}

/// Whose files a source tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The user's: copies belong to root.
    Context,
    /// An image's or a stage's: copies keep their owners.
    Image,
}

/// A tree that is copied from.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    /// Its root.
    pub root: &'a RootDir,
    /// What of it does not exist for a copy.
    pub ignore: Option<&'a IgnoreFile>,
    /// What of it belongs to the builder, and does not exist for a copy either.
    pub protected: &'a Protected,
    /// Whose files they are.
    pub origin: Origin,
}

/// One source of an instruction.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A path as it is written after expansion, wildcards included.
    Path {
        /// Where it is looked for.
        tree: &'a Tree<'a>,
        /// The path.
        path: &'a [u8],
        /// Whether an archive is unpacked.
        unpack: bool,
    },
    /// A path that is taken as it is: a downloaded file, a checkout.
    Exact {
        /// Where it is.
        tree: &'a Tree<'a>,
        /// The path.
        path: &'a RootPath,
        /// Whether an archive is unpacked.
        unpack: bool,
    },
    /// A here-document.
    Inline {
        /// The file's name.
        name: &'a [u8],
        /// Its content, expanded.
        content: &'a [u8],
    },
}

/// One COPY or ADD instruction.
#[derive(Clone, Copy)]
pub struct CopyRequest<'a> {
    /// Which of the two.
    pub instruction: Instruction,
    /// The sources, in order; here-documents come last.
    pub items: &'a [Item<'a>],
    /// The destination as it is written after expansion.
    pub dest: &'a [u8],
    /// The working directory a relative destination starts from.
    pub cwd: &'a RootPath,
    /// The root that is copied into.
    pub root: &'a RootDir,
    /// What of it nobody may change.
    pub protected: &'a Protected,
    /// `--chown`, looked up.
    pub owner: Option<Owner>,
    /// `--chmod`.
    pub mode: Option<&'a ModeChange>,
    /// `--exclude`, in order.
    pub exclude: &'a [String],
    /// `--parents`.
    pub parents: bool,
    /// `--link`; means nothing together with `--chmod`, as in BuildKit.
    pub link: bool,
    /// Threads that copy files, at least one. The result does not depend on them.
    pub threads: usize,
    /// Asked between files, and between pieces of long ones, whether to give up.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// What came of a request.
#[derive(Debug, Default)]
pub struct Copied {
    /// What the layer holds: everything written or changed, and the directories above.
    pub changes: ChangeSet,
    /// What could not be carried over, for people.
    pub warnings: Vec<String>,
}

/// What applies to every file of a request.
pub(crate) struct Rules<'a> {
    pub(crate) owner: Option<Owner>,
    pub(crate) change: Option<&'a ModeChange>,
    pub(crate) exclude: IgnoreFile,
    origin: Origin,
    pub(crate) threads: usize,
    pub(crate) route: CopyRoute,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Rules<'_> {
    pub(crate) fn owner_of(&self, metadata: &Metadata) -> Owner {
        match (self.owner, self.origin) {
            (Some(owner), _) => owner,
            (None, Origin::Context) => Owner::default(),
            (None, Origin::Image) => Owner { uid: metadata.uid, gid: metadata.gid },
        }
    }

    pub(crate) fn mode(&self, metadata: &Metadata) -> u32 {
        self.change.map_or(metadata.mode, |change| change.apply(metadata.mode, metadata.is_dir()))
    }

    pub(crate) fn check_stop(&self) -> Result<()> {
        if self.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        (self.stop)()
    }
}

/// Carries out `request`.
///
/// After an error the root may hold part of the copy.
pub fn copy(request: &CopyRequest<'_>) -> Result<Copied> {
    let exclude = excluded(request.exclude)?;
    let destination = if request.link && request.mode.is_none() {
        Destination::stacked(request.root, request.protected)
    } else {
        Destination::new(request.root, request.protected)
    };
    let rules = Rules {
        owner: request.owner,
        change: request.mode,
        exclude,
        origin: Origin::Context,
        threads: request.threads,
        route: CopyRoute::default(),
        stop: request.stop,
    };
    let mut copying = Copying {
        request,
        dest: request.cwd.resolve(request.dest)?,
        is_directory: is_directory(request.dest),
        destination,
        rules,
        several: false,
    };
    copying.run()?;
    Ok(copying.destination.into_copied())
}

/// Whether the text of a destination says that it is a directory.
fn is_directory(dest: &[u8]) -> bool {
    matches!(dest, b"" | b".") || dest.ends_with(b"/") || dest.ends_with(b"/.")
}

/// A request that is being carried out.
struct Copying<'a> {
    request: &'a CopyRequest<'a>,
    /// The destination, links in it not yet followed.
    dest: RootPath,
    /// Whether the destination is written as a directory.
    is_directory: bool,
    destination: Destination<'a>,
    rules: Rules<'a>,
    /// Whether there is more than one source.
    several: bool,
}

impl<'a> Copying<'a> {
    fn run(&mut self) -> Result<()> {
        // All sources first: a missing one must not leave half a copy.
        let mut selected = Vec::new();
        for item in self.request.items {
            selected.extend(select(item, self.request.parents)?);
        }
        self.several = selected.len() > 1;
        for source in &selected {
            self.rules.check_stop()?;
            match source {
                Selected::Tree { tree, found, unpack, include } => {
                    self.copy_found(tree, found, *unpack, include.as_deref())?;
                }
                Selected::Inline { name, content } => {
                    let to = self.target(name, false)?;
                    write_inline(content, &to, &mut self.destination, &self.rules)?;
                }
            }
        }
        Ok(())
    }

    fn copy_found(
        &mut self,
        tree: &'a Tree<'a>,
        found: &Found,
        unpack_archives: bool,
        include: Option<&IgnoreFile>,
    ) -> Result<()> {
        self.rules.origin = tree.origin;
        if unpack_archives && found.metadata.is_file() && is_archive(tree.root, &found.path)? {
            let owner = self.rules.owner.unwrap_or_default();
            let to = self.destination.resolve(&self.dest)?;
            self.destination.make_directories(&to, 0o755, owner)?;
            return unpack(tree.root, &found.path, &to, &mut self.destination, &self.rules);
        }
        let is_dir = found.metadata.is_dir();
        let to = self.target(&found.name, is_dir)?;
        if is_dir {
            let copy = TreeCopy::new(View::new(tree), include, &mut self.destination, &self.rules);
            return copy.copy_contents(&found.path, &found.metadata, &to);
        }
        let (destination, rules) = (&mut self.destination, &self.rules);
        copy_file(tree.root, &found.path, &found.metadata, &to, None, destination, rules)
    }

    /// Where a source called `name` goes; the directories down to there are made.
    fn target(&mut self, name: &[u8], is_dir: bool) -> Result<RootPath> {
        let owner = self.rules.owner.unwrap_or_default();
        let mode = ModeChange::implied_directory(self.rules.change);
        let needed = if self.is_directory {
            self.dest.clone()
        } else {
            self.dest.parent().unwrap_or_else(RootPath::root)
        };
        let needed = self.destination.resolve(&needed)?;
        self.destination.make_directories(&needed, mode, owner)?;
        let to = self.destination.resolve(&self.dest)?;
        let found = self.destination.look(&to)?;
        if is_dir {
            let needed = match found {
                None => to.clone(),
                Some(_) => to.parent().unwrap_or_else(RootPath::root),
            };
            self.destination.make_directories(&needed, mode, owner)?;
            return Ok(to);
        }
        if found.is_some_and(|found| found.is_dir()) {
            return Ok(to.join(name)?);
        }
        if self.several {
            return Err(self.one_name_for_many());
        }
        let parent = to.parent().unwrap_or_else(RootPath::root);
        self.destination.make_directories(&parent, mode, owner)?;
        Ok(to)
    }

    fn one_name_for_many(&self) -> Error {
        let instruction = self.request.instruction.name();
        let reason = format!(
            "When using {instruction} with more than one source file, the destination must be a \
             directory and end with a /"
        );
        Error::OneNameForMany { instruction, source: Reason(reason) }
    }
}
