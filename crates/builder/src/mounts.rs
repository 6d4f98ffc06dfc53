//! `RUN --mount`: what a step gets of the context, other stages, images, caches, secrets and agents.
//!
//! `run` puts things into the root and takes them out again; this module finds or makes them. A
//! tree that the step cannot change is shown as it is, any other as a copy that is thrown away.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use copy::{CopyRequest, Instruction, Item, Origin, Tree};
use plan::{MountSource, MountSpec, RunOp};
use rootfs::{Protected, RootDir, RootPath};
use run::{ActiveRoot, Mount, MountKind};
use sys::Secret;

use crate::agent::Agent;
use crate::caches::{Lease, NewCache};
use crate::error::StepError;
use crate::event::Event;
use crate::plain::is_plain;
use crate::reads::seen;
use crate::stage::{Current, Executor};

/// Where BuildKit puts an agent's socket; a number follows.
const AGENT: &str = "/run/buildkit/ssh_agent.";

/// What one step gets. Dropping it gives everything back, so it must outlive the step.
#[derive(Default)]
pub(crate) struct StepMounts {
    pub mounts: Vec<Mount>,
    /// Variables with secrets and sockets.
    pub env: Vec<(String, Secret)>,
    /// What must not be seen in the step's output.
    pub secrets: Vec<Secret>,
    _agents: Vec<Agent>,
    /// Caches by their ids.
    leases: BTreeMap<String, Lease>,
    copies: Vec<Copy>,
}

/// A copy in the waiting room that is thrown away after the step.
struct Copy {
    room: RootDir,
    name: RootPath,
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What is left goes with the stage.
        let _ = self.room.remove_tree(&self.name, &Protected::none());
    }
}

/// A tree that a mount comes from.
pub(crate) struct Origins {
    pub trees: Vec<Option<(RootDir, Origin)>>,
    /// A stage was read: in place, the one at work was parked for that.
    pub read_a_stage: bool,
}

impl<'a> Executor<'a> {
    /// Finds the trees of all mounts. To be done before the root of the stage is used: in place,
    /// reading another stage parks this one.
    pub(crate) fn mount_origins(
        &self,
        current: &Current<'a>,
        run: &RunOp,
    ) -> Result<Origins, StepError> {
        let mut origins = Origins { trees: Vec::new(), read_a_stage: false };
        for spec in &run.mounts {
            let from = match spec {
                MountSpec::Bind { from, .. } => from,
                MountSpec::Cache { from, .. } => from,
                MountSpec::Tmpfs { .. } | MountSpec::Secret { .. } | MountSpec::Ssh { .. } => {
                    origins.trees.push(None);
                    continue;
                }
            };
            origins.trees.push(Some(match from {
                MountSource::Context => (self.context.root.clone(), Origin::Context),
                MountSource::Stage(id) => {
                    origins.read_a_stage = true;
                    (self.stage_tree(*id)?, Origin::Image)
                }
                MountSource::Image(id) => (self.image_tree(id)?, Origin::Image),
                MountSource::Scratch => {
                    (self.side_root(current.stage.id, "scratch")?, Origin::Image)
                }
            }));
        }
        Ok(origins)
    }

    /// Makes what the step gets. Mounts come with those first that others lie in, as in BuildKit.
    pub(crate) fn mounts(
        &self,
        root: &ActiveRoot,
        run: &RunOp,
        origins: &Origins,
    ) -> Result<StepMounts, StepError> {
        let mut made =
            StepMounts { leases: self.leases(root, run, origins)?, ..Default::default() };
        let mut agents = 0;
        for (spec, origin) in run.mounts.iter().zip(&origins.trees) {
            match spec {
                MountSpec::Bind { source, target, read_only, .. } => {
                    let tree = self.tree(origin)?;
                    let source = find(&tree, source)?;
                    self.bind(root, &tree, &source, (target, *read_only), &mut made)?;
                }
                MountSpec::Cache { id, target, read_only, .. } => {
                    self.cache(root, id, (target, *read_only), &mut made)?;
                }
                MountSpec::Tmpfs { target, size } => {
                    made.push(target, MountKind::Tmpfs { size: *size })?;
                }
                MountSpec::Secret { .. } => self.secret(spec, &mut made)?,
                MountSpec::Ssh { id, target, required, mode, uid, gid } => {
                    let default = format!("{AGENT}{agents}");
                    let target = target.as_deref().unwrap_or(&default);
                    let Some(agent) = self.request.ssh.get(id) else {
                        self.missing(*required, || StepError::NoAgent { id: id.clone() })?;
                        continue;
                    };
                    let room = root.waiting_room().map_err(StepError::Stages)?;
                    let path = room.join(format!("agent-{agents}"));
                    let rights = (*mode, *uid, *gid);
                    let agent = Agent::offer(self.runtime, agent, &path, rights)?;
                    made._agents.push(agent);
                    made.push(target, MountKind::Host { path, read_only: false })?;
                    made.env.push(("SSH_AUTH_SOCK".to_owned(), Secret::from(target)));
                    agents += 1;
                }
            }
        }
        made.mounts.sort_by(|a, b| a.target.as_bytes().cmp(b.target.as_bytes()));
        Ok(made)
    }

    fn tree<'t>(&'t self, origin: &'t Option<(RootDir, Origin)>) -> Result<Tree<'t>, StepError> {
        let (root, origin) = origin.as_ref().ok_or(StepError::NotImplemented("this mount"))?;
        Ok(seen(self.context, root, *origin))
    }

    /// A part of a tree, as it is where the step can neither change it nor see what it must not.
    fn bind(
        &self,
        root: &ActiveRoot,
        tree: &Tree<'_>,
        source: &RootPath,
        (target, read_only): (&str, bool),
        made: &mut StepMounts,
    ) -> Result<(), StepError> {
        let shown = match read_only && !root.moves_mounts() && is_plain(tree, source)? {
            true => tree.root.host_path().map(|host| host.join(below(source))),
            false => None,
        };
        let path = match shown {
            Some(path) => path,
            None => self.copy_for_step(root, tree, source, made)?,
        };
        made.push(target, MountKind::Host { path, read_only })
    }

    /// Copies a part of a tree into the waiting room; its host path there.
    fn copy_for_step(
        &self,
        root: &ActiveRoot,
        tree: &Tree<'_>,
        source: &RootPath,
        made: &mut StepMounts,
    ) -> Result<PathBuf, StepError> {
        let host = root.waiting_room().map_err(StepError::Stages)?;
        let room = RootDir::open(&host)?;
        let name = RootPath::new(format!("copy-{}", made.copies.len()))?;
        room.remove_tree(&name, &Protected::none())?;
        made.copies.push(Copy { room: room.clone(), name: name.clone() });
        self.copy_tree(tree, source, &room, &name)?;
        Ok(host.join(below(&name)))
    }

    /// Copies what is at `source` to the new name `to`, the metadata of the top included.
    fn copy_tree(
        &self,
        tree: &Tree<'_>,
        source: &RootPath,
        room: &RootDir,
        to: &RootPath,
    ) -> Result<(), StepError> {
        let found = tree.root.metadata(source)?;
        if found.is_dir() {
            room.create_dir(to, 0o700)?;
        }
        let items = [Item::Exact { tree, path: source, unpack: false }];
        let stop = || self.stop.is_stopped();
        let share = self.cores.share();
        let copied = copy::copy(&CopyRequest {
            instruction: Instruction::Copy,
            items: &items,
            dest: to.as_bytes(),
            cwd: &RootPath::root(),
            root: room,
            protected: &Protected::none(),
            owner: None,
            mode: None,
            exclude: &[],
            parents: false,
            link: false,
            threads: share.threads,
            stop: &stop,
        })?;
        self.warn_all(copied.warnings);
        if found.is_dir() {
            let (uid, gid) = match tree.origin {
                Origin::Context => (0, 0),
                Origin::Image => (found.uid, found.gid),
            };
            room.set_owner(to, uid, gid)?;
            room.set_mode(to, found.mode)?;
            room.set_times(to, found.mtime)?;
        }
        Ok(())
    }

    /// Takes the caches of a step, each once, and in one order for all steps: two that wait for
    /// each other's would never go on.
    fn leases(
        &self,
        root: &ActiveRoot,
        run: &RunOp,
        origins: &Origins,
    ) -> Result<BTreeMap<String, Lease>, StepError> {
        let mut wanted = BTreeMap::new();
        for (spec, origin) in run.mounts.iter().zip(&origins.trees) {
            if let MountSpec::Cache { id, .. } = spec {
                wanted.entry(id).or_insert((spec, origin));
            }
        }
        let mut leases = BTreeMap::new();
        for (id, (spec, origin)) in wanted {
            leases.insert(id.clone(), self.lease(root, &self.tree(origin)?, spec)?);
        }
        Ok(leases)
    }

    fn lease(
        &self,
        root: &ActiveRoot,
        tree: &Tree<'_>,
        spec: &MountSpec,
    ) -> Result<Lease, StepError> {
        let MountSpec::Cache { id, from, source, sharing, mode, uid, gid, .. } = spec else {
            return Err(StepError::NotImplemented("this mount"));
        };
        let fill = |place: &NewCache<'_>| -> Result<(), StepError> {
            if *from == MountSource::Scratch {
                place.dir.create_dir(place.name, 0o700)?;
                place.dir.set_owner(place.name, *uid, *gid)?;
                return Ok(place.dir.set_mode(place.name, *mode)?);
            }
            self.copy_tree(tree, &find(tree, source)?, place.dir, place.name)
        };
        self.caches.lease(id, *sharing, root.moves_mounts(), self.stop, &fill)
    }

    fn cache(
        &self,
        root: &ActiveRoot,
        id: &str,
        (target, read_only): (&str, bool),
        made: &mut StepMounts,
    ) -> Result<(), StepError> {
        let lease = made.leases.get(id).ok_or(StepError::NotImplemented("this mount"))?;
        let mut path = lease.path.clone();
        if read_only && root.moves_mounts() {
            let dir = RootDir::open(&path)?;
            let protected = &Protected::none();
            let tree = Tree { root: &dir, ignore: None, protected, origin: Origin::Image };
            path = self.copy_for_step(root, &tree, &RootPath::root(), made)?;
        }
        made.push(target, MountKind::Host { path, read_only })
    }

    fn secret(&self, spec: &MountSpec, made: &mut StepMounts) -> Result<(), StepError> {
        let MountSpec::Secret { id, target, env, required, mode, uid, gid } = spec else {
            return Ok(());
        };
        let Some(secret) = self.request.secrets.get(id) else {
            return self.missing(*required, || StepError::NoSecret { id: id.clone() });
        };
        made.secrets.push(secret.clone());
        if let Some(name) = env {
            made.env.push((name.clone(), secret.clone()));
        }
        let (content, mode, uid, gid) = (secret.clone(), *mode, *uid, *gid);
        match target {
            Some(target) => made.push(target, MountKind::Secret { content, mode, uid, gid }),
            None => Ok(()),
        }
    }

    /// Something the operator did not give: an error if the step cannot do without.
    fn missing(&self, required: bool, error: impl FnOnce() -> StepError) -> Result<(), StepError> {
        if required {
            return Err(error());
        }
        self.observer.observe(&Event::Warning(format!("{}: the step goes without it", error())));
        Ok(())
    }
}

impl StepMounts {
    fn push(&mut self, target: &str, what: MountKind) -> Result<(), StepError> {
        self.mounts.push(Mount { target: RootPath::new(target)?, what });
        Ok(())
    }
}

/// Where a source is, links followed inside its tree. The text of the error is BuildKit's.
pub(crate) fn find(tree: &Tree<'_>, source: &str) -> Result<RootPath, StepError> {
    let path = RootPath::new(source)?;
    let missing = || StepError::MountSource { path: source.to_owned() };
    let found = match tree.root.resolve(&path) {
        Err(error) if error.is_not_found() || error.is_not_a_directory() => return Err(missing()),
        found => found?,
    };
    let ignored = tree.ignore.filter(|ignore| !ignore.is_empty() && !found.is_root());
    match ignored {
        Some(ignore) if !crate::plain::is_in_view(tree, ignore, &found)? => Err(missing()),
        Some(_) | None => Ok(found),
    }
}

fn below(path: &RootPath) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.relative()))
}
