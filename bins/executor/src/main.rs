//! `executor`: builds an image from a Dockerfile inside a container.
//!
//! Only wires: flags and environment to a request, the rung before the first thread, the runtime,
//! the build, the report. Read `work.rs` first, then `request.rs` and `report.rs` for the two mappings.

mod cache;
mod doctor;
mod login;
mod push;
mod report;
mod request;
mod session;
mod work;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{Environment, Subcommand, console};

fn main() -> ExitCode {
    // Before anything else can look; where it fails, entering the rung fails with the reason.
    let _ = sys::hide_memory();
    let environment = Environment::take();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match Subcommand::find(&arguments) {
        Some((Subcommand::Login, line)) => return login::run(line, &environment),
        Some((Subcommand::Push, line)) => return push::run(line, &environment),
        Some((Subcommand::Cache, line)) => return cache::run(line),
        None => {}
    }
    match console::flags_or_end(cli::executor_flags(arguments, &environment)) {
        Ok(flags) => work::run(&flags, &environment),
        Err(end) => end,
    }
}
