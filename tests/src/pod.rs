//! Ordinary pods, made with runc: our executor in a container as Kubernetes would start it.
//!
//! A pod's root is an overlay over a small executor image, like a container runtime's. Building in
//! place happens in here and nowhere else.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::shell::{Finished, tool, wait};
use crate::tree;

/// What a pod allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    /// Docker's default profile, as with `RuntimeDefault`.
    Default,
    /// None, as in Kubernetes without a `seccompProfile`.
    Unconfined,
}

/// Who made the pod: what its runtime puts into `/etc`, and how the mount points got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Docker: the mount points of `/etc/hosts` and the like lie in a layer of its own below the
    /// container's, so that an overlay renames neither them nor `/etc`.
    Docker,
    /// Kubernetes with containerd: the same files, on mount points made for the container; the
    /// service account and the termination log are mounts too.
    Containerd,
    /// runc alone: none of all this.
    Runc,
}

/// The id that a pod of PodSecurity `restricted` runs as.
const ORDINARY: u32 = 1000;

/// The default capabilities of Docker and containerd.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Docker's default seccomp profile, resolved for these capabilities on x86-64.
const PROFILE: &str = include_str!("../data/seccomp.json");

/// A pod that is being put together.
#[derive(Debug)]
pub struct Pod {
    directory: PathBuf,
    name: String,
    seccomp: Seccomp,
    runtime: Runtime,
    restricted: bool,
    no_new_privileges: bool,
    user_namespace: bool,
    administrator: bool,
    limits: serde_json::Map<String, Value>,
    mounts: Vec<Value>,
    variables: Vec<String>,
}

/// The ids of a pod with a user namespace of its own, on the machine.
const FIRST_ID: u32 = 800_000_000;
const IDS: u32 = 65_536;

/// A pod that was started.
#[derive(Debug)]
pub struct Running<'a> {
    pod: &'a Pod,
    child: Child,
}

impl Pod {
    /// A pod with the executor in `/kaniko`.
    ///
    /// # Errors
    /// Where its root cannot be made.
    pub fn new(lab: &Lab, name: &str, seccomp: Seccomp) -> Result<Self> {
        let directory = lab.scratch(&format!("pod-{name}"))?;
        for path in ["lower/kaniko", "lower/workspace", "upper", "work", "rootfs"] {
            std::fs::create_dir_all(directory.join(path))?;
        }
        // A link: many pods would fill the disk.
        std::fs::hard_link(lab.executor(), directory.join("lower/kaniko/executor"))?;
        for file in ["hosts", "resolv.conf"] {
            let text = std::fs::read(Path::new("/etc").join(file)).unwrap_or_default();
            std::fs::write(directory.join(file), text)?;
        }
        std::fs::write(directory.join("hostname"), "pod\n")?;
        std::fs::write(directory.join("termination-log"), "")?;
        std::fs::create_dir(directory.join("account"))?;
        std::fs::write(directory.join("account/token"), "a service account's token\n")?;
        // As in the executor's image, and as a kubelet has it.
        for (path, mode) in [("lower/kaniko", 0o777), ("termination-log", 0o666)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(directory.join(path), mode)?;
        }
        let name = format!("kaniko-e2e-{}-{name}", std::process::id());
        Ok(Self {
            directory,
            name,
            seccomp,
            runtime: Runtime::Containerd,
            restricted: false,
            no_new_privileges: false,
            user_namespace: false,
            administrator: false,
            limits: serde_json::Map::new(),
            mounts: Vec::new(),
            variables: Vec::new(),
        })
    }

    /// As another runtime makes it.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = runtime;
        self
    }

    /// PodSecurity `restricted`: an ordinary user, no capabilities, no new privileges.
    #[must_use]
    pub fn restricted(mut self) -> Self {
        self.restricted = true;
        self.no_new_privileges()
    }

    /// With `allowPrivilegeEscalation: false`: no program gains rights by its mode.
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.no_new_privileges = true;
        self
    }

    /// With `hostUsers: false`: root and 65,535 more users of its own, who are nobody outside.
    #[must_use]
    pub fn user_namespace(mut self) -> Self {
        self.user_namespace = true;
        self
    }

    /// With CAP_SYS_ADMIN as well.
    #[must_use]
    pub fn administrator(mut self) -> Self {
        self.administrator = true;
        self
    }

    /// With so many processes at most.
    #[must_use]
    pub fn processes(mut self, most: u32) -> Self {
        self.limits.insert("pids".to_owned(), json!({ "limit": most }));
        self
    }

    /// With so much memory at most, in bytes.
    #[must_use]
    pub fn memory(mut self, most: u64) -> Self {
        self.limits.insert("memory".to_owned(), json!({ "limit": most, "swap": most }));
        self
    }

    /// One more file of the pod's image.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn file(self, path: &str, text: &str) -> Result<Self> {
        let path = self.directory.join("lower").join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)?;
        Ok(self)
    }

    /// The files of a pod that has ended.
    ///
    /// # Errors
    /// Where its root cannot be mounted again.
    pub fn files(&self) -> Result<tree::Tree> {
        let rootfs = self.directory.join("rootfs");
        self.mount_root(&rootfs)?;
        let files = tree::list(&rootfs);
        tool("umount").arg(&rootfs).read()?;
        files
    }

    /// Mounts a directory of the machine into the pod.
    #[must_use]
    pub fn mount(mut self, from: &Path, to: &str, options: &[&str]) -> Self {
        let options: Vec<&str> = ["rbind", "rprivate"].iter().chain(options).copied().collect();
        self.mounts.push(json!({
            "destination": to, "type": "bind", "source": from, "options": options,
        }));
        self
    }

    /// A variable of the pod's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push(format!("{name}={value}"));
        self
    }

    /// Puts a file into the image that the pod starts from.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add_file(&self, path: &str, text: &str) -> Result<()> {
        let path = self.directory.join("lower").join(path);
        Ok(std::fs::write(path, text)?)
    }

    /// The file at `/dev/termination-log` of the pod.
    #[must_use]
    pub fn termination_log(&self) -> PathBuf {
        self.directory.join("termination-log")
    }

    /// The pod's own root, as the machine sees it while the pod runs, and what it changed after.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    /// Starts the pod with a command, and waits for its end.
    ///
    /// # Errors
    /// Where runc fails, or the command does not end in time.
    pub fn run(&self, words: &[String]) -> Result<Finished> {
        self.start(words)?.finish(Duration::from_secs(180))
    }

    /// Starts the pod with a command.
    ///
    /// # Errors
    /// Where its root cannot be mounted, or runc is not there.
    pub fn start(&self, words: &[String]) -> Result<Running<'_>> {
        if self.user_namespace {
            let executor = self.directory.join("lower/kaniko/executor");
            let copy = executor.with_extension("own");
            std::fs::copy(&executor, &copy)?;
            std::fs::rename(&copy, &executor)?;
            // As container runtimes do where mounts cannot map ids.
            let owner = format!("{FIRST_ID}:{FIRST_ID}");
            let own = ["lower", "upper", "work"].map(|name| self.directory.join(name));
            tool("chown").args(["-h", "-R", &owner]).args(own).read()?;
        }
        let rootfs = self.directory.join("rootfs");
        let config = self.config(words, &rootfs)?;
        std::fs::write(self.directory.join("config.json"), config.to_string())?;
        self.mount_root(&rootfs)?;
        let runc = tool("runc").args(["run", "--bundle"]).arg(&self.directory).arg(&self.name);
        match runc.spawn() {
            Ok(child) => Ok(Running { pod: self, child }),
            Err(error) => {
                tool("umount").arg(&rootfs).read()?;
                Err(error)
            }
        }
    }

    fn mount_root(&self, rootfs: &Path) -> Result<()> {
        let below = match self.runtime {
            Runtime::Docker => format!("{}:", self.dockers_own_layer()?.display()),
            Runtime::Containerd | Runtime::Runc => String::new(),
        };
        let layers = format!(
            "lowerdir={below}{0}/lower,upperdir={0}/upper,workdir={0}/work",
            self.directory.display()
        );
        tool("mount")
            .args(["-t", "overlay", "overlay", "-o", &layers])
            .arg(rootfs)
            .read()
            .map(|_| ())
    }

    /// What Docker lays between image and container: mount points, and its marker.
    fn dockers_own_layer(&self) -> Result<PathBuf> {
        let layer = self.directory.join("init");
        for path in ["etc", "dev/pts", "dev/shm", "proc", "sys"] {
            std::fs::create_dir_all(layer.join(path))?;
        }
        for path in [".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console"] {
            std::fs::write(layer.join(path), "")?;
        }
        let mtab = layer.join("etc/mtab");
        if mtab.symlink_metadata().is_err() {
            std::os::unix::fs::symlink("/proc/mounts", mtab)?;
        }
        Ok(layer)
    }

    fn config(&self, words: &[String], rootfs: &Path) -> Result<Value> {
        let mut capabilities = CAPABILITIES.to_vec();
        if self.administrator {
            capabilities.push("CAP_SYS_ADMIN");
        }
        let mut config = json!({
            "ociVersion": "1.0.2",
            "hostname": "pod",
            "root": { "path": rootfs },
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": words,
                "env": self.environment(),
                "cwd": "/workspace",
                "capabilities": {
                    "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                },
                "noNewPrivileges": self.no_new_privileges,
                "oomScoreAdj": 0,
            },
            "mounts": self.all_mounts(),
            "linux": {
                "cgroupsPath": format!("/kaniko-e2e/{}", self.name),
                "namespaces": [
                    { "type": "mount" }, { "type": "uts" }, { "type": "pid" }, { "type": "ipc" },
                ],
                "resources": { "devices": devices() },
                "maskedPaths": [
                    "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                    "/sys/firmware",
                ],
                "readonlyPaths": [
                    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
                ],
            },
        });
        for (name, limit) in &self.limits {
            config["linux"]["resources"][name] = limit.clone();
        }
        if self.user_namespace {
            let map = json!([{ "containerID": 0, "hostID": FIRST_ID, "size": IDS }]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
                namespaces.push(json!({ "type": "user" }));
            }
        }
        if self.restricted {
            let process = &mut config["process"];
            process["user"] = json!({ "uid": ORDINARY, "gid": ORDINARY });
            process["capabilities"] = json!({});
        }
        if self.seccomp == Seccomp::Default {
            config["linux"]["seccomp"] = serde_json::from_str(PROFILE)?;
        }
        Ok(config)
    }

    fn environment(&self) -> Vec<&str> {
        let usual = [
            "PATH=/usr/local/bin:/kaniko",
            "HOME=/root",
            "USER=root",
            "HOSTNAME=pod",
            "container=oci",
            "PLANTED_SECRET=do-not-show",
        ];
        usual.into_iter().chain(self.variables.iter().map(String::as_str)).collect()
    }

    fn all_mounts(&self) -> Vec<Value> {
        let bind = |file: &str, to: &str| {
            json!({
                "destination": to, "type": "bind", "source": self.directory.join(file),
                "options": ["rbind", "rprivate"],
            })
        };
        let mount = |to: &str, kind: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
        let mut mounts = vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "/dev/pts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            match self.user_namespace {
                // Its network is the machine's, of which it may not mount a view of its own.
                true => json!({
                    "destination": "/sys", "type": "bind", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
                }),
                false => mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            },
        ];
        if self.runtime != Runtime::Runc {
            mounts.push(bind("hosts", "/etc/hosts"));
            mounts.push(bind("resolv.conf", "/etc/resolv.conf"));
            mounts.push(bind("hostname", "/etc/hostname"));
        }
        if self.runtime == Runtime::Containerd {
            mounts.push(bind("termination-log", "/dev/termination-log"));
            mounts.push(bind("account", "/var/run/secrets/kubernetes.io/serviceaccount"));
        }
        mounts.extend(self.mounts.iter().cloned());
        mounts
    }
}

impl Running<'_> {
    /// Sends the pod's first process a signal, as a kubelet does.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn signal(&self, name: &str) -> Result<()> {
        tool("runc").args(["kill", &self.pod.name, name]).read().map(|_| ())
    }

    /// Waits for the end of the pod, and removes what the machine had to lend it.
    ///
    /// # Errors
    /// Where it does not end in time, or something of it is left.
    pub fn finish(self, deadline: Duration) -> Result<Finished> {
        let result = wait(self.child, deadline);
        let _ = tool("runc").args(["delete", "--force", &self.pod.name]).finish();
        let unmounted = tool("umount").arg(self.pod.directory.join("rootfs")).read();
        let finished = result?;
        unmounted.context("the pod's root is still in use: a process was left behind")?;
        Ok(finished)
    }
}

/// The devices a container may use: null, zero, full, random, urandom, tty, ptmx.
fn devices() -> Value {
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] {
        rules.push(json!({
            "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm",
        }));
    }
    rules.push(json!({ "allow": true, "type": "c", "access": "m" }));
    rules.into()
}
