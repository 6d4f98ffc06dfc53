//! Documents that are written from something else: `docs/flags.md` from the flag tables,
//! `docs/benchmarks.md` from the stored figures.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use cli::flag::{Flag, Status, Value};

use crate::{bench, shell};

const FLAGS: &str = "docs/flags.md";

/// Writes the documents again.
pub(crate) fn run(root: &Path) -> Result<()> {
    shell::write(&root.join(FLAGS), flags())?;
    println!("codegen: {FLAGS}");
    bench::write_page(root)
}

/// Fails if a document is not what it is made from says.
pub(crate) fn check(root: &Path) -> Result<()> {
    if shell::read(&root.join(FLAGS)).ok().as_deref() != Some(flags().as_str()) {
        bail!("{FLAGS} is not what the flag tables say: run `cargo xtask codegen`");
    }
    bench::check_page(root)
}

fn flags() -> String {
    let mut text = "# Flags\n\nGenerated from the flag tables in `crates/cli` by `cargo xtask \
                    codegen`; do not edit.\nNames, short names and defaults are kaniko's. A flag \
                    that is not implemented is an error that names it.\n`executor doctor` \
                    takes the same flags and says what can be built with them; `executor login \
                    --help` lists its own, and so does `executor cache gc --help`.\n"
        .to_owned();
    for (program, table) in [("executor", cli::executor_table()), ("warmer", cli::warmer_table())] {
        let _ = write!(
            text,
            "\n## {program}\n\n| flag | value | default | what |\n|---|---|---|---|\n"
        );
        for flag in table.iter().filter(|flag| !matches!(flag.status, Status::NotYet(_))) {
            let _ = writeln!(text, "{}", row(flag));
        }
        let _ = write!(text, "\nNot implemented yet:\n\n");
        for flag in &table {
            if let Status::NotYet(what) = flag.status {
                let _ = writeln!(text, "- `--{}`: {what}", flag.name);
            }
        }
    }
    text
}

fn row(flag: &Flag) -> String {
    let short = flag.short.map_or(String::new(), |letter| format!(", `-{letter}`"));
    let value = match flag.value {
        Value::Bool => "boolean".to_owned(),
        Value::Text => "text".to_owned(),
        Value::List => "text, repeatable".to_owned(),
        Value::KeyValue => "key=value, repeatable".to_owned(),
        Value::Map => "key=value[;key=value], repeatable".to_owned(),
        Value::Number => "number".to_owned(),
        Value::Duration => "duration".to_owned(),
        Value::Choice(words) => words.join(", "),
    };
    let what = match flag.status {
        Status::Alias(name) => format!("deprecated: `--{name}`"),
        Status::NoEffect(why) => format!("{}; no effect: {why}", flag.help),
        Status::Implemented | Status::NotYet(_) => flag.help.to_owned(),
    };
    let default = if flag.default.is_empty() { "" } else { &format!("`{}`", flag.default) };
    format!("| `--{}`{short} | {value} | {default} | {what} |", flag.name)
}
