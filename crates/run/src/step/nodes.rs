//! Device nodes in the `/dev` of a step.
//!
//! On private roots they are made in a file system that the step never sees and shown one by one:
//! its own `/dev` opens no device, or as root of the machine it could make itself a disk. In place
//! `/dev` is the pod's: what is there already is used, and what is made goes after the step.

use std::ffi::CString;

use rootfs::{FileKind, RootDir, RootPath};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use sys::child::Action;

use super::c_string;
use super::private::{mount, relative};
use crate::devices::Node;
use crate::{Error, Result};

/// The nodes that every step has, and the directories with a file system of their own.
const TAKEN: [&str; 12] = [
    "null", "zero", "full", "random", "urandom", "tty", "ptmx", "core", "pts", "shm", "mqueue",
    "pipes",
];

/// The directory beside the root that devices are shown from.
pub(super) const HIDDEN: &str = "nodes";

/// The devices of a container: name, major and minor number.
const USUAL: [(&str, (u32, u32)); 6] = [
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

/// What makes the place for nodes, and shows those that every step has.
pub(super) fn show_usual(actions: &mut Vec<Action>, dev: &RootPath) -> Result<()> {
    let hidden = c_string("path", format!("../{HIDDEN}").as_bytes())?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    actions.push(mount(c"tmpfs", hidden, flags, c"mode=0700,size=1m"));
    for (name, number) in USUAL {
        let path = c_string("path", format!("../{HIDDEN}/{name}").as_bytes())?;
        let make = vec![Action::MakeDevice(path.clone(), 0o666, number)];
        let host = c_string("path", format!("/dev/{name}").as_bytes())?;
        reveal(actions, relative(&dev.join(name)?)?, (make, path), Some(host));
    }
    Ok(())
}

/// Shows what the actions make at a path, or else the machine's own device.
fn reveal(
    actions: &mut Vec<Action>,
    target: CString,
    (mut make, made): (Vec<Action>, CString),
    host: Option<CString>,
) {
    make.push(Action::Bind { source: made, target: target.clone() });
    let mut ways = vec![make];
    if let Some(source) = host {
        // Nobody makes devices in a user namespace, so the machine's are shown. Read-only, they can
        // be written to all the same, but not be given another mode or owner.
        let bind = Action::Bind { source, target: target.clone() };
        let flags = MountFlags::RDONLY;
        ways.push(vec![bind, Action::Restrict { target: target.clone(), flags }]);
    }
    actions.extend([Action::MakeFile(target, 0o666), Action::Any(ways)]);
}

/// What shows a node in the directory that is `/dev` to the step.
pub(super) fn show(actions: &mut Vec<Action>, dev: &RootPath, node: &Node) -> Result<()> {
    let names = node.path.components().skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let taken = |name: &Vec<u8>| TAKEN.iter().any(|taken| taken.as_bytes() == name);
    if names.first().is_none_or(taken) {
        return Ok(());
    }
    let mut path = dev.clone();
    for name in &names[..names.len() - 1] {
        path = path.join(name)?;
        actions.push(Action::MakeDirectory(relative(&path)?, 0o755));
    }
    // A list of devices may name one twice; the place of each is its own.
    let path = c_string("path", format!("../{HIDDEN}/asked-{}", actions.len()).as_bytes())?;
    let (uid, gid) = node.owner;
    let make = match node.block {
        true => Action::MakeBlockDevice(path.clone(), node.mode, node.number),
        false => Action::MakeDevice(path.clone(), node.mode, node.number),
    };
    let make = vec![make, Action::SetOwner(path.clone(), uid, gid)];
    let host = node.host.as_ref().map(|host| c_string("path", host.as_bytes())).transpose()?;
    reveal(actions, relative(&dev.join(names.join(&b'/'))?)?, (make, path), host);
    Ok(())
}

/// Nodes that were made in the pod's `/dev` for one step; they go when this is dropped.
pub(super) struct Made {
    root: RootDir,
    paths: Vec<RootPath>,
}

/// Makes the nodes that are not there.
pub(super) fn make(root: &RootDir, nodes: &[Node]) -> Result<Made> {
    let mut made = Made { root: root.clone(), paths: Vec::new() };
    for node in nodes {
        let failed = |source| Error::Placeholder { path: node.path.clone(), source };
        if is_there(root, node).map_err(failed)? {
            continue;
        }
        let parent = node.path.parent().unwrap_or_else(RootPath::root);
        let parent = root.resolve_existing(&parent).map_err(failed)?;
        made.paths.extend(root.create_dir_all(&parent, 0o755).map_err(failed)?);
        let path = parent.join(node.path.file_name().unwrap_or_default()).map_err(failed)?;
        let kind = if node.block { FileKind::BlockDevice } else { FileKind::CharDevice };
        root.mknod(&path, kind, node.mode, node.number).map_err(failed)?;
        made.paths.push(path.clone());
        root.set_owner(&path, node.owner.0, node.owner.1).map_err(failed)?;
    }
    Ok(made)
}

fn is_there(root: &RootDir, node: &Node) -> Result<bool, rootfs::Error> {
    let found = root.resolve(&node.path).and_then(|real| root.metadata(&real));
    match found {
        Ok(found) if found.rdev == node.number => Ok(true),
        Ok(_) => Err(rootfs::Error::Io {
            action: "create the node",
            path: node.path.clone(),
            source: Errno::EXIST.into(),
        }),
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.drain(..).rev() {
            // A step may have removed or used it; a directory that it uses stays.
            if let Err(error) = self.root.remove(&path) {
                tracing::debug!("cannot remove the device {path}: {error}");
            }
        }
    }
}
