//! Whether the program runs in a container, and where its state lies.
//!
//! Only looks; building in place is decided elsewhere, and needs more than this answer.

use std::path::{Path, PathBuf};

use crate::environment::Environment;

/// Says why this looks like a container; `None` if it does not.
#[must_use]
pub fn detect(environment: &Environment) -> Option<String> {
    detect_at(Path::new("/"), environment)
}

/// Files that container runtimes leave in the root.
const MARKERS: &[&str] = &["run/.containerenv", ".dockerenv"];

/// Words in the control group of a process that runs in a container.
const CGROUPS: &[&str] = &[
    "docker",
    "rkt",
    "systemd-nspawn",
    "lxc",
    "lxc-libvirt",
    "openvz",
    "kube",
    "garden",
    "podman",
    "gvisor",
    "firejail",
    "wsl",
];

fn detect_at(root: &Path, environment: &Environment) -> Option<String> {
    let read = |path: &str| read(&root.join(path));
    let mount = root_mount(&read("proc/self/mountinfo"));
    // A marker in a root that lies on a disk is a leftover: machine images are made from container
    // images. A container's root is an overlay, or a directory of a disk, never a whole one.
    let on_disk = mount.as_ref().is_some_and(RootMount::is_whole_disk);
    if !on_disk && let Some(marker) = MARKERS.iter().find(|path| root.join(path).exists()) {
        return Some(format!("/{marker} exists"));
    }
    if root.join("var/run/secrets/kubernetes.io/serviceaccount").is_dir() {
        return Some("a Kubernetes service account is mounted".to_owned());
    }
    for path in ["proc/self/cgroup", "proc/1/cmdline"] {
        let text = read(path);
        if let Some(word) = CGROUPS.iter().find(|word| text.contains(**word)) {
            return Some(format!("/{path} names {word}"));
        }
    }
    if root.join("proc/vz").exists() && !root.join("proc/bc").exists() {
        return Some("/proc/vz exists".to_owned());
    }
    if root.join("__runsc_containers__").exists() {
        return Some("/__runsc_containers__ exists".to_owned());
    }
    if read("proc/version_signature").starts_with("Microsoft") {
        return Some("/proc/version_signature names Microsoft".to_owned());
    }
    if let Some(runtime) = environment.text("container") {
        return Some(format!("the variable container is {runtime}"));
    }
    if root.join("run/systemd/container").exists() {
        return Some("/run/systemd/container exists".to_owned());
    }
    mount.filter(|mount| mount.kind == "overlay").map(|_| "/ is an overlay".to_owned())
}

#[allow(clippy::disallowed_methods, reason = "fixed paths of the machine, not of an image")]
fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

struct RootMount {
    /// Directory of the file system that is mounted as `/`.
    subtree: String,
    kind: String,
    source: String,
}

impl RootMount {
    fn is_whole_disk(&self) -> bool {
        self.subtree == "/" && self.source.starts_with("/dev/")
    }
}

fn root_mount(mountinfo: &str) -> Option<RootMount> {
    // "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw": the last mount on / is the visible one.
    mountinfo.lines().rev().find_map(|line| {
        let (place, device) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let subtree = place.next()?.to_owned();
        if place.next()? != "/" {
            return None;
        }
        let mut device = device.split(' ');
        let kind = device.next()?.to_owned();
        Some(RootMount { subtree, kind, source: device.next()?.to_owned() })
    })
}

/// The directory for everything the build keeps on disk, where no flag and no variable names one:
/// `/kaniko` in a container, on a plain host the person's cache directory.
#[must_use]
pub fn state_dir(in_container: bool, environment: &Environment) -> PathBuf {
    if in_container {
        return PathBuf::from("/kaniko");
    }
    let cache = environment.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = environment.get("HOME").map(|home| Path::new(home).join(".cache"));
    cache.or(home.filter(|p| p.is_absolute())).map_or_else(
        // Neither is known, as in an empty chroot: a place that any root has.
        || PathBuf::from("/kaniko"),
        |cache| cache.join("kaniko-rs"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";
    const OVERLAY: &str = "27 1 0:40 / / rw,relatime - overlay overlay rw,lowerdir=/x\n";

    /// `files` are paths below the root with their content.
    fn check(files: &[(&str, &str)], variables: &[(&str, &str)], expected: Option<&str>) {
        let root = scratch();
        for (path, content) in files {
            let path = root.0.join(path);
            let parent = path.parent().expect("because every path has a directory");
            std::fs::DirBuilder::new()
                .recursive(true)
                .create(parent)
                .expect("because the scratch directory is ours");
            let mut file = std::fs::File::options();
            let mut file = file
                .create(true)
                .truncate(true)
                .write(true)
                .open(&path)
                .expect("because the scratch directory is ours");
            std::io::Write::write_all(&mut file, content.as_bytes())
                .expect("because the scratch directory is ours");
        }
        let found = detect_at(&root.0, &Environment::from_pairs(variables));
        assert_eq!(found.as_deref(), expected);
    }

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        #[allow(clippy::disallowed_methods, reason = "the test's own directory")]
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn scratch() -> Scratch {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kaniko-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().recursive(true).create(&path).expect("because /tmp is there");
        Scratch(path)
    }

    #[test]
    fn a_marker_counts_only_where_the_root_is_no_whole_disk() {
        check(&[(".dockerenv", ""), ("proc/self/mountinfo", DISK)], &[], None);
        let found = Some("/.dockerenv exists");
        check(&[(".dockerenv", ""), ("proc/self/mountinfo", OVERLAY)], &[], found);
        check(&[(".dockerenv", "")], &[], found);
        let bind = "27 1 254:0 /var/lib/root / rw - ext4 /dev/vda rw\n";
        check(&[(".dockerenv", ""), ("proc/self/mountinfo", bind)], &[], found);
    }

    #[test]
    fn other_signs_count_everywhere() {
        check(&[("proc/self/mountinfo", DISK)], &[], None);
        check(&[("proc/self/mountinfo", OVERLAY)], &[], Some("/ is an overlay"));
        check(&[], &[("container", "oci")], Some("the variable container is oci"));
        let cgroup = ("proc/self/cgroup", "4:memory:/kubepods/x\n");
        check(&[cgroup, ("proc/self/mountinfo", DISK)], &[], Some("/proc/self/cgroup names kube"));
        check(
            &[("var/run/secrets/kubernetes.io/serviceaccount/token", "x")],
            &[],
            Some("a Kubernetes service account is mounted"),
        );
    }

    #[test]
    fn the_state_lies_in_the_cache_of_the_person_on_a_host() {
        let check = |in_container, variables: &[(&str, &str)], expected: &str| {
            let environment = Environment::from_pairs(variables);
            assert_eq!(state_dir(in_container, &environment), Path::new(expected));
        };
        check(true, &[("HOME", "/home/a")], "/kaniko");
        check(false, &[("HOME", "/home/a")], "/home/a/.cache/kaniko-rs");
        check(false, &[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")], "/c/kaniko-rs");
        check(false, &[("XDG_CACHE_HOME", "relative")], "/kaniko");
        check(false, &[], "/kaniko");
    }
}
