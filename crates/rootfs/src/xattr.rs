//! Extended attributes, and which of them belong in a layer.
//!
//! They are read and written through open descriptors. What cannot be opened harmlessly (links,
//! devices, FIFOs, sockets) is reached by way of /proc; where no /proc is mounted, such a file
//! shows no attributes and takes none. Little is lost: the kernel allows only `trusted.*` and
//! `security.*` on them.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::dir::RootDir;
use crate::entry::{Entry, path_of};
use crate::error::Error;
use crate::metadata::{FileKind, Metadata};
use crate::path::RootPath;
use crate::table::{AttributeTable, refuse_lists};

/// Name → value.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Whether an attribute is part of the image, and not of the machine it is built on: what the
/// kernel's security modules, integrity checks and overlay file systems keep for themselves stays
/// out. File capabilities and access lists stay in.
#[must_use]
pub fn belongs_in_layer(name: &[u8]) -> bool {
    const OF_THE_MACHINE: [&[u8]; 10] = [
        b"trusted.overlay.",
        b"user.overlay.",
        b"user.fuseoverlayfs.",
        b"user.containers.",
        b"security.selinux",
        b"security.SMACK64",
        b"security.apparmor",
        b"security.ima",
        b"security.evm",
        b"system.nfs4_",
    ];
    const OF_THE_IMAGE: [&[u8]; 4] = [b"user.", b"security.", b"trusted.", b"system."];
    !OF_THE_MACHINE.iter().any(|prefix| name.starts_with(prefix))
        && OF_THE_IMAGE.iter().any(|prefix| name.starts_with(prefix))
}

/// How the attributes of one file are reached.
enum Access {
    Open(OwnedFd),
    /// By way of /proc; the reference must stay open meanwhile.
    Path(String, #[allow(dead_code, reason = "holds what the path names")] OwnedFd),
    /// Not at all.
    None,
}

impl Access {
    fn of(entry: &Entry<'_>, kind: FileKind) -> Result<Access, Errno> {
        match entry.open_readable(kind) {
            Ok(Some(fd)) => return Ok(Access::Open(fd)),
            Ok(None) | Err(Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
        let reference = entry.reference()?;
        Ok(path_of(&reference).map_or(Access::None, |path| Access::Path(path, reference)))
    }

    fn all(&self) -> Result<Xattrs, Errno> {
        match self {
            Access::Open(fd) => of_open(fd),
            Access::Path(path, _) => of_path(path),
            Access::None => Ok(Xattrs::new()),
        }
    }
}

impl RootDir {
    /// The attributes of the path itself that belong in a layer (see [`belongs_in_layer`]).
    pub fn get_xattrs(&self, path: &RootPath) -> Result<Xattrs, Error> {
        let failed = |errno| Error::io("read the attributes of", path, errno);
        let entry = self.entry("read the attributes of", path)?;
        if let Some(table) = entry.table {
            return entry.on_disk().and_then(|file| table.xattrs(&file)).map_err(failed);
        }
        let kind = entry.metadata().map_err(failed)?.kind;
        Access::of(&entry, kind).and_then(|access| access.all()).map_err(failed)
    }

    /// Sets one attribute of the path itself.
    #[allow(clippy::disallowed_methods, reason = "by way of a descriptor of ours in /proc")]
    pub fn set_xattr(&self, path: &RootPath, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::io("set an attribute of", path, errno);
        let attribute = CString::new(name).map_err(|_| failed(Errno::INVAL))?;
        let entry = self.entry("set an attribute of", path)?;
        if let Some(table) = entry.table {
            refuse_lists(path, name)?;
            let set = entry.on_disk().and_then(|file| table.set_xattr(&file, name, value));
            return set.map_err(failed);
        }
        let kind = entry.metadata().map_err(failed)?.kind;
        match Access::of(&entry, kind).map_err(failed)? {
            Access::Open(fd) => {
                rustix::fs::fsetxattr(&fd, attribute.as_c_str(), value, XattrFlags::empty())
            }
            Access::Path(path, _) => {
                rustix::fs::setxattr(path, attribute.as_c_str(), value, XattrFlags::empty())
            }
            Access::None => Err(Errno::OPNOTSUPP),
        }
        .map_err(failed)
    }

    /// [`set_xattr`](Self::set_xattr) for a file of this root that is open.
    pub fn set_xattr_of(
        &self,
        file: &File,
        path: &RootPath,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Error> {
        if self.table.is_some() {
            refuse_lists(path, name)?;
        }
        set_open(file, self.table.as_deref(), name, value)
            .map_err(|errno| Error::io("set an attribute of", path, errno))
    }

    /// Removes one attribute of the path itself.
    #[allow(clippy::disallowed_methods, reason = "by way of a descriptor of ours in /proc")]
    pub fn remove_xattr(&self, path: &RootPath, name: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::io("remove an attribute of", path, errno);
        let attribute = CString::new(name).map_err(|_| failed(Errno::INVAL))?;
        let entry = self.entry("remove an attribute of", path)?;
        if let Some(table) = entry.table {
            return entry
                .on_disk()
                .and_then(|file| table.remove_xattr(&file, name))
                .map_err(failed);
        }
        let kind = entry.metadata().map_err(failed)?.kind;
        match Access::of(&entry, kind).map_err(failed)? {
            Access::Open(fd) => rustix::fs::fremovexattr(&fd, attribute.as_c_str()),
            Access::Path(path, _) => rustix::fs::removexattr(path, attribute.as_c_str()),
            Access::None => Err(Errno::OPNOTSUPP),
        }
        .map_err(failed)
    }
}

/// The attributes of an entry of an open directory that belong in a layer.
pub(crate) fn of_entry(entry: &Entry<'_>, kind: FileKind) -> Result<Xattrs, Errno> {
    if let Some(table) = entry.table {
        return table.xattrs(&entry.on_disk()?);
    }
    Access::of(entry, kind)?.all()
}

/// The attributes of what a mere reference is open to; none where no /proc is mounted.
pub(crate) fn of_reference(reference: &OwnedFd) -> Result<Xattrs, Errno> {
    path_of(reference).map_or_else(|| Ok(Xattrs::new()), |path| of_path(&path))
}

fn of_path(path: &str) -> Result<Xattrs, Errno> {
    collect(
        |buffer| rustix::fs::listxattr(path, buffer),
        |name, buffer| rustix::fs::getxattr(path, name, buffer),
    )
}

/// The attributes of an open file or directory that belong in a layer.
pub(crate) fn of_open_in(table: Option<&AttributeTable>, fd: impl AsFd) -> Result<Xattrs, Errno> {
    match table {
        Some(table) => table.xattrs(&Metadata::at(fd, "")?),
        None => of_open(fd),
    }
}

/// The same of one that no table knows of.
fn of_open(fd: impl AsFd) -> Result<Xattrs, Errno> {
    collect(
        |buffer| rustix::fs::flistxattr(&fd, buffer),
        |name, buffer| rustix::fs::fgetxattr(&fd, name, buffer),
    )
}

/// Sets one attribute of an open file or directory.
pub(crate) fn set_open(
    fd: impl AsFd,
    table: Option<&AttributeTable>,
    name: &[u8],
    value: &[u8],
) -> Result<(), Errno> {
    if let Some(table) = table {
        return table.set_xattr(&Metadata::at(fd, "")?, name, value);
    }
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    rustix::fs::fsetxattr(fd, name.as_c_str(), value, XattrFlags::empty())
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CString, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, Errno> {
    let names = match grown(&list) {
        Ok(names) => names,
        // No such thing on this file system.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Xattrs::new()),
        Err(errno) => return Err(errno),
    };
    let mut found = Xattrs::new();
    for name in names.split(|byte| *byte == 0).filter(|name| belongs_in_layer(name)) {
        let attribute = CString::new(name).map_err(|_| Errno::INVAL)?;
        match grown(|buffer| get(&attribute, buffer)) {
            Ok(value) => drop(found.insert(name.to_vec(), value)),
            // Gone meanwhile, or listed but not for us.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}

/// Calls with a buffer that is large enough: mostly the first is. The kernel's own limit for lists
/// and values is 64 KiB.
fn grown(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 256];
    match call(&mut small) {
        Ok(length) => return Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut buffer = vec![0; 64 * 1024];
    let length = call(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, belongs: bool) {
        assert_eq!(belongs_in_layer(name.as_bytes()), belongs, "{name}");
    }

    #[test]
    fn attributes_of_the_machine_stay_out() {
        check("user.comment", true);
        check("security.capability", true);
        check("trusted.mine", true);
        check("system.posix_acl_access", true);
        check("trusted.overlay.opaque", false);
        check("user.overlay.opaque", false);
        check("security.selinux", false);
        check("security.ima", false);
        check("security.SMACK64EXEC", false);
        check("", false);
        check("odd", false);
    }
}
