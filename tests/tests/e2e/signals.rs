//! A build that is told to stop, stops: whatever it is at, nothing stays behind, and the status
//! says so. SIGINT on private roots, and SIGTERM in place in a pod; `stopping` has the third.
//!
//! Each phase is held until the signal has come: by a registry that falls silent, by more files
//! than can be handled before, or by a step that does not end. `KANIKO_E2E_ROUNDS` repeats all of
//! it, and then holds the executor to its five seconds: a quiet machine is needed for that.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Build, Finished, Lab, wait};
use rustix::process::{Pid, Signal, kill_process};
use testkit::base_image;
use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::tar_builder::TarBuilder;

use crate::errors::is_running;
use crate::{Test, asked_rounds, root_test};

/// What a build is at when the signal comes.
struct Phase {
    name: &'static str,
    /// After `FROM`. No build comes to its end.
    dockerfile: &'static str,
    /// What makes the registry silent.
    silent: &'static [Subject],
    begun: fn(&Scene) -> bool,
}

/// Where a build of a phase is watched.
struct Scene {
    registry: FaultRegistry,
    state: PathBuf,
    /// The root in place; on private roots there is one for each stage.
    root: Option<PathBuf>,
    /// What the step and its daemon sleep, as no other test does.
    sleeps: [String; 2],
}

const PHASES: &[Phase] = &[
    Phase {
        name: "pull",
        dockerfile: "RUN sleep {SLEEP}\n",
        silent: &[Subject::BlobGet],
        begun: |scene| scene.registry.count(Subject::BlobGet) > 1,
    },
    Phase {
        name: "unpack",
        dockerfile: "RUN sleep {SLEEP}\n",
        silent: &[],
        begun: |scene| scene.has("many/0"),
    },
    Phase {
        name: "copy",
        dockerfile: "COPY tree /copied\nRUN sleep {SLEEP}\n",
        silent: &[],
        begun: |scene| scene.has("copied"),
    },
    Phase {
        name: "run",
        dockerfile: "RUN --mount=type=secret,id=s --mount=type=secret,id=s,target=/etc/planted \
                     --mount=type=cache,target=/c,sharing=locked --mount=type=tmpfs,target=/t \
                     --mount=type=bind,source=tree,target=/b,rw trap '' TERM INT; \
                     setsid sleep {DAEMON} & sleep {SLEEP}\n",
        silent: &[],
        begun: |scene| scene.sleeps.iter().all(|number| is_running(number).unwrap_or(false)),
    },
    Phase {
        name: "layer",
        dockerfile: "RUN truncate -s 100G /large\nRUN sleep {SLEEP}\n",
        silent: &[],
        begun: |scene| scene.has("large") && scene.unfinished(),
    },
    Phase {
        name: "push",
        dockerfile: "COPY tree/0 /copied\n",
        silent: &[Subject::UploadPatch, Subject::UploadPut],
        begun: |scene| {
            let registry = &scene.registry;
            registry.count(Subject::UploadPatch) + registry.count(Subject::UploadPut) > 0
        },
    },
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for phase in PHASES {
        tests.push(root_test(format!("signals::sigint_while_{}", phase.name), |lab| {
            repeated(|| on_private_roots(lab, phase))
        }));
        tests.push(root_test(format!("signals::sigterm_in_a_pod_while_{}", phase.name), |lab| {
            repeated(|| in_a_pod(lab, phase))
        }));
    }
    tests
}

/// How often, and how long the end of each may take.
fn rounds() -> (u32, Duration) {
    asked_rounds().map_or((1, Duration::from_secs(60)), |rounds| (rounds, Duration::from_secs(5)))
}

fn repeated(round: impl Fn() -> Result<Duration>) -> Result<()> {
    let (count, most) = rounds();
    for number in 0..count {
        let took = round().with_context(|| format!("round {number}"))?;
        ensure!(took <= most, "the end took {took:?}");
    }
    Ok(())
}

impl Scene {
    fn has(&self, path: &str) -> bool {
        let exists = |root: &Path| root.join(path).symlink_metadata().is_ok();
        self.root.as_deref().map_or_else(|| self.private_roots().iter().any(|r| exists(r)), exists)
    }

    fn private_roots(&self) -> Vec<PathBuf> {
        let stages = entries(&self.state.join("builds")).into_iter().map(|it| it.join("stages"));
        stages.flat_map(|stages| entries(&stages)).map(|stage| stage.join("rootfs")).collect()
    }

    /// Whether a blob is being written.
    fn unfinished(&self) -> bool {
        !entries(&self.state.join("store/tmp")).is_empty()
    }

    /// Nothing of the build is left but what the next one can use.
    fn is_clean(&self) -> Result<()> {
        let builds = entries(&self.state.join("builds"));
        ensure!(builds.is_empty(), "the build left {builds:?}");
        ensure!(!self.unfinished(), "an unfinished blob is left");
        for number in &self.sleeps {
            ensure!(!is_running(number)?, "sleep {number} is still running");
        }
        let mut roots = self.private_roots();
        roots.extend(self.root.clone());
        for root in &roots {
            for path in ["run/secrets", "etc/planted", "c", "t", "b"] {
                let there = root.join(path).symlink_metadata().is_ok();
                ensure!(!there, "/{path} is left in {}", root.display());
            }
        }
        ensure!(self.registry.tag("image", "latest").is_none(), "an image was pushed");
        ensure!(self.registry.missing().is_empty(), "{:?}", self.registry.missing());
        Ok(())
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(directory).into_iter().flatten().flatten();
    found.map(|entry| entry.path()).collect()
}

/// A registry with the base image, which will fall silent where the phase wants it.
fn registry(phase: &Phase) -> Result<FaultRegistry> {
    static MANY: OnceLock<Vec<u8>> = OnceLock::new();
    let registry = FaultRegistry::start();
    let busybox = base_image::busybox_tar().map_err(anyhow::Error::msg)?;
    let mut layers = vec![busybox];
    if phase.name == "unpack" {
        layers.push(MANY.get_or_init(many_files).clone());
    }
    base_image::store(&registry, "base", &layers);
    for subject in phase.silent {
        // The config is pulled, the layer is not.
        let most = if *subject == Subject::BlobGet { 10_000 } else { 0 };
        registry.fault(*subject, None, Action::Silence(most));
    }
    Ok(registry)
}

fn many_files() -> Vec<u8> {
    let mut tar = TarBuilder::new().dir("many/", 0o755);
    for number in 0..60_000 {
        tar = tar.file(format!("many/{number}"), "x");
    }
    tar.end()
}

/// Two numbers of seconds for a test with this name.
fn sleeps(name: &str) -> [String; 2] {
    static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
    let place = names.iter().position(|known| known == name).unwrap_or_default();
    [91_100 + 2 * place, 91_101 + 2 * place].map(|seconds| seconds.to_string())
}

fn prepare(lab: &Arc<Lab>, phase: &Phase, name: &str) -> Result<(Build, FaultRegistry)> {
    let [sleep, daemon] = sleeps(name);
    let steps = phase.dockerfile.replace("{SLEEP}", &sleep).replace("{DAEMON}", &daemon);
    let registry = registry(phase)?;
    let host = registry.host();
    let dockerfile = format!("FROM {host}/base\n{steps}");
    let mut build = lab.build(name)?.dockerfile(&dockerfile)?;
    // For the push, more than the registry answers to; for the copy, more than can be copied.
    let (count, size) = if phase.name == "copy" { (20_000, 1) } else { (1, 100_000) };
    let noise: Vec<u8> =
        (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for number in 0..count {
        build = build.file(&format!("tree/{number}"), &noise)?;
    }
    build = build.arg("--secret=id=s,env=PLANTED_SECRET");
    Ok((build.arg(format!("--destination={host}/image:latest")), registry))
}

fn on_private_roots(lab: &Arc<Lab>, phase: &Phase) -> Result<Duration> {
    let name = format!("stopped-{}", phase.name);
    let (build, registry) = prepare(lab, phase, &name)?;
    let digest = build.directory.join("digest");
    let build = build.arg(format!("--digest-file={}", digest.display()));
    let scene =
        Scene { registry, state: build.directory.join("state"), root: None, sleeps: sleeps(&name) };
    let child = build.command().env("PLANTED_SECRET", "do-not-show").spawn()?;
    let begun = begins(phase, &scene);
    let sent = Instant::now();
    send(&child, Signal::INT)?;
    let finished = wait(child, Duration::from_secs(60))?;
    let took = sent.elapsed();
    let outcome = build.ended(finished);
    begun.with_context(|| outcome.text())?;
    stopped(&outcome.finished, 130).with_context(|| outcome.text())?;
    outcome.wrote_none_of(&["digest"])?;
    scene.is_clean()?;
    let mark = format!("-{name}/");
    ensure!(lab.mounts()?.iter().all(|mount| !mount.contains(&mark)), "a mount is left");
    Ok(took)
}

/// A machine with much to do takes its time.
fn begins(phase: &Phase, scene: &Scene) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !(phase.begun)(scene) {
        ensure!(Instant::now() < end, "the phase does not begin");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

fn send(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a strange pid")?;
    Ok(kill_process(pid, signal)?)
}

/// In a pod the executor is the first process, which gets its signal from the kubelet.
fn in_a_pod(lab: &Arc<Lab>, phase: &Phase) -> Result<Duration> {
    let name = format!("stopped-in-a-pod-{}", phase.name);
    let (build, registry) = prepare(lab, phase, &name)?;
    let context = build.directory.join("context");
    let pod = Pod::new(lab, &name, Seccomp::Default)?.mount(&context, "/workspace", &["ro"]);
    let mut words = build.words_in_pod();
    words.push("--digest-file=/dev/termination-log".to_owned());
    let scene = Scene {
        registry,
        state: pod.upper().join("kaniko"),
        root: Some(pod.upper()),
        sleeps: sleeps(&name),
    };
    let running = pod.start(&words)?;
    let begun = begins(phase, &scene);
    let sent = Instant::now();
    let heard = running.signal("TERM");
    let finished = running.finish(Duration::from_secs(60))?;
    let took = sent.elapsed();
    let outcome = build.ended(finished);
    begun.and(heard).with_context(|| outcome.text())?;
    stopped(&outcome.finished, 143).with_context(|| outcome.text())?;
    ensure!(std::fs::read(pod.termination_log())?.is_empty(), "a digest was written");
    scene.is_clean()?;
    Ok(took)
}

fn stopped(finished: &Finished, code: i32) -> Result<()> {
    ensure!(finished.code == Some(code), "status {:?}, not {code}", finished.code);
    ensure!(finished.stderr.contains("stopped by signal"), "it does not say so");
    Ok(())
}
