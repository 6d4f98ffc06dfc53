//! The benchmarks: runs them, shows what became better or worse since the stored baseline.
//!
//! What a bench prints is described in `benches/src/figure.rs`. The baseline, `benches/baseline.txt`,
//! holds the very same lines, under a few that say where they come from; `docs/benchmarks.md` is
//! made of it.

mod figure;
mod page;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{dist, setup, shell};
use figure::{Baseline, Figure};

const BASELINE: &str = "benches/baseline.txt";
const PAGE: &str = "docs/benchmarks.md";
const BENCHES: &str = "benches/benches";

/// What was asked for.
#[derive(Debug, Default)]
struct Request<'a> {
    /// Only benches whose names contain one of these.
    filters: Vec<&'a str>,
    /// The result becomes the baseline, for the benches that ran.
    save: bool,
    /// A goal that is missed fails the command.
    check: bool,
    /// Stands in the baseline: this program reads no clock.
    date: Option<&'a str>,
}

/// Runs the benches.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let request = Request::parse(arguments)?;
    if setup::can_install() {
        setup::run()?;
    }
    let baseline = stored(root)?;
    let mut found = Vec::new();
    for name in benches(root, &request.filters)? {
        found.extend(run_one(root, &name, &baseline)?);
    }
    println!();
    let missed = summary(&found, &baseline);
    if request.save {
        save(root, baseline, found, request.date)?;
    }
    if request.check && missed > 0 {
        bail!("{missed} goals are missed");
    }
    Ok(())
}

/// Prints what is worse than before and what misses its goal; the number of the latter.
fn summary(found: &[Figure], baseline: &Baseline) -> usize {
    let worse: Vec<String> =
        found.iter().filter_map(|figure| figure.worse_than(baseline.like(figure)?)).collect();
    for line in &worse {
        println!("worse: {line}");
    }
    let missed: Vec<&Figure> = found.iter().filter(|figure| figure.is_missed()).collect();
    for figure in &missed {
        let measured = if figure.ratio == "-" { &figure.value } else { &figure.ratio };
        println!("missed: {}: {measured} (goal: {})", figure.name(), figure.goal);
    }
    println!(
        "bench: {} figures, {} goals missed, {} worse than the baseline by more than {:.0} %",
        found.len(),
        missed.len(),
        worse.len(),
        figure::TOLERANCE * 100.0
    );
    missed.len()
}

/// Fails if the page is not what the baseline says.
pub(crate) fn check_page(root: &Path) -> Result<()> {
    if shell::read(&root.join(PAGE)).ok().as_deref() != Some(page::text(&stored(root)?).as_str()) {
        bail!("{PAGE} is not what {BASELINE} says: run `cargo xtask codegen`");
    }
    Ok(())
}

/// Writes the page again.
pub(crate) fn write_page(root: &Path) -> Result<()> {
    shell::write(&root.join(PAGE), page::text(&stored(root)?))?;
    println!("codegen: {PAGE}");
    Ok(())
}

impl<'a> Request<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Request<'a>> {
        let mut request = Request::default();
        for argument in arguments {
            match argument.split_once('=') {
                None if *argument == "--save" => request.save = true,
                None if *argument == "--check" => request.check = true,
                Some(("--date", date)) => request.date = Some(date),
                _ if argument.starts_with('-') => {
                    bail!("bench takes --save, --check and --date=TEXT, not `{argument}`")
                }
                _ => request.filters.push(argument),
            }
        }
        Ok(request)
    }
}

/// The names of the benches that were asked for, in order.
#[allow(clippy::disallowed_methods, reason = "files of this repository")]
fn benches(root: &Path, filters: &[&str]) -> Result<Vec<String>> {
    let directory = root.join(BENCHES);
    let entries =
        directory.read_dir().with_context(|| format!("cannot list {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let file = PathBuf::from(entry?.file_name());
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter)) {
            names.push(name);
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("no bench of {BENCHES} is called like that");
    }
    Ok(names)
}

fn run_one(root: &Path, name: &str, baseline: &Baseline) -> Result<Vec<Figure>> {
    println!("\n== {name}");
    let needed = match name {
        "stages" | "warm" | "whole" => Some("kaniko-executor"),
        "warmer" => Some("kaniko-warmer"),
        _ => None,
    };
    if let Some(package) = needed {
        let build = ["build", "--quiet", "--locked", "--release", "-p", package];
        shell::cargo(root).args(build).run()?;
    }
    if name == "steps" {
        dist::run(root)?;
    }
    let bench = ["bench", "--quiet", "--locked", "-p", "kaniko-benches", "--bench", name];
    let text = shell::cargo(root).args(bench).read_with_errors_shown()?;
    let mut figures = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let figure = Figure::parse(line).with_context(|| format!("`{name}` printed `{line}`"))?;
        println!("{}", figure.for_a_person(baseline.like(&figure)));
        figures.push(figure);
    }
    Ok(figures)
}

fn stored(root: &Path) -> Result<Baseline> {
    Baseline::parse(&shell::read(&root.join(BASELINE))?).context(BASELINE)
}

fn save(root: &Path, mut baseline: Baseline, found: Vec<Figure>, date: Option<&str>) -> Result<()> {
    let mut origin = machine();
    origin.push(("rustc".to_owned(), first_line(&shell::tool(root, "rustc").arg("-V").read()?)));
    let commit = shell::tool(root, "git").args(["rev-parse", "--short=12", "HEAD"]).read();
    origin.push(("commit".to_owned(), first_line(&commit.unwrap_or_default())));
    if let Some(date) = date {
        origin.push(("date".to_owned(), date.to_owned()));
    }
    baseline.origin = origin;
    baseline.replace(found);
    shell::write(&root.join(BASELINE), baseline.to_string())?;
    println!("bench: wrote {BASELINE}");
    write_page(root)
}

/// What tells this kind of machine from others; nothing that tells which one it is.
fn machine() -> Vec<(String, String)> {
    let read = |path: &str| shell::read(Path::new(path)).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
        value.unwrap_or("unknown").to_owned()
    };
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal").replace(" kB", "");
    let memory = memory.parse::<u64>().unwrap_or_default() >> 20;
    let processor = field(&read("/proc/cpuinfo"), "model name");
    [
        ("machine", format!("{threads} x {processor}, {memory} GiB")),
        ("kernel", first_line(&read("/proc/sys/kernel/osrelease"))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_arguments_are_refused() {
        let request = Request::parse(&["snap", "--save", "--date=today"]).expect("because valid");
        assert_eq!((request.filters, request.save, request.check), (vec!["snap"], true, false));
        let error = Request::parse(&["--sav"]).expect_err("because it is misspelt");
        assert!(error.to_string().contains("`--sav`"), "{error}");
    }
}
