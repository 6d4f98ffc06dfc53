//! One file, link, FIFO or device: its copy, and what the copy carries over.

use std::fs::File;
use std::io::{Read, Write};

use rootfs::{FileKind, Metadata, OpenDirectory, OpenFile, RootDir, RootPath, copy_file_contents};

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
    rules: &Rules<'_>,
) -> Result<()> {
    rules.check_stop()?;
    if metadata.kind == FileKind::Socket {
        destination.warn(format!("`{from}` is a socket and was not copied"));
        return Ok(());
    }
    destination.permit(to)?;
    if linked.is_none() && is_same(source, from, metadata, to, destination, rules)? {
        return Ok(());
    }
    destination.make_room(to)?;
    let root = destination.root();
    match (linked, metadata.kind) {
        (Some(linked), _) => root.hard_link(linked, to)?,
        (None, FileKind::File) => {
            let (from_directory, from_name) = open_parent(source, from)?;
            let (to_directory, to_name) = open_parent(root, to)?;
            let (file, found) = from_directory.open_regular(from_name)?;
            let Some(copy) = to_directory.create_regular(to_name, rules.mode(&found))? else {
                return Err(Error::Occupied { path: to.clone() });
            };
            fill(&file, &found, &copy, rules, &mut |warning| destination.warn(warning))?;
        }
        (None, FileKind::Symlink) => {
            root.symlink(to, &source.read_link(from)?)?;
            dress(source, from, metadata, to, destination, rules)?;
        }
        (None, kind) => {
            root.mknod(to, kind, rules.mode(metadata), metadata.rdev)?;
            dress(source, from, metadata, to, destination, rules)?;
        }
    }
    destination.changed(to);
    Ok(())
}

/// The directory that holds `path`, open, and the name in it. The root itself has no name.
fn open_parent<'p>(root: &RootDir, path: &'p RootPath) -> Result<(OpenDirectory, &'p [u8])> {
    let parent = path.parent().unwrap_or_else(RootPath::root);
    Ok((root.directory(&parent)?, path.file_name().unwrap_or(b".")))
}

/// Gives the new, empty file `copy` all that it is to have of `file`.
pub(crate) fn fill(
    file: &OpenFile<'_>,
    metadata: &Metadata,
    copy: &OpenFile<'_>,
    rules: &Rules<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<()> {
    let stop = || rules.is_stopped();
    let copied = copy_file_contents(file.file(), metadata, copy.file(), &rules.route, &stop);
    match copied {
        Ok(()) => {}
        Err(rootfs::Error::Stopped) => return Err(Error::Stopped),
        Err(rootfs::Error::Content { action, source }) => {
            let path = if action == "read" { file.path()? } else { copy.path()? };
            return Err(Error::Content { action, path, source });
        }
        Err(source) => return Err(Error::Changed { path: file.path()?, source }),
    }
    // Mostly a new file is as it should be, and asking is cheaper than setting.
    let made = copy.metadata()?;
    let (owner, mode) = (rules.owner_of(metadata), rules.mode(metadata));
    if (made.uid, made.gid) != (owner.uid, owner.gid) {
        copy.set_owner(owner.uid, owner.gid)?;
    }
    if made.mode != mode {
        // After the owner: changing that clears setuid, setgid and capabilities.
        copy.set_mode(mode)?;
    }
    for (name, value) in file.xattrs()? {
        match copy.set_xattr(&name, &value) {
            Ok(()) => {}
            Err(error @ rootfs::Error::NotCarried { .. }) => return Err(error.into()),
            Err(error) => warn(attribute_lost(&name, &file.path()?, &error)),
        }
    }
    Ok(copy.set_times(metadata.mtime)?)
}

fn attribute_lost(name: &[u8], path: &RootPath, error: &rootfs::Error) -> String {
    let name = name.escape_ascii();
    format!("extended attribute `{name}` of `{path}` was not copied: {error}")
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
    file.write_all(content).map_err(|source| Error::Content {
        action: "write",
        path: to.clone(),
        source,
    })?;
    let owner = rules.owner.unwrap_or_default();
    root.set_owner(to, owner.uid, owner.gid)?;
    root.set_mode(to, rules.change.map_or(0o644, |change| change.apply(0o644, false)))?;
    destination.changed(to);
    Ok(())
}

/// Gives the copy at `to`, which is no regular file, the owner, mode, attributes and time it is to
/// have.
pub(crate) fn dress(
    source: &RootDir,
    from: &RootPath,
    metadata: &Metadata,
    to: &RootPath,
    destination: &mut Destination<'_>,
    rules: &Rules<'_>,
) -> Result<()> {
    let (root, owner) = (destination.root(), rules.owner_of(metadata));
    root.set_owner(to, owner.uid, owner.gid)?;
    if !metadata.is_symlink() {
        // After the owner, as above.
        root.set_mode(to, rules.mode(metadata))?;
    }
    for (name, value) in source.get_xattrs(from)? {
        match root.set_xattr(to, &name, &value) {
            Ok(()) => {}
            Err(error @ rootfs::Error::NotCarried { .. }) => return Err(error.into()),
            Err(error) => destination.warn(attribute_lost(&name, from, &error)),
        }
    }
    Ok(root.set_times(to, metadata.mtime)?)
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
            same.map_err(|source| Error::Content { action: "compare", path: from.clone(), source })
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
