//! RUN steps for another processor than this machine's: found before anything is built, and carried
//! out only where an emulator runs them and the caller allows that.
//!
//! Steps that run nothing are the same everywhere and need no look.

use std::collections::BTreeMap;

use dockerfile::Span;
use oci::Platform;
use plan::{BuildPlan, Op, StageBase, StageId, StagePlan};
use run::Isolation;

use crate::bases::Bases;
use crate::error::Error;
use crate::request::{BuildRequest, Emulation};

/// Why a RUN step of another platform cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// The caller wants nothing emulated.
    #[error("--require-native-nodes wants no emulation, and is on with --multi-platform")]
    Unwanted,
    /// Programs of another operating system.
    #[error("only programs for linux can be run")]
    System,
    /// Nobody runs its programs.
    #[error(transparent)]
    NoEmulator(run::Error),
}

/// Refuses what cannot be run here; returns for each foreign platform with RUN steps who runs them.
pub(crate) fn check(
    request: &BuildRequest,
    plan: &BuildPlan,
    bases: &Bases,
    isolation: &Isolation,
) -> Result<BTreeMap<Platform, String>, Error> {
    let emulator = |platform: &Platform| match request.emulation {
        _ if platform.os != "linux" => Err(ForeignError::System),
        Emulation::Never => Err(ForeignError::Unwanted),
        Emulation::IfPossible => {
            isolation.emulator(&platform.architecture).map_err(ForeignError::NoEmulator)
        }
    };
    let mut found: BTreeMap<Platform, String> = BTreeMap::new();
    for (span, platform) in foreign_runs(plan, bases, &request.build_platform) {
        if found.contains_key(&platform) {
            continue;
        }
        let named = emulator(&platform).map_err(|source| Error::Foreign {
            span,
            platform: platform.to_string(),
            machine: request.build_platform.to_string(),
            source: Box::new(source),
        })?;
        found.insert(platform, named);
    }
    Ok(found)
}

/// The first RUN of each stage whose files are for a processor that this machine is not.
fn foreign_runs(plan: &BuildPlan, bases: &Bases, machine: &Platform) -> Vec<(Span, Platform)> {
    let mut files: BTreeMap<StageId, Platform> = BTreeMap::new();
    let mut found = Vec::new();
    for stage in &plan.stages {
        let platform = platform_of(stage, bases, &files);
        let run = stage.steps.iter().find(|step| matches!(step.op, Op::Run(_)));
        if let Some(run) = run.filter(|_| !runs_on(machine, &platform)) {
            found.push((run.span, platform.clone()));
        }
        files.insert(stage.id, platform);
    }
    found
}

/// What a stage's files are for: an image of another platform than was asked for is what it is.
fn platform_of(stage: &StagePlan, bases: &Bases, files: &BTreeMap<StageId, Platform>) -> Platform {
    let known = match &stage.base {
        StageBase::Scratch => None,
        StageBase::Image(id) => bases.get(id).map(|base| base.image.config().platform()),
        StageBase::Stage(id) => files.get(id).cloned(),
    };
    known.unwrap_or_else(|| stage.platform.clone()).normalized()
}

/// Whether a machine runs a platform's programs without help. Which variants a processor has is not
/// asked: a program that needs more says so itself.
fn runs_on(machine: &Platform, platform: &Platform) -> bool {
    let families = machine.preferences();
    let mut known = families.iter().map(|known| (&known.os, &known.architecture));
    known.any(|(os, architecture)| *os == platform.os && *architecture == platform.architecture)
}

#[cfg(test)]
mod tests {
    use oci::Platform;
    use plan::PlanOptions;

    use super::{foreign_runs, runs_on};
    use crate::bases::Bases;

    #[test]
    fn a_machine_runs_its_own_family() {
        for (machine, platform, expected) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v3", true),
            ("linux/amd64", "linux/386", true),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm64", "linux/arm/v7", true),
            ("linux/arm64", "linux/amd64", false),
            ("linux/arm", "linux/arm64", false),
        ] {
            let parse = |text: &str| text.parse::<Platform>().expect("because it is a platform");
            let found = runs_on(&parse(machine), &parse(platform).normalized());
            assert_eq!(found, expected, "{machine} {platform}");
        }
    }

    /// `expected` has the lines of the RUN steps that are for another platform.
    fn check(text: &str, expected: &[(u32, &str)]) {
        let file = dockerfile::parse(text.as_bytes()).expect("because the test writes it");
        let machine = Platform::new("linux", "amd64");
        let plans = ["linux/amd64", "linux/arm64", "linux/riscv64"].map(|name| {
            let platform: Platform = name.parse().expect("because it is a platform");
            let options = PlanOptions {
                platform: Some(platform.clone()),
                ..PlanOptions::new(machine.clone())
            };
            let graph = plan::stage_graph(&file, &options).expect("because its stages are there");
            let plan = plan::lower(&graph, &std::collections::BTreeMap::new());
            (platform, plan.expect("because it needs no image"))
        });
        let plan = plan::merge(plans.into()).expect("because they fit together");
        let found = foreign_runs(&plan, &Bases::new(), &machine);
        let found: Vec<(u32, String)> =
            found.into_iter().map(|(span, on)| (span.start.line, on.to_string())).collect();
        let expected: Vec<(u32, String)> =
            expected.iter().map(|(line, on)| (*line, (*on).to_owned())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn only_steps_that_run_something_are_foreign() {
        check("FROM scratch\nCOPY x /\nWORKDIR /y\nENV A=b\n", &[]);
        let both = [(3, "linux/arm64"), (3, "linux/riscv64")];
        check("FROM scratch\nCOPY x /\nRUN x\nRUN y\n", &both);
        check("FROM scratch AS a\nCOPY x /\nRUN x\nFROM a\nCOPY y /\n", &both);
        // What nobody needs is not looked at.
        check("FROM scratch AS a\nRUN x\nFROM scratch\nCOPY y /\n", &[]);
    }
}
