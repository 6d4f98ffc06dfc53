//! When layers are pushed, and what is never fetched for it.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Build, Lab};
use testkit::base_image;
use testkit::fault::{Action, FaultRegistry, Subject};
use testkit::tar_builder::TarBuilder;

use crate::archive::{into_archive, read};
use crate::{Test, root_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("pushing::a_layer_goes_while_the_next_step_runs", overlap),
        root_test("pushing::a_layer_that_cannot_go_fails_the_build_at_its_end", failure),
        root_test("pushing::a_build_that_fails_leaves_no_upload_open", abandoned),
        root_test("pushing::nothing_goes_where_nothing_shall", no_push),
        root_test("pushing::a_base_layer_is_mounted_and_never_fetched", mounted),
        root_test("pushing::a_base_layer_that_is_there_is_never_fetched", there),
        root_test("pushing::a_blob_goes_once_to_each_registry", once),
    ]
}

/// The step after the COPY waits until its registry has the layer.
fn overlap(lab: &Arc<Lab>) -> Result<()> {
    let steps = |more: &str| format!("FROM {}/busybox\nCOPY file /file\n{more}", lab.host());
    let probe = lab.build("overlap-probe")?.dockerfile(&steps(""))?.file("file", "same\n")?;
    // Two files made at different times make the same layer.
    let image = read(into_archive(probe.arg("--reproducible")).run()?)?;
    let layers = image.image.manifest["Layers"].as_array().context("there are layers")?;
    let layer = layers.last().and_then(|layer| layer.as_str()).context("there is a layer")?;
    let digest = layer.trim_end_matches(".tar.gz");

    let wait = "ARG URL\nRUN i=0; until wget -q -O /dev/null $URL; do i=$((i+1)); \
                test $i -lt 300 || exit 9; sleep 0.1; done\n";
    let build = lab.build("overlap")?.dockerfile(&steps(wait))?.file("file", "same\n")?;
    let url = format!("http://{}/v2/e2e/overlap/blobs/sha256:{digest}", lab.host());
    let build = build.arg("--reproducible");
    build.arg(format!("--build-arg=URL={url}")).pushed()?.image()?;
    let sent = lab.registry().requests();
    let ends = sent.iter().filter(|line| {
        line.starts_with("PUT /v2/e2e/overlap/blobs/uploads/") && line.contains(digest)
    });
    ensure!(ends.count() == 1, "the layer goes once: {sent:#?}");
    Ok(())
}

/// A build on scratch that pushes one file to this registry.
fn one_file(lab: &Arc<Lab>, name: &str, host: &str, more: &str) -> Result<Build> {
    let build = lab.build(name)?.file("file", "content\n")?;
    let build = build.dockerfile(&format!("FROM {}/busybox\nCOPY file /\n{more}", lab.host()))?;
    Ok(build.arg(format!("--destination={host}/app:latest")))
}

fn failure(lab: &Arc<Lab>) -> Result<()> {
    let registry = FaultRegistry::start();
    registry.fault(Subject::UploadPut, None, Action::Status(403, vec![], String::new()));
    let build = one_file(lab, "cannot-go", &registry.host(), "RUN echo a step afterwards\n")?;
    let destination = format!("failed to push to destination {}/app:latest", registry.host());
    let outcome = build.run()?;
    outcome.failed(1, &["a step afterwards", &destination, "answered 403"])?;
    let puts = registry.count(Subject::UploadPut);
    // The layers of the base are another's matter.
    ensure!((1..=2).contains(&puts), "{puts} tries: {}", outcome.text());
    ensure!(registry.count(Subject::ManifestPut) == 0, "a manifest went: {}", outcome.text());
    Ok(())
}

fn abandoned(lab: &Arc<Lab>) -> Result<()> {
    let registry = FaultRegistry::start();
    registry.fault(Subject::UploadPut, None, Action::Silence(0));
    // It fails once the upload is open: the registry's log cannot be seen from inside.
    let build = one_file(lab, "fails", &registry.host(), "RUN sleep 2; exit 7\n")?;
    let outcome = build.arg("--skip-push-permission-check").run()?;
    outcome.failed(7, &[])?;
    let (opened, ended) =
        (registry.count(Subject::UploadPost), registry.count(Subject::UploadDelete));
    ensure!(opened == ended, "{opened} opened and {ended} ended: {}", outcome.text());
    Ok(())
}

fn no_push(lab: &Arc<Lab>) -> Result<()> {
    let registry = FaultRegistry::start();
    let build = one_file(lab, "no-push", &registry.host(), "")?;
    build.arg("--no-push").run()?.succeeded()?;
    ensure!(registry.log().is_empty(), "{:#?}", registry.log());
    Ok(())
}

/// A registry with an image of one layer, and the digest of that layer.
fn with_base(repository: &str) -> FaultRegistry {
    let registry = FaultRegistry::start();
    let layer = TarBuilder::new().file("base", vec![7; 100_000]).bytes();
    base_image::store(&registry, repository, &[layer]);
    registry
}

/// An image that differs from its base by a label: no step needs a file.
fn labelled(lab: &Arc<Lab>, name: &str, from: &str, to: &[&str]) -> Result<Build> {
    let build = lab.build(name)?.dockerfile(&format!("FROM {from}\nLABEL a=b\n"))?;
    Ok(to.iter().fold(build, |build, to| build.arg(format!("--destination={to}"))))
}

/// Of the base's registry nothing but the documents is asked: the config is a blob, too.
fn fetched_only_the_config(registry: &FaultRegistry) -> Result<()> {
    let fetched = registry.count(Subject::BlobGet);
    ensure!(fetched == 1, "{fetched} blobs were fetched: {:#?}", registry.log());
    Ok(())
}

fn mounted(lab: &Arc<Lab>) -> Result<()> {
    let registry = with_base("base");
    let host = registry.host();
    let to = format!("{host}/app:latest");
    labelled(lab, "mounted", &format!("{host}/base"), &[&to])?.run()?.succeeded()?;
    fetched_only_the_config(&registry)?;
    ensure!(registry.missing().is_empty(), "{:?}", registry.missing());
    let mounts = registry.log().iter().filter(|entry| entry.request.contains("mount=")).count();
    ensure!(mounts == 1, "{mounts} mounts");
    Ok(())
}

fn there(lab: &Arc<Lab>) -> Result<()> {
    let (from, to) = (with_base("base"), with_base("app"));
    let destination = format!("{}/app:new", to.host());
    let build = labelled(lab, "there", &format!("{}/base", from.host()), &[&destination])?;
    build.run()?.succeeded()?;
    fetched_only_the_config(&from)?;
    ensure!(to.tag("app", "new").is_some() && to.missing().is_empty(), "{:?}", to.missing());
    Ok(())
}

fn once(lab: &Arc<Lab>) -> Result<()> {
    let registry = FaultRegistry::start();
    let build = one_file(lab, "once", &registry.host(), "")?;
    let second = format!("--destination={}/other:latest", registry.host());
    build.arg(second).run()?.succeeded()?;
    ensure!(registry.missing().is_empty(), "{:?}", registry.missing());
    ensure!(registry.tag("other", "latest").is_some(), "the second destination has no tag");
    let log = registry.log();
    let sent: Vec<&str> = log
        .iter()
        .filter(|entry| entry.subject == Subject::UploadPut && entry.object.contains("/other/"))
        .map(|entry| entry.request.as_str())
        .collect();
    // The config alone: it is small, and made anew for nobody else.
    ensure!(sent.len() <= 1, "{sent:#?}");
    Ok(())
}
