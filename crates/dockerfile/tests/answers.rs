//! Nodes, directives and errors against BuildKit's own answers.
//!
//! `parser.jsonl`: what its parser makes of a text. `directives.jsonl`: its directives.
//! `errors.jsonl`: the error that its parser (`parse`) or its instructions (`instructions`) report;
//! what stands from `(did you mean` on may differ, because BuildKit's own choice is random.
//! `accepted.jsonl`: texts that both accept, whatever a build makes of them.

use dockerfile::syntax::{self, Node};
use dockerfile::{Phase, directive};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(alias = "text")]
    dockerfile: String,
    #[serde(default)]
    expect: Value,
    expect_error: Option<String>,
    error_lines: Option<Vec<u32>>,
    #[serde(default)]
    phase: String,
}

/// Runs `check` over the rows of a table and reports all that fail.
fn check_rows(table: &str, least: usize, check: impl Fn(&Row) -> Result<(), String>) {
    let mut failed = Vec::new();
    let mut rows = 0;
    for line in table.lines() {
        let row: Row = serde_json::from_str(line).expect("rows are JSON because we wrote them");
        rows += 1;
        if let Err(why) = check(&row) {
            failed.push(format!("{}: {:?}\n    {why}", row.id, row.dockerfile));
        }
    }
    assert!(failed.is_empty(), "{} of {rows} rows:\n{}", failed.len(), failed.join("\n"));
    assert!(rows >= least, "only {rows} rows were read");
}

fn node_json(node: &Node, is_child: bool) -> Value {
    let args: Vec<Value> = match &node.child {
        Some(child) => vec![node_json(child, true)],
        None => node.args.iter().map(|arg| json!(arg)).collect(),
    };
    let lines = if is_child { (0, 0) } else { (node.span.start.line, node.span.end.line) };
    let mut value = json!({
        "cmd": node.command,
        "original": node.line.text,
        "args": args,
        "json": node.json,
        "start": lines.0,
        "end": lines.1,
    });
    if !node.flags.is_empty() {
        value["flags"] = node.flags.iter().map(|flag| json!(flag.text)).collect();
    }
    if !node.comments.is_empty() {
        value["comments"] = json!(node.comments);
    }
    if !node.heredocs.is_empty() {
        let heredoc = |h: &dockerfile::Heredoc| json!({"name": h.name, "fd": h.fd, "expand": h.expand, "chomp": h.chomp, "content": h.content});
        value["heredocs"] = node.heredocs.iter().map(heredoc).collect();
    }
    value
}

/// Removes what the rows may leave out because it is empty.
fn without_empty(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        for key in ["flags", "comments", "heredocs"] {
            if object
                .get(key)
                .is_some_and(|v| v.is_null() || v.as_array().is_some_and(Vec::is_empty))
            {
                object.remove(key);
            }
        }
    }
    value
}

fn same_error(got: &str, expected: &str) -> bool {
    let before = |text: &str| text.split(" (did you mean").next().unwrap_or_default().to_owned();
    before(got) == before(expected)
}

#[test]
fn reads_lines_as_buildkit_does() {
    check_rows(include_str!("data/parser.jsonl"), 60, |row| {
        let syntax = syntax::read(row.dockerfile.as_bytes());
        match (syntax.errors.first(), &row.expect_error) {
            (Some(got), Some(expected)) => {
                let lines: Vec<u32> = got.buildkit_lines().collect();
                if !same_error(&got.to_string(), expected)
                    || Some(&lines) != row.error_lines.as_ref()
                {
                    return Err(format!(
                        "{got} {lines:?}, expected {expected} {:?}",
                        row.error_lines
                    ));
                }
                return Ok(());
            }
            (None, None) => {}
            (got, expected) => return Err(format!("{got:?}, expected {expected:?}")),
        }
        if row.expect["escape"] != json!(syntax.escape) {
            return Err(format!("escape {}", syntax.escape));
        }
        let got: Vec<Value> = syntax.nodes.iter().map(|node| node_json(node, false)).collect();
        let expected: Vec<Value> = row.expect["nodes"]
            .as_array()
            .map(|nodes| nodes.iter().cloned().map(without_empty).collect())
            .unwrap_or_default();
        if got != expected {
            return Err(format!("{}\n    {}", json!(got), json!(expected)));
        }
        // A warning of BuildKit's parser is a blank line among continued ones.
        let warnings =
            syntax.nodes.iter().filter(|node| node.line.empty_continuation.is_some()).count();
        let expected = row.expect["warnings"].as_array().map_or(0, Vec::len);
        if warnings != expected {
            return Err(format!("{warnings} warnings, expected {expected}"));
        }
        Ok(())
    });
}

#[test]
fn reads_directives_as_buildkit_does() {
    check_rows(include_str!("data/directives.jsonl"), 4, |row| {
        let (found, error) = directive::directives(&row.dockerfile, "#");
        let mut got = json!({
            "directives": found
                .iter()
                .map(|d| json!({"name": d.name, "value": d.value, "line": d.line}))
                .collect::<Vec<_>>(),
        });
        if let Some(error) = error {
            got["error"] = json!(error.to_string());
        }
        if let Some(syntax) = directive::detect_syntax(row.dockerfile.as_bytes()) {
            got["syntax"] = json!(syntax.image);
            got["syntax_cmdline"] = json!(syntax.command_line);
        }
        let mut expected = row.expect.clone();
        if expected["directives"].is_null() {
            expected["directives"] = json!([]);
        }
        if got == expected { Ok(()) } else { Err(format!("{got}\n    {expected}")) }
    });
}

#[test]
fn reports_errors_as_buildkit_does() {
    check_rows(include_str!("data/errors.jsonl"), 50, |row| {
        let errors = match dockerfile::parse(row.dockerfile.as_bytes()) {
            Ok(file) => return Err(format!("accepted: {file:?}")),
            Err(errors) => errors,
        };
        let got = errors.first().expect("a failure has at least one error");
        let expected = row.expect_error.as_deref().unwrap_or_default();
        if !same_error(&got.to_string(), expected) {
            return Err(format!("{got}, expected {expected}"));
        }
        let lines: Vec<u32> = got.buildkit_lines().collect();
        if row.error_lines.as_ref().is_some_and(|expected| *expected != lines) {
            return Err(format!("lines {lines:?}, expected {:?}", row.error_lines));
        }
        let is_syntax = got.phase == Phase::Syntax;
        if is_syntax != (row.phase == "parse") {
            return Err(format!("{:?}, expected {}", got.phase, row.phase));
        }
        Ok(())
    });
}

#[test]
fn accepts_what_buildkit_accepts() {
    check_rows(include_str!("data/accepted.jsonl"), 300, |row| {
        dockerfile::parse(row.dockerfile.as_bytes())
            .map(drop)
            .map_err(|errors| format!("{errors:?}"))
    });
}
