//! What every source file and every manifest must and must not hold.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::shell;

/// A source file with its path relative to the workspace.
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

/// Reads the Rust files of the workspace, in the order of their paths.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    for directory in ["crates", "bins", "xtask", "tests", "benches", "fuzz"] {
        let directory = root.join(directory);
        if directory.is_dir() {
            collect(&directory, &mut paths)?;
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = shell::read(&path)?;
        let path = path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
        Ok(Source { path, text })
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Texts that no source file may hold, split so that this file does not hold them.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("#[ig", "nore", "a test is run or it is not written"),
    ("#[should_", "panic", "compare the error"),
    (".unw", "rap()", "use `?`, or `expect` with the reason"),
    ("todo", "!(", "what is not implemented is an error that names it"),
    ("unimple", "mented!(", "what is not implemented is an error that names it"),
    ("thread::sl", "eep", "wait for a condition, with a deadline"),
    ("FIX", "ME", "open an issue"),
    ("TO", "DO", "open an issue"),
];

const MAIN_LINES: usize = 60;

/// Checks every file against every rule.
pub(crate) fn check(files: &[Source]) -> Vec<String> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &Source) -> Vec<String> {
    let path = file.path.display();
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        findings.push(format!("{path}: opens without a `//!` line that says what it is for"));
    }
    for (number, line) in file.text.lines().enumerate() {
        for (head, tail, instead) in FORBIDDEN {
            let word = [*head, *tail].concat();
            if line.contains(&word) {
                findings.push(format!("{path}:{}: `{word}`: {instead}", number + 1));
            }
        }
    }
    let parts: Vec<&str> =
        file.path.components().filter_map(|part| part.as_os_str().to_str()).collect();
    let lines = file.text.lines().count();
    if parts.first() == Some(&"bins") && parts.last() == Some(&"main.rs") && lines > MAIN_LINES {
        findings.push(format!("{path}: {lines} lines; programs only wire, in {MAIN_LINES}"));
    }
    if let ["crates", name, "src", "lib.rs"] = parts.as_slice()
        && *name != "sys"
        && !file.text.contains("#![forbid(unsafe_code)]")
    {
        findings.push(format!("{path}: lacks `#![forbid(unsafe_code)]`"));
    }
    findings
}

/// Every member takes its lints and its versions from the workspace.
pub(crate) fn check_manifests(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for directory in ["crates", "bins", "xtask", "tests", "benches"] {
        let directory = root.join(directory);
        let mut manifests = vec![directory.join("Cargo.toml")];
        if !manifests[0].is_file() {
            manifests.clear();
            for entry in std::fs::read_dir(&directory)? {
                manifests.push(entry?.path().join("Cargo.toml"));
            }
            manifests.sort();
        }
        for manifest in manifests {
            let text = shell::read(&manifest)?;
            let path = manifest.strip_prefix(root).unwrap_or(&manifest).display().to_string();
            findings.extend(check_manifest(&path, &text));
        }
    }
    Ok(findings)
}

fn check_manifest(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.contains("[lints]\nworkspace = true") {
        findings.push(format!("{path}: does not take its lints from the workspace"));
    }
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies]")
            && line.contains('=')
            && !line.starts_with(['#', ' ', ']'])
            && !line.contains("workspace = true")
        {
            findings.push(format!("{path}: `{line}` does not take its version from the workspace"));
        }
    }
    findings
}

const LISTED: usize = 8;

/// Prints the longest files and functions, for whoever looks for a second responsibility.
pub(crate) fn report_sizes(files: &[Source]) {
    let mut lengths: Vec<(usize, String)> = files
        .iter()
        .map(|file| (code_lines(&file.text).count(), file.path.display().to_string()))
        .collect();
    print_longest("files (lines without tests)", &mut lengths);
    let mut functions: Vec<(usize, String)> = files.iter().flat_map(functions).collect();
    print_longest("functions (lines)", &mut functions);
}

fn print_longest(what: &str, lengths: &mut [(usize, String)]) {
    lengths.sort_by(|a, b| b.cmp(a));
    println!("longest {what}:");
    for (length, name) in lengths.iter().take(LISTED) {
        println!("{length:>6} {name}");
    }
}

/// The lines before the tests of the file.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]")
}

/// Functions with their length, by rustfmt's layout: the end has the indentation of the start.
fn functions(file: &Source) -> Vec<(usize, String)> {
    let lines: Vec<&str> = code_lines(&file.text).collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indentation = line.len() - line.trim_start().len();
        let Some(name) = function_name(line.trim_start()) else { continue };
        let end = format!("{}}}", " ".repeat(indentation));
        let Some(length) = lines[start..].iter().position(|line| **line == end) else { continue };
        found.push((length + 1, format!("{}: {name}", file.path.display())));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualifies = |word: &str| {
        word.starts_with("pub") || ["async", "const", "unsafe", "in", "super)"].contains(&word)
    };
    if line.ends_with(';') || !before.split_whitespace().all(qualifies) {
        return None;
    }
    after.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str, expected: &[&str]) {
        let file = Source { path: PathBuf::from(path), text: text.to_owned() };
        assert_eq!(check_file(&file), expected, "{path}");
    }

    #[test]
    fn files_without_a_header_or_with_a_forbidden_word_are_found() {
        check_text("crates/oci/src/digest.rs", "//! Digests.\nfn a() {}\n", &[]);
        check_text(
            "crates/oci/src/digest.rs",
            "fn a() {}\n",
            &["crates/oci/src/digest.rs: opens without a `//!` line that says what it is for"],
        );
        let call = [".unw", "rap()"].concat();
        let finding = format!("a.rs:2: `{call}`: use `?`, or `expect` with the reason");
        check_text("a.rs", &format!("//! A.\nlet x = y{call};\n"), &[&finding]);
    }

    #[test]
    fn programs_only_wire_and_libraries_forbid_unsafe_code() {
        let long = "//! Main.\n".repeat(61);
        let finding = "bins/executor/src/main.rs: 61 lines; programs only wire, in 60";
        check_text("bins/executor/src/main.rs", &long, &[finding]);
        let finding = "crates/oci/src/lib.rs: lacks `#![forbid(unsafe_code)]`";
        check_text("crates/oci/src/lib.rs", "//! Oci.\n", &[finding]);
        check_text("crates/sys/src/lib.rs", "//! Sys.\n", &[]);
    }

    #[test]
    fn manifests_take_versions_and_lints_from_the_workspace() {
        let good = "[dependencies]\noci.workspace = true\nx = { workspace = true }\n\n[lints]\nworkspace = true\n";
        assert_eq!(check_manifest("p", good), Vec::<String>::new());
        let bad = "[dependencies]\noci = \"1\"\n";
        assert_eq!(
            check_manifest("p", bad),
            [
                "p: does not take its lints from the workspace",
                "p: `oci = \"1\"` does not take its version from the workspace"
            ]
        );
    }

    #[test]
    fn the_length_of_a_function_is_found() {
        let text = "//! A.\nimpl A {\n    pub(crate) fn one(&self) {\n        two();\n    }\n}\n";
        let file = Source { path: PathBuf::from("a.rs"), text: text.to_owned() };
        assert_eq!(functions(&file), [(3, "a.rs: one".to_owned())]);
    }
}
