//! Hostile archives through the real program: as layers of a base image, through `COPY --from`,
//! and by `ADD`. The worst of `testkit::hostile`; the tests of `layer` and `copy` try all of them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Lab, Outcome};
use testkit::base_image;
use testkit::hostile::{Canary, Case, Outcome as Expected, Way, cases};
use testkit::http_server::HttpServer;
use testkit::tar_builder::TarBuilder;

use crate::archive::into_archive;
use crate::{Test, root_test};

/// The worst.
const WORST: &[&str] = &[
    "T01-file",
    "T04-dir",
    "T06b-dir",
    "T08-symlink",
    "T11",
    "T15-1-symlink",
    "T17",
    "S01-absolute",
    "S01-relative",
    "S01-proc-root",
    "S02-absolute",
    "S06-absolute",
    "S10-absolute",
    "S12b-absolute",
    "S13",
    "S15",
    "S20-absolute",
    "S22b-absolute",
    "S27",
    "H01-absolute",
    "H01-proc",
    "H03",
    "W01",
    "W03",
    "W13c",
    "W19",
    "D01",
    "D02",
    "D03",
    "D13-uid",
    "D27b",
    "D31",
    "F07",
    "F09-max",
    "F13",
    "F20b",
    "F23",
    "F27-tera",
    "G01",
    "G03",
    "G05",
    "G11",
    "B03-L",
];

pub(crate) fn tests() -> Vec<Test> {
    let ways = [("layers", Way::Layers), ("copy_from", Way::CopyFrom), ("add", Way::Add)];
    let mut tests = Vec::from(ways.map(|(name, way)| {
        root_test(format!("hostile::archives_as_{name}"), move |lab| try_all(lab, name, way))
    }));
    tests.push(root_test("hostile::base_images_in_a_pod", base_images_in_a_pod));
    tests
}

/// Base images that want out of the root, or at what a pod has in it: in place, where the root is
/// the pod's own.
fn evil() -> Vec<(&'static str, Vec<TarBuilder>)> {
    let tar = TarBuilder::new;
    vec![
        ("dots", vec![tar().file("../../../../canary/dots", "pwn")]),
        ("absolute", vec![tar().file("/canary/absolute", "pwn")]),
        (
            "through-a-link",
            vec![tar().symlink("esc", "/../../canary"), tar().file("esc/through", "pwn")],
        ),
        ("through-a-link-of-its-own", vec![tar().symlink("esc", "/canary").file("esc/own", "pwn")]),
        (
            "hard-links",
            vec![tar().hardlink("stolen", "/canary/secret").hardlink("s2", "../../canary/secret")],
        ),
        (
            "hard-link-through-a-link",
            vec![tar().symlink("e", "/canary").hardlink("stolen", "e/secret")],
        ),
        (
            "whiteouts",
            vec![tar().file("canary/.wh.secret", "").file(".wh.canary", "").file("x/.wh..", "")],
        ),
        ("whiteout-of-everything", vec![tar().file(".wh..wh..opq", "").file(".wh.kaniko", "")]),
        ("other-types", vec![tar().symlink("canary", "/tmp").file("workspace", "no directory")]),
        ("the-executor", vec![tar().dir("kaniko/", 0o777).file("kaniko/executor", "#!/bin/sh\n")]),
        ("the-executor-behind-a-link", vec![tar().symlink("k", "kaniko").file("k/executor", "x")]),
        (
            "the-kernels-files",
            vec![
                tar()
                    .file("proc/sys/kernel/hostname", "pwn")
                    .file("sys/x", "x")
                    .file("dev/null", "no device")
                    .file("etc/resolv.conf", "nameserver 192.0.2.1\n")
                    .file("etc/hosts", "evil"),
            ],
        ),
    ]
}

fn base_images_in_a_pod(lab: &Arc<Lab>) -> Result<()> {
    for (name, layers) in evil() {
        let canary = Canary::new();
        let layers: Vec<_> = layers.into_iter().map(TarBuilder::end).collect();
        let server = HttpServer::start(base_image::served("evil/image", &layers));
        let host = server.url("").replace("http://", "");
        let build = lab
            .build(&format!("evil-{name}"))?
            .dockerfile(&format!("FROM {host}/evil/image\nCOPY marker /marker\n"))?
            .file("marker", "marker\n")?
            .arg("--no-push");
        let path = PathBuf::from(OsString::from_vec(canary.at("")));
        let pod = Pod::new(lab, &format!("evil-{name}"), Seccomp::Default)?
            .mount(&build.directory.join("context"), "/workspace", &[])
            .mount(&path, "/canary", &[]);
        let lent = ["hosts", "resolv.conf", "hostname"]
            .map(|file| pod.termination_log().with_file_name(file));
        let before = lent.each_ref().map(std::fs::read);
        let words = build.words_in_pod();
        let outcome = build.ended(pod.run(&words)?);
        let case = || format!("{name}: {}", outcome.text());
        ensure!(matches!(outcome.finished.code, Some(0 | 1)), "{}", case());
        ensure!(!outcome.finished.stderr.contains("panicked"), "{}", case());
        canary.is_untouched().map_err(anyhow::Error::msg).with_context(case)?;
        let context = outcome.directory.join("context");
        ensure!(std::fs::read_dir(context)?.count() == 2, "the context changed: {}", case());
        let executor = pod.upper().join("kaniko/executor");
        ensure!(executor.symlink_metadata().is_err(), "the executor changed: {}", case());
        for (file, before) in lent.iter().zip(before) {
            ensure!(std::fs::read(file)? == before?, "{} changed: {}", file.display(), case());
        }
    }
    Ok(())
}

fn try_all(lab: &Arc<Lab>, name: &str, way: Way) -> Result<()> {
    let all = cases();
    for id in WORST {
        let case = all.iter().find(|case| case.id == *id).context("no such case")?;
        try_case(lab, name, way, case).with_context(|| format!("{id} {way:?}"))?;
    }
    Ok(())
}

fn try_case(lab: &Arc<Lab>, name: &str, way: Way, case: &Case) -> Result<()> {
    let canary = Canary::new();
    let archives = case.archives(&canary);
    let mut build = lab.build(&format!("hostile-{name}"))?.file("marker", "marker\n")?;
    // The server lives as long as the build.
    let server = HttpServer::start(base_image::served("hostile/image", &archives));
    let host = server.url("").replace("http://", "");
    let image = format!("{host}/hostile/image:latest");
    let text = match way {
        Way::Layers => format!("FROM {image}\nCOPY marker /marker\n"),
        Way::CopyFrom => format!("FROM scratch\nCOPY --from={image} / /out/\n"),
        Way::Add | Way::Context => {
            let mut text = "FROM scratch\n".to_owned();
            for (at, archive) in archives.iter().enumerate() {
                build = build.file(&format!("{at}.tar"), archive)?;
                text += &format!("ADD {at}.tar /dest/\n");
            }
            text
        }
    };
    let build = build.dockerfile(&text)?.deadline(Duration::from_secs(60));
    let outcome = into_archive(build).run()?;
    canary.is_untouched().map_err(anyhow::Error::msg)?;
    judge(&outcome, case.expected(way))?;
    forget(&outcome.directory)
}

fn judge(outcome: &Outcome, expected: Expected) -> Result<()> {
    let text = &outcome.finished.stderr;
    ensure!(!text.contains("panicked"), "it panicked: {}", outcome.text());
    ensure!(!text.contains('\x1b'), "an escape sequence came through: {}", outcome.text());
    match (outcome.finished.code, expected) {
        (Some(0), Expected::Accept | Expected::Contain) => Ok(()),
        (Some(1), Expected::Reject | Expected::Contain) => {
            // An error that names what it is about, and nothing that looks like an image.
            outcome.failed(1, &["error: ", "`"])?.wrote_none_of(&["image.tar"])?;
            let builds = std::fs::read_dir(outcome.directory.join("state/builds"))?;
            ensure!(builds.count() == 0, "the build left its directory behind");
            Ok(())
        }
        _ => bail!("{expected:?} was expected: {}", outcome.text()),
    }
}

/// Many builds would fill the lab.
fn forget(directory: &Path) -> Result<()> {
    ensure!(directory.starts_with(std::env::temp_dir()), "not ours: {}", directory.display());
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
