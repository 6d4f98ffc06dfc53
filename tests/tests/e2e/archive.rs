//! A build into a docker archive, read back without any code of ours.

use anyhow::{Error, Result, ensure};
use kaniko_tests::{Build, Outcome, tool};
use testkit::layout::{ReadImage, read_docker_archive};

/// A finished build and its image.
pub(crate) struct Archived {
    /// How the executor ended, and what it wrote.
    pub(crate) outcome: Outcome,
    /// The image of the archive.
    pub(crate) image: ReadImage,
}

/// The build with a docker archive as its only output.
pub(crate) fn into_archive(build: Build) -> Build {
    let archive = format!("--tar-path={}", build.directory.join("image.tar").display());
    build.arg(archive).arg("--no-push").arg("--destination=example.test/e2e:latest")
}

/// Reads what a build that was made by [`into_archive`] left.
pub(crate) fn read(outcome: Outcome) -> Result<Archived> {
    outcome.succeeded()?;
    let image = read_docker_archive(&outcome.directory.join("image.tar")).map_err(Error::msg)?;
    Ok(Archived { outcome, image })
}

impl Archived {
    /// Wants these files: the start of a line in tree notation each, or `! PATH` for what must not
    /// be there.
    pub(crate) fn holds(&self, expected: &[&str]) -> Result<()> {
        let tree = self.image.tree().map_err(Error::msg)?;
        for line in expected {
            let (right, wanted) = match line.strip_prefix("! ") {
                Some(path) => {
                    let names = |line: &str| line.split(' ').any(|word| word == path);
                    (!tree.lines().any(names), "should not be there")
                }
                None => (tree.lines().any(|found| found.starts_with(line)), "is missing"),
            };
            ensure!(right, "`{line}` {wanted}:\n{}\n{}", new_files(&tree), self.outcome.text());
        }
        Ok(())
    }

    /// The members of the last layer with their times, as GNU tar lists them.
    pub(crate) fn last_layer(&self) -> Result<String> {
        let path = self.outcome.directory.join("last-layer.tar");
        let layer = self.image.layers.last().map(Vec::as_slice).unwrap_or_default();
        std::fs::write(&path, layer)?;
        tool("tar").args(["--utc", "--full-time", "--numeric-owner", "-tvf"]).arg(&path).read()
    }
}

/// The tree without the links of busybox, which would hide the rest.
fn new_files(tree: &str) -> String {
    let lines =
        tree.lines().filter(|line| !line.contains("busybox") && !line.starts_with("h /bin/"));
    lines.collect::<Vec<_>>().join("\n")
}
