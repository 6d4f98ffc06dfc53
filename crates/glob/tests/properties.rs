//! Properties that hold for any patterns and paths, against a matcher written as plainly as can be.

use std::collections::BTreeSet;

use glob::{IgnoreFile, Verdict};
use proptest::prelude::*;

/// moby's answer for one pattern made of `a`, `b`, `/`, `?`, `*` and `**`, by backtracking.
fn matches(pattern: &str, path: &str) -> bool {
    fn expression(pattern: &str, path: &str) -> bool {
        if let Some(rest) = pattern.strip_prefix("**") {
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            if rest.is_empty() {
                return true;
            }
            let slashes = path.match_indices('/').map(|(slash, _)| slash + 1);
            return std::iter::once(0).chain(slashes).any(|at| expression(rest, &path[at..]));
        }
        let Some(first) = pattern.chars().next() else { return path.is_empty() };
        let rest = &pattern[1..];
        match first {
            '*' => {
                let end = path.find('/').unwrap_or(path.len());
                (0..=end).any(|at| expression(rest, &path[at..]))
            }
            '?' => path.starts_with(|found| found != '/') && expression(rest, &path[1..]),
            _ => path.starts_with(first) && expression(rest, &path[1..]),
        }
    }
    let plain = |text: &str| !text.contains(['*', '?']);
    if let Some(suffix) = pattern.strip_prefix("**")
        && plain(suffix)
    {
        return path.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|name| name == path);
    }
    match pattern.strip_suffix("**") {
        Some(prefix) if plain(prefix) => path.starts_with(prefix),
        _ => expression(pattern, path),
    }
}

/// The walk as moby's matcher does it with the results of parents, word for word.
fn walk(patterns: &[(bool, String)], path: &str) -> bool {
    let mut hits = vec![false; patterns.len()];
    let mut excluded = false;
    let ends = path.match_indices('/').map(|(slash, _)| slash).chain([path.len()]);
    for end in ends {
        excluded = false;
        for ((exception, pattern), hit) in patterns.iter().zip(&mut hits) {
            *hit = *hit || (*exception == excluded && matches(pattern, &path[..end]));
            if *hit {
                excluded = !exception;
            }
        }
    }
    excluded
}

fn pattern() -> impl Strategy<Value = String> {
    let name = prop::collection::vec(
        prop_oneof![4 => Just("a"), 4 => Just("b"), 2 => Just("*"), 1 => Just("?"), 1 => Just("**")],
        1..4,
    );
    let name = name.prop_map(|parts| parts.concat());
    let name = name.prop_filter("three stars are read otherwise", |name| !name.contains("***"));
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn patterns() -> impl Strategy<Value = Vec<(bool, String)>> {
    prop::collection::vec((prop::bool::weighted(0.3), pattern()), 0..6)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]{1,3}", 1..5).prop_map(|names| names.join("/"))
}

fn compile(patterns: &[(bool, String)]) -> IgnoreFile {
    let lines =
        patterns.iter().map(
            |(exception, pattern)| {
                if *exception { format!("!{pattern}") } else { pattern.clone() }
            },
        );
    IgnoreFile::from_patterns(lines).expect("because the patterns have no brackets or escapes")
}

/// What a walk over the tree that `paths` span includes, with or without pruning.
fn included(file: &IgnoreFile, paths: &BTreeSet<String>, prune: bool) -> BTreeSet<String> {
    fn enter(
        file: &IgnoreFile,
        all: &BTreeSet<String>,
        parent: (&str, &Verdict),
        prune: bool,
        found: &mut BTreeSet<String>,
    ) {
        let prefix = if parent.0.is_empty() { String::new() } else { format!("{}/", parent.0) };
        let children = all.iter().filter(|path| {
            path.strip_prefix(&prefix).is_some_and(|name| !name.is_empty() && !name.contains('/'))
        });
        for child in children {
            let verdict = file.judge(parent.1, child.as_bytes());
            if !verdict.is_excluded() {
                found.insert(child.clone());
            }
            if !prune || file.may_include_below(&verdict, child.as_bytes()) {
                enter(file, all, (child, &verdict), prune, found);
            }
        }
    }
    let mut all = BTreeSet::new();
    for path in paths {
        all.extend(path.match_indices('/').map(|(slash, _)| path[..slash].to_owned()));
        all.insert(path.clone());
    }
    let mut found = BTreeSet::new();
    enter(file, &all, ("", &file.root()), prune, &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_walk_answers_as_the_plain_matcher(patterns in patterns(), path in path()) {
        let file = compile(&patterns);
        prop_assert_eq!(file.walk_to(path.as_bytes()).is_excluded(), walk(&patterns, &path));
    }

    #[test]
    fn pruning_changes_nothing(
        patterns in patterns(),
        paths in prop::collection::btree_set(path(), 1..12),
    ) {
        let file = compile(&patterns);
        prop_assert_eq!(included(&file, &paths, true), included(&file, &paths, false));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        text in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(b"ab/.*?[]^-\\!#|{}() \n\r".to_vec()),
            1 => any::<u8>(),
        ], 0..60),
        path in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        if let Ok(file) = IgnoreFile::parse(&text) {
            let verdict = file.walk_to(&path);
            file.excludes(&path);
            file.may_include_below(&verdict, &path);
            file.may_exclude_below(&verdict, &path);
        }
    }
}
