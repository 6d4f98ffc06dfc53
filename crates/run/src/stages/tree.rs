//! A whole tree once more: owners, modes, times, attributes, links and hard links as they are.

use std::collections::BTreeMap;

use rootfs::{CopyRoute, FileKind, Metadata, RootDir, RootPath, copy_file_contents};

use rootfs::Error;

/// The result of everything here.
type Result<T, E = Error> = std::result::Result<T, E>;

/// Copies everything in one root into another, empty one, the root directory's own attributes
/// included.
pub(crate) fn copy(from: &RootDir, to: &RootDir) -> Result<()> {
    let mut copying = Copying { from, to, linked: BTreeMap::new(), route: CopyRoute::default() };
    copying.directory(&RootPath::root())
}

/// Sets owner, mode, attributes and time of one path as another one's are.
pub(super) fn copy_attributes(
    from: (&RootDir, &RootPath, &Metadata),
    to: (&RootDir, &RootPath),
) -> Result<()> {
    let (source, source_path, metadata) = from;
    let (target, target_path) = to;
    target.set_owner(target_path, metadata.uid, metadata.gid)?;
    if !metadata.is_symlink() {
        // After the owner, whose change clears setuid and file capabilities.
        target.set_mode(target_path, metadata.mode)?;
    }
    for (name, value) in source.get_xattrs(source_path)? {
        target.set_xattr(target_path, &name, &value)?;
    }
    target.set_times(target_path, metadata.mtime)
}

struct Copying<'a> {
    from: &'a RootDir,
    to: &'a RootDir,
    /// Where files with several names were copied to, by device and inode.
    linked: BTreeMap<((u32, u32), u64), RootPath>,
    route: CopyRoute,
}

impl Copying<'_> {
    fn directory(&mut self, path: &RootPath) -> Result<()> {
        let metadata = self.from.metadata(path)?;
        for entry in self.from.read_dir(path)? {
            let path = path.join(&entry.name)?;
            if entry.kind == FileKind::Directory {
                self.to.create_dir(&path, 0o700)?;
                self.directory(&path)?;
            } else {
                self.other(&path)?;
            }
        }
        // Last, since every entry made in it changes its time.
        copy_attributes((self.from, path, &metadata), (self.to, path))
    }

    fn other(&mut self, path: &RootPath) -> Result<()> {
        let metadata = self.from.metadata(path)?;
        let identity = (metadata.dev, metadata.ino);
        if metadata.nlink > 1 {
            if let Some(first) = self.linked.get(&identity) {
                return self.to.hard_link(first, path);
            }
            self.linked.insert(identity, path.clone());
        }
        match metadata.kind {
            FileKind::File => {
                let source = self.from.open_file(path)?;
                let target = self.to.create_file(path, 0o600)?;
                copy_file_contents(&source, &metadata, &target, &self.route, &|| false)?;
            }
            FileKind::Symlink => self.to.symlink(path, &self.from.read_link(path)?)?,
            // It belongs to a process that is gone, and no layer can hold it.
            FileKind::Socket => return Ok(()),
            kind @ (FileKind::Fifo | FileKind::BlockDevice | FileKind::CharDevice) => {
                self.to.mknod(path, kind, 0o600, metadata.rdev)?;
            }
            // It was listed as something else: the tree changed, which nobody may do.
            FileKind::Directory => return self.directory(path),
        }
        copy_attributes((self.from, path, &metadata), (self.to, path))
    }
}
