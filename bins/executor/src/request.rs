//! Flags and environment as a build request: every default becomes a value here.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use builder::{
    BaseCacheOptions, BuildRequest, CachePlace, Choice, Compression, DigestFiles, DigestPlace,
    DockerfilePlace, Emulation, EnterOptions, Entitlement, ImageFormat, IndexOptions, JoinRequest,
    LayerCaching, Lint, Outputs, Platform, Reference, RootPath, Secret, Timestamp,
};
use cli::{
    CacheFlags, Command, DigestFlags, Driver, Environment, ExecutorFlags, Place, SecretSource,
    SshFlag,
};
use connect::Registries;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The request that the flags ask for. Reads what must be read before a root file system may
/// change: authorities, name servers, the clock.
pub(crate) fn from_flags(flags: &ExecutorFlags, environment: &Environment) -> Result<BuildRequest> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let context = context_directory(flags, &here)?;
    let Registries { pull, push } = connect::registries(&flags.registry, environment)?;
    let now = now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let epoch = flags.source_date_epoch.or(flags.reproducible.then_some(0));
    Ok(BuildRequest {
        dockerfile: match flags.command {
            Command::Build => dockerfile_place(&flags.dockerfile, &context, &here)?,
            Command::Doctor => DockerfilePlace::Elsewhere,
        },
        context,
        targets: flags.targets.clone(),
        build_args: flags.build_args.clone(),
        labels: flags.labels.clone(),
        annotations: flags.annotations.clone(),
        platforms: flags.platforms.platforms.clone(),
        build_platform: Platform::host(),
        emulation: match flags.platforms.native_only {
            true => Emulation::Never,
            false => Emulation::IfPossible,
        },
        allow: flags.allow.iter().map(entitlement).collect(),
        command_timeout: flags.command_timeout,
        secrets: secrets(flags, environment, &here)?,
        ssh: agents(flags, &here)?,
        lint: match flags.lint {
            cli::Lint::Off => Lint::Off,
            cli::Lint::Warn => Lint::Warn,
            cli::Lint::Error => Lint::Error,
        },
        base_cache: base_cache(flags, &here),
        pull,
        push,
        layer_cache: flags
            .cache
            .as_ref()
            .map(|cache| layer_cache(cache, flags, &here))
            .transpose()?,
        outputs: outputs(flags, &here)?,
        compression: compression(flags),
        format: flags.image_format.map(|format| match format {
            cli::ImageFormat::Oci => ImageFormat::Oci,
            cli::ImageFormat::Docker => ImageFormat::Docker,
        }),
        state_dir: state_dir(flags.kaniko_dir.as_deref(), environment, &here),
        build_id: format!("{}-{}", std::process::id(), now.seconds()),
        now,
        epoch,
        threads: cores,
        max_parallel_stages: flags.max_parallel_stages.unwrap_or(cores),
    })
}

/// What `--driver=ci` is to join; nothing where this program is to build.
pub(crate) fn to_join(
    flags: &ExecutorFlags,
    environment: &Environment,
) -> Result<Option<JoinRequest>> {
    let (Driver::Ci { digests }, Command::Build) = (&flags.platforms.driver, flags.command) else {
        return Ok(None);
    };
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    Ok(Some(JoinRequest {
        digests: absolute(digests, &here),
        platforms: flags.platforms.platforms.clone(),
        registry: connect::registries(&flags.registry, environment)?.push,
        outputs: outputs(flags, &here)?,
    }))
}

/// Base images that the warmer fetched are looked for with `--cache` only, as in kaniko.
fn base_cache(flags: &ExecutorFlags, here: &Path) -> Option<BaseCacheOptions> {
    let cache = flags.cache.as_ref()?;
    let directory = cache.base_images.as_ref().filter(|path| !path.as_os_str().is_empty())?;
    Some(BaseCacheOptions { directory: absolute(directory, here), lifetime: cache.lifetime })
}

/// What the rung is chosen by.
pub(crate) fn enter_options(
    flags: &ExecutorFlags,
    environment: &Environment,
    request: &BuildRequest,
) -> EnterOptions {
    EnterOptions {
        choice: match flags.isolation {
            cli::Isolation::Auto => Choice::Auto,
            cli::Isolation::Namespaces => Choice::Namespaces,
            cli::Isolation::InPlace => Choice::InPlace,
        },
        force: flags.force,
        in_container: cli::container::detect(environment).is_some(),
        state_dir: request.state_dir.clone(),
        protected: flags.ignore_paths.iter().cloned().chain(caches(request)).collect(),
    }
}

/// Where caches on the disk are. In place they must stay where they are, and in no image.
fn caches(request: &BuildRequest) -> impl Iterator<Item = PathBuf> + '_ {
    let layers = request.layer_cache.iter().flat_map(|cache| &cache.places);
    let layers = layers.filter_map(|place| match place {
        CachePlace::Repository(_) => None,
        CachePlace::Directory(path) => Some(path.clone()),
        CachePlace::Layouts(path) => path.parent().map(Path::to_owned),
    });
    let bases = request.base_cache.iter().map(|cache| cache.directory.clone());
    layers.chain(bases.filter(|path| path.exists()))
}

/// Where results of steps are kept.
fn layer_cache(cache: &CacheFlags, flags: &ExecutorFlags, here: &Path) -> Result<LayerCaching> {
    let nearer = cache.nearer.iter().map(|path| Ok(CachePlace::Directory(absolute(path, here))));
    let farther = match &cache.place {
        cli::CachePlace::Repository(name) => {
            let last = name.rsplit('/').next().unwrap_or_default();
            if last.contains([':', '@']) {
                let reason = "the keys are its tags, so it has none of its own";
                return Err(format!("--cache-repo {name}: {reason}").into());
            }
            Some(CachePlace::Repository(Reference::parse(name)?))
        }
        cli::CachePlace::BelowDestination => flags
            .destinations
            .first()
            .map(|destination| -> Result<_> {
                let destination = Reference::parse(destination)?;
                let below =
                    format!("{}/{}/cache", destination.registry(), destination.repository());
                Ok(CachePlace::Repository(Reference::parse(&below)?))
            })
            .transpose()?,
        cli::CachePlace::Layouts(path) => {
            let path = absolute(path, here);
            if path.parent() == Some(Path::new("/")) {
                let reason =
                    "the layouts lie beside it, so it must be below a directory of their own";
                return Err(format!("--cache-repo oci:{}: {reason}", path.display()).into());
            }
            Some(CachePlace::Layouts(path))
        }
        cli::CachePlace::Directory(path) => Some(CachePlace::Directory(absolute(path, here))),
        cli::CachePlace::Nowhere => None,
    };
    Ok(LayerCaching {
        places: nearer.chain(farther.map(Ok)).collect::<Result<_>>()?,
        lifetime: cache.lifetime,
        copies: cache.copies,
        runs: cache.runs,
        keep: cache.keep,
        explain: cache.explain,
    })
}

fn entitlement(allow: &cli::Allow) -> Entitlement {
    match allow {
        cli::Allow::NetworkHost => Entitlement::NetworkHost,
        cli::Allow::SecurityInsecure => Entitlement::SecurityInsecure,
        cli::Allow::AnyDevice => Entitlement::AnyDevice,
        cli::Allow::Device(name) => Entitlement::Device(name.clone()),
    }
}

fn absolute(path: &Path, here: &Path) -> PathBuf {
    here.join(path)
}

/// Where the state lies: where it is asked for, or where it lies in such a place.
pub(crate) fn state_dir(asked: Option<&Path>, environment: &Environment, here: &Path) -> PathBuf {
    match asked {
        Some(path) => absolute(path, here),
        None => {
            let in_container = cli::container::detect(environment).is_some();
            cli::container::state_dir(in_container, environment)
        }
    }
}

/// The directory of a local context: `dir://PATH` or a plain path.
fn context_directory(flags: &ExecutorFlags, here: &Path) -> Result<PathBuf> {
    let text = flags.context.as_str();
    let path = text.strip_prefix("dir://").unwrap_or(text);
    let path = absolute(Path::new(path), here);
    Ok(match &flags.context_sub_path {
        Some(below) => path.join(below.strip_prefix("/").unwrap_or(below)),
        None => path,
    })
}

/// As kaniko: the path as it is, if such a file exists, else below the context.
fn dockerfile_place(name: &str, context: &Path, here: &Path) -> Result<DockerfilePlace> {
    let host = absolute(Path::new(name), here);
    if host.exists() {
        return Ok(DockerfilePlace::Host(host));
    }
    let inside = context.join(name);
    if !inside.exists() && name == "Dockerfile" && context.join("dockerfile").exists() {
        return Ok(DockerfilePlace::Context(RootPath::new("dockerfile")?));
    }
    if !inside.exists() {
        return Err(format!(
            "error resolving dockerfile path: please provide a valid path to a Dockerfile within \
             the build context with --dockerfile: neither `{}` nor `{}` exists",
            host.display(),
            inside.display()
        )
        .into());
    }
    Ok(DockerfilePlace::Context(RootPath::new(name)?))
}

/// Reads the secrets before a step can: from then on they are in memory only.
fn secrets(
    flags: &ExecutorFlags,
    environment: &Environment,
    here: &Path,
) -> Result<BTreeMap<String, Secret>> {
    let mut secrets = BTreeMap::new();
    for secret in &flags.secrets {
        let id = &secret.id;
        let content = match &secret.source {
            SecretSource::Variable(name) => match environment.get(name) {
                Some(value) => value.as_encoded_bytes().to_vec(),
                None => return Err(format!("secret {id}: variable {name} is not set").into()),
            },
            SecretSource::File(path) => {
                let path = absolute(path, here);
                let place = RootPath::new(path.as_os_str().as_encoded_bytes())?;
                builder::read_host_file(&place).map_err(|error| format!("secret {id}: {error}"))?
            }
        };
        if content.len() > MAX_SECRET {
            return Err(format!("secret {id} has more than {MAX_SECRET} bytes").into());
        }
        secrets.insert(id.clone(), Secret::new(content));
    }
    Ok(secrets)
}

/// The sockets of agents. Keys are never read, so that none can get into a step.
fn agents(flags: &ExecutorFlags, here: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut agents = BTreeMap::new();
    for SshFlag { id, socket } in &flags.agents {
        let path = absolute(socket, here);
        let shown = path.display();
        match path.metadata() {
            Ok(found) if found.file_type().is_socket() => {}
            Ok(_) => {
                let advice = "key files are not read: add the key to an agent (ssh-add), and name \
                              its socket";
                return Err(format!("ssh agent {id}: `{shown}` is no socket; {advice}").into());
            }
            Err(error) => {
                return Err(format!("ssh agent {id}: cannot find `{shown}`: {error}").into());
            }
        }
        agents.insert(id.clone(), path);
    }
    Ok(agents)
}

/// BuildKit's limit.
const MAX_SECRET: usize = 500 * 1024;

fn outputs(flags: &ExecutorFlags, here: &Path) -> Result<Outputs> {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| absolute(path, here));
    let destinations = flags.destinations.iter().map(|text| Reference::parse(text));
    Ok(Outputs {
        destinations: destinations.collect::<std::result::Result<_, _>>()?,
        push: !flags.no_push,
        index: flags.platforms.index.as_ref().map(|index| IndexOptions {
            format: if index.legacy { ImageFormat::Docker } else { ImageFormat::Oci },
            annotations: index.annotations.clone(),
        }),
        verify_push: flags.registry.verify_push,
        check_push: !flags.registry.skip_push_permission_check,
        ignore_immutable_tags: flags.registry.ignore_immutable_tags,
        tar_path: path(&flags.tar_path),
        oci_layout_path: path(&flags.oci_layout_path),
        digests: digest_files(&flags.digests, here)?,
        cleanup: flags.cleanup,
        restore: flags.preserve_context || !flags.pre_cleanup,
        materialize: flags.materialize,
    })
}

/// Who is told what was pushed.
pub(crate) fn digest_files(flags: &DigestFlags, here: &Path) -> Result<DigestFiles> {
    let place = |place: &Option<Place>| -> Result<Option<DigestPlace>> {
        Ok(match place {
            Some(Place::File(path)) => Some(DigestPlace::File(absolute(path, here))),
            Some(Place::Web(text)) => {
                let url = text
                    .parse()
                    .map_err(|error| format!("the address of a digest file: {error}"))?;
                Some(DigestPlace::Web(url))
            }
            None => None,
        })
    };
    Ok(DigestFiles {
        digest: place(&flags.digest)?,
        names: place(&flags.names)?,
        tagged_names: place(&flags.tagged_names)?,
        images: flags.images.as_ref().map(|path| absolute(path, here)),
    })
}

fn compression(flags: &ExecutorFlags) -> Compression {
    let level = flags.compression_level;
    match flags.compression {
        Some(cli::Compression::Zstd) => {
            Compression::Zstd { level: level.unwrap_or(3).clamp(1, 22) }
        }
        Some(cli::Compression::Gzip) | None => {
            let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(1);
            Compression::Gzip { level: level.min(12) }
        }
    }
}

/// The one reading of the clock.
#[expect(clippy::disallowed_methods, reason = "the rim reads the clock and passes it down")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp::new(i64::try_from(since.as_secs()).unwrap_or(0), since.subsec_nanos())
}
