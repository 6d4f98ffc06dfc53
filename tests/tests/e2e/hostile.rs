//! Hostile archives through the real program: as layers of a base image, through `COPY --from`,
//! and by `ADD`. The worst of `testkit::hostile`; the tests of `layer` and `copy` try all of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kaniko_tests::{Lab, Outcome};
use testkit::base_image;
use testkit::hostile::{Canary, Case, Outcome as Expected, Way, cases};
use testkit::http_server::HttpServer;

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
    [("layers", Way::Layers), ("copy_from", Way::CopyFrom), ("add", Way::Add)]
        .map(|(name, way)| {
            root_test(format!("hostile::archives_as_{name}"), move |lab| try_all(lab, name, way))
        })
        .into()
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
