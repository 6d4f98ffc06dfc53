//! Images for several platforms: built in one run and joined, or joined from several runs. skopeo
//! reads what is pushed and picks each platform out.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Build, Lab, Outcome, tool, tree, unpack_layout};
use serde_json::{Value, json};
use testkit::http_server::{HttpServer, Page};

use crate::pods::{run_in, with_context};
use crate::{Test, root_test, test};
use kaniko_tests::pod::{Pod, Seccomp};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("platforms::copies_are_built_for_three_of_them", copies),
        root_test("platforms::a_base_is_chosen_by_platform_and_variant", bases),
        root_test("platforms::a_build_stage_runs_once_for_all", build_stage),
        root_test("platforms::each_is_the_image_of_a_build_for_it_alone", alone),
        root_test("platforms::several_are_built_in_place", in_place),
        root_test("platforms::a_run_under_an_emulator_is_told", emulated),
        test("platforms::a_docker_manifest_list_is_made_on_demand", legacy),
        test("platforms::a_destination_without_all_images_gets_no_index", no_index),
        test("platforms::a_run_of_another_one_is_refused_before_the_build", foreign),
        test("platforms::images_of_other_jobs_are_joined", joined),
        test("platforms::what_cannot_be_joined_leaves_no_tag", not_joined),
    ]
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Copies and nothing else; the image says what it is for.
const COPIES: &str = "FROM scratch\nARG TARGETPLATFORM TARGETARCH\n\
    LABEL platform=$TARGETPLATFORM\nCOPY for-$TARGETARCH /arch\nCOPY shared /shared\n";

/// A context with a file for each processor.
fn context(build: Build) -> Result<Build> {
    ["amd64", "arm64", "arm"].into_iter().try_fold(
        build.file("shared", "the same\n")?,
        |build, architecture| {
            build.file(&format!("for-{architecture}"), format!("{architecture}\n"))
        },
    )
}

/// What the registry has under a name.
fn raw(lab: &Lab, name: &str) -> Result<Value> {
    let reference = format!("docker://{}/{name}", lab.host());
    let text =
        tool("skopeo").args(["inspect", "--tls-verify=false", "--raw", &reference]).read()?;
    Ok(serde_json::from_str(&text)?)
}

/// `os/architecture[/variant]` and digest of each entry of an index.
fn entries(index: &Value) -> Vec<(String, String)> {
    let entries = index["manifests"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |entry: &Value| {
        let platform = &entry["platform"];
        let parts = [&platform["os"], &platform["architecture"], &platform["variant"]];
        let parts: Vec<String> =
            parts.into_iter().filter(|part| part.is_string()).map(text).collect();
        (parts.join("/"), text(&entry["digest"]))
    };
    entries.iter().map(entry).collect()
}

/// The image for a platform as skopeo takes it from an index: its config and its files.
fn taken(lab: &Lab, from: &str, platform: &str) -> Result<(Value, tree::Tree)> {
    let layout = lab.scratch("taken")?;
    let mut parts = platform.split('/');
    let mut skopeo = tool("skopeo");
    for part in ["os", "arch", "variant"] {
        if let Some(value) = parts.next() {
            skopeo = skopeo.arg(format!("--override-{part}={value}"));
        }
    }
    skopeo
        .args(["copy", "--quiet", "--src-tls-verify=false", from])
        .arg(format!("oci:{}:image", layout.display()))
        .read()?;
    let config = tool("skopeo").args(["inspect", "--config", "--raw"]);
    let config = config.arg(format!("oci:{}:image", layout.display())).read()?;
    Ok((serde_json::from_str(&config)?, tree::list(&unpack_layout(&layout, "image")?)?))
}

/// Wants the image of [`COPIES`] for a platform.
fn check_copies(lab: &Lab, from: &str, platform: &str) -> Result<()> {
    let (config, files) = taken(lab, from, platform)?;
    let mut parts = platform.split('/').skip(1);
    let architecture = parts.next().unwrap_or_default();
    ensure!(config["architecture"] == architecture, "{platform}: {config}");
    ensure!(config["variant"].as_str() == parts.next(), "{platform}: {config}");
    ensure!(config["config"]["Labels"]["platform"] == platform, "{platform}: {config}");
    let expected = format!("f 0644 0:0 \"{architecture}\\n\"");
    ensure!(files.get("/arch") == Some(&expected), "{platform}: {:?}", files.get("/arch"));
    ensure!(files.contains_key("/shared"), "{platform}: a file is missing");
    Ok(())
}

fn tags(lab: &Lab, repository: &str) -> Result<String> {
    let path = format!("/v2/{repository}/tags/list");
    let (_, tags) = lab.registry().get(&path).map_err(anyhow::Error::msg)?;
    Ok(tags.trim().to_owned())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("no {}", path.display()))
}

const THREE: [&str; 3] = ["linux/amd64", "linux/arm/v7", "linux/arm64"];

fn copies(lab: &Arc<Lab>) -> Result<()> {
    let build = context(lab.build("three")?.dockerfile(COPIES)?)?;
    let (digest, layout) = (build.directory.join("out/digest"), build.directory.join("layout"));
    let tagged = build.directory.join("tagged");
    let host = lab.host();
    let build = build
        .arg("--multi-platform=linux/amd64,linux/arm/v7")
        .arg("--multi-platform=linux/arm64")
        .arg("--publish-index")
        .arg("--index-annotations=org.example.a=b,org.example.c=d")
        .arg(format!("--digest-file={}", digest.display()))
        .arg(format!("--image-name-tag-with-digest-file={}", tagged.display()))
        .arg(format!("--oci-layout-path={}", layout.display()))
        .arg(format!("--destination={host}/e2e/three-too:v1"));
    build.pushed()?;
    let index = raw(lab, "e2e/three:latest")?;
    ensure!(index["mediaType"] == OCI_INDEX, "{index}");
    ensure!(index["annotations"] == json!({"org.example.a": "b", "org.example.c": "d"}), "{index}");
    let entries = entries(&index);
    let platforms: Vec<&str> = entries.iter().map(|(platform, _)| platform.as_str()).collect();
    ensure!(platforms == THREE, "{platforms:?}");
    ensure!(index == raw(lab, "e2e/three-too:v1")?, "the destinations differ");
    for (repository, tag) in [("e2e/three", "latest"), ("e2e/three-too", "v1")] {
        let found: Value = serde_json::from_str(&tags(lab, repository)?)?;
        ensure!(found["tags"] == json!([tag]), "{found}");
    }
    let whole = read(&digest)?;
    ensure!(raw(lab, &format!("e2e/three@{whole}"))? == index, "{whole} is another index");
    let names = [format!("{host}/e2e/three-too:v1"), format!("{host}/e2e/three:latest")];
    let expected: String = names.iter().map(|name| format!("{name}@{whole}\n")).collect();
    ensure!(read(&tagged)? == expected, "{}", read(&tagged)?);
    for (platform, image) in &entries {
        let beside = digest.with_file_name(format!("digest.{}", platform.replace('/', "-")));
        ensure!(read(&beside)? == *image, "{} holds another digest", beside.display());
        check_copies(lab, &format!("docker://{host}/e2e/three:latest"), platform)?;
        check_copies(lab, &format!("oci:{}", layout.display()), platform)?;
    }
    let top: Value = serde_json::from_str(&read(&layout.join("index.json"))?)?;
    let manifests = top["manifests"].as_array().map_or(0, Vec::len);
    ensure!(manifests == 1 && top["manifests"][0]["digest"] == whole.as_str(), "{top}");
    ensure!(top["manifests"][0]["mediaType"] == OCI_INDEX, "{top}");
    // One layer is the same in all images, one in each its own; a manifest and a config each.
    let blobs = std::fs::read_dir(layout.join("blobs/sha256"))?.count();
    ensure!(blobs == 1 + 3 * 3 + 1, "{blobs} blobs in the layout");
    Ok(())
}

/// Puts an index of base images into the registry: for arm in two variants.
fn push_bases(lab: &Arc<Lab>, name: &str) -> Result<()> {
    let text = "FROM scratch\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT\n\
                COPY shared /of-$TARGETARCH$TARGETVARIANT\nENV BASE=$TARGETPLATFORM\n";
    let build = context(lab.build(name)?.dockerfile(text)?)?;
    let platforms = "--multi-platform=linux/arm/v6,linux/arm/v7,linux/amd64,linux/arm64";
    build.arg(platforms).arg("--publish-index").pushed()?;
    Ok(())
}

fn bases(lab: &Arc<Lab>) -> Result<()> {
    push_bases(lab, "bases")?;
    let text = "ARG REGISTRY\nFROM ${REGISTRY}/e2e/bases\nCOPY shared /own\n";
    for (given, file, variant) in [
        ("linux/arm64/v8", "/of-arm64", None),
        ("linux/aarch64", "/of-arm64", None),
        ("linux/x86_64", "/of-amd64", None),
        ("linux/arm", "/of-armv7", Some("v7")),
        ("linux/arm/v7", "/of-armv7", Some("v7")),
        ("linux/armhf", "/of-armv7", Some("v7")),
        ("linux/arm/v6", "/of-armv6", Some("v6")),
        // A newer processor runs what is for an older one; the image is for the newer one then.
        ("linux/arm/v8", "/of-armv7", Some("v8")),
        ("linux/amd64/v3", "/of-amd64", Some("v3")),
    ] {
        let build = context(lab.build("on-bases")?.dockerfile(text)?)?;
        let image = build.arg(format!("--custom-platform={given}")).pushed()?.image()?;
        ensure!(image.tree()?.contains_key(file), "{given}: no {file}");
        ensure!(image.config["variant"].as_str() == variant, "{given}: {}", image.config);
    }
    let build = context(lab.build("no-base")?.dockerfile(text)?)?;
    let outcome = build.arg("--custom-platform=linux/s390x").push().run()?;
    outcome.failed(1, &["no image for platform `linux/s390x`", "e2e/bases"])?;
    Ok(())
}

fn build_stage(lab: &Arc<Lab>) -> Result<()> {
    let text = "ARG REGISTRY\n\
        FROM --platform=$BUILDPLATFORM ${REGISTRY}/busybox AS common\n\
        RUN cat /proc/sys/kernel/random/uuid > /stamp\n\
        FROM --platform=$BUILDPLATFORM common AS compile\nARG TARGETARCH TARGETVARIANT\n\
        RUN echo $TARGETARCH$TARGETVARIANT > /program\n\
        FROM scratch\nCOPY --from=common /stamp /\nCOPY --from=compile /program /\n";
    let build = lab.build("compiled")?.dockerfile(text)?;
    let build = build.arg(format!("--multi-platform={}", THREE.join(","))).arg("--publish-index");
    let outcome = build.pushed()?;
    let once = outcome.finished.stderr.matches("RUN cat /proc").count();
    let from = format!("docker://{}/e2e/compiled", lab.host());
    let mut stamps = Vec::new();
    for (platform, program) in THREE.iter().zip(["amd64", "armv7", "arm64"]) {
        let (_, files) = taken(lab, &from, platform)?;
        let expected = format!("f 0644 0:0 \"{program}\\n\"");
        ensure!(files.get("/program") == Some(&expected), "{platform}: {files:?}");
        stamps.push(files.get("/stamp").cloned());
    }
    let same = stamps.iter().all(|stamp| stamp.is_some() && *stamp == stamps[0]);
    ensure!(same, "the common stage ran more than once ({once}): {stamps:?}");
    Ok(())
}

/// A build with a fixed time, so that its digest can be compared.
fn dated(build: Build) -> Result<Outcome> {
    let build = build.push();
    let finished = build.command().env("SOURCE_DATE_EPOCH", "1000000000").finish()?;
    let outcome = build.ended(finished);
    outcome.succeeded()?;
    Ok(outcome)
}

fn alone(lab: &Arc<Lab>) -> Result<()> {
    push_bases(lab, "dated-bases")?;
    let text = "ARG REGISTRY\n\
        FROM --platform=$BUILDPLATFORM ${REGISTRY}/busybox AS build\nARG TARGETARCH\n\
        RUN echo $TARGETARCH > /program\nFROM ${REGISTRY}/e2e/dated-bases\nWORKDIR /app\n\
        COPY --from=build /program .\nCOPY for-* ./\nLABEL a=b\n";
    let new = |name| -> Result<Build> { context(lab.build(name)?.dockerfile(text)?) };
    let all = format!("--multi-platform={}", THREE.join(","));
    dated(new("dated-all")?.arg(all).arg("--publish-index").arg("--label=c=d"))?;
    for (platform, digest) in entries(&raw(lab, "e2e/dated-all")?) {
        let build = new("dated-one")?.arg(format!("--custom-platform={platform}"));
        let image = dated(build.arg("--label=c=d"))?.image()?;
        ensure!(image.digest == digest, "{platform} alone is {}, not {digest}", image.digest);
    }
    Ok(())
}

fn in_place(lab: &Arc<Lab>) -> Result<()> {
    let text = format!(
        "ARG REGISTRY\nFROM --platform=$BUILDPLATFORM ${{REGISTRY}}/busybox AS build\n\
         RUN echo x > /made\n{COPIES}COPY --from=build /made /\n"
    );
    let build = context(lab.build("three-in-place")?.dockerfile(&text)?)?;
    let layout = lab.scratch("out")?;
    let build = build
        .arg(format!("--multi-platform={}", THREE.join(",")))
        .arg("--no-push")
        .arg("--oci-layout-path=/out/layout");
    let pod = Pod::new(lab, "three-in-place", Seccomp::Default)?;
    let pod = with_context(&build, pod).mount(&layout, "/out", &["rw"]);
    let outcome = run_in(build, &pod)?;
    outcome.succeeded()?;
    ensure!(outcome.finished.stderr.contains("isolation in-place"), "{}", outcome.text());
    for platform in THREE {
        check_copies(lab, &format!("oci:{}", layout.join("layout").display()), platform)?;
    }
    // As after any build in place, `/` holds the files of the image: the first one's.
    let files = pod.files()?;
    let expected = "f 0644 0:0 \"amd64\\n\"";
    ensure!(files.get("/arch").map(String::as_str) == Some(expected), "{:?}", files.get("/arch"));
    Ok(())
}

fn legacy(lab: &Arc<Lab>) -> Result<()> {
    let build = context(lab.build("list")?.dockerfile(COPIES)?)?;
    let flags = ["--multi-platform=linux/amd64,linux/arm64", "--publish-index"];
    let build = flags.iter().fold(build, |build, flag| build.arg(*flag));
    build.arg("--legacy-manifest-list").arg("--image-format=docker").pushed()?;
    let list = raw(lab, "e2e/list")?;
    let expected = "application/vnd.docker.distribution.manifest.list.v2+json";
    ensure!(list["mediaType"] == expected && list.get("annotations").is_none(), "{list}");
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    ensure!(list["manifests"][1]["mediaType"] == docker, "{list}");
    let platforms: Vec<String> = entries(&list).into_iter().map(|(platform, _)| platform).collect();
    ensure!(platforms == ["linux/amd64", "linux/arm64"], "{platforms:?}");
    Ok(())
}

fn no_index(lab: &Arc<Lab>) -> Result<()> {
    // A registry that is there and takes nothing.
    let server = HttpServer::start(vec![Page::new("/v2/", "{}")]);
    let first = format!("{}/e2e/whole", server.host());
    let build = context(lab.build("whole")?.dockerfile(COPIES)?)?;
    let digest = build.directory.join("digest");
    let outcome = build
        .arg(format!("--destination={first}"))
        .arg(format!("--destination={}/e2e/whole:latest", lab.host()))
        .arg("--skip-push-permission-check")
        .arg("--multi-platform=linux/amd64,linux/arm64")
        .arg("--publish-index")
        .arg(format!("--digest-file={}", digest.display()))
        .run()?;
    outcome.failed(1, &[&format!("failed to push to destination {first}")])?;
    // What else was asked for is there, and whole.
    let whole = read(&digest)?;
    let index = raw(lab, "e2e/whole:latest")?;
    ensure!(index == raw(lab, &format!("e2e/whole@{whole}"))?, "{whole} is another index");
    for platform in ["linux/amd64", "linux/arm64"] {
        check_copies(lab, &format!("docker://{}/e2e/whole:latest", lab.host()), platform)?;
    }
    Ok(())
}

/// A RUN that this machine cannot carry out: `texts` are in the error, nothing is built or pushed.
fn check_refused(lab: &Arc<Lab>, text: &str, flags: &[&str], texts: &[&str]) -> Result<()> {
    let build = context(lab.build("foreign")?.dockerfile(text)?)?;
    let build = flags.iter().fold(build, |build, flag| build.arg(*flag)).push();
    let before = lab.registry().requests().len();
    let outcome = build.run()?;
    outcome.failed(1, texts)?;
    let (said, requests) = (&outcome.finished.stderr, lab.registry().requests());
    ensure!(!said.contains("Building stage"), "{flags:?}: something was built: {said}");
    let pushed = requests[before..].iter().find(|request| {
        request.contains("/e2e/foreign/")
            && (request.starts_with("PUT") || request.contains("PATCH"))
    });
    ensure!(pushed.is_none(), "{flags:?}: something was pushed: {pushed:?}");
    Ok(())
}

fn foreign(lab: &Arc<Lab>) -> Result<()> {
    let text = "FROM scratch AS files\nCOPY shared /\nFROM files\nRUN [\"/program\", \"x\"]\n";
    let line = "RUN [\"/program\", \"x\"]";
    let machine = "a RUN instruction is for `linux/mips64le`, and this machine is `linux/";
    let two = "--multi-platform=linux/mips64le,linux/amd64";
    let unwanted = "--require-native-nodes wants no emulation";
    check_refused(lab, text, &[two, "--publish-index"], &[machine, line, unwanted])?;
    // Of a processor nobody emulates, in words.
    let missing = "programs for `mips64le` cannot be run: how its programs look is not known";
    let flags = [two, "--publish-index", "--require-native-nodes=false"];
    check_refused(lab, text, &flags, &[machine, line, missing, "hint:"])?;
    check_refused(lab, text, &["--custom-platform=linux/mips64le"], &[machine, line, missing])?;
    let pinned = "FROM --platform=linux/mips64le scratch AS a\nFROM scratch\nRUN [\"/x\"]\n";
    check_refused(lab, pinned, &["--custom-platform=linux/mips64le"], &[machine, "RUN [\"/x\"]"])
}

/// What tells the kernel a program for arm64 by.
const ARM64: [u8; 20] = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0";

/// Registers an emulator in a user namespace, so that nobody else has it. busybox stands in for
/// one: what it is told to run it takes for the name of one of its own programs.
const REGISTER: &str = r#"mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
printf %s ':standin:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00::/bin/busybox:F' \
    > /proc/sys/fs/binfmt_misc/register || exit 77
exec "$@"
"#;

fn emulated(lab: &Arc<Lab>) -> Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(6), Some(7)) {
        // Before Linux 6.7 what is registered holds for the whole machine.
        return Ok(());
    }
    let text = "FROM scratch\nARG TARGETARCH\nCOPY --chmod=755 sh-$TARGETARCH /bin/sh\n\
                RUN echo built > /out\n";
    let build = lab.build("emulated")?.dockerfile(text)?.file("sh-arm64", ARM64)?;
    let build = build.file("sh-amd64", std::fs::read("/bin/busybox")?)?;
    let layout = build.directory.join("layout");
    let build = build
        .arg("--multi-platform=linux/amd64,linux/arm64")
        .arg("--require-native-nodes=false")
        .arg("--no-push")
        .arg(format!("--oci-layout-path={}", layout.display()));
    let starter = tool("unshare").args(["-Urm", "sh", "-c", REGISTER, "sh"]).arg(lab.executor());
    let finished = build.command_by(starter).finish()?;
    let outcome = build.ended(finished);
    outcome.succeeded()?;
    let told = "RUN steps for linux/arm64 are run under emulation: binfmt_misc handler `standin`";
    ensure!(outcome.finished.stderr.contains(told), "{}", outcome.text());
    for platform in ["linux/amd64", "linux/arm64"] {
        let (_, files) = taken(lab, &format!("oci:{}", layout.display()), platform)?;
        let expected = "f 0644 0:0 \"built\\n\"";
        ensure!(files.get("/out").is_some_and(|found| found == expected), "{platform}: {files:?}");
    }
    Ok(())
}

/// What a job of a matrix does: one platform, its digest into a file.
fn job(lab: &Arc<Lab>, digests: &Path, platform: &str) -> Result<String> {
    let file = digests.join(format!("{}.digest", platform.replace('/', "-")));
    let build = context(lab.build("job")?.dockerfile(COPIES)?)?;
    let tag = platform.replace('/', "-");
    let outcome = build
        .arg(format!("--custom-platform={platform}"))
        .arg(format!("--digest-file={}", file.display()))
        .arg(format!("--destination={}/e2e/jobs:{tag}", lab.host()))
        .run()?;
    outcome.succeeded()?;
    read(&file)
}

/// What the job after the matrix does.
fn join(lab: &Arc<Lab>, digests: &Path, tag: &str, flags: &[&str]) -> Result<Outcome> {
    let build = lab.build("join")?.arg("--driver=ci");
    let build = build.arg(format!("--digests-from={}", digests.display()));
    let build = build.arg(format!("--destination={}/e2e/jobs:{tag}", lab.host()));
    flags.iter().fold(build, |build, flag| build.arg(*flag)).run()
}

fn joined(lab: &Arc<Lab>) -> Result<()> {
    let digests = lab.scratch("digests")?;
    let arm = job(lab, &digests, "linux/arm/v7")?;
    let amd = job(lab, &digests, "linux/amd64")?;
    let whole = digests.join("whole");
    let file = format!("--digest-file={}", whole.display());
    let (platform, both) = (str::to_owned, "--multi-platform=linux/arm/v7,linux/amd64");
    for (tag, flags, expected) in [
        ("all", &[][..], [(platform("linux/amd64"), &amd), (platform("linux/arm/v7"), &arm)]),
        (
            "both",
            &[both, &file],
            [(platform("linux/arm/v7"), &arm), (platform("linux/amd64"), &amd)],
        ),
    ] {
        let outcome = join(lab, &digests, tag, flags)?;
        outcome.succeeded()?;
        ensure!(!outcome.finished.stderr.contains("Building"), "{}", outcome.text());
        let index = raw(lab, &format!("e2e/jobs:{tag}"))?;
        ensure!(index["mediaType"] == OCI_INDEX, "{index}");
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(platform, digest)| (platform.clone(), (*digest).clone()))
            .collect();
        ensure!(entries(&index) == expected, "{tag}: {index}");
    }
    let index = raw(lab, &format!("e2e/jobs@{}", read(&whole)?))?;
    ensure!(index == raw(lab, "e2e/jobs:both")?, "the digest file names another index");
    // Nothing but a look with --no-push.
    join(lab, &digests, "looked", &["--no-push"])?.succeeded()?;
    ensure!(!tags(lab, "e2e/jobs")?.contains("looked"), "something was pushed");
    Ok(())
}

fn not_joined(lab: &Arc<Lab>) -> Result<()> {
    let digests = lab.scratch("digests")?;
    let digest = job(lab, &digests, "linux/arm64")?;
    let place = |name: &str| digests.join(name);
    let refused = |flags: &[&str], texts: &[&str]| -> Result<()> {
        join(lab, &digests, "half", flags)?.failed(1, texts)?;
        ensure!(!tags(lab, "e2e/jobs")?.contains("half"), "{texts:?}: a tag is there");
        Ok(())
    };
    refused(
        &["--multi-platform=linux/arm64,linux/amd64"],
        &["error joining images", "no digest of the image for `linux/amd64`", "linux-amd64.digest"],
    )?;
    std::fs::write(place("linux-amd64.digest"), &digest)?;
    refused(&[], &["is an image for `linux/arm64`, not for `linux/amd64`"])?;
    std::fs::write(place("linux-amd64.digest"), format!("sha256:{}", "0".repeat(64)))?;
    refused(&[], &["cannot find the image for `linux/amd64`", "404"])?;
    std::fs::write(place("linux-amd64.digest"), "latest")?;
    refused(&[], &["the digest file `linux-amd64.digest` holds no digest"])?;
    std::fs::remove_file(place("linux-amd64.digest"))?;
    let whole = place("whole");
    let file = format!("--digest-file={}", whole.display());
    join(lab, &digests, "whole", &[&file])?.succeeded()?;
    std::fs::rename(&whole, place("linux-arm64.digest"))?;
    refused(&[], &["is an index and not the image for `linux/arm64`"])
}
