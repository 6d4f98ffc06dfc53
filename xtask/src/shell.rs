//! Starting programs, and what all commands ask the machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A program to run.
pub(crate) struct Tool(Command);

/// A program with its arguments to come; it runs in `directory`.
#[allow(clippy::disallowed_methods, reason = "xtask is there to start programs")]
pub(crate) fn tool(directory: &Path, program: impl AsRef<OsStr>) -> Tool {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    Tool(command)
}

/// The cargo that runs this program.
pub(crate) fn cargo(root: &Path) -> Tool {
    tool(root, variable("CARGO").unwrap_or_else(|| "cargo".to_owned()))
}

/// An environment variable, if it is set to something.
#[allow(clippy::disallowed_methods, reason = "xtask reads its own environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Tool {
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    /// Runs it with its output on this terminal; an error if it fails.
    pub(crate) fn run(mut self) -> Result<()> {
        let text = self.text();
        let status = self.0.status().with_context(|| format!("cannot start `{text}`"))?;
        if !status.success() {
            bail!("`{text}` failed: {status}");
        }
        Ok(())
    }

    /// Runs it and gives its standard output; an error with its standard error if it fails.
    pub(crate) fn read(mut self) -> Result<String> {
        let text = self.text();
        let output = self.0.output().with_context(|| format!("cannot start `{text}`"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`{text}` failed: {}\n{errors}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Gives its standard output, while its standard error goes to this terminal.
    pub(crate) fn read_with_errors_shown(mut self) -> Result<String> {
        let text = self.text();
        let output = self.0.stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot start `{text}`"))?;
        if !output.status.success() {
            bail!("`{text}` failed: {}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it with its standard error in a pipe.
    pub(crate) fn spawn_with_errors(mut self) -> Result<std::process::Child> {
        let text = self.text();
        self.0.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start `{text}`"))
    }

    /// The command as a person would type it, shortened.
    fn text(&self) -> String {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let mut text = words.join(" ");
        if text.chars().count() > 120 {
            text = text.chars().take(117).chain("...".chars()).collect();
        }
        text
    }
}

/// The directory of the workspace, found upwards from where the command was given.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    let start = std::env::current_dir().context("the current directory is unknown")?;
    let is_root = |path: &&Path| path.join("xtask/Cargo.toml").is_file();
    let root = start.ancestors().find(is_root).context("not inside the repository")?;
    Ok(root.to_owned())
}

/// Where cargo puts what it builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    variable("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |path| root.join(path))
}

/// Whether the commands run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this is CI, where nothing may be left out.
pub(crate) fn is_ci() -> bool {
    variable("CI").is_some()
}

/// Where a program lies, if it is installed. The directories of the system are searched too, since
/// an ordinary user's PATH often lacks `/usr/sbin`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let directories = std::env::split_paths(&path).chain(system);
    directories.map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Reads a file as text.
#[allow(clippy::disallowed_methods, reason = "files of this repository")]
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file, with its directories.
#[allow(clippy::disallowed_methods, reason = "files of this repository")]
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes a directory and those above it.
#[allow(clippy::disallowed_methods, reason = "directories below target/")]
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// An empty directory below `target`, which must be one that these commands make.
#[allow(clippy::disallowed_methods, reason = "directories below target/")]
pub(crate) fn fresh_directory(path: &Path) -> Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path)
            .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    make_directory(path)
}
