//! Steps on the rung `namespaces`, as root of the machine and in a chroot.
#![allow(clippy::disallowed_methods, reason = "tests look at roots from outside")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use run::{Choice, Error, Exit, Identity, Parent, Rung};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use support::{Case, Fixture, chain, shell};
use sys::StopHandle;
use testkit::tree;

const CASES: &[Case] = &[
    ("root_environment_is_exactly_the_invocations", environment),
    ("root_identity", identity),
    ("root_directory_input_and_program", directory_input_and_program),
    ("root_exits_and_signals", exits_and_signals),
    ("root_output_comes_line_by_line", output),
    ("root_no_process_is_left", no_process_is_left),
    ("root_rights_are_those_of_a_container", rights),
    ("root_surroundings_are_those_of_a_container", surroundings),
    ("root_names_are_resolved_and_the_root_is_unchanged", placeholders),
    ("root_a_script_is_there_for_its_step", script),
    ("root_a_stop_ends_the_step", a_stop),
    ("root_stages", stages),
    ("root_a_chroot_is_no_way_out", chroot),
    ("root_this_machine_is_no_container", machine),
];

const INNER: &[Case] = &[("in_a_chroot", in_a_chroot), ("escape", support::escape)];

fn main() {
    support::main(CASES, INNER);
}

fn root(what: &str) -> Option<Fixture> {
    testkit::require_root(what).then(Fixture::namespaces)
}

fn environment() {
    let Some(fixture) = root("a step's environment") else { return };
    let mut invocation = shell("unused");
    invocation.argv = vec!["env".to_owned()];
    invocation.env = [("PATH", "/bin"), ("A", "x y=z"), ("EMPTY", "")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let outcome = fixture.run(&invocation).expect("because env is there");
    assert_eq!(outcome.stdout, "PATH=/bin\nA=x y=z\nEMPTY=\n");
    fixture.check("umask; hostname; cat /proc/self/comm", 0, "0022\nstep\ncat\n");
    fixture.check("ls /proc/self/fd | wc -l", 0, "4\n");
}

fn identity() {
    let Some(fixture) = root("a step's identity") else { return };
    let check = |identity: Identity, expected: &str| {
        let mut invocation = shell("id -u; id -g; grep Groups /proc/self/status");
        invocation.identity = identity;
        let outcome = fixture.run(&invocation).expect("because id is there");
        let words: Vec<_> = outcome.stdout.split_ascii_whitespace().collect();
        assert_eq!(words.join(" "), expected);
    };
    check(Identity::default(), "0 0 Groups:");
    check(Identity { uid: 1000, gid: 50, groups: vec![50, 2000] }, "1000 50 Groups: 50 2000");
    check(
        Identity { uid: 3_000_000, gid: 3_000_001, groups: Vec::new() },
        "3000000 3000001 Groups:",
    );
}

fn directory_input_and_program() {
    let Some(fixture) = root("a step's directory") else { return };
    let mut invocation = shell("pwd; cat; echo end");
    invocation.cwd = rootfs::RootPath::new("/etc").expect("because it is short");
    let outcome = fixture.run(&invocation).expect("because the directory is there");
    assert_eq!(outcome.stdout, "/etc\nend\n");
    let fails = |change: &dyn Fn(&mut run::Invocation), expected: &str| {
        let mut invocation = shell("true");
        change(&mut invocation);
        let error = fixture.run(&invocation).expect_err("because something is missing");
        assert_eq!(chain(&error), expected);
    };
    let path = |text: &str| rootfs::RootPath::new(text).expect("because it is short");
    fails(&|i| i.cwd = path("/nowhere"), "working directory `/nowhere` is not a directory");
    fails(&|i| i.cwd = path("/etc/passwd"), "working directory `/etc/passwd` is not a directory");
    let absent = "cannot execute `absent`: No such file or directory (os error 2)";
    fails(&|i| i.argv = vec!["absent".to_owned()], absent);
    let forbidden = "cannot execute `/etc/passwd`: Permission denied (os error 13)";
    fails(&|i| i.argv = vec!["/etc/passwd".to_owned()], forbidden);
    fails(&|i| i.argv.clear(), "the command `` holds a NUL byte or is empty");
    fails(&|i| i.argv.push("a\0b".to_owned()), "the argument `a\\0b` holds a NUL byte or is empty");
}

fn exits_and_signals() {
    let Some(fixture) = root("exit statuses") else { return };
    let check = |script: &str, expected: Exit| assert_eq!(fixture.sh(script).exit, expected);
    check("true", Exit::Code(0));
    check("exit 1", Exit::Code(1));
    check("exit 255", Exit::Code(255));
    check("kill -9 $$", Exit::Signal(9));
    check("kill -SEGV $$", Exit::Signal(11));
    check("kill -TERM $$", Exit::Signal(15));
    // The supervisor is the first process of its namespace: nothing in it can end or stop it.
    check("kill -9 $PPID; kill -STOP $PPID; kill -9 1; exit 4", Exit::Code(4));
    // Only where it is sure that a step sees no process but its own.
    assert!(!fixture.isolation.reason().contains("no pid namespace"));
    check("kill -9 -1; exit 5", Exit::Code(5));
    assert_eq!(Exit::Signal(9).status(), 137);
}

fn output() {
    let Some(fixture) = root("a step's output") else { return };
    let outcome = fixture.sh("echo one; echo two >&2; printf three");
    assert_eq!((&*outcome.stdout, &*outcome.stderr), ("one\nthree\n", "two\n"));
    let outcome = fixture.sh("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end");
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines.last(), Some(&"end"));
    assert_eq!(lines.concat().len(), 1_000_003);
    assert!(lines.iter().all(|line| line.len() < 200_000), "a long line comes in pieces");
    fixture.check("exec >&- 2>&-; exit 3", 3, "");
    // A child that keeps the pipe open does not keep the step.
    let start = Instant::now();
    fixture.check("sleep 600 & echo started", 0, "started\n");
    assert!(start.elapsed() < Duration::from_secs(60));
}

fn no_process_is_left() {
    let Some(fixture) = root("a step's processes") else { return };
    let daemon = "trap '' TERM HUP; while :; do date >> /late; sleep 0.01; done";
    let script =
        format!("setsid sh -c \"{daemon}\" daemon-of-a-step & (sleep 987654 &) ; sleep 0.1");
    fixture.check(&script, 0, "");
    assert!(!support::is_running("daemon-of-a-step") && !support::is_running("987654"));
    let written = std::fs::metadata(fixture.path().join("late")).expect("because it ran").len();
    // What is listed: the head of the list, the supervisor, the shell, ps itself.
    fixture.check("sleep 0.1; ps > /list; wc -l < /list; rm /late /list", 0, "4\n");
    assert!(written > 0);
    fixture.check("i=0; while [ $i -lt 2000 ]; do (true &) ; i=$((i+1)); done", 0, "");
}

fn rights() {
    let Some(fixture) = root("a step's rights") else { return };
    let status =
        "grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status";
    let all = "00000000a80425fb";
    let none = "0000000000000000";
    let kept = u8::from(sys::no_new_privileges());
    let expected = |now: &str| {
        format!(
            "CapInh:\t{none}\nCapPrm:\t{now}\nCapEff:\t{now}\nCapBnd:\t{all}\nCapAmb:\t{none}\n\
             NoNewPrivs:\t{kept}\nSeccomp:\t2\n"
        )
    };
    fixture.check(status, 0, &expected(all));
    let mut invocation = shell(status);
    invocation.identity = Identity { uid: 1000, gid: 1000, groups: Vec::new() };
    let outcome = fixture.run(&invocation).expect("because grep is there");
    assert_eq!(outcome.stdout, expected(none));
    for refused in ["mount -t tmpfs x /tmp", "unshare -m true", "umount /proc", "hostname other"] {
        assert_ne!(fixture.sh(refused).exit, Exit::Code(0), "{refused}");
    }
    // The supervisor holds the builder's memory and more rights than the step.
    for path in ["mem", "environ", "maps", "fd/0", "root/etc/passwd"] {
        let outcome = fixture.sh(&format!("head -c 1 /proc/1/{path}"));
        assert_ne!(outcome.exit, Exit::Code(0), "{path}: {outcome:?}");
    }
    fixture.check("chown 33:44 /tmp && chroot / stat -c %u:%g /tmp", 0, "33:44\n");
    fixture.check("mknod /disk b 8 0 && head -c 1 /disk; echo $?; rm /disk", 0, "1\n");
}

fn surroundings() {
    let Some(fixture) = root("a step's surroundings") else { return };
    let list = "ls /dev; ls /dev/pts /dev/shm /dev/mqueue | grep -v :; stat -c '%a %n' /dev /dev/null /dev/shm";
    let outcome = fixture.sh(list);
    let words: Vec<_> = outcome.stdout.split_ascii_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ptmx \
         755 /dev 666 /dev/null 1777 /dev/shm"
    );
    fixture.check(
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c && cat <<A\ny\nA\n",
        0,
        "3\ny\n",
    );
    fixture.check("cat /proc/kcore /proc/keys /proc/timer_list | wc -c", 0, "0\n");
    fixture.check("ls /sys/firmware /proc/scsi 2>/dev/null | grep -v :", 1, "");
    for refused in
        ["echo 1 > /proc/sys/vm/drop_caches", "test -w /proc/sysrq-trigger", "mkdir /sys/x"]
    {
        assert_ne!(fixture.sh(refused).exit, Exit::Code(0), "{refused}");
    }
    // Its own processes are all that a step sees, and its root is all of the mount tree.
    fixture.check("set -- /proc/[0-9]*; echo $#", 0, "2\n");
    fixture.check(
        "cut -d' ' -f5 /proc/self/mountinfo | grep -v -E '^/(proc|dev|sys|etc)(/|$)'",
        0,
        "/\n",
    );
    let mountinfo = fixture.sh("cat /proc/self/mountinfo").stdout;
    assert!(mountinfo.lines().any(|line| line.contains(" / ") && line.contains("nodev")));
}

fn placeholders() {
    let Some(fixture) = root("what a step leaves") else { return };
    let outside = fixture.path();
    std::os::unix::fs::symlink("../run/net/resolv.conf", outside.join("etc/resolv.conf"))
        .expect("because it is not there");
    std::fs::write(outside.join("etc/hosts"), "of the image\n").expect("because it is writable");
    let time = Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 };
    for dir in ["", "etc"] {
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, outside.join(dir), &times, AtFlags::empty())
            .expect("because it is ours");
    }
    let shown = tree::Shown { owners: true, times: true };
    let before = tree::print_with(&outside, shown);
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    fixture.check("cat /etc/resolv.conf", 0, &resolv_conf);
    fixture.check("cat /etc/hostname; grep -c -w step /etc/hosts", 0, "step\n1\n");
    // As in BuildKit: a step that believes it changed them would be deceived.
    let refused = "for f in hosts resolv.conf; do (echo x >> /etc/$f) 2>/dev/null || echo $f; done";
    fixture.check(refused, 0, "hosts\nresolv.conf\n");
    fixture.check("grep -c x /etc/hosts", 1, "0\n");
    assert_ne!(fixture.sh("rm /etc/hosts").exit, Exit::Code(0));
    assert_eq!(tree::print_with(&outside, shown), before);
    // What a step makes in a directory that was made for it stays, and so does its time.
    fixture.check("echo kept > /run/net/other; touch -d @5 /etc", 0, "");
    let kept = std::fs::read_dir(outside.join("run/net")).expect("because the step needs it");
    assert_eq!(kept.count(), 1);
    let found = rustix::fs::stat(outside.join("etc")).expect("because it is there");
    assert_eq!(found.st_mtime, 5);
    for absent in ["proc", "dev", "sys", "etc/hostname", "run/net/resolv.conf"] {
        assert!(!outside.join(absent).exists(), "{absent}");
    }
}

/// A script is there for its step only, executable and read-only.
fn script() {
    let Some(fixture) = root("a script") else { return };
    let mut invocation = shell("");
    invocation.argv = vec!["/dev/pipes/EOF".to_owned(), "an argument".to_owned()];
    let content = b"#!/bin/sh\necho \"$0 $1\"; echo x > $0 || echo kept\n".to_vec();
    invocation.script = Some(run::Script { name: "EOF".to_owned(), content });
    let outcome = fixture.run(&invocation).expect("because the script is well named");
    assert_eq!(
        (outcome.exit, &*outcome.stdout),
        (Exit::Code(0), "/dev/pipes/EOF an argument\nkept\n")
    );
    fixture.check("ls -d /dev/pipes || echo gone", 0, "gone\n");
    invocation.script = Some(run::Script { name: "../EOF".to_owned(), content: Vec::new() });
    assert!(fixture.run(&invocation).is_err(), "a name with a slash leads elsewhere");
}

fn a_stop() {
    let Some(fixture) = root("stopping a step") else { return };
    let check = |script: &str| {
        let stop = StopHandle::new().expect("because an eventfd can be had");
        let from_inside = stop.clone();
        let start = Instant::now();
        let mut heard = Vec::new();
        let mut output = |_, lines: &[u8]| {
            heard.push(String::from_utf8_lossy(lines).into_owned());
            from_inside.stop();
        };
        let outcome = fixture.isolation.run(&fixture.root, &shell(script), &mut output, &stop);
        assert!(matches!(outcome, Err(Error::Stopped { .. })), "{outcome:?}");
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        assert!(!support::is_running("876543"));
        heard
    };
    let asked = check("trap 'echo asked; exit 0' TERM; echo started; sleep 876543 & wait");
    assert_eq!(asked, ["started\n", "asked\n"]);
    check("trap '' TERM; echo started; sleep 876543");
    check("setsid sh -c 'trap \"\" TERM; sleep 876543' & echo started; wait");
    let stop = StopHandle::new().expect("because an eventfd can be had");
    stop.stop();
    let outcome = fixture.run_until(&shell("sleep 876543"), &stop);
    assert!(matches!(outcome, Err(Error::Stopped { .. })), "{outcome:?}");
}

fn stages() {
    let Some(fixture) = root("roots of stages") else { return };
    let roots = &fixture.roots;
    fixture.check("ln /bin/busybox /hard; echo a > /a; chown 5:6 /a; chmod 4751 /a", 0, "");
    fixture.check("mkdir -m 1700 /d; mkfifo /d/p; ln -s a /l; touch -d @7 /d/p /d", 0, "");
    let stages = fixture.state.join("builds/1/stages");
    let shown = tree::Shown { owners: true, times: true };
    let first = tree::print_with(&stages.join("0/rootfs"), shown);
    roots.adopt(0, 3, Parent::StillNeeded).expect("because stage 0 is there");
    assert_eq!(tree::print_with(&stages.join("3/rootfs"), shown), first);
    let copy = roots.activate(3).expect("because it was adopted");
    let path = |text: &str| rootfs::RootPath::new(text).expect("because it is short");
    copy.dir.remove(&path("/a")).expect("because it is a file");
    assert!(roots.read(0).expect("because it is there").exists(&path("/a")).expect("as above"));
    roots.adopt(0, 4, Parent::Finished).expect("because stage 0 is there");
    assert_eq!(tree::print_with(&stages.join("4/rootfs"), shown), first);
    assert!(matches!(roots.read(0), Err(Error::NoStage { stage: 0 })));
    assert!(matches!(roots.adopt(0, 5, Parent::Finished), Err(Error::NoStage { stage: 0 })));
    roots.release(3).expect("because it is ours");
    assert!(!stages.join("3").exists());
    let state = fixture.state.clone();
    fixture.roots.finish(run::Afterwards::Stage(4)).expect("because they are ours");
    assert_eq!(std::fs::read_dir(state.join("builds/1/stages")).expect("it stays").count(), 0);
    assert_eq!(std::fs::read_dir(state.join("tmp")).expect("it stays").count(), 0);
}

fn chroot() {
    if !testkit::require_root("a build in a chroot") {
        return;
    }
    let scratch = testkit::ScratchRoot::new();
    let jail = scratch.path().join("jail");
    std::fs::create_dir(&jail).expect("because the directory is empty");
    std::fs::write(scratch.path().join("outside"), "").expect("as above");
    support::install_busybox(&jail);
    support::install_self(&jail, "test");
    let places = ["/usr/sbin/chroot", "/usr/bin/chroot", "/bin/chroot"].map(Path::new);
    let program = places.iter().find(|path| path.exists()).expect("because every system has it");
    // No /proc, no /dev: a chroot as bare as can be.
    let output = Command::new(program).arg(&jail).args(["/test", "--case", "in_a_chroot"]).output();
    let output = output.expect("because chroot is part of every system");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn in_a_chroot() {
    let fixture = Fixture::enter(Choice::Auto, Path::new("/state"), false);
    assert_eq!(fixture.isolation.rung(), Rung::Namespaces, "{}", fixture.isolation.reason());
    std::fs::copy("/test", fixture.path().join("test")).expect("because the test put it there");
    for libraries in ["/usr", "/lib", "/lib64"] {
        let target = fixture.path();
        let copied = Command::new("/bin/cp").arg("-a").arg(libraries).arg(target).status();
        assert!(copied.is_ok_and(|status| status.success()), "{libraries}");
    }
    let mut invocation = shell("unused");
    invocation.argv = ["/test", "--case", "escape"].map(str::to_owned).to_vec();
    let outcome = fixture.run(&invocation).expect("because the program is there");
    assert_eq!(outcome.exit, Exit::Code(0), "{outcome:?}");
    let found: Vec<_> = outcome.stdout.lines().collect();
    assert!(found.contains(&"test") && !found.contains(&"state"), "{found:?}");
    assert!(!found.contains(&"jail") && !found.contains(&"outside"), "{found:?}");
}

/// The root of the machine that runs the tests must never be taken; nothing is started here, only
/// the answer is looked at.
fn machine() {
    if !testkit::require_root("telling a machine from a container") {
        return;
    }
    let scratch = testkit::ScratchRoot::new();
    let mut options = support::options(Choice::InPlace, &scratch.path().join("state"), false);
    options.in_container = true;
    let on_disk = rustix::fs::stat("/").is_ok_and(|found| rustix::fs::major(found.st_dev) != 0);
    match run::enter(&options) {
        Err(Error::NotInContainer) => {}
        other => assert!(!on_disk, "{other:?}"),
    }
}
