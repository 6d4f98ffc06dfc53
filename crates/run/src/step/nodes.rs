//! Device nodes in the `/dev` of a step.
//!
//! On private roots they are made in a file system of the step's own. In place `/dev` is the
//! pod's: what is there already is used, and what is made goes after the step.

use rootfs::{FileKind, RootDir, RootPath};
use rustix::io::Errno;
use sys::child::Action;

use super::c_string;
use super::private::relative;
use crate::devices::Node;
use crate::{Error, Result};

/// The nodes that every step has, and the directories with a file system of their own.
const TAKEN: [&str; 12] = [
    "null", "zero", "full", "random", "urandom", "tty", "ptmx", "core", "pts", "shm", "mqueue",
    "pipes",
];

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
    let path = relative(&dev.join(names.join(&b'/'))?)?;
    let (uid, gid) = node.owner;
    let make = match node.block {
        true => Action::MakeBlockDevice(path.clone(), node.mode, node.number),
        false => Action::MakeDevice(path.clone(), node.mode, node.number),
    };
    let mut ways = vec![vec![make, Action::SetOwner(path.clone(), uid, gid)]];
    if let Some(host) = &node.host {
        // Nobody makes devices in a user namespace, so the machine's own is shown.
        let source = c_string("path", host.as_bytes())?;
        let bind = Action::Bind { source, target: path.clone() };
        ways.push(vec![Action::MakeFile(path, 0o666), bind]);
    }
    actions.push(Action::Any(ways));
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
