//! The rung `namespaces`: tried in copies of this program first, then entered.
//!
//! The very list of actions that a step gets is carried out in an empty scratch root. What works
//! there works for a step; what a security module, a filter or an old kernel refuses shows here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rootfs::{Protected, RootDir, RootPath};
use sys::capabilities::{self, Capabilities};
use sys::child::{self, Report};
use sys::id_map::{self, Maps};

use crate::devices::Catalogue;
use crate::enter::{Owners, Rung, Taken};
use crate::error::chain as describe;
use crate::{Confinement, Error, Identity, Invocation, Result, host, step};

/// A way to get the right to mount.
enum Way {
    /// It is there.
    Administrator,
    /// As root of a user namespace; with what kept a better map away.
    User(Maps, Option<String>),
}

/// Enters the best way that works; in words why none does.
pub(crate) fn enter(state_dir: &Path) -> Result<Taken, String> {
    let scratch = Scratch::make(state_dir).map_err(|error| describe(&error))?;
    let mut lacking = Vec::new();
    for way in ways(&mut lacking) {
        match try_way(&way, &scratch.path) {
            Ok(own_pids) => return take(way, own_pids, &lacking),
            Err(reason) => lacking.push(reason),
        }
    }
    Err(lacking.join("; "))
}

/// The ways that are worth trying, best first.
fn ways(lacking: &mut Vec<String>) -> Vec<Way> {
    if capabilities::effective().contains(Capabilities::SYS_ADMIN) {
        return vec![Way::Administrator];
    }
    if rustix::process::geteuid().is_root() {
        return match Maps::same() {
            Ok(maps) => vec![Way::User(maps, None)],
            Err(reason) => {
                lacking.push(reason);
                Vec::new()
            }
        };
    }
    match Maps::subordinate() {
        Ok(maps) => vec![Way::User(maps, None), Way::User(Maps::single(), None)],
        Err(reason) => vec![Way::User(Maps::single(), Some(reason))],
    }
}

/// Tries a way in copies of this program: whether a step can have a pid namespace, or why the way
/// does not work at all.
fn try_way(way: &Way, scratch: &Path) -> Result<bool, String> {
    let attempt = |own_pids| {
        let tried = sys::namespaces::attempt(|| {
            go(way).map_err(|error| describe(&error))?;
            rehearse(scratch, own_pids)
        });
        tried.map_err(|error| describe(&error))
    };
    match attempt(true) {
        Ok(()) => Ok(true),
        // A new /proc is refused where parts of the old one are masked.
        Err(reason) => attempt(false).map(|()| false).map_err(|_| reason),
    }
}

fn go(way: &Way) -> Result<(), sys::namespaces::Error> {
    match way {
        Way::Administrator => sys::namespaces::enter_mount(),
        Way::User(maps, _) => sys::namespaces::enter_user(maps),
    }
}

fn take(way: Way, own_pids: bool, lacking: &[String]) -> Result<Taken, String> {
    go(&way).map_err(|error| describe(&error))?;
    let rung = Rung::Namespaces;
    let pids = if own_pids { "" } else { ", no pid namespace" };
    Ok(match way {
        Way::Administrator => Taken {
            rung,
            own_pids,
            owners: Owners::from_usable(id_map::usable_here()),
            owners_reason: "the id does not exist in this user namespace".to_owned(),
            reason: format!("CAP_SYS_ADMIN{pids}"),
        },
        Way::User(maps @ Maps::Single { .. }, missing) => {
            let missing = missing.or_else(|| lacking.last().cloned()).unwrap_or_default();
            Taken {
                rung,
                own_pids,
                owners: Owners::from_usable(maps.usable()),
                owners_reason: format!(
                    "a range in /etc/subuid and /etc/subgid and the program newuidmap (package \
                     uidmap) would give more ids than one, but {missing}"
                ),
                reason: format!("user namespace with one id ({missing}){pids}"),
            }
        }
        Way::User(maps, _) => Taken {
            rung,
            own_pids,
            owners: Owners::from_usable(maps.usable()),
            owners_reason: "the id is beyond the ranges that this user may map".to_owned(),
            reason: format!("user namespace with {} ids{pids}", maps.usable()),
        },
    })
}

/// A step that does nothing.
fn invocation() -> Invocation {
    Invocation {
        script: None,
        argv: Vec::new(),
        env: Vec::new(),
        cwd: RootPath::root(),
        identity: Identity::default(),
        hostname: "rehearsal".to_owned(),
        mounts: Vec::new(),
        confinement: Confinement::default(),
        grace: Duration::ZERO,
        timeout: None,
    }
}

/// Makes the surroundings of a step in the scratch root, and ends there.
fn rehearse(scratch: &Path, own_pids: bool) -> Result<(), String> {
    let run = || -> Result<()> {
        let root = RootDir::open(&scratch.join("rootfs"))?;
        let network = step::NetworkFiles::default();
        let set_groups = id_map::groups_can_be_set();
        let devices = Catalogue::default();
        let request = step::Request { own_pids, set_groups, network: &network, devices: &devices };
        let confined = step::Confined::usual();
        let invocation = invocation();
        let prepared = step::Private::prepare(&request, scratch, &root, &invocation, &confined)?;
        let preparation =
            step::preparation(&request, &invocation, confined.rights(step::filter(own_pids)))?;
        let null = step::null_device()?;
        let stdio = [&null, &null, &null].map(std::os::fd::AsFd::as_fd);
        let spec = prepared.spec(preparation, None);
        let mut child = child::spawn(&spec, stdio).map_err(host::system("start a process"))?;
        let mut outcome = Err(Error::Supervisor { program: "rehearsal".to_owned() });
        while let Some(report) = child.next_report().map_err(host::system("read a report"))? {
            outcome = match report {
                Report::Exited(0) => Ok(()),
                report => Err(step::describe(report, &spec, "rehearsal")),
            };
        }
        prepared.clean()?;
        outcome
    };
    run().map_err(|error| describe(&error))
}

/// An empty root to rehearse in; removed when dropped.
struct Scratch {
    parent: RootDir,
    name: RootPath,
    path: PathBuf,
}

impl Scratch {
    fn make(state_dir: &Path) -> Result<Scratch> {
        let parent_path = state_dir.join("tmp");
        host::make_dirs(&parent_path)?;
        let name = format!("rehearsal-{}", rustix::process::getpid().as_raw_nonzero());
        let path = parent_path.join(&name);
        host::make_dirs(&path.join("rootfs"))?;
        let parent = RootDir::open(&parent_path)?;
        Ok(Scratch { parent, name: RootPath::new(&name)?, path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.parent.remove_tree(&self.name, &Protected::none()) {
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}
