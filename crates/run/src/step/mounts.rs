//! `RUN --mount` where mounts can be made: what the supervisor does for it, and room for it.
//!
//! Sources are named from the stage's directory, since the supervisor climbs to the top of the
//! mounts, where the builder's own absolute paths need not mean anything. Secrets are written to a
//! file system in memory that no other process ever sees.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rootfs::{RootDir, RootPath};
use rustix::fs::FileType;
use rustix::mount::MountFlags;
use sys::child::Action;

use super::c_string;
use super::placeholders::Placeholders;
use super::private::{mount, relative};
use crate::{Error, Mount, MountKind, Result, host};

/// The directory beside the root that secrets are shown from.
const SECRETS: &str = "secrets";

/// What something is mounted on, other than the root itself.
enum Ground {
    /// A new file system in memory: the supervisor makes what is missing in it.
    Fresh,
    /// Nothing can be made there.
    Fixed,
    /// A directory of the builder.
    Tree { dir: RootDir, read_only: bool },
}

/// A place that an earlier mount covers.
struct Cover {
    /// As it was written.
    written: RootPath,
    /// Where it is in the root.
    real: RootPath,
    ground: Ground,
}

/// The mounts of one step.
pub(super) struct Mounts<'a> {
    root: &'a RootDir,
    /// The stage's directory, without links.
    directory: PathBuf,
    covers: Vec<Cover>,
    actions: Vec<Action>,
    /// Room made in directories of the builder that are mounted.
    rooms: Vec<Placeholders>,
    secrets: usize,
}

impl<'a> Mounts<'a> {
    /// Mounts on a root in which these three are mounted already.
    pub(super) fn new(
        root: &'a RootDir,
        directory: &Path,
        [proc, dev, sys]: [&RootPath; 3],
    ) -> Result<Self> {
        let cover = |written: &str, real: &RootPath, ground| -> Result<Cover> {
            Ok(Cover { written: RootPath::new(written)?, real: real.clone(), ground })
        };
        let covers = vec![
            cover("/proc", proc, Ground::Fixed)?,
            cover("/dev", dev, Ground::Fresh)?,
            cover("/sys", sys, Ground::Fixed)?,
        ];
        let directory = host::real_path(directory)?;
        let (actions, rooms) = (Vec::new(), Vec::new());
        Ok(Self { root, directory, covers, actions, rooms, secrets: 0 })
    }

    /// One mount more, on top of those before it.
    pub(super) fn add(&mut self, placeholders: &mut Placeholders, one: &Mount) -> Result<()> {
        match &one.what {
            MountKind::Host { path, read_only } => {
                self.add_host(placeholders, one, path, *read_only)
            }
            MountKind::Tmpfs { size } => self.add_tmpfs(placeholders, one, *size),
            MountKind::Secret { content, mode, uid, gid } => {
                let source = self.secret(|path| Action::WriteFile {
                    path,
                    content: content.clone(),
                    mode: *mode,
                    owner: (*uid, *gid),
                })?;
                let real = self.room(placeholders, &one.target, false)?;
                let target = relative(&real)?;
                let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                self.bind(source, &target, flags | MountFlags::RDONLY);
                self.cover(one, real, Ground::Fixed);
                Ok(())
            }
        }
    }

    /// What the supervisor does, and the room to be given back after the step.
    pub(super) fn finish(self) -> (Vec<Action>, Vec<Placeholders>) {
        (self.actions, self.rooms)
    }

    fn add_host(
        &mut self,
        placeholders: &mut Placeholders,
        one: &Mount,
        path: &Path,
        read_only: bool,
    ) -> Result<()> {
        let path = host::real_path(path)?;
        let found = rustix::fs::lstat(&path)
            .map_err(|errno| Error::MountSource { path: path.clone(), source: errno.into() })?;
        let directory = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        let real = self.room(placeholders, &one.target, directory)?;
        // From the root's directory on, which is the working directory by then.
        let source = Path::new("..").join(way(&self.directory, &path));
        let source = c_string("path", source.as_os_str().as_bytes())?;
        let target = relative(&real)?;
        let flags = match read_only {
            true => MountFlags::NODEV | MountFlags::RDONLY,
            false => MountFlags::NODEV,
        };
        self.bind(source, &target, flags);
        let ground = match directory {
            true => Ground::Tree { dir: RootDir::open(&path)?, read_only },
            false => Ground::Fixed,
        };
        self.cover(one, real, ground);
        Ok(())
    }

    fn add_tmpfs(
        &mut self,
        placeholders: &mut Placeholders,
        one: &Mount,
        size: Option<u64>,
    ) -> Result<()> {
        let present = self.root.resolve_existing(&one.target);
        let present = present.and_then(|real| self.root.metadata_opt(&real));
        let mode = present.ok().flatten().map_or(0o1777, |found| found.mode);
        let real = self.room(placeholders, &one.target, true)?;
        let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
        let options = c_string("mount option", format!("mode={mode:04o}{size}").as_bytes())?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        self.actions.push(mount(c"tmpfs", relative(&real)?, flags, &options));
        self.cover(one, real, Ground::Fresh);
        Ok(())
    }

    fn bind(&mut self, source: std::ffi::CString, target: &std::ffi::CStr, flags: MountFlags) {
        let target = target.to_owned();
        self.actions.push(Action::Bind { source, target: target.clone() });
        self.actions.push(Action::Restrict { target, flags });
    }

    /// A file in memory; the path that it has until the root is changed.
    fn secret(
        &mut self,
        write: impl FnOnce(std::ffi::CString) -> Action,
    ) -> Result<std::ffi::CString> {
        let place = format!("../{SECRETS}");
        if self.secrets == 0 {
            host::make_dirs(&self.directory.join(SECRETS))?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            let target = c_string("path", place.as_bytes())?;
            self.actions.push(mount(c"tmpfs", target, flags, c"mode=0700"));
        }
        let path = c_string("path", format!("{place}/{}", self.secrets).as_bytes())?;
        self.secrets += 1;
        self.actions.push(write(path.clone()));
        Ok(path)
    }

    fn cover(&mut self, one: &Mount, real: RootPath, ground: Ground) {
        self.covers.push(Cover { written: one.target.clone(), real, ground });
    }

    /// Something to mount on; where it is in the root. What is missing is made for the step.
    fn room(
        &mut self,
        placeholders: &mut Placeholders,
        target: &RootPath,
        directory: bool,
    ) -> Result<RootPath> {
        let failed = |source| Error::Placeholder { path: target.clone(), source };
        let real = self.root.resolve_existing(target).map_err(failed)?;
        let below = |cover: &Cover| match target.strip_prefix(&cover.written) {
            Some(rest) => Some(rest.to_vec()),
            None => real.strip_prefix(&cover.real).map(<[u8]>::to_vec),
        };
        let found = self.covers.iter().rev().find_map(|cover| Some((cover, below(cover)?)));
        let Some((cover, rest)) = found else { return placeholders.room(target, directory) };
        let rest = RootPath::new(rest)?;
        if rest.is_root() {
            return Ok(cover.real.clone());
        }
        match &cover.ground {
            Ground::Fixed => Ok(cover.real.join(rest.relative())?),
            Ground::Fresh => {
                let real = cover.real.join(rest.relative())?;
                let depth = cover.real.depth();
                let missing: Vec<RootPath> =
                    real.ancestors().filter(|above| above.depth() > depth).collect();
                for path in missing {
                    let made = relative(&path)?;
                    self.actions.push(match directory || path != real {
                        true => Action::MakeDirectory(made, 0o755),
                        false => Action::MakeFile(made, 0o644).optional(),
                    });
                }
                Ok(real)
            }
            Ground::Tree { dir, read_only } => {
                let inside = dir.resolve_existing(&rest).map_err(failed)?;
                if dir.metadata_opt(&inside).map_err(failed)?.is_none() && *read_only {
                    return Err(Error::MountMissing { target: target.clone() });
                }
                let mut room = Placeholders::new(dir);
                room.room(&rest, directory)?;
                self.rooms.push(room);
                Ok(cover.real.join(inside.relative())?)
            }
        }
    }
}

/// How to come from one directory to a path; both without links.
fn way(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, expected: &str) {
        assert_eq!(way(Path::new(from), Path::new(to)), Path::new(expected));
    }

    #[test]
    fn the_way_from_one_path_to_another() {
        check("/a/b/c", "/a/b/c/d", "d");
        check("/a/b/c", "/a/x/y", "../../x/y");
        check("/a", "/", "..");
        check("/", "/x", "x");
        check("/a/b", "/a", "..");
    }
}
