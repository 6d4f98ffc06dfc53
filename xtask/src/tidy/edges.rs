//! Who may depend on whom: the table, compared with cargo's own metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::shell;

const ANY_LIBRARY: &[&str] = &[
    "oci",
    "dockerfile",
    "glob",
    "plan",
    "sys",
    "rootfs",
    "layer",
    "snapshot",
    "copy",
    "run",
    "store",
    "transport",
    "registry",
    "cloud",
    "context",
    "cache",
    "builder",
    "testkit",
    "tests",
];

/// The table of `docs/ARCHITECTURE.md`, section 3: a member and what of ours it may depend on.
/// Dev-dependencies may add `testkit`.
const TABLE: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("dockerfile", &[]),
    ("glob", &[]),
    ("sys", &[]),
    ("testkit", &[]),
    ("rootfs", &["sys"]),
    ("plan", &["dockerfile", "oci", "glob"]),
    ("snapshot", &["rootfs", "sys"]),
    ("run", &["rootfs", "sys"]),
    ("layer", &["oci", "rootfs"]),
    ("store", &["oci", "rootfs"]),
    ("copy", &["glob", "rootfs", "layer"]),
    ("transport", &["sys"]),
    ("registry", &["oci", "transport", "sys"]),
    ("cloud", &["oci", "transport", "registry"]),
    ("context", &["glob", "rootfs", "layer", "transport", "sys"]),
    ("cache", &["oci", "plan", "store", "registry"]),
    ("cli", &["oci", "sys"]),
    ("connect", &["cli", "registry", "cloud"]),
    (
        "builder",
        &[
            "oci",
            "dockerfile",
            "glob",
            "plan",
            "sys",
            "rootfs",
            "layer",
            "snapshot",
            "copy",
            "run",
            "store",
            "transport",
            "registry",
            "context",
            "cache",
        ],
    ),
    ("executor", &["cli", "connect", "builder", "registry", "store", "cache", "sys"]),
    (
        "warmer",
        &["cli", "connect", "cache", "plan", "dockerfile", "registry", "transport", "oci", "sys"],
    ),
    ("xtask", &["cli", "testkit"]),
    ("tests", &["testkit", "oci"]),
    ("benches", ANY_LIBRARY),
];

const PURE_AND_LOCAL: &[&str] = &[
    "oci",
    "dockerfile",
    "glob",
    "plan",
    "sys",
    "rootfs",
    "layer",
    "snapshot",
    "copy",
    "run",
    "store",
];

/// What pure and local crates must not reach, however far below.
const REMOTE: &[&str] = &["tokio", "reqwest", "hyper", "rustls", "gix", "object_store"];

/// Who may name a dependency directly.
const RESERVED: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("miette", &["cli"]),
    ("gix", &["context"]),
    ("object_store", &["context"]),
    ("anyhow", &["xtask", "tests"]),
    ("reqwest", &["transport", "registry", "context"]),
];

/// Compares the table with the workspace.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let text = shell::cargo(root)
        .args(["metadata", "--format-version=1", "--locked", "--all-features"])
        .read()?;
    let graph =
        Graph::parse(&serde_json::from_str(&text)?).context("cargo metadata is not as expected")?;
    Ok(findings(&graph))
}

fn findings(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    let table: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    for (member, direct) in &graph.direct {
        let Some(allowed) = table.get(member.as_str()) else {
            findings.push(format!("member `{member}` is not in the dependency table"));
            continue;
        };
        for edge in direct.iter().filter(|edge| graph.direct.contains_key(&edge.to)) {
            let is_allowed = allowed.contains(&edge.to.as_str());
            if !(is_allowed || edge.dev && edge.to == "testkit") {
                findings.push(format!("`{member}` must not depend on `{}`", edge.to));
            }
        }
        for (dependency, owners) in RESERVED {
            let names_it = direct.iter().any(|edge| edge.to == *dependency);
            if names_it && !owners.contains(&member.as_str()) {
                findings.push(format!("`{member}` must not depend on `{dependency}`"));
            }
        }
    }
    for member in PURE_AND_LOCAL {
        let reached = graph.reach(member);
        for name in REMOTE.iter().filter(|name| reached.contains(**name)) {
            findings.push(format!("`{member}` reaches `{name}`"));
        }
    }
    findings
}

#[derive(Debug)]
struct Edge {
    to: String,
    dev: bool,
}

/// Packages by short name: ours without `kaniko-`.
#[derive(Debug, Default)]
struct Graph {
    /// Direct dependencies of our members.
    direct: BTreeMap<String, Vec<Edge>>,
    /// Normal dependencies of every package as resolved.
    normal: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn parse(metadata: &Value) -> Option<Self> {
        let mut names = BTreeMap::new();
        let mut graph = Self::default();
        let members: BTreeSet<&str> =
            metadata["workspace_members"].as_array()?.iter().filter_map(Value::as_str).collect();
        for package in metadata["packages"].as_array()? {
            let (id, name) = (package["id"].as_str()?, short(package["name"].as_str()?));
            names.insert(id, name.clone());
            if members.contains(id) {
                let dependencies = package["dependencies"].as_array()?.iter();
                let edges = dependencies.filter_map(|one| {
                    let dev = one["kind"] == "dev";
                    Some(Edge { to: short(one["name"].as_str()?), dev })
                });
                graph.direct.insert(name, edges.collect());
            }
        }
        for node in metadata["resolve"]["nodes"].as_array()? {
            let name = names.get(node["id"].as_str()?)?;
            for one in node["deps"].as_array()? {
                let kinds = one["dep_kinds"].as_array()?;
                if kinds.iter().any(|kind| kind["kind"].is_null()) {
                    let to = names.get(one["pkg"].as_str()?)?;
                    graph.normal.entry(name.clone()).or_default().insert(to.clone());
                }
            }
        }
        Some(graph)
    }

    fn reach(&self, from: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            for next in self.normal.get(name).into_iter().flatten() {
                if found.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        found
    }
}

fn short(name: &str) -> String {
    name.strip_prefix("kaniko-").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines are `member -> dependency`, or `member -> (dev) dependency`.
    fn check(lines: &[&str], expected: &[&str]) {
        let mut graph = Graph::default();
        for line in lines {
            let (from, to) = line.split_once(" -> ").expect("because every line has an arrow");
            let (to, dev) = to.strip_prefix("(dev) ").map_or((to, false), |to| (to, true));
            let edge = Edge { to: to.to_owned(), dev };
            if TABLE.iter().any(|(member, _)| *member == to) {
                graph.direct.entry(to.to_owned()).or_default();
            }
            let member = TABLE.iter().any(|(member, _)| *member == from) || from == "stranger";
            if member {
                graph.direct.entry(from.to_owned()).or_default().push(edge);
            }
            if !dev {
                graph.normal.entry(from.to_owned()).or_default().insert(to.to_owned());
            }
        }
        assert_eq!(findings(&graph), expected, "{lines:?}");
    }

    #[test]
    fn edges_outside_the_table_are_found() {
        check(&["layer -> oci", "layer -> rootfs", "rootfs -> sys"], &[]);
        check(&["snapshot -> layer"], &["`snapshot` must not depend on `layer`"]);
        check(&["snapshot -> (dev) layer"], &["`snapshot` must not depend on `layer`"]);
        check(&["snapshot -> (dev) testkit"], &[]);
        check(&["snapshot -> testkit"], &["`snapshot` must not depend on `testkit`"]);
        check(&["stranger -> oci"], &["member `stranger` is not in the dependency table"]);
    }

    #[test]
    fn reserved_and_unreachable_names_are_found() {
        check(&["builder -> clap"], &["`builder` must not depend on `clap`"]);
        check(&["cli -> clap"], &[]);
        check(&["store -> a", "a -> b", "b -> tokio"], &["`store` reaches `tokio`"]);
        check(&["registry -> tokio"], &[]);
    }
}
