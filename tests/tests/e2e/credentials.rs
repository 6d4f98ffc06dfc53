//! A registry that wants a password: every place that one is found in, and what a step sees of it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Error, Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Finished, Lab, Tool};
use testkit::registry::{Registry, USER};

use crate::pods::{run_in, with_context};
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("credentials::every_place_they_are_found_in", places),
        root_test("credentials::what_an_image_brings_is_never_asked", planted),
    ]
}

/// What a place is filled with, and the variables that lead to it.
type Fill = fn(&Path, &str) -> Result<Variables>;
type Variables = Vec<(String, String)>;

/// Places and what comes of a push and a pull with them.
const PLACES: &[(&str, Fill, &[&str])] = &[
    ("docker-config", docker_config, &[]),
    ("home", home, &[]),
    ("podman", podman, &[]),
    ("inline", inline, &[]),
    ("helper", helper, &[]),
    ("variables", variables, &[]),
    ("gitlab", gitlab, &[]),
    ("nothing", |_, _| Ok(Vec::new()), &["asks for credentials (Basic), and none are configured"]),
    ("wrong", wrong, &["401", "UNAUTHORIZED"]),
    ("broken", broken, &["config.json` is no docker config: line 1, column "]),
];

/// A step that looks for what the builder was given.
const STEP: &str =
    "! env | grep -e AUTH -e KANIKO -e CI_ && ! grep -rs 'word' /kaniko /root/.docker";

fn places(lab: &Arc<Lab>) -> Result<()> {
    let registry = Registry::start_with_password().map_err(Error::msg)?;
    let host = registry.host();
    for (name, fill, refusal) in PLACES {
        let directory = lab.scratch(&format!("credentials-{name}"))?;
        let variables = fill(&directory, &host)?;
        let build = |from: &str, step: &str| -> Result<Finished> {
            let text = format!("FROM {from}\n{step}");
            let build = lab.build(&format!("place-{name}"))?.dockerfile(&text)?;
            let build = build.arg(format!("--destination={host}/app/{name}:v1"));
            let command: Tool = build.command().env("HOME", directory.join("home"));
            let given = |command: Tool, (name, value): &(String, String)| command.env(name, value);
            variables.iter().fold(command, given).finish()
        };
        let base = format!("{}/busybox", lab.host());
        let pushed = build(&base, &format!("RUN {STEP}\nRUN echo {name} > /x\n"))?;
        ensure!(!pushed.stderr.contains(USER.1), "{name}: {}", pushed.stderr);
        if refusal.is_empty() {
            ensure!(pushed.code == Some(0), "{name}: {}", pushed.stderr);
            let pulled = build(&format!("{host}/app/{name}:v1"), "RUN test -e /x\n")?;
            ensure!(pulled.code == Some(0), "{name}: {}", pulled.stderr);
            continue;
        }
        ensure!(pushed.code == Some(1), "{name}: {}", pushed.stderr);
        for text in *refusal {
            ensure!(pushed.stderr.contains(text), "{name}: no `{text}` in {}", pushed.stderr);
        }
    }
    Ok(())
}

fn config(host: &str, user: &str, password: &str) -> String {
    format!(
        "{{\"auths\": {{\"{host}\": {{\"username\": \"{user}\", \"password\": \"{password}\"}}}}}}"
    )
}

fn right(host: &str) -> String {
    config(host, USER.0, USER.1)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::write(path, text)?)
}

fn in_docker_config(directory: &Path, text: &str) -> Result<Variables> {
    write(&directory.join("docker/config.json"), text)?;
    Ok(vec![("DOCKER_CONFIG".to_owned(), directory.join("docker").display().to_string())])
}

fn docker_config(directory: &Path, host: &str) -> Result<Variables> {
    in_docker_config(directory, &right(host))
}

fn wrong(directory: &Path, host: &str) -> Result<Variables> {
    in_docker_config(directory, &config(host, USER.0, "an old one"))
}

fn broken(directory: &Path, _: &str) -> Result<Variables> {
    in_docker_config(directory, "no JSON")
}

fn home(directory: &Path, host: &str) -> Result<Variables> {
    write(&directory.join("home/.docker/config.json"), &right(host))?;
    Ok(Vec::new())
}

fn podman(directory: &Path, host: &str) -> Result<Variables> {
    write(&directory.join("auth.json"), &right(host))?;
    Ok(vec![("REGISTRY_AUTH_FILE".to_owned(), directory.join("auth.json").display().to_string())])
}

fn inline(_: &Path, host: &str) -> Result<Variables> {
    Ok(vec![("DOCKER_AUTH_CONFIG".to_owned(), right(host))])
}

fn helper(directory: &Path, host: &str) -> Result<Variables> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = directory.join("bin/docker-credential-test");
    let answer = format!("{{\"Username\": \"{}\", \"Secret\": \"{}\"}}", USER.0, USER.1);
    write(
        &program,
        &format!("#!/bin/sh\ntest \"$1\" = get && cat > /dev/null && echo '{answer}'\n"),
    )?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let helpers = format!("{{\"credHelpers\": {{\"{host}\": \"test\"}}}}");
    let mut variables = in_docker_config(directory, &helpers)?;
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", directory.join("bin").display());
    variables.push(("PATH".to_owned(), path));
    Ok(variables)
}

fn variables(_: &Path, host: &str) -> Result<Variables> {
    let name = |what: &str| format!("KANIKO_{}_{what}", host.replace([':', '.'], "_"));
    Ok(vec![(name("USER"), USER.0.to_owned()), (name("PASSWORD"), USER.1.to_owned())])
}

fn gitlab(_: &Path, host: &str) -> Result<Variables> {
    Ok(vec![
        ("CI_REGISTRY".to_owned(), host.to_owned()),
        ("CI_REGISTRY_USER".to_owned(), USER.0.to_owned()),
        ("CI_REGISTRY_PASSWORD".to_owned(), USER.1.to_owned()),
    ])
}

/// In place, an image's files lie where the container's were: its program has the name that the
/// builder's config asks for, and its config is where the builder's might have been.
fn planted(lab: &Arc<Lab>) -> Result<()> {
    let registry = Registry::start_with_password().map_err(Error::msg)?;
    let host = registry.host();
    let answer = format!("{{\"Username\": \"{}\", \"Secret\": \"{}\"}}", USER.0, USER.1);
    let program = format!("#!/bin/sh\ntouch /asked\ncat > /dev/null\necho '{answer}'\n");
    let check = |name: &str, config: Option<&str>| -> Result<()> {
        let text = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nCOPY --chmod=755 program \
                    /usr/local/bin/docker-credential-planted\nCOPY config.json \
                    /root/.docker/config.json\nRUN true\n";
        let build = lab.build(name)?.dockerfile(text)?.file("program", &program)?;
        let build = build.file("config.json", right(&host))?.arg("--skip-push-permission-check");
        let build = build.arg(format!("--destination={host}/app/{name}:v1"));
        let pod = with_context(&build, Pod::new(lab, name, Seccomp::Default)?);
        let pod = match config {
            Some(text) => pod.file("kaniko/.docker/config.json", text)?,
            None => pod,
        };
        let pod = pod.variable("DOCKER_CONFIG", "/kaniko/.docker");
        let outcome = run_in(build, &pod)?;
        outcome.failed(1, &["asks for credentials (Basic), and none are configured"])?;
        ensure!(outcome.finished.stderr.contains("isolation in-place"), "{}", outcome.text());
        let files = pod.files()?;
        ensure!(files.contains_key("/root/.docker/config.json"), "the image is not in place");
        ensure!(!files.contains_key("/asked"), "a program of the image ran: {}", outcome.text());
        Ok(())
    };
    check("planted-config", None)?;
    check("planted-program", Some(r#"{"credsStore": "planted"}"#))
}
