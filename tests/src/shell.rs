//! Starting programs with a deadline.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A program to run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    deadline: Duration,
}

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit status, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A program with an environment of `PATH` and `HOME` only.
#[must_use]
pub fn tool(program: impl AsRef<OsStr>) -> Tool {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .stdin(Stdio::null());
    Tool { command, deadline: Duration::from_secs(180) }
}

impl Tool {
    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// A variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn current_dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// How long it may run.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Its standard output, as text.
    ///
    /// # Errors
    /// Where it fails, with its standard error.
    pub fn read(self) -> Result<String> {
        let name = format!("{:?}", self.command);
        let finished = self.finish()?;
        if finished.code != Some(0) {
            bail!("{name} failed ({:?}): {}", finished.code, finished.stderr);
        }
        Ok(finished.stdout)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Where it cannot be started, or does not end in time.
    pub fn finish(self) -> Result<Finished> {
        let deadline = self.deadline;
        wait(self.spawn()?, deadline)
    }

    /// Starts it, in a process group of its own.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(mut self) -> Result<Child> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let name = format!("{:?}", self.command.get_program());
        self.command.spawn().with_context(|| format!("cannot start {name}"))
    }

    /// As [`spawn`](Self::spawn), with both streams in one pipe, which counts as standard output.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn_joined(mut self) -> Result<Child> {
        let (reader, writer) = std::io::pipe()?;
        self.command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let name = format!("{:?}", self.command.get_program());
        let mut child = self.command.spawn().with_context(|| format!("cannot start {name}"))?;
        child.stdout = Some(OwnedFd::from(reader).into());
        Ok(child)
    }
}

/// Waits for a program that was started.
///
/// # Errors
/// Where it does not end in time; it and its process group are killed then.
pub fn wait(mut child: Child, deadline: Duration) -> Result<Finished> {
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let end = Instant::now() + deadline;
    let status = loop {
        if let Some(status) = child.try_wait().context("the program is gone")? {
            break status;
        }
        if Instant::now() > end {
            kill_group(&child);
            let _ = child.wait();
            let text = stderr.join().unwrap_or_default();
            bail!("did not end within {} s; it wrote:\n{text}", deadline.as_secs());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    Ok(Finished {
        code: status.code(),
        signal: status.signal(),
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

fn reader<R: std::io::Read + Send + 'static>(stream: Option<R>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Polls until a condition holds.
///
/// # Errors
/// Where it does not hold within ten seconds; `what` says what was waited for.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        if Instant::now() > end {
            bail!("{what}: not within ten seconds");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}
