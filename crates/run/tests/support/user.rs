//! An ordinary user, made for the time of a case: nothing of it depends on the machine's accounts.
//!
//! In a mount namespace of its own, `/tmp` is a fresh file system that everybody can reach (the
//! checkout may be below a closed directory), and `/etc` a small one with the user's entries.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, mount};

/// The user, who has no files and no processes.
const ID: u32 = 54_321;

/// Ids that are given to the user, beyond those that anybody has.
const FIRST: u32 = 1_000_000_000;

/// What `/etc/subuid` and `/etc/subgid` say about the user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// 65,536 ids.
    Range,
    /// Nothing.
    None,
}

/// Runs an inner case as an ordinary user. Where this machine cannot give the user its ids, which
/// other programs are asked about, the case says so instead.
pub fn run_as_user(case: &str, ids: Ids, prepare: impl FnOnce()) {
    let this = std::env::current_exe().expect("because /proc is mounted");
    let program = std::fs::read(this).expect("because it is running");
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find_map(|p| std::fs::read(p).ok());
    let busybox = busybox.expect("install the package busybox-static");
    sys::namespaces::enter_mount().expect("because the case asked for root");
    mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), Some(c"mode=1777"))
        .expect("because the mounts are ours");
    make_accounts(ids);
    for (path, content) in [("/tmp/test", program), ("/tmp/busybox", busybox)] {
        std::fs::write(path, content).expect("because the directory is ours");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("as above");
    }
    if ids == Ids::Range
        && let Err(reason) = machine_maps_ids()
    {
        eprintln!("skipped: {case}: this machine maps no ids for an ordinary user: {reason}");
        return;
    }
    prepare();
    let output = as_user(Command::new("/tmp/test").args(["--case", case])).output();
    let output = output.expect("because everybody can reach it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {}\n{text}", output.status);
}

fn as_user(command: &mut Command) -> &mut Command {
    let path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    command.uid(ID).gid(ID).env_clear().env("PATH", path).current_dir("/")
}

/// Puts a small `/etc` in front of the machine's, with an entry for the user.
fn make_accounts(ids: Ids) {
    let names =
        ["passwd", "group", "nsswitch.conf", "ld.so.cache", "login.defs", "hosts", "resolv.conf"];
    let kept = names.map(|name| (name, std::fs::read(Path::new("/etc").join(name))));
    mount("tmpfs", "/etc", "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
        .expect("because the mounts are ours");
    let write = |name: &str, content: &[u8]| {
        let path = Path::new("/etc").join(name);
        std::fs::write(&path, content).expect("because the directory is ours");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).expect("as above");
    };
    for (name, content) in kept {
        let mut content = content.unwrap_or_default();
        match name {
            "passwd" => {
                content.extend(format!("kaniko-test:x:{ID}:{ID}::/nonexistent:/bin/sh\n").bytes());
            }
            "group" => content.extend(format!("kaniko-test:x:{ID}:\n").bytes()),
            _ if content.is_empty() => continue,
            _ => {}
        }
        write(name, &content);
    }
    let line = match ids {
        Ids::Range => format!("kaniko-test:{FIRST}:65536\n"),
        Ids::None => String::new(),
    };
    write("subuid", line.as_bytes());
    write("subgid", line.as_bytes());
}

/// Asks util-linux, which uses the same setuid programs, whether it is possible at all.
fn machine_maps_ids() -> Result<(), String> {
    for program in ["newuidmap", "newgidmap"] {
        let places = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(program));
        if !places.iter().any(|path| path.exists()) {
            // A machine without them is not set up for the tests, which is no property of it.
            assert!(std::env::var_os("CI").is_none(), "install the package uidmap");
            return Err(format!("{program} is not installed"));
        }
    }
    let words = ["--user", "--map-root-user", "--map-auto", "chown", "33:44", "/tmp/probe"];
    let probe = "/tmp/probe";
    std::fs::write(probe, "").expect("because the directory is ours");
    std::os::unix::fs::chown(probe, Some(ID), Some(ID)).expect("because we are root");
    let tried = as_user(Command::new("unshare").args(words)).output();
    match tried {
        Err(error) => Err(format!("cannot start unshare: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
