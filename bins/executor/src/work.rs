//! What the flags ask for: a build, its plan alone, a look around, or images to join.

use std::process::ExitCode;
use std::sync::Arc;

use cli::{Environment, ExecutorFlags};

use crate::{doctor, report, request, session};

/// Does it, and tells how it ended.
pub(crate) fn run(flags: &ExecutorFlags, environment: &Environment) -> ExitCode {
    cli::log::init(&flags.log);
    for notice in &flags.notices {
        tracing::warn!("{notice}");
    }
    let observer: Arc<dyn builder::Observer> = Arc::new(report::Log::default());
    match request::to_join(flags, environment) {
        Ok(None) => {}
        Ok(Some(join)) => return report::pushed(session::join(&join, &observer)),
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
