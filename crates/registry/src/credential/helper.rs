//! Credential helpers: programs that keep credentials, by docker's protocol. `docker-credential-NAME
//! get` reads the server's name and prints its user and secret as JSON. What one says that fails may
//! hold a secret, so it goes nowhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;
use transport::printable;

use super::Credential;
use super::docker::from_pair;

/// A helper that says nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer is longer.
const ANSWER_LIMIT: u64 = 1 << 20;
/// What helpers say where they know nothing of a server. It is no fault.
const UNKNOWN: [&str; 3] = [
    "credentials not found in native keychain",
    "no credentials server URL",
    "no credentials username",
];

/// The programs, and what they said. Each is asked for each server once, and none any more when an
/// image's files may lie where it lay: see [`Helpers::seal`].
#[derive(Default)]
pub struct Helpers {
    /// All of their environment; `PATH` in it is where they are looked for.
    environment: Vec<(OsString, OsString)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By name and server.
    answers: BTreeMap<(String, String), Option<Credential>>,
    sealed: bool,
}

impl std::fmt::Debug for Helpers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.environment.iter().map(|(name, _)| name)).finish()
    }
}

/// Why a helper did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// There is no such program.
    #[error("it is not on PATH")]
    Missing,
    /// It is too late to run a program.
    #[error("no program is asked once an image's files may lie in its place")]
    Sealed,
    /// It cannot be started.
    #[error("it cannot be started: {0}")]
    Start(std::io::Error),
    /// It takes too long.
    #[error("it did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It says that it failed.
    #[error("it failed ({0}); what it said is not shown")]
    Failed(ExitStatus),
    /// It says something else.
    #[error("its answer is not that of a credential helper")]
    Answer,
    /// It gives a secret of another server.
    #[error("it answers for another server, `{0}`")]
    OtherServer(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default, rename = "ServerURL")]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What a program that has ended left.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Helpers {
    /// Programs with this environment; `PATH` in it is where they are looked for.
    #[must_use]
    pub fn new(environment: Vec<(OsString, OsString)>) -> Self {
        Self { environment, state: Mutex::default() }
    }

    /// From now on no program is run. In place, an image's files replace those of the container: what
    /// is found on `PATH` then, or what it is linked with, is the image's.
    pub(crate) async fn seal(&self) {
        self.state.lock().await.sealed = true;
    }

    /// What the helper of this name knows of a server.
    pub(crate) async fn get(
        &self,
        name: &str,
        server: &str,
    ) -> Result<Option<Credential>, HelperError> {
        self.get_within(PATIENCE, name, server).await
    }

    async fn get_within(
        &self,
        patience: Duration,
        name: &str,
        server: &str,
    ) -> Result<Option<Credential>, HelperError> {
        let key = (name.to_owned(), server.to_owned());
        let mut state = self.state.lock().await;
        if let Some(answer) = state.answers.get(&key) {
            return Ok(answer.clone());
        }
        if state.sealed {
            return Err(HelperError::Sealed);
        }
        let answer = self.ask(patience, name, server).await?;
        state.answers.insert(key, answer.clone());
        Ok(answer)
    }

    async fn ask(
        &self,
        patience: Duration,
        name: &str,
        server: &str,
    ) -> Result<Option<Credential>, HelperError> {
        let ended = self.exchange(patience, name, "get", server.as_bytes()).await?;
        if ended.status.success() {
            return parse(&ended.output, server);
        }
        let said = [&ended.output[..], &ended.errors[..]].map(String::from_utf8_lossy);
        if UNKNOWN.iter().any(|text| said.iter().any(|said| said.contains(text))) {
            return Ok(None);
        }
        Err(HelperError::Failed(ended.status))
    }

    /// Gives the helper of this name a password to keep.
    ///
    /// # Errors
    /// Where it does not keep it.
    pub async fn store(
        &self,
        name: &str,
        server: &str,
        user: &str,
        password: &str,
    ) -> Result<(), HelperError> {
        let text = json!({"ServerURL": server, "Username": user, "Secret": password}).to_string();
        let ended = self.exchange(PATIENCE, name, "store", text.as_bytes()).await?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(HelperError::Failed(ended.status)),
        }
    }

    /// The program, in the directories of `PATH`.
    fn find(&self, program: &str) -> Option<std::path::PathBuf> {
        let path =
            self.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path)?;
        std::env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(program))
            .find(|candidate| candidate.is_file())
    }

    /// Runs a helper to its end, or until patience ends.
    async fn exchange(
        &self,
        patience: Duration,
        name: &str,
        action: &str,
        input: &[u8],
    ) -> Result<Ended, HelperError> {
        let program =
            self.find(&format!("docker-credential-{name}")).ok_or(HelperError::Missing)?;
        let run = self.run(&program, action, input);
        let ended = tokio::time::timeout(patience, run).await;
        ended.map_err(|_| HelperError::Silent(patience))?.map_err(HelperError::Start)
    }

    #[allow(clippy::disallowed_methods, reason = "credential helpers are programs")]
    async fn run(
        &self,
        program: &std::path::Path,
        action: &str,
        text: &[u8],
    ) -> std::io::Result<Ended> {
        let mut child = tokio::process::Command::new(program)
            .arg(action)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that knows without being asked may have closed it already.
            let _ = input.write_all(text).await;
        }
        let (output, errors) =
            tokio::try_join!(read(child.stdout.take()), read(child.stderr.take()))?;
        let status = child.wait().await?;
        Ok(Ended { status, output, errors })
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(ANSWER_LIMIT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn parse(output: &[u8], server: &str) -> Result<Option<Credential>, HelperError> {
    let answer: Answer = serde_json::from_slice(output).map_err(|_| HelperError::Answer)?;
    if !answer.server.is_empty() && host(&answer.server) != host(server) {
        return Err(HelperError::OtherServer(printable(&answer.server, 100)));
    }
    let known = !answer.username.is_empty() && !answer.secret.is_empty();
    Ok(known.then(|| from_pair(answer.username, answer.secret)))
}

/// The host of a server's name, with its port.
fn host(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write programs")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Helpers of which one is named `test`, in a directory that goes with the scratch root.
    fn helpers(script: &str) -> (testkit::ScratchRoot, Helpers) {
        let scratch = testkit::ScratchRoot::new();
        let text = scratch.path().join("script");
        std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).expect("because it is writable");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&text, mode).expect("because it is ours");
        // No program can be started that somebody has open for writing, and what this process has open
        // is open for a moment in whatever another test is just starting. So cp writes it.
        let program = scratch.path().join("docker-credential-test");
        let copied = std::process::Command::new("cp").arg("-p").arg(&text).arg(&program).status();
        assert!(copied.is_ok_and(|status| status.success()), "cp failed");
        let path = format!("relative::{}:/usr/bin:/bin", scratch.path().display());
        let place = scratch.path().display().to_string();
        let environment = [("PATH", path.as_str()), ("GIVEN", "given"), ("PLACE", place.as_str())]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        (scratch, Helpers::new(environment.to_vec()))
    }

    async fn check_within(patience: Duration, script: &str, expected: &str) {
        let (_scratch, helpers) = helpers(script);
        let found = match helpers.get_within(patience, "test", "reg.example").await {
            Ok(Some(Credential::Password { user, password })) => format!("{user}:{password}"),
            Ok(Some(Credential::Identity(token))) => format!("identity {token}"),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{script}");
    }

    async fn check(script: &str, expected: &str) {
        check_within(PATIENCE, script, expected).await;
    }

    #[tokio::test]
    async fn helpers_are_asked_by_dockers_protocol() {
        let answer = r#"printf '{"ServerURL":"%s","Username":"u%s%s","Secret":"s"}' "$server""#;
        check(&format!("server=$(cat); {answer} \"$1\" \"$GIVEN\""), "ugetgiven:s").await;
        check(r#"echo '{"Username":"<token>","Secret":"t"}'"#, "identity t").await;
        check(r#"echo '{"Username":"","Secret":""}'"#, "None").await;
        check("echo credentials not found in native keychain; exit 1", "None").await;
        let failed = "it failed (exit status: 3); what it said is not shown";
        check("echo s3cret >&2; echo s3cret; exit 3", failed).await;
        let other =
            r#"echo '{"ServerURL":"https://evil.example/v2/","Username":"u","Secret":"s"}'"#;
        check(other, "it answers for another server, `https://evil.example/v2/`").await;
        let same = r#"echo '{"ServerURL":"https://reg.example/v2/","Username":"u","Secret":"s"}'"#;
        check(same, "u:s").await;
        check("echo s3cret", "its answer is not that of a credential helper").await;
        check("env | grep -q HOME && exit 9; echo '{}'", "None").await;
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there() {
        let error = Helpers::default().get("none", "r").await.expect_err("there is no PATH");
        assert_eq!(error.to_string(), "it is not on PATH");
    }

    /// One that talks without end is cut off, one that says nothing is not waited for.
    #[tokio::test]
    async fn helpers_without_end() {
        let cut = "it failed (signal: 13 (SIGPIPE)); what it said is not shown";
        check("exec cat /dev/zero", cut).await;
        let silent = "it did not answer within 0 s";
        check_within(Duration::from_millis(300), "exec tail -f /dev/null", silent).await;
        // Its input may be a pipe that it never reads.
        check_within(Duration::from_millis(300), "exec <&-; exec tail -f /dev/null", silent).await;
    }

    #[tokio::test]
    async fn a_password_is_given_away_by_dockers_protocol() {
        let (scratch, helpers) = helpers("test \"$1\" = store && cat > \"$PLACE/stored\"");
        helpers.store("test", "reg.example", "kim", "a\"b").await.expect("because it succeeds");
        let stored = std::fs::read_to_string(scratch.path().join("stored")).expect("it is there");
        assert_eq!(stored, r#"{"ServerURL":"reg.example","Username":"kim","Secret":"a\"b"}"#);
        let (_scratch, helpers) = self::helpers("cat; exit 1");
        let error = helpers.store("test", "r", "kim", "s3cret").await.expect_err("it fails");
        assert_eq!(error.to_string(), "it failed (exit status: 1); what it said is not shown");
    }

    /// What is found on `PATH` after that may be an image's.
    #[tokio::test]
    async fn nothing_is_run_behind_the_seal() {
        let script = "cat >> \"$PLACE/asked\"; echo '{\"Username\": \"u\", \"Secret\": \"s\"}'";
        let (scratch, helpers) = helpers(script);
        helpers.get("test", "early").await.expect("because it answers");
        helpers.seal().await;
        let known = helpers.get("test", "early").await.expect("because it is known");
        assert!(known.is_some());
        let error = helpers.get("test", "late").await.expect_err("it is too late");
        assert_eq!(
            error.to_string(),
            "no program is asked once an image's files may lie in its place"
        );
        let asked = std::fs::read_to_string(scratch.path().join("asked")).expect("it is there");
        assert_eq!(asked, "early", "each is asked once");
    }
}
