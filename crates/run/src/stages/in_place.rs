//! Stages taking turns in the container's own `/`, switched by renaming.
//!
//! A stage that is not active lies in the *parking*, a directory on the mount of `/`. Nothing in
//! `/` is ever deleted to make room: it is parked, what the container held before the build
//! included. Mount points, the state directory and the parking stay where they are; directories
//! above them stay too, and only the rest of their content moves.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rootfs::{FileKind, Protected, RootDir, RootPath};
use rustix::io::Errno;

use super::tree::{self, copy_attributes};
use super::{ActiveRoot, Afterwards, Parent, Place};
use crate::{Error, Result};

/// Where stages are parked when the state directory is on another mount than `/`.
const PARKING: &str = "/.kaniko-parked";

/// The parked tree of what `/` held before the build.
const BEFORE: &str = "before";

#[derive(Debug)]
pub(super) struct InPlace {
    root: RootDir,
    /// What stays, beside mount points.
    own: Vec<RootPath>,
    parking: RootPath,
    /// The parking was made at the top for this build.
    at_top: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    occupant: Occupant,
    parked: BTreeSet<usize>,
}

/// Whose the content of `/` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occupant {
    /// The container's, as before the build.
    Container,
    Stage(usize),
    Nobody,
}

impl InPlace {
    pub(super) fn new(
        state_dir: &Path,
        build_dir: &Path,
        protected: &[RootPath],
    ) -> Result<InPlace> {
        let root = RootDir::open(Path::new("/"))?;
        let state_dir = RootPath::new(state_dir.as_os_str().as_bytes())?;
        let build_dir = RootPath::new(build_dir.as_os_str().as_bytes())?;
        let below_state = build_dir.starts_with(&state_dir) && !state_dir.is_root();
        let near = same_mount(&root, &build_dir)?;
        let (parking, at_top) = match below_state && near {
            true => (build_dir.join("stages")?, false),
            false => {
                let name = build_dir.file_name().unwrap_or(b"build").to_vec();
                (RootPath::new(PARKING)?.join(name)?, true)
            }
        };
        root.create_dir_all(&parking, 0o700)?;
        root.create_dir_all(&parking.join("aside")?, 0o700)?;
        let mut own = protected.to_vec();
        own.extend([state_dir, build_dir, RootPath::new(PARKING)?]);
        own.retain(|path| !path.is_root());
        let state = State { occupant: Occupant::Container, parked: BTreeSet::new() };
        Ok(InPlace { root, own, parking, at_top, state: Mutex::new(state) })
    }

    pub(super) fn activate(&self, stage: usize) -> Result<ActiveRoot> {
        let mut state = self.lock();
        self.switch_to(&mut state, stage)?;
        drop(state);
        Ok(ActiveRoot {
            dir: self.root.clone(),
            protected: self.protected()?,
            place: Place::InPlace { aside: self.parking.join("aside")? },
        })
    }

    pub(super) fn adopt(&self, from: usize, new: usize, parent: Parent) -> Result<()> {
        let mut state = self.lock();
        match (parent, state.occupant == Occupant::Stage(from)) {
            (Parent::Finished, true) => state.occupant = Occupant::Stage(new),
            (Parent::Finished, false) => {
                self.require_parked(&state, from)?;
                self.root.rename(&self.parked(from)?, &self.parked(new)?)?;
                state.parked.remove(&from);
                state.parked.insert(new);
            }
            (Parent::StillNeeded, active) => {
                if active {
                    self.vacate(&mut state)?;
                }
                self.require_parked(&state, from)?;
                let target = self.parked(new)?;
                self.root.create_dir(&target, 0o700)?;
                tree::copy(&self.root.subdir(&self.parked(from)?)?, &self.root.subdir(&target)?)?;
                state.parked.insert(new);
            }
        }
        Ok(())
    }

    pub(super) fn read(&self, stage: usize) -> Result<RootDir> {
        let mut state = self.lock();
        // `/` would show another stage as soon as one is activated, while this is still read.
        if state.occupant == Occupant::Stage(stage) {
            self.vacate(&mut state)?;
        }
        self.require_parked(&state, stage)?;
        Ok(self.root.subdir(&self.parked(stage)?)?)
    }

    pub(super) fn release(&self, stage: usize) -> Result<()> {
        let mut state = self.lock();
        if state.parked.remove(&stage) {
            self.root.remove_tree(&self.parked(stage)?, &Protected::none())?;
        }
        Ok(())
    }

    pub(super) fn finish(self, afterwards: Afterwards) -> Result<()> {
        let mut state = self.lock();
        match afterwards {
            Afterwards::Stage(stage) => self.switch_to(&mut state, stage)?,
            Afterwards::Empty => self.vacate(&mut state)?,
            // Nothing was moved yet: it is as before.
            Afterwards::AsBefore if state.occupant == Occupant::Container => {}
            Afterwards::AsBefore => {
                self.vacate(&mut state)?;
                self.bring(&self.parking.join(BEFORE)?)?;
            }
        }
        for stage in std::mem::take(&mut state.parked) {
            self.root.remove_tree(&self.parked(stage)?, &Protected::none())?;
        }
        self.root.remove_tree(&self.parking.join("aside")?, &Protected::none())?;
        // Not before: the build's context may have been in it. As before, nothing is there.
        self.root.remove_tree(&self.parking.join(BEFORE)?, &Protected::none())?;
        // Both fail where something is left.
        let gone = self.root.remove(&self.parking);
        if self.at_top && gone.is_ok() {
            let _ = self.root.remove(&RootPath::new(PARKING)?);
        }
        Ok(())
    }

    fn switch_to(&self, state: &mut State, stage: usize) -> Result<()> {
        if state.occupant == Occupant::Stage(stage) {
            return Ok(());
        }
        self.vacate(state)?;
        if state.parked.remove(&stage) {
            self.bring(&self.parked(stage)?)?;
        }
        state.occupant = Occupant::Stage(stage);
        Ok(())
    }

    /// Moves what is in `/` to its place in the parking, and makes sure that nothing is left.
    fn vacate(&self, state: &mut State) -> Result<()> {
        let target = match state.occupant {
            Occupant::Stage(stage) => Some(self.parked(stage)?),
            Occupant::Container => Some(self.parking.join(BEFORE)?),
            Occupant::Nobody => None,
        };
        if let Some(target) = target {
            self.root.create_dir(&target, 0o700)?;
            self.move_out(&RootPath::root(), &target, &self.protected()?)?;
        }
        if let Occupant::Stage(stage) = state.occupant {
            state.parked.insert(stage);
        }
        state.occupant = Occupant::Nobody;
        self.require_empty()
    }

    /// Moves a parked tree into `/`.
    fn bring(&self, parked: &RootPath) -> Result<()> {
        self.move_in(parked, &RootPath::root())
    }

    /// Moves the content of a directory of `/` into a directory of the parking.
    fn move_out(&self, from: &RootPath, to: &RootPath, protected: &Protected) -> Result<()> {
        let metadata = self.root.metadata(from)?;
        for entry in self.root.read_dir(from)? {
            let (source, target) = (from.join(&entry.name)?, to.join(&entry.name)?);
            if protected.covers(&source) {
                continue;
            }
            if !protected.holds_below(&source) {
                match self.root.rename(&source, &target) {
                    Ok(()) => continue,
                    // EBUSY: a mount point that is not listed. EXDEV: a directory of the
                    // container's own image, which an overlay moves only piece by piece.
                    Err(error)
                        if is_busy_or_elsewhere(&error) && entry.kind == FileKind::Directory => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.root.create_dir(&target, 0o700)?;
            self.move_out(&source, &target, protected)?;
            if !protected.holds_below(&source) {
                self.root.remove(&source)?;
            }
        }
        copy_attributes((&self.root, from, &metadata), (&self.root, to))?;
        self.reset_attributes(from)
    }

    /// Moves the content of a parked directory into a directory of `/`, and removes the former.
    fn move_in(&self, from: &RootPath, to: &RootPath) -> Result<()> {
        let metadata = self.root.metadata(from)?;
        for entry in self.root.read_dir(from)? {
            let (source, target) = (from.join(&entry.name)?, to.join(&entry.name)?);
            match self.root.metadata_opt(&target)? {
                None => self.root.rename(&source, &target)?,
                // A directory that stayed since something protected is below.
                Some(found) if found.is_dir() && entry.kind == FileKind::Directory => {
                    self.move_in(&source, &target)?;
                }
                Some(_) => return Err(Error::NotEmpty { path: target }),
            }
        }
        copy_attributes((&self.root, from, &metadata), (&self.root, to))?;
        Ok(self.root.remove(from)?)
    }

    /// A directory that stays is to the next stage as a mount point that its runtime made.
    fn reset_attributes(&self, path: &RootPath) -> Result<()> {
        for name in self.root.get_xattrs(path)?.into_keys() {
            self.root.remove_xattr(path, &name)?;
        }
        self.root.set_owner(path, 0, 0)?;
        Ok(self.root.set_mode(path, 0o755)?)
    }

    /// Nothing but protected paths and the directories above them may be in `/`.
    fn require_empty(&self) -> Result<()> {
        let protected = self.protected()?;
        for entry in self.root.read_dir(&RootPath::root())? {
            let path = RootPath::root().join(&entry.name)?;
            if !protected.covers(&path) && !protected.holds_below(&path) {
                return Err(Error::NotEmpty { path });
            }
        }
        Ok(())
    }

    /// What stays: told by mount id, since the kernel's list may be out of date or out of reach.
    fn protected(&self) -> Result<Protected> {
        Ok(Protected::from_paths(self.own.iter().cloned()).with_mounts(&self.root)?)
    }

    fn parked(&self, stage: usize) -> Result<RootPath> {
        Ok(self.parking.join(stage.to_string())?)
    }

    fn require_parked(&self, state: &State, stage: usize) -> Result<()> {
        match state.parked.contains(&stage) {
            true => Ok(()),
            false => Err(Error::NoStage { stage }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in another thread ends the build; the state is only read to clean up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether things can be renamed between `/` and a directory.
fn same_mount(root: &RootDir, path: &RootPath) -> Result<bool> {
    let (top, found) = (root.metadata(&RootPath::root())?, root.metadata(path)?);
    Ok(match (top.mount_id, found.mount_id) {
        (Some(top), Some(found)) => top == found,
        (None, _) | (_, None) => top.dev == found.dev,
    })
}

fn is_busy_or_elsewhere(error: &rootfs::Error) -> bool {
    let errno = error.raw_os_error();
    errno == Some(Errno::BUSY.raw_os_error()) || errno == Some(Errno::XDEV.raw_os_error())
}
