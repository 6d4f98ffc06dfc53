//! Whether this is a container whose `/` may be taken for a build.
//!
//! kaniko believes files such as `/.dockerenv`. A machine may have one too (some virtual machines
//! are made from a container's image), and taking its `/` destroys it. So first comes what no file
//! can pretend: a `/` on a disk, or the namespaces that the machine started with.

use rustix::fs::StatxFlags;

use crate::host;

/// File systems of disks that hide the disk's number behind one of their own.
const DISK_FILE_SYSTEMS: [u64; 3] =
    [0x9123_683E /* btrfs */, 0x2FC1_2FC1 /* zfs */, 0xCA45_1A4E /* bcachefs */];

const OVERLAY: u64 = 0x794C_7630;

/// The inodes of the namespaces that the machine started with are fixed in the kernel.
const INITIAL: [(&str, &str); 3] = [
    ("/proc/self/ns/pid", "pid:[4026531836]"),
    ("/proc/self/ns/uts", "uts:[4026531838]"),
    ("/proc/self/ns/ipc", "ipc:[4026531839]"),
];

const MARKERS: [&str; 3] =
    ["/run/.containerenv", "/.dockerenv", "/var/run/secrets/kubernetes.io/serviceaccount"];

const CONTROL_GROUPS: [&str; 8] =
    ["docker", "kube", "containerd", "crio", "lxc", "podman", "garden", "gvisor"];

/// What tells a container from a machine.
#[derive(Debug, Default)]
struct Evidence {
    disk: bool,
    initial_namespaces: bool,
    overlay: bool,
    marker: bool,
}

/// Whether this is a container; `told` is what the caller knows of it.
pub(crate) fn detect(told: bool) -> bool {
    gather(told).is_container()
}

/// The same, with what it was told by.
pub(crate) fn explain(told: bool) -> (bool, String) {
    let evidence = gather(told);
    let reason = match &evidence {
        Evidence { disk: true, .. } => "`/` is on a disk",
        Evidence { initial_namespaces: true, .. } => "the namespaces are the machine's",
        Evidence { overlay: true, .. } => "`/` is an overlay",
        Evidence { marker: true, .. } => "a marker says so",
        Evidence { overlay: false, marker: false, .. } => "nothing tells of one",
    };
    (evidence.is_container(), reason.to_owned())
}

impl Evidence {
    fn is_container(&self) -> bool {
        !self.disk && !self.initial_namespaces && (self.overlay || self.marker)
    }
}

fn gather(told: bool) -> Evidence {
    let file_system = rustix::fs::statfs("/").map_or(0, |found| kind_of(&found));
    let marked = || MARKERS.iter().any(|marker| rustix::fs::stat(*marker).is_ok());
    Evidence {
        disk: on_block_device() || DISK_FILE_SYSTEMS.contains(&file_system),
        initial_namespaces: in_initial_namespaces(),
        overlay: file_system == OVERLAY,
        marker: told || marked() || control_group_says_so(),
    }
}

fn kind_of(found: &rustix::fs::StatFs) -> u64 {
    // The field's type differs between architectures; the value is 32 bits wide.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "see above")]
    let kind = found.f_type as u64 & 0xFFFF_FFFF;
    kind
}

/// Whether `/` is on a device of its own rather than on one that the kernel made up.
fn on_block_device() -> bool {
    let flags = rustix::fs::AtFlags::empty();
    match rustix::fs::statx(rustix::fs::CWD, "/", flags, StatxFlags::BASIC_STATS) {
        Ok(found) => found.stx_dev_major != 0,
        Err(_) => rustix::fs::stat("/").map_or(true, |found| rustix::fs::major(found.st_dev) != 0),
    }
}

/// Whether all three are the machine's own; also when they cannot be read.
fn in_initial_namespaces() -> bool {
    INITIAL.iter().all(|(path, initial)| {
        let found = rustix::fs::readlink(*path, Vec::new());
        found.map_or(true, |found| found.as_bytes() == initial.as_bytes())
    })
}

fn control_group_says_so() -> bool {
    let text = host::read_file("/proc/self/cgroup").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    CONTROL_GROUPS.iter().any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(evidence: &Evidence, expected: bool) {
        assert_eq!(evidence.is_container(), expected, "{evidence:?}");
    }

    #[test]
    fn a_marker_counts_only_where_nothing_speaks_against_it() {
        let none = Evidence::default;
        check(&none(), false);
        check(&Evidence { overlay: true, ..none() }, true);
        check(&Evidence { marker: true, ..none() }, true);
        check(&Evidence { marker: true, overlay: true, disk: true, ..none() }, false);
        let initial = Evidence { initial_namespaces: true, ..none() };
        check(&Evidence { marker: true, overlay: true, ..initial }, false);
    }
}
