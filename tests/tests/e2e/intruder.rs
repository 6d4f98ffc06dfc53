//! A hostile step (`tests/data/intruder.c`) on every rung: what it reaches is exactly what
//! `docs/security.md` says remains.
//!
//! Text is planted wherever something of the builder's is; the step looks for all of it in every way
//! it knows. It also looks at an ordinary process of its own, which shows that its ways work.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Build, Finished, Lab, Outcome, Tool, repository, tool, user};

use crate::archive::{into_archive, read};
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("intruder::as_root_of_the_machine_it_finds_nothing", as_root),
        root_test("intruder::as_an_ordinary_user_it_finds_nothing", as_user),
        root_test("intruder::in_a_pod_with_namespaces_it_finds_nothing", pod_namespaces),
        root_test("intruder::in_place_it_finds_what_the_docs_say", pod_in_place),
    ]
}

/// What planted text begins with; its kind follows. `intruder.c` knows the same.
const MARK: &str = "k4n4ry-";

/// Variables of the builder, each with a secret.
const VARIABLES: &[&str] = &[
    "DOCKER_AUTH_CONFIG",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "GOOGLE_CREDENTIALS",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN",
    "IDENTITY_HEADER",
    "AZURE_STORAGE_ACCESS_KEY",
    "CI_REGISTRY_PASSWORD",
    "KANIKO_EXAMPLE_TEST_PASSWORD",
    "GIT_PASSWORD",
    "GIT_TOKEN",
];

/// Each of these must find the ordinary process.
const CONTROLS: &[&str] = &["environ", "mem", "process_vm_readv", "ptrace", "fd", "task"];

fn planted(kind: &str) -> String {
    format!("{MARK}{kind}-{:08x}", std::process::id())
}

/// A docker config with planted text for a password.
fn docker_config(kind: &str) -> String {
    format!(
        r#"{{"auths":{{"registry.example.test":{{"username":"u","password":"{}"}}}}}}"#,
        planted(kind)
    )
}

/// `{STATE}` is a directory and a planted file in it, as words of the exec form.
const DOCKERFILE: &str = "ARG REGISTRY
FROM ${REGISTRY}/busybox
COPY intruder /intruder
RUN --mount=type=secret,id=early,required cat /run/secrets/early > /dev/null
RUN --mount=type=secret,id=early,env=EARLY,required test -n \"$EARLY\"
RUN --mount=type=secret,id=other,env=OTHER,required test -n \"$OTHER\"
RUN [\"/intruder\", {STATE}]
RUN for d in null zero full random urandom tty; do \
    chmod 600 /dev/$d; chown 65:65 /dev/$d; done 2> /dev/null; true
RUN test \"$(stat -c %a /dev/null /dev/zero /dev/tty | sort -u)\" = 666 || \
    echo found: devices changed
";

/// A build with everything planted that lies in files: a docker config in `home`, a secret in
/// `secrets`, something in `state`.
fn prepare(lab: &Arc<Lab>, name: &str, state: &[&str]) -> Result<Build> {
    let words: Vec<String> = state.iter().map(|path| format!("\"{path}\"")).collect();
    let build = lab.build(name)?.dockerfile(&DOCKERFILE.replace("{STATE}", &words.join(", ")))?;
    let program = build.directory.join("context/intruder");
    tool("cc")
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .arg(repository().join("tests/data/intruder.c"))
        .read()
        .context("the intruder cannot be compiled")?;
    for (file, kind) in [
        ("home/.docker/config.json", "config"),
        ("secrets/early", "secret"),
        ("state/planted", "state"),
    ] {
        let path = build.directory.join(file);
        std::fs::create_dir_all(path.parent().context("a bare name")?)?;
        let config = kind == "config";
        std::fs::write(path, if config { docker_config(kind) } else { planted(kind) })?;
    }
    Ok(build.deadline(Duration::from_secs(180)).arg("--verbosity=trace"))
}

/// What is planted in the environment.
fn variables() -> Vec<(&'static str, String)> {
    let mut variables: Vec<_> =
        VARIABLES.iter().map(|name| (*name, planted("environment"))).collect();
    variables.retain(|(name, _)| *name != "DOCKER_AUTH_CONFIG");
    variables.push(("DOCKER_AUTH_CONFIG", docker_config("environment")));
    variables.push(("OTHER_SECRET", planted("heap")));
    variables
}

fn with_variables(command: Tool) -> Tool {
    variables().into_iter().fold(command, |command, (name, value)| command.env(name, value))
}

/// The program on this machine, with its own state directory.
fn on_the_machine(lab: &Arc<Lab>, name: &str) -> Result<Build> {
    // The directory is known when it is made, and so are the words.
    let build = prepare(lab, name, &[])?;
    let state = build.directory.join("state");
    let words =
        format!("\"{0}\", \"{0}/planted\", \"{1}\"", state.display(), home(&build).display());
    let build = build.dockerfile(&DOCKERFILE.replace("{STATE}", &words))?;
    let secret = build.directory.join("secrets/early");
    let build = build
        .arg(format!("--secret=id=early,src={}", secret.display()))
        .arg("--secret=id=other,env=OTHER_SECRET");
    Ok(into_archive(build))
}

fn home(build: &Build) -> PathBuf {
    build.directory.join("home")
}

fn as_root(lab: &Arc<Lab>) -> Result<()> {
    let before = devices()?;
    let build = on_the_machine(lab, "intruder-root")?;
    let home = home(&build);
    let finished = with_variables(build.command()).env("HOME", home).finish()?;
    judge(build.ended(finished), None)?;
    ensure!(devices()? == before, "the machine's devices were changed: {:?}", devices()?);
    Ok(())
}

fn as_user(lab: &Arc<Lab>) -> Result<()> {
    let before = devices()?;
    let build = on_the_machine(lab, "intruder-user")?;
    let user = user::with_subordinate_ids()?;
    user.own(&build.directory)?;
    let command = build.command_by(user.run(lab.executor())).env("HOME", home(&build));
    let finished = with_variables(command).finish()?;
    judge(build.ended(finished), None)?;
    ensure!(devices()? == before, "the machine's devices were changed: {:?}", devices()?);
    Ok(())
}

/// Mode and owner of the machine's own devices.
fn devices() -> Result<Vec<(u32, u32, u32)>> {
    let names = ["null", "zero", "full", "random", "urandom", "tty"];
    let found = names.map(|name| -> Result<_> {
        let found = rustix::fs::stat(format!("/dev/{name}"))?;
        Ok((found.st_mode, found.st_uid, found.st_gid))
    });
    found.into_iter().collect()
}

fn in_pod(lab: &Arc<Lab>, name: &str, seccomp: Seccomp) -> Result<Outcome> {
    let build = prepare(lab, name, &["/kaniko", "/kaniko/planted", "/kaniko/.docker"])?;
    let at = |path: &str| build.directory.join(path);
    std::fs::create_dir(at("out"))?;
    let mut pod = Pod::new(lab, name, seccomp)?
        .mount(&at("context"), "/workspace", &["ro"])
        .mount(&at("home/.docker"), "/kaniko/.docker", &["ro"])
        .mount(&at("secrets"), "/secrets", &["ro"])
        .mount(&at("out"), "/out", &["rw"]);
    pod.add_file("kaniko/planted", &planted("state"))?;
    for (name, value) in variables() {
        pod = pod.variable(name, &value);
    }
    let mut words = vec!["/kaniko/executor".to_owned(), "--context=/workspace".to_owned()];
    words.extend(build.arguments().into_iter().skip(1));
    words.extend(["--no-push", "--destination=example.test/e2e:latest"].map(str::to_owned));
    words.push("--secret=id=early,src=/secrets/early".to_owned());
    words.push("--secret=id=other,env=OTHER_SECRET".to_owned());
    words.push("--tar-path=/out/image.tar".to_owned());
    let finished = pod.run(&words)?;
    if finished.code == Some(0) {
        std::fs::rename(at("out/image.tar"), at("image.tar"))?;
    }
    Ok(build.ended(finished))
}

fn pod_namespaces(lab: &Arc<Lab>) -> Result<()> {
    let outcome = in_pod(lab, "intruder-namespaces", Seccomp::Unconfined)?;
    judge(outcome, Some("### Without a pid namespace"))
}

fn pod_in_place(lab: &Arc<Lab>) -> Result<()> {
    let outcome = in_pod(lab, "intruder-in-place", Seccomp::Default)?;
    judge(outcome, Some("### In place"))
}

/// What the document lists below a heading: `WAY WHAT` in code at the start of a table's rows.
fn remaining(heading: &str) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(repository().join("docs/security.md"))?;
    let (_, part) = text.split_once(&format!("{heading}\n")).context("no such heading")?;
    let rows = part.lines().take_while(|line| !line.starts_with('#'));
    let code = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    Ok(code.map(str::to_owned).collect())
}

fn judge(outcome: Outcome, heading: Option<&str>) -> Result<()> {
    outcome.succeeded()?;
    let Finished { stdout, stderr, .. } = &outcome.finished;
    let found = stdout.lines().filter_map(|line| line.strip_prefix("found: "));
    let found = found.map(str::to_owned);
    let (controls, found): (BTreeSet<_>, BTreeSet<_>) =
        found.partition(|line| line.ends_with(" control"));
    for way in CONTROLS {
        let control = format!("{way} control");
        ensure!(controls.contains(&control), "`{way}` finds nothing at all: {}", outcome.text());
    }
    let tried = stdout.lines().find_map(|line| line.strip_prefix("tried: ")?.parse().ok());
    ensure!(tried.is_some_and(|tried: u32| tried >= 30), "it tried {tried:?} ways");
    let expected = heading.map_or_else(|| Ok(BTreeSet::new()), remaining)?;
    ensure!(found == expected, "found {found:#?}\nexpected {expected:#?}\n{}", outcome.text());
    ensure!(stderr.contains("defences: "), "the log does not name the defences");
    // What was planted is not in the log, which is as long as can be, nor in the image.
    ensure!(!outcome.text().contains(MARK), "planted text is in the log: {}", outcome.text());
    let archive = read(outcome)?;
    for layer in &archive.image.layers {
        let hit = layer.windows(MARK.len()).any(|window| window == MARK.as_bytes());
        ensure!(!hit, "planted text is in a layer");
    }
    ensure!(!archive.image.config.to_string().contains(MARK), "planted text is in the config");
    Ok(())
}
