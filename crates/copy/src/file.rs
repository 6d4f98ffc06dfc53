//! One file, link, FIFO or device: its copy, and what the copy carries over.

use std::fs::File;
use std::io::{Read, Write};

use rootfs::{FileKind, Metadata, RootDir, RootPath, copy_file_contents};

use crate::destination::Destination;
use crate::request::Rules;
use crate::resolve::Look;
use crate::{Error, Result};

/// Copies what is no directory from `from` to `to`, replacing what is there.
///
/// `linked` is where an earlier name of the same file went in this copy.
pub(crate) fn copy_file(
    source: &RootDir,
    from: &RootPath,
    metadata: &Metadata,
    to: &RootPath,
    linked: Option<&RootPath>,
    destination: &mut Destination<'_>,
    rules: &mut Rules<'_>,
) -> Result<()> {
    rules.check_stop()?;
    if metadata.kind == FileKind::Socket {
        rules.warn(format!("`{from}` is a socket and was not copied"));
        return Ok(());
    }
    destination.permit(to)?;
    if linked.is_none() && is_same(source, from, metadata, to, destination, rules)? {
        return Ok(());
    }
    destination.make_room(to)?;
    let root = destination.root();
    if let Some(linked) = linked {
        root.hard_link(linked, to)?;
        destination.changed(to);
        return Ok(());
    }
    let mode = rules.mode(metadata);
    match metadata.kind {
        FileKind::File => {
            let content = source.open_file(from)?;
            let copy = root.create_file(to, 0o600)?;
            copy_file_contents(&content, &copy)?;
        }
        FileKind::Symlink => root.symlink(to, &source.read_link(from)?)?,
        kind => root.mknod(to, kind, mode, metadata.rdev)?,
    }
    destination.changed(to);
    dress(source, from, metadata, to, root, rules)
}

/// Writes a file whose content comes with the instruction.
pub(crate) fn write_inline(
    content: &[u8],
    to: &RootPath,
    destination: &mut Destination<'_>,
    rules: &Rules<'_>,
) -> Result<()> {
    destination.make_room(to)?;
    let root = destination.root();
    let mut file = root.create_file(to, 0o600)?;
    file.write_all(content).map_err(|source| Error::Content { path: to.clone(), source })?;
    let owner = rules.owner.unwrap_or_default();
    root.set_owner(to, owner.uid, owner.gid)?;
    root.set_mode(to, rules.change.map_or(0o644, |change| change.apply(0o644, false)))?;
    destination.changed(to);
    Ok(())
}

/// Gives the copy at `to` the owner, mode, attributes and time it is to have.
pub(crate) fn dress(
    source: &RootDir,
    from: &RootPath,
    metadata: &Metadata,
    to: &RootPath,
    root: &RootDir,
    rules: &mut Rules<'_>,
) -> Result<()> {
    let owner = rules.owner_of(metadata);
    root.set_owner(to, owner.uid, owner.gid)?;
    if !metadata.is_symlink() {
        // After the owner: changing that clears setuid, setgid and capabilities.
        root.set_mode(to, rules.mode(metadata))?;
    }
    for (name, value) in source.get_xattrs(from)? {
        if let Err(error) = root.set_xattr(to, &name, &value) {
            let name = name.escape_ascii();
            rules.warn(format!("extended attribute `{name}` of `{from}` was not copied: {error}"));
        }
    }
    root.set_times(to, metadata.mtime)?;
    Ok(())
}

/// Whether the copy would leave `to` exactly as it is: nothing to do, and nothing for a layer.
fn is_same(
    source: &RootDir,
    from: &RootPath,
    metadata: &Metadata,
    to: &RootPath,
    destination: &Destination<'_>,
    rules: &Rules<'_>,
) -> Result<bool> {
    if destination.is_stacked() || metadata.nlink > 1 {
        return Ok(false);
    }
    let Some(old) = destination.look(to)? else { return Ok(false) };
    let root = destination.root();
    let owner = rules.owner_of(metadata);
    let alike = old.kind == metadata.kind
        && old.nlink == 1
        && (old.uid, old.gid) == (owner.uid, owner.gid)
        && (metadata.is_symlink() || old.mode == rules.mode(metadata))
        && (old.size, old.rdev, old.mtime) == (metadata.size, metadata.rdev, metadata.mtime);
    if !alike || root.get_xattrs(to)? != source.get_xattrs(from)? {
        return Ok(false);
    }
    match metadata.kind {
        FileKind::File => {
            let (a, b) = (source.open_file(from)?, root.open_file(to)?);
            let same = same_content(&a, &b);
            same.map_err(|source| Error::Content { path: from.clone(), source })
        }
        FileKind::Symlink => Ok(root.read_link(to)? == source.read_link(from)?),
        _ => Ok(true),
    }
}

fn same_content(a: &File, b: &File) -> std::io::Result<bool> {
    const BLOCK: usize = 64 * 1024;
    let mut blocks = [Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK)];
    loop {
        for (file, block) in [a, b].into_iter().zip(&mut blocks) {
            block.clear();
            file.take(BLOCK as u64).read_to_end(block)?;
        }
        if blocks[0] != blocks[1] {
            return Ok(false);
        }
        if blocks[0].is_empty() {
            return Ok(true);
        }
    }
}
