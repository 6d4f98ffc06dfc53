//! `executor cache gc`: caches of layers on disks are made smaller. Nothing is built, and no registry
//! is asked.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use cache::{CollectOptions, Collected, DirectoryCache, LayoutCache};
use cli::{CachePlace, console};

/// Carries it out.
pub(crate) fn run(line: Vec<OsString>) -> ExitCode {
    let flags = match console::flags_or_end(cli::cache_gc_flags(line)) {
        Ok(flags) => flags,
        Err(end) => return end,
    };
    cli::log::init(&flags.log);
    let options = CollectOptions { max_bytes: flags.max_bytes, max_age: flags.max_age, now: now() };
    for place in &flags.places {
        match collect(place, &options) {
            Ok((name, collected)) => console::print(&told(&name, &collected)),
            Err(error) => return console::failed("error collecting the cache", error.as_ref()),
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::disallowed_methods, reason = "the clock is read here, and passed down")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn collect(
    place: &CachePlace,
    options: &CollectOptions,
) -> Result<(String, Collected), Box<dyn std::error::Error>> {
    let named = |path: &Path| path.display().to_string();
    match place {
        CachePlace::Directory(path) => {
            Ok((named(path), DirectoryCache::new(path).collect(options)?))
        }
        CachePlace::Layouts(path) => {
            Ok((format!("oci:{}", named(path)), LayoutCache::new(path).collect(options)?))
        }
        CachePlace::Repository(_) | CachePlace::BelowDestination | CachePlace::Nowhere => {
            Err("only caches on disks are collected".into())
        }
    }
}

/// What went, and what stayed.
fn told(name: &str, collected: &Collected) -> String {
    let mut text = String::new();
    for entry in &collected.removed {
        let used = entry.used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let used = builder::Timestamp::new(i64::try_from(used.as_secs()).unwrap_or(0), 0);
        let _ = writeln!(text, "removed {}: {} bytes, last used {used}", entry.key, entry.bytes);
    }
    if collected.leftovers > 0 {
        let _ = writeln!(text, "removed {} leftovers of earlier builds", collected.leftovers);
    }
    if collected.in_use {
        text.push_str("builds are at work: what was used in the last two hours stays\n");
    }
    let Collected { removed, removed_bytes, left, left_bytes, .. } = collected;
    let _ = writeln!(
        text,
        "{name}: removed {} entries and {removed_bytes} bytes, {left} entries and {left_bytes} \
         bytes stay",
        removed.len()
    );
    text
}
