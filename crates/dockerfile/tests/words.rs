//! Word expansion against BuildKit's own answers.
//!
//! A row without `env` uses the environment of the first row, one without `escape` the backslash.

use std::collections::BTreeMap;

use dockerfile::word::{self, Options};
use serde::Deserialize;

const ROWS: &str = include_str!("data/words.jsonl");

#[derive(Deserialize)]
struct Row {
    env: Option<BTreeMap<String, String>>,
    #[serde(default)]
    mode: String,
    escape: Option<char>,
    #[serde(default)]
    input: String,
    #[serde(default)]
    raw_quotes: bool,
    #[serde(default)]
    raw_escapes: bool,
    #[serde(default)]
    skip_process_quotes: bool,
    #[serde(default)]
    skip_unset: bool,
    expect: Option<serde_json::Value>,
    error: Option<String>,
    matched: Option<Vec<String>>,
    unmatched: Option<Vec<String>>,
}

/// Inputs whose answer is decided otherwise than BuildKit's, and the decision.
const DECIDED: &[(&str, &str)] = &[(
    "${D//o/$S}",
    "the replacement of `//` is literal, BuildKit expands `$A` in it as a group of a regexp",
)];

/// Decided otherwise than BuildKit: the end of the text is no modifier, what is missing is named.
fn decided(error: &str) -> String {
    error.replace("unsupported modifier (\u{fffd}) in substitution", "syntax error: missing '}'")
}

fn check(row: &Row, env: &BTreeMap<String, String>) -> Result<(), String> {
    let options = Options {
        escape: row.escape.unwrap_or('\\'),
        raw_quotes: row.raw_quotes,
        raw_escapes: row.raw_escapes,
        skip_process_quotes: row.skip_process_quotes,
        skip_unset: row.skip_unset,
    };
    let expanded = match (options.expand(&row.input, env), &row.error) {
        (Err(got), Some(error)) if got.to_string() == decided(error) => return Ok(()),
        (Err(got), _) => return Err(format!("{got}, expected {:?}", row.error)),
        (Ok(expanded), Some(error)) => return Err(format!("{expanded:?}, expected {error}")),
        (Ok(expanded), None) => expanded,
    };
    if let Some((_, why)) = DECIDED.iter().find(|(input, _)| *input == row.input) {
        return match expanded.text == row.expect.as_ref().map_or("", |v| v.as_str().unwrap_or("")) {
            true => Err(format!("as BuildKit, although decided otherwise: {why}")),
            false => Ok(()),
        };
    }
    let got = match row.mode.as_str() {
        "word" => serde_json::json!(expanded.text),
        "words" => serde_json::json!(expanded.words),
        mode => return Err(format!("mode {mode}")),
    };
    let expect = row.expect.clone().unwrap_or(serde_json::json!([]));
    if got != expect {
        return Err(format!("{got}, expected {expect}"));
    }
    for (what, got, expect) in [
        ("matched", &expanded.matched, &row.matched),
        ("unmatched", &expanded.unmatched, &row.unmatched),
    ] {
        if expect.as_ref().is_some_and(|expect| !got.iter().eq(expect)) {
            return Err(format!("{what} {got:?}, expected {expect:?}"));
        }
    }
    Ok(())
}

#[test]
fn expands_as_buildkit_does() {
    let mut standard = BTreeMap::new();
    let mut failed = Vec::new();
    let mut rows = 0;
    for line in ROWS.lines() {
        let mut row: Row = serde_json::from_str(line).expect("rows are JSON because we wrote them");
        if row.mode.is_empty() {
            standard = row.env.take().unwrap_or_default();
            continue;
        }
        rows += 1;
        if let Err(why) = check(&row, row.env.as_ref().unwrap_or(&standard)) {
            failed.push(format!("{line}\n    {why}"));
        }
    }
    assert!(failed.is_empty(), "{} of {rows} rows:\n{}", failed.len(), failed.join("\n"));
    assert!(rows > 1000, "only {rows} rows were read");
}

/// What the rows above do not hold: bounds, and cases of our own.
#[test]
fn expands_what_the_sample_lacks() {
    let env: Vec<(String, String)> = [
        ("a", "1"),
        ("a", "2"),
        ("empty", ""),
        ("path", "/a/b.tar.gz"),
        ("lines", "ax\nay\naz"),
        ("dots", "..."),
        ("stars", "**"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let check = |input: &str, expected: &str| {
        let got = match word::expand(input, &env, '\\') {
            Ok(expanded) => expanded.text,
            Err(error) => error.reason,
        };
        assert_eq!(got, expected, "{input}");
    };
    check("$a", "2");
    check("${a", "syntax error: missing '}'");
    check("${path##*/}", "b.tar.gz");
    check("${path%%.*}", "/a/b");
    check("${path%.*}", "/a/b.tar");
    check("${path#*/}", "a/b.tar.gz");
    check("${path%?}", "/a/b.tar.g");
    check("${path//[a-z]/x}", "/a/b.tar.gz");
    check("${path//\\//-}", "-a-b.tar.gz");
    check("${path/\\//-}", "-a/b.tar.gz");
    check("${dots//./\\$1}", "\\$1\\$1\\$1");
    check("${stars//\\*/s}", "ss");
    check("${lines#a*y}", "ax\nay\naz");
    check("${lines##a*}", "\nay\naz");
    check("${lines%%a*}", "ax\nay\n");
    check("${lines//a?/-}", "-\n-\n-");
    check("${a//*/x}", "x");
    check("${empty//*/x}", "x");
    check("${empty:-${a:+${path##*.}}}", "gz");
    check("${empty-no}${none-yes}", "yes");
    check("${empty:?}", "empty: is not allowed to be empty");
    check("${none?}", "none: is not allowed to be unset");
    check("${none:?because $a}", "none: because 2");
    check("${a=x}", "unsupported modifier (=) in substitution");
    check("${a:#x}", "unsupported modifier (:#) in substitution");
    check("${a//x}", "syntax error: missing '/' in ${}");
    check("${a#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'");
    check("$'a'", "$a");
    check("'$a'\"$a\"\\$a", "$a2$a");
    check("a\\", "a");
    check("$é$٣", "");
    check("$²", "$²");
}

#[test]
fn refuses_what_would_grow_without_bound() {
    let mut env = BTreeMap::from([("v".to_owned(), "x".repeat(1 << 16))]);
    env.insert("deep".to_owned(), String::new());
    let cases = [
        ("$v".repeat(17), "result is more than 1 MiB longer than the word"),
        (format!("${{v//x/{}}}", "y".repeat(32)), "result is more than 1 MiB longer than the word"),
        (
            format!("{}{}", "${deep:-".repeat(101), "}".repeat(101)),
            "substitutions are nested more than 100 deep",
        ),
        (format!("\"{}\"", "$v".repeat(17)), "result is more than 1 MiB longer than the word"),
    ];
    for (input, expected) in cases {
        let error = word::expand(&input, &env, '\\').expect_err("because it is out of bounds");
        assert_eq!(error.reason, expected);
    }
    word::expand(&format!("{}{}", "${deep:-".repeat(100), "}".repeat(100)), &env, '\\')
        .expect("a hundred levels are within bounds");
}

#[test]
fn heredoc_bodies_keep_quotes_and_lose_escapes() {
    let env = BTreeMap::from([("V".to_owned(), "x".to_owned())]);
    let expanded = word::expand_heredoc("'$V' \"$V\" \\$V \\\\ \\a $ $1\n", &env)
        .expect("nothing in it can fail");
    assert_eq!(expanded.text, "'x' \"x\" $V \\ a $ \n");
}
