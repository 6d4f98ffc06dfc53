//! Ordinary pods, made with runc: root with Docker's capabilities on an overlay, with the mounts
//! and the system call filter that a container runtime brings.
//!
//! What runs inside takes `/` for itself, so it first makes sure that it is in such a pod:
//! [`refuse_elsewhere`] looks for a file that only the test put there, and for a `/` and a process
//! namespace that are not a machine's.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use testkit::ScratchRoot;

const TEMPLATE: &str = include_str!("../data/pod.json");
const SECCOMP: &str = include_str!("../data/seccomp.json");

/// Says that the root around it was made by a test, to be destroyed.
const MARKER: &str = "/kaniko/made-by-a-test";

/// What the pod's runtime does with system calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// `RuntimeDefault`.
    Default,
    /// As a pod without `seccompProfile`.
    None,
    /// `RuntimeDefault` and `allowPrivilegeEscalation: false`.
    NoNewPrivileges,
    /// `RuntimeDefault` for a pod with the capability SYS_ADMIN, which may mount but not pivot.
    Administrator,
}

/// Runs an inner case as the first process of a pod. With a volume, `/state` is a mount.
pub fn run_in_pod(case: &str, filter: Filter, volume: bool) {
    let Some(runc) = find_runc() else { return };
    let scratch = ScratchRoot::new();
    // What is mounted below goes with this process.
    sys::namespaces::enter_mount().expect("because the case asked for root");
    mount("tmpfs", scratch.path(), "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
        .expect("because the mounts are ours");
    let bundle = scratch.path();
    let _mounted = Mounted(bundle);
    make_root(bundle);
    let id = format!("kaniko-test-{}", std::process::id());
    std::fs::write(bundle.join("config.json"), config(bundle, &id, case, filter, volume))
        .expect("because the bundle is ours");
    let state = bundle.join("runc");
    let mut command = Command::new(&runc);
    command.arg("--root").arg(&state).args(["run", "-b"]).arg(bundle).arg(&id);
    let output = command.output().expect("because runc is installed");
    let cleaned =
        Command::new(&runc).arg("--root").arg(&state).args(["delete", "-f", &id]).output();
    drop(cleaned);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {}\n{text}", output.status);
    eprintln!("{text}");
}

/// A mount point, which is only a directory again when this is dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // What stays mounted goes with the process.
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn find_runc() -> Option<PathBuf> {
    let places = ["/usr/sbin/runc", "/usr/bin/runc", "/sbin/runc", "/usr/local/bin/runc"];
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "install the package runc");
        eprintln!("skipped: a pod needs the package runc");
    }
    found
}

/// An image of one directory, as the builder's own, and a little more that is in the way.
fn make_root(bundle: &Path) {
    let lower = bundle.join("lower");
    for dir in ["lower/kaniko/lib", "lower/opt/old", "upper", "work", "rootfs", "account"] {
        std::fs::create_dir_all(bundle.join(dir)).expect("because the bundle is ours");
    }
    std::fs::write(lower.join("opt/old/tool"), "of the image\n").expect("as above");
    std::fs::write(lower.join("motd"), "of the image\n").expect("as above");
    std::fs::write(lower.join(MARKER.trim_start_matches('/')), "").expect("as above");
    super::install_self(&bundle.join("self"), "test");
    for (from, name) in collect_files(&bundle.join("self")) {
        std::fs::copy(from, lower.join("kaniko/lib").join(name)).expect("as above");
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
    let busybox = busybox.expect("install the package busybox-static");
    std::fs::copy(busybox, lower.join("kaniko/busybox")).expect("as above");
    let text = |name: &str, content: &str| {
        std::fs::write(bundle.join(name), content).expect("as above");
    };
    text("hosts", "127.0.0.1 localhost\n10.0.0.1 of-the-pod\n");
    text("hostname", "pod\n");
    text("resolv.conf", "nameserver 127.0.0.53\n");
    text("account/token", "secret\n");
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| bundle.join(name));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let options = std::ffi::CString::new(options).expect("because paths hold no NUL");
    mount(
        "overlay",
        bundle.join("rootfs"),
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .expect("because an overlay can be mounted");
}

pub fn collect_files(dir: &Path) -> Vec<(PathBuf, std::ffi::OsString)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("because it was made").flatten() {
        if entry.path().is_dir() {
            found.extend(collect_files(&entry.path()));
        } else {
            found.push((entry.path(), entry.file_name()));
        }
    }
    found
}

fn config(bundle: &Path, id: &str, case: &str, filter: Filter, volume: bool) -> String {
    let loaders = std::fs::read_dir(bundle.join("lower/kaniko/lib")).expect("because it was made");
    let names = loaders.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let loader = names.into_iter().find(|name| name.starts_with("ld-linux"));
    let loader = loader.expect("because this program is linked dynamically");
    let args = format!(
        "[\"/kaniko/lib/{loader}\", \"--library-path\", \"/kaniko/lib\", \"/kaniko/lib/test\", \
         \"--case\", \"{case}\"]"
    );
    let seccomp = match filter {
        Filter::Default | Filter::NoNewPrivileges => format!(",\n  \"seccomp\": {SECCOMP}"),
        Filter::Administrator => {
            let allowed = "\"syscalls\": [\n {\"names\": [\"mount\", \"umount2\", \"unshare\", \
                           \"clone\", \"setns\", \"sethostname\", \"mount_setattr\"], \
                           \"action\": \"SCMP_ACT_ALLOW\"},";
            format!(",\n  \"seccomp\": {}", SECCOMP.replace("\"syscalls\": [", allowed))
        }
        Filter::None => String::new(),
    };
    let mut text = TEMPLATE
        .replace("@ARGS@", &args)
        .replace("@BUNDLE@", &bundle.display().to_string())
        .replace("@ID@", id)
        .replace("@SECCOMP@", &seccomp);
    if filter == Filter::NoNewPrivileges {
        text = text.replace("\"noNewPrivileges\": false", "\"noNewPrivileges\": true");
    }
    if filter == Filter::Administrator {
        text = text.replace("\"CAP_CHOWN\"", "\"CAP_SYS_ADMIN\", \"CAP_CHOWN\"");
    }
    if volume {
        let mount = "\"mounts\": [\n  { \"destination\": \"/state\", \"type\": \"tmpfs\", \
                     \"source\": \"tmpfs\", \"options\": [ \"mode=755\" ] },";
        text = text.replace("\"mounts\": [", mount);
    }
    text
}

/// Ends the process unless `/` is that of a pod which the test made to be destroyed.
pub fn refuse_elsewhere() {
    let marked = Path::new(MARKER).exists();
    let on_disk = rustix::fs::stat("/").map_or(true, |found| rustix::fs::major(found.st_dev) != 0);
    let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let machines = pids.as_os_str().is_empty() || pids.as_os_str() == "pid:[4026531836]";
    let first = std::process::id() == 1;
    assert!(marked && !on_disk && !machines && first, "this is no pod made by a test");
}
