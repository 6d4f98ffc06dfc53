//! What a step may be denied or given: its network, all rights of the builder, devices; and what
//! it may try with its processes. On the rung `namespaces`, as root of the machine.
#![allow(clippy::disallowed_methods, reason = "tests look at roots from outside")]

mod support;

use std::path::Path;

use run::{Confinement, DeviceRequest, Exit, Identity, Invocation, Network, Rights};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, mount};
use support::{Case, Fixture, care, chain, shell};
use sys::capabilities;

const CASES: &[Case] = &[
    ("root_no_network", no_network),
    ("root_all_rights_of_the_builder", all_rights),
    ("root_devices", devices),
    ("root_processes", processes),
    ("root_streams", streams),
    ("root_reach", reach),
];

const INNER: &[Case] = &[("sockets", care::sockets)];

fn main() {
    support::main(CASES, INNER);
}

fn root(what: &str) -> Option<Fixture> {
    testkit::require_root(what).then(Fixture::namespaces)
}

fn with(script: &str, confinement: Confinement) -> Invocation {
    Invocation { confinement, ..shell(script) }
}

fn no_network() {
    let Some(fixture) = root("a step without network") else { return };
    let none = |script: &str| {
        with(script, Confinement { network: Network::None, ..Confinement::default() })
    };
    let check = |script: &str, expected: &str| {
        let outcome = fixture.run(&none(script)).expect("because a namespace can be had");
        assert_eq!((outcome.exit, &*outcome.stdout), (Exit::Code(0), expected), "{outcome:?}");
    };
    check("ls /sys/class/net; grep -c : /proc/net/dev", "lo\n1\n");
    // The loopback interface is up: somebody answers there.
    check("ping -c 1 -W 5 127.0.0.1 > /dev/null && echo up", "up\n");
    let outcome = fixture.run(&none("ping -c 1 -W 1 192.0.2.1")).expect("as above");
    assert_ne!(outcome.exit, Exit::Code(0));
    let found = care::run_inside(&fixture, &none(""), "sockets").stdout;
    assert_eq!(found, "unix\nnetlink\ninet\ninet6\npacket\n", "they lead nowhere");
    // The other steps have the builder's.
    let names = |path: &str| {
        let entries = std::fs::read_dir(path).expect("because /sys is mounted").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.join("\n")
    };
    fixture.check("ls /sys/class/net", 0, &format!("{}\n", names("/sys/class/net")));
    // Neither rights nor identity are others for it.
    check(
        "grep -E '^(CapBnd|Seccomp):' /proc/self/status",
        "CapBnd:\t00000000a80425fb\nSeccomp:\t2\n",
    );
    let mut invocation = none("id -u; cat /proc/net/dev | wc -l");
    invocation.identity = Identity { uid: 1000, gid: 1000, groups: Vec::new() };
    assert_eq!(fixture.run(&invocation).expect("as above").stdout, "1000\n3\n");
}

fn all_rights() {
    let Some(fixture) = root("a step with all rights") else { return };
    let all = |script: &str| {
        with(script, Confinement { rights: Rights::Builder, ..Confinement::default() })
    };
    let check = |script: &str, expected: &str| {
        let outcome = fixture.run(&all(script)).expect("because the step can be run");
        assert_eq!((outcome.exit, &*outcome.stdout), (Exit::Code(0), expected), "{outcome:?}");
    };
    let held = capabilities::effective().bits();
    check("grep CapEff /proc/self/status", &format!("CapEff:\t{held:016x}\n"));
    // The filter that this program may run under itself stays.
    let own = std::fs::read_to_string("/proc/self/status").expect("because /proc is mounted");
    let own = own.lines().find(|line| line.starts_with("Seccomp:")).unwrap_or_default();
    check("grep ^Seccomp: /proc/self/status", &format!("{own}\n"));
    check("mount -t tmpfs x /tmp && echo x > /tmp/x && cat /tmp/x", "x\n");
    assert!(!fixture.path().join("tmp/x").exists(), "its mounts go with it");
    check("cut -d' ' -f5 /proc/self/mountinfo | grep -c -E '^/(proc|sys)/[a-z]*$'; true", "0\n");
    check("test -w /proc/sys/kernel/hostname && echo open", "open\n");
    check("mknod /zero c 1 5 && head -c 3 /zero | wc -c; rm /zero", "3\n");
    // Every device that the builder sees: at least those that every machine has.
    check("test -c /dev/null && test -c /dev/kmsg && test -d /dev/pts && echo there", "there\n");
    // A step beside it has none of that.
    fixture.check("test -e /dev/kmsg || echo gone", 0, "gone\n");
    fixture.check("grep CapBnd /proc/self/status", 0, "CapBnd:\t00000000a80425fb\n");
    let both =
        Confinement { rights: Rights::Builder, network: Network::None, ..Confinement::default() };
    let outcome = fixture.run(&with("grep -c : /proc/net/dev", both));
    assert_eq!(outcome.expect("because both can be had").stdout, "1\n");
    let mut invocation = all("id -u; grep CapEff /proc/self/status");
    invocation.identity = Identity { uid: 1000, gid: 1000, groups: Vec::new() };
    let outcome = fixture.run(&invocation).expect("as above");
    assert_eq!(outcome.stdout, "1000\nCapEff:\t0000000000000000\n", "a user is no root");
}

/// A `/dev` and a `/run` that the case makes for itself.
fn make_devices() {
    sys::namespaces::enter_mount().expect("because the case asked for root");
    // On most machines a link to /run.
    let run = std::fs::canonicalize("/var/run").expect("because every machine has it");
    for place in [Path::new("/dev"), &run] {
        mount("tmpfs", place, "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
            .expect("because the mounts are ours");
    }
    std::fs::create_dir_all("/dev/vendor").expect("because it is ours");
    std::fs::create_dir_all(run.join("cdi")).expect("because it is ours");
    let nodes = [
        ("null", 3, 0o666),
        ("zero", 5, 0o666),
        ("full", 7, 0o666),
        ("random", 8, 0o666),
        ("urandom", 9, 0o666),
        ("special", 5, 0o640),
        ("vendor/deep", 3, 0o600),
    ];
    for (name, minor, mode) in nodes {
        let path = Path::new("/dev").join(name);
        let kind = FileType::CharacterDevice;
        mknodat(CWD, &path, kind, Mode::from_raw_mode(mode), makedev(1, minor))
            .expect("because we are root");
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode)).expect("as above");
    }
    std::os::unix::fs::chown("/dev/special", Some(7), Some(8)).expect("because we are root");
    let spec = r#"{"cdiVersion": "0.6.0", "kind": "test.example/class", "devices": [
        {"name": "zero", "containerEdits": {"env": ["FROM_SPEC=yes", "PATH=/bin"],
         "deviceNodes": [{"path": "/dev/made/zero", "hostPath": "/dev/zero", "fileMode": 384}]}},
        {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "x", "path": "/x"}]}}]}"#;
    std::fs::write(run.join("cdi/test.json"), spec).expect("because it is ours");
}

fn devices() {
    if !testkit::require_root("a step with devices") {
        return;
    }
    make_devices();
    let fixture = Fixture::namespaces();
    let asked = |script: &str, names: &[&str], required: bool| {
        let request = |name: &&str| DeviceRequest { name: (*name).to_owned(), required };
        let devices = names.iter().map(request).collect();
        fixture.run(&with(script, Confinement { devices, ..Confinement::default() }))
    };
    let check = |script: &str, names: &[&str], required: bool, expected: &str| {
        let outcome = asked(script, names, required).expect("because the step can be run");
        assert_eq!((outcome.exit, &*outcome.stdout), (Exit::Code(0), expected), "{outcome:?}");
    };
    let fails = |name: &str, expected: &str| {
        for required in [true, false] {
            let error = asked("true", &[name], required).expect_err("because it is refused");
            let expected = format!("cannot give the device `{name}` to the command: {expected}");
            assert_eq!(chain(&error), expected);
        }
    };
    check("test -e /dev/special || echo none", &[], true, "none\n");
    check(
        "head -c 2 /dev/special | wc -c; stat -c '%a %u:%g' /dev/special; ls /dev/vendor",
        &["/dev/special", "/dev/vendor/deep"],
        true,
        "2\n640 7:8\ndeep\n",
    );
    check("test -c /dev/null && echo null", &["/dev/null"], true, "null\n");
    let script =
        "head -c 2 /dev/made/zero | wc -c; stat -c %a /dev/made/zero; echo $FROM_SPEC $PATH";
    check(script, &["test.example/class=zero"], true, "2\n600\nyes /bin\n");
    check("test -c /dev/made/zero && echo there", &["test.example/class"], false, "there\n");
    // What is not required and not there is left out.
    check("ls -d /dev/made || echo none", &["test.example/class=other"], false, "none\n");
    check("ls /dev/absent || echo none", &["/dev/absent"], false, "none\n");
    let error = asked("true", &["/dev/absent"], true).expect_err("because it is required");
    let expected =
        "cannot give the device `/dev/absent` to the command: the builder has no such device";
    assert_eq!(chain(&error), expected);
    fails("test.example/class=hooked", "its spec asks for `hooks`, which is not supported");
    fails("/etc/passwd", "`/etc/passwd` is not below /dev");
    assert!(!fixture.path().join("dev").exists(), "nothing of it is in the root");
}

fn processes() {
    let Some(fixture) = root("a step's processes") else { return };
    care::processes(&fixture);
    // The supervisor is the first process of its namespace: nothing in it can end it.
    fixture.check("kill -9 $PPID; kill -9 -1; exit 4", 4, "");
}

fn streams() {
    let Some(fixture) = root("a step's streams") else { return };
    care::streams(&fixture);
    care::one_long_line(&fixture);
}

fn reach() {
    let Some(fixture) = root("a step's reach") else { return };
    care::reach(&fixture, "1");
    // The state directory is not in its tree, neither by its path nor by a way up.
    let state = fixture.state.display().to_string();
    fixture.check(&format!("ls -d {state} || echo none"), 0, "none\n");
    fixture.check("ls /../../.. | grep -c builds", 1, "0\n");
    let host = std::process::id();
    fixture.check(&format!("ls -d /proc/{host} || echo none"), 0, "none\n");
}
