//! `executor push`, several destinations, and who is told of them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Build, Lab, tool};
use serde_json::{Value, json};
use testkit::fault::{Action, FaultRegistry, Subject};

use crate::{Test, root_test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("push::an_archive_of_ours_and_of_other_tools", archives),
        test("push::a_layout_byte_for_byte", layout),
        test("push::an_index_and_all_below_it", index),
        test("push::what_is_no_image", no_image),
        test("push::a_destination_that_fails_is_told_and_the_others_have_it", several),
        test("push::blobs_go_once_to_a_registry", once),
        test("push::annotations_are_in_the_manifest", annotations),
    ]
}

const COPY: &str = "FROM scratch\nCOPY hello /bin/\nENV A=b\n";

fn copy(lab: &Arc<Lab>, name: &str) -> Result<Build> {
    lab.build(name)?.dockerfile(COPY)?.file("hello", "hello, world\n".repeat(1000))
}

fn raw(lab: &Lab, name: &str) -> Result<Value> {
    let text = tool("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{}/{name}", lab.host()))
        .read()?;
    Ok(serde_json::from_str(&text)?)
}

/// Pushes a file or directory, and reads the digest that it says.
fn push(lab: &Lab, source: &Path, name: &str) -> Result<String> {
    let directory = lab.scratch("pushing")?;
    let digest = directory.join("digest");
    tool(lab.executor())
        .arg("push")
        .arg(source)
        .arg(format!("--destination={}/{name}", lab.host()))
        .arg(format!("--digest-file={}", digest.display()))
        .arg(format!("--kaniko-dir={}", directory.join("state").display()))
        .current_dir(&directory)
        .read()?;
    std::fs::read_to_string(digest).context("no digest file")
}

/// The manifest that a name leads to is the one with this digest, and skopeo takes all of it.
fn is_whole(lab: &Lab, name: &str, digest: &str) -> Result<()> {
    let from = format!("docker://{}/{name}", lab.host());
    let found = tool("skopeo")
        .args(["inspect", "--tls-verify=false", "--format={{.Digest}}", &from])
        .read()?;
    ensure!(found.trim() == digest, "{name} is {found}, not {digest}");
    can_be_copied(lab, name)
}

/// skopeo takes all that a name leads to.
fn can_be_copied(lab: &Lab, name: &str) -> Result<()> {
    let from = format!("docker://{}/{name}", lab.host());
    let to = format!("oci:{}:image", lab.scratch("copied")?.display());
    tool("skopeo")
        .args(["copy", "--quiet", "--all", "--src-tls-verify=false", &from, &to])
        .read()?;
    Ok(())
}

fn archives(lab: &Arc<Lab>) -> Result<()> {
    let dockerfile = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN echo built > /built\n";
    let build = lab.build("saved")?.dockerfile(dockerfile)?;
    let ours = build.directory.join("ours.tar");
    build.arg(format!("--tar-path={}", ours.display())).arg("--no-push").run()?.succeeded()?;
    let digest = push(lab, &ours, "e2e/saved:ours")?;
    is_whole(lab, "e2e/saved:ours", &digest)?;
    // skopeo writes layers without compression, as docker does.
    let theirs = lab.scratch("theirs")?.join("theirs.tar");
    let to = format!("docker-archive:{}:some/name:tag", theirs.display());
    let from = format!("docker://{}/e2e/saved:ours", lab.host());
    tool("skopeo").args(["copy", "--quiet", "--src-tls-verify=false", &from, &to]).read()?;
    let digest = push(lab, &theirs, "e2e/saved:theirs")?;
    is_whole(lab, "e2e/saved:theirs", &digest)?;
    let [one, other] = ["ours", "theirs"].map(|tag| raw(lab, &format!("e2e/saved:{tag}")));
    let (one, other) = (one?, other?);
    ensure!(one["config"] == other["config"], "{one} and {other} differ in their configs");
    let kinds: Vec<_> = other["layers"].as_array().into_iter().flatten().collect();
    let gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    ensure!(kinds.len() == 2 && kinds.iter().all(|layer| layer["mediaType"] == gzip), "{other}");
    // The build's layer is compressed as it was.
    ensure!(one["layers"][1] == other["layers"][1], "{one} and {other} differ in the new layer");
    Ok(())
}

fn layout(lab: &Arc<Lab>) -> Result<()> {
    let build = copy(lab, "laid-out")?;
    let layout = build.directory.join("layout");
    let digest = build.directory.join("digest");
    build
        .arg(format!("--oci-layout-path={}", layout.display()))
        .arg(format!("--digest-file={}", digest.display()))
        .arg("--no-push")
        .run()?
        .succeeded()?;
    let expected = std::fs::read_to_string(&digest)?;
    let found = push(lab, &layout, "e2e/laid-out:v1")?;
    ensure!(found == expected, "{found} was pushed, not {expected}");
    is_whole(lab, "e2e/laid-out:v1", &expected)
}

fn index(lab: &Arc<Lab>) -> Result<()> {
    let build = copy(lab, "laid-out-index")?;
    let layout = build.directory.join("layout");
    let digest = build.directory.join("digest");
    build
        .arg("--multi-platform=linux/amd64,linux/arm64")
        .arg("--publish-index")
        .arg(format!("--oci-layout-path={}", layout.display()))
        .arg(format!("--digest-file={}", digest.display()))
        .arg("--no-push")
        .run()?
        .succeeded()?;
    let expected = std::fs::read_to_string(&digest)?;
    let found = push(lab, &layout, "e2e/laid-out-index:v1")?;
    ensure!(found == expected, "{found} was pushed, not {expected}");
    let entries = raw(lab, "e2e/laid-out-index:v1")?["manifests"].as_array().map_or(0, Vec::len);
    ensure!(entries == 2, "{entries} entries");
    can_be_copied(lab, "e2e/laid-out-index:v1")
}

/// Sources that are refused, each with a reason, before anything is sent.
fn no_image(lab: &Arc<Lab>) -> Result<()> {
    let directory = lab.scratch("no-image")?;
    let text = directory.join("text");
    std::fs::write(&text, "no archive\n".repeat(100))?;
    let two = directory.join("two");
    std::fs::create_dir(&two)?;
    std::fs::write(two.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let empty = json!({ "schemaVersion": 2, "manifests": [] });
    std::fs::write(two.join("index.json"), empty.to_string())?;
    let check = |source: &Path, reasons: &[&str]| -> Result<()> {
        let finished = tool(lab.executor())
            .arg("push")
            .arg(source)
            .arg(format!("--destination={}/e2e/no-image:v1", lab.host()))
            .arg(format!("--kaniko-dir={}", directory.join("state").display()))
            .finish()?;
        ensure!(finished.code == Some(1), "{:?}: {}", finished.code, finished.stderr);
        for reason in reasons {
            ensure!(finished.stderr.contains(reason), "no `{reason}` in {}", finished.stderr);
        }
        Ok(())
    };
    check(&directory.join("gone"), &["cannot push", "No such file"])?;
    check(&text, &["cannot push", "is not an image as `docker save` writes it"])?;
    check(&directory, &["is not an OCI layout", "No such file"])
        .or_else(|_| check(&directory, &["cannot open", "oci-layout"]))?;
    check(&two, &["OCI layout must contain exactly one image, found 0"])
}

/// Everything that is wanted of the destinations that can be reached, and the truth about the rest.
fn several(lab: &Arc<Lab>) -> Result<()> {
    let broken = FaultRegistry::start();
    let refusal = r#"{"errors":[{"code":"DENIED","message":"not today"}]}"#;
    broken.fault(Subject::ManifestPut, None, Action::Status(403, Vec::new(), refusal.to_owned()));
    let build = copy(lab, "several")?;
    let [names, output] = ["names", "told"].map(|name| build.directory.join(name));
    std::fs::create_dir(&output)?;
    let (first, last) = (format!("{}/e2e/several:a", lab.host()), format!("{}/b", lab.host()));
    let build = build
        .arg(format!("--destination={first}"))
        .arg(format!("--destination={}/broken:v1", broken.host()))
        .arg(format!("--destination={last}"))
        .arg(format!("--image-name-with-digest-file={}", names.display()));
    let finished = build.command().env("BUILDER_OUTPUT", &output).finish()?;
    let outcome = build.ended(finished);
    outcome.failed(1, &["Not pushed to", "broken:v1", "not today"])?;
    ensure!(broken.tag("broken", "v1").is_none(), "a tag was written");
    let digest = tool("skopeo")
        .args(["inspect", "--tls-verify=false", "--format={{.Digest}}"])
        .arg(format!("docker://{last}"))
        .read()?;
    let digest = digest.trim();
    is_whole(lab, "e2e/several:a", digest)?;
    let named = std::fs::read_to_string(&names)?;
    let host = lab.host();
    ensure!(named == format!("{host}/e2e/several@{digest}\n{host}/b@{digest}\n"), "{named}");
    let told = std::fs::read_to_string(output.join("images"))?;
    let rows: Vec<Value> = told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let row = |name: &str| json!({ "name": name, "digest": digest });
    ensure!(rows == [row(&first), row(&format!("{last}:latest"))], "{told}");
    Ok(())
}

fn once(lab: &Arc<Lab>) -> Result<()> {
    let registry = FaultRegistry::start();
    let build = copy(lab, "once")?;
    let to = |name: &str| format!("--destination={}/{name}", registry.host());
    let build = build.arg("--skip-push-permission-check").arg(to("first:v1")).arg(to("first:v2"));
    build.arg(to("second:v1")).run()?.succeeded()?;
    for (repository, tag) in [("first", "v1"), ("first", "v2"), ("second", "v1")] {
        ensure!(registry.tag(repository, tag).is_some(), "{repository}:{tag} is not there");
    }
    let sent = registry.count(Subject::UploadPut) + registry.count(Subject::UploadPatch);
    ensure!(sent == 2, "a layer and a config were sent in {sent} requests");
    Ok(())
}

fn annotations(lab: &Arc<Lab>) -> Result<()> {
    let build = copy(lab, "annotated")?;
    let build = build.arg("--annotation=org.example.a=b=c").arg("--annotation=org.example.a=d");
    let build = build.arg("--annotation=x=").arg("--oci-mode=docker");
    build.pushed()?;
    let manifest = raw(lab, "e2e/annotated:latest")?;
    ensure!(manifest["annotations"] == json!({ "org.example.a": "d", "x": "" }), "{manifest}");
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    ensure!(manifest["mediaType"] == docker, "{manifest}");
    Ok(())
}
