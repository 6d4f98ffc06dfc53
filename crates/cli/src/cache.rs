//! The flags of the caches: results of steps, and base images.
//!
//! Does not open a cache; the executor program makes a request of these values.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::grammar::Values;
use crate::value::parse_duration;

/// What the caches of a build are, where `--cache` asks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFlags {
    /// `--cache-repo`, or what the first destination says.
    pub place: CachePlace,
    /// `--layer-cache-dir`: a directory that is asked before, and kept as well.
    pub nearer: Option<PathBuf>,
    /// `--cache-dir`: base images that the warmer fetched.
    pub base_images: Option<PathBuf>,
    /// `--cache-ttl`: what is older is not there.
    pub lifetime: Duration,
    /// `--cache-copy-layers`: COPY and ADD.
    pub copies: bool,
    /// `--cache-run-layers`: RUN and WORKDIR.
    pub runs: bool,
    /// Unless `--no-push-cache`: keep what is built.
    pub keep: bool,
    /// `--explain-cache`: say of every step why it is not in the cache.
    pub explain: bool,
}

/// Where results of steps are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A repository of a registry, as typed; without a tag.
    Repository(String),
    /// The repository `cache` below that of the first destination.
    BelowDestination,
    /// `oci:PATH`: OCI layouts, the key of each behind the path.
    Layouts(PathBuf),
    /// `dir:PATH`: a directory (ours).
    Directory(PathBuf),
    /// Nowhere: there is neither a repository nor a destination, but base images may be cached.
    Nowhere,
}

/// Reads them; nothing where there is no `--cache`.
pub(crate) fn cache_flags(
    values: &Values,
    no_push: bool,
    has_destination: bool,
) -> Result<Option<CacheFlags>, Error> {
    let explain = values.is_set("explain-cache");
    if !values.is_set("cache") {
        let needs = |flag| Err(Error::Needs { flag, needs: "--cache" });
        return if explain { needs("--explain-cache") } else { Ok(None) };
    }
    let keep = !values.is_set("no-push-cache");
    let nearer = values.text("layer-cache-dir").map(PathBuf::from);
    let place = match values.text("cache-repo") {
        Some(text) => place(text)?,
        // The repository of the destination takes the cache where it takes the image.
        None if has_destination && (!no_push || !keep) => CachePlace::BelowDestination,
        None if nearer.is_some() => CachePlace::Nowhere,
        None => return Err(Error::NoCacheRepository),
    };
    Ok(Some(CacheFlags {
        place,
        nearer,
        base_images: values.text("cache-dir").map(PathBuf::from),
        lifetime: lifetime(values)?,
        copies: values.is_set("cache-copy-layers"),
        runs: values.is_set("cache-run-layers"),
        keep,
        explain,
    }))
}

/// `--cache-ttl`, of both programs.
pub(crate) fn lifetime(values: &Values) -> Result<Duration, Error> {
    let text = values.text("cache-ttl").unwrap_or_default();
    parse_duration(&text).map_err(|reason| Error::InvalidValue {
        value: text,
        flag: "--cache-ttl".to_owned(),
        reason,
    })
}

/// Where `--cache-repo` points.
pub(crate) fn place(text: String) -> Result<CachePlace, Error> {
    let at = |path: &str| match path {
        "" => Err(Error::InvalidValue {
            value: text.clone(),
            flag: "--cache-repo".to_owned(),
            reason: "no path behind the colon".to_owned(),
        }),
        path => Ok(PathBuf::from(path)),
    };
    match text.split_once(':') {
        Some(("oci", path)) => at(path).map(CachePlace::Layouts),
        Some(("dir", path)) => at(path).map(CachePlace::Directory),
        _ => Ok(CachePlace::Repository(text)),
    }
}
