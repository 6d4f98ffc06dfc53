//! What a new process does before it runs its program.
//!
//! The code here runs between fork and exec, in a copy of a program that may have had many
//! threads. It must neither allocate nor take a lock, so every string is made beforehand, and
//! identity is changed by bare system calls (libc's wrappers would wait for the other threads).

use std::ffi::{CStr, CString};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, UnshareFlags};

use crate::seccomp::Filter;
use crate::secret::Secret;

/// One step of the way from the builder's own process to the program's.
///
/// Relative paths start at the working directory that earlier actions chose.
#[derive(Clone, Debug)]
pub enum Action {
    /// Mounts a new file system.
    Mount {
        /// Its type, which also stands for the device.
        kind: CString,
        /// Where.
        target: CString,
        /// Flags of the mount.
        flags: MountFlags,
        /// Options of the file system.
        options: CString,
    },
    /// Shows a file or directory a second time, with what is mounted in it.
    Bind {
        /// What.
        source: CString,
        /// Where.
        target: CString,
    },
    /// Adds flags to a mount and keeps those it has, some of which may be locked.
    Restrict {
        /// The mount point.
        target: CString,
        /// The flags to add.
        flags: MountFlags,
    },
    /// Makes a mount and everything mounted in it read-only.
    RestrictTree {
        /// The mount point.
        target: CString,
    },
    /// Makes a path read-only, if it is there.
    Freeze {
        /// The path.
        target: CString,
    },
    /// Makes a path show nothing, if it is there.
    Mask {
        /// The path.
        target: CString,
        /// An empty device to show in place of a file.
        device: CString,
    },
    /// Cuts the mounts of this namespace off from those of others. Needs `/` to be a mount point.
    PrivateMounts,
    /// Makes the top of the mount namespace the root directory, and keeps the working directory.
    ///
    /// A `pivot_root` in a chroot leaves the tree around the chroot in the namespace, and who may
    /// call chroot can climb to it.
    ClimbToTop {
        /// A directory below the working directory.
        foothold: CString,
    },
    /// Makes the working directory the root, and drops the old root from the namespace.
    PivotRoot,
    /// Changes the working directory.
    ChangeDirectory(CString),
    /// Makes a directory; that it is there already is no error.
    MakeDirectory(CString, u32),
    /// Makes an empty file.
    MakeFile(CString, u32),
    /// Makes a file with a content, a mode, an owner and a group.
    WriteFile {
        /// Where; nothing may be there.
        path: CString,
        /// What it holds.
        content: Secret,
        /// Its mode.
        mode: u32,
        /// User and group id.
        owner: (u32, u32),
    },
    /// Makes a character device with major and minor number.
    MakeDevice(CString, u32, (u32, u32)),
    /// Makes a block device with major and minor number.
    MakeBlockDevice(CString, u32, (u32, u32)),
    /// Gives a file that is no link to a user and a group.
    SetOwner(CString, u32, u32),
    /// Makes a symbolic link: path, target.
    MakeLink(CString, CString),
    /// Names the machine.
    SetHostname(Vec<u8>),
    /// Leaves the session of the builder.
    NewSession,
    /// Sets the mask of the modes of new files.
    SetUmask(u32),
    /// Asks for SIGKILL when the parent ends. To be done after the identity is set.
    DieWithParent,
    /// Becomes the parent of all descendants that lose theirs.
    BecomeSubreaper,
    /// Makes memory and descriptors unreadable for others.
    HideMemory,
    /// Sets the supplementary groups.
    SetGroups(Vec<u32>),
    /// Sets all group ids.
    SetGroup(u32),
    /// Sets all user ids.
    SetUser(u32),
    /// Gives up every capability but these, for good.
    LimitCapabilities(CapabilitySet),
    /// Loads a system call filter.
    LoadFilter(Filter),
    /// Promises that no program run later gains rights.
    NoNewPrivileges,
    /// Brings up the loopback interface of a network namespace of its own.
    RaiseLoopback,
    /// Sets a resource limit.
    Limit(Resource, Rlimit),
    /// Makes namespaces of its own.
    Unshare(UnshareFlags),
    /// Tries the lists one after another until one works from start to end.
    Any(Vec<Vec<Action>>),
}

impl Action {
    /// An action whose failure is no failure.
    #[must_use]
    pub fn optional(self) -> Action {
        Action::Any(vec![vec![self], Vec::new()])
    }

    /// Carries it out, without allocating.
    #[allow(clippy::disallowed_methods, reason = "the paths are those of the new mount namespace")]
    pub(super) fn carry_out(&self) -> Result<(), Errno> {
        match self {
            Action::Mount { kind, target, flags, options } => {
                rustix::mount::mount(&**kind, &**target, &**kind, *flags, &**options)
            }
            Action::Bind { source, target } => {
                rustix::mount::mount_bind_recursive(&**source, &**target)
            }
            Action::Restrict { target, flags } => restrict(target, *flags),
            Action::RestrictTree { target } => restrict_tree(target),
            Action::Freeze { target } => freeze(target),
            Action::Mask { target, device } => mask(target, device),
            Action::PrivateMounts => {
                let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
                rustix::mount::mount_change(c"/", private)
            }
            Action::ClimbToTop { foothold } => climb_to_top(foothold),
            Action::PivotRoot => pivot_root(),
            Action::ChangeDirectory(path) => rustix::process::chdir(&**path),
            Action::MakeDirectory(path, mode) => make_directory(path, *mode),
            Action::MakeFile(path, mode) => make_node(path, FileType::RegularFile, *mode, (0, 0)),
            Action::WriteFile { path, content, mode, owner } => {
                write_file(path, content.expose(), *mode, *owner)
            }
            Action::MakeDevice(path, mode, number) => {
                make_node(path, FileType::CharacterDevice, *mode, *number)
            }
            Action::MakeBlockDevice(path, mode, number) => {
                make_node(path, FileType::BlockDevice, *mode, *number)
            }
            Action::SetOwner(path, uid, gid) => set_owner(path, *uid, *gid),
            Action::MakeLink(path, target) => rustix::fs::symlink(&**target, &**path),
            Action::SetHostname(name) => rustix::system::sethostname(name),
            Action::NewSession => rustix::process::setsid().map(drop),
            Action::SetUmask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            Action::DieWithParent => {
                let signal = rustix::process::Signal::KILL;
                rustix::process::set_parent_process_death_signal(Some(signal))
            }
            Action::BecomeSubreaper => crate::become_subreaper(),
            Action::HideMemory => crate::hide_memory(),
            Action::SetGroups(groups) => set_groups(groups),
            Action::SetGroup(gid) => set_group(*gid),
            Action::SetUser(uid) => set_user(*uid),
            Action::LimitCapabilities(keep) => crate::capabilities::limit_to(*keep),
            Action::LoadFilter(filter) => filter.load(),
            Action::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
            Action::RaiseLoopback => super::loopback::raise(),
            Action::Limit(resource, limit) => rustix::process::setrlimit(*resource, *limit),
            Action::Unshare(flags) => unshare(*flags),
            Action::Any(lists) => any(lists),
        }
    }
}

/// Carries out a list; the index of the action that failed, and why.
pub(super) fn carry_out_all(actions: &[Action]) -> Result<(), (usize, Errno)> {
    for (index, action) in actions.iter().enumerate() {
        action.carry_out().map_err(|errno| (index, errno))?;
    }
    Ok(())
}

fn any(lists: &[Vec<Action>]) -> Result<(), Errno> {
    let mut first = Ok(());
    for list in lists {
        match carry_out_all(list) {
            Ok(()) => return Ok(()),
            // The first way is the one that is meant to work: its failure tells most.
            Err((_, errno)) => first = first.and(Err(errno)),
        }
    }
    first
}

/// The flags of a mount as `mount` takes them. Those that lock a mount against change in a user
/// namespace must be named again on every remount.
fn current_flags(target: &CStr) -> Result<MountFlags, Errno> {
    let found = rustix::fs::statvfs(target)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let mut flags = MountFlags::empty();
    for (present, flag) in pairs {
        flags.set(flag, found.contains(present));
    }
    Ok(flags)
}

fn restrict(target: &CStr, flags: MountFlags) -> Result<(), Errno> {
    let flags = current_flags(target)? | flags | MountFlags::BIND;
    rustix::mount::mount_remount(target, flags, c"")
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn restrict_tree(target: &CStr) -> Result<(), Errno> {
    const READ_ONLY: u64 = 1;
    let attributes =
        MountAttributes { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path ends in NUL and the structure has the size that is passed; both live until
    // the call returns.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    // Before Linux 5.12 only the top can be done, which is what container runtimes did then.
    if outcome == 0 { Ok(()) } else { restrict(target, MountFlags::RDONLY) }
}

fn freeze(target: &CStr) -> Result<(), Errno> {
    match rustix::mount::mount_bind_recursive(target, target) {
        Ok(()) => restrict(target, MountFlags::RDONLY),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn mask(target: &CStr, device: &CStr) -> Result<(), Errno> {
    let found = match rustix::fs::statat(CWD, target, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        // What is not there, or not to be seen, needs no mask.
        Err(Errno::NOENT | Errno::ACCESS) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        let flags =
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount(c"tmpfs", target, c"tmpfs", flags, c"size=4k,mode=0555")
    } else {
        rustix::mount::mount_bind(device, target)
    }
}

fn climb_to_top(foothold: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::open(c".", flags, Mode::empty())?;
    // With a root below the working directory nothing stops `..` before the top.
    rustix::process::chroot(foothold)?;
    for _ in 0..1024 {
        rustix::process::chdir(c"..")?;
    }
    rustix::process::chroot(c".")?;
    rustix::process::fchdir(&here)
}

fn pivot_root() -> Result<(), Errno> {
    match rustix::process::pivot_root(c".", c".") {
        // The old root now lies on top of the new one.
        Ok(()) => rustix::mount::unmount(c".", UnmountFlags::DETACH)?,
        // Docker's profile refuses pivot_root even where mounts are allowed. The new root then
        // covers the old one, which nothing can reach: it is the top of the namespace.
        Err(Errno::PERM | Errno::NOSYS) => {
            rustix::mount::mount_move(c".", c"/")?;
            rustix::process::chroot(c".")?;
        }
        Err(errno) => return Err(errno),
    }
    rustix::process::chdir(c"/")
}

#[allow(clippy::disallowed_methods, reason = "the paths are those of the new mount namespace")]
fn make_directory(path: &CStr, mode: u32) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        outcome => outcome,
    }
}

fn make_node(
    path: &CStr,
    kind: FileType,
    mode: u32,
    (major, minor): (u32, u32),
) -> Result<(), Errno> {
    let number = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(mode), number)
}

fn write_file(
    path: &CStr,
    mut content: &[u8],
    mode: u32,
    (uid, gid): (u32, u32),
) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    while !content.is_empty() {
        match rustix::io::write(&file, content) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => content = &content[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL); // the kernel would read it as "leave as it is"
    }
    rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))
}

fn set_owner(path: &CStr, uid: u32, gid: u32) -> Result<(), Errno> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL); // the kernel would read it as "leave as it is"
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are those of one slice of 32-bit group ids, which is
    // what the kernel reads. The bare call concerns this thread, the only one of this process.
    let outcome = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if outcome == 0 { Ok(()) } else { Err(super::last_errno()) }
}

fn set_group(gid: u32) -> Result<(), Errno> {
    if gid == u32::MAX {
        return Err(Errno::INVAL); // the kernel would read it as "leave as it is"
    }
    let gid = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
}

fn set_user(uid: u32) -> Result<(), Errno> {
    if uid == u32::MAX {
        return Err(Errno::INVAL); // as above
    }
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the process has one thread and shares nothing with another that could be surprised
    // by losing it.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
