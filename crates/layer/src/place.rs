//! Puts the entries of an archive into a root, one by one: the only code that does.
//!
//! A name is cleaned, its directory resolved inside the root with every link on the way, and the
//! last component made there without following anything. Protected places and other mounts are
//! told before anything changes, and entries there left out. How the files themselves are made and
//! get their attributes is in `create.rs`, what whiteouts remove in `hide.rs`.

use std::io::BufRead;

use rootfs::{ChangeSet, FileKind, Metadata, Protected, RootDir, RootPath};

use crate::apply::Owners;
use crate::archive::Archive;
use crate::entry::{Entry, Kind};
use crate::error::{Error, Result, shown};
use crate::limits::Limits;
use crate::made::Made;
use crate::parents::{Parents, failed};
use crate::stop::StopCheck;
use crate::whiteout::{self, Whiteout};

/// What the names in an archive mean.
pub(crate) enum Meaning {
    /// A layer: whiteouts remove, and the archive's root is the image's.
    Layer(Made),
    /// Just files, below a directory; what was made is noted.
    Files(ChangeSet),
}

/// Everything that does not change from entry to entry.
pub(crate) struct Terms<'a> {
    pub(crate) root: &'a RootDir,
    /// The directory that is the archive's root.
    pub(crate) dest: RootPath,
    pub(crate) limits: &'a Limits,
    pub(crate) owners: Owners,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) protected: &'a Protected,
    pub(crate) stop: &'a dyn StopCheck,
}

/// The state of an extraction.
pub(crate) struct Placer<'a> {
    pub(crate) terms: Terms<'a>,
    pub(crate) meaning: Meaning,
    pub(crate) parents: Parents<'a>,
    /// The mount that the root is on.
    pub(crate) mount_id: Option<u64>,
    pub(crate) entries: u64,
    pub(crate) protected: u64,
    pub(crate) warnings: Vec<String>,
    unsaid: u64,
}

/// A name of the archive, cleaned.
pub(crate) struct Inside {
    /// Below the archive's root, links not yet followed.
    pub(crate) directory: RootPath,
    /// The last component; longer than a file's name may be if it is a whiteout.
    pub(crate) name: Vec<u8>,
}

/// Where an entry goes: the directory and the name in it.
pub(crate) struct Target {
    pub(crate) path: RootPath,
    pub(crate) parent: RootPath,
    /// `/name`, as seen from the directory.
    pub(crate) name: RootPath,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(terms: Terms<'a>, meaning: Meaning) -> Result<Self> {
        let root = terms.root;
        let top = RootPath::root();
        let metadata = root.metadata(&top).map_err(|source| failed("inspect", &top, source))?;
        Ok(Self {
            terms,
            meaning,
            parents: Parents::new(root),
            mount_id: metadata.mount_id,
            entries: 0,
            protected: 0,
            warnings: Vec::new(),
            unsaid: 0,
        })
    }

    /// Puts all entries of the archive in place.
    pub(crate) fn run(&mut self, archive: &mut Archive<'_, impl BufRead>) -> Result<()> {
        while let Some(entry) = archive.next_entry()? {
            if self.terms.stop.is_stopped() {
                return Err(Error::Stopped);
            }
            self.entries += 1;
            self.place(&entry, archive)?;
        }
        self.parents.close()?;
        if self.unsaid > 0 {
            self.warnings.push(format!("{} more warnings of this kind", self.unsaid));
        }
        Ok(())
    }

    fn place(&mut self, entry: &Entry, archive: &mut Archive<'_, impl BufRead>) -> Result<()> {
        let Some(inside) = self.clean(&entry.name)? else {
            return self.place_root(entry);
        };
        if let Meaning::Layer(_) = self.meaning {
            let leftover = inside
                .directory
                .components()
                .any(|name| matches!(Whiteout::parse(name), Whiteout::Ignored | Whiteout::Opaque));
            match Whiteout::parse(&inside.name) {
                _ if leftover => return Ok(()),
                Whiteout::Ignored => return Ok(()),
                Whiteout::No if !inside.directory.components().any(is_marked) => {}
                Whiteout::Of(_) | Whiteout::Opaque if !is_absence(entry) => {
                    return Err(self.refuse_name(&entry.name, "a whiteout must be an empty file"));
                }
                Whiteout::Of(hidden) => return self.hide(&inside.directory, hidden),
                Whiteout::Opaque => return self.hide_all(&inside.directory),
                Whiteout::No | Whiteout::Invalid => {
                    return Err(self.refuse_name(&entry.name, "it is no valid whiteout"));
                }
            }
        }
        let Some(target) = self.reach(&inside)? else {
            self.protected += 1;
            return Ok(());
        };
        self.make(entry, &target, archive)
    }

    /// The name as a directory below the archive's root and a name in it; `None` for that root.
    pub(crate) fn clean(&self, name: &[u8]) -> Result<Option<Inside>> {
        let limits = self.terms.limits;
        let limit = |what, limit: usize| Error::Limit { what, limit: limit as u64 };
        if name.is_empty() || name.contains(&0) {
            return Err(self.refuse_name(name, "its name is empty or holds a NUL"));
        }
        let mut components: Vec<&[u8]> = Vec::new();
        for component in name.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => {
                    // BuildKit's ADD clamps such names to the destination; a layer has no
                    // business above its root.
                    let outside = components.pop().is_none();
                    if outside && matches!(self.meaning, Meaning::Layer(_)) {
                        return Err(self.refuse_name(name, "its name leaves the root"));
                    }
                    continue;
                }
                component => components.push(component),
            }
            // A whiteout is longer than what it hides, and never becomes a file.
            let bytes = component.strip_prefix(whiteout::PREFIX).unwrap_or(component).len();
            if bytes > limits.name_bytes {
                return Err(limit("bytes of a name", limits.name_bytes));
            }
            if components.len() > limits.depth {
                return Err(limit("depth of a path", limits.depth));
            }
        }
        let Some(last) = components.pop() else { return Ok(None) };
        let directory = components.join(&b'/');
        if directory.len() + last.len() + 2 > limits.path_bytes {
            return Err(limit("bytes of a path", limits.path_bytes));
        }
        let directory = RootPath::new(&directory)
            .map_err(|source| failed("name", &RootPath::root(), source))?;
        Ok(Some(Inside { directory, name: last.to_vec() }))
    }

    /// An entry for the archive's own root: a layer may set what it looks like, no more.
    fn place_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            let reason = "the root can only be a directory".to_owned();
            return Err(Error::Refused { path: shown(&entry.name), reason });
        }
        let top = RootPath::root();
        match self.meaning {
            // `ADD` does not give the directory it adds to the mode of the archive's root.
            Meaning::Files(_) => Ok(()),
            Meaning::Layer(_) if self.terms.protected.covers(&top) => Ok(()),
            Meaning::Layer(_) => self.attributes_of_directory(entry, &top, true),
        }
    }

    /// Resolves the directory of a path, making what is missing. `None` in protected places.
    pub(crate) fn reach(&mut self, inside: &Inside) -> Result<Option<Target>> {
        let Some(target) = self.locate(&inside.directory, &inside.name)? else { return Ok(None) };
        if matches!(self.meaning, Meaning::Files(_)) && self.parents.open(&target.parent)?.is_none()
        {
            self.refuse_below_dangling_link(&inside.directory)?;
        }
        Ok(self.ready(&target.parent)?.then_some(target))
    }

    /// ADD makes missing directories, but not those a link points to, as in BuildKit.
    fn refuse_below_dangling_link(&self, directory: &RootPath) -> Result<()> {
        let root = self.terms.root;
        let logical = self.terms.dest.join(directory.relative());
        let mut above = Some(logical.map_err(|source| failed("name", directory, source))?);
        while let Some(path) = above {
            let found = root.metadata_opt(&path);
            match found.map_err(|source| failed("inspect", &path, source))? {
                Some(found) if found.is_symlink() && root.resolve(&path).is_err() => {
                    return Err(self.refuse(&path, "it is a link that leads nowhere"));
                }
                Some(_) => return Ok(()),
                None => above = path.parent(),
            }
        }
        Ok(())
    }

    /// Resolves the directory of a path. `None` in protected places.
    pub(crate) fn locate(&mut self, directory: &RootPath, name: &[u8]) -> Result<Option<Target>> {
        let logical = self.terms.dest.join(directory.relative());
        let logical = logical.map_err(|source| failed("name", directory, source))?;
        let parent = self.parents.resolve(&logical)?;
        let path = parent.join(name).map_err(|source| failed("name", &parent, source))?;
        if self.terms.protected.covers(&path) {
            return Ok(None);
        }
        let name = RootPath::new(name).map_err(|source| failed("name", &parent, source))?;
        Ok(Some(Target { path, parent, name }))
    }

    /// Makes the resolved directory where it is missing. False if it is on another mount.
    fn ready(&mut self, directory: &RootPath) -> Result<bool> {
        if let Some(parent) = self.parents.open(directory)? {
            return Ok(parent.mount_id == self.mount_id);
        }
        let (Some(above), Some(name)) = (directory.parent(), directory.file_name()) else {
            return Err(self.refuse(directory, "the root is missing"));
        };
        if self.terms.protected.covers(directory) || !self.ready(&above)? {
            return Ok(false);
        }
        let name = RootPath::new(name).map_err(|source| failed("name", directory, source))?;
        if let Some(parent) = self.parents.open(&above)? {
            let made = parent.change().create_dir(&name, 0o755);
            made.map_err(|source| failed("create", directory, source))?;
        }
        let (uid, gid) = self.implicit_owner();
        self.set_owner_of(directory, uid, gid)?;
        self.note(directory);
        Ok(self.parents.open(directory)?.is_some_and(|parent| parent.mount_id == self.mount_id))
    }

    /// What is at the target now; `Err` with the reason where it may not be touched.
    pub(crate) fn existing(&mut self, target: &Target) -> Result<Existing> {
        let mount_id = self.mount_id;
        let Some(parent) = self.parents.open(&target.parent)? else { return Ok(Existing::Nothing) };
        let found = parent.dir.metadata_opt(&target.name);
        Ok(match found.map_err(|source| failed("inspect", &target.path, source))? {
            None => Existing::Nothing,
            Some(metadata) if metadata.mount_id != mount_id => Existing::Mount,
            Some(metadata) => Existing::Here(metadata),
        })
    }

    /// Removes what stands where another kind of file is to be.
    pub(crate) fn clear(&mut self, target: &Target, metadata: &Metadata) -> Result<()> {
        self.parents.forget(&target.path);
        let Some(parent) = self.parents.open(&target.parent)? else { return Ok(()) };
        if metadata.kind != FileKind::Directory {
            let removed = parent.change().remove(&target.name);
            return removed.map_err(|source| failed("replace", &target.path, source));
        }
        parent.change();
        if self.terms.protected.holds_below(&target.path) {
            return Err(
                self.refuse(&target.path, "it would replace a directory with protected paths")
            );
        }
        let removed = self.terms.root.remove_tree(&target.path, self.terms.protected);
        let removed = removed.map_err(|source| failed("replace", &target.path, source))?;
        if removed.stayed.is_empty() {
            return Ok(());
        }
        Err(self.refuse(&target.path, "it would replace a directory with mount points"))
    }

    /// Remembers that the archive made or changed the path.
    pub(crate) fn note(&mut self, path: &RootPath) {
        match &mut self.meaning {
            Meaning::Layer(made) => made.insert(path),
            Meaning::Files(changes) => changes.upsert(path),
        }
    }

    pub(crate) fn warn(&mut self, path: &RootPath, what: &str) {
        if self.warnings.len() < self.terms.limits.warnings {
            self.warnings.push(format!("`{path}`: {what}"));
        } else {
            self.unsaid += 1;
        }
    }

    pub(crate) fn refuse_name(&self, name: &[u8], reason: &str) -> Error {
        Error::Refused { path: shown(name), reason: reason.to_owned() }
    }

    pub(crate) fn refuse(&self, path: &RootPath, reason: &str) -> Error {
        Error::Refused { path: path.to_string(), reason: reason.to_owned() }
    }
}

/// A component that is no name of a file.
fn is_marked(name: &[u8]) -> bool {
    name.starts_with(whiteout::PREFIX)
}

/// Whiteouts are empty files; aufs linked them all together.
fn is_absence(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::File | Kind::HardLink(_)) && entry.size == 0
}

/// What stands at a target.
pub(crate) enum Existing {
    Nothing,
    /// Something of another mount, which is not the image's.
    Mount,
    Here(Metadata),
}
