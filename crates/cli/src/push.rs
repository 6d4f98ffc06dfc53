//! `executor push`: its command line.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::digest_files::DigestFlags;
use crate::environment::Environment;
use crate::error::Error;
use crate::grammar::{PUSH, Parsed, Values, parse};
use crate::log::LogFlags;
use crate::registry::{RegistryFlags, registry_flags};
use crate::table;

/// What `push` is asked for.
#[derive(Debug, Clone)]
pub struct PushFlags {
    /// The docker archive, or the directory of an OCI layout.
    pub source: PathBuf,
    /// `--destination`, as typed.
    pub destinations: Vec<String>,
    /// Who is told what was pushed.
    pub digests: DigestFlags,
    /// How to talk to registries.
    pub registry: RegistryFlags,
    /// `--kaniko-dir`, else `KANIKO_DIR`.
    pub kaniko_dir: Option<PathBuf>,
    /// How to log.
    pub log: LogFlags,
}

/// Reads the command line of `push`.
///
/// # Errors
/// [`Error`] where something is missing or too much.
pub fn push_flags(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Parsed<PushFlags>, Error> {
    match parse(PUSH, &table::push_table(), arguments)? {
        Parsed::Print(text) => Ok(Parsed::Print(text)),
        Parsed::Run(values) => interpret(&values, environment).map(Parsed::Run),
    }
}

fn interpret(values: &Values, environment: &Environment) -> Result<PushFlags, Error> {
    let [source] = values.words.as_slice() else {
        let (count, form) = (values.words.len(), "executor push PATH -d DESTINATION");
        return Err(Error::OneArgument { count, form });
    };
    let destinations = values.list("destination");
    if destinations.is_empty() {
        return Err(Error::NoDestination);
    }
    let kaniko_dir = values.text("kaniko-dir");
    let kaniko_dir = kaniko_dir.or_else(|| environment.text("KANIKO_DIR").map(str::to_owned));
    Ok(PushFlags {
        source: PathBuf::from(source),
        destinations,
        digests: DigestFlags::read(values, environment),
        registry: registry_flags(values, environment)?,
        kaniko_dir: kaniko_dir.map(PathBuf::from),
        log: LogFlags::from_values(values)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let check = |text: &str, expected: &str| {
            let line = text.split_whitespace().map(OsString::from);
            let found = match push_flags(line, &Environment::default()) {
                Ok(Parsed::Run(flags)) => {
                    format!("{} {:?}", flags.source.display(), flags.destinations)
                }
                Ok(Parsed::Print(text)) => text.lines().nth(1).unwrap_or_default().to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{text}");
        };
        check("image.tar -d r.example/a", "image.tar [\"r.example/a\"]");
        check("-d a --destination=b layout --insecure", "layout [\"a\", \"b\"]");
        check("--help", "  executor push PATH [flags]");
        check("-d a", "accepts 1 arg(s), received 0");
        check("a b -d a", "accepts 1 arg(s), received 2");
        check("a", "you must provide --destination, or use --no-push");
        check("a -d b --no-push", "unknown flag: --no-push");
        check("a -d b --context=c", "unknown flag: --context");
    }
}
