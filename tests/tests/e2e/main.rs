//! The end-to-end tests: `cargo xtask e2e [FILTER]` builds the programs and runs them.
//!
//! Each module gives its tests as a list. Tests that need root are left out without it, and named
//! at the end; under CI that is a failure.
#![allow(clippy::print_stdout, reason = "the runner talks to a person")]
#![allow(clippy::disallowed_methods, reason = "tests look at the machine from outside")]

mod archive;
mod base_configs;
mod behaviour;
mod buildkit;
mod cache_gc;
mod caching;
mod caching_faults;
mod cases;
mod clouds;
mod credentials;
mod doctor;
mod environments;
mod errors;
mod excess;
mod hostile;
mod in_place;
mod intruder;
mod language;
mod leaks;
mod login;
mod mounts;
mod network;
mod outputs;
mod parallel;
mod platforms;
mod pods;
mod processes;
mod push;
mod pushing;
mod remote;
mod reproducible;
mod routes;
mod rungs;
mod signals;
mod stopping;
mod tls;
mod traces;
mod warmer;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use kaniko_tests::Lab;
use libtest_mimic::{Arguments, Failed, Trial};

type Run = Box<dyn FnOnce(&Arc<Lab>) -> Result<()> + Send>;

/// One test.
pub(crate) struct Test {
    name: String,
    needs_root: bool,
    run: Run,
}

/// A test that anyone can run.
pub(crate) fn test(
    name: impl Into<String>,
    run: impl FnOnce(&Arc<Lab>) -> Result<()> + Send + 'static,
) -> Test {
    Test { name: name.into(), needs_root: false, run: Box::new(run) }
}

/// A test that needs root, to unpack images with their owners or to make pods.
pub(crate) fn root_test(
    name: impl Into<String>,
    run: impl FnOnce(&Arc<Lab>) -> Result<()> + Send + 'static,
) -> Test {
    Test { name: name.into(), needs_root: true, run: Box::new(run) }
}

/// How often `KANIKO_E2E_ROUNDS` asks for what is repeated.
pub(crate) fn asked_rounds() -> Option<u32> {
    std::env::var("KANIKO_E2E_ROUNDS").ok()?.parse().ok()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut tests = Vec::new();
    tests.extend(outputs::tests());
    tests.extend(push::tests());
    tests.extend(remote::tests());
    tests.extend(reproducible::tests());
    tests.extend(language::tests());
    tests.extend(behaviour::tests());
    tests.extend(mounts::tests());
    tests.extend(credentials::tests());
    tests.extend(clouds::tests());
    tests.extend(login::tests());
    tests.extend(network::tests());
    tests.extend(pushing::tests());
    tests.extend(errors::tests());
    tests.extend(excess::tests());
    tests.extend(hostile::tests());
    tests.extend(base_configs::tests());
    tests.extend(intruder::tests());
    tests.extend(leaks::tests());
    tests.extend(processes::tests());
    tests.extend(signals::tests());
    tests.extend(stopping::tests());
    tests.extend(tls::tests());
    tests.extend(traces::tests());
    tests.extend(parallel::tests());
    tests.extend(platforms::tests());
    tests.extend(environments::tests());
    tests.extend(pods::tests());
    tests.extend(in_place::tests());
    tests.extend(doctor::tests());
    tests.extend(routes::tests());
    tests.extend(rungs::tests());
    tests.extend(buildkit::tests());
    tests.extend(cases::tests());
    tests.extend(cache_gc::tests());
    tests.extend(caching::tests());
    tests.extend(caching_faults::tests());
    tests.extend(warmer::tests());

    let is_root = rustix::process::geteuid().is_root();
    let left_out: Vec<String> = tests
        .iter()
        .filter(|test| test.needs_root && !is_root)
        .map(|test| test.name.clone())
        .collect();
    if !left_out.is_empty() && std::env::var_os("CI").is_some() {
        println!("under CI nothing may be left out, and {} tests need root", left_out.len());
        return ExitCode::FAILURE;
    }
    tests.retain(|test| !test.needs_root || is_root);
    let code = if arguments.list {
        let trials = tests.into_iter().map(|test| Trial::test(test.name, || Ok(())));
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    } else {
        run(&arguments, tests)
    };
    for name in &left_out {
        println!("left out, needs root: {name}");
    }
    code
}

fn run(arguments: &Arguments, tests: Vec<Test>) -> ExitCode {
    let lab = match Lab::open() {
        Ok(lab) => lab,
        Err(error) => {
            println!("the lab cannot be opened: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = tests.into_iter().map(|test| {
        let lab = Arc::clone(&lab);
        Trial::test(test.name, move || {
            (test.run)(&lab).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let conclusion = libtest_mimic::run(arguments, trials.collect());
    if let Err(error) = lab.close() {
        println!("the lab is not clean: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
