//! The warmer's flags as values. Its short names differ from the executor's.
//!
//! Does not fetch anything; the warmer program does.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use oci::Platform;

use crate::cache::lifetime;
use crate::environment::Environment;
use crate::error::Error;
use crate::executor::build_args;
use crate::grammar::{Parsed, Values, parse};
use crate::log::LogFlags;
use crate::platforms::several;
use crate::registry::{RegistryFlags, registry_flags};
use crate::table;

/// Everything the warmer's command line and environment ask for.
#[derive(Debug, Clone)]
pub struct WarmerFlags {
    /// `--image`, as typed.
    pub images: Vec<String>,
    /// `--dockerfile` whose base images are wanted too.
    pub dockerfile: Option<String>,
    /// `--build-arg` for its FROM lines.
    pub build_args: Vec<(String, String)>,
    /// `--cache-dir`.
    pub cache_dir: PathBuf,
    /// `--force`: fetch again what is there.
    pub force: bool,
    /// `--cache-ttl`: what was fetched longer ago is fetched again.
    pub lifetime: Duration,
    /// `--custom-platform`; empty: this machine's.
    pub platforms: Vec<Platform>,
    /// `--strict`: one image that fails is a failure.
    pub strict: bool,
    /// How to talk to registries.
    pub registry: RegistryFlags,
    /// How to log.
    pub log: LogFlags,
    /// Lines to show once.
    pub notices: Vec<String>,
}

/// Reads the warmer's command line, without the program's name.
///
/// # Errors
/// [`Error`] where the command line is not one that can be carried out.
pub fn warmer_flags(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Parsed<WarmerFlags>, Error> {
    match parse("warmer", &table::warmer_table(), arguments)? {
        Parsed::Print(text) => Ok(Parsed::Print(text)),
        Parsed::Run(values) => interpret(values, environment).map(Parsed::Run),
    }
}

fn interpret(values: Values, environment: &Environment) -> Result<WarmerFlags, Error> {
    let flags = WarmerFlags {
        images: values.list("image"),
        dockerfile: values.text("dockerfile"),
        build_args: build_args(&values, environment),
        cache_dir: PathBuf::from(values.text("cache-dir").unwrap_or_default()),
        force: values.is_set("force"),
        lifetime: lifetime(&values)?,
        platforms: several("--custom-platform", &values.list("custom-platform"))?,
        strict: values.is_set("strict"),
        registry: registry_flags(&values, environment)?,
        log: LogFlags::from_values(&values)?,
        notices: values.notices,
    };
    if flags.images.is_empty() && flags.dockerfile.is_none() {
        return Err(Error::NothingToWarm);
    }
    Ok(flags)
}
