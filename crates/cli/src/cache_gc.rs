//! `executor cache gc`: its command line. Ours; kaniko leaves caches to grow.
//!
//! Does not open a cache; the executor does.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache::{CachePlace, place};
use crate::error::Error;
use crate::grammar::{CACHE, Parsed, Values, parse};
use crate::log::LogFlags;
use crate::table;
use crate::value::{parse_duration, parse_size};

/// What `cache gc` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheGcFlags {
    /// `--layer-cache-dir` and `--cache-repo`: directories and layouts.
    pub places: Vec<CachePlace>,
    /// `--max-bytes`.
    pub max_bytes: Option<u64>,
    /// `--max-age`.
    pub max_age: Option<Duration>,
    /// How to log.
    pub log: LogFlags,
}

/// Reads the command line of `cache`.
///
/// # Errors
/// [`Error`] where something is missing or too much.
pub fn cache_gc_flags(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<CacheGcFlags>, Error> {
    match parse(CACHE, table::CACHE, arguments)? {
        Parsed::Print(text) => Ok(Parsed::Print(text)),
        Parsed::Run(values) => interpret(&values).map(Parsed::Run),
    }
}

fn interpret(values: &Values) -> Result<CacheGcFlags, Error> {
    match values.words.as_slice() {
        [word] if word == "gc" => {}
        [word] => {
            let (word, bool_flag) = (word.clone(), None);
            return Err(Error::UnknownCommand { word, program: CACHE, bool_flag });
        }
        words => {
            let (count, form) = (words.len(), "executor cache gc --max-bytes SIZE");
            return Err(Error::OneArgument { count, form });
        }
    }
    let refused = |flag: &str, value: String, reason: String| Error::InvalidValue {
        value,
        flag: flag.to_owned(),
        reason,
    };
    let max_bytes = values.text("max-bytes").map(|text| {
        parse_size(&text).map_err(|reason| refused("--max-bytes", text, reason.to_owned()))
    });
    let max_age = values
        .text("max-age")
        .map(|text| parse_duration(&text).map_err(|reason| refused("--max-age", text, reason)));
    let (max_bytes, max_age) = (max_bytes.transpose()?, max_age.transpose()?);
    let needs = |needs| Err(Error::Needs { flag: CACHE_GC, needs });
    if max_bytes.is_none() && max_age.is_none() {
        return needs("--max-bytes or --max-age");
    }
    let nearer = values.text("layer-cache-dir").map(PathBuf::from).map(CachePlace::Directory);
    let farther = values.text("cache-repo").map(place).transpose()?;
    if let Some(CachePlace::Repository(name)) = farther {
        let reason = "the entries of a repository are removed by its registry's own retention";
        return Err(refused("--cache-repo", name, reason.to_owned()));
    }
    let places: Vec<CachePlace> = nearer.into_iter().chain(farther).collect();
    if places.is_empty() {
        return needs("--layer-cache-dir or --cache-repo");
    }
    Ok(CacheGcFlags { places, max_bytes, max_age, log: LogFlags::from_values(values)? })
}

/// The whole command, for messages.
const CACHE_GC: &str = "executor cache gc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let check = |text: &str, expected: &str| {
            let line = text.split_whitespace().map(OsString::from);
            let found = match cache_gc_flags(line) {
                Ok(Parsed::Run(flags)) => {
                    format!("{:?} {:?} {:?}", flags.places, flags.max_bytes, flags.max_age)
                }
                Ok(Parsed::Print(text)) => text.lines().nth(1).unwrap_or_default().to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{text}");
        };
        check(
            "gc --max-bytes 10GiB --max-age=336h --layer-cache-dir /l --cache-repo oci:/c",
            "[Directory(\"/l\"), Layouts(\"/c\")] Some(10737418240) Some(1209600s)",
        );
        check("gc --max-bytes=0 --cache-repo=dir:/c", "[Directory(\"/c\")] Some(0) None");
        check("gc --max-age 1h --cache-repo oci:c", "[Layouts(\"c\")] None Some(3600s)");
        check("--help", "  executor cache gc [flags]");
        check("gc --layer-cache-dir /l", "executor cache gc needs --max-bytes or --max-age");
        check("gc --max-bytes 1", "executor cache gc needs --layer-cache-dir or --cache-repo");
        check(
            "gc --max-bytes 1 --cache-repo r.example/c",
            "invalid argument \"r.example/c\" for \"--cache-repo\" flag: the entries of a \
             repository are removed by its registry's own retention",
        );
        check(
            "gc --max-bytes 1X --layer-cache-dir /l",
            "invalid argument \"1X\" for \"--max-bytes\" flag: not a size: write bytes, or a \
             number and one of K, M, G and T, as in 10GiB",
        );
        check(
            "gc --max-age 14d --layer-cache-dir /l",
            "invalid argument \"14d\" for \"--max-age\" flag: time: unknown unit \"d\" in \
             duration \"14d\"",
        );
        check("--max-bytes 1", "accepts 1 arg(s), received 0");
        check("gc gc --max-bytes 1", "accepts 1 arg(s), received 2");
        check("clean --max-bytes 1", "unknown command \"clean\" for \"executor cache\"");
        check("gc --destination a", "unknown flag: --destination");
    }
}
