//! What BuildKit answered to the same text: configs, history, errors and git references.
//!
//! `data/*.jsonl` hold one case per line. A case that we answer otherwise on purpose is in the
//! list of its test, with the reason; the test fails for a listed case that has become equal.

mod support;

use serde_json::{Value, json};

use plan::{PlanOptions, Unimplemented, gitref};
use support::{Images, Planned, Refused, images, options};

const CONFIG: &str = include_str!("data/config.jsonl");
const FS: &str = include_str!("data/fs.jsonl");
const ERRORS: &str = include_str!("data/errors.jsonl");
const GITREF: &str = include_str!("data/gitref.jsonl");
const BASES: &str = include_str!("data/base_images.json");
const FS_BASES: &str = include_str!("data/fs_base_images.json");

const CLEAN_WORKDIR: &str = "the config gets the clean path of a WORKDIR";
const MISSING_BRACE: &str = "an unterminated `${x` is reported as a missing brace";

fn cases(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a case is JSON")).collect()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or("")
}

/// What a case asks of the planner. Features that are not carried out yet are planned all the
/// same: how they are written in an image does not depend on it.
fn options_of(case: &Value) -> PlanOptions {
    let pairs = |key: &str| {
        let object = case[key].as_object().cloned().unwrap_or_default();
        let pair = |(key, value): (String, Value)| {
            (key, value.as_str().expect("options are texts").to_owned())
        };
        object.into_iter().map(pair).collect()
    };
    PlanOptions {
        targets: case["target"].as_str().map(str::to_owned).into_iter().collect(),
        build_args: pairs("build_args"),
        labels: pairs("labels"),
        platform: case["platform"].as_str().map(|p| p.parse().expect("a platform")),
        unimplemented: Unimplemented::Plan,
        ..options()
    }
}

/// Compares all cases with our answers; `differs` says what is wrong with one.
fn check(data: &str, deliberate: &[(&str, &str)], differs: impl Fn(&Value) -> Option<String>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases(data) {
        count += 1;
        let id = text(&case, "id");
        let listed = deliberate.iter().any(|(known, _)| *known == id);
        match (differs(&case), listed) {
            (Some(difference), false) => failures.push(format!("{id}\n{difference}")),
            (None, true) => failures.push(format!("{id} is listed, but there is no difference")),
            (Some(_), true) | (None, false) => {}
        }
    }
    let failed = failures.len();
    assert!(failures.is_empty(), "{failed} of {count} cases:\n{}", failures.join("\n\n"));
}

/// The part of a message that is compared: suggestions depend on the order of a Go map.
fn message(text: &str) -> &str {
    text.split(" (did you mean").next().unwrap_or("")
}

fn refusal(case: &Value, refused: &Refused) -> Option<String> {
    let (expected, found) = (message(text(case, "expect_error")), message(&refused.message));
    if expected != found {
        return Some(format!("expected {expected:?}\n   found {found:?}"));
    }
    let lines = case["error_lines"].as_array()?;
    let found: Vec<u32> = refused.lines.iter().map(|(first, _)| *first).collect();
    let expected: Vec<u32> =
        lines.iter().map(|line| line.as_u64().expect("lines are numbers") as u32).collect();
    // BuildKit names the line of a bad platform twice.
    let same = expected == found || expected == [1, 1] && found == [1];
    (!same).then(|| format!("expected lines {expected:?}, found {found:?}"))
}

/// What of an image is compared with a recorded answer.
fn summary(image: &oci::Image) -> Value {
    let document: Value = serde_json::from_slice(image.config().bytes()).expect("a config is JSON");
    let history = document["history"].as_array().cloned().unwrap_or_default();
    let history: Vec<Value> = history
        .into_iter()
        .map(|mut entry| {
            if let Some(object) = entry.as_object_mut() {
                object.remove("created");
            }
            entry
        })
        .collect();
    json!({
        "config": document["config"],
        "history": history,
        "author": document["author"],
        "os": document["os"],
        "architecture": document["architecture"],
        "variant": document["variant"],
    })
}

/// Findings of the linter, by line, rule and text. Suggestions depend on the order of a Go map.
fn warnings_differ(case: &Value, planned: &Planned) -> Option<String> {
    let recorded = case["warnings"].as_array().cloned().unwrap_or_default();
    let mut expected: Vec<String> = recorded
        .iter()
        .map(|found| {
            format!("{} {}: {}", found["line"], text(found, "rule"), message(text(found, "msg")))
        })
        .collect();
    let mut found: Vec<String> = planned
        .plan
        .warnings
        .iter()
        .map(|warning| {
            let line = warning.span.start.line;
            format!("{line} {}: {}", warning.rule, message(&warning.detail))
        })
        .collect();
    expected.sort();
    found.sort();
    (expected != found).then(|| format!("expected warnings {expected:#?}\n   found {found:#?}"))
}

fn differs_from_image(case: &Value, images: &Images) -> Option<String> {
    differs_from_image_with(case, images, &options_of(case))
}

fn differs_from_image_with(case: &Value, images: &Images, options: &PlanOptions) -> Option<String> {
    let planned = support::plan(text(case, "dockerfile"), options, images);
    let planned = match (planned, case["expect_error"].is_string()) {
        (Ok(_), true) => return Some("a refusal is expected".to_owned()),
        (Err(refused), true) => return refusal(case, &refused),
        (Err(refused), false) => return Some(format!("refused: {}", refused.message)),
        (Ok(planned), false) => planned,
    };
    let (expected, found) = (&case["expect"], summary(&planned.image()));
    let parts = ["config", "history", "author", "os", "architecture", "variant"];
    let Some(part) = parts.iter().find(|part| expected[**part] != found[**part]) else {
        return warnings_differ(case, &planned);
    };
    Some(format!("{part}: expected {}\n{part}:    found {}", expected[part], found[part]))
}

#[test]
fn images_have_the_recorded_config_and_history() {
    let deliberate = [
        ("workdir-dotdot", CLEAN_WORKDIR),
        ("workdir-full-dotdot", CLEAN_WORKDIR),
        ("workdir-scratch-dotdot", CLEAN_WORKDIR),
        ("workdir-full-trail", CLEAN_WORKDIR),
        ("workdir-scratch-trail", CLEAN_WORKDIR),
        ("workdir-full-var", CLEAN_WORKDIR),
        ("workdir-scratch-var", CLEAN_WORKDIR),
    ];
    let images = images(BASES);
    check(CONFIG, &deliberate, |case| {
        let mut images = images.clone();
        for (name, document) in case["images_extra"].as_object().into_iter().flatten() {
            images.insert(name.clone(), support::config(document));
        }
        differs_from_image(case, &images)
    });
}

#[test]
fn built_images_have_the_recorded_config_and_history() {
    let images = images(FS_BASES);
    // Steps that failed when they ran have a plan all the same.
    let planned: Vec<String> =
        cases(FS).iter().filter(|case| case["expect"].is_object()).map(Value::to_string).collect();
    check(&planned.join("\n"), &[("workdir-dotdot", CLEAN_WORKDIR)], |case| {
        // These recordings have no findings.
        let mut options = options_of(case);
        options.lint = plan::Lint::Off;
        differs_from_image_with(case, &images, &options)
    });
}

#[test]
fn mistakes_get_the_recorded_messages_and_lines() {
    let deliberate = [
        ("copy-subst-bad", MISSING_BRACE),
        ("volume-subst", MISSING_BRACE),
        ("expose-subst", MISSING_BRACE),
    ];
    let images = images(BASES);
    check(ERRORS, &deliberate, |case| {
        match support::plan(text(case, "dockerfile"), &options_of(case), &images) {
            Ok(_) => Some("a refusal is expected".to_owned()),
            Err(refused) => refusal(case, &refused),
        }
    });
}

#[test]
fn git_references_are_the_recorded_ones() {
    let field = |text: &Option<String>| text.clone().unwrap_or_default();
    let data = GITREF;
    check(data, &[], |case| {
        let found = gitref::parse(text(case, "ref"));
        let is_git = found.as_ref().map_or_else(gitref::Error::is_git, |_| true);
        if is_git != case["is_git"].as_bool().unwrap_or(false) {
            return Some(format!("expected is_git {}, found {found:?}", case["is_git"]));
        }
        let git = match found {
            Ok(git) => git,
            Err(error) => {
                let expected = text(case, "expect_error");
                let same = error.to_string() == expected;
                return (!same).then(|| format!("expected {expected:?}, found {error}"));
            }
        };
        let expected = &case["expect"];
        let same = git.remote == text(expected, "Remote")
            && git.short_name == text(expected, "ShortName")
            && field(&git.reference) == text(expected, "Ref")
            && field(&git.checksum) == text(expected, "Checksum")
            && field(&git.subdir) == text(expected, "SubDir")
            && json!(git.keep_git_dir) == expected["KeepGitDir"]
            && json!(git.submodules) == expected["Submodules"]
            && git.unencrypted_tcp == expected["UnencryptedTCP"].as_bool().unwrap_or(false)
            && git.indistinguishable_from_local
                == expected["IndistinguishableFromLocal"].as_bool().unwrap_or(false);
        (!same).then(|| format!("expected {expected}\n   found {git:?}"))
    });
}
