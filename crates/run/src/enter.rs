//! Which rung a build takes: found once, by trying, before the program has a second thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rootfs::{AttributeTable, RootPath};
use sys::StopHandle;
use sys::capabilities::{self, Capabilities};
use sys::id_map;

use crate::devices::Catalogue;
use crate::error::chain;
use crate::stages::{ActiveRoot, StageRoots};
use crate::step::NetworkFiles;
use crate::{
    Error, Exit, Invocation, MountKind, Result, Stream, container, defences, host, namespaces, step,
};

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best rung that works here.
    #[default]
    Auto,
    /// Private roots, or an error.
    Namespaces,
    /// The container's own `/`, or an error.
    InPlace,
}

/// The rung that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Private roots under the state directory; steps in namespaces of their own.
    Namespaces,
    /// The container's own `/`.
    InPlace,
    /// Private roots under the state directory, and no way to run a program in them: good for
    /// builds without RUN. Owners and the like stand in memory, so that an ordinary user without
    /// any rights makes the image that root would.
    FilesOnly,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Rung::Namespaces => "namespaces",
            Rung::InPlace => "in-place",
            Rung::FilesOnly => "files-only",
        })
    }
}

/// What [`enter`] needs to know.
#[derive(Clone, Debug)]
pub struct EnterOptions {
    /// What the user asked for.
    pub choice: Choice,
    /// The user is sure, although no container is detected.
    pub force: bool,
    /// Something that only the caller can see says that this is a container: the variable
    /// `container` in the environment.
    pub in_container: bool,
    /// Where the build keeps its state; made if missing.
    pub state_dir: PathBuf,
    /// Host paths that the build must not touch, beside mount points and the state directory.
    pub protected: Vec<PathBuf>,
}

/// Which owners files and steps can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Every id.
    All,
    /// Ids below the number.
    Below(u32),
    /// Only 0:0, for want of `newuidmap` or of a range in `/etc/subuid`.
    One,
}

impl Owners {
    /// From the number of ids that can be used without a gap.
    pub(crate) fn from_usable(count: u64) -> Owners {
        match u32::try_from(count) {
            Ok(0 | 1) => Owners::One,
            Ok(count) if count < u32::MAX => Owners::Below(count),
            Ok(_) | Err(_) => Owners::All,
        }
    }

    /// Whether something can have this owner.
    #[must_use]
    pub fn permit(&self, id: u32) -> bool {
        match self {
            Owners::All => true,
            Owners::Below(end) => id < *end,
            Owners::One => id == 0,
        }
    }
}

/// The rung of this program; made once by [`enter`].
#[derive(Debug)]
pub struct Isolation {
    rung: Rung,
    reason: String,
    owners: Owners,
    owners_reason: String,
    own_pids: bool,
    set_groups: bool,
    state_dir: PathBuf,
    protected: Vec<RootPath>,
    network: NetworkFiles,
    devices: Catalogue,
    table: Option<Arc<AttributeTable>>,
}

/// Finds the best rung by trying, and takes it: from here on the whole program is in it, its
/// memory is hidden from steps, and their orphans become its children.
///
/// Call it before the program has a second thread, and once.
pub fn enter(options: &EnterOptions) -> Result<Isolation> {
    host::make_dirs(&options.state_dir)?;
    let state_dir = host::real_path(&options.state_dir)?;
    // What the system says now; a build in place changes the files.
    let (network, devices) = (NetworkFiles::read(), Catalogue::read());
    let protected = protected_paths(options)?;
    sys::become_subreaper().map_err(host::system("become a subreaper"))?;
    let taken = take(options, &state_dir)?;
    sys::hide_memory().map_err(host::system("hide the memory"))?;
    Ok(Isolation {
        rung: taken.rung,
        reason: taken.reason,
        owners: taken.owners,
        owners_reason: taken.owners_reason,
        own_pids: taken.own_pids,
        set_groups: id_map::groups_can_be_set(),
        state_dir,
        protected,
        network,
        devices,
        table: (taken.rung == Rung::FilesOnly).then(Arc::default),
    })
}

/// A rung with what it gives.
pub(crate) struct Taken {
    pub(crate) rung: Rung,
    pub(crate) reason: String,
    pub(crate) owners: Owners,
    pub(crate) owners_reason: String,
    pub(crate) own_pids: bool,
}

fn take(options: &EnterOptions, state_dir: &Path) -> Result<Taken> {
    if options.choice == Choice::InPlace {
        return in_place(options).map(in_this_namespace);
    }
    let lacking = match namespaces::enter(state_dir) {
        Ok(taken) => return Ok(taken),
        Err(lacking) if options.choice == Choice::Namespaces => {
            return Err(Error::Impossible { rung: "namespaces", reason: lacking });
        }
        Err(lacking) => lacking,
    };
    let in_place = match container::detect(options.in_container) {
        true => in_place(options),
        // Taking the root of a machine must be asked for by name, and confirmed.
        false => Err(Error::NotInContainer),
    };
    Ok(match in_place {
        Ok(reason) => in_this_namespace(format!("{reason}; no namespaces: {lacking}")),
        Err(error) => {
            let error = chain(&error);
            files_only(format!("no namespaces: {lacking}; not in place: {error}"))
        }
    })
}

/// In place, files have the owners that this container can give.
fn in_this_namespace(reason: String) -> Taken {
    Taken {
        rung: Rung::InPlace,
        reason,
        owners: Owners::from_usable(id_map::usable_here()),
        owners_reason: "the id does not exist in the user namespace of this container".to_owned(),
        own_pids: false,
    }
}

/// Files only: their owners stand in a table, so that there can be any.
fn files_only(reason: String) -> Taken {
    Taken {
        rung: Rung::FilesOnly,
        reason,
        owners: Owners::All,
        owners_reason: String::new(),
        own_pids: false,
    }
}

/// Whether the container's own `/` can be taken, and why.
fn in_place(options: &EnterOptions) -> Result<String> {
    let detected = container::detect(options.in_container);
    if !detected && !options.force {
        return Err(Error::NotInContainer);
    }
    let needed = Capabilities::CHOWN.union(Capabilities::DAC_OVERRIDE);
    let root = rustix::process::geteuid().is_root();
    if !root || !capabilities::effective().contains(needed) {
        let reason = "it needs root with the capabilities CHOWN and DAC_OVERRIDE".to_owned();
        return Err(Error::Impossible { rung: "in-place", reason });
    }
    if host::read_file("/proc/self/mountinfo").is_none() {
        let reason = "it needs /proc, to know the mounts that must stay".to_owned();
        return Err(Error::Impossible { rung: "in-place", reason });
    }
    Ok(match detected {
        true => "root in a container".to_owned(),
        false => "forced, outside a container".to_owned(),
    })
}

/// The host paths to protect, as paths in the root `/`.
fn protected_paths(options: &EnterOptions) -> Result<Vec<RootPath>> {
    use std::os::unix::ffi::OsStrExt;
    let paths = options.protected.iter();
    let paths = paths.map(|path| RootPath::new(path.as_os_str().as_bytes()));
    Ok(paths.collect::<Result<_, _>>()?)
}

impl Isolation {
    /// The rung taken.
    #[must_use]
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// Where the build keeps its state.
    pub(crate) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// One line for the log: why this rung.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// One line for the log: what keeps a step from what is the builder's, and what it reaches all
    /// the same. Whether the variables were dropped is known to whoever read them.
    #[must_use]
    pub fn defences(&self, environment_forgotten: bool) -> String {
        defences::describe(self.rung, self.own_pids, environment_forgotten)
    }

    /// Where owners and the like of files stand that the disk cannot be told; for every root that
    /// is made beside those of the stages. `None` where the disk can be told all.
    #[must_use]
    pub fn attribute_table(&self) -> Option<&Arc<AttributeTable>> {
        self.table.as_ref()
    }

    /// Whether each step has a pid namespace, with a /proc of its own.
    #[must_use]
    pub fn has_own_pids(&self) -> bool {
        self.own_pids
    }

    /// Which owners files can have here.
    #[must_use]
    pub fn owners(&self) -> Owners {
        self.owners.clone()
    }

    /// Why some owners cannot be had, for an error about one of them.
    #[must_use]
    pub fn owners_reason(&self) -> &str {
        &self.owners_reason
    }

    /// Whether programs can be run, and the error that [`run`](Self::run) would give if not. To
    /// be asked before the build when a plan has a RUN.
    pub fn can_run(&self) -> Result<()> {
        match self.rung {
            Rung::Namespaces | Rung::InPlace => Ok(()),
            Rung::FilesOnly => Err(Error::NoRung { reason: self.reason.clone() }),
        }
    }

    /// The roots of one build's stages, below `build_dir` (made if missing, below the state
    /// directory).
    pub fn stage_roots(&self, build_dir: &Path) -> Result<StageRoots> {
        host::make_dirs(build_dir)?;
        let build_dir = host::real_path(build_dir)?;
        match self.rung {
            Rung::Namespaces | Rung::FilesOnly => {
                StageRoots::private(&build_dir, self.table.as_ref())
            }
            Rung::InPlace => StageRoots::in_place(&self.state_dir, &build_dir, &self.protected),
        }
    }

    /// Runs one program in an active root; `output` gets whole lines, as many as are there. Only the
    /// last piece of a stream may lack its line feed, and a piece of a line beyond 64 KiB.
    ///
    /// When it returns, every process of the step is gone.
    pub fn run(
        &self,
        root: &ActiveRoot,
        invocation: &Invocation,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &StopHandle,
    ) -> Result<Exit> {
        self.can_run()?;
        let identity = &invocation.identity;
        let secrets = invocation.mounts.iter().filter_map(|mount| match mount.what {
            MountKind::Secret { uid, gid, .. } => Some([uid, gid]),
            MountKind::Host { .. } | MountKind::Tmpfs { .. } => None,
        });
        let ids = std::iter::once([identity.uid, identity.gid]).chain(secrets).flatten();
        for id in ids.chain(identity.groups.iter().copied()) {
            if !self.owners.permit(id) {
                return Err(Error::UnmappedId { id, reason: self.owners_reason.clone() });
            }
        }
        let request = step::Request {
            own_pids: self.own_pids,
            set_groups: self.set_groups,
            network: &self.network,
            devices: &self.devices,
        };
        step::run(&request, root, invocation, output, stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_follow_the_id_map() {
        assert_eq!(Owners::from_usable(1), Owners::One);
        assert_eq!(Owners::from_usable(65_537), Owners::Below(65_537));
        assert_eq!(Owners::from_usable(u64::from(u32::MAX)), Owners::All);
        assert!(Owners::Below(10).permit(9) && !Owners::Below(10).permit(10));
        assert!(Owners::One.permit(0) && !Owners::One.permit(1));
    }
}
