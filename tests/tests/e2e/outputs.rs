//! The main job and everything it writes: registry, layout, archive, digest files, standard output.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Lab, tool, tree, unpack_layout};
use serde_json::Value;

use crate::{Test, root_test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("outputs::the_version_and_the_usage_are_on_standard_output", version),
        test("outputs::a_scratch_image_of_copies_becomes_a_layout", scratch_layout),
        test("outputs::the_plan_is_printed_and_nothing_is_built", dry_run),
        root_test("outputs::a_multi_stage_image_is_pushed_and_pulled_back", multi_stage),
        root_test("outputs::digest_files_have_exact_bytes", digest_files),
        root_test("outputs::a_docker_archive_can_be_loaded", docker_archive),
        root_test("outputs::the_format_follows_the_base_and_the_flags", formats),
        root_test("outputs::zstd_layers_are_readable", zstd),
        root_test("outputs::labels_of_the_command_line_win", labels),
        root_test("outputs::the_first_of_several_targets_is_the_image", targets),
        root_test("outputs::nothing_of_the_machine_changes", machine_unchanged),
        root_test("outputs::steps_see_no_secret_of_the_executor", secrets),
    ]
}

const SMALL: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN echo built > /built\n";

fn version(lab: &Arc<Lab>) -> Result<()> {
    for (argument, start) in
        [("version", "Kaniko version :  v"), ("--version", "Kaniko"), ("--help", "Usage:")]
    {
        let text = tool(lab.executor()).arg(argument).read()?;
        ensure!(text.starts_with(start), "`{argument}` prints {text}");
    }
    Ok(())
}

fn layout_image(layout: &Path) -> Result<(Value, Value)> {
    let read = |path: &Path| -> Result<Value> {
        let text = std::fs::read(path).with_context(|| format!("no {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        read(&layout.join("blobs").join(digest.replace(':', "/")))
    };
    let index = read(&layout.join("index.json"))?;
    let manifest = blob(&index["manifests"][0])?;
    let config = blob(&manifest["config"])?;
    Ok((manifest, config))
}

fn scratch_layout(lab: &Arc<Lab>) -> Result<()> {
    let build = lab
        .build("layout")?
        .dockerfile("FROM scratch\nCOPY hello /bin/\nENTRYPOINT [\"/bin/hello\"]\n")?
        .file("hello", "not a program")?;
    let layout = build.directory.join("layout");
    let argument = format!("--oci-layout-path={}", layout.display());
    let outcome = build.arg(argument).arg("--no-push").run()?;
    outcome.succeeded()?;
    let (manifest, config) = layout_image(&layout)?;
    ensure!(manifest["layers"].as_array().is_some_and(|layers| layers.len() == 1), "{manifest}");
    ensure!(config["config"]["Entrypoint"][0] == "/bin/hello", "{config}");
    ensure!(layout.join("oci-layout").is_file(), "no oci-layout file");
    Ok(())
}

fn dry_run(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("dryrun")?.dockerfile(SMALL)?;
    let layout = build.directory.join("layout");
    let argument = format!("--oci-layout-path={}", layout.display());
    let outcome = build.arg(argument).arg("--dryrun").push().run()?;
    outcome.succeeded()?.wrote_none_of(&["layout"])?;
    ensure!(outcome.finished.stdout.contains("echo built"), "{}", outcome.text());
    let (status, _) = lab.registry().get("/v2/e2e/dryrun/tags/list").map_err(anyhow::Error::msg)?;
    ensure!(status == 404, "something was pushed");
    Ok(())
}

fn multi_stage(lab: &Arc<Lab>) -> Result<()> {
    let outcome = lab
        .build("multi-stage")?
        .dockerfile(
            "ARG REGISTRY\n\
             FROM ${REGISTRY}/busybox AS build\n\
             WORKDIR /src\n\
             COPY greeting.txt .\n\
             RUN tr a-z A-Z < greeting.txt > loud.txt\n\
             FROM ${REGISTRY}/busybox\n\
             RUN echo app:x:1234:1234::/home/app:/bin/sh >> /etc/passwd\n\
             RUN echo app:x:1234: >> /etc/group\n\
             ENV GREETING=hello\n\
             USER app\n\
             WORKDIR /home/app\n\
             COPY --from=build --chown=app:app --chmod=0640 /src/loud.txt /home/app/\n\
             ENTRYPOINT [\"cat\", \"loud.txt\"]\n",
        )?
        .file("greeting.txt", "hello\n")?
        .pushed()?;
    let image = outcome.image()?;
    ensure!(image.setting("User") == "app", "{}", image.config);
    ensure!(image.setting("WorkingDir") == "/home/app", "{}", image.config);
    ensure!(image.setting("Entrypoint")[1] == "loud.txt", "{}", image.config);
    let root = image.unpack()?;
    let files = tree::list(&root)?;
    let found = files.get("/home/app/loud.txt").map(String::as_str);
    ensure!(found == Some("f 0640 1234:1234 \"HELLO\\n\""), "{found:?}");
    ensure!(!files.contains_key("/src"), "the build stage is in the image");
    for path in ["/proc", "/dev", "/sys", "/etc/hosts", "/etc/resolv.conf", "/kaniko"] {
        ensure!(!files.contains_key(path), "{path} of the build is in the image");
    }
    let run = tool("chroot").arg("--userspec=1234:1234").arg(&root);
    let said = run.args(["/bin/cat", "/home/app/loud.txt"]).read()?;
    ensure!(said == "HELLO\n", "{said}");
    Ok(())
}

fn digest_files(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("digests")?.dockerfile(SMALL)?;
    let second = format!("{}/e2e/digests-too:v1", lab.host());
    let path = |name: &str| build.directory.join(name).display().to_string();
    let [digest, names, tags] = ["digest", "deep/names", "tags"].map(path);
    let outcome = build
        .arg(format!("--digest-file={digest}"))
        .arg(format!("--image-name-with-digest-file={names}"))
        .arg(format!("--image-name-tag-with-digest-file={tags}"))
        .push()
        .arg(format!("--destination={second}"))
        .run()?;
    outcome.succeeded()?;
    let image = outcome.image()?;
    let host = lab.host();
    let expect = |file: &str, text: &str| -> Result<()> {
        let found = std::fs::read_to_string(file).with_context(|| format!("no {file}"))?;
        ensure!(found == text, "{file} is {found:?}, not {text:?}");
        Ok(())
    };
    expect(&digest, &image.digest)?;
    ensure!(image.digest.len() == 71, "{}", image.digest);
    let d = &image.digest;
    expect(&names, &format!("{host}/e2e/digests@{d}\n{host}/e2e/digests-too@{d}\n"))?;
    expect(&tags, &format!("{host}/e2e/digests:latest@{d}\n{host}/e2e/digests-too:v1@{d}\n"))
}

fn docker_archive(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("archive")?.dockerfile(SMALL)?;
    let archive = build.directory.join("image.tar");
    let argument = format!("--tar-path={}", archive.display());
    let name = "--destination=example.test/team/app:v2";
    build.arg(argument).arg("--no-push").arg(name).run()?.succeeded()?;
    let members = tool("tar").arg("-tf").arg(&archive).read()?;
    ensure!(members.trim_end().ends_with("manifest.json"), "{members}");
    let text = tool("tar").arg("-xOf").arg(&archive).arg("manifest.json").read()?;
    let manifest: Value = serde_json::from_str(&text)?;
    ensure!(manifest[0]["RepoTags"][0] == "example.test/team/app:v2", "{manifest}");
    // skopeo checks every layer against the config while it copies.
    let layout = lab.scratch("from-archive")?;
    tool("skopeo")
        .args(["copy", "--quiet"])
        .arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("oci:{}:image", layout.display()))
        .read()?;
    let files = tree::list(&unpack_layout(&layout, "image")?)?;
    ensure!(files.get("/built").is_some_and(|file| file.ends_with("\"built\\n\"")), "no /built");
    Ok(())
}

fn formats(lab: &Arc<Lab>) -> Result<()> {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    for (name, base, flag, expected) in [
        ("format-oci", "busybox:latest", "", oci),
        ("format-docker", "busybox:docker", "", docker),
        ("format-to-docker", "busybox:latest", "--image-format=docker", docker),
        ("format-to-oci", "busybox:docker", "--image-format=oci", oci),
    ] {
        let dockerfile = format!("ARG REGISTRY\nFROM ${{REGISTRY}}/{base}\nRUN echo x > /x\n");
        let mut build = lab.build(name)?.dockerfile(&dockerfile)?;
        if !flag.is_empty() {
            build = build.arg(flag);
        }
        let image = build.pushed()?.image()?;
        let found = image.manifest["mediaType"].as_str().unwrap_or_default();
        ensure!(found == expected, "{name} gives {found}");
        ensure!(image.tree()?.contains_key("/x"), "{name} lost a file");
    }
    Ok(())
}

fn zstd(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("zstd")?.dockerfile("FROM scratch\nCOPY file /\n")?;
    let layout = build.directory.join("layout");
    let outcome = build
        .file("file", "content\n".repeat(1000))?
        .arg("--compression=zstd")
        .arg("--image-format=oci")
        .arg(format!("--oci-layout-path={}", layout.display()))
        .pushed()?;
    let (manifest, _) = layout_image(&layout)?;
    let kind = &manifest["layers"][0]["mediaType"];
    ensure!(kind == "application/vnd.oci.image.layer.v1.tar+zstd", "{kind}");
    let digest = manifest["layers"][0]["digest"].as_str().unwrap_or_default();
    let blob = layout.join("blobs").join(digest.replace(':', "/"));
    let bytes = std::fs::read(blob)?;
    ensure!(bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "the layer is not zstd");
    ensure!(outcome.image()?.manifest["layers"][0]["digest"] == digest, "pushed another layer");
    Ok(())
}

fn labels(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("labels")?.dockerfile("FROM scratch\nLABEL a=file b=file\n")?;
    let image = build.arg("--label=a=flag").arg("--label=c=x=y").pushed()?.image()?;
    let found = image.setting("Labels");
    ensure!(found["a"] == "flag" && found["b"] == "file" && found["c"] == "x=y", "{found}");
    Ok(())
}

fn targets(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("targets")?.dockerfile(
        "FROM scratch AS one\nLABEL stage=one\nFROM scratch AS two\nLABEL stage=two\n\
         FROM scratch\nLABEL stage=three\n",
    )?;
    let image = build.arg("--target=TWO").arg("--target=one").pushed()?.image()?;
    ensure!(image.setting("Labels")["stage"] == "two", "{}", image.config);
    Ok(())
}

/// What a build on the `namespaces` rung must leave alone.
fn machine_state() -> Result<Vec<String>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut lines = Vec::new();
    for directory in ["/", "/etc", "/usr", "/var", "/bin/"] {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            // Their content changes by itself; that they are the same entries is what counts.
            let metadata = path.symlink_metadata()?;
            let changed = if metadata.is_file() { metadata.ctime() } else { 0 };
            lines.push(format!("{} {} {changed}", path.display(), metadata.ino()));
        }
    }
    lines.sort();
    Ok(lines)
}

fn machine_unchanged(lab: &Arc<Lab>) -> Result<()> {
    // Another test may make the account of the ordinary user meanwhile, so that comes first.
    kaniko_tests::user::with_subordinate_ids()?;
    let build = lab.build("machine")?.dockerfile(
        "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN echo own > /etc/hosts || true\n\
         RUN echo x > /etc/passwd && rm -rf /bin/* /usr /var /root && echo y > /left-on-the-machine\n",
    )?;
    let before = machine_state()?;
    let outcome = build.pushed()?;
    ensure!(before == machine_state()?, "the machine changed");
    ensure!(lab.mounts()?.iter().all(|mount| !mount.contains("-machine/")), "a mount is left");
    let files = outcome.image()?.tree()?;
    ensure!(files.contains_key("/left-on-the-machine"), "the step's file is not in the image");
    ensure!(!files.contains_key("/bin/sh"), "the removed files are still in the image");
    Ok(())
}

fn secrets(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("secrets")?.dockerfile(
        "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n\
         RUN env > /env; for e in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $e; done > /all 2>&1; \
         ls / > /ls\n",
    )?;
    let build = build.push();
    let finished = build.command().env("PLANTED_SECRET", "do-not-show").finish()?;
    let outcome = build.ended(finished);
    outcome.succeeded()?;
    let root = outcome.image()?.unpack()?;
    for file in ["env", "all", "ls"] {
        let text = std::fs::read_to_string(root.join(file))?;
        ensure!(!text.contains("do-not-show"), "a step read the executor's environment: {text}");
        ensure!(!text.contains("kaniko"), "a step sees the executor: {text}");
    }
    let env = std::fs::read_to_string(root.join("env"))?;
    for line in env.lines() {
        let name = line.split('=').next().unwrap_or_default();
        let expected = ["PATH", "HOME", "HOSTNAME", "PWD", "SHLVL", "REGISTRY"].contains(&name);
        ensure!(expected && name != "REGISTRY", "a step has {line}");
    }
    Ok(())
}
