//! Starts a program in surroundings of its own, under a supervisor.
//!
//! Two processes are made. The *supervisor* gets the namespaces and arranges what is in them; it
//! reaps, passes signals on and reports. The *program* is its child, so that signals mean to it
//! what they mean everywhere (the first process of a pid namespace ignores most of them). With a
//! pid namespace the end of the supervisor is the end of all processes in it. Without one it is a
//! subreaper, and the caller ends what is left below it.
//!
//! What both do before the program runs is data: a list of [`Action`]s, carried out without
//! allocating or locking, since the caller may have any number of threads.

mod action;
mod loopback;
mod report;
mod supervisor;
mod words;

use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

pub use action::Action;
pub use report::{Phase, Report};

/// A program and what it is given.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where to look for it, in this order.
    pub paths: Vec<CString>,
    /// Its arguments, the first being its name.
    pub argv: Vec<CString>,
    /// Its whole environment.
    pub env: Vec<CString>,
}

/// What is to be started.
#[derive(Debug)]
pub struct Spec {
    /// The namespaces that supervisor and program get, besides the builder's.
    pub namespaces: UnshareFlags,
    /// What the supervisor does before it starts the program.
    pub surroundings: Vec<Action>,
    /// What the program's process does before it becomes the program.
    pub preparation: Vec<Action>,
    /// The program. Without one, the process ends with status 0 when all is prepared.
    pub program: Option<Program>,
}

/// A supervisor that was started. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    report: OwnedFd,
    control: OwnedFd,
    ended: Option<WaitStatus>,
}

/// The last error of a bare system call.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Starts the supervisor, which starts the program with these as its standard input, output and
/// error output. What becomes of them is told by reports.
pub fn spawn(spec: &Spec, stdio: [BorrowedFd<'_>; 3]) -> Result<Child, Errno> {
    let (report, report_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (control_end, control) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let [input, output, error] = stdio;
    let stdio = [above_stdio(input)?, above_stdio(output)?, above_stdio(error)?];
    let report_end = above_stdio(report_end.as_fd())?;
    let control_end = above_stdio(control_end.as_fd())?;
    let program = spec.program.as_ref().map(Pointers::new);
    let mut kept = [
        stdio[0].as_raw_fd(),
        stdio[1].as_raw_fd(),
        stdio[2].as_raw_fd(),
        report_end.as_raw_fd(),
        control_end.as_raw_fd(),
    ];
    kept.sort_unstable();
    let own = supervisor::Own {
        spec,
        program: program.as_ref(),
        stdio: [stdio[0].as_raw_fd(), stdio[1].as_raw_fd(), stdio[2].as_raw_fd()],
        report: report_end.as_fd(),
        control: control_end.as_fd(),
        kept,
    };
    // No handler of the builder may run in the copy, where its threads are missing.
    let mask = crate::signals::block_all()?;
    let outcome = supervisor::start(&own);
    crate::signals::restore(&mask);
    Ok(Child { pid: outcome?, report, control, ended: None })
}

/// A copy of a descriptor above the three that the program gets.
fn above_stdio(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// A program as `execve` takes it.
struct Pointers<'a> {
    paths: &'a [CString],
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
}

impl<'a> Pointers<'a> {
    fn new(program: &'a Program) -> Self {
        let list = |strings: &[CString]| {
            let pointers = strings.iter().map(|string| string.as_ptr());
            pointers.chain(std::iter::once(std::ptr::null())).collect()
        };
        Self { paths: &program.paths, argv: list(&program.argv), env: list(&program.env) }
    }
}

impl Child {
    /// The supervisor's process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when there is a report, or none will come any more.
    #[must_use]
    pub fn reports(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// The next report; `None` when supervisor and program are gone. Blocks.
    pub fn next_report(&mut self) -> Result<Option<Report>, Errno> {
        report::read(self.report.as_fd())
    }

    /// Sends a signal to the program and its process group.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let number = u8::try_from(signal.as_raw()).map_err(|_| Errno::INVAL)?;
        rustix::io::write(&self.control, &[number]).map(drop)
    }

    /// Kills the supervisor, and with it all that is in its pid namespace.
    pub fn kill(&self) -> Result<(), Errno> {
        match self.ended {
            Some(_) => Ok(()),
            None => rustix::process::kill_process(self.pid, Signal::KILL),
        }
    }

    /// Lets a supervisor go on that its own program has stopped.
    pub fn resume(&self) -> Result<(), Errno> {
        match self.ended {
            Some(_) => Ok(()),
            None => rustix::process::kill_process(self.pid, Signal::CONT),
        }
    }

    /// Waits for the end of the supervisor. With a pid namespace all its processes are gone then.
    pub fn wait(&mut self) -> Result<WaitStatus, Errno> {
        loop {
            if let Some(status) = self.ended {
                return Ok(status);
            }
            match rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(found) => self.ended = found.map(|(_, status)| status),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing can be done about a failure: the supervisor is not there, then.
        let _ = self.kill();
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn program(script: &str) -> Program {
        let text = |text: &str| CString::new(text).expect("because it holds no NUL");
        Program {
            paths: vec![text("/nonexistent/sh"), text("/bin/sh")],
            argv: vec![text("sh"), text("-c"), text(script)],
            env: vec![text("ONLY=this")],
        }
    }

    /// All reports of one spec and what the program wrote.
    fn outcome(preparation: Vec<Action>, program: Option<Program>) -> (Vec<Report>, String) {
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, 0o0.into());
        let null = null.expect("because every machine has it");
        let (from, to) = rustix::pipe::pipe().expect("because a pipe can be had");
        let stdio = [null.as_fd(), to.as_fd(), null.as_fd()];
        let namespaces = UnshareFlags::empty();
        let surroundings = vec![Action::BecomeSubreaper];
        let spec = Spec { namespaces, surroundings, preparation, program };
        let mut child = spawn(&spec, stdio).expect("because a process can be started");
        drop(to);
        let mut reports = Vec::new();
        while let Some(report) = child.next_report().expect("because the pipe is whole") {
            reports.push(report);
        }
        let mut text = String::new();
        std::fs::File::from(from).read_to_string(&mut text).expect("because it is text");
        child.wait().expect("because it was not reaped before");
        (reports, text)
    }

    fn check(script: &str, expected: Report, output: &str) {
        let (reports, text) = outcome(vec![Action::NewSession], Some(program(script)));
        assert_eq!(
            (reports.as_slice(), text.as_str()),
            ([expected].as_slice(), output),
            "{script}"
        );
    }

    #[test]
    fn programs_end_as_they_say() {
        check("echo $ONLY", Report::Exited(0), "this\n");
        check("exit 77", Report::Exited(77), "");
        check("kill -9 $$", Report::Killed(9), "");
        check("kill -TERM $$", Report::Killed(15), "");
        check("(sleep 0 &) ; exit 3", Report::Exited(3), "");
    }

    #[test]
    fn only_the_standard_descriptors_are_open() {
        let script = "for fd in /proc/self/fd/*; do [ -e $fd ] && echo ${fd##*/}; done";
        check(script, Report::Exited(1), "0\n1\n2\n");
    }

    #[test]
    fn what_fails_is_named() {
        let missing = CString::new("/nonexistent").expect("because it holds no NUL");
        let preparation = vec![Action::NewSession, Action::ChangeDirectory(missing.clone())];
        let (reports, _) = outcome(preparation, Some(program("true")));
        assert_eq!(reports[0], Report::Failed(Phase::Preparation, 1, Errno::NOENT));
        let absent = Program { paths: vec![missing], argv: Vec::new(), env: Vec::new() };
        let (reports, _) = outcome(Vec::new(), Some(absent));
        assert_eq!(reports[0], Report::NotExecuted(Errno::NOENT));
        let (reports, _) = outcome(vec![Action::NewSession], None);
        assert_eq!(reports, [Report::Exited(0)]);
    }

    #[test]
    fn an_optional_action_and_the_second_way_count() {
        let missing = Action::ChangeDirectory(c"/nonexistent".to_owned());
        let root = Action::ChangeDirectory(c"/".to_owned());
        let preparation =
            vec![missing.clone().optional(), Action::Any(vec![vec![missing], vec![root]])];
        let (reports, text) = outcome(preparation, Some(program("pwd")));
        assert_eq!((reports.as_slice(), text.as_str()), ([Report::Exited(0)].as_slice(), "/\n"));
    }

    #[test]
    fn dropping_ends_the_program() {
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, 0o0.into());
        let null = null.expect("because every machine has it");
        let (from, to) = rustix::pipe::pipe().expect("because a pipe can be had");
        let spec = Spec {
            namespaces: UnshareFlags::empty(),
            surroundings: vec![Action::BecomeSubreaper],
            preparation: vec![Action::NewSession, Action::DieWithParent],
            program: Some(program("echo started; exec sleep 1000")),
        };
        let stdio = [null.as_fd(), to.as_fd(), null.as_fd()];
        let child = spawn(&spec, stdio).expect("because a process can be started");
        drop(to);
        let mut from = std::fs::File::from(from);
        let mut line = [0; 8];
        from.read_exact(&mut line).expect("because the program prints it");
        drop(child);
        // The end of the pipe is the end of the last process that holds it.
        assert_eq!(from.read(&mut line).expect("because it is open"), 0);
    }
}
