//! The devices that a step asks for by name, as nodes to show in its `/dev`.
//!
//! A name is the path of a node, or one of the Container Device Interface, whose specs `cdi` reads.

mod cdi;

use rootfs::{FileKind, Metadata, RootDir, RootPath};

use crate::{DeviceRequest, Error, Result};

pub(crate) use cdi::Catalogue;

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where a step finds it, below `/dev`.
    pub(crate) path: RootPath,
    /// The same node on the builder's side, where there is one with this mode and owner.
    pub(crate) host: Option<RootPath>,
    /// It is a block device, not a character device.
    pub(crate) block: bool,
    /// Major and minor number.
    pub(crate) number: (u32, u32),
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

/// What was found for a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) nodes: Vec<Node>,
    pub(crate) env: Vec<(String, String)>,
}

impl Catalogue {
    /// The nodes and variables of all requests. One that nothing is known of is left out with a
    /// warning, unless it is required.
    pub(crate) fn resolve(&self, requests: &[DeviceRequest]) -> Result<Found> {
        let mut found = Found::default();
        for request in requests {
            let one = match request.name.starts_with('/') {
                true => by_path(&request.name)?,
                false => self.by_name(&request.name)?,
            };
            match one {
                Some(one) => {
                    found.nodes.extend(one.nodes);
                    found.env.extend(one.env);
                }
                None if request.required => {
                    return Err(refused(&request.name, self.why_unknown(&request.name)));
                }
                None => tracing::warn!(
                    "device {} is left out: {}",
                    request.name,
                    self.why_unknown(&request.name)
                ),
            }
        }
        Ok(found)
    }
}

/// A node by its own path.
fn by_path(name: &str) -> Result<Option<Found>> {
    let path = below_dev(name, name)?;
    let node = host_node(&path)?;
    Ok(node.map(|node| Found { nodes: vec![Node { path, ..node }], env: Vec::new() }))
}

/// A path in the step's `/dev`; it is the only place where nodes are shown.
fn below_dev(name: &str, path: &str) -> Result<RootPath> {
    let path = RootPath::new(path)?;
    let dev = RootPath::new("/dev")?;
    match path.starts_with(&dev) && path != dev {
        true => Ok(path),
        false => Err(refused(name, format!("`{path}` is not below /dev"))),
    }
}

/// The node at a path of the builder, if there is one.
fn host_node(path: &RootPath) -> Result<Option<Node>> {
    let root = RootDir::open(std::path::Path::new("/"))?;
    let found = root.resolve(path).and_then(|real| Ok((root.metadata(&real)?, real)));
    match found {
        Ok((found, real)) => Ok(node(&found, &real)),
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn node(found: &Metadata, real: &RootPath) -> Option<Node> {
    let block = match found.kind {
        FileKind::BlockDevice => true,
        FileKind::CharDevice => false,
        FileKind::File
        | FileKind::Directory
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket => return None,
    };
    Some(Node {
        path: real.clone(),
        host: Some(real.clone()),
        block,
        number: found.rdev,
        mode: found.mode,
        owner: (found.uid, found.gid),
    })
}

/// Every node in the builder's `/dev`, for a step that gets them all. What cannot be read is none.
pub(crate) fn all() -> Vec<Node> {
    let mut nodes = Vec::new();
    if let (Ok(root), Ok(dev)) = (RootDir::open(std::path::Path::new("/")), RootPath::new("/dev")) {
        collect(&root, &dev, &mut nodes);
    }
    nodes
}

fn collect(root: &RootDir, directory: &RootPath, nodes: &mut Vec<Node>) {
    for entry in root.read_dir(directory).unwrap_or_default() {
        let Ok(path) = directory.join(&entry.name) else { continue };
        match entry.kind {
            FileKind::Directory if path.depth() < DEEPEST => collect(root, &path, nodes),
            FileKind::BlockDevice | FileKind::CharDevice => {
                let found = root.metadata(&path);
                nodes.extend(found.ok().and_then(|found| node(&found, &path)));
            }
            FileKind::File
            | FileKind::Directory
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket => {}
        }
    }
}

/// `/dev/bus/usb/001/002` is the deepest that there is.
const DEEPEST: usize = 5;

/// A device that cannot be handed out as it is asked for.
fn refused(name: &str, reason: String) -> Error {
    Error::Device { name: name.to_owned(), reason }
}
