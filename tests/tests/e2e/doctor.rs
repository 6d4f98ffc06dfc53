//! `executor doctor` on the machine and in pods: what it says, and that a build then does so.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Finished, Lab, tool};
use testkit::http_server::{HttpServer, Page};

use crate::pods::{run_in, with_context};
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("doctor::on_a_host_it_leaves_nothing_behind", host),
        root_test("doctor::a_registry_that_takes_nothing_is_named", refused),
        root_test("doctor::it_takes_the_rung_that_a_build_takes", pods),
    ]
}

/// The doctor on this machine, asked about these destinations.
fn on_host(lab: &Arc<Lab>, state: &Path, destinations: &[&str]) -> Result<Finished> {
    tool(lab.executor())
        .args(["doctor", "--isolation=namespaces"])
        .arg(format!("--kaniko-dir={}", state.display()))
        .args(destinations.iter().map(|name| format!("--destination={name}")))
        .finish()
}

fn says(finished: &Finished, code: i32, lines: &[&str]) -> Result<()> {
    ensure!(finished.code == Some(code), "status {code} was expected: {finished:?}");
    for line in lines {
        let found = finished.stdout.lines().any(|found| found.starts_with(line));
        ensure!(found, "no line begins with `{line}`:\n{}", finished.stdout);
    }
    Ok(())
}

fn host(lab: &Arc<Lab>) -> Result<()> {
    let destination = format!("{}/doctor/asked:v1", lab.host());
    let finished = on_host(lab, &lab.scratch("doctor")?.join("state"), &[&destination])?;
    says(
        &finished,
        0,
        &[
            "user: 0:0",
            "capabilities: CHOWN ",
            "container: no: ",
            "memory: ",
            "isolation: namespaces: CAP_SYS_ADMIN; each step has a new /proc",
            "state directory: `",
            &format!("registry `{}`: answers at http://", lab.host()),
            &format!("push to `{destination}`: allowed"),
            "a build can run",
        ],
    )?;
    // The upload that was opened was cancelled, and the registry knows it no more.
    let requests = lab.registry().requests();
    let mut cancelled =
        requests.iter().filter_map(|line| line.strip_prefix("DELETE /v2/doctor/asked"));
    let upload = cancelled.next_back().and_then(|line| line.strip_suffix(" 204"));
    let upload = upload.context("no upload was cancelled")?;
    let known = lab.registry().get(&format!("/v2/doctor/asked{upload}"));
    let (status, _) = known.map_err(anyhow::Error::msg)?;
    ensure!(status == 404, "the upload is still known: {status}");
    Ok(())
}

fn refused(lab: &Arc<Lab>) -> Result<()> {
    let refusal = r#"{"errors":[{"code":"DENIED","message":"you may only read"}]}"#;
    let server = HttpServer::start(vec![
        Page::new("/v2/", "{}"),
        Page::new("/v2/app/blobs/uploads/", refusal).status(403),
    ]);
    let good = format!("{}/doctor/good:v1", lab.host());
    let (read_only, gone) = (format!("{}/app:v1", server.host()), "127.0.0.1:9/app:v1");
    let state = lab.scratch("doctor")?.join("state");
    let finished = on_host(lab, &state, &[&good, &read_only, gone])?;
    says(
        &finished,
        1,
        &[
            &format!("push to `{good}`: allowed"),
            &format!("registry `{}`: answers at http://", server.host()),
            &format!("missing: push to `{read_only}`: cannot push to"),
            "missing: registry `127.0.0.1:9`: cannot reach the registry",
        ],
    )?;
    ensure!(finished.stdout.contains("you may only read"), "{}", finished.stdout);
    ensure!(!finished.stdout.contains("a build can run"), "{}", finished.stdout);
    Ok(())
}

/// A pod, the status in it, and what the doctor finds.
type Case = (&'static str, fn(Pod) -> Pod, Seccomp, i32, &'static [&'static str]);

const PODS: &[Case] = &[
    (
        "current",
        |pod| pod,
        Seccomp::Default,
        0,
        &[
            "seccomp: a filter decides",
            "no_new_privs: not set",
            "user namespace: not possible: ",
            "mounts without a user namespace: not possible: ",
            "container: yes: `/` is an overlay",
            "isolation: in-place: root in a container; no namespaces: ",
            "a build can run",
        ],
    ),
    (
        "unconfined",
        |pod| pod,
        Seccomp::Unconfined,
        0,
        &[
            "seccomp: no filter",
            "user namespace: possible",
            "mounts without a user namespace: not possible: ",
            "isolation: namespaces: user namespace with 4294967295 ids, no pid namespace; steps see",
            "a build can run",
        ],
    ),
    (
        "nnp",
        Pod::no_new_privileges,
        Seccomp::Default,
        0,
        &["no_new_privs: set", "isolation: in-place: ", "a build can run"],
    ),
    (
        "restricted",
        Pod::restricted,
        Seccomp::Default,
        1,
        &[
            "user: 1000:1000",
            "capabilities: none",
            "without Docker's default capabilities: CHOWN ",
            "subordinate ids: none: ",
            "isolation: files-only: no namespaces: ",
            "missing: a way to carry out RUN (builds without it work): cannot run commands here: ",
        ],
    ),
];

fn pods(lab: &Arc<Lab>) -> Result<()> {
    for (name, change, seccomp, code, lines) in PODS {
        let pod =
            || Ok::<_, anyhow::Error>(change(Pod::new(lab, &format!("doctor-{name}"), *seccomp)?));
        let finished = pod()?.run(&["/kaniko/executor".to_owned(), "doctor".to_owned()])?;
        says(&finished, *code, lines)?;
        let told = finished.stdout.lines().find_map(|line| line.strip_prefix("isolation: "));
        let (rung, reason) = told.and_then(|told| told.split_once(": ")).unwrap_or_default();
        let reason = reason.split("; steps see").next().unwrap_or_default();
        let build = lab.build(&format!("doctor-{name}"))?;
        let build = build.dockerfile("FROM scratch\nCOPY Dockerfile /\n")?.arg("--no-push");
        let pod = with_context(&build, pod()?);
        let outcome = run_in(build, &pod)?;
        outcome.succeeded()?;
        let line = format!("isolation {rung}: {reason}");
        ensure!(outcome.finished.stderr.contains(&line), "not `{line}`: {}", outcome.text());
    }
    Ok(())
}
