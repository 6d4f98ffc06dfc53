//! What the tests of steps share: each case in a process of its own, a root of busybox, and an
//! ordinary user that does not depend on how the machine is set up.
//!
//! Entering a rung changes the whole process and needs one with a single thread. So the test
//! program starts itself once for every case: `--case NAME` runs that one in `main`.
#![allow(clippy::disallowed_methods, reason = "tests look at roots from outside")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "cases report through them")]
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unreachable_pub, reason = "the programs that share it are crates of their own")]

pub mod care;
pub mod pod;
pub mod user;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use run::{
    ActiveRoot, Choice, Confinement, EnterOptions, Error, Exit, Identity, Invocation, Isolation,
    StageRoots, Stream,
};
use sys::StopHandle;
use testkit::ScratchRoot;

/// One case: its name and what it does.
pub type Case = (&'static str, fn());

/// Runs all cases, each in its own process, or the one that this process was started for.
///
/// `inner` are the cases that another one starts as another user or in another place.
pub fn main(cases: &'static [Case], inner: &'static [Case]) {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("--case") {
        let name = words.next().expect("because a name follows");
        let mut all = cases.iter().chain(inner);
        let (_, case) = all.find(|(known, _)| *known == name).expect("because the name is known");
        return case();
    }
    let trials = cases.iter().map(|(name, _)| Trial::test(*name, move || start(name)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn start(name: &str) -> Result<(), Failed> {
    let this = std::env::current_exe()?;
    let output = Command::new(this).args(["--case", name]).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in text.lines().filter(|line| line.starts_with("skipped:")) {
        eprintln!("{name}: {line}");
    }
    if output.status.success() { Ok(()) } else { Err(format!("{}\n{text}", output.status).into()) }
}

/// A rung that was entered, and one active stage with busybox in it.
pub struct Fixture {
    pub isolation: Isolation,
    pub roots: StageRoots,
    pub root: ActiveRoot,
    pub state: PathBuf,
    // Last, so that the roots in it are gone first.
    scratch: Option<ScratchRoot>,
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Outcome {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

impl Fixture {
    /// Enters private roots below a temporary directory.
    pub fn namespaces() -> Fixture {
        let scratch = ScratchRoot::new();
        let state = scratch.path().join("state");
        Fixture { scratch: Some(scratch), ..Fixture::enter(Choice::Namespaces, &state, false) }
    }

    /// Enters a rung with this state directory.
    pub fn enter(choice: Choice, state: &Path, force: bool) -> Fixture {
        let options = options(choice, state, force);
        let isolation = run::enter(&options).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let roots = isolation.stage_roots(&state.join("builds/1")).expect("because it is writable");
        let root = roots.activate(0).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let path = match isolation.rung() {
            run::Rung::InPlace => PathBuf::from("/"),
            run::Rung::Namespaces | run::Rung::FilesOnly => state.join("builds/1/stages/0/rootfs"),
        };
        install_busybox(&path);
        Fixture { isolation, roots, root, state: state.to_owned(), scratch: None }
    }

    /// Where the active stage is, seen from outside.
    pub fn path(&self) -> PathBuf {
        self.state.join("builds/1/stages/0/rootfs")
    }

    /// Runs an invocation; each piece of its output ends a line.
    pub fn run(&self, invocation: &Invocation) -> Result<Outcome, Error> {
        let stop = StopHandle::new().expect("because an eventfd can be had");
        self.run_until(invocation, &stop)
    }

    /// The same with a stop handle.
    pub fn run_until(&self, invocation: &Invocation, stop: &StopHandle) -> Result<Outcome, Error> {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut output = |stream: Stream, lines: &[u8]| {
            let text = match stream {
                Stream::Stdout => &mut stdout,
                Stream::Stderr => &mut stderr,
            };
            text.push_str(&String::from_utf8_lossy(lines));
            if !lines.ends_with(b"\n") {
                text.push('\n');
            }
        };
        let exit = self.isolation.run(&self.root, invocation, &mut output, stop)?;
        Ok(Outcome { exit, stdout, stderr })
    }

    /// Runs a shell script as root.
    pub fn sh(&self, script: &str) -> Outcome {
        self.run(&shell(script)).unwrap_or_else(|error| panic!("{script}: {}", chain(&error)))
    }

    /// Runs a script and compares its status and what it writes to standard output.
    pub fn check(&self, script: &str, status: i32, stdout: &str) {
        let outcome = self.sh(script);
        assert_eq!((outcome.exit, &*outcome.stdout), (Exit::Code(status), stdout), "{outcome:?}");
    }
}

/// A script as `RUN` would run it.
pub fn shell(script: &str) -> Invocation {
    Invocation {
        script: None,
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: rootfs::RootPath::root(),
        identity: Identity::default(),
        hostname: "step".to_owned(),
        mounts: Vec::new(),
        confinement: Confinement::default(),
        grace: Duration::from_millis(300),
        timeout: None,
    }
}

/// What `enter` is asked.
pub fn options(choice: Choice, state: &Path, force: bool) -> EnterOptions {
    EnterOptions {
        choice,
        force,
        in_container: false,
        state_dir: state.to_owned(),
        protected: Vec::new(),
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// What the scripts of the tests call.
const APPLETS: &str = "cat chmod chown chroot cp cut date echo env false grep head hostname id kill \
                       ln ls mkdir mkfifo mknod mount ping printf ps pwd rm setsid sh sleep stat tail \
                       test touch tr true umount unshare wc";

/// Makes a small root of the machine's static busybox.
pub fn install_busybox(root: &Path) {
    let program =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let program = BUSYBOX
        .with(|kept| kept.borrow().clone())
        .or_else(|| std::fs::read(program.expect("install the package busybox-static")).ok());
    let program = program.expect("because busybox can be read");
    for dir in ["bin", "etc", "root"] {
        std::fs::create_dir_all(root.join(dir)).expect("because the root is ours");
    }
    let target = root.join("bin/busybox");
    std::fs::write(&target, program).expect("because the root is ours");
    std::fs::set_permissions(&target, PermissionsExt::from_mode(0o755)).expect("as above");
    for applet in APPLETS.split_ascii_whitespace() {
        let link = root.join("bin").join(applet);
        if !link.exists() {
            std::os::unix::fs::symlink("busybox", link).expect("because the root is ours");
        }
    }
    let passwd = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/:/bin/sh\n";
    std::fs::write(root.join("etc/passwd"), passwd).expect("because the root is ours");
    std::fs::write(root.join("etc/group"), "root:x:0:\nanna:x:1000:\nextra:x:2000:anna\n")
        .expect("because the root is ours");
    std::fs::create_dir_all(root.join("tmp")).expect("because the root is ours");
    std::fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777))
        .expect("as above");
}

thread_local! {
    /// Busybox, for a place where the machine's is out of reach.
    static BUSYBOX: std::cell::RefCell<Option<Vec<u8>>> = const { std::cell::RefCell::new(None) };
}

/// Reads busybox while it can be read.
pub fn remember_busybox(path: &Path) {
    let program = std::fs::read(path).expect("because busybox was put there");
    BUSYBOX.with(|kept| *kept.borrow_mut() = Some(program));
}

/// Copies this test program and the libraries it has loaded into a root.
pub fn install_self(root: &Path, name: &str) {
    let this = std::env::current_exe().expect("because /proc is mounted");
    let copy = |from: &Path, to: PathBuf| {
        std::fs::create_dir_all(to.parent().expect("because it is below the root"))
            .expect("because the root is ours");
        std::fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    };
    copy(&this, root.join(name));
    let maps = std::fs::read_to_string("/proc/self/maps").expect("because /proc is mounted");
    let libraries: std::collections::BTreeSet<&str> = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .filter(|path| path.contains(".so"))
        .collect();
    for library in libraries {
        let path = Path::new(library);
        copy(path, root.join(library.trim_start_matches('/')));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("ld-linux") {
            // The paths that are compiled into programs of x86_64 and of aarch64.
            copy(path, root.join("lib64").join(name));
            copy(path, root.join("lib").join(name));
        }
    }
}

/// Whether a process with this text in its command line is alive.
pub fn is_running(text: &str) -> bool {
    let this = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").expect("because /proc is mounted").flatten();
    let mut others = processes.filter(|entry| entry.file_name().to_string_lossy() != this);
    others.any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

/// The classic way out of a chroot, and what is seen after it.
pub fn escape() {
    std::fs::create_dir_all("/foothold").expect("because we are root");
    rustix::process::chroot("/foothold").expect("because the capability is there");
    for _ in 0..100 {
        rustix::process::chdir("..").expect("because there is always a parent");
    }
    rustix::process::chroot(".").expect("because the capability is there");
    for entry in std::fs::read_dir("/").expect("because it is a directory").flatten() {
        println!("{}", entry.file_name().to_string_lossy());
    }
}
