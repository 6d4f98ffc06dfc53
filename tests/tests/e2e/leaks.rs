//! What is secret is in no output of a build: log, image, argument lists, core dumps.
//!
//! `mounts` has the secrets of steps, `intruder` what a step may see of the builder's.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

use anyhow::{Context as _, Error, Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Lab, eventually, tool};
use rustix::process::{Pid, Signal, kill_process};
use testkit::fault::FaultRegistry;
use testkit::registry::{AUTHORITY, Registry};

use crate::archive::{into_archive, read};
use crate::errors::is_running;
use crate::{Test, root_test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("leaks::the_password_of_a_proxy_that_fails", proxy_that_fails),
        root_test("leaks::the_password_of_a_steps_proxy", proxy_of_a_step),
        test("leaks::a_token_in_the_longest_log", token),
        root_test("leaks::what_a_base_image_deleted", deleted),
        root_test("leaks::no_process_shows_them", processes),
        root_test("leaks::a_crash_leaves_no_core", core),
        root_test("leaks::authorities_are_those_of_the_start", authorities),
    ]
}

/// Long enough to be nothing else.
const PLANTED: &str = "pl4nted-b7c1d09e";

const BUSYBOX: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n";

fn proxy_that_fails(lab: &Arc<Lab>) -> Result<()> {
    let proxy = format!("http://user:{PLANTED}@127.0.0.1:1");
    let build =
        lab.build("proxy-fails")?.dockerfile("FROM registry.example.test/base\nLABEL a=b\n")?;
    let build = build.arg("--no-push").arg("--verbosity=trace");
    let command = build.command().env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy);
    let finished = command.finish()?;
    let outcome = build.ended(finished);
    outcome.failed(1, &["registry.example.test"])?;
    ensure!(!outcome.text().contains(PLANTED), "{}", outcome.text());
    Ok(())
}

/// Known without being declared, and in no history.
fn proxy_of_a_step(lab: &Arc<Lab>) -> Result<()> {
    // Saying it in the Dockerfile would be a leak of its own.
    let length = format!("http://user:{PLANTED}@proxy.example.test").len();
    let build = lab
        .build("proxy-step")?
        .dockerfile(&format!("{BUSYBOX}RUN test ${{#HTTP_PROXY}} = {length} && echo x > /x\n"))?;
    let argument = format!("--build-arg=HTTP_PROXY=http://user:{PLANTED}@proxy.example.test");
    let outcome = into_archive(build.arg(argument).arg("--verbosity=trace")).run()?;
    ensure!(!outcome.text().contains(PLANTED), "{}", outcome.text());
    not_in_image(&read(outcome)?.image)
}

fn not_in_image(image: &testkit::layout::ReadImage) -> Result<()> {
    ensure!(!image.config.to_string().contains(PLANTED), "it is in the config");
    let hit = |layer: &Vec<u8>| layer.windows(PLANTED.len()).any(|w| w == PLANTED.as_bytes());
    ensure!(!image.layers.iter().any(hit), "it is in a layer");
    Ok(())
}

fn token(lab: &Arc<Lab>) -> Result<()> {
    let registry = FaultRegistry::start();
    registry.require_token(1000);
    let build = lab.build("token")?.dockerfile("FROM scratch\nLABEL a=b\n")?;
    let destination = format!("--destination={}/leaks/token:latest", registry.host());
    let outcome = build.arg(destination).arg("--verbosity=trace").run()?;
    outcome.succeeded()?;
    let authorized = registry.log().iter().filter(|entry| entry.authorized).count();
    ensure!(authorized > 0, "no request had a token");
    ensure!(!outcome.text().contains("token-"), "{}", outcome.text());
    Ok(())
}

fn deleted(lab: &Arc<Lab>) -> Result<()> {
    let base = lab.build("leaks-deleted")?.dockerfile(&format!(
        "{BUSYBOX}RUN echo {PLANTED} > /planted && mkdir /d && cp /planted /d/planted\n\
         RUN rm -r /planted /d && mkdir /d\n"
    ))?;
    base.pushed()?;
    let name = "${REGISTRY}/e2e/leaks-deleted";
    let build = lab.build("leaks-copied")?.dockerfile(&format!(
        "ARG REGISTRY\nFROM {name} AS base\nFROM scratch\nCOPY --from=base / /\nCOPY --from=base /d /e\n"
    ))?;
    let built = read(into_archive(build).run()?)?;
    built.holds(&["d 0755 0:0 /d", "d 0755 0:0 /e", "! /planted", "! /d/planted"])?;
    not_in_image(&built.image)
}

/// Other tests run at the same time, and start programs with what they plant.
fn planted_for(name: &str) -> String {
    format!("{PLANTED}-{name}")
}

/// A build at work on a step that sleeps, with secrets in its variables and one of them in use.
fn while_it_sleeps<T>(
    lab: &Arc<Lab>,
    name: &str,
    seconds: &str,
    look: impl FnOnce(Pid) -> Result<T>,
) -> Result<(std::process::ExitStatus, T)> {
    let build = lab
        .build(name)?
        .dockerfile(&format!("{BUSYBOX}RUN --mount=type=secret,id=s,required sleep {seconds}\n"))?;
    let starter = tool("prlimit").arg("--core=unlimited").arg(lab.executor());
    let mut child = build
        .command_by(starter)
        .args(["--no-push", "--secret=id=s,env=A_SECRET"])
        .env("A_SECRET", planted_for(name))
        .env("GIT_TOKEN", planted_for(name))
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a strange pid")?;
    eventually("the step starts", || is_running(seconds).unwrap_or(false))?;
    let looked = look(pid);
    // It may have ended already.
    let _ = kill_process(pid, Signal::TERM);
    let status = child.wait()?;
    eventually("the step ends", || !is_running(seconds).unwrap_or(true))?;
    Ok((status, looked?))
}

fn processes(lab: &Arc<Lab>) -> Result<()> {
    const NAME: &str = "leaks-processes";
    let planted = planted_for(NAME);
    let look = |_| -> Result<usize> {
        let mut seen = 0;
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            for file in ["environ", "cmdline"] {
                // Of a process that ended meanwhile there is nothing to see.
                let bytes = std::fs::read(path.join(file)).unwrap_or_default();
                let hit = bytes.windows(planted.len()).any(|w| w == planted.as_bytes());
                ensure!(!hit, "it is in {}", path.join(file).display());
                seen += usize::from(!bytes.is_empty());
            }
        }
        Ok(seen)
    };
    let (_, seen) = while_it_sleeps(lab, NAME, "96001", look)?;
    ensure!(seen > 4, "only {seen} files were read");
    Ok(())
}

fn core(lab: &Arc<Lab>) -> Result<()> {
    let crash = |pid| Ok(kill_process(pid, Signal::ABORT)?);
    let (status, ()) = while_it_sleeps(lab, "leaks-core", "96002", crash)?;
    ensure!(status.signal() == Some(Signal::ABORT.as_raw()), "{status:?}");
    ensure!(!status.core_dumped(), "its memory is in a core dump");
    Ok(())
}

/// A step that takes the authorities, the resolver's file and the shell away does not change how
/// the image is pushed. In place, they are those of the container.
fn authorities(lab: &Arc<Lab>) -> Result<()> {
    let registry = Registry::start_tls().map_err(Error::msg)?;
    let dockerfile = format!(
        "{BUSYBOX}RUN rm -rf /etc/ssl /certs; echo nameserver 192.0.2.1 > /etc/resolv.conf; \
         echo root:x:0:0::/nowhere:/none > /etc/passwd\n\
         RUN echo x > /x && rm -f /bin/sh /bin/ls\n"
    );
    for (name, trusted) in [("leaks-authorities", true), ("leaks-no-authorities", false)] {
        let build = lab.build(name)?.dockerfile(&dockerfile)?;
        let context = build.directory.join("context");
        let pod = Pod::new(lab, name, Seccomp::Default)?.mount(&context, "/workspace", &["ro"]);
        let authority = std::str::from_utf8(AUTHORITY)?;
        pod.add_file("authority.pem", if trusted { authority } else { "" })?;
        let pod = pod.variable("SSL_CERT_FILE", "/authority.pem");
        let words = [
            "/kaniko/executor".to_owned(),
            "--context=/workspace".to_owned(),
            "--insecure-pull".to_owned(),
            format!("--build-arg=REGISTRY={}", lab.host()),
            format!("--destination={}/e2e/authorities:latest", registry.host()),
            // The question before the build would fail in the same way.
            "--skip-push-permission-check".to_owned(),
        ];
        let finished = pod.run(&words)?;
        let outcome = build.ended(finished);
        match trusted {
            true => outcome.succeeded()?,
            false => outcome.failed(1, &["e2e/authorities", "certificate"])?,
        };
    }
    Ok(())
}
