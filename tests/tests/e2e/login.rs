//! `executor login`, and builds with what it left.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use kaniko_tests::{Finished, Lab, wait};
use testkit::registry::{Registry, USER};

use crate::{Test, root_test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("login::a_build_pushes_with_what_it_left", build),
        test("login::the_config_that_is_there_stays", config),
        test("login::a_helper_keeps_the_password", helper),
        test("login::what_cannot_be_done_changes_nothing", refused),
    ]
}

/// `executor login` with a home of its own and something on standard input.
fn login(lab: &Arc<Lab>, home: &Path, input: &str, arguments: &[&str]) -> Result<Finished> {
    let mut child = Command::new(lab.executor())
        .arg("login")
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", format!("{}/bin:/usr/bin:/bin", home.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("because it is piped")?;
    // One that needs no password has ended already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let finished = wait(child, Duration::from_secs(30))?;
    let told = format!("{}{}", finished.stdout, finished.stderr);
    ensure!(!told.contains(USER.1), "the password is told: {told}");
    Ok(finished)
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn mode(path: &Path) -> Result<u32> {
    Ok(path.metadata()?.permissions().mode() & 0o7777)
}

fn build(lab: &Arc<Lab>) -> Result<()> {
    let registry = Registry::start_with_password().map_err(Error::msg)?;
    let host = registry.host();
    let home = lab.scratch("login")?;
    let base = format!("{}/busybox", lab.host());
    let push = || {
        let build = lab.build("login")?.dockerfile(&format!("FROM {base}\nRUN echo > /x\n"))?;
        let build = build.arg(format!("--destination={host}/app:v1"));
        build.command().env("HOME", &home).finish()
    };
    let before = push()?;
    ensure!(before.code == Some(1), "{}", before.stderr);
    let line = [host.as_str(), "--username", USER.0, "--password-stdin"];
    let done = login(lab, &home, &format!("{}\r\n", USER.1), &line)?;
    ensure!(done.code == Some(0), "{}", done.stderr);
    let config = home.join(".docker/config.json");
    let warning = format!("Your credentials are stored unencrypted in '{}'", config.display());
    ensure!(done.stderr.contains(&warning), "{}", done.stderr);
    ensure!(mode(&config)? == 0o600, "{:o}", mode(&config)?);
    ensure!(mode(&home.join(".docker"))? == 0o700);
    let after = push()?;
    ensure!(after.code == Some(0), "{}", after.stderr);
    Ok(())
}

fn config(lab: &Arc<Lab>) -> Result<()> {
    let home = lab.scratch("login")?;
    let (directory, config) = (home.join(".docker"), home.join(".docker/config.json"));
    std::fs::create_dir(&directory)?;
    std::fs::write(&config, r#"{"HttpHeaders": {"X": "y"}, "auths": {"a": {"auth": "YTpi"}}}"#)?;
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644))?;
    let done = login(lab, &home, "", &["docker.io", "-u", "kim", "-p", "word"])?;
    ensure!(done.code == Some(0), "{}", done.stderr);
    ensure!(done.stderr.contains("use --password-stdin"), "{}", done.stderr);
    let expected = "{\n\t\"HttpHeaders\": {\n\t\t\"X\": \"y\"\n\t},\n\t\"auths\": {\n\t\t\"a\": {\n\t\t\t\
                    \"auth\": \"YTpi\"\n\t\t},\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \
                    \"a2ltOndvcmQ=\"\n\t\t}\n\t}\n}\n";
    ensure!(text(&config)? == expected, "{}", text(&config)?);
    ensure!(mode(&config)? == 0o600, "what holds a password is for its owner alone");
    let names: Vec<_> = std::fs::read_dir(&directory)?.flatten().map(|at| at.file_name()).collect();
    ensure!(names == ["config.json"], "nothing is left beside it: {names:?}");
    Ok(())
}

fn helper(lab: &Arc<Lab>) -> Result<()> {
    let home = lab.scratch("login")?;
    std::fs::create_dir_all(home.join(".docker"))?;
    std::fs::create_dir(home.join("bin"))?;
    let program = home.join("bin/docker-credential-own");
    std::fs::write(&program, "#!/bin/sh\ntest \"$1\" = store && cat > \"$HOME/kept\"\n")?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    std::fs::write(home.join(".docker/config.json"), r#"{"credsStore": "own"}"#)?;
    let line = ["reg.example", "-u", "kim", "--password-stdin"];
    let done = login(lab, &home, USER.1, &line)?;
    ensure!(done.code == Some(0), "{}", done.stderr);
    let expected =
        format!(r#"{{"ServerURL":"reg.example","Username":"kim","Secret":"{}"}}"#, USER.1);
    ensure!(text(&home.join("kept"))? == expected, "{}", text(&home.join("kept"))?);
    let config = text(&home.join(".docker/config.json"))?;
    ensure!(config.contains("\"reg.example\": {}"), "{config}");
    Ok(())
}

fn refused(lab: &Arc<Lab>) -> Result<()> {
    let check = |before: &str, arguments: &[&str], expected: &str| -> Result<()> {
        let home = lab.scratch("login")?;
        let config = home.join(".docker/config.json");
        std::fs::create_dir(home.join(".docker"))?;
        std::fs::write(&config, before)?;
        let done = login(lab, &home, "", arguments)?;
        ensure!(done.code == Some(1), "{arguments:?}: {}", done.stderr);
        ensure!(done.stderr.contains(expected), "{arguments:?}: {}", done.stderr);
        ensure!(text(&config)? == before, "{arguments:?}: the config changed");
        Ok(())
    };
    let word = ["reg.example", "-u", "kim", "-p", "word"];
    check("{}", &word[1..], "Error: accepts 1 arg(s), received 0")?;
    check("{}", &word[..3], "Error: a password must be supplied via --password")?;
    check("{}", &["reg.example", "-u", "kim", "--password-stdin"], "password is blank")?;
    check("{}", &["reg.example/team", "-u", "kim", "-p", "word"], "is no registry")?;
    check("no JSON", &word, "is no docker config: line 1")?;
    let store = r#"{"credsStore": "gone"}"#;
    check(store, &word, "docker-credential-gone does not keep the password: it is not on PATH")
}
