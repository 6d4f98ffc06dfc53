//! Base images whose config wants more than it may: it is for the steps alone, and what it says is
//! never a reason to do something else on the builder's side.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Lab, Outcome};
use serde_json::{Value, json};
use testkit::base_image;

use crate::archive::{into_archive, read};
use crate::{Test, root_test};

/// What a build on such an image comes to.
enum Expected {
    /// The step writes this.
    Writes(&'static str),
    /// It is refused, with these texts.
    Refused(&'static [&'static str]),
}
use Expected::{Refused, Writes};

struct Case {
    name: &'static str,
    /// What differs from an ordinary `config`.
    config: fn() -> Value,
    /// Writes to `/told`.
    step: &'static str,
    expected: Expected,
}

const CASES: &[Case] = &[
    Case {
        name: "a_variable_of_several_lines_and_escapes",
        config: || json!({ "Env": ["PATH=/bin", "ODD=a\nb\u{1b}[31mc"] }),
        step: "printf %s \"$ODD\" | wc -c > /told; echo \"$ODD\"; exit 0",
        expected: Writes("9\\n"),
    },
    Case {
        name: "variables_that_programs_obey",
        config: || {
            json!({ "Env": [
                "PATH=/bin",
                "LD_PRELOAD=/evil.so",
                "HOME=/evil",
                "DOCKER_CONFIG=/evil",
                "GIT_SSH_COMMAND=/evil",
                "SSL_CERT_FILE=/evil",
                "HTTP_PROXY=http://127.0.0.1:1",
                "HTTPS_PROXY=http://127.0.0.1:1",
                "ALL_PROXY=http://127.0.0.1:1",
                "KANIKO_DIR=/evil",
                "KANIKO_NO_PUSH=1",
            ] })
        },
        step: "env | grep -c -e evil -e 127.0.0.1:1 -e NO_PUSH > /told",
        expected: Writes("10\\n"),
    },
    Case {
        name: "a_user_that_is_too_large_is_not_root",
        config: || json!({ "Env": ["PATH=/bin"], "User": "4294967296" }),
        step: "id -u > /told",
        expected: Refused(&["4294967296"]),
    },
    Case {
        name: "a_user_that_nobody_knows",
        config: || json!({ "Env": ["PATH=/bin"], "User": "nobody-knows" }),
        step: "id -u > /told",
        expected: Refused(&["nobody-knows"]),
    },
    Case {
        name: "a_directory_above_the_root",
        config: || json!({ "Env": ["PATH=/bin"], "WorkingDir": "../../../../.." }),
        step: "pwd > /told",
        expected: Writes("/\\n"),
    },
    Case {
        name: "volumes_everywhere",
        config: || json!({ "Env": ["PATH=/bin"], "Volumes": { "/": {}, "/kaniko": {}, "../..": {} } }),
        step: "echo x > /told",
        expected: Writes("x\\n"),
    },
    Case {
        name: "a_trigger_that_is_a_stage",
        config: || json!({ "Env": ["PATH=/bin"], "OnBuild": ["FROM scratch"] }),
        step: "echo x > /told",
        expected: Refused(&["FROM", "ONBUILD"]),
    },
    Case {
        name: "a_trigger_that_is_a_trigger",
        config: || json!({ "Env": ["PATH=/bin"], "OnBuild": ["ONBUILD RUN true"] }),
        step: "echo x > /told",
        expected: Refused(&["ONBUILD"]),
    },
    Case {
        name: "a_trigger_that_reads_outside_the_context",
        config: || json!({ "Env": ["PATH=/bin"], "OnBuild": ["COPY ../../etc/shadow /told"] }),
        step: "true",
        expected: Refused(&["etc/shadow"]),
    },
    Case {
        name: "ten_thousand_labels",
        config: || {
            let labels = (0..10_000).map(|n| (format!("label-{n}"), json!("x".repeat(50))));
            let labels: serde_json::Map<String, Value> = labels.collect();
            json!({ "Env": ["PATH=/bin"], "Labels": labels })
        },
        step: "echo x > /told",
        expected: Writes("x\\n"),
    },
    Case {
        name: "ports_that_are_none",
        config: || json!({ "Env": ["PATH=/bin"], "ExposedPorts": { "99999/evil": {} } }),
        step: "echo x > /told",
        expected: Writes("x\\n"),
    },
    Case {
        name: "a_shell_of_its_own",
        config: || json!({ "Env": ["PATH=/bin"], "Shell": ["/kaniko/executor", "version"] }),
        step: "echo x > /told",
        expected: Refused(&["/kaniko/executor"]),
    },
];

pub(crate) fn tests() -> Vec<Test> {
    let test = |case: &'static Case| {
        root_test(format!("base_configs::{}", case.name), move |lab| check(lab, case))
    };
    CASES.iter().map(test).collect()
}

fn check(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    let outcome = build_on(lab, case)?;
    let text = outcome.text();
    ensure!(!text.contains("panicked"), "it panicked: {text}");
    match case.expected {
        Writes(told) => {
            let file = format!("f 0644 0:0 /told \"{told}\"");
            read(outcome)?.holds(&[&file]).with_context(|| text)
        }
        Refused(texts) => {
            outcome.failed(1, texts)?.wrote_none_of(&["image.tar"])?;
            ensure!(!outcome.finished.stderr.contains('\u{1b}'), "an escape sequence: {text}");
            Ok(())
        }
    }
}

fn build_on(lab: &Arc<Lab>, case: &Case) -> Result<Outcome> {
    let layout = lab.scratch("config")?;
    base_image::busybox_with(&layout, "image", &(case.config)()).map_err(anyhow::Error::msg)?;
    let name = format!("configs/{}", case.name);
    lab.push_layout(&layout, "image", &name, &[])?;
    let text = format!("FROM {}/{name}\nRUN {}\n", lab.host(), case.step);
    into_archive(lab.build(case.name)?.dockerfile(&text)?).run()
}
