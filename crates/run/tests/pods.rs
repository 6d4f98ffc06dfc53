//! Builds in ordinary pods: in place where the runtime's filter refuses namespaces, private roots
//! where it does not.
#![allow(clippy::disallowed_methods, reason = "tests look at roots from outside")]
#![allow(clippy::print_stderr, reason = "figures are reported through it")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use rootfs::RootPath;
use run::{
    Afterwards, Choice, Confinement, DeviceRequest, Error, Exit, Identity, Invocation, Network,
    Parent, Rights, Rung,
};
use support::pod::{Filter, refuse_elsewhere, run_in_pod};
use support::{Case, Fixture, care, chain, shell};
use testkit::tree;

const CASES: &[Case] = &[
    ("root_a_pod_is_built_in_place", in_place),
    ("root_a_pod_with_its_state_on_a_volume", volume),
    ("root_a_pod_with_no_new_privileges", no_new_privileges),
    ("root_a_pod_without_a_filter_gets_private_roots", unconfined),
    ("root_a_pod_that_may_mount_gets_private_roots", administrator),
];

const INNER: &[Case] = &[
    ("pod_in_place", pod_in_place),
    ("pod_volume", pod_volume),
    ("pod_no_new_privileges", pod_no_new_privileges),
    ("pod_unconfined", pod_unconfined),
    ("pod_administrator", pod_administrator),
    ("escape", support::escape),
    ("sockets", care::sockets),
];

fn main() {
    support::main(CASES, INNER);
}

fn in_place() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_in_place", Filter::Default, false);
    }
}

fn volume() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_volume", Filter::Default, true);
    }
}

fn no_new_privileges() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_no_new_privileges", Filter::NoNewPrivileges, false);
    }
}

fn unconfined() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_unconfined", Filter::None, false);
    }
}

fn administrator() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_administrator", Filter::Administrator, false);
    }
}

/// A device that the pod's `/dev` does not have.
const SPEC: &str = r#"{"cdiVersion": "0.6.0", "kind": "test.example/class", "devices": [
    {"name": "zero", "containerEdits": {"deviceNodes": [
        {"path": "/dev/test/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 384}]}}]}"#;

fn enter(choice: Choice, state: &str, rung: Rung) -> Fixture {
    refuse_elsewhere();
    std::fs::create_dir_all("/etc/cdi").expect("because the pod is made to be destroyed");
    std::fs::write("/etc/cdi/test.json", SPEC).expect("as above");
    support::remember_busybox(Path::new("/kaniko/busybox"));
    let fixture = Fixture::enter(choice, Path::new(state), false);
    assert_eq!(fixture.isolation.rung(), rung, "{}", fixture.isolation.reason());
    fixture
}

fn names(path: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn set(names: &str) -> BTreeSet<String> {
    names.split(' ').map(str::to_owned).collect()
}

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because it is short")
}

/// Everything in `/` that is the image's.
fn image() -> String {
    let shown = tree::Shown { owners: true, times: true };
    let dirs = ["/bin", "/root", "/tmp", "/data", "/var"];
    let dirs = dirs.iter().filter(|dir| Path::new(dir).is_dir());
    let trees = dirs.map(|dir| tree::print_with(Path::new(dir), shown));
    let tops = names("/").into_iter().map(|name| tree::print_one(Path::new("/"), &name));
    let etc = names("/etc").into_iter().map(|name| format!("{name}\n"));
    trees.chain(tops).chain(etc).collect()
}

fn pod_in_place() {
    let fixture = enter(Choice::Auto, "/kaniko", Rung::InPlace);
    let roots = &fixture.roots;
    // What the container brought is not in the stage, and not lost.
    assert_eq!(names("/"), set("bin dev etc kaniko proc root sys tmp var"));
    let before = "/kaniko/builds/1/stages/before";
    assert_eq!(
        std::fs::read_to_string(format!("{before}/opt/old/tool")).expect("it is parked"),
        "of the image\n"
    );
    assert!(Path::new(before).join("motd").exists());
    steps(&fixture);
    care::processes(&fixture);
    care::streams(&fixture);
    confinement(&fixture, 0);
    fixture.check(
        "mkdir /data; echo kept > /data/f; ln /data/f /data/g; chmod 750 /etc; chown 7:8 /data",
        0,
        "",
    );
    let first = image();
    // The next stage starts with nothing but what stays.
    let start = Instant::now();
    roots.activate(1).unwrap_or_else(|error| panic!("{}", chain(&error)));
    eprintln!("parked in {:?}", start.elapsed());
    assert_eq!(names("/"), set("dev etc kaniko proc sys var"));
    assert_eq!(names("/etc"), set("hostname hosts resolv.conf"));
    assert_eq!(
        std::fs::read_to_string("/etc/resolv.conf").expect("it stays"),
        "nameserver 127.0.0.53\n"
    );
    let parked = roots.read(0).expect("because it is parked");
    assert_eq!(parked.read(&path("/data/f"), 100).expect("because it is there"), b"kept\n");
    assert_eq!(parked.metadata(&path("/etc")).expect("because it is there").mode, 0o750);
    assert!(!parked.exists(&path("/etc/hosts")).expect("because it can be read"));
    // A stage that is built on a parked one, which is read again later.
    roots.adopt(0, 2, Parent::StillNeeded).unwrap_or_else(|error| panic!("{}", chain(&error)));
    roots.activate(2).expect("because it was adopted");
    assert_eq!(image(), first);
    fixture.check("rm /data/f; cat /data/g", 0, "kept\n");
    roots.activate(0).expect("because it is parked");
    assert_eq!(image(), first);
    // Reading the active stage parks it, so that it is still that stage when the next one comes.
    let read = roots.read(0).expect("because it is there");
    roots.activate(1).expect("because it is parked");
    assert_eq!(read.read(&path("/data/f"), 100).expect("because it is there"), b"kept\n");
    roots.activate(0).expect("because it is parked");
    // A stage that takes over what is there, without a move.
    roots.adopt(0, 3, Parent::Finished).expect("because it is active");
    roots.activate(3).expect("because it is there");
    assert!(matches!(roots.read(0), Err(Error::NoStage { stage: 0 })));
    assert_eq!(image(), first);
    roots.activate(1).expect("because it is parked");
    assert_eq!(names("/"), set("dev etc kaniko proc sys var"));
    fixture.roots.finish(Afterwards::Stage(3)).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(image(), first);
    assert!(!Path::new("/kaniko/builds/1/stages").exists());
}

/// What a step finds and what it leaves, in place.
fn steps(fixture: &Fixture) {
    fixture.check("pwd; id -u; umask; cat /etc/hostname", 0, "/\n0\n0022\npod\n");
    let mut invocation = shell("unused");
    invocation.argv = vec!["env".to_owned()];
    assert_eq!(
        fixture.run(&invocation).expect("because env is there").stdout,
        "PATH=/usr/bin:/bin\n"
    );
    let mut invocation = shell("id -u; id -g; id -G");
    invocation.identity = Identity { uid: 1000, gid: 50, groups: vec![50, 2000] };
    assert_eq!(
        fixture.run(&invocation).expect("because id is there").stdout,
        "1000\n50\n50 2000\n"
    );
    fixture.check("grep CapBnd /proc/self/status", 0, "CapBnd:\t00000000a80425fb\n");
    let check =
        |script: &str, expected: Exit| assert_eq!(fixture.sh(script).exit, expected, "{script}");
    check("exit 7", Exit::Code(7));
    check("kill -SEGV $$", Exit::Signal(11));
    // Killing everything ends the step, not the build, and never counts as a success.
    care::supervisor_killed(fixture);
    care::reach(fixture, "1");
}

/// A step of each kind that is held otherwise than usual. No namespace can be had here.
fn confinement(fixture: &Fixture, nnp_before: u8) {
    let with = |script: &str, confinement: Confinement| {
        let invocation = Invocation { confinement, ..shell(script) };
        fixture.run(&invocation).unwrap_or_else(|error| panic!("{script}: {}", chain(&error)))
    };
    let none = || Confinement { network: Network::None, ..Confinement::default() };
    let invocation = Invocation { confinement: none(), ..shell("") };
    let found = care::run_inside(fixture, &invocation, "sockets");
    let refused = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    let expected = format!("unix\nnetlink\ninet: {refused}\ninet6: {refused}\npacket: {refused}\n");
    assert_eq!(found.stdout, expected, "{found:?}");
    let found = care::run_inside(fixture, &shell(""), "sockets");
    assert_eq!(found.stdout, "unix\nnetlink\ninet\ninet6\npacket\n", "{found:?}");
    fixture.check("rm -r /programs", 0, "");
    // It stays root and can become another, but no program gains rights.
    let status = "grep NoNewPrivs /proc/self/status; chown 5 /tmp && stat -c %u /tmp; chown 0 /tmp";
    assert_eq!(with(status, none()).stdout, "NoNewPrivs:\t1\n5\n");
    fixture.check(status, 0, &format!("NoNewPrivs:\t{nnp_before}\n5\n"));
    let all = Confinement { rights: Rights::Builder, ..Confinement::default() };
    let status = "grep CapEff /proc/self/status";
    assert_eq!(with(status, all).stdout, fixture.sh(status).stdout, "the pod gives no more");
    let device = |name: &str| Confinement {
        devices: vec![DeviceRequest { name: name.to_owned(), required: true }],
        ..Confinement::default()
    };
    assert_eq!(with("test -c /dev/null && echo x", device("/dev/null")).stdout, "x\n");
    let missing = Invocation { confinement: device("/dev/fuse"), ..shell("true") };
    assert!(matches!(fixture.run(&missing), Err(Error::Device { .. })));
    // A node that the pod does not have is made for the step. The name is that of a spec which was
    // there when the build began.
    let made = with(
        "test -c /dev/test/zero && stat -c %a:%t:%T /dev/test/zero",
        device("test.example/class=zero"),
    );
    assert_eq!(made.stdout, "600:1:5\n", "{made:?}");
    assert!(!Path::new("/dev/test").exists(), "it went with the step");
}

fn pod_volume() {
    let fixture = enter(Choice::InPlace, "/state", Rung::InPlace);
    let top = set(".kaniko-parked bin dev etc kaniko proc root state sys tmp var");
    // The image's own directory is not the state directory here, so it is parked as all is.
    assert_eq!(names("/"), top.difference(&set("kaniko")).cloned().collect());
    steps(&fixture);
    fixture.check("mkdir /data; echo kept > /data/f", 0, "");
    let first = image();
    fixture.roots.activate(1).expect("because the parking is on the mount of /");
    fixture.roots.activate(0).expect("because it is parked");
    assert_eq!(image(), first);
    fixture.roots.finish(Afterwards::AsBefore).unwrap_or_else(|error| panic!("{}", chain(&error)));
    // What the container brought is back, the parking gone.
    assert_eq!(names("/"), set("dev etc kaniko motd opt proc state sys var"));
    assert_eq!(std::fs::read_to_string("/opt/old/tool").expect("it is back"), "of the image\n");
}

fn pod_no_new_privileges() {
    let fixture = enter(Choice::Auto, "/kaniko", Rung::InPlace);
    steps(&fixture);
    confinement(&fixture, 1);
}

fn pod_unconfined() {
    let fixture = enter(Choice::Auto, "/kaniko", Rung::Namespaces);
    assert!(
        fixture.isolation.reason().contains("no pid namespace"),
        "{}",
        fixture.isolation.reason()
    );
    let outcome = fixture.sh("touch /f; chown 3000000:3000001 /f; stat -c %u:%g /f; ls /");
    assert_eq!(outcome.stdout, "3000000:3000001\nbin\ndev\netc\nf\nproc\nroot\nsys\ntmp\n");
    fixture.check("grep -c of-the-pod /etc/hosts; hostname", 0, "1\nstep\n");
    let daemon = "trap '' TERM HUP; while :; do sleep 0.01; done";
    fixture.check(&format!("setsid sh -c \"{daemon}\" daemon-of-a-step & exit 2"), 2, "");
    assert!(!support::is_running("daemon-of-a-step"));
    for file in ["mem", "environ", "root/kaniko/busybox"] {
        let outcome = fixture.sh(&format!("head -c 1 /proc/1/{file}"));
        assert_ne!(outcome.exit, Exit::Code(0), "{file}: {outcome:?}");
    }
    care::no_network(&fixture, true);
    care::processes(&fixture);
    care::supervisor_killed(&fixture);
    // Nothing outside the state directory has changed.
    assert_eq!(names("/"), set("dev etc kaniko motd opt proc sys var"));
}

/// Docker's filter lets such a pod mount, but not change the root: the step's root is moved over
/// the pod's, and must be no easier to leave for that.
fn pod_administrator() {
    let fixture = enter(Choice::Auto, "/kaniko", Rung::Namespaces);
    assert_eq!(fixture.isolation.reason(), "CAP_SYS_ADMIN");
    fixture.check(
        "set -- /proc/[0-9]*; echo $#; hostname; ls /",
        0,
        "2\nstep\nbin\ndev\netc\nproc\nroot\nsys\ntmp\n",
    );
    fixture.check("kill -9 $PPID; exit 4", 4, "");
    assert_ne!(fixture.sh("mount -t tmpfs x /tmp").exit, Exit::Code(0));
    care::no_network(&fixture, false);
    let outcome = care::run_inside(&fixture, &shell(""), "escape");
    assert_eq!(outcome.exit, Exit::Code(0), "{outcome:?}");
    let found: BTreeSet<String> = outcome.stdout.lines().map(str::to_owned).collect();
    assert!(found.contains("programs") && !found.contains("kaniko"), "{found:?}");
}
