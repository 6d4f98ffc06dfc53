//! Layers from the cache: every Dockerfile of the table is the same image again, without a step. In place
//! and in private roots they make the files that the steps make: what one machine built is taken up by a
//! pod, and a step that reads everything finds the same.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::Lab;

use super::table::{CASES, Case};
use super::{Place, build, context, dockerfile, found, same};
use crate::{Test, root_test};

/// Cases whose files are of many kinds. Not those that copy the Dockerfile itself, which is edited here,
/// and not hard links to files of another layer: a layer cannot say that, so whoever unpacks it has two
/// files where the step had one.
const CACHED: &[&str] = &[
    "owners",
    "modes",
    "pipes",
    "stages",
    "archives",
    "removals",
    "odd_names",
    "steps_that_change_nothing",
    "zstd_layers",
    "everything_of_a_base_image",
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for case in CASES {
        let name = format!("rungs::again::{}", case.name);
        tests.push(root_test(name, move |lab| again(lab, case)));
        if CACHED.contains(&case.name) {
            let name = format!("rungs::cached::{}", case.name);
            tests.push(root_test(name, move |lab| check(lab, case)));
        }
    }
    tests
}

/// The second build of a Dockerfile carries nothing out.
fn again(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    if case.base == "debian:12" {
        lab.need_debian()?;
    }
    let bases = context::bases(lab, case.base)?;
    let (context, cache) = (lab.scratch("context")?, lab.scratch("layers")?);
    context::make(&context, &dockerfile(case, &bases.host));
    let mut first = None;
    for _ in 0..2 {
        let outcome = build(lab, case, Place::Root, &context, Some(&cache))?;
        outcome.succeeded()?;
        let found = found(case, &outcome.directory.join("out"))?;
        let missed = outcome.missed().len();
        match &first {
            None => first = Some(found),
            Some(first) => {
                ensure!(missed == 0, "{missed} missed: {}", outcome.text());
                same(first, &found)?;
            }
        }
    }
    Ok(())
}

fn check(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    let bases = context::bases(lab, case.base)?;
    let text = dockerfile(case, &bases.host);
    let stages = text.lines().filter(|line| line.starts_with("FROM ")).count();
    // Every file of the last stage is copied, and so compared.
    let more = format!("{text}\nFROM scratch\nCOPY --from={} / /all/\n", stages - 1);
    let make = |name: &str, text: &str| -> Result<_> {
        let path = lab.scratch(name)?;
        context::make(&path, text);
        Ok(path)
    };
    let (shorter, longer) = (make("context", &text)?, make("longer", &more)?);
    let cache = lab.scratch("layers")?;
    build(lab, case, Place::Root, &shorter, Some(&cache))?.succeeded()?;
    for place in [Place::Root, Place::Pod] {
        let digest = |cache: Option<&Path>| {
            let outcome = build(lab, case, place, &longer, cache)?;
            outcome.succeeded()?;
            let hits = outcome.cached().len();
            let missed = outcome.missed().len();
            if cache.is_some() {
                let expected = hits >= 1 && missed == 1;
                ensure!(expected, "{place:?}: {hits} hits, {missed} missed: {}", outcome.text());
            }
            found(case, &outcome.directory.join("out"))
        };
        let built = digest(None)?;
        // Each place begins with what the machine made of the shorter one.
        let fresh = lab.scratch("layers-copy")?;
        kaniko_tests::tool("cp").arg("-a").arg(cache.join(".")).arg(&fresh).read()?;
        same(&built, &digest(Some(&fresh))?)?;
    }
    Ok(())
}
