//! `warmer`: fetches base images into the cache that builds read.
//!
//! Only wires: flags and environment to a list of images, the runtime, the cache, the report. Read
//! `request.rs` for which images are wanted and `fetch.rs` for what becomes of them.

mod fetch;
mod meter;
mod request;
mod text;

use std::process::ExitCode;

use cli::{Environment, WarmerFlags, console};

use crate::fetch::Outcome;

fn main() -> ExitCode {
    let environment = Environment::take();
    match console::flags_or_end(cli::warmer_flags(std::env::args_os().skip(1), &environment)) {
        Ok(flags) => run(&flags, &environment),
        Err(end) => end,
    }
}

fn run(flags: &WarmerFlags, environment: &Environment) -> ExitCode {
    cli::log::init(&flags.log);
    for notice in &flags.notices {
        tracing::warn!("{notice}");
    }
    let warmed = request::from_flags(flags, environment).and_then(|request| fetch::all(&request));
    match warmed {
        Ok(Outcome::Warmed) => ExitCode::SUCCESS,
        Ok(Outcome::Stopped(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        // On standard output, where kaniko's users look for it.
        Ok(Outcome::NothingWarmed) => {
            console::print("failed warming cache: failed to warm any of the given images\n");
            ExitCode::FAILURE
        }
        Ok(Outcome::NotAll { failed, of }) => {
            console::print(&format!(
                "failed warming cache: failed to warm {failed} of {of} images (--strict)\n"
            ));
            ExitCode::FAILURE
        }
        Err(error) => console::failed("failed warming cache", error.as_ref()),
    }
}
