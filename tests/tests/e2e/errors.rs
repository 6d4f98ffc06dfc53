//! What fails, fails once and clearly: one message, the right status, nothing half-written.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::{Build, Lab, tool};

use crate::{Test, root_test, test};

/// A build that fails: its Dockerfile after `FROM`, the status, what the message must hold.
struct Failure {
    name: &'static str,
    dockerfile: &'static str,
    arguments: &'static [&'static str],
    code: i32,
    texts: &'static [&'static str],
}

const BUSYBOX: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n";

/// Failures found before any step runs; anyone can have them.
const EARLY: &[Failure] = &[
    Failure {
        name: "an_unknown_instruction",
        dockerfile: "FROM scratch\nCOPPY a /\n",
        arguments: &[],
        code: 1,
        texts: &["unknown instruction: COPPY", "COPY", "Dockerfile"],
    },
    Failure {
        name: "an_unknown_flag_of_an_instruction",
        dockerfile: "FROM scratch\nCOPY --frm=x a /\n",
        arguments: &[],
        code: 1,
        texts: &["unknown flag", "frm"],
    },
    Failure {
        name: "an_unknown_flag_of_the_executor",
        dockerfile: "FROM scratch\n",
        arguments: &["--no-psh"],
        code: 1,
        texts: &["Error: unknown flag: --no-psh", "--no-push"],
    },
    Failure {
        name: "a_flag_that_is_not_there_yet",
        dockerfile: "FROM scratch\n",
        arguments: &["--single-snapshot"],
        code: 1,
        texts: &["--single-snapshot", "not implemented yet"],
    },
    Failure {
        name: "an_unknown_target",
        dockerfile: "FROM scratch AS a\n",
        arguments: &["--target=b"],
        code: 1,
        texts: &["b", "target"],
    },
    Failure {
        name: "a_base_image_that_does_not_exist",
        dockerfile: "ARG REGISTRY\nFROM ${REGISTRY}/nothing/here:v1\nLABEL a=b\n",
        arguments: &[],
        code: 1,
        texts: &["nothing/here:v1"],
    },
    Failure {
        name: "a_registry_that_does_not_answer",
        dockerfile: "FROM 127.0.0.1:1/base\nLABEL a=b\n",
        arguments: &[],
        code: 1,
        texts: &["127.0.0.1:1"],
    },
    Failure {
        name: "an_empty_dockerfile",
        dockerfile: "# nothing\n",
        arguments: &[],
        code: 1,
        texts: &["Dockerfile"],
    },
    Failure {
        name: "a_missing_copy_source",
        dockerfile: "FROM scratch\nCOPY nope /\n",
        arguments: &[],
        code: 1,
        texts: &["nope", "COPY nope /"],
    },
    Failure {
        name: "a_copy_source_outside_the_context",
        dockerfile: "FROM scratch\nCOPY ../../../../../../etc/passwd /\n",
        arguments: &[],
        code: 1,
        texts: &["passwd"],
    },
];

/// Failures of steps.
const STEPS: &[Failure] = &[
    Failure {
        name: "the_status_of_a_failing_step",
        dockerfile: "RUN echo before\nRUN echo the reason >&2; \\\n    exit 42\nRUN echo after\n",
        arguments: &[],
        code: 42,
        texts: &["42", "exit 42", "the reason", "Dockerfile"],
    },
    Failure {
        name: "a_step_that_is_killed",
        dockerfile: "RUN kill -9 $$\n",
        arguments: &[],
        code: 137,
        texts: &["kill -9"],
    },
    Failure {
        name: "a_command_that_does_not_exist",
        dockerfile: "RUN [\"/no/such/program\"]\n",
        arguments: &[],
        code: 1,
        texts: &["/no/such/program"],
    },
    Failure {
        name: "a_user_that_does_not_exist",
        dockerfile: "USER nobody-here\nRUN true\n",
        arguments: &[],
        code: 1,
        texts: &["nobody-here"],
    },
    Failure {
        name: "a_missing_source_in_another_stage",
        dockerfile: "FROM scratch\nCOPY --from=0 /nope /\n",
        arguments: &[],
        code: 1,
        texts: &["/nope"],
    },
];

const OUTPUTS: &[&str] = &["digest", "layout", "image.tar"];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for failure in EARLY {
        tests.push(test(format!("errors::{}", failure.name), move |lab| {
            check(lab, failure, failure.dockerfile)
        }));
    }
    for failure in STEPS {
        tests.push(root_test(format!("errors::{}", failure.name), move |lab| {
            check(lab, failure, &format!("{BUSYBOX}{}", failure.dockerfile))
        }));
    }
    tests.push(test("errors::no_dockerfile", no_dockerfile));
    tests.push(test("errors::a_context_that_does_not_exist", no_context));
    tests.push(test("errors::an_unknown_scheme_of_a_context", unknown_scheme));
    tests.push(test("errors::a_destination_that_does_not_answer", dead_destination));
    tests.push(root_test("errors::what_a_step_left_running_is_ended", left_running));
    tests
}

fn with_outputs(build: Build) -> Build {
    let path = |name: &str| build.directory.join(name).display().to_string();
    let [digest, layout, archive] = [OUTPUTS[0], OUTPUTS[1], OUTPUTS[2]].map(path);
    build
        .arg(format!("--digest-file={digest}"))
        .arg(format!("--oci-layout-path={layout}"))
        .arg(format!("--tar-path={archive}"))
}

fn check(lab: &Arc<Lab>, failure: &Failure, dockerfile: &str) -> Result<()> {
    let mut build = with_outputs(lab.build(failure.name)?.dockerfile(dockerfile)?).push();
    for argument in failure.arguments {
        build = build.arg(*argument);
    }
    let outcome = build.run()?;
    outcome.failed(failure.code, failure.texts)?.wrote_none_of(OUTPUTS)?;
    // One clear error: no backtrace, no panic, and the headline once.
    let text = &outcome.finished.stderr;
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        ensure!(!text.contains(word), "{}", outcome.text());
    }
    Ok(())
}

fn no_dockerfile(lab: &Arc<Lab>) -> Result<()> {
    let outcome = lab.build("no-dockerfile")?.arg("--no-push").run()?;
    outcome.failed(1, &["please provide a valid path to a Dockerfile", "--dockerfile"])?;
    Ok(())
}

fn no_context(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("no-context")?;
    let context = build.directory.join("missing");
    build.context(&context).arg("--no-push").run()?.failed(1, &["missing"])?;
    Ok(())
}

fn unknown_scheme(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("scheme")?.arg("--context=ftp://host/x").arg("--no-push");
    build.run()?.failed(1, &["unknown build context prefix"])?;
    Ok(())
}

fn dead_destination(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("dead-destination")?.dockerfile("FROM scratch\nLABEL a=b\n")?;
    let outcome = build.arg("--destination=127.0.0.1:1/app").run()?;
    outcome.failed(1, &["127.0.0.1:1/app"])?;
    Ok(())
}

/// Whether a process with this word on its command line is alive.
pub(crate) fn is_running(word: &str) -> Result<bool> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_process = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
        if !is_process {
            continue;
        }
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if words.contains(&word.as_bytes()) && words.iter().any(|one| one.ends_with(b"sleep")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn left_running(lab: &Arc<Lab>) -> Result<()> {
    for (name, end, code) in [("daemon", "true", 0), ("daemon-of-a-failure", "exit 3", 3)] {
        let duration =
            format!("{}", 90_000 + std::process::id() % 1000 + u32::from(code == 0) * 5000);
        let dockerfile = format!(
            "{BUSYBOX}RUN sleep {duration} & setsid sleep {duration} & {end}\n\
             RUN ! ps | grep -v grep | grep 'sleep {duration}'\n"
        );
        let outcome = lab.build(name)?.dockerfile(&dockerfile)?.push().run()?;
        ensure!(outcome.finished.code == Some(code), "{}", outcome.text());
        ensure!(!is_running(&duration)?, "a process was left behind");
    }
    // The word that is searched for is found where it is there.
    let mut child = tool("sleep").arg("87654").spawn()?;
    let found = is_running("87654")?;
    child.kill()?;
    child.wait()?;
    ensure!(found, "the search for processes finds nothing at all");
    Ok(())
}
