//! What BuildKit makes of Dockerfiles, and what we make of the same: trees, configs, histories.
//!
//! `tests/buildkit/cases.jsonl` holds the cases, each with the layers, config and history that a
//! build must give; they were held against BuildKit's own answers when they were recorded. Each is
//! built twice: the second time all of it comes from the cache, and is the same. A case
//! with `decided` differs from BuildKit on purpose, and says why. `KANIKO_RECORD=1` writes the
//! file anew, to be looked at before it is committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Lab, repository, tool};
use serde::{Deserialize, Serialize};
use testkit::layout::{ReadImage, list, read_docker_archive};

use crate::{Test, root_test};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Case {
    id: String,
    context: String,
    dockerfile: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dockerignore: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dockerfile_dockerignore: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    build_args: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, String>,
    /// Whether BuildKit builds it.
    buildkit: Answer,
    /// Why we differ from BuildKit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided: Option<String>,
    /// The image; none where the build fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok,
    Error,
}

/// What all cases share: contexts and base images, made once.
struct Shared {
    contexts: PathBuf,
    /// DiffIds of the base images' layers, which the cases do not show.
    bases: Vec<String>,
}

pub(crate) fn tests() -> Vec<Test> {
    let cases = match read_cases() {
        Ok(cases) => cases,
        Err(error) => return vec![root_test("buildkit::cases", move |_| Err(error))],
    };
    cases
        .into_iter()
        .map(|case| root_test(format!("buildkit::{}", case.id), move |lab| check(lab, case)))
        .collect()
}

fn directory() -> PathBuf {
    repository().join("tests/buildkit")
}

fn read_cases() -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(directory().join("cases.jsonl"))?;
    text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

fn check(lab: &Arc<Lab>, mut case: Case) -> Result<()> {
    let cache = lab.scratch("layers")?;
    let (built, _) = build(lab, &case, &cache)?;
    if std::env::var_os("KANIKO_RECORD").is_some() {
        case.image = built.ok();
        return record(&case);
    }
    match (case.image.clone(), built) {
        (Some(expected), Ok(found)) => {
            ensure!(
                expected == found,
                "{}\nexpected:\n{expected}\nfound:\n{found}",
                case.dockerfile
            );
            let again = build(lab, &case, &cache)?;
            ensure!(again == (Ok(found), 0), "not the same again: {again:?}\n{}", case.dockerfile);
            Ok(())
        }
        (None, Err(_)) => Ok(()),
        (Some(_), Err(text)) => anyhow::bail!("the build failed: {text}\n{}", case.dockerfile),
        (None, Ok(found)) => {
            anyhow::bail!("the build should fail\n{}\nfound:\n{found}", case.dockerfile)
        }
    }
}

/// The image as text, or what a failed build wrote; and how many steps were not cached.
fn build(lab: &Arc<Lab>, case: &Case, cache: &Path) -> Result<(Result<String, String>, usize)> {
    let shared = shared(lab)?;
    let mut build = lab.build(&case.id)?;
    let context = build.directory.join("given");
    tool("cp").arg("-a").arg(shared.contexts.join(&case.context)).arg(&context).read()?;
    if let Some(text) = &case.dockerignore {
        std::fs::write(context.join(".dockerignore"), text)?;
    }
    let dockerfile = build.directory.join("case.Dockerfile");
    std::fs::write(&dockerfile, with_registry(&case.dockerfile, &lab.host()))?;
    if let Some(text) = &case.dockerfile_dockerignore {
        std::fs::write(build.directory.join("case.Dockerfile.dockerignore"), text)?;
    }
    let archive = build.directory.join("image.tar");
    for (name, value) in &case.build_args {
        build = build.arg(format!("--build-arg={name}={value}"));
    }
    for (id, content) in &case.secrets {
        let path = build.directory.join(format!("secret-{id}"));
        std::fs::write(&path, content)?;
        build = build.arg(format!("--secret=id={id},src={}", path.display()));
    }
    let outcome = build
        .context(&context)
        .arg(format!("--dockerfile={}", dockerfile.display()))
        .arg("--no-push")
        .arg(format!("--tar-path={}", archive.display()))
        .arg("--destination=case/image:latest")
        .arg("--cache")
        .arg(format!("--cache-repo=dir:{}", cache.display()))
        .run()?;
    let missed = outcome.missed().len();
    match outcome.finished.code {
        Some(0) => {
            let image = read_docker_archive(&archive).map_err(anyhow::Error::msg)?;
            Ok((Ok(render(&image, &shared.bases)?), missed))
        }
        Some(1..) => Ok((Err(outcome.text()), missed)),
        _ => anyhow::bail!("the executor was ended by a signal: {}", outcome.text()),
    }
}

/// Base images come from the lab's registry; nothing of that shows in the image.
fn with_registry(dockerfile: &str, host: &str) -> String {
    let mut text = String::new();
    let stages = dockerfile.contains("AS busybox");
    for line in dockerfile.split_inclusive('\n') {
        let mut line = line.to_owned();
        for name in ["busybox", "alpine"] {
            let full = format!("{host}/buildkit/{name}");
            if !stages {
                line = line.replace(&format!("FROM {name}"), &format!("FROM {full}"));
            }
            line = line.replace(&format!("--from={name}"), &format!("--from={full}"));
            line = line.replace(&format!("=from={name},"), &format!("=from={full},"));
        }
        text.push_str(&line);
    }
    text
}

fn render(image: &ReadImage, bases: &[String]) -> Result<String> {
    let mut text = String::new();
    let config = &image.config;
    writeln!(text, "config {}", config["config"])?;
    if config["author"].is_string() {
        writeln!(text, "author {}", config["author"])?;
    }
    for entry in config["history"].as_array().into_iter().flatten() {
        if entry["comment"] == "buildkit.dockerfile.v0" {
            let kind = if entry["empty_layer"] == true { "empty" } else { "layer" };
            writeln!(text, "{kind} {}", entry["created_by"])?;
        }
    }
    let diff_ids = config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
    for (tar, diff_id) in image.layers.iter().zip(&diff_ids) {
        if bases.iter().any(|base| diff_id == base) {
            continue;
        }
        writeln!(text, "layer:")?;
        for line in list(tar).map_err(anyhow::Error::msg)? {
            writeln!(text, "  {line}")?;
        }
    }
    Ok(text)
}

fn shared(lab: &Arc<Lab>) -> Result<&'static Shared> {
    static MADE: OnceLock<std::result::Result<Shared, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| make_shared(lab).map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn make_shared(lab: &Arc<Lab>) -> Result<Shared> {
    let contexts = lab.scratch("buildkit-contexts")?;
    let archive = directory().join("contexts.tar.gz");
    tool("tar").arg("-xpf").arg(archive).arg("-C").arg(&contexts).read()?;
    let tree = std::fs::read_to_string(directory().join("busybox.tree"))?;
    let busybox = base(lab, "busybox", &tree, true)?;
    let alpine = base(lab, "alpine", "f 0644 0:0 /etc/alpine-release \"3.20.0\\n\"\n", false)?;
    Ok(Shared { contexts, bases: vec![busybox, alpine] })
}

/// Puts a base image into the registry; returns the DiffId of its layer.
fn base(lab: &Lab, name: &str, tree: &str, with_busybox: bool) -> Result<String> {
    let root = lab.scratch(&format!("buildkit-{name}"))?;
    testkit::tree::make(&root, tree);
    if with_busybox {
        let program = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let program = program.into_iter().find(|path| path.exists()).context("no busybox")?;
        std::fs::copy(program, root.join("bin/busybox"))?;
    }
    let tar = root.with_extension("tar");
    tool("tar")
        .args(["--sort=name", "--numeric-owner", "--mtime=@1700000000", "-cf"])
        .arg(&tar)
        .arg("-C")
        .arg(&root)
        .arg(".")
        .read()?;
    let bytes = std::fs::read(&tar)?;
    let layout = root.with_extension("layout");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let config = serde_json::json!({ "Cmd": ["sh"], "Env": [path] });
    testkit::base_image::write_layout(&layout, name, &bytes, &config)
        .map_err(anyhow::Error::msg)?;
    lab.push_layout(&layout, name, &format!("buildkit/{name}:latest"), &[])?;
    let image = testkit::layout::read_oci(&layout, Some(name)).map_err(anyhow::Error::msg)?;
    let diff_id = image.config["rootfs"]["diff_ids"][0].as_str().map(str::to_owned);
    diff_id.context("the base image has no layer")
}

/// Keeps what a case gives now, beside the others.
fn record(case: &Case) -> Result<()> {
    static FILE: Mutex<()> = Mutex::new(());
    let _turn = FILE.lock().map_err(|_| anyhow::anyhow!("another case failed"))?;
    let mut cases = read_cases()?;
    for known in &mut cases {
        if known.id == case.id {
            known.clone_from(case);
        }
    }
    let mut text = String::new();
    for case in &cases {
        writeln!(text, "{}", serde_json::to_string(case)?)?;
    }
    std::fs::write(directory().join("cases.jsonl"), text)?;
    Ok(())
}
