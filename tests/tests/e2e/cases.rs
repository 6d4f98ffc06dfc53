//! Every directory of `tests/cases` is a build that buildah makes too; config, history and files
//! must be the same.
//!
//! `case.json` says what is special: build arguments, a target, and the differences from buildah
//! that are right, each with its reason (BuildKit is the judge). Where buildah does not know a
//! feature at all, the case lists the files that must be there instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use kaniko_tests::{Build, Lab, PulledImage, buildah, repository, tree};
use serde::Deserialize;
use serde_json::Value;

use crate::{Test, root_test};

/// The content of `case.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    build_args: BTreeMap<String, String>,
    target: Option<String>,
    /// Needs the Debian image too.
    debian: bool,
    /// Differences from buildah that are right.
    differences: Vec<Difference>,
    /// Why buildah cannot build it; `files` must say what is expected then.
    without_buildah: Option<String>,
    /// Files that must be as described, or `absent`.
    files: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// The whole line of the difference, or its start if it ends in `…`.
    what: String,
    #[allow(dead_code, reason = "for whoever reads the case")]
    reason: String,
}

fn directory() -> PathBuf {
    repository().join("tests/cases")
}

/// The names of all cases.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(directory()).map(|entries| entries.flatten().collect());
    let mut names: Vec<String> = entries
        .unwrap_or_else(|_| Vec::new())
        .iter()
        .map(|entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = names()
        .into_iter()
        .map(|name| root_test(format!("cases::{name}"), move |lab| check(lab, &name)))
        .collect();
    tests.push(root_test("cases::at_least_thirty_are_compared_with_buildah", enough));
    tests
}

fn read_case(name: &str) -> Result<Case> {
    let file = directory().join(name).join("case.json");
    if !file.exists() {
        return Ok(Case::default());
    }
    let text = std::fs::read_to_string(&file)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a case", file.display()))
}

fn enough(_: &Arc<Lab>) -> Result<()> {
    let mut compared = 0;
    for entry in std::fs::read_dir(directory())? {
        let case = read_case(&entry?.file_name().to_string_lossy())?;
        compared += usize::from(case.without_buildah.is_none());
    }
    ensure!(compared >= 30, "only {compared}");
    Ok(())
}

/// The build of a case, under a name of its own.
pub(crate) fn build(lab: &Arc<Lab>, name: &str, build: &str) -> Result<Build> {
    let case = read_case(name)?;
    if case.debian {
        lab.need_debian()?;
    }
    // A copy without `case.json`, so that every builder sees the context only.
    let mut build = lab.build(build)?;
    copy_context(&directory().join(name), &build.directory.join("context"))?;
    for (key, value) in &case.build_args {
        build = build.arg(format!("--build-arg={key}={value}"));
    }
    if let Some(target) = &case.target {
        build = build.arg(format!("--target={target}"));
    }
    Ok(build)
}

fn check(lab: &Arc<Lab>, name: &str) -> Result<()> {
    let case = read_case(name)?;
    let build = build(lab, name, name)?;
    let context = build.directory.join("context");
    let ours = build.pushed()?.image()?;
    let files = ours.tree()?;
    for (path, expected) in &case.files {
        let found = files.get(path).map_or("absent", String::as_str);
        ensure!(found == expected, "{path} is {found}, not {expected}");
    }
    if case.without_buildah.is_some() {
        ensure!(!case.files.is_empty(), "without buildah the case must list files");
        return Ok(());
    }
    let theirs = buildah::build(lab, name, &context, &case.build_args, case.target.as_deref())?;
    let mut found = config_differences(&ours, &theirs);
    found.extend(history_difference(&ours, &theirs));
    found.extend(file_differences(&files, &theirs.tree()?));
    judge(&found, &case.differences)
}

/// Every difference must be expected, and every expected one must be there.
fn judge(found: &[String], expected: &[Difference]) -> Result<()> {
    let matches = |line: &str, difference: &Difference| match difference.what.strip_suffix('…') {
        Some(start) => line.starts_with(start),
        None => line == difference.what,
    };
    let surprising: Vec<&str> = found
        .iter()
        .filter(|line| !expected.iter().any(|difference| matches(line, difference)))
        .map(String::as_str)
        .collect();
    let missing: Vec<&str> = expected
        .iter()
        .filter(|difference| !found.iter().any(|line| matches(line, difference)))
        .map(|difference| difference.what.as_str())
        .collect();
    if surprising.is_empty() && missing.is_empty() {
        return Ok(());
    }
    bail!(
        "unexpected:\n  {}\nexpected but gone:\n  {}",
        surprising.join("\n  "),
        missing.join("\n  ")
    )
}

/// Copies the context of a case, as a clone with any umask has it.
pub(crate) fn copy_context(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() == "case.json" {
            continue;
        }
        // cp keeps links and modes; owners become root's, as in a fresh clone.
        kaniko_tests::tool("cp")
            .args(["--recursive", "--no-dereference", "--preserve=mode,links,timestamps"])
            .arg(entry.path())
            .arg(to)
            .read()?;
    }
    // Git knows no other modes than these, and the umask of a clone is not to matter.
    kaniko_tests::tool("chmod").arg("--recursive").arg("u=rwX,go=rX").arg(to).read()?;
    Ok(())
}

const SETTINGS: &[&str] = &[
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "Labels",
    "ExposedPorts",
    "Volumes",
    "Healthcheck",
    "StopSignal",
    "Shell",
    "OnBuild",
];

fn config_differences(ours: &PulledImage, theirs: &PulledImage) -> Vec<String> {
    let mut lines = Vec::new();
    for name in SETTINGS {
        let left = plain(ours.setting(name).clone());
        let mut right = theirs.setting(name).clone();
        if let Some(labels) = right.as_object_mut() {
            // buildah signs its images.
            labels.remove("io.buildah.version");
        }
        let right = plain(right);
        if left != right {
            lines.push(format!("config {name}: ours {left}, theirs {right}"));
        }
    }
    lines
}

/// Absent, null, empty: Go writes all three for the same thing. The order of keys says nothing.
fn plain(value: Value) -> Value {
    let is_empty = match &value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Null | Value::Bool(_) => false,
    };
    if is_empty {
        return Value::Null;
    }
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, plain_inside(value))).collect();
            sorted.into_iter().filter(|(_, value)| !value.is_null()).collect()
        }
        other => other,
    }
}

/// Inside a map an empty object is a value (`ExposedPorts`), zero is none (`Healthcheck`).
fn plain_inside(value: Value) -> Value {
    if value.as_i64() == Some(0) { Value::Null } else { value }
}

fn history_difference(ours: &PulledImage, theirs: &PulledImage) -> Option<String> {
    let (left, right) = (instructions(ours), instructions(theirs));
    (left != right).then(|| format!("history: ours {}, theirs {}", left.join(" "), right.join(" ")))
}

/// The instructions of the history. `RUN` is written as the command itself by buildah, and both
/// write `ENV` and `LABEL` of one line with several pairs as one entry.
fn instructions(image: &PulledImage) -> Vec<String> {
    let entries = image.config["history"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|entry| instruction(entry["created_by"].as_str().unwrap_or_default()))
        .collect()
}

fn instruction(created_by: &str) -> String {
    let known = [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    let text = match created_by.split_once("#(nop)") {
        Some((_, text)) => text.trim(),
        None => created_by.trim(),
    };
    let word = text.split_whitespace().next().unwrap_or_default();
    // buildah keeps the spelling of the Dockerfile.
    let upper = word.to_uppercase();
    if word == "base" || known.contains(&upper.as_str()) { upper } else { "RUN".to_owned() }
}

/// Mount points and files of the machine that buildah leaves behind in its layers.
const LEFT_BY_BUILDAH: &[&str] = &[
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc",
    "/run/.containerenv",
    "/run/secrets",
    "/var",
    "/var/run",
];

fn file_differences(ours: &tree::Tree, theirs: &tree::Tree) -> Vec<String> {
    let mut theirs = theirs.clone();
    theirs.retain(|path, _| ours.contains_key(path) || !LEFT_BY_BUILDAH.contains(&path.as_str()));
    tree::differences(ours, &theirs)
}
