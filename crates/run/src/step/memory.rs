//! Files in memory for a step that has no mounts of its own: a directory below `/dev/shm`.

use std::io::Write;
use std::path::Path;

use rootfs::{Protected, RootDir, RootPath};
use sys::Secret;

use crate::Result;

/// The file system in memory that runtimes give every container.
const SHARED: &str = "/dev/shm";

/// What the names of the directories begin with; the builder's process id follows.
const PREFIX: &str = "kaniko-step-";

/// A directory in memory, gone when it is dropped.
pub(super) struct Memory {
    shared: RootDir,
    name: RootPath,
    files: usize,
}

impl Memory {
    /// Makes the directory; `None` where there is no file system in memory.
    pub(super) fn make() -> Result<Option<Memory>> {
        let Ok(shared) = RootDir::open(Path::new(SHARED)) else { return Ok(None) };
        if !is_in_memory(&shared) {
            return Ok(None);
        }
        sweep(&shared)?;
        let name = RootPath::new(format!("{PREFIX}{}", std::process::id()))?;
        // One that is there already was left by a builder of the same number, now dead.
        shared.remove_tree(&name, &Protected::none())?;
        match shared.create_dir(&name, 0o711) {
            Ok(()) => Ok(Some(Memory { shared, name, files: 0 })),
            Err(error) if error.is_permission_denied() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a file; its path.
    pub(super) fn write(
        &mut self,
        content: &Secret,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Vec<u8>> {
        let path = self.name.join(self.files.to_string())?;
        self.files += 1;
        Self::write_file(&self.shared, &path, content)?;
        self.shared.set_owner(&path, uid, gid)?;
        self.shared.set_mode(&path, mode)?;
        Ok([SHARED.as_bytes(), b"/", path.relative()].concat())
    }

    /// Writes a new file that its owner alone can read.
    pub(super) fn write_file(
        root: &RootDir,
        path: &RootPath,
        content: &Secret,
    ) -> Result<(), rootfs::Error> {
        let mut file = root.create_file(path, 0o600)?;
        let written = file.write_all(content.expose());
        written.map_err(|source| rootfs::Error::Io { action: "write", path: path.clone(), source })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // A failure leaves it to the sweep of the next builder.
        let _ = self.shared.remove_tree(&self.name, &Protected::none());
    }
}

/// Removes what builders left that were killed.
fn sweep(shared: &RootDir) -> Result<()> {
    for entry in shared.read_dir(&RootPath::root())? {
        let number = entry.name.strip_prefix(PREFIX.as_bytes());
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        let pid = number.and_then(|digits| digits.parse().ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        if pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_err()) {
            shared.remove_tree(&RootPath::new(&entry.name)?, &Protected::none())?;
        }
    }
    Ok(())
}

fn is_in_memory(root: &RootDir) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    rustix::fs::fstatfs(root).is_ok_and(|found| found.f_type == TMPFS)
}
