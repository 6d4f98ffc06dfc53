//! How the executor takes a Dockerfile: what it warns of, what it refuses, what it leaves alone.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::{Build, Lab};

use crate::archive::{into_archive, read};
use crate::{Test, root_test, test};

/// A Dockerfile that is refused, or of which something is said, before anything is built.
struct Case {
    name: &'static str,
    dockerfile: &'static str,
    arguments: &'static [&'static str],
    /// Whether it is built.
    builds: bool,
    /// What is said on standard error; `! TEXT` is not said.
    says: &'static [&'static str],
}

const DEPRECATED: &str = "FROM scratch\nMAINTAINER somebody\nLABEL a=b\n";
const CHECKED: &str = "# check=error=true\nFROM scratch\nMAINTAINER somebody\nLABEL a=b\n";
const SKIPPED: &str =
    "# check=skip=MaintainerDeprecated;error=true\nFROM scratch\nMAINTAINER somebody\n";

const CASES: &[Case] = &[
    Case {
        name: "another_frontend_is_refused",
        dockerfile: "# syntax=foo/bar:2\nFROM scratch\nLABEL a=b\n",
        arguments: &[],
        builds: false,
        says: &["foo/bar:2", "# syntax", "Dockerfile:1", "! panicked"],
    },
    Case {
        name: "a_check_that_is_an_error",
        dockerfile: CHECKED,
        arguments: &[],
        builds: false,
        says: &["lint violation found for rules: MaintainerDeprecated"],
    },
    Case {
        name: "a_check_that_is_skipped",
        dockerfile: SKIPPED,
        arguments: &[],
        builds: true,
        says: &["! MaintainerDeprecated"],
    },
    Case {
        name: "findings_are_warnings",
        dockerfile: DEPRECATED,
        arguments: &[],
        builds: true,
        says: &["MaintainerDeprecated", "line 2"],
    },
    Case {
        name: "findings_are_warnings_on_demand",
        dockerfile: DEPRECATED,
        arguments: &["--lint=warn"],
        builds: true,
        says: &["MaintainerDeprecated", "line 2"],
    },
    Case {
        name: "findings_can_be_errors",
        dockerfile: DEPRECATED,
        arguments: &["--lint=error"],
        builds: false,
        says: &["lint violation found for rules: MaintainerDeprecated"],
    },
    Case {
        name: "findings_can_be_off",
        dockerfile: DEPRECATED,
        arguments: &["--lint=off"],
        builds: true,
        says: &["! MaintainerDeprecated"],
    },
    Case {
        name: "another_answer_to_findings_is_refused",
        dockerfile: DEPRECATED,
        arguments: &["--lint=maybe"],
        builds: false,
        says: &["maybe", "--lint"],
    },
    Case {
        name: "an_unused_build_argument",
        dockerfile: "FROM scratch\nARG USED\nLABEL a=$USED\n",
        arguments: &["--build-arg=UNUSED=1", "--build-arg=USED=1"],
        builds: true,
        says: &["One or more build-args [UNUSED] were not consumed", "! [USED]"],
    },
    Case {
        name: "a_device_is_refused_before_anything_is_built",
        dockerfile: "FROM scratch\nCOPY Dockerfile /\nRUN --device=vendor.com/class=x true\n",
        arguments: &[],
        builds: false,
        says: &["--device", "Dockerfile:3", "! Building stage"],
    },
    Case {
        name: "a_stage_that_is_not_built_may_hold_anything_known",
        dockerfile: "FROM scratch AS other\nRUN --mount=type=cache,target=/c true\n\
                     FROM scratch\nLABEL a=b\n",
        arguments: &[],
        builds: true,
        says: &["! not supported yet"],
    },
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = CASES
        .iter()
        .map(|case| test(format!("behaviour::{}", case.name), move |lab| check(lab, case)))
        .collect();
    tests.push(test("behaviour::the_plan_is_all_that_a_dry_run_prints", dry_run));
    tests.push(root_test("behaviour::triggers_of_a_base_run_in_their_order", triggers));
    tests.push(root_test("behaviour::the_executors_variables_are_its_own", own_variables));
    tests
}

fn says(stderr: &str, expected: &[&str]) -> Result<()> {
    for text in expected {
        match text.strip_prefix("! ") {
            Some(text) => ensure!(!stderr.contains(text), "it says `{text}`: {stderr}"),
            None => ensure!(stderr.contains(text), "it does not say `{text}`: {stderr}"),
        }
    }
    Ok(())
}

fn with_arguments(build: Build, arguments: &[&str]) -> Build {
    arguments.iter().fold(build, |build, argument| build.arg(*argument))
}

fn check(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    let build = lab.build(case.name)?.dockerfile(case.dockerfile)?;
    let outcome = into_archive(with_arguments(build, case.arguments)).run()?;
    says(&outcome.finished.stderr, case.says)?;
    ensure!(outcome.finished.stdout.is_empty(), "{}", outcome.text());
    match case.builds {
        true => read(outcome).map(drop),
        false => outcome.failed(1, &[])?.wrote_none_of(&["image.tar"]).map(drop),
    }
}

/// The registry does not even hear of the layers: base images are looked up, nothing is fetched.
fn dry_run(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("plan-only")?.dockerfile(
        "ARG REGISTRY\nFROM scratch AS unused\nLABEL never=seen\n\
         FROM ${REGISTRY}/busybox AS tools\nRUN echo $HOME\n\
         FROM scratch\nCOPY --from=tools /etc/passwd /users\nENTRYPOINT [\"/none\"]\n",
    )?;
    let outcome = into_archive(build).arg("--dryrun").run()?;
    outcome.succeeded()?.wrote_none_of(&["image.tar", "state/store/blobs"])?;
    let plan = &outcome.finished.stdout;
    for text in ["tools", "busybox", "echo $HOME", "/etc/passwd", "/users", "/none"] {
        ensure!(plan.contains(text), "the plan does not show `{text}`: {plan}");
    }
    ensure!(!plan.contains("never"), "the plan shows what is not built: {plan}");
    says(&outcome.finished.stderr, &["! echo $HOME", "! Unpacked"])
}

fn triggers(lab: &Arc<Lab>) -> Result<()> {
    let base = lab.build("triggers-base")?.dockerfile(
        "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n\
         ONBUILD ENV FROM_BASE=yes\nONBUILD COPY file /copied\n\
         ONBUILD RUN echo first $FROM_BASE $(cat /copied) >> /order\n\
         ONBUILD RUN echo second >> /order\nRUN echo base > /base\n",
    )?;
    let base = base.file("file", "of the base")?.pushed()?;
    let image = base.image()?;
    ensure!(image.setting("OnBuild").as_array().is_some_and(|all| all.len() == 4), "{image:?}");
    ensure!(!image.tree()?.contains_key("/order"), "a trigger ran in its own image");

    let build = lab
        .build("triggers")?
        .file("file", "of the child")?
        .dockerfile("ARG REGISTRY\nFROM ${REGISTRY}/e2e/triggers-base\nRUN echo own >> /order\n")?;
    let child = read(into_archive(build).run()?)?;
    child.holds(&[
        "f 0644 0:0 /copied \"of the child\"",
        "f 0644 0:0 /order \"first yes of the child\\nsecond\\nown\\n\"",
        "f 0644 0:0 /base",
    ])?;
    let config = &child.image.config["config"];
    ensure!(config["OnBuild"].is_null(), "the triggers are handed on: {config}");
    ensure!(config["Env"].to_string().contains("FROM_BASE=yes"), "{config}");
    Ok(())
}

fn own_variables(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("own-variables")?.dockerfile(
        "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nARG PLANTED\nARG WITH=default\n\
         RUN echo ${PLANTED-unset} $WITH ${OTHER-unset} > /seen; env >> /seen\n\
         ENV COPIED=${PLANTED:-none}\n",
    )?;
    let build = into_archive(build);
    let command = build.command();
    let finished =
        command.env("PLANTED", "leak").env("WITH", "leak").env("OTHER", "leak").finish()?;
    let built = read(build.ended(finished))?;
    built.holds(&["f 0644 0:0 /seen \"unset default unset\\n"])?;
    let tree = built.image.tree().map_err(anyhow::Error::msg)?;
    ensure!(!tree.contains("leak"), "a step sees the executor's variables: {tree}");
    let config = built.image.config.to_string();
    ensure!(config.contains("COPIED=none") && !config.contains("leak"), "{config}");
    Ok(())
}
