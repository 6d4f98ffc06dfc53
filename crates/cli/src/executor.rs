//! The executor's flags as values: all defaults explicit, nothing left to look up later.
//!
//! Does not know the builder; the executor program maps [`ExecutorFlags`] to a build request.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::allow::{self, Allow};
use crate::cache::{CacheFlags, cache_flags};
use crate::digest_files::DigestFlags;
use crate::environment::Environment;
use crate::error::Error;
use crate::grammar::{Parsed, Values, parse};
use crate::log::LogFlags;
use crate::platforms::{self, PlatformFlags};
use crate::registry::{RegistryFlags, registry_flags};
use crate::secret::{self, SecretFlag, SshFlag};
use crate::value::{parse_bool, parse_duration};
use crate::{not_yet, table};

/// Everything the executor's command line and environment ask for.
#[derive(Debug, Clone)]
pub struct ExecutorFlags {
    /// What to do.
    pub command: Command,
    /// `--context`: a directory, or a source with a scheme.
    pub context: String,
    /// `--context-sub-path`.
    pub context_sub_path: Option<PathBuf>,
    /// `--dockerfile`: looked up as given, then in the context.
    pub dockerfile: String,
    /// `--build-arg`, in order. `NAME` alone took its value from the environment, or is left out.
    pub build_args: Vec<(String, String)>,
    /// `--target`; the first one is the image.
    pub targets: Vec<String>,
    /// For which platforms, by whom, and how the images are joined.
    pub platforms: PlatformFlags,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--destination`, as typed.
    pub destinations: Vec<String>,
    /// `--no-push`, or `KANIKO_NO_PUSH` where the flag is not given.
    pub no_push: bool,
    /// `--dryrun`.
    pub dryrun: bool,
    /// `--tar-path`.
    pub tar_path: Option<PathBuf>,
    /// `--oci-layout-path`.
    pub oci_layout_path: Option<PathBuf>,
    /// Who is told what was pushed.
    pub digests: DigestFlags,
    /// `--annotation`; of two with the same key the last one.
    pub annotations: BTreeMap<String, String>,
    /// `--image-format`; as the base image if `None`.
    pub image_format: Option<ImageFormat>,
    /// `--compression`; gzip if `None`, unless the builder knows a reason for another.
    pub compression: Option<Compression>,
    /// `--compression-level`; the default of the method if `None`.
    pub compression_level: Option<i32>,
    /// `--reproducible`.
    pub reproducible: bool,
    /// `SOURCE_DATE_EPOCH` of the environment. A build argument of this name goes first, and
    /// stands in `build_args`.
    pub source_date_epoch: Option<i64>,
    /// `--cache`, and what belongs to it.
    pub cache: Option<CacheFlags>,
    /// How to talk to registries.
    pub registry: RegistryFlags,
    /// `--kaniko-dir`, else `KANIKO_DIR`; where the state lies if `None` is the program's to say
    /// (see [`crate::container::state_dir`]).
    pub kaniko_dir: Option<PathBuf>,
    /// `--isolation`.
    pub isolation: Isolation,
    /// `--max-parallel-stages`; `None`: the number of cores.
    pub max_parallel_stages: Option<usize>,
    /// `--force`.
    pub force: bool,
    /// `--allow`.
    pub allow: Vec<Allow>,
    /// `--command-timeout`; no limit if `None`.
    pub command_timeout: Option<Duration>,
    /// `--cleanup`, or `KANIKO_CLEANUP` where the flag is not given.
    pub cleanup: bool,
    /// `--pre-cleanup`, or `KANIKO_PRE_CLEANUP`.
    pub pre_cleanup: bool,
    /// `--preserve-context`, or `KANIKO_PRESERVE_CONTEXT`.
    pub preserve_context: bool,
    /// `--materialize`.
    pub materialize: bool,
    /// `--secret`.
    pub secrets: Vec<SecretFlag>,
    /// `--ssh`.
    pub agents: Vec<SshFlag>,
    /// `--ignore-path`, and `/var/run` unless `--ignore-var-run=false`.
    pub ignore_paths: Vec<PathBuf>,
    /// `--lint`.
    pub lint: Lint,
    /// How to log.
    pub log: LogFlags,
    /// Lines to show once: deprecated spellings, flags without effect, variables overruled.
    pub notices: Vec<String>,
}

/// What the executor is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Build an image.
    Build,
    /// `doctor`: say what can be built here, with these flags.
    Doctor,
}

/// `--isolation`: the rung of the isolation ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// The best rung that works here.
    Auto,
    /// A private root in namespaces.
    Namespaces,
    /// The container's own root.
    InPlace,
}

/// `--lint`: what findings in the Dockerfile lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lint {
    /// Nothing.
    Off,
    /// Warnings.
    Warn,
    /// A failed build.
    Error,
}

/// `--image-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// Docker schema 2.
    Docker,
    /// OCI.
    Oci,
}

/// `--compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// Reads the executor's command line, without the program's name.
///
/// # Errors
/// [`Error`] where the command line is not one that can be carried out.
pub fn executor_flags(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Parsed<ExecutorFlags>, Error> {
    match parse("executor", &table::executor_table(), arguments)? {
        Parsed::Print(text) => Ok(Parsed::Print(text)),
        Parsed::Run(values) => interpret(values, environment).map(Parsed::Run),
    }
}

fn interpret(mut values: Values, environment: &Environment) -> Result<ExecutorFlags, Error> {
    refuse_variables(environment)?;
    let no_push = no_push(&mut values, environment)?;
    let publish_index = values.is_set("publish-index");
    let flags = ExecutorFlags {
        command: if values.words.is_empty() { Command::Build } else { Command::Doctor },
        context: values.text("context").unwrap_or_default(),
        context_sub_path: values.text("context-sub-path").map(PathBuf::from),
        dockerfile: values.text("dockerfile").unwrap_or_default(),
        build_args: build_args(&values, environment),
        targets: values.list("target"),
        platforms: platforms::platforms(&values, environment)?,
        labels: values.list("label").iter().map(|text| label(text)).collect::<Result<_, _>>()?,
        destinations: values.list("destination"),
        no_push,
        dryrun: values.is_set("dryrun"),
        tar_path: values.text("tar-path").map(PathBuf::from),
        oci_layout_path: values.text("oci-layout-path").map(PathBuf::from),
        digests: DigestFlags::read(&values, environment),
        annotations: annotations(&values),
        image_format: image_format(&values)?,
        compression: compression(&values),
        // As kaniko: only a positive level is one, everything else means the default.
        compression_level: values
            .number("compression-level")
            .filter(|level| *level > 0)
            .and_then(|level| i32::try_from(level).ok()),
        reproducible: values.is_set("reproducible"),
        source_date_epoch: source_date_epoch(environment)?,
        cache: cache_flags(&values, no_push, !values.list("destination").is_empty())?,
        registry: registry_flags(&values, environment)?,
        kaniko_dir: values
            .text("kaniko-dir")
            .map(PathBuf::from)
            .or_else(|| environment.get("KANIKO_DIR").map(PathBuf::from)),
        isolation: match values.text("isolation").as_deref() {
            Some("namespaces") => Isolation::Namespaces,
            Some("in-place") => Isolation::InPlace,
            _ => Isolation::Auto,
        },
        max_parallel_stages: max_parallel_stages(&values)?,
        force: values.is_set("force"),
        allow: values
            .list("allow")
            .iter()
            .map(|text| allow::parse(text))
            .collect::<Result<_, _>>()?,
        command_timeout: command_timeout(&values)?,
        cleanup: switch(&values, environment, "cleanup", "KANIKO_CLEANUP")?,
        pre_cleanup: switch(&values, environment, "pre-cleanup", "KANIKO_PRE_CLEANUP")?,
        preserve_context: switch(
            &values,
            environment,
            "preserve-context",
            "KANIKO_PRESERVE_CONTEXT",
        )?,
        materialize: values.is_set("materialize"),
        secrets: secret::secrets(&values.list("secret"), environment)?,
        agents: secret::agents(&values.list("ssh"), environment)?,
        ignore_paths: ignore_paths(&values),
        lint: match values.text("lint").as_deref() {
            Some("off") => Lint::Off,
            Some("error") => Lint::Error,
            _ => Lint::Warn,
        },
        log: LogFlags::from_values(&values)?,
        notices: values.notices,
    };
    if flags.command == Command::Build {
        check_sources(&flags)?;
        check_together(&flags)?;
        platforms::check(&flags, publish_index)?;
    }
    Ok(flags)
}

fn refuse_variables(environment: &Environment) -> Result<(), Error> {
    for (name, false_asks_nothing) in not_yet::VARIABLES {
        let Some(text) = environment.text(name) else { continue };
        if !(*false_asks_nothing && parse_bool(text) == Ok(false)) {
            return Err(Error::VariableNotYet { name });
        }
    }
    Ok(())
}

/// The flag goes before the variable, unlike in kaniko, where `KANIKO_NO_PUSH=false` pushes although
/// `--no-push` is given.
fn no_push(values: &mut Values, environment: &Environment) -> Result<bool, Error> {
    let flag = values.is_set("no-push");
    let Some(text) = environment.text("KANIKO_NO_PUSH") else { return Ok(flag) };
    let variable = parse_bool(text)
        .map_err(|reason| Error::InvalidVariable { name: "KANIKO_NO_PUSH", reason })?;
    if !values.is_given("no-push") {
        return Ok(variable);
    }
    if flag != variable {
        values.notices.push(format!("--no-push={flag} goes before KANIKO_NO_PUSH={text}"));
    }
    Ok(flag)
}

/// A flag, or else its variable.
fn switch(
    values: &Values,
    environment: &Environment,
    flag: &str,
    name: &'static str,
) -> Result<bool, Error> {
    match environment.text(name) {
        Some(text) if !values.is_given(flag) => {
            parse_bool(text).map_err(|reason| Error::InvalidVariable { name, reason })
        }
        Some(_) | None => Ok(values.is_set(flag)),
    }
}

/// `NAME` without a value takes the variable's; without such a variable the default of the
/// Dockerfile stays, as in docker.
pub(crate) fn build_args(values: &Values, environment: &Environment) -> Vec<(String, String)> {
    let mut args = Vec::new();
    for text in values.list("build-arg") {
        match text.split_once('=') {
            Some((name, value)) => args.push((name.to_owned(), value.to_owned())),
            None => {
                if let Some(value) = environment.raw_text(&text) {
                    args.push((text.clone(), value.to_owned()));
                }
            }
        }
    }
    args
}

fn label(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::Label { label: text.to_owned() }),
    }
}

/// `--image-format`, or one fork's name for it.
fn image_format(values: &Values) -> Result<Option<ImageFormat>, Error> {
    let read = |name| match values.text(name).as_deref() {
        Some("docker") => Some(ImageFormat::Docker),
        Some("oci") => Some(ImageFormat::Oci),
        _ => None,
    };
    match (read("image-format"), read("oci-mode")) {
        (Some(one), Some(other)) if one != other => Err(Error::Conflict {
            flag: "--image-format",
            other: "--oci-mode",
            reason: "they ask for different formats",
        }),
        (one, other) => Ok(one.or(other)),
    }
}

/// The grammar has seen to that each has a key and a value.
fn annotations(values: &Values) -> BTreeMap<String, String> {
    let pairs = values.list("annotation").into_iter();
    pairs
        .filter_map(|text| Some(text.split_once('=')?).map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

fn compression(values: &Values) -> Option<Compression> {
    values.is_given("compression").then(|| match values.text("compression").as_deref() {
        Some("zstd") => Compression::Zstd,
        _ => Compression::Gzip,
    })
}

/// A limit of nothing is none, as in Go's contexts and in `timeout(1)`.
fn command_timeout(values: &Values) -> Result<Option<Duration>, Error> {
    let Some(text) = values.text("command-timeout") else { return Ok(None) };
    let flag = || "--command-timeout".to_owned();
    let limit = parse_duration(&text).map_err(|reason| Error::InvalidValue {
        value: text.clone(),
        flag: flag(),
        reason,
    })?;
    Ok(Some(limit).filter(|limit| !limit.is_zero()))
}

fn source_date_epoch(environment: &Environment) -> Result<Option<i64>, Error> {
    let name = "SOURCE_DATE_EPOCH";
    let parse = |text: &str| {
        text.parse::<i64>()
            .map_err(|error| Error::InvalidVariable { name, reason: error.to_string() })
    };
    environment.text(name).map(parse).transpose()
}

fn max_parallel_stages(values: &Values) -> Result<Option<usize>, Error> {
    let number = values.number("max-parallel-stages").unwrap_or(0);
    let count = usize::try_from(number).map_err(|_| Error::InvalidValue {
        value: number.to_string(),
        flag: "--max-parallel-stages".to_owned(),
        reason: "it cannot be negative".to_owned(),
    })?;
    Ok(Some(count).filter(|count| *count > 0))
}

fn ignore_paths(values: &Values) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = values.list("ignore-path").iter().map(PathBuf::from).collect();
    if values.is_set("ignore-var-run") {
        paths.push(PathBuf::from("/var/run"));
    }
    paths
}

/// Refuses sources that are not there: of a context all but a directory, of a Dockerfile a URL.
fn check_sources(flags: &ExecutorFlags) -> Result<(), Error> {
    let not_yet =
        |value: &String, flag, what| Err(Error::ValueNotYet { value: value.clone(), flag, what });
    match flags.context.split_once("://") {
        None | Some(("dir", _)) => {}
        Some(("gs" | "tar" | "s3" | "git" | "https", _)) => {
            return not_yet(&flags.context, "context", "a context that is no directory");
        }
        Some(_) => return Err(Error::ContextScheme),
    }
    if flags.dockerfile.starts_with("http://") || flags.dockerfile.starts_with("https://") {
        return not_yet(&flags.dockerfile, "dockerfile", "a Dockerfile from the network");
    }
    Ok(())
}

/// What no flag can say by itself.
fn check_together(flags: &ExecutorFlags) -> Result<(), Error> {
    let docker = flags.image_format == Some(ImageFormat::Docker);
    let oci = flags.image_format == Some(ImageFormat::Oci);
    let zstd = flags.compression == Some(Compression::Zstd);
    let conflict = |flag, other, reason| Err(Error::Conflict { flag, other, reason });
    if zstd && docker {
        let reason = "a docker image cannot have zstd layers";
        return conflict("--compression=zstd", "--image-format=docker", reason);
    }
    if flags.tar_path.is_some() && oci {
        let flag = "--tar-path writes a Docker schema2 tarball and";
        return conflict(flag, "--image-format=oci", "give one of them up");
    }
    if flags.tar_path.is_some() && zstd {
        let flag = "--tar-path writes a Docker schema2 tarball and";
        return conflict(flag, "--compression=zstd", "give one of them up");
    }
    if flags.destinations.is_empty() {
        if !flags.no_push && !flags.dryrun {
            return Err(Error::NoDestination);
        }
        if flags.digests.names.is_some() {
            return Err(Error::NoName { what: "ImageNameDigestFile" });
        }
        if flags.digests.tagged_names.is_some() {
            return Err(Error::NoName { what: "ImageNameTagDigestFile" });
        }
    }
    Ok(())
}
