//! Ignore patterns against BuildKit's own answers (`data/buildkit.jsonl`).
//!
//! Each line holds patterns, the paths that moby's path question excludes and includes, and the
//! paths for which a directory walk answers differently.

use glob::IgnoreFile;

/// Patterns whose `|`, `^`, `{` or `}` BuildKit's rewriting lets through as operators of a regular
/// expression. They are plain characters here, a decided difference: the answer has to be that
/// for the pattern with these characters escaped, where BuildKit is right.
const LEAKING: &[(&str, &str)] = &[
    ("*|b", r"*\|b"),
    ("?|b", r"?\|b"),
    ("^a*", r"\^a*"),
    ("a^b*", r"a\^b*"),
    ("a{2}*", r"a\{2\}*"),
    ("a|*", r"a\|*"),
    ("a|b*", r"a\|b*"),
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    patterns: Vec<String>,
    error: Option<String>,
    #[serde(default)]
    excluded: Vec<String>,
    #[serde(default)]
    included: Vec<String>,
    #[serde(default)]
    excluded_in_walk: Vec<String>,
    #[serde(default)]
    included_in_walk: Vec<String>,
}

impl Case {
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.excluded.iter().chain(&self.included).map(String::as_str)
    }

    /// BuildKit's answers for a single path and in a walk.
    fn expected(&self, path: &str) -> (bool, bool) {
        let has = |list: &[String]| list.iter().any(|listed| listed == path);
        let alone = has(&self.excluded);
        let walked = (alone || has(&self.excluded_in_walk)) && !has(&self.included_in_walk);
        (alone, walked)
    }
}

fn answers(file: &IgnoreFile, path: &str) -> (bool, bool) {
    (file.excludes(path.as_bytes()), file.walk_to(path.as_bytes()).is_excluded())
}

fn check(case: &Case) -> usize {
    let patterns = &case.patterns;
    let file = match (IgnoreFile::from_patterns(patterns), &case.error) {
        (Ok(file), None) => file,
        (Err(error), Some(expected)) => {
            assert!(error.to_string().starts_with(expected), "{patterns:?}: {error}");
            return 1;
        }
        (result, expected) => panic!("{patterns:?}: {result:?}, but BuildKit: {expected:?}"),
    };
    let escaped = LEAKING.iter().find(|(leaking, _)| patterns == &[*leaking]);
    let escaped = escaped.map(|(_, escaped)| {
        IgnoreFile::from_patterns([escaped]).expect("because escapes are valid in patterns")
    });
    for path in case.paths() {
        let expected =
            escaped.as_ref().map_or_else(|| case.expected(path), |file| answers(file, path));
        assert_eq!(answers(&file, path), expected, "{patterns:?} on {path:?}");
    }
    case.paths().count()
}

#[test]
fn every_answer_is_buildkits() {
    let cases = include_str!("data/buildkit.jsonl").lines().map(|line| {
        serde_json::from_str::<Case>(line).expect("because the file is valid JSON, line by line")
    });
    let checked: usize = cases.map(|case| check(&case)).sum();
    assert!(checked > 2_000, "{checked}");
}
