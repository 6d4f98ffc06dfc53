//! The surroundings of a step on the rung `namespaces`: what a container of Docker has.
//!
//! Everything is mounted in a namespace of the step's own and goes with it. Paths are relative to
//! the stage's directory, which holds the root as `rootfs`; the targets were resolved inside the
//! root beforehand, so no link of the image leads out of it.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rootfs::{Protected, RootDir, RootPath};
use rustix::mount::MountFlags;
use rustix::thread::UnshareFlags;
use sys::child::{Action, Program, Spec};

use super::mounts::Mounts;
use super::placeholders::Placeholders;
use super::{Confined, Request, c_string, nodes};
use crate::{Invocation, Result, host};

const DEVICE_LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// What Docker hides from a container, below `/proc`.
const MASKED: [&str; 10] = [
    "asound",
    "acpi",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "scsi",
];

/// What Docker hides from a container, below `/sys`.
const MASKED_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

/// What Docker makes read-only, below `/proc`.
const FROZEN: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// What was arranged for one step.
pub(crate) struct Private {
    own_pids: bool,
    surroundings: Vec<Action>,
    /// Room in directories of the builder that are mounted, and in the root; unmade in this order.
    rooms: Vec<Placeholders>,
    files: PathBuf,
}

/// Where things are mounted, relative to the root.
struct Targets {
    proc: RootPath,
    dev: RootPath,
    sys: RootPath,
    /// Name of the file beside the root, and where it is shown.
    etc: Vec<(&'static str, RootPath)>,
    /// A directory in `dev`, and the script's place in it.
    script: Option<(RootPath, RootPath)>,
}

/// The script's name beside the root, among the files for `/etc`.
const SCRIPT: &str = "script";

impl Private {
    /// Makes room in the root, writes the files of the step, and lists what its supervisor does.
    pub(crate) fn prepare(
        request: &Request<'_>,
        directory: &Path,
        root: &RootDir,
        invocation: &Invocation,
        confined: &Confined,
    ) -> Result<Private> {
        let hostname = invocation.hostname.as_str();
        let mut placeholders = Placeholders::new(root);
        let mut directory_for = |path: &str| placeholders.directory(&RootPath::new(path)?);
        let (proc, dev, sys) =
            (directory_for("/proc")?, directory_for("/dev")?, directory_for("/sys")?);
        let covered = Protected::from_paths([proc.clone(), dev.clone(), sys.clone()]);
        let files = directory.join("etc");
        host::make_dirs(&files)?;
        host::make_dirs(&directory.join(nodes::HIDDEN))?;
        let mut etc = Vec::new();
        for file in request.network.files(hostname) {
            let path = RootPath::new("/etc")?.join(file.name)?;
            if let Some(real) = placeholders.file(&path, &covered)? {
                host::write_file(&files.join(file.name), &file.content, 0o644)?;
                etc.push((file.name, real));
            }
        }
        let mut script = None;
        if let Some(wanted) = &invocation.script {
            let path = wanted.path()?;
            let name = path.file_name().unwrap_or_default();
            host::write_file(&files.join(SCRIPT), &wanted.content, 0o755)?;
            script = Some((dev.join("pipes")?, dev.join("pipes")?.join(name)?));
        }
        let targets = Targets { proc, dev, sys, etc, script };
        let covered = [&targets.proc, &targets.dev, &targets.sys];
        let mut mounts = Mounts::new(root, directory, covered)?;
        for one in &invocation.mounts {
            mounts.add(&mut placeholders, one)?;
        }
        let (mounted, mut rooms) = mounts.finish();
        rooms.reverse();
        rooms.push(placeholders);
        let mut surroundings =
            surroundings(request.own_pids, directory, &targets, hostname, confined)?;
        surroundings.extend(mounted);
        surroundings.push(Action::PivotRoot);
        Ok(Private { own_pids: request.own_pids, surroundings, rooms, files })
    }

    /// The step's processes.
    pub(crate) fn spec(&self, preparation: Vec<Action>, program: Option<Program>) -> Spec {
        let mut namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
        namespaces.set(UnshareFlags::NEWPID, self.own_pids);
        Spec { namespaces, surroundings: self.surroundings.clone(), preparation, program }
    }

    /// Removes what was made for the step.
    pub(crate) fn clean(self) -> Result<()> {
        // What is left of these is overwritten by the next step and removed with the stage.
        let files = RootDir::open(&self.files);
        let _ = files.and_then(|dir| dir.remove_contents(&RootPath::root(), &Protected::none()));
        let mut outcome = Ok(());
        for room in self.rooms {
            // The first failure is told; the rest is still unmade.
            outcome = outcome.and(room.clean());
        }
        outcome
    }
}

/// What the supervisor does before it makes the mounts of the step and changes its root.
fn surroundings(
    own_pids: bool,
    directory: &Path,
    targets: &Targets,
    hostname: &str,
    confined: &Confined,
) -> Result<Vec<Action>> {
    use std::os::unix::ffi::OsStrExt;
    let root = c"rootfs".to_owned();
    let mut actions = vec![
        Action::HideMemory,
        Action::SetUmask(0),
        Action::ChangeDirectory(c_string("directory", directory.as_os_str().as_bytes())?),
        Action::ClimbToTop { foothold: root.clone() },
        Action::PrivateMounts,
        Action::Bind { source: root.clone(), target: root.clone() },
    ];
    if !confined.open {
        // Devices that an image brings are stored, but not opened.
        actions.push(Action::Restrict { target: root.clone(), flags: MountFlags::NODEV });
    }
    actions.push(Action::ChangeDirectory(root));
    if !own_pids {
        actions.push(Action::BecomeSubreaper);
    }
    add_proc(&mut actions, &targets.proc, own_pids)?;
    add_dev(&mut actions, &targets.dev, confined.open)?;
    add_sys(&mut actions, &targets.sys, confined.open)?;
    for node in &confined.nodes {
        nodes::show(&mut actions, &targets.dev, node)?;
    }
    if !confined.open {
        hide(&mut actions, targets)?;
    }
    for (name, real) in &targets.etc {
        let source = c_string("path", format!("../etc/{name}").as_bytes())?;
        let target = relative(real)?;
        actions.push(Action::Bind { source, target: target.clone() });
        actions.push(Action::Restrict { target, flags: CLOSED | MountFlags::RDONLY });
    }
    if let Some((directory, script)) = &targets.script {
        add_script(&mut actions, directory, script)?;
    }
    if !hostname.is_empty() {
        actions.push(Action::SetHostname(hostname.as_bytes().to_vec()));
    }
    Ok(actions)
}

/// Covers what is the machine's.
fn hide(actions: &mut Vec<Action>, targets: &Targets) -> Result<()> {
    let device = below(&targets.dev, "null")?;
    let hidden = MASKED.iter().map(|name| below(&targets.proc, name));
    let hidden = hidden.chain(MASKED_SYS.iter().map(|name| below(&targets.sys, name)));
    for target in hidden {
        actions.push(Action::Mask { target: target?, device: device.clone() });
    }
    for name in FROZEN {
        actions.push(Action::Freeze { target: below(&targets.proc, name)? });
    }
    Ok(())
}

fn add_proc(actions: &mut Vec<Action>, proc: &RootPath, own_pids: bool) -> Result<()> {
    let target = relative(proc)?;
    actions.push(match own_pids {
        true => mount(c"proc", target, CLOSED, c""),
        false => Action::Bind { source: c"/proc".to_owned(), target },
    });
    Ok(())
}

fn add_dev(actions: &mut Vec<Action>, dev: &RootPath, open: bool) -> Result<()> {
    let mut flags = MountFlags::NOSUID | MountFlags::STRICTATIME;
    // As on the root: what a step makes itself is no way to a device.
    flags.set(MountFlags::NODEV, !open);
    actions.push(mount(c"tmpfs", relative(dev)?, flags, c"mode=0755,size=65536k"));
    nodes::show_usual(actions, dev)?;
    for (name, target) in DEVICE_LINKS {
        actions.push(Action::MakeLink(below(dev, name)?, c_string("path", target.as_bytes())?));
    }
    let pts = below(dev, "pts")?;
    let closed = MountFlags::NOSUID | MountFlags::NOEXEC;
    actions.push(Action::MakeDirectory(pts.clone(), 0o755));
    actions.push(Action::Any(vec![
        vec![mount(c"devpts", pts.clone(), closed, c"newinstance,ptmxmode=0666,mode=0620,gid=5")],
        // With one id there is no group 5.
        vec![mount(c"devpts", pts, closed, c"newinstance,ptmxmode=0666,mode=0620")],
    ]));
    let shm = below(dev, "shm")?;
    actions.push(Action::MakeDirectory(shm.clone(), 0o1777));
    actions.push(mount(c"tmpfs", shm, CLOSED, c"mode=1777,size=65536k"));
    let mqueue = below(dev, "mqueue")?;
    actions.push(Action::MakeDirectory(mqueue.clone(), 0o755));
    // Not every kernel has it.
    actions.push(mount(c"mqueue", mqueue, CLOSED, c"").optional());
    Ok(())
}

fn add_sys(actions: &mut Vec<Action>, sys: &RootPath, open: bool) -> Result<()> {
    let target = relative(sys)?;
    if open {
        let groups = c"/sys/fs/cgroup".to_owned();
        let bind = Action::Bind { source: groups, target: below(sys, "fs/cgroup")? };
        actions.push(Action::Any(vec![
            vec![mount(c"sysfs", target.clone(), CLOSED, c""), bind.optional()],
            vec![Action::Bind { source: c"/sys".to_owned(), target }],
        ]));
        return Ok(());
    }
    actions.push(Action::Any(vec![
        vec![mount(c"sysfs", target.clone(), CLOSED | MountFlags::RDONLY, c"")],
        // A new one belongs to who made the network namespace, so the present one is shown.
        vec![
            Action::Bind { source: c"/sys".to_owned(), target: target.clone() },
            Action::RestrictTree { target },
        ],
    ]));
    Ok(())
}

pub(super) fn mount(
    kind: &std::ffi::CStr,
    target: CString,
    flags: MountFlags,
    options: &std::ffi::CStr,
) -> Action {
    Action::Mount { kind: kind.to_owned(), target, flags, options: options.to_owned() }
}

fn add_script(actions: &mut Vec<Action>, directory: &RootPath, script: &RootPath) -> Result<()> {
    let source = c_string("path", format!("../etc/{SCRIPT}").as_bytes())?;
    let target = relative(script)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY;
    actions.extend([
        Action::MakeDirectory(relative(directory)?, 0o755),
        Action::MakeFile(target.clone(), 0o755),
        Action::Bind { source, target: target.clone() },
        Action::Restrict { target, flags },
    ]);
    Ok(())
}

/// A path in the root as one from the root's directory on.
pub(super) fn relative(path: &RootPath) -> Result<CString> {
    c_string("path", path.relative())
}

fn below(path: &RootPath, name: &str) -> Result<CString> {
    relative(&path.join(name)?)
}
