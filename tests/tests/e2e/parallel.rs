//! Stages that do not read each other are built at the same time, and the image is the same.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Build, Lab, Outcome, wait};
use rustix::process::{Pid, Signal, kill_process};

use crate::errors::is_running;
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        root_test("parallel::independent_stages_are_at_work_together", together),
        root_test("parallel::one_at_a_time_where_one_is_asked_for", one_at_a_time),
        root_test("parallel::lines_of_several_stages_are_whole_and_marked", whole_lines),
        root_test("parallel::a_chain_of_stages_is_not_marked", chain),
        root_test("parallel::the_first_failure_ends_the_other_stages", first_failure),
        root_test("parallel::nothing_starts_after_a_failure", nothing_after_failure),
        root_test("parallel::a_signal_ends_all_stages", signal),
    ];
    tests.extend(SAME.iter().map(|case| {
        root_test(format!("parallel::same_image::{}", case.name), move |lab| same(lab, case))
    }));
    tests
}

const BUSYBOX: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox AS base\n";

/// What comes out the same, however many stages are at work.
struct Same {
    name: &'static str,
    /// After the stage `base`. `{HOST}` is the registry.
    dockerfile: &'static str,
}

const SAME: &[Same] = &[
    Same {
        name: "a_fan",
        dockerfile: "FROM base AS a\nRUN mkdir /out && echo a > /out/a\n\
                     FROM base AS b\nWORKDIR /out\nRUN echo b > b\n\
                     FROM base AS c\nCOPY file.txt /out/c\nRUN chown 7:8 /out/c\n\
                     FROM base AS d\nRUN mkdir -p /out/deep && ln -s x /out/deep/d\n\
                     FROM scratch\nCOPY --from=a /out /a\nCOPY --from=b /out /b\n\
                     COPY --from=c /out /c\nCOPY --from=d /out /d\n",
    },
    Same {
        name: "a_diamond",
        dockerfile: "FROM base AS top\nRUN echo top > /top\n\
                     FROM top AS left\nRUN echo left >> /top\n\
                     FROM top AS right\nRUN echo right >> /top\n\
                     FROM top\nCOPY --from=left /top /left\nCOPY --from=right /top /right\n\
                     RUN cat /top /left /right > /all\n",
    },
    Same {
        name: "stages_of_config_alone_between_stages_of_files",
        dockerfile: "FROM base AS files\nRUN echo files > /files\n\
                     FROM files AS named\nENV NAME=named\n\
                     FROM named AS user\nUSER 5:6\n\
                     FROM named AS one\nRUN cat /files > /one && echo $NAME >> /one\n\
                     FROM named AS two\nRUN cat /files > /two && echo $NAME >> /two\n\
                     FROM user\nCOPY --from=one /one /\nCOPY --from=two /two /\nRUN cat /files\n",
    },
    Same {
        name: "an_image_that_several_stages_read",
        dockerfile: "FROM scratch AS a\n\
                     COPY --from=base /bin/busybox /a\n\
                     FROM scratch AS b\nCOPY --from={HOST}/busybox:docker /bin/busybox /b\n\
                     FROM scratch AS c\nCOPY --from={HOST}/busybox:docker /bin/busybox /c\n\
                     FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\nCOPY --from=c / /\n",
    },
    Same {
        name: "stages_that_wait_for_the_same_caches",
        dockerfile: "FROM base AS a\n\
                     RUN --mount=type=cache,id=x,target=/x,sharing=locked \
                     --mount=type=cache,id=y,target=/y,sharing=locked \
                     --mount=type=cache,id=x,target=/again,sharing=locked \
                     touch /x/seen && ls /again > /a\n\
                     FROM base AS b\n\
                     RUN --mount=type=cache,id=y,target=/y,sharing=locked \
                     --mount=type=cache,id=x,target=/x,sharing=locked touch /y/seen && ls /y > /b\n\
                     FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n",
    },
    Same {
        name: "sources_from_elsewhere_in_several_stages",
        dockerfile: "FROM scratch AS a\nADD archive.txt file.txt /a/\n\
                     FROM scratch AS b\nCOPY <<EOF /b/\nb\nEOF\n\
                     FROM scratch AS c\nADD file.txt /c/\n\
                     FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\nCOPY --from=c / /\n",
    },
];

fn build(lab: &Arc<Lab>, name: &str, dockerfile: &str, at_once: usize) -> Result<Build> {
    Ok(lab
        .build(name)?
        .dockerfile(dockerfile)?
        .file("file.txt", "file\n")?
        .file("archive.txt", "no archive\n")?
        .arg(format!("--max-parallel-stages={at_once}"))
        .arg("--no-push"))
}

/// Two stages that each connect to the rendezvous, and an image of both.
fn two_stages(port: u16, steps: &str) -> String {
    let meet = format!("RUN nc 127.0.0.1 {port} < /dev/null{steps}\n");
    format!(
        "{BUSYBOX}FROM base AS first\n{meet}FROM base AS second\n{meet}\
         FROM scratch\nCOPY --from=first /bin/busybox /\nCOPY --from=second /bin/busybox /\n"
    )
}

fn same(lab: &Arc<Lab>, case: &Same) -> Result<()> {
    let digest = |at_once: usize| -> Result<String> {
        let text = format!("{BUSYBOX}{}", case.dockerfile.replace("{HOST}", &lab.host()));
        let build = build(lab, &format!("same-{}", case.name), &text, at_once)?;
        let file = build.directory.join("digest");
        let build = build.arg(format!("--digest-file={}", file.display()));
        let finished = build.command().env("SOURCE_DATE_EPOCH", "1700000000").finish()?;
        build.ended(finished).succeeded()?;
        Ok(std::fs::read_to_string(&file)?)
    };
    let expected = digest(1)?;
    for at_once in [4, 2] {
        let found = digest(at_once)?;
        ensure!(found == expected, "{found} with {at_once} stages at a time, else {expected}");
    }
    Ok(())
}

/// Accepts two connections before it lets either go on.
fn meeting(listener: &TcpListener, deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    listener.set_nonblocking(true)?;
    let mut present: Vec<TcpStream> = Vec::new();
    while present.len() < 2 {
        match listener.accept() {
            Ok((stream, _)) => present.push(stream),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                ensure!(Instant::now() < end, "only {} came", present.len());
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for mut stream in present {
        stream.write_all(b"both are here\n")?;
    }
    Ok(())
}

fn together(lab: &Arc<Lab>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let text = two_stages(listener.local_addr()?.port(), "");
    let build = build(lab, "together", &text, 2)?;
    let child = build.command().spawn()?;
    let met = meeting(&listener, Duration::from_secs(60));
    // Nobody else comes: a step that still tries is refused, so that the build ends.
    drop(listener);
    let outcome = build.ended(wait(child, Duration::from_secs(60))?);
    met.with_context(|| outcome.text())?;
    outcome.succeeded()?;
    for stage in ["first", "second"] {
        let line = format!("[{stage}] both are here\n");
        ensure!(outcome.finished.stdout.contains(&line), "{}", outcome.text());
    }
    let mut steps = outcome.finished.stderr.lines().filter(|line| line.contains("] RUN nc "));
    let started = steps.by_ref().take(2).all(|line| !line.contains(" took "));
    ensure!(started, "a step ended before the other started: {}", outcome.text());
    Ok(())
}

/// The lines that hold a text, in order.
fn lines<'a>(outcome: &'a Outcome, text: &str) -> Vec<&'a str> {
    outcome.finished.stdout.lines().filter(|line| line.contains(text)).collect()
}

const TALKING: &str = "FROM base AS first\nRUN echo first begins; echo first ends\n\
                       FROM base AS second\nRUN echo second begins; echo second ends\n\
                       FROM scratch\nCOPY --from=first /bin/busybox /\n\
                       COPY --from=second /bin/busybox /\n";

fn one_at_a_time(lab: &Arc<Lab>) -> Result<()> {
    let outcome = build(lab, "one-at-a-time", &format!("{BUSYBOX}{TALKING}"), 1)?.run()?;
    outcome.succeeded()?;
    let expected = ["first begins", "first ends", "second begins", "second ends"];
    ensure!(outcome.finished.stdout.lines().eq(expected), "{}", outcome.text());
    Ok(())
}

fn whole_lines(lab: &Arc<Lab>) -> Result<()> {
    // Longer than what a pipe takes at once, and both streams lead into one pipe.
    let talk = |letter: char| {
        format!(
            "RUN line=$(head -c 20000 /dev/zero | tr '\\0' {letter}); \
             for i in 1 2 3 4 5 6 7 8; do echo $line; echo $line >&2; done\n"
        )
    };
    let text = format!(
        "{BUSYBOX}FROM base AS first\n{}FROM base AS second\n{}FROM scratch\n\
         COPY --from=first /bin/busybox /\nCOPY --from=second /bin/busybox /\n",
        talk('x'),
        talk('y')
    );
    let build = build(lab, "whole-lines", &text, 2)?;
    let child = build.command().spawn_joined()?;
    let outcome = build.ended(wait(child, Duration::from_secs(60))?);
    outcome.succeeded()?;
    for (stage, letter) in [("first", "x"), ("second", "y")] {
        let whole = format!("[{stage}] {}", letter.repeat(20_000));
        let count = outcome.finished.stdout.lines().filter(|line| *line == whole).count();
        ensure!(count == 16, "{count} whole lines of `{stage}`");
    }
    Ok(())
}

fn chain(lab: &Arc<Lab>) -> Result<()> {
    let text = format!(
        "{BUSYBOX}FROM base AS first\nRUN echo said\nFROM scratch\nCOPY --from=first /bin /bin\n"
    );
    let outcome = build(lab, "chain", &text, 4)?.run()?;
    outcome.succeeded()?;
    ensure!(outcome.finished.stdout == "said\n", "{}", outcome.text());
    ensure!(!outcome.finished.stderr.contains("[first]"), "{}", outcome.text());
    Ok(())
}

fn first_failure(lab: &Arc<Lab>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let text = format!(
        "{BUSYBOX}FROM base AS sleeping\n\
         RUN nc 127.0.0.1 {port} < /dev/null; trap '' TERM; setsid sleep 91003 & sleep 91003\n\
         FROM base AS failing\nRUN nc 127.0.0.1 {port} < /dev/null; exit 7\n\
         FROM scratch\nCOPY --from=sleeping /bin /\nCOPY --from=failing /bin /\n"
    );
    let build = build(lab, "first-failure", &text, 2)?;
    let child = build.command().spawn()?;
    let met = meeting(&listener, Duration::from_secs(60));
    drop(listener);
    let outcome = build.ended(wait(child, Duration::from_secs(60))?);
    met.with_context(|| outcome.text())?;
    outcome.failed(7, &["exit 7", "exit code: 7"])?;
    ensure!(!outcome.finished.stderr.contains("was stopped"), "{}", outcome.text());
    ensure!(!is_running("91003")?, "the other step is still running");
    ensure!(
        lab.mounts()?.iter().all(|mount| !mount.contains("-first-failure/")),
        "a mount is left"
    );
    Ok(())
}

fn nothing_after_failure(lab: &Arc<Lab>) -> Result<()> {
    let text = format!(
        "{BUSYBOX}FROM base AS failing\nRUN exit 9\n\
         FROM failing AS after\nRUN echo never\n\
         FROM base AS beside\nRUN sleep 91004\n\
         FROM scratch\nCOPY --from=after /bin /\nCOPY --from=beside /bin /\n"
    );
    let outcome = build(lab, "failure", &text, 4)?.run()?;
    outcome.failed(9, &["exit 9"])?;
    ensure!(lines(&outcome, "never").is_empty(), "{}", outcome.text());
    ensure!(!is_running("91004")?, "the other step is still running");
    Ok(())
}

fn signal(lab: &Arc<Lab>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let stage = |name: &str, seconds: u32| {
        format!(
            "FROM base AS {name}\nRUN trap '' TERM; setsid sleep {seconds} & \
             nc 127.0.0.1 {port} < /dev/null; sleep {seconds}\n"
        )
    };
    let text = format!(
        "{BUSYBOX}{}{}FROM scratch\nCOPY --from=first /bin /\nCOPY --from=second /bin /\n",
        stage("first", 91_005),
        stage("second", 91_006)
    );
    let build = build(lab, "signal", &text, 2)?;
    let child = build.command().spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a strange pid")?;
    let met = meeting(&listener, Duration::from_secs(60));
    kill_process(pid, Signal::TERM)?;
    let outcome = build.ended(wait(child, Duration::from_secs(60))?);
    met.with_context(|| outcome.text())?;
    outcome.failed(143, &["stopped by signal 15"])?;
    ensure!(!is_running("91005")? && !is_running("91006")?, "a step is still running");
    Ok(())
}
