//! Development tasks: `cargo xtask help` lists them.
//!
//! Everything a developer or CI does with this repository is one of these commands, so that both
//! do the same. Read `test.rs` first.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "these commands talk to a person")]

mod bench;
mod codegen;
mod demo;
mod deny;
mod dist;
mod e2e;
mod image;
mod setup;
mod shell;
mod test;
mod tidy;
mod transcript;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND

  setup           install what the other commands need (Debian packages; needs root)
  demo            build, push, pull back and run the example image
  test            everything CI runs: fmt, clippy, tidy, deny, all tests, end to end
  e2e [FILTER]    the end-to-end tests only, with the static programs
  tidy            the rules of this repository that no compiler knows
  deny            licences, sources and banned dependencies
  dist            the static programs, in target/dist
  image           the executor's image as an OCI layout, in target/image
  bench [FILTER]  the benchmarks, beside the stored baseline (--save stores a new one and writes
                  docs/benchmarks.md, --check fails where a goal is missed)
  codegen         write the generated documents again (docs/flags.md, docs/benchmarks.md)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let root = shell::workspace_root()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["setup"] => setup::run(),
        ["demo"] => demo::run(&root),
        ["test"] => test::run(&root),
        ["e2e", filter @ ..] if filter.len() <= 1 => e2e::run(&root, filter),
        ["tidy"] => tidy::run(&root),
        ["deny"] => deny::run(&root),
        ["dist"] => dist::run(&root).map(|_| ()),
        ["image"] => image::run(&root),
        ["bench", rest @ ..] => bench::run(&root, rest),
        ["codegen"] => codegen::run(&root),
        ["help"] | [] => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("unknown command `{}`\n\n{HELP}", other.join(" ")),
    }
}
