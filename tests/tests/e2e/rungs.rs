//! One Dockerfile, one image: on every rung, as root and as ordinary users, on a host and in pods.
//!
//! With an epoch the digests are equal. Where a Dockerfile cannot be built, the table says what is
//! said there.

mod cached;
mod context;
mod table;
mod torture;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::user::{self, User};
use kaniko_tests::{Build, Lab, Outcome};
use testkit::layout;

use crate::{Test, root_test};
use table::{CASES, Case};

/// Where a build happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// As root on a machine.
    Root,
    /// In a pod as Kubernetes has them with `RuntimeDefault`: in its own `/`.
    Pod,
    /// The same without a seccomp profile.
    PodUnconfined,
    /// With `allowPrivilegeEscalation: false`.
    PodNoNewPrivileges,
    /// With `hostUsers: false`.
    PodUserns,
    /// The same, and what an administrator may do in there.
    PodUsernsAdmin,
    /// As a user with subordinate ids.
    UserWithIds,
    /// As a user that has one id.
    UserAlone,
}

const PLACES: &[Place] = &[
    Place::Root,
    Place::Pod,
    Place::PodUnconfined,
    Place::PodNoNewPrivileges,
    Place::PodUserns,
    Place::PodUsernsAdmin,
    Place::UserWithIds,
    Place::UserAlone,
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = CASES
        .iter()
        .map(|case| root_test(format!("rungs::{}", case.name), move |lab| check(lab, case)))
        .collect();
    tests.extend(cached::tests());
    tests.push(root_test("rungs::a_base_image_unpacks_exactly", torture::unpacks_exactly));
    tests.push(root_test("rungs::every_place_builds_thirty_but_the_narrowest", enough));
    tests
}

/// The table is no proof where it refuses too much.
fn enough(_: &Arc<Lab>) -> Result<()> {
    for place in PLACES {
        let refused = |case: &&Case| case.refused.iter().any(|(other, _)| other == place);
        let built = CASES.len() - CASES.iter().filter(refused).count();
        let least = if *place == Place::UserAlone { 20 } else { 30 };
        ensure!(built >= least, "{place:?} builds only {built}");
    }
    Ok(())
}

/// After the sources of other stages and before those of any clone, so that new files are clamped.
const EPOCH: &str = "1500000000";

/// Where a pod has the cache of layers.
const CACHE_IN_POD: &str = "/layers";

/// What an image is, as far as it is compared.
#[derive(PartialEq, Eq)]
enum Found {
    Digest(String),
    /// Lines of its new layers.
    Tree(Vec<String>),
}

fn check(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    if case.base == "debian:12" {
        lab.need_debian()?;
    }
    let bases = context::bases(lab, case.base)?;
    let context = lab.scratch("context")?;
    context::make(&context, &dockerfile(case, &bases.host));
    let (mut first, mut wrong) = (None, Vec::new());
    for place in PLACES {
        if let Err(error) = compare(lab, case, *place, &context, &mut first) {
            wrong.push(format!("{place:?}: {error:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(first.is_some(), "nothing was compared");
    Ok(())
}

/// Builds in one place and compares with the first image that was made.
fn compare(
    lab: &Arc<Lab>,
    case: &Case,
    place: Place,
    context: &Path,
    first: &mut Option<Found>,
) -> Result<()> {
    let outcome = build(lab, case, place, context, None)?;
    if let Some((_, says)) = case.refused.iter().find(|(other, _)| *other == place) {
        outcome.failed(1, &[says])?;
        return Ok(());
    }
    outcome.succeeded()?;
    let found = found(case, &outcome.directory.join("out"))?;
    match first {
        Some(first) => same(first, &found),
        None => {
            *first = Some(found);
            Ok(())
        }
    }
}

fn dockerfile(case: &Case, host: &str) -> String {
    let separator = if case.dockerfile.starts_with("AS ") { " " } else { "\n" };
    format!("ARG REGISTRY\nFROM {host}/{}{separator}{}", case.base, case.dockerfile)
}

fn found(case: &Case, out: &Path) -> Result<Found> {
    if case.logs.is_empty() {
        return Ok(Found::Digest(std::fs::read_to_string(out.join("digest"))?));
    }
    let image = layout::read_oci(&out.join("layout"), None).map_err(anyhow::Error::msg)?;
    let is_log = |line: &String| {
        let path = line.split(' ').find(|word| word.starts_with('/')).unwrap_or_default();
        case.logs.iter().any(|log| Path::new(path).starts_with(log))
    };
    let mut lines = Vec::new();
    // The first is the base image's.
    for layer in image.layers.iter().skip(1) {
        lines.push("layer".to_owned());
        lines.extend(layout::list(layer).map_err(anyhow::Error::msg)?);
    }
    lines.retain(|line| !is_log(line));
    Ok(Found::Tree(lines))
}

fn same(first: &Found, other: &Found) -> Result<()> {
    if first == other {
        return Ok(());
    }
    match (first, other) {
        (Found::Tree(first), Found::Tree(other)) => {
            let only = |these: &[String], those: &[String]| -> Vec<String> {
                these.iter().filter(|line| !those.contains(line)).cloned().collect()
            };
            let (ours, theirs) = (only(first, other), only(other, first));
            anyhow::bail!("only at first: {ours:#?}\nonly here: {theirs:#?}")
        }
        (Found::Digest(first), Found::Digest(other)) => anyhow::bail!("{other}, not {first}"),
        _ => anyhow::bail!("not the same kind"),
    }
}

/// Builds in a place; the digest and, where it is needed, the layout are in the directory `out`.
fn build(
    lab: &Arc<Lab>,
    case: &Case,
    place: Place,
    context: &Path,
    cache: Option<&Path>,
) -> Result<Outcome> {
    let name = format!("{}-{place:?}", case.name).to_lowercase();
    let mut build = lab.build(&name)?.context(context).arg("--no-push");
    build = build.arg(format!("--build-arg=SOURCE_DATE_EPOCH={EPOCH}"));
    if let Some(packages) = context::packages(lab, case.dockerfile)? {
        build = build.arg(format!("--build-arg=PACKAGES={packages}"));
    }
    build = case.arguments.iter().fold(build, |build, argument| build.arg(*argument));
    let is_pod = !matches!(place, Place::Root | Place::UserWithIds | Place::UserAlone);
    if let Some(cache) = cache {
        let path = if is_pod { Path::new(CACHE_IN_POD) } else { cache };
        build = build.arg("--cache").arg(format!("--cache-repo=dir:{}", path.display()));
    }
    let out = build.directory.join("out");
    std::fs::create_dir(&out)?;
    // Whoever builds writes here.
    kaniko_tests::tool("chmod").arg("0777").arg(&out).read()?;
    match place {
        Place::Root => as_user(lab, build, case, None),
        Place::UserWithIds => as_user(lab, build, case, Some(user::with_subordinate_ids()?)),
        Place::UserAlone => as_user(lab, build, case, Some(user::without_subordinate_ids())),
        Place::Pod
        | Place::PodUnconfined
        | Place::PodNoNewPrivileges
        | Place::PodUserns
        | Place::PodUsernsAdmin => in_pod(lab, build, case, (place, cache), &name),
    }
}

fn outputs(case: &Case, out: &str) -> Vec<String> {
    let mut arguments = vec![format!("--digest-file={out}/digest")];
    if !case.logs.is_empty() {
        arguments.push(format!("--oci-layout-path={out}/layout"));
    }
    arguments
}

fn as_user(lab: &Lab, build: Build, case: &Case, user: Option<User>) -> Result<Outcome> {
    let (state, out) = (build.directory.join("state"), build.directory.join("out"));
    std::fs::create_dir(&state)?;
    let command = match user {
        Some(user) => {
            user.own(&state)?;
            user.run(lab.executor())
        }
        None => kaniko_tests::tool(lab.executor()),
    };
    let finished = command
        .args(build.arguments())
        .args(outputs(case, &out.display().to_string()))
        .arg("--isolation=namespaces")
        .arg(format!("--kaniko-dir={}", state.display()))
        .env("PLANTED_SECRET", "do-not-show")
        .current_dir(&build.directory)
        .finish()?;
    Ok(build.ended(finished))
}

/// In a pod, which finds its rung by itself.
fn in_pod(
    lab: &Lab,
    build: Build,
    case: &Case,
    (place, cache): (Place, Option<&Path>),
    name: &str,
) -> Result<Outcome> {
    let seccomp = match place {
        Place::PodUnconfined | Place::PodUsernsAdmin => Seccomp::Unconfined,
        _ => Seccomp::Default,
    };
    let mut words = build.words_in_pod();
    words.extend(outputs(case, "/results"));
    let context = build.arguments()[0].replace("--context=", "");
    let pod = Pod::new(lab, name, seccomp)?
        .mount(Path::new(&context), "/workspace", &["ro"])
        .mount(&build.directory.join("out"), "/results", &[]);
    let pod = match cache {
        Some(cache) => pod.mount(cache, CACHE_IN_POD, &[]),
        None => pod,
    };
    let pod = match place {
        Place::PodNoNewPrivileges => pod.no_new_privileges(),
        Place::PodUserns => pod.user_namespace(),
        Place::PodUsernsAdmin => pod.user_namespace().administrator(),
        _ => pod,
    };
    let finished = pod.run(&words)?;
    let outcome = build.ended(finished);
    let rung = match place {
        Place::PodUnconfined | Place::PodUsernsAdmin => "isolation namespaces",
        _ => "isolation in-place",
    };
    ensure!(outcome.finished.stderr.contains(rung), "no {rung}: {}", outcome.text());
    Ok(outcome)
}
