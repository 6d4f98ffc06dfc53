//! What the pod allows, for people to read: looked at and tried, without taking anything.
//!
//! Which rung a build takes is decided by [`enter`](crate::enter) and nobody else; this says what
//! else is worth knowing when it is not the one that was hoped for.

use std::path::Path;

use rootfs::RootDir;
use rustix::thread::CapabilitySet;
use sys::capabilities::{self, DOCKER_DEFAULT};
use sys::id_map::Maps;

use crate::error::chain;
use crate::{Result, container, host};

/// What was found. An `Err` says in words why something cannot be had.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The capabilities it has, and which of Docker's defaults it has not.
    pub capabilities: Capabilities,
    /// Whether a filter decides on system calls; `None` where /proc does not tell.
    pub seccomp: Option<bool>,
    /// Whether programs gain rights by their mode; `None` where /proc does not tell.
    pub no_new_privileges: Option<bool>,
    /// Whether a user namespace, with mounts of its own, can be had.
    pub user_namespace: Result<(), String>,
    /// Whether a mount namespace can be had without a user namespace.
    pub mount_namespace: Result<(), String>,
    /// How many ids `newuidmap` and `/etc/subuid` give to an ordinary user; `None` for root, who
    /// needs neither.
    pub subordinate_ids: Option<Result<u64, String>>,
    /// Whether this is a container, and by what it was told.
    pub container: (bool, String),
    /// How much memory the pod may use, if that is limited.
    pub memory_limit: Option<u64>,
    /// How much memory the machine has to give.
    pub memory_available: Option<u64>,
}

/// Capabilities by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Those held.
    pub held: Vec<&'static str>,
    /// Those of Docker's defaults that are not held.
    pub missing: Vec<&'static str>,
}

/// The file system that the state lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that can be written.
    pub bytes: u64,
    /// Files that can be made, where the file system has such a limit.
    pub files: Option<u64>,
}

impl Pod {
    /// Looks around. `in_container` is what only the caller can see (see
    /// [`EnterOptions`](crate::EnterOptions)). Call it before the program has a second thread, and
    /// before a rung is entered.
    #[must_use]
    pub fn look(in_container: bool) -> Pod {
        let root = rustix::process::geteuid().is_root();
        let held = capabilities::effective();
        let status = text("/proc/self/status");
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u32>().ok().map(|value| value != 0)
        };
        Pod {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            capabilities: Capabilities {
                held: names(held),
                missing: names(DOCKER_DEFAULT.difference(held)),
            },
            seccomp: field("Seccomp:"),
            no_new_privileges: field("NoNewPrivs:"),
            user_namespace: tried(|| {
                let maps = if root { Maps::same()? } else { Maps::single() };
                sys::namespaces::enter_user(&maps).map_err(|error| chain(&error))
            }),
            mount_namespace: tried(|| {
                sys::namespaces::enter_mount().map_err(|error| chain(&error))
            }),
            subordinate_ids: (!root).then(|| Maps::subordinate().map(|maps| maps.usable())),
            container: container::explain(in_container),
            memory_limit: memory_limit(&text("/proc/self/cgroup"), &text),
            memory_available: available(&text("/proc/meminfo")),
        }
    }
}

/// How many processes of this machine the kernel has killed for want of memory, of a cgroup or its
/// own (`oom_kill` of `/proc/vmstat`, since Linux 4.13). 0 where it does not say.
#[must_use]
pub fn memory_kills() -> u64 {
    let counters = host::read_file("/proc/vmstat").unwrap_or_default();
    let counters = String::from_utf8_lossy(&counters);
    let count = counters.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// The disk below a state directory, which is made if missing and must be one that can be written.
pub fn disk(state_dir: &Path) -> Result<Disk> {
    host::make_dirs(state_dir)?;
    drop(RootDir::open(state_dir)?.nameless_file()?);
    let found =
        rustix::fs::statvfs(state_dir).map_err(host::state("ask for room in", state_dir))?;
    Ok(Disk {
        bytes: found.f_bavail.saturating_mul(found.f_frsize),
        // Some file systems make inodes as they are needed, and say zero of zero.
        files: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// Tries in a copy of this program.
fn tried(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    sys::namespaces::attempt(work).map_err(|error| chain(&error))
}

fn text(path: &str) -> String {
    host::read_file(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The names of capabilities by their number, which are the kernel's.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn names(set: CapabilitySet) -> Vec<&'static str> {
    let held = NAMES.iter().enumerate().filter(|(number, _)| set.bits() & (1 << number) != 0);
    held.map(|(_, name)| *name).collect()
}

/// The limit of the control group that this program is in, by what both versions write where.
fn memory_limit(own_groups: &str, read: &dyn Fn(&str) -> String) -> Option<u64> {
    let group = |of: &str| {
        own_groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|name| name == of).then_some(path)
        })
    };
    let mut files = vec![
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    // Where the group is not shown as the top, it is below its path.
    files.extend(group("").map(|path| format!("/sys/fs/cgroup{path}/memory.max")));
    files.extend(
        group("memory").map(|path| format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
    );
    // The first version says "no limit" by a number beyond all memory.
    let limits = files.iter().filter_map(|file| read(file).trim().parse::<u64>().ok());
    limits.filter(|limit| *limit < 1 << 60).min()
}

fn available(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_the_kernels_names() {
        assert_eq!(
            names(CapabilitySet::CHOWN.union(CapabilitySet::SYS_ADMIN)),
            ["CHOWN", "SYS_ADMIN"]
        );
        assert_eq!(names(DOCKER_DEFAULT).len(), 14);
        assert_eq!(names(CapabilitySet::CHECKPOINT_RESTORE), ["CHECKPOINT_RESTORE"]);
    }

    #[test]
    fn the_limit_is_that_of_the_own_control_group() {
        let check = |groups: &str, files: &[(&str, &str)], expected: Option<u64>| {
            let read = |path: &str| {
                let found = files.iter().find(|(name, _)| *name == path);
                found.map_or(String::new(), |(_, text)| (*text).to_owned())
            };
            assert_eq!(memory_limit(groups, &read), expected, "{groups:?} {files:?}");
        };
        let unlimited = "9223372036854771712\n";
        check("0::/\n", &[("/sys/fs/cgroup/memory.max", "1048576\n")], Some(1 << 20));
        check("0::/\n", &[("/sys/fs/cgroup/memory.max", "max\n")], None);
        check("0::/a/b\n", &[("/sys/fs/cgroup/a/b/memory.max", "4096\n")], Some(4096));
        let first = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        check("4:memory:/x\n", &[(first, "8192\n")], Some(8192));
        check("4:memory:/x\n", &[(first, unlimited)], None);
        let below = "/sys/fs/cgroup/memory/x/memory.limit_in_bytes";
        check("4:cpu,memory:/x\n", &[(first, unlimited), (below, "12\n")], Some(12));
        check("", &[], None);
    }

    #[test]
    fn memory_is_told_in_kib() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:     2 kB\n"), Some(2048));
        assert_eq!(available(""), None);
    }
}
