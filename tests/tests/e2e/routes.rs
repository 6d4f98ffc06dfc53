//! Where images come from: what stands in for a registry, with two real registries, one that is empty
//! and one that is not there; and what the operator does not let in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Error, Result, ensure};
use kaniko_tests::{Finished, Lab, tool};
use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::registry::{Registry, USER};

use crate::{Test, root_test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("routes::what_stands_in_for_a_registry", stand_ins),
        root_test("routes::a_blob_goes_on_where_the_image_is_as_well", interrupted),
        test("routes::the_warmer_takes_the_same_ways", warmer),
        test("routes::a_stand_in_has_its_own_credentials", credentials),
        test("routes::what_is_repeated_and_what_is_ignored", repeated),
    ]
}

/// In all texts `{LAB}` is the registry of the tests, `{SECOND}` another one that has `busybox` as
/// Docker Hub would, and below `pre/`; `{EMPTY}` has nothing, and nobody answers at `{DEAD}`.
struct Case {
    name: &'static str,
    /// What the image is wanted for.
    ways: &'static [Way],
    image: &'static str,
    args: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// What it ends with, and lines that it writes, in this order.
    code: i32,
    lines: &'static [&'static str],
    /// What it does not write.
    never: &'static str,
}

type Way = &'static str;
const FROM: Way = "FROM {I}\nRUN true\n";
const COPY: Way = "FROM scratch\nCOPY --from={I} /bin/busybox /b\n";
const MOUNT: Way = "FROM {I}\nRUN --mount=from={I},target=/m /m/bin/busybox true\n";

const CASE: Case = Case {
    name: "",
    ways: &[FROM],
    image: "busybox",
    args: &[],
    variables: &[],
    code: 0,
    lines: &[],
    never: "-",
};
const ONLY: &str = "--skip-default-registry-fallback";

const CASES: &[Case] = &[
    Case {
        name: "a_map_with_a_prefix",
        ways: &[FROM, COPY, MOUNT],
        image: "{EMPTY}/busybox",
        args: &["--registry-map={EMPTY}={SECOND}/pre"],
        lines: &["Retrieving image {SECOND}/pre/busybox:latest from mapped registry {SECOND}"],
        never: "from registry {EMPTY}",
        ..CASE
    },
    Case {
        name: "the_first_is_dead",
        image: "{EMPTY}/busybox",
        args: &["--registry-map={EMPTY}={DEAD};{EMPTY}={SECOND}/pre"],
        lines: &[
            "Retrieving image {DEAD}/busybox:latest from mapped registry {DEAD}",
            "level=warning msg=\"Failed to retrieve image {DEAD}/busybox:latest from remapped \
             registry {DEAD}: ",
            "Will try with the next registry, or fallback to the original registry.",
            "Retrieving image {SECOND}/pre/busybox:latest from mapped registry {SECOND}",
        ],
        ..CASE
    },
    Case {
        name: "without_the_image_the_registry_itself_is_asked",
        image: "{LAB}/busybox",
        args: &["--registry-map={LAB}={EMPTY}"],
        lines: &[
            "Failed to retrieve image {EMPTY}/busybox:latest from remapped registry {EMPTY}: ",
            "MANIFEST_UNKNOWN",
            "Retrieving image {LAB}/busybox:latest from registry {LAB}",
        ],
        ..CASE
    },
    Case {
        name: "unless_it_shall_not",
        image: "{LAB}/busybox",
        args: &["--registry-map={LAB}={EMPTY}", ONLY],
        code: 1,
        lines: &["image not found on any configured mapped registries for {LAB}/busybox:latest: "],
        never: "from registry {LAB}",
        ..CASE
    },
    Case {
        name: "a_registry_without_a_map_is_asked_anyway",
        image: "{LAB}/busybox",
        args: &["--registry-map=gcr.io={EMPTY}", ONLY],
        lines: &["Retrieving image {LAB}/busybox:latest from registry {LAB}"],
        ..CASE
    },
    Case {
        name: "a_map_from_the_environment_comes_after_the_flags",
        image: "{EMPTY}/busybox",
        args: &["--registry-map={EMPTY}={LAB}/none", ONLY],
        variables: &[("KANIKO_REGISTRY_MAP", "gcr.io=x.invalid;{EMPTY}={SECOND}/pre")],
        lines: &["from remapped registry {LAB}: ", "from mapped registry {SECOND}"],
        ..CASE
    },
    Case {
        name: "a_mirror_is_for_the_hub",
        args: &["--registry-mirror={SECOND}", ONLY],
        lines: &["Retrieving image {SECOND}/library/busybox:latest from mapped registry {SECOND}"],
        ..CASE
    },
    Case {
        name: "mirrors_come_after_maps_and_the_environment_last",
        args: &["--registry-mirror={LAB}/none", "--registry-map=docker.io={EMPTY}", ONLY],
        variables: &[("KANIKO_REGISTRY_MIRROR", "{SECOND}")],
        lines: &[
            "from remapped registry {EMPTY}: ",
            "from remapped registry {LAB}: ",
            "from mapped registry {SECOND}",
        ],
        ..CASE
    },
    Case {
        name: "the_hub_has_three_names",
        image: "docker.io/library/busybox",
        args: &["--registry-map=registry-1.docker.io={SECOND}", ONLY],
        lines: &["Retrieving image {SECOND}/library/busybox:latest from mapped registry {SECOND}"],
        ..CASE
    },
    Case {
        name: "http_is_no_part_of_a_place",
        args: &["--registry-mirror=http://{SECOND}"],
        code: 1,
        lines: &["`http://{SECOND}` cannot stand in for the registry `index.docker.io`: it is not"],
        ..CASE
    },
    Case {
        name: "what_is_denied_is_not_asked_for",
        ways: &[FROM, COPY, MOUNT],
        image: "{LAB}/busybox",
        args: &["--allowed-registries=gcr.io,{LAB}", "--denied-repos=x,busy*"],
        code: 1,
        lines: &["the image `{LAB}/busybox:latest` may not be used: `busy*` is denied"],
        never: "Retrieving",
        ..CASE
    },
    Case {
        name: "what_is_allowed_is_named_by_the_dockerfile_not_by_the_mirror",
        args: &["--allowed-registries=docker.io/library/*", "--registry-mirror={SECOND}", ONLY],
        lines: &["from mapped registry {SECOND}"],
        ..CASE
    },
];

/// The registries of the cases.
struct Places {
    lab: String,
    second: Registry,
    empty: Registry,
    dead: String,
}

impl Places {
    fn start(lab: &Lab) -> Result<Self> {
        let start = || Registry::start().map_err(Error::msg);
        let (second, empty) = (start()?, start()?);
        for name in ["library/busybox", "pre/busybox"] {
            copy_busybox(lab, &second.host(), name)?;
        }
        // A port that was free a moment ago and is below those that the kernel gives out.
        let dead = "127.0.0.1:9".to_owned();
        Ok(Self { lab: lab.host(), second, empty, dead })
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{LAB}", &self.lab)
            .replace("{SECOND}", &self.second.host())
            .replace("{EMPTY}", &self.empty.host())
            .replace("{DEAD}", &self.dead)
    }
}

/// Copies the base image of the tests into another registry.
fn copy_busybox(lab: &Lab, host: &str, name: &str) -> Result<()> {
    tool("skopeo")
        .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .arg(format!("docker://{}/busybox", lab.host()))
        .arg(format!("docker://{host}/{name}"))
        .read()?;
    Ok(())
}

/// Wants that the lines are in the text in this order.
fn in_order(name: &str, text: &str, lines: impl IntoIterator<Item = String>) -> Result<()> {
    let mut rest = text;
    for line in lines {
        let Some((_, after)) = rest.split_once(line.as_str()) else {
            anyhow::bail!("{name}: `{line}` is not, or not in its place, in {text}");
        };
        rest = after;
    }
    Ok(())
}

fn stand_ins(lab: &Arc<Lab>) -> Result<()> {
    let places = Places::start(lab)?;
    for case in CASES {
        for way in case.ways {
            let build = lab.build("route")?;
            let text = places.fill(&way.replace("{I}", case.image));
            let mut build = build.dockerfile(&text)?.arg("--no-push");
            for arg in case.args {
                build = build.arg(places.fill(arg));
            }
            let command = case.variables.iter().fold(build.command(), |command, (name, value)| {
                command.env(name, places.fill(value))
            });
            let Finished { code, stderr, .. } = command.finish()?;
            let name = format!("{} for {way:?}", case.name);
            ensure!(code == Some(case.code), "{name}: {code:?}: {stderr}");
            in_order(&name, &stderr, case.lines.iter().map(|line| places.fill(line)))?;
            let never = places.fill(case.never);
            ensure!(case.never == "-" || !stderr.contains(&never), "{name}: `{never}` in {stderr}");
        }
    }
    Ok(())
}

/// A mirror that has the image, but lost its layer.
fn interrupted(lab: &Arc<Lab>) -> Result<()> {
    let mirror = Registry::start().map_err(Error::msg)?;
    copy_busybox(lab, &mirror.host(), "busybox")?;
    lose_largest(&mirror.storage())?;
    let text = format!("FROM {}/busybox\nRUN true\n", lab.host());
    let build = lab.build("interrupted")?.dockerfile(&text)?;
    let build = build.arg(format!("--registry-map={}={}", lab.host(), mirror.host()));
    let outcome = build.arg("--no-push").run()?;
    outcome.succeeded()?;
    let lines = [
        format!("from mapped registry {}", mirror.host()),
        format!("Failed to retrieve a blob: cannot pull blob `{}/busybox@sha256:", mirror.host()),
        format!("Will go on at byte 0 with {}/busybox@sha256:", lab.host()),
    ];
    in_order("interrupted", &outcome.finished.stderr, lines)
}

/// Removes the largest file below a directory.
fn lose_largest(directory: &Path) -> Result<()> {
    let mut found: Option<(u64, PathBuf)> = None;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                open.push(entry.path());
            } else if found.as_ref().is_none_or(|(size, _)| *size < metadata.len()) {
                found = Some((metadata.len(), entry.path()));
            }
        }
    }
    let (_, path) = found.context("there is no file")?;
    Ok(std::fs::remove_file(path)?)
}

fn warmer(lab: &Arc<Lab>) -> Result<()> {
    let places = Places::start(lab)?;
    let map = "{EMPTY}={SECOND}/pre";
    for (image, args, variables, code, line) in [
        (
            "busybox",
            &["--registry-mirror={SECOND}", ONLY][..],
            &[][..],
            0,
            "Retrieving image {SECOND}/library/busybox:latest from mapped registry {SECOND}",
        ),
        (
            "{EMPTY}/busybox",
            &["--registry-map={EMPTY}={DEAD}"],
            &[("KANIKO_REGISTRY_MAP", map)],
            0,
            "Retrieving image {SECOND}/pre/busybox:latest from mapped registry {SECOND}",
        ),
        (
            "busybox",
            &[ONLY],
            &[("KANIKO_REGISTRY_MIRROR", "{SECOND}")],
            0,
            "Retrieving image {SECOND}/library/busybox:latest from mapped registry {SECOND}",
        ),
        (
            "{SECOND}/pre/busybox",
            &["--registry-map={SECOND}={EMPTY}", ONLY],
            &[],
            1,
            "image not found on any configured mapped registries for {SECOND}/pre/busybox:latest: ",
        ),
    ] {
        let cache = lab.scratch("warm")?;
        let mut command = tool(lab.executor().with_file_name("warmer"))
            .arg(format!("--image={}", places.fill(image)))
            .arg(format!("--cache-dir={}", cache.display()))
            .arg("--log-format=text");
        for arg in args {
            command = command.arg(places.fill(arg));
        }
        for (name, value) in variables {
            command = command.env(name, places.fill(value));
        }
        let Finished { code: found, stderr, .. } = command.finish()?;
        ensure!(found == Some(code), "{image} {args:?}: {found:?}: {stderr}");
        in_order(image, &stderr, [places.fill(line)])?;
    }
    Ok(())
}

/// The mirror wants a password, which is found by the mirror's name, not by that of the registry.
fn credentials(lab: &Arc<Lab>) -> Result<()> {
    let mirror = Registry::start_with_password().map_err(Error::msg)?;
    tool("skopeo")
        .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .arg(format!("--dest-creds={}:{}", USER.0, USER.1))
        .arg(format!("docker://{}/busybox", lab.host()))
        .arg(format!("docker://{}/library/busybox", mirror.host()))
        .read()?;
    for (name, code) in [(mirror.host(), 0), ("https://index.docker.io/v1/".to_owned(), 1)] {
        let entry = format!("{{\"username\": \"{}\", \"password\": \"{}\"}}", USER.0, USER.1);
        let build = lab.build("mirror-password")?;
        let build = build.dockerfile("FROM busybox\nLABEL a=b\n")?.arg("--no-push");
        let build = build.arg(format!("--registry-mirror={}", mirror.host())).arg(ONLY);
        let config = format!("{{\"auths\": {{\"{name}\": {entry}}}}}");
        let finished = build.command().env("DOCKER_AUTH_CONFIG", config).finish()?;
        ensure!(finished.code == Some(code), "{name}: {}", finished.stderr);
    }
    Ok(())
}

/// Pushes that a registry refuses: how often, with which status and text; the flags; what comes of it.
fn repeated(lab: &Arc<Lab>) -> Result<()> {
    const QUICK: &str = "--push-retry-initial-delay=20";
    const TAG: &str = "The image tag 'v1' already exists and cannot be overwritten because the ";
    for (times, text, args, code, lines) in [
        (
            // Once by digest, once by tag.
            Some(1),
            "later",
            &["--push-retry=2", QUICK, "--push-retry-backoff-multiplier=1.5"][..],
            0,
            &[
                "Pushing image to {HOST}/app:v1",
                "Retrying operation after 20ms due to cannot push manifest of `{HOST}/app:v1`: the \
                 registry answered 403 (X): later",
                "Retrying operation after 30ms due to ",
                "Pushed {HOST}/app@sha256:",
            ][..],
        ),
        (
            None,
            "never",
            &["--push-retry=1", QUICK],
            1,
            &[
                "Retrying operation after 20ms due to ",
                "unable to complete operation after 1 attempts, last error: cannot push manifest",
            ],
        ),
        (None, "TAGtag is immutable", &[], 1, &["cannot be overwritten because the tag is"]),
        (
            None,
            "TAGrepository is immutable",
            &["--push-ignore-immutable-tag-errors", "--push-retry=1"],
            0,
            &["level=info msg=\"Immutable tag error ignored for {HOST}/app@sha256:"],
        ),
        (None, "no", &["--push-ignore-immutable-tag-errors"], 1, &["403 (X): no"]),
    ] {
        let registry = FaultRegistry::start();
        let text = text.replace("TAG", TAG);
        let document = format!("{{\"errors\":[{{\"code\":\"X\",\"message\":\"{text}\"}}]}}");
        registry.fault(Subject::ManifestPut, times, Action::Status(403, vec![], document));
        let build = lab.build("repeated")?.dockerfile("FROM scratch\nCOPY Dockerfile /\n")?;
        let build = build.arg(format!("--destination={}/app:v1", registry.host()));
        let build = args.iter().fold(build, |build, arg| build.arg(*arg));
        let finished = build.command().env("UPSTREAM_CLIENT_TYPE", "UpstreamClient").finish()?;
        let stderr = &finished.stderr;
        ensure!(finished.code == Some(code), "{args:?} {text}: {stderr}");
        in_order(&text, stderr, lines.iter().map(|line| line.replace("{HOST}", &registry.host())))?;
        let expected =
            format!("kaniko/1.28.3,UpstreamClient kaniko-rs/{}", env!("CARGO_PKG_VERSION"));
        for request in registry.log() {
            let agent = &request.user_agent;
            ensure!(*agent == expected, "{} came as `{agent}`", request.request);
        }
    }
    Ok(())
}
