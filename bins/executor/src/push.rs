//! `executor push`: an image that is in a file or directory goes to registries as it is.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use builder::{Observer, Outputs, PushRequest, Reference};
use cli::{Environment, PushFlags, console};

use crate::request::{digest_files, state_dir};
use crate::{report, session};

/// Carries it out.
pub(crate) fn run(line: Vec<OsString>, environment: &Environment) -> ExitCode {
    let flags = match console::flags_or_end(cli::push_flags(line, environment)) {
        Ok(flags) => flags,
        Err(end) => return end,
    };
    cli::log::init(&flags.log);
    let observer: Arc<dyn Observer> = Arc::new(report::Log::default());
    match request(&flags, environment) {
        Ok(request) => report::pushed(session::push(request, observer)),
        Err(error) => report::setup_failed(error.as_ref()),
    }
}

fn request(
    flags: &PushFlags,
    environment: &Environment,
) -> Result<PushRequest, Box<dyn std::error::Error>> {
    let here = std::env::current_dir().unwrap_or_default();
    let destinations = flags.destinations.iter().map(|text| Reference::parse(text));
    Ok(PushRequest {
        source: here.join(&flags.source),
        push: connect::registries(&flags.registry, environment)?.push,
        outputs: Outputs {
            destinations: destinations.collect::<Result<_, _>>()?,
            push: true,
            check_push: !flags.registry.skip_push_permission_check,
            verify_push: flags.registry.verify_push,
            ignore_immutable_tags: flags.registry.ignore_immutable_tags,
            digests: digest_files(&flags.digests, &here)?,
            ..Outputs::default()
        },
        state_dir: state_dir(flags.kaniko_dir.as_deref(), environment, &here),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    })
}
