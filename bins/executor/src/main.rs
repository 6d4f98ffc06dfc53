//! `executor`: builds an image from a Dockerfile inside a container.
//!
//! Only wires: flags and environment to a request, the rung before the first thread, the runtime,
//! the build, the report. Read `request.rs` and `report.rs` for the two mappings.

mod doctor;
mod login;
mod report;
mod request;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use cli::{Environment, ExecutorFlags, Parsed, console};

fn main() -> ExitCode {
    // Before anything else can look; where it fails, entering the rung fails with the reason.
    let _ = sys::hide_memory();
    let environment = Environment::take();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(line) = cli::login_line(&arguments) {
        return login::run(line, &environment);
    }
    match cli::executor_flags(arguments, &environment) {
        Err(error) => {
            console::print_error(&cli::report::usage_error(&error));
            ExitCode::FAILURE
        }
        Ok(Parsed::Print(text)) => {
            console::print(&text);
            ExitCode::SUCCESS
        }
        Ok(Parsed::Run(flags)) => run(&flags, &environment),
    }
}

fn run(flags: &ExecutorFlags, environment: &Environment) -> ExitCode {
    cli::log::init(&flags.log);
    for notice in &flags.notices {
        tracing::warn!("{notice}");
    }
    let observer: Arc<dyn builder::Observer> = Arc::new(report::Log::default());
    match request::to_join(flags, environment) {
        Ok(None) => {}
        Ok(Some(join)) => return report::joined(session::join(&join, &observer)),
        Err(error) => return report::setup_failed(error.as_ref()),
    }
    let request = match request::from_flags(flags, environment) {
        Ok(request) => request,
        Err(error) => return report::setup_failed(error.as_ref()),
    };
    if flags.command == cli::Command::Doctor {
        let options = request::enter_options(flags, environment, &request);
        return doctor::examine(&request, &options);
    }
    if flags.dryrun {
        return report::planned(session::plan(&request, &observer), &request);
    }
    let options = request::enter_options(flags, environment, &request);
    let shown = request.clone();
    let forgotten = environment.is_forgotten();
    report::built(session::build(request, &options, forgotten, observer), &shown)
}
