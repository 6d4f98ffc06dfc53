//! The flag tables of both programs: what is there. What is not there yet stands in `not_yet`.
//!
//! Names, short names, defaults and meaning are kaniko's; the ones that are ours say so.

use crate::flag::Flag;
use crate::flag::Status::{Alias, NoEffect};
use crate::flag::Value::{Bool, Choice, Duration, KeyValue, List, Map, Number, Text};
use crate::not_yet;

const LOG_FORMATS: &[&str] = &["text", "color", "json"];
const SNAPSHOT_MODES: &[&str] = &["full", "redo", "time"];
const WHOLE: &str =
    "a layer is unpacked once it is whole and verified; downloads resume by themselves";
const EXACT: &str = "every snapshot is exact, whatever the mode";

/// Every flag the executor knows, in the order of the usage text.
#[must_use]
pub fn executor_table() -> Vec<Flag> {
    let mut table: Vec<Flag> = EXECUTOR.iter().chain(not_yet::EXECUTOR).copied().collect();
    table.sort_by_key(|flag| flag.name.to_lowercase());
    table
}

/// Every flag the warmer knows, in the order of the usage text.
#[must_use]
pub fn warmer_table() -> Vec<Flag> {
    let mut table: Vec<Flag> = WARMER.to_vec();
    table.sort_by_key(|flag| flag.name.to_lowercase());
    table
}

/// Every flag of `executor push`: those of a build that make sense for it.
pub(crate) fn push_table() -> Vec<Flag> {
    const NAMES: &[&str] = &[
        "credential-helpers",
        "destination",
        "digest-file",
        "disable-http2",
        "help",
        "image-name-tag-with-digest-file",
        "image-name-with-digest-file",
        "insecure",
        "insecure-registry",
        "kaniko-dir",
        "log-format",
        "log-timestamp",
        "max-network-concurrency",
        "push-ignore-immutable-tag-errors",
        "push-retry",
        "push-retry-backoff-multiplier",
        "push-retry-initial-delay",
        "push-retry-max-delay",
        "registry-certificate",
        "registry-client-cert",
        "skip-push-permission-check",
        "skip-tls-verify",
        "skip-tls-verify-registry",
        "verbosity",
        "verify-push",
    ];
    let mut table = executor_table();
    table.retain(|flag| NAMES.contains(&flag.name));
    table
}

/// Every flag of `executor cache gc`.
pub(crate) const CACHE: &[Flag] = &[
    Flag::new("cache-repo", Text, "the cache: oci:PATH, or dir:PATH"),
    Flag::new("help", Bool, "print this text").short('h'),
    Flag::new("layer-cache-dir", Text, "the cache: a directory"),
    Flag::new("log-format", Choice(LOG_FORMATS), "form of the log lines").default("color"),
    Flag::new("log-timestamp", Bool, "full time in coloured log lines").default("false"),
    Flag::new("max-age", Duration, "remove what was not used for so long, such as 336h"),
    Flag::new(
        "max-bytes",
        Text,
        "remove what was used least recently until so much is left, such as 10GiB",
    ),
    Flag::new("verbosity", Text, "trace, debug, info, warn, error, fatal or panic")
        .short('v')
        .default("info"),
];

/// Every flag of `executor login`.
pub(crate) const LOGIN: &[Flag] = &[
    Flag::new("help", Bool, "print this text").short('h'),
    Flag::new("log-format", Choice(LOG_FORMATS), "form of the log lines").default("color"),
    Flag::new("log-timestamp", Bool, "full time in coloured log lines").default("false"),
    Flag::new("password", Text, "the password, for everybody to see").short('p'),
    Flag::new("password-stdin", Bool, "read the password from standard input").default("false"),
    Flag::new("username", Text, "the user").short('u'),
    Flag::new("verbosity", Text, "trace, debug, info, warn, error, fatal or panic")
        .short('v')
        .default("info"),
];

const EXECUTOR: &[Flag] = &[
    Flag::new(
        "allow",
        List,
        "let RUN steps ask for network.host, security.insecure, device or device=NAME (ours)",
    ),
    Flag::new("annotation", KeyValue, "annotation of the manifest, KEY=VALUE; may be repeated"),
    Flag::new(
        "allowed-registries",
        List,
        "registries images may come from, host or host/repository patterns, comma-separated",
    ),
    Flag::new(
        "allowed-repos",
        List,
        "repositories images may come from, patterns, comma-separated",
    ),
    Flag::new(
        "build-arg",
        List,
        "a build argument, NAME=VALUE, or NAME to take it from the environment",
    ),
    Flag::new("arch-cache-repo-suffix", Text, "what a cache repository is called on each platform")
        .default("-${ARCH}")
        .status(NoEffect("keys hold the platform, so one repository serves all of them")),
    Flag::new("cache", Bool, "take results of steps, and base images, from caches")
        .default("false"),
    Flag::new("cache-copy-layers", Bool, "cache what COPY and ADD make").default("true"),
    Flag::new("cache-dir", Text, "directory of base images that the warmer fetched")
        .default("/cache"),
    Flag::new(
        "cache-repo",
        Text,
        "where results of steps are kept: a repository, oci:PATH or, ours, dir:PATH; by default the \
         repository `cache` below the first destination's",
    ),
    Flag::new("cache-run-layers", Bool, "cache what RUN and WORKDIR make").default("true"),
    Flag::new("cache-ttl", Duration, "how long what is cached may be used").default("336h"),
    Flag::new(
        "cleanup",
        Bool,
        "after an in-place build, put back what the container held before it, and keep no layers",
    )
    .default("false"),
    Flag::new("command-timeout", Duration, "end a RUN step that takes longer (default: no limit)"),
    Flag::new("compressed-caching", Bool, "keep compressed layers in memory")
        .default("true")
        .status(NoEffect("layers are compressed once and kept on disk")),
    Flag::new("compression", Choice(&["gzip", "zstd"]), "compression of new layers")
        .default("gzip"),
    Flag::new("compression-level", Number, "level of that compression").default("-1"),
    Flag::new("context", Text, "where the build context is").short('c').default("/workspace/"),
    Flag::new("context-sub-path", Text, "directory inside the build context to build from"),
    Flag::new(
        "credential-helpers",
        List,
        "where credentials are looked for after docker's config: env, google, ecr, acr, gitlab, all \
         of them if not given; may be repeated",
    ),
    Flag::new("custom-platform", Text, "platform to build for, OS/ARCH[/VARIANT]"),
    Flag::new("customPlatform", Text, "old spelling").status(Alias("custom-platform")),
    Flag::new(
        "denied-registries",
        List,
        "registries images may not come from, as --allowed-registries; goes first",
    ),
    Flag::new("denied-repos", List, "repositories images may not come from; goes first"),
    Flag::new("destination", List, "reference to push the image to; may be repeated").short('d'),
    Flag::new("digest-file", Text, "file that receives the digest of the image"),
    Flag::new(
        "digests-from",
        Text,
        "directory of digest files that --driver=ci joins, OS-ARCH[-VARIANT].digest",
    ),
    Flag::new("disable-http2", Bool, "speak HTTP/1.1 only (ours)").default("false"),
    Flag::new("dockerfile", Text, "the Dockerfile, looked up as given and then in the context")
        .short('f')
        .default("Dockerfile"),
    Flag::new(
        "driver",
        Choice(&["local", "ci", "k8s"]),
        "who makes the images of several platforms: this program, or other jobs (ci)",
    )
    .default("local"),
    Flag::new("dryrun", Bool, "print the plan and stop").default("false"),
    Flag::new(
        "explain-cache",
        Bool,
        "say of each step whether it is cached, and what changed if it is not (ours)",
    )
    .default("false"),
    Flag::new("force", Bool, "build in place although no container is detected").default("false"),
    Flag::new("force-build-metadata", Bool, "write history for every instruction")
        .default("false")
        .status(NoEffect("the history always has every instruction, as in BuildKit")),
    Flag::new("help", Bool, "print this text").short('h'),
    Flag::new("ignore-path", List, "path that never enters a layer and is never deleted"),
    Flag::new("ignore-var-run", Bool, "treat /var/run as such a path").default("true"),
    Flag::new(
        "image-download-retry",
        Number,
        "how often to look for a base image once more, after 1s, 2s, 4s, ...",
    )
    .default("0"),
    Flag::new(
        "image-format",
        Choice(&["docker", "oci"]),
        "media types of the image (default: as the base image)",
    ),
    Flag::new("image-fs-extract-retry", Number, "how often to unpack a base image once more")
        .default("0")
        .status(NoEffect(WHOLE)),
    Flag::new(
        "image-name-tag-with-digest-file",
        Text,
        "file that receives NAME:TAG@DIGEST per destination",
    ),
    Flag::new(
        "image-name-with-digest-file",
        Text,
        "file that receives NAME@DIGEST per destination",
    ),
    Flag::new(
        "index-annotations",
        KeyValue,
        "annotations of the index, KEY=VALUE; may be repeated",
    ),
    Flag::new("insecure", Bool, "allow plain HTTP for pushing").default("false"),
    Flag::new("insecure-pull", Bool, "allow plain HTTP for pulling").default("false"),
    Flag::new("insecure-registry", List, "HOST[:PORT] with which plain HTTP is allowed"),
    Flag::new(
        "isolation",
        Choice(&["auto", "namespaces", "in-place"]),
        "where RUN steps run (ours)",
    )
    .default("auto"),
    Flag::new("kaniko-dir", Text, "directory for everything the build keeps on disk"),
    Flag::new("label", List, "label of the image, KEY=VALUE; may be repeated"),
    Flag::new("legacy-manifest-list", Bool, "push a docker manifest list instead of an OCI index")
        .default("false"),
    Flag::new(
        "layer-cache-dir",
        Text,
        "directory that is asked for results of steps before the cache repository, and keeps them as \
         well (ours)",
    ),
    Flag::new(
        "lint",
        Choice(&["off", "warn", "error"]),
        "what to do with findings in the Dockerfile (ours)",
    )
    .default("warn"),
    Flag::new("log-format", Choice(LOG_FORMATS), "form of the log lines").default("color"),
    Flag::new("log-timestamp", Bool, "full time in coloured log lines").default("false"),
    Flag::new("materialize", Bool, "unpack the target's files although no step needs them")
        .default("false"),
    Flag::new(
        "max-network-concurrency",
        Number,
        "how many blobs are on their way at a time, 0 for 4",
    )
    .default("0"),
    Flag::new(
        "max-parallel-stages",
        Number,
        "how many stages are built at a time, 0 for the number of cores (ours)",
    )
    .default("0"),
    Flag::new(
        "multi-platform",
        List,
        "platforms to build an image for, OS/ARCH[/VARIANT] with commas; may be repeated",
    ),
    Flag::new("no-push", Bool, "build, but do not push").default("false"),
    Flag::new("no-push-cache", Bool, "read the cache, but keep nothing in it").default("false"),
    Flag::new("oci-layout-path", Text, "directory that receives the image as an OCI layout"),
    Flag::new(
        "pre-cleanup",
        Bool,
        "give up what the container holds before an in-place build: --cleanup leaves `/` empty",
    )
    .default("false"),
    Flag::new(
        "preserve-context",
        Bool,
        "put back what the container held even with --pre-cleanup; needs --cleanup",
    )
    .default("false"),
    Flag::new("publish-index", Bool, "push an index of the images of --multi-platform")
        .default("false"),
    Flag::new(
        "push-ignore-immutable-tag-errors",
        Bool,
        "a tag that the registry keeps from changing is no failure",
    )
    .default("false"),
    Flag::new("push-retry", Number, "how often to push once more, after 1s, 2s, 4s, ...")
        .default("0"),
    Flag::new(
        "push-retry-backoff-multiplier",
        Text,
        "how much longer each pause of --push-retry is",
    )
    .default("2.0"),
    Flag::new("push-retry-initial-delay", Number, "first pause of --push-retry in milliseconds")
        .default("1000"),
    Flag::new("push-retry-max-delay", Number, "longest pause of --push-retry in milliseconds")
        .default("30000"),
    Flag::new(
        "registry-certificate",
        KeyValue,
        "HOST=FILE, certificate authorities of one registry",
    ),
    Flag::new(
        "registry-client-cert",
        KeyValue,
        "HOST=CERTIFICATE,KEY, files of what is shown to one registry",
    ),
    Flag::new(
        "registry-map",
        Map,
        "HOST=PLACE, what stands in for a registry: HOST[:PORT][/PREFIX], in order",
    ),
    Flag::new(
        "registry-mirror",
        List,
        "PLACE that stands in for Docker Hub, in order; may be repeated",
    ),
    Flag::new("reproducible", Bool, "no time of the build in the image").default("false"),
    Flag::new("require-native-nodes", Bool, "with --multi-platform, refuse RUN under an emulator")
        .default("true"),
    Flag::new(
        "oci-mode",
        Choice(&["auto", "docker", "oci"]),
        "the same as --image-format; auto: as the base image",
    )
    .default("auto"),
    Flag::new(
        "secret",
        List,
        "secret for RUN --mount=type=secret, id=ID[,src=FILE|,env=VARIABLE]; may be repeated",
    ),
    Flag::new(
        "skip-default-registry-fallback",
        Bool,
        "do not ask a registry that something stands in for",
    )
    .default("false"),
    Flag::new("skip-push-permission-check", Bool, "do not ask the registry before the build")
        .default("false"),
    Flag::new("skip-tls-verify", Bool, "do not verify certificates").default("false"),
    Flag::new("skip-tls-verify-pull", Bool, "do not verify certificates when pulling")
        .default("false"),
    Flag::new("skip-tls-verify-registry", List, "HOST[:PORT] whose certificate is not verified"),
    Flag::new("skip-unused-stages", Bool, "leave out stages the target does not need")
        .default("false")
        .status(NoEffect("stages the target does not need are always left out")),
    Flag::new("snapshot-mode", Choice(SNAPSHOT_MODES), "how changes are found")
        .default("full")
        .status(NoEffect(EXACT)),
    Flag::new("snapshotMode", Choice(SNAPSHOT_MODES), "old spelling")
        .status(Alias("snapshot-mode")),
    Flag::new(
        "ssh",
        List,
        "agent for RUN --mount=type=ssh, default or ID=SOCKET; may be repeated (ours)",
    ),
    Flag::new("tar-path", Text, "file that receives the image as a docker archive"),
    Flag::new("target", List, "stage to build; the first one given is the image"),
    Flag::new("tarPath", Text, "old spelling").status(Alias("tar-path")),
    Flag::new("use-new-run", Bool, "another way to find changes")
        .default("false")
        .status(NoEffect(EXACT)),
    Flag::new("verbosity", Text, "trace, debug, info, warn, error, fatal or panic")
        .short('v')
        .default("info"),
    Flag::new(
        "verify-push",
        Bool,
        "read back what was pushed: the manifest, and every blob's size",
    )
    .default("false"),
    Flag::new("version", Bool, "print the version"),
    Flag::new("whitelist-var-run", Bool, "old spelling").status(Alias("ignore-var-run")),
];

const WARMER: &[Flag] = &[
    Flag::new("build-arg", List, "a build argument for the FROM lines of the Dockerfile"),
    Flag::new("cache-dir", Text, "directory to fill").short('c').default("/cache"),
    Flag::new("cache-ttl", Duration, "how long what was fetched is fresh").default("336h"),
    Flag::new(
        "custom-platform",
        List,
        "platforms of the images, OS/ARCH[/VARIANT]; comma-separated or repeated",
    ),
    Flag::new("customPlatform", List, "old spelling").status(Alias("custom-platform")),
    Flag::new("disable-http2", Bool, "speak HTTP/1.1 only (ours)").default("false"),
    Flag::new("dockerfile", Text, "Dockerfile whose base images are wanted, a path or an URL")
        .short('d'),
    Flag::new("force", Bool, "fetch images again that are there").short('f').default("false"),
    Flag::new("help", Bool, "print this text").short('h'),
    Flag::new("image", List, "image to fetch; may be repeated").short('i'),
    Flag::new("insecure-pull", Bool, "allow plain HTTP for pulling").default("false"),
    Flag::new("insecure-registry", List, "HOST[:PORT] with which plain HTTP is allowed"),
    Flag::new("log-format", Choice(LOG_FORMATS), "form of the log lines").default("color"),
    Flag::new("log-timestamp", Bool, "full time in coloured log lines").default("false"),
    Flag::new(
        "registry-certificate",
        KeyValue,
        "HOST=FILE, certificate authorities of one registry",
    ),
    Flag::new(
        "registry-client-cert",
        KeyValue,
        "HOST=CERTIFICATE,KEY, files of what is shown to one registry",
    ),
    Flag::new(
        "registry-map",
        Map,
        "HOST=PLACE, what stands in for a registry: HOST[:PORT][/PREFIX], in order",
    ),
    Flag::new(
        "registry-mirror",
        List,
        "PLACE that stands in for Docker Hub, in order; may be repeated",
    ),
    Flag::new(
        "skip-default-registry-fallback",
        Bool,
        "do not ask a registry that something stands in for",
    )
    .default("false"),
    Flag::new("skip-tls-verify-pull", Bool, "do not verify certificates when pulling")
        .default("false"),
    Flag::new("skip-tls-verify-registry", List, "HOST[:PORT] whose certificate is not verified"),
    Flag::new("strict", Bool, "fail if one image cannot be fetched (ours)").default("false"),
    Flag::new("verbosity", Text, "trace, debug, info, warn, error, fatal or panic")
        .short('v')
        .default("info"),
    Flag::new("version", Bool, "print the version"),
];
