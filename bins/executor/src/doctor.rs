//! `executor doctor`: what the pod allows, which rung a build takes and why, and whether what the
//! build needs outside is there. One finding a line on standard output; the status says whether a
//! build can run.
//!
//! Decides nothing: the rung is the one that [`builder::enter`] takes for a build with the same
//! flags, and a push is tried as a build tries it before it starts.

use std::fmt::Write as _;
use std::process::ExitCode;

use builder::{BuildRequest, EnterOptions, Pod, Reference, Rung};
use cli::console;
use cli::report::chain;
use registry::{Client, ClientOptions, RetryPolicy, Wanted};

/// What was found so far.
#[derive(Default)]
struct Findings {
    text: String,
    /// What keeps a build from running.
    missing: Vec<String>,
}

impl Findings {
    fn add(&mut self, topic: &str, finding: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{topic}: {finding}");
    }

    fn lacks(&mut self, topic: &str, reason: &str) {
        self.add(topic, reason);
        self.missing.push(format!("{topic}: {reason}"));
    }
}

/// Looks at everything and tells it. Enters the rung, so it is called before any other thread is.
pub(crate) fn examine(request: &BuildRequest, options: &EnterOptions) -> ExitCode {
    sys::nss::pin();
    let mut findings = Findings::default();
    pod(&mut findings, &Pod::look(options.in_container));
    rung(&mut findings, options);
    match builder::disk(&options.state_dir) {
        Ok(disk) => {
            let files = match disk.files {
                Some(files) => format!(", {files} files"),
                None => String::new(),
            };
            let path = options.state_dir.display();
            findings.add("state directory", format!("`{path}`, {} free{files}", size(disk.bytes)));
        }
        Err(error) => findings.lacks("state directory", &chain(&error)),
    }
    registries(&mut findings, request);
    let verdict = match findings.missing.as_slice() {
        [] => "a build can run\n".to_owned(),
        missing => missing.iter().map(|reason| format!("missing: {reason}\n")).collect(),
    };
    console::print(&format!("{}{verdict}", findings.text));
    if findings.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn pod(findings: &mut Findings, pod: &Pod) {
    findings.add("user", format!("{}:{}", pod.uid, pod.gid));
    let listed = |names: &[&str]| match names {
        [] => "none".to_owned(),
        names => names.join(" "),
    };
    findings.add("capabilities", listed(&pod.capabilities.held));
    if !pod.capabilities.missing.is_empty() {
        findings.add("without Docker's default capabilities", listed(&pod.capabilities.missing));
    }
    let known = |value: Option<bool>, yes: &str, no: &str| match value {
        Some(true) => yes.to_owned(),
        Some(false) => no.to_owned(),
        None => "cannot be told without /proc".to_owned(),
    };
    findings.add("seccomp", known(pod.seccomp, "a filter decides on system calls", "no filter"));
    findings.add("no_new_privs", known(pod.no_new_privileges, "set", "not set"));
    let tried = |outcome: &Result<(), String>| match outcome {
        Ok(()) => "possible".to_owned(),
        Err(reason) => format!("not possible: {reason}"),
    };
    findings.add("user namespace", tried(&pod.user_namespace));
    findings.add("mounts without a user namespace", tried(&pod.mount_namespace));
    match &pod.subordinate_ids {
        None => {}
        Some(Ok(count)) => findings.add("subordinate ids", format!("{count} ids in all")),
        Some(Err(reason)) => findings.add("subordinate ids", format!("none: {reason}")),
    }
    let (is_container, reason) = &pod.container;
    let answer = if *is_container { "yes" } else { "no" };
    findings.add("container", format!("{answer}: {reason}"));
    let limit =
        pod.memory_limit.map_or("no limit".to_owned(), |limit| format!("{} at most", size(limit)));
    let free = pod.memory_available.map_or(String::new(), |free| format!(", {} free", size(free)));
    findings.add("memory", format!("{limit}{free}"));
}

fn rung(findings: &mut Findings, options: &EnterOptions) {
    let isolation = match builder::enter(options) {
        Ok(isolation) => isolation,
        Err(error) => return findings.lacks("isolation", &chain(&error)),
    };
    let own = match (isolation.rung(), isolation.has_own_pids()) {
        (Rung::Namespaces, true) => "; each step has a new /proc",
        (Rung::Namespaces, false) => "; steps see the pod's /proc, no new one can be mounted",
        (Rung::InPlace | Rung::FilesOnly, _) => "",
    };
    findings.add("isolation", format!("{}: {}{own}", isolation.rung(), isolation.reason()));
    if let Err(error) = isolation.can_run() {
        findings
            .missing
            .push(format!("a way to carry out RUN (builds without it work): {}", chain(&error)));
    }
}

/// As a build asks them, but not as long.
fn registries(findings: &mut Findings, request: &BuildRequest) {
    if request.outputs.destinations.is_empty() {
        return findings.add("push", "no --destination given, so none is tried");
    }
    let retry = RetryPolicy { tries: 2, silences: 1, ..request.push.retry };
    let options = ClientOptions { retry, ..request.push.clone() };
    let asked = || -> Result<_, Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok((runtime, Client::new(options)?))
    };
    let (runtime, client) = match asked() {
        Ok(ready) => ready,
        Err(error) => return findings.lacks("registry client", &chain(error.as_ref())),
    };
    runtime.block_on(async {
        for destination in &request.outputs.destinations {
            ask(findings, &client, destination).await;
        }
    });
}

async fn ask(findings: &mut Findings, client: &Client, destination: &Reference) {
    let topic = format!("registry `{}`", destination.registry());
    match client.access(destination).await {
        Ok(access) => {
            let is_open = access.wanted == Wanted::Nothing;
            findings.add(&topic, access);
            if !is_open {
                credentials(findings, client, destination).await;
            }
        }
        Err(error) => return findings.lacks(&topic, &chain(&error)),
    }
    let topic = format!("push to `{destination}`");
    match client.check_push(destination).await {
        Ok(()) => findings.add(&topic, "allowed; an upload was opened and cancelled"),
        Err(error) => findings.lacks(&topic, &chain(&error)),
    }
}

/// Where they come from, never what they are.
async fn credentials(findings: &mut Findings, client: &Client, destination: &Reference) {
    let topic = format!("credentials for `{}`", destination.registry());
    match client.credential_origin(destination).await {
        Ok(Some(origin)) => findings.add(&topic, format!("from {origin}")),
        Ok(None) => findings.add(&topic, "none are configured"),
        Err(error) => findings.add(&topic, chain(&error)),
    }
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}
