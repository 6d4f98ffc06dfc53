//! One step: the processes of one program, from the first preparation to the last one's end.
//!
//! `confine` decides what holds the step. `private` arranges the surroundings on the rung
//! `namespaces`, with `mounts` for `RUN --mount`, and `moved` does without mounts; `nodes` are the
//! devices it gets; `placeholders` makes room in the root for what a step must find there,
//! `program` is the command line as the kernel takes it, and `watch` follows the processes until
//! none is left.

mod confine;
mod memory;
mod mounts;
mod moved;
mod network;
mod nodes;
mod orphans;
mod placeholders;
mod private;
mod program;
mod watch;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rootfs::{RootDir, RootPath};
use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;
use sys::StopHandle;
use sys::capabilities::DOCKER_DEFAULT;
use sys::child::{Action, Phase, Report, Spec};
use sys::seccomp::Filter;

use crate::devices::Catalogue;
use crate::stages::{ActiveRoot, Place};
use crate::{Error, Exit, Invocation, Result, Stream, host};

pub(crate) use confine::Confined;
pub(crate) use network::NetworkFiles;
pub(crate) use private::Private;

use placeholders::Placeholders;

/// What the rung adds to an invocation.
pub(crate) struct Request<'a> {
    /// A pid namespace can be had.
    pub(crate) own_pids: bool,
    /// Groups can be set.
    pub(crate) set_groups: bool,
    /// The name service files of the builder.
    pub(crate) network: &'a NetworkFiles,
    /// What devices can be asked for by name.
    pub(crate) devices: &'a Catalogue,
}

/// Runs one program; afterwards no process, mount or placeholder of it is left.
pub(crate) fn run(
    request: &Request<'_>,
    root: &ActiveRoot,
    invocation: &Invocation,
    output: &mut dyn FnMut(Stream, &[u8]),
    stop: &StopHandle,
) -> Result<Exit> {
    let confined = confine::decide(request, &root.place, invocation)?;
    let program = program::build(invocation, &confined.env)?;
    check_directory(&root.dir, &invocation.cwd)?;
    let name = invocation.argv.first().map_or("", String::as_str);
    let null = null_device()?;
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (stdout, stdout_end) = pipe().map_err(host::system("make a pipe"))?;
    let (stderr, stderr_end) = pipe().map_err(host::system("make a pipe"))?;
    let (mut spec, room) = match &root.place {
        Place::Private { directory } => {
            let private = Private::prepare(request, directory, &root.dir, invocation, &confined)?;
            let rights = confined.rights(filter(request.own_pids));
            let preparation = preparation(request, invocation, rights)?;
            (private.spec(preparation, Some(program)), Room::Private(private))
        }
        Place::InPlace { aside } => {
            let mut placeholders = Placeholders::new(&root.dir);
            request.network.provide(&mut placeholders, &root.protected, aside)?;
            if let Some(script) = &invocation.script {
                let aside = aside.join("script")?;
                placeholders.substitute(&script.path()?, &script.content, 0o755, &aside)?;
            }
            let mounts = &invocation.mounts;
            moved::place(&mut placeholders, &root.dir, &root.protected, aside, mounts)?;
            // The pod's own filter holds the step already; without CAP_SYS_ADMIN a second one
            // would cost it sudo and file capabilities.
            let rights = confined.rights(filter(false).optional());
            let nodes = nodes::make(&root.dir, &confined.nodes)?;
            let spec = Spec {
                namespaces: UnshareFlags::empty(),
                surroundings: vec![Action::HideMemory, Action::BecomeSubreaper],
                preparation: preparation(request, invocation, rights)?,
                program: Some(program),
            };
            (spec, Room::InPlace(placeholders, nodes))
        }
    };
    confined.add_to(&mut spec);
    let stdio = [null.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
    let started = sys::child::spawn(&spec, stdio).map_err(host::system("start a process"));
    // The ends that the program has must not be held here: their closing tells that it is gone.
    drop((stdout_end, stderr_end));
    let outcome = started.and_then(|child| {
        let own_pids = spec.namespaces.contains(UnshareFlags::NEWPID);
        let rules = watch::Rules { own_pids, grace: invocation.grace, timeout: invocation.timeout };
        let streams = [stdout, stderr];
        let news = watch::follow(child, streams, rules, output, stop)?;
        match news {
            watch::News::Ended(exit) => Ok(exit),
            watch::News::Stopped => Err(Error::Stopped { program: name.to_owned() }),
            watch::News::Abandoned => Err(Error::Supervisor { program: name.to_owned() }),
            watch::News::Failed(report) => Err(describe(report, &spec, name)),
        }
    });
    let cleaned = room.clean();
    outcome.and_then(|exit| cleaned.map(|()| exit))
}

/// What was made for the step outside its namespaces.
enum Room {
    Private(Private),
    InPlace(Placeholders, nodes::Made),
}

impl Room {
    fn clean(self) -> Result<()> {
        match self {
            Room::Private(private) => private.clean(),
            Room::InPlace(placeholders, nodes) => {
                drop(nodes);
                placeholders.clean()
            }
        }
    }
}

/// From the supervisor's process to the program's: session, directory, rights, identity.
pub(crate) fn preparation(
    request: &Request<'_>,
    invocation: &Invocation,
    rights: Vec<Action>,
) -> Result<Vec<Action>> {
    let identity = &invocation.identity;
    let mut actions = vec![
        Action::NewSession,
        Action::SetUmask(0o022),
        Action::ChangeDirectory(c_string("working directory", invocation.cwd.as_bytes())?),
    ];
    actions.extend(rights);
    if request.set_groups {
        actions.push(Action::SetGroups(identity.groups.clone()));
    }
    actions.push(Action::SetGroup(identity.gid));
    actions.push(Action::SetUser(identity.uid));
    // A change of identity clears these two, so they come last. Up to exec the process still has
    // the builder's memory.
    actions.extend([Action::HideMemory, Action::DieWithParent]);
    Ok(actions)
}

/// The system call filter of a step. Without a pid namespace it keeps a `kill -1` from ending the
/// builder as well.
pub(crate) fn filter(own_pids: bool) -> Action {
    Action::LoadFilter(match own_pids {
        true => Filter::docker_default(DOCKER_DEFAULT),
        false => Filter::docker_default_sparing(DOCKER_DEFAULT, rustix::process::getpid()),
    })
}

fn check_directory(root: &RootDir, cwd: &RootPath) -> Result<()> {
    let found = root.resolve(cwd).and_then(|real| root.metadata(&real));
    match found {
        Ok(found) if found.is_dir() => Ok(()),
        Err(error) if !error.is_not_found() && !error.is_not_a_directory() => Err(error.into()),
        Ok(_) | Err(_) => Err(Error::WorkingDirectory { path: cwd.clone() }),
    }
}

/// What is read as empty and takes everything.
pub(crate) fn null_device() -> Result<OwnedFd> {
    let open = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    // In an empty chroot there is none. A pipe whose other end is closed reads as empty, too.
    let fallback = |_| {
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        pipe.map(|(reader, _)| reader)
    };
    open.or_else(fallback).map_err(host::system("open /dev/null"))
}

/// What a report other than an end means.
pub(crate) fn describe(report: Report, spec: &Spec, program: &str) -> Error {
    match report {
        Report::Failed(phase, index, source) => {
            let actions = match phase {
                Phase::Surroundings => &spec.surroundings,
                Phase::Preparation => &spec.preparation,
            };
            let action = actions.get(index).map_or_else(String::new, ToString::to_string);
            Error::Setup { action, source }
        }
        Report::NotStarted(source) => Error::System { action: "start a process", source },
        Report::NotExecuted(source) => Error::Execute { program: program.to_owned(), source },
        Report::Exited(_) | Report::Killed(_) => Error::Supervisor { program: program.to_owned() },
    }
}

/// A string for the kernel.
pub(crate) fn c_string(what: &'static str, bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::Malformed {
        what,
        value: String::from_utf8_lossy(bytes).replace('\0', "\\0"),
    })
}
