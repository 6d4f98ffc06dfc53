//! One run of the executor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::image::PulledImage;
use crate::lab::Lab;
use crate::shell::{Finished, Tool, tool};

/// A build that is being put together. It runs on the `namespaces` rung unless it runs in a pod:
/// nothing here may ever build in place on the machine itself.
#[derive(Debug)]
pub struct Build {
    lab: Arc<Lab>,
    /// The name of the repository it pushes to.
    name: String,
    /// The directory of this build: context, state, outputs.
    pub directory: PathBuf,
    context: PathBuf,
    arguments: Vec<String>,
    deadline: Duration,
}

/// What a build left behind.
#[derive(Debug)]
pub struct Outcome {
    lab: Arc<Lab>,
    name: String,
    /// The directory of the build.
    pub directory: PathBuf,
    /// How the executor ended.
    pub finished: Finished,
}

impl Build {
    pub(crate) fn new(lab: Arc<Lab>, name: &str) -> Result<Self> {
        let directory = lab.scratch(name)?;
        let context = directory.join("context");
        std::fs::create_dir(&context)?;
        let arguments = vec![
            format!("--build-arg=REGISTRY={}", lab.host()),
            "--insecure".to_owned(),
            "--insecure-pull".to_owned(),
            "--log-format=text".to_owned(),
        ];
        let deadline = Duration::from_secs(120);
        Ok(Self { lab, name: name.to_owned(), directory, context, arguments, deadline })
    }

    /// Writes the Dockerfile.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn dockerfile(self, text: &str) -> Result<Self> {
        self.file("Dockerfile", text)
    }

    /// Writes a file of the context.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Result<Self> {
        let path = self.context.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)?;
        Ok(self)
    }

    /// Uses a context that is there.
    #[must_use]
    pub fn context(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.context);
        self
    }

    /// One more argument of the executor.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// How long the executor may run.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The reference it pushes to.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}/e2e/{}:latest", self.lab.host(), self.name)
    }

    /// The executor's arguments without those that say where it runs.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--context={}", self.context.display())];
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }

    /// Pushes the image to the registry as well.
    #[must_use]
    pub fn push(self) -> Self {
        let destination = format!("--destination={}", self.reference());
        self.arg(destination)
    }

    /// The executor with all its arguments, on the `namespaces` rung of this machine.
    #[must_use]
    pub fn command(&self) -> Tool {
        self.command_by(tool(self.lab.executor())).deadline(self.deadline)
    }

    /// The same, started by a tool whose arguments end with the executor.
    #[must_use]
    pub fn command_by(&self, starter: Tool) -> Tool {
        starter
            .args(self.arguments())
            .arg("--isolation=namespaces")
            .arg(format!("--kaniko-dir={}", self.directory.join("state").display()))
            .current_dir(&self.directory)
    }

    /// What a pod starts that has the context at `/workspace`; it finds its rung by itself.
    #[must_use]
    pub fn words_in_pod(&self) -> Vec<String> {
        let own = ["/kaniko/executor", "--context=/workspace"].map(str::to_owned);
        own.into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    /// Runs the executor.
    ///
    /// # Errors
    /// Where it cannot be started, or does not end in time.
    pub fn run(self) -> Result<Outcome> {
        let finished = self.command().finish()?;
        Ok(self.ended(finished))
    }

    /// The outcome of a run that was made in another way.
    #[must_use]
    pub fn ended(self, finished: Finished) -> Outcome {
        Outcome { lab: self.lab, name: self.name, directory: self.directory, finished }
    }

    /// Pushes, runs, and wants success.
    ///
    /// # Errors
    /// Where the build fails.
    pub fn pushed(self) -> Result<Outcome> {
        let outcome = self.push().run()?;
        outcome.succeeded()?;
        Ok(outcome)
    }
}

impl Outcome {
    /// Wants success.
    ///
    /// # Errors
    /// Where the build failed, with what it wrote.
    pub fn succeeded(&self) -> Result<&Self> {
        ensure!(self.finished.code == Some(0), "the build failed: {}", self.text());
        Ok(self)
    }

    /// Wants a failure with this status and these texts on standard error.
    ///
    /// # Errors
    /// Where the build ended otherwise or says something else.
    pub fn failed(&self, code: i32, texts: &[&str]) -> Result<&Self> {
        ensure!(self.finished.code == Some(code), "status {code} was expected: {}", self.text());
        for text in texts {
            let found = self.finished.stderr.contains(text);
            ensure!(found, "`{text}` is not in what it wrote: {}", self.text());
        }
        Ok(self)
    }

    /// Wants that none of these outputs exists below the build's directory.
    ///
    /// # Errors
    /// Where one does.
    pub fn wrote_none_of(&self, names: &[&str]) -> Result<&Self> {
        for name in names {
            if self.directory.join(name).symlink_metadata().is_ok() {
                bail!("`{name}` was left behind: {}", self.text());
            }
        }
        Ok(self)
    }

    /// The image it pushed, pulled back by skopeo.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn image(&self) -> Result<PulledImage> {
        PulledImage::pull(&self.lab, &format!("e2e/{}:latest", self.name))
    }

    /// The steps that came from the cache, each by the first line of its instruction.
    #[must_use]
    pub fn cached(&self) -> Vec<String> {
        self.told("Using caching version of cmd: ")
    }

    /// The steps that the cache did not have, with what is said of why.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        self.told("No cached layer found for cmd ")
    }

    /// What follows a text in lines of the log.
    fn told(&self, what: &str) -> Vec<String> {
        // Each line of the log is a quoted text.
        let texts = self.finished.stderr.lines().filter_map(|line| line.strip_suffix('"'));
        texts.filter_map(|text| text.split_once(what)).map(|(_, text)| text.to_owned()).collect()
    }

    /// How it ended, for a message.
    #[must_use]
    pub fn text(&self) -> String {
        let Finished { code, signal, stdout, stderr } = &self.finished;
        format!("status {code:?}, signal {signal:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
