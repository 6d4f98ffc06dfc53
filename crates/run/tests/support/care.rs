//! What a step may try with its processes, its output and its surroundings: the same on every
//! rung, and none of it is any use.

use std::time::{Duration, Instant};

use run::{Error, Exit};
use sys::StopHandle;

use super::{Fixture, is_running, shell};

/// Ignores what asks it to end, and goes on writing.
const DAEMON: &str = "trap '' TERM HUP INT; while :; do date >> /late; sleep 0.01; done";

/// Cases of a step's processes and their end.
pub fn processes(fixture: &Fixture) {
    nothing_is_left(fixture);
    orphans_are_reaped(fixture);
    the_limit_ends_a_step(fixture);
    let check =
        |script: &str, expected: Exit| assert_eq!(fixture.sh(script).exit, expected, "{script}");
    for (signal, number) in [("SEGV", 11), ("ABRT", 6), ("KILL", 9), ("TERM", 15), ("PIPE", 13)] {
        check(&format!("kill -{signal} $$"), Exit::Signal(number));
        assert_eq!(Exit::Signal(number).status(), 128 + number);
    }
    check("exit 255", Exit::Code(255));
    // A supervisor that is stopped is told to go on.
    check("kill -STOP $PPID; exit 3", Exit::Code(3));
}

fn nothing_is_left(fixture: &Fixture) {
    let daemons = [
        // A session of its own, with the pipes in its hands, and without.
        format!("setsid sh -c \"{DAEMON}\" step-daemon & "),
        format!("setsid sh -c \"{DAEMON}\" step-daemon <&- >&- 2>&- & "),
        // A double fork into a session of its own.
        format!("(setsid sh -c \"{DAEMON}\" step-daemon & ) ; "),
        format!("setsid sh -c \"setsid sh -c \\\"{}\\\" step-daemon & \" & ", DAEMON),
        "sleep 654321 & ".to_owned(),
    ];
    for daemon in &daemons {
        let start = Instant::now();
        let outcome = fixture.sh(&format!("{daemon} sleep 0.05; exit 2"));
        assert_eq!(outcome.exit, Exit::Code(2), "{daemon}: {outcome:?}");
        assert!(!is_running("step-daemon") && !is_running("654321"), "{daemon}");
        assert!(start.elapsed() < Duration::from_secs(60), "{daemon}: {:?}", start.elapsed());
    }
    // What it wrote is not written on.
    let size = || fixture.sh("wc -c < /late").stdout;
    let before = size();
    assert_eq!(size(), before);
    fixture.check("rm /late", 0, "");
}

/// Ten thousand processes whose parent is gone.
fn orphans_are_reaped(fixture: &Fixture) {
    let start = Instant::now();
    let script = "i=0; while [ $i -lt 10000 ]; do (true &) ; i=$((i+1)); done; echo done";
    fixture.check(script, 0, "done\n");
    eprintln!("10,000 orphans: {:?}", start.elapsed());
    assert!(!is_running("while [ $i -lt 10000 ]"));
}

/// Asked to end, then killed; whatever it says at its end, it took too long.
fn the_limit_ends_a_step(fixture: &Fixture) {
    let limit = Duration::from_millis(300);
    for script in [
        "sleep 543210",
        "trap '' TERM; sleep 543210",
        "trap 'exit 0' TERM; sleep 543210 & wait",
        "setsid sh -c 'trap \"\" TERM; sleep 543210' & sleep 543210",
        "exec <&- >&- 2>&-; sleep 543210",
    ] {
        let mut invocation = shell(script);
        invocation.timeout = Some(limit);
        let start = Instant::now();
        let outcome = fixture.run(&invocation).expect("because the step ran");
        assert_eq!(outcome.exit, Exit::TimedOut(limit), "{script}");
        assert_eq!(outcome.exit.status(), 124);
        assert!(start.elapsed() < Duration::from_secs(60), "{script}: {:?}", start.elapsed());
        assert!(!is_running("543210"), "{script}");
    }
    let mut invocation = shell("exit 7");
    invocation.timeout = Some(Duration::from_secs(600));
    assert_eq!(fixture.run(&invocation).expect("because it is quick").exit, Exit::Code(7));
    invocation.timeout = Some(Duration::MAX);
    assert_eq!(fixture.run(&invocation).expect("because it is quick").exit, Exit::Code(7));
}

/// Where no pid namespace protects it, a step can kill its supervisor. Then the step has failed,
/// and what it left is gone all the same.
///
/// A step that kills all it can would kill the builder, too; where a filter can be loaded, that is
/// refused. The first process of a pod survives it without. Elsewhere the build ends with the
/// builder, which is no success either.
pub fn supervisor_killed(fixture: &Fixture) {
    let check = |script: &str, refused: bool| {
        let start =
            format!("(setsid sleep 432109 &) ; sleep 0.1; {script} || exit 9; sleep 432109");
        let outcome = fixture.run(&shell(&start));
        let as_expected = match &outcome {
            Ok(outcome) => refused && outcome.exit == Exit::Code(9),
            Err(error) => !refused && matches!(error, Error::Supervisor { .. }),
        };
        assert!(as_expected, "{script}: {outcome:?}");
        assert!(!is_running("432109"), "{script}");
    };
    check("kill -9 $PPID", false);
    let filtered = fixture.sh("grep ^NoNewPrivs: /proc/self/status").stdout.contains('1')
        || fixture.isolation.rung() == run::Rung::Namespaces;
    if filtered {
        check(&format!("kill -9 {}", std::process::id()), true);
    }
    if filtered || std::process::id() == 1 {
        check("kill -9 -1", filtered);
    }
}

/// Cases of what a step reads and writes.
pub fn streams(fixture: &Fixture) {
    fixture.check(
        "cat; test -t 0 || test -t 1 || test -t 2 || echo no terminal",
        0,
        "no terminal\n",
    );
    assert_ne!(fixture.sh(": < /dev/tty").exit, Exit::Code(0), "there is no controlling terminal");
    fixture.check("exec <&- >&- 2>&-; exit 5", 5, "");
    let start = Instant::now();
    fixture.check("sleep 321098 & echo started", 0, "started\n");
    assert!(start.elapsed() < Duration::from_secs(60));
    // Bytes are passed on as they are; how they are shown is for others.
    let mut heard = Vec::new();
    let stop = StopHandle::new().expect("because an eventfd can be had");
    let script = shell("printf 'a\\033[31m\\000\\377\\r\\n\\nlast'");
    let mut output = |_, lines: &[u8]| heard.push(lines.to_vec());
    let exit = fixture.isolation.run(&fixture.root, &script, &mut output, &stop);
    assert_eq!(exit.expect("because printf is there"), Exit::Code(0));
    assert_eq!(heard.concat(), b"a\x1b[31m\0\xff\r\n\nlast");
    assert!(heard.iter().rev().skip(1).all(|lines| lines.ends_with(b"\n")), "{heard:?}");
}

/// One line that is larger than the memory it may take.
pub fn one_long_line(fixture: &Fixture) {
    const LENGTH: usize = 128 << 20;
    let (mut length, mut longest) = (0, 0);
    let stop = StopHandle::new().expect("because an eventfd can be had");
    let script = shell(&format!("head -c {LENGTH} /dev/zero"));
    let mut output = |_, piece: &[u8]| {
        length += piece.len();
        longest = longest.max(piece.len());
    };
    let before = peak();
    let exit = fixture.isolation.run(&fixture.root, &script, &mut output, &stop);
    assert_eq!(exit.expect("because head is there"), Exit::Code(0));
    assert_eq!(length, LENGTH);
    assert!(longest < 128 << 10, "{longest}");
    assert!(peak() < before + (16 << 10), "{} KiB were {before}", peak());
}

/// The most memory this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("because /proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("because the kernel tells it")
}

/// What a step must not be able to do to mounts and to the builder.
pub fn reach(fixture: &Fixture, builder: &str) {
    for refused in
        ["mount -t tmpfs x /tmp", "mount -o bind /bin /tmp", "umount /proc", "unshare -m true"]
    {
        assert_ne!(fixture.sh(refused).exit, Exit::Code(0), "{refused}");
    }
    for file in ["mem", "environ", "fd/0", "root/etc/passwd", "cwd/etc/passwd"] {
        let outcome = fixture.sh(&format!("head -c 1 /proc/{builder}/{file}"));
        assert_ne!(outcome.exit, Exit::Code(0), "{file}: {outcome:?}");
        let outcome = fixture.sh(&format!("echo x > /proc/{builder}/{file}"));
        assert_ne!(outcome.exit, Exit::Code(0), "{file}: {outcome:?}");
    }
}

/// A step without network where a network namespace can be had; in a pod without the capability
/// NET_ADMIN nobody can bring up its loopback interface.
pub fn no_network(fixture: &Fixture, loopback: bool) {
    let network = run::Network::None;
    let script =
        "grep -c : /proc/net/dev; ping -c 1 -W 5 127.0.0.1 > /dev/null 2>&1 && echo up; true";
    let mut invocation = shell(script);
    invocation.confinement = run::Confinement { network, ..run::Confinement::default() };
    let outcome = fixture.run(&invocation).expect("because a namespace can be had");
    let expected = if loopback { "1\nup\n" } else { "1\n" };
    assert_eq!((outcome.exit, &*outcome.stdout), (Exit::Code(0), expected), "{outcome:?}");
}

/// The families of sockets that this process can make, for a look from inside a step.
pub fn sockets() {
    use rustix::net::{AddressFamily, SocketType, socket};
    let families = [
        ("unix", AddressFamily::UNIX, SocketType::STREAM),
        ("netlink", AddressFamily::NETLINK, SocketType::RAW),
        ("inet", AddressFamily::INET, SocketType::STREAM),
        ("inet6", AddressFamily::INET6, SocketType::DGRAM),
        ("packet", AddressFamily::PACKET, SocketType::RAW),
    ];
    for (name, family, kind) in families {
        match socket(family, kind, None) {
            Ok(_) => println!("{name}"),
            Err(errno) => println!("{name}: {}", errno.raw_os_error()),
        }
    }
}

/// Runs a case of this program inside the step of an invocation, which keeps all else.
pub fn run_inside(fixture: &Fixture, invocation: &run::Invocation, case: &str) -> super::Outcome {
    let programs = match fixture.isolation.rung() {
        run::Rung::InPlace => std::path::PathBuf::from("/programs"),
        run::Rung::Namespaces | run::Rung::FilesOnly => fixture.path().join("programs"),
    };
    let mut loader = None;
    if !programs.exists() {
        std::fs::create_dir(&programs).expect("because it is ours");
        // In a pod this program was started by the loader that lies beside it.
        let pods = std::path::PathBuf::from("/kaniko/lib");
        let scratch = programs.join("all");
        let from = if pods.exists() { &pods } else { &scratch };
        if !pods.exists() {
            super::install_self(&scratch, "test");
        }
        for (from, name) in super::pod::collect_files(from) {
            std::fs::copy(from, programs.join(name)).expect("because it is ours");
        }
    }
    for entry in std::fs::read_dir(&programs).expect("because it was made").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        loader = loader.or(Some(name).filter(|name| name.starts_with("ld-linux")));
    }
    let loader = format!("/programs/{}", loader.expect("because this program is linked to it"));
    let words = [&*loader, "--library-path", "/programs", "/programs/test", "--case", case];
    let mut invocation = invocation.clone();
    invocation.argv = words.map(str::to_owned).to_vec();
    fixture.run(&invocation).expect("because the program is there")
}
