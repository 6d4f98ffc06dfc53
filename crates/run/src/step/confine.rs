//! What holds one step, decided from what is asked for and what can be had here.
//!
//! A step without network gets a network namespace where the kernel grants one, else a filter. A
//! filter needs CAP_SYS_ADMIN or `no_new_privs`; in an ordinary pod only the latter can be had. It
//! takes the gain of rights from setuid programs and file capabilities (a step that is root stays
//! root, and `su` to another user works for it), so it is set for such a step only, and said. Each
//! way is tried with a process that does nothing else: what a security module or an old kernel
//! refuses shows here.

use std::os::fd::AsFd;

use rustix::thread::UnshareFlags;
use sys::capabilities::{self, Capabilities, DOCKER_DEFAULT};
use sys::child::{self, Action, Report, Spec};
use sys::seccomp::Filter;

use super::{Request, describe, null_device};
use crate::devices::{self, Node};
use crate::stages::Place;
use crate::{Error, Invocation, Network, Result, Rights, host};

/// What holds one step.
pub(crate) struct Confined {
    /// What it has beside the namespaces of its rung.
    namespaces: UnshareFlags,
    /// What its supervisor does first.
    surroundings: Vec<Action>,
    /// Its own filter, as the program's process loads it.
    filter: Vec<Action>,
    /// It may do all that the builder may.
    pub(super) open: bool,
    /// Device nodes that it gets.
    pub(super) nodes: Vec<Node>,
    /// Variables that come with them.
    pub(super) env: Vec<(String, String)>,
}

/// Decides for one step.
pub(super) fn decide(
    request: &Request<'_>,
    place: &Place,
    invocation: &Invocation,
) -> Result<Confined> {
    let asked = &invocation.confinement;
    let found = request.devices.resolve(&asked.devices)?;
    let mut confined = Confined {
        open: asked.rights == Rights::Builder,
        nodes: found.nodes,
        env: found.env,
        ..Confined::usual()
    };
    if asked.network == Network::None {
        confined.take_network()?;
    }
    if confined.open {
        confined.open(place);
    }
    Ok(confined)
}

impl Confined {
    /// A step of Docker's kind.
    pub(crate) fn usual() -> Self {
        Confined {
            namespaces: UnshareFlags::empty(),
            surroundings: Vec::new(),
            filter: Vec::new(),
            open: false,
            nodes: Vec::new(),
            env: Vec::new(),
        }
    }

    fn take_network(&mut self) -> Result<()> {
        let loopback = || vec![Action::RaiseLoopback];
        let filter = || Action::LoadFilter(Filter::without_network());
        let namespace = UnshareFlags::NEWNET;
        let Err(refused) = attempt(namespace, loopback(), Vec::new()) else {
            self.namespaces = namespace;
            self.surroundings = loopback();
            return Ok(());
        };
        if attempt(namespace, Vec::new(), Vec::new()).is_ok() {
            tracing::warn!("the step without network has no loopback interface: {refused}");
            self.namespaces = namespace;
            return Ok(());
        }
        tracing::debug!("no network namespace: {refused}");
        if attempt(UnshareFlags::empty(), Vec::new(), vec![filter()]).is_ok() {
            self.filter = vec![filter()];
            tracing::info!("the step without network is held by a filter: {refused}");
            return Ok(());
        }
        let both = vec![Action::NoNewPrivileges, filter()];
        match attempt(UnshareFlags::empty(), Vec::new(), both.clone()) {
            Ok(()) => {
                self.filter = both;
                tracing::warn!(
                    "the step without network is held by a filter and no_new_privs, so sudo and \
                     file capabilities give it no rights: {refused}"
                );
                Ok(())
            }
            Err(filtered) => Err(Error::NoNetworkIsolation {
                reason: format!("no network namespace, {refused}; no filter, {filtered}"),
            }),
        }
    }

    fn open(&mut self, place: &Place) {
        let held = capabilities::effective();
        match place {
            Place::Private { .. } => self.nodes.extend(devices::all()),
            // What it mounts must not stay in the pod's own tree.
            Place::InPlace { .. } if held.contains(Capabilities::SYS_ADMIN) => {
                let own = Action::Unshare(UnshareFlags::NEWNS);
                self.surroundings
                    .push(Action::Any(vec![vec![own, Action::PrivateMounts], Vec::new()]));
            }
            Place::InPlace { .. } => {}
        }
        match DOCKER_DEFAULT.contains(held) {
            true => tracing::info!(
                "the step with --security=insecure gets no capability that others lack: the \
                 builder has none to give"
            ),
            false => tracing::info!("the step with --security=insecure has {held:?}"),
        }
    }

    /// From the builder's rights to the step's. Loading a filter takes a capability that is given
    /// up afterwards.
    pub(crate) fn rights(&self, docker: Action) -> Vec<Action> {
        let (before, after) = match self.open {
            true => (None, None),
            false => (Some(docker), Some(Action::LimitCapabilities(DOCKER_DEFAULT))),
        };
        before.into_iter().chain(self.filter.iter().cloned()).chain(after).collect()
    }

    /// Adds what is done before anything else.
    pub(super) fn add_to(&self, spec: &mut Spec) {
        spec.namespaces |= self.namespaces;
        spec.surroundings.splice(0..0, self.surroundings.iter().cloned());
    }
}

/// Tries something in a process of its own; in words why it does not work.
fn attempt(
    namespaces: UnshareFlags,
    surroundings: Vec<Action>,
    preparation: Vec<Action>,
) -> Result<(), String> {
    let spec = Spec { namespaces, surroundings, preparation, program: None };
    let run = || -> Result<()> {
        let null = null_device()?;
        let stdio = [&null, &null, &null].map(AsFd::as_fd);
        let started = child::spawn(&spec, stdio);
        let mut child = started.map_err(host::system("make the namespaces"))?;
        match child.next_report().map_err(host::system("read a report"))? {
            Some(Report::Exited(0)) => Ok(()),
            Some(report) => Err(describe(report, &spec, "rehearsal")),
            None => Err(Error::Supervisor { program: "rehearsal".to_owned() }),
        }
    };
    run().map_err(|error| crate::error::chain(&error))
}
