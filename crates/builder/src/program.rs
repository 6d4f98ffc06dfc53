//! RUN: who runs it, in which environment, and what it changed.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use plan::{RunNetwork, RunOp, RunSecurity};
use rootfs::{Account, RootDir, RootPath};
use run::{
    ActiveRoot, Confinement, DeviceRequest, Exit, Identity, Invocation, Network, Rights, Script,
    Stream,
};
use snapshot::ScanOptions;
use sys::Secret;

use crate::error::StepError;
use crate::event::{Event, StageName};
use crate::mounts::{Origins, StepMounts};
use crate::stage::{Current, Executor, Outcome};

/// Lines of a failing command that the error keeps.
const TAIL: usize = 40;
/// The longest line that is kept of them.
const TAIL_LINE: usize = 2000;
/// How long a step may take to end once it is asked to.
const GRACE: Duration = Duration::from_secs(2);

impl<'a> Executor<'a> {
    /// Runs the program, then writes what it changed as a layer.
    pub(crate) fn run(
        &self,
        current: &mut Current<'a>,
        run: &RunOp,
        origins: &Origins,
    ) -> Result<Outcome, StepError> {
        let root = self.root(current)?;
        if origins.read_a_stage && root.moves_mounts() {
            // This stage was parked meanwhile, and renaming moves the ctime of what is at the top.
            current.baseline = None;
        }
        let mounts = self.mounts(&root, run, origins)?;
        let contents = self.contents(current.stage.id);
        let options = |threads| ScanOptions { threads, protected: &root.protected, contents };
        let before = match current.baseline.take() {
            Some(baseline) => baseline,
            None => snapshot::scan(&root.dir, &options(self.cores.share().threads))?,
        };
        self.execute(&current.name, &root, run, mounts)?;
        // Taken anew: while the program ran, other stages had use for the threads.
        let share = self.cores.share();
        let (changes, after) = snapshot::diff(&root.dir, before, &options(share.threads))?;
        drop(share);
        current.baseline = Some(after);
        self.seal(&root.dir, &changes, &root.protected)
    }

    fn execute(
        &self,
        stage: &StageName,
        root: &ActiveRoot,
        run: &RunOp,
        mut given: StepMounts,
    ) -> Result<(), StepError> {
        let account = account(&root.dir, &run.user)?;
        let invocation = Invocation {
            argv: run.argv.clone(),
            env: environment(run, &account, &given.env)?,
            cwd: working_directory(&root.dir, &run.cwd)?,
            identity: identity(run, &account),
            hostname: run.hostname.clone(),
            script: run.script.as_ref().map(|script| Script {
                name: script.name.clone(),
                content: script.content.clone().into_bytes(),
            }),
            mounts: std::mem::take(&mut given.mounts),
            confinement: confinement(run),
            grace: GRACE,
            timeout: self.request.command_timeout,
        };
        let program = run.argv.join(" ");
        let mut tail = Tail::default();
        let mut output = |stream: Stream, lines: &[u8]| {
            let mut lines = mask(lines, &given.secrets).into_owned();
            if lines.last() != Some(&b'\n') {
                lines.push(b'\n');
            }
            tail.keep(&lines);
            let (stage, stderr) = (stage.clone(), stream == Stream::Stderr);
            self.observer.observe(&Event::Output { stage, stderr, lines });
        };
        let killed_before = run::memory_kills();
        let exit = self
            .isolation
            .run(root, &invocation, &mut output, self.stop)
            .map_err(|source| StepError::Run { program: program.clone(), source })?;
        match exit {
            Exit::Code(0) => Ok(()),
            Exit::Code(_) | Exit::Signal(_) | Exit::TimedOut(_) => {
                let tail = tail.into_lines();
                let reason = self.reason(&tail, run::memory_kills() > killed_before);
                Err(StepError::Exit { program, exit, tail, reason })
            }
        }
    }

    /// What around the program may have made it fail.
    fn reason(&self, tail: &[String], killed: bool) -> Option<String> {
        if killed {
            return Some(
                "the kernel killed a process for want of memory while the command ran: look at \
                 the pod's memory limit"
                    .to_owned(),
            );
        }
        let told = |line: &String| line.contains("Invalid argument");
        let narrow = self.isolation.owners() != run::Owners::All;
        (narrow && tail.iter().any(told)).then(|| {
            let owners = self.isolation.owners_reason();
            format!("if the command wants a user or group that cannot be had here: {owners}")
        })
    }
}

/// The last lines of a program.
#[derive(Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
}

impl Tail {
    /// Takes the last of these, in place of earlier ones.
    fn keep(&mut self, lines: &[u8]) {
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        let last: Vec<_> = lines.rsplit(|byte| *byte == b'\n').take(TAIL).collect();
        let left = TAIL.saturating_sub(last.len());
        self.lines.drain(..self.lines.len().saturating_sub(left));
        let last = last.into_iter().rev().map(|line| line[..line.len().min(TAIL_LINE)].to_vec());
        self.lines.extend(last);
    }

    fn into_lines(self) -> Vec<String> {
        self.lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

fn account(root: &RootDir, user: &str) -> Result<Account, StepError> {
    let spec = if user.is_empty() { "0" } else { user };
    root.accounts()
        .and_then(|accounts| accounts.identify(spec))
        .map_err(|source| StepError::User { user: spec.to_owned(), source })
}

/// Whoever is named is also listed in the supplementary groups with the primary one, as container
/// runtimes do, so that giving up the primary group does not gain rights.
fn identity(run: &RunOp, account: &Account) -> Identity {
    let mut groups = Vec::new();
    if !run.user.is_empty() {
        groups.push(account.gid);
        groups.extend(account.groups.iter().filter(|group| **group != account.gid));
    }
    Identity { uid: account.uid, gid: account.gid, groups }
}

/// How closely the step is held. What needs the operator's leave got it when the plan was made.
fn confinement(run: &RunOp) -> Confinement {
    let device = |device: &plan::Device| DeviceRequest {
        name: device.name.clone(),
        required: device.required,
    };
    Confinement {
        network: match run.network {
            RunNetwork::None => Network::None,
            RunNetwork::Default | RunNetwork::Host => Network::Shared,
        },
        rights: match run.security {
            RunSecurity::Sandbox => Rights::Container,
            RunSecurity::Insecure => Rights::Builder,
        },
        devices: run.devices.iter().map(device).collect(),
    }
}

/// The plan's variables, the proxy settings, HOME unless it is set, and what mounts give.
fn environment(
    run: &RunOp,
    account: &Account,
    given: &[(String, Secret)],
) -> Result<Vec<(String, String)>, StepError> {
    let mut env = run.env.clone();
    for (name, value) in &run.proxy {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.clone(), value.clone()));
        }
    }
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".to_owned(), account.home.clone()));
    }
    for (name, secret) in given {
        let value = secret.expose_str().ok_or_else(|| StepError::SecretText(name.clone()))?;
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.to_owned()));
    }
    Ok(env)
}

/// Shorter secrets are not masked: their text stands everywhere.
const SHORTEST_MASKED: usize = 6;

/// Lines without the secrets that the step was given, whatever the step meant by printing them.
fn mask<'l>(lines: &'l [u8], secrets: &[Secret]) -> Cow<'l, [u8]> {
    let mut masked = Cow::Borrowed(lines);
    let texts = secrets.iter().flat_map(|secret| secret.expose().split(|byte| *byte == b'\n'));
    for text in texts {
        let text = text.trim_ascii();
        if text.len() >= SHORTEST_MASKED
            && let Some(replaced) = without(&masked, text)
        {
            masked = Cow::Owned(replaced);
        }
    }
    masked
}

/// The lines with stars in each place of the text; nothing if it is in none.
fn without(lines: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let find = |rest: &[u8]| rest.windows(text.len()).position(|window| window == text);
    let mut at = find(lines)?;
    let (mut replaced, mut rest) = (Vec::with_capacity(lines.len()), lines);
    loop {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(b"***");
        rest = &rest[at + text.len()..];
        let Some(next) = find(rest) else { break };
        at = next;
    }
    replaced.extend_from_slice(rest);
    Some(replaced)
}

/// The directory a step starts in; it is made if a base image names one that it does not hold.
fn working_directory(root: &RootDir, cwd: &str) -> Result<RootPath, StepError> {
    let failed = |source| StepError::Workdir { path: cwd.to_owned(), source };
    let path = RootPath::new(cwd).map_err(failed)?;
    let place = root.resolve_existing(&path).map_err(failed)?;
    root.create_dir_all(&place, 0o755).map_err(failed)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let check = |blocks: &[&str], expected: &[&str]| {
            let mut tail = Tail::default();
            for block in blocks {
                tail.keep(block.as_bytes());
            }
            assert_eq!(tail.into_lines(), expected);
        };
        let numbers = |range: std::ops::Range<usize>| range.map(|n| format!("{n}\n"));
        let last: Vec<String> = (10..10 + TAIL).map(|number| number.to_string()).collect();
        let last: Vec<&str> = last.iter().map(String::as_str).collect();
        check(&[], &[]);
        check(&["a\n\nb\n", "c\n"], &["a", "", "b", "c"]);
        check(&["a\n", "\n"], &["a", ""]);
        check(&[&numbers(0..10 + TAIL).collect::<String>()], &last);
        let one_by_one: Vec<String> = numbers(0..10 + TAIL).collect();
        check(&one_by_one.iter().map(String::as_str).collect::<Vec<_>>(), &last);
        let long = "x".repeat(TAIL_LINE + 1);
        check(&[&format!("{long}\n")], &[&long[..TAIL_LINE]]);
    }

    #[test]
    fn secrets_are_masked_in_what_a_step_prints() {
        let check = |line: &str, expected: &str| {
            let secrets = [Secret::from("hunter2\nsecond line\n"), Secret::from("x")];
            assert_eq!(mask(line.as_bytes(), &secrets), expected.as_bytes());
        };
        check("password: hunter2, again hunter2.", "password: ***, again ***.");
        check("the second line", "the ***");
        check("hunter2\nsecond line\nhunter2", "***\n***\n***");
        check("hunter", "hunter");
        check("x marks the spot", "x marks the spot");
        check("", "");
    }
}
