//! Lint against the warnings that BuildKit gave for whole builds, and cases of our own.
//!
//! `lint.jsonl` holds every warning of a build; those of rules that need more than the text are the
//! planner's to find and are left out here.

use dockerfile::lint::{LintOptions, Rule, lint};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    id: String,
    dockerfile: String,
    warnings: Vec<Reported>,
}

#[derive(Deserialize)]
struct Reported {
    line: u32,
    rule: String,
    msg: String,
}

fn findings(text: &str) -> Vec<String> {
    let file = dockerfile::parse(text.as_bytes()).expect("the texts are valid");
    let options = LintOptions::of(&file, None).expect("the options are valid");
    lint(&file, &options)
        .iter()
        .map(|warning| format!("{} {}: {}", warning.span.start.line, warning.rule, warning.detail))
        .collect()
}

#[test]
fn warns_as_buildkit_does() {
    let mut failed = Vec::new();
    let mut rows = 0;
    for line in include_str!("data/lint.jsonl").lines() {
        let row: Row = serde_json::from_str(line).expect("rows are JSON because we wrote them");
        rows += 1;
        let mut got = findings(&row.dockerfile);
        let from_text =
            |name: &str| Rule::ALL.iter().any(|rule| rule.name() == name && rule.from_text());
        let mut expected: Vec<String> = row
            .warnings
            .iter()
            .filter(|warning| from_text(&warning.rule))
            .map(|warning| format!("{} {}: {}", warning.line, warning.rule, warning.msg))
            .collect();
        got.sort();
        expected.sort();
        if got != expected {
            failed.push(format!("{}: {:?}\n    {got:?}\n    {expected:?}", row.id, row.dockerfile));
        }
    }
    assert!(failed.is_empty(), "{} of {rows} rows:\n{}", failed.len(), failed.join("\n"));
    assert!(rows > 150, "only {rows} rows were read");
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(findings(text), expected, "{text}");
}

#[test]
fn finds_what_the_text_tells() {
    check("from a as b\nrun x\n", &[]);
    check(
        "FROM a AS B\nFROM a AS b\nFROM a AS context\n",
        &[
            "1 StageNameCasing: Stage name 'B' should be lowercase",
            "2 DuplicateStageName: Duplicate stage name \"b\", stage names should be unique",
            "3 ReservedStageName: Stage name should not use the same name as reserved stage \
             \"context\"",
        ],
    );
    check(
        "From a as b\nRUN x\nrun y\n",
        &[
            "1 ConsistentInstructionCasing: Command 'From' should match the case of the command \
             majority (uppercase)",
            "3 ConsistentInstructionCasing: Command 'run' should match the case of the command \
             majority (uppercase)",
        ],
    );
    check("arg x=1\nFROM a\nRUN x\n", &[]);
    check(
        "FROM a\nCMD [\"a\"]\nHEALTHCHECK NONE\nCMD [\"b\"]\nCMD [\"c\"]\nFROM a\nCMD [\"d\"]\n",
        &[
            "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in \
             the same stage because only the last one will be used",
            "4 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in \
             the same stage because only the last one will be used",
        ],
    );
    check(
        "FROM a\nRUN a \\\n\n  b \\\n\n  c\n",
        &["6 NoEmptyContinuation: Empty continuation line"],
    );
    check(
        "ARG TOKEN\nFROM a\nARG TOKEN PUBLIC_KEY\nENV $X_KEY=1 \"API_KEY\"=2\n",
        &[
            "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data \
             (ARG \"TOKEN\")",
            "4 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data \
             (ENV \"API_KEY\")",
        ],
    );
}

#[test]
fn heeds_directives_and_comments() {
    let maintainer = "Maintainer instruction is deprecated in favor of using label";
    check("# check=skip=all\nFROM a\nMAINTAINER b\n", &[]);
    check(
        "# check=skip=MaintainerDeprecated\nFROM a AS B\nMAINTAINER b\n",
        &["2 StageNameCasing: Stage name 'B' should be lowercase"],
    );
    check(
        "FROM a\n# check=skip=MaintainerDeprecated because\nMAINTAINER b\nMAINTAINER c\n",
        &[&format!("4 MaintainerDeprecated: {maintainer}")],
    );
    check(
        "FROM a\n# check=skip=all\n\nMAINTAINER b\n",
        &[&format!("4 MaintainerDeprecated: {maintainer}")],
    );
    check(
        "FROM a\n# check=nonsense\nMAINTAINER b\n",
        &[&format!("3 MaintainerDeprecated: {maintainer}")],
    );
}

#[test]
fn experimental_rules_are_asked_for() {
    let text = "# a comment\nFROM a AS b\n# b is c\nARG b\n\n# c\nARG d e\n# f g\n\nARG h\n";
    check(text, &[]);
    check(
        &format!("# check=experimental=all\n{text}"),
        &[
            "3 InvalidDefinitionDescription: Comment for FROM should follow the format: `# b \
         <description>`",
            "8 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> \
         <description>`",
        ],
    );
}

#[test]
fn fails_when_asked_to() {
    let file = dockerfile::parse(b"# check=error=true\nFROM a AS B\nMAINTAINER b\nMAINTAINER c\n")
        .expect("the text is valid");
    let options = LintOptions::of(&file, None).expect("the options are valid");
    let warnings = lint(&file, &options);
    assert_eq!(
        options.violation(&warnings).as_deref(),
        Some("MaintainerDeprecated, StageNameCasing")
    );
    assert_eq!(options.violation(&[]), None);
    let options = LintOptions::of(&file, Some("skip=all")).expect("the options are valid");
    assert_eq!(lint(&file, &options), []);
}
