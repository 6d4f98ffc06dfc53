//! The warmer and builds that use what it fetched: without a registry, with a damaged cache, on
//! volumes that are full, read-only, or everybody's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Finished, Lab, Outcome, tool};
use testkit::base_image;
use testkit::fault::{FaultRegistry, Subject};

use crate::{Test, root_test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("warmer::a_real_registry_is_asked_one_question", one_question),
        root_test("warmer::a_build_with_a_warm_cache_fetches_no_layer", warm),
        root_test("warmer::a_build_without_its_registry", offline),
        root_test("warmer::damage_is_found_and_fetched_again", damaged),
        root_test("warmer::volumes_that_cannot_be_written", volumes),
        root_test("warmer::a_directory_of_everybody", everybodys),
    ]
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A registry with busybox as `base`, and a cache that a warmer filled from it.
struct Warm {
    lab: Arc<Lab>,
    registry: FaultRegistry,
    cache: PathBuf,
    digest: String,
}

impl Warm {
    fn new(lab: &Arc<Lab>) -> Result<Warm> {
        let registry = FaultRegistry::start();
        let busybox = base_image::busybox_tar().map_err(anyhow::Error::msg)?;
        let more = testkit::tar_builder::TarBuilder::new().file("more", "more\n").end();
        base_image::store(&registry, "base", &[busybox, more]);
        let digest = registry.tag("base", "latest").context("because it was put there")?;
        let cache = lab.scratch("cache")?;
        let warm = Warm { lab: Arc::clone(lab), registry, cache, digest };
        let image = format!("--image={}", warm.name());
        let finished = warmer(lab, &warm.cache, &[&image])?;
        ensure!(finished.code == Some(0), "{}", finished.stderr);
        Ok(warm)
    }

    fn name(&self) -> String {
        format!("{}/base", self.registry.host())
    }

    fn entry(&self) -> PathBuf {
        self.cache.join(&self.digest)
    }

    /// The entry's largest blob: the layer with busybox.
    fn layer(&self) -> Result<PathBuf> {
        let blobs = std::fs::read_dir(self.entry().join("blobs/sha256"))?;
        let blobs = blobs.map(|blob| {
            let blob = blob?;
            Ok((blob.metadata()?.len(), blob.path()))
        });
        let blobs = blobs.collect::<Result<Vec<_>>>()?;
        Ok(blobs.into_iter().max().context("there is no blob")?.1)
    }

    /// A build from the image, which copies from it too; nothing of other builds is there.
    fn build(&self, image: &str, arguments: &[&str]) -> Result<Outcome> {
        let text = format!(
            "ARG REGISTRY\nFROM {image}\nRUN [\"/bin/busybox\", \"test\", \"-e\", \"/more\"]\n\
             COPY --from={image} /more /again\n"
        );
        let mut build = self.lab.build("warm")?.dockerfile(&text)?;
        let own = build.directory.join("layers");
        build = build.arg("--cache").arg(format!("--cache-repo=dir:{}", own.display()));
        for argument in arguments {
            build = build.arg(*argument);
        }
        build.arg(format!("--cache-dir={}", self.cache.display())).push().run()
    }

    /// The entry was fetched that long ago.
    fn age(&self, by: Duration) -> Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(self.entry().join("index.json"))?;
        Ok(file.set_modified(SystemTime::now() - by)?)
    }
}

fn warmer(lab: &Arc<Lab>, cache: &Path, arguments: &[&str]) -> Result<Finished> {
    tool(lab.executor().with_file_name("warmer"))
        .arg(format!("--cache-dir={}", cache.display()))
        .arg("--log-format=text")
        .args(arguments)
        .finish()
}

fn one_question(lab: &Arc<Lab>) -> Result<()> {
    let registry = testkit::registry::Registry::start().map_err(anyhow::Error::msg)?;
    tool("skopeo")
        .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .arg(format!("docker://{}/busybox", lab.host()))
        .arg(format!("docker://{}/busybox", registry.host()))
        .read()?;
    let cache = lab.scratch("cache")?.join("new/directory");
    let image = format!("--image={}/busybox", registry.host());
    let warm = |arguments: &[&str]| -> Result<(Finished, Vec<String>)> {
        let before = registry.requests().len();
        let finished = warmer(lab, &cache, &[&[image.as_str()], arguments].concat())?;
        ensure!(finished.code == Some(0), "{}", finished.stderr);
        // What is asked of any registry first is no question about an image.
        let asked = registry.requests().split_off(before).into_iter();
        Ok((finished, asked.filter(|line| !line.contains("/v2/ ")).collect()))
    };
    let gets = |asked: &[String]| asked.iter().filter(|line| line.contains("GET ")).count();
    let (first, asked) = warm(&[])?;
    ensure!(first.stderr.contains("1 layers, "), "{}", first.stderr);
    ensure!(gets(&asked) == 3, "{asked:?}");
    let (second, asked) = warm(&[])?;
    ensure!(second.stderr.contains("Image already in cache: "), "{}", second.stderr);
    ensure!(asked.len() == 1 && asked[0].contains("HEAD "), "{asked:?}");
    let (_, asked) = warm(&["--force"])?;
    ensure!(gets(&asked) == 3, "{asked:?}");
    // At once too old: the manifest and the config come again, and the layer is compared.
    let (third, asked) = warm(&["--cache-ttl=1ns"])?;
    ensure!(third.stderr.contains("none had to be fetched"), "{}", third.stderr);
    ensure!(gets(&asked) == 2, "{asked:?}");
    // Others read it as an OCI layout.
    let entries = std::fs::read_dir(&cache)?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_entry = |path: &PathBuf| path.to_string_lossy().contains("/sha256:");
    let entry = entries.into_iter().find(is_entry).context("there is no entry")?;
    // skopeo takes what is behind a colon for a tag.
    let plain = cache.join("plain");
    std::os::unix::fs::symlink(&entry, &plain)?;
    tool("skopeo").args(["inspect", &format!("oci:{}", plain.display())]).read()?;
    Ok(())
}

fn warm(lab: &Arc<Lab>) -> Result<()> {
    let warm = Warm::new(lab)?;
    let blobs = warm.registry.count(Subject::BlobGet);
    let gets = warm.registry.count(Subject::ManifestGet);
    let found = format!("Found {} in local cache", warm.digest);
    let pinned = format!("{}@{}", warm.name(), warm.digest);
    for (image, heads) in [(warm.name(), 1), (pinned, 0)] {
        let before = warm.registry.count(Subject::ManifestHead);
        let outcome = warm.build(&image, &[])?;
        outcome.succeeded()?;
        ensure!(outcome.finished.stderr.contains(&found), "{}", outcome.text());
        ensure!(!outcome.finished.stderr.contains("level=warning"), "{}", outcome.text());
        ensure!(warm.registry.count(Subject::ManifestHead) == before + heads, "{image}");
        ensure!(warm.registry.count(Subject::ManifestGet) == gets, "{image}");
        ensure!(warm.registry.count(Subject::BlobGet) == blobs, "{image}");
        ensure!(outcome.image()?.tree()?.contains_key("/again"), "{}", outcome.text());
    }
    // What is too old is not there, and without --cache nothing is.
    for arguments in [&["--cache-ttl=1ns"][..], &["--cache=false"]] {
        let before = warm.registry.count(Subject::BlobGet);
        let outcome = warm.build(&warm.name(), arguments)?;
        outcome.succeeded()?;
        ensure!(!outcome.finished.stderr.contains(&found), "{}", outcome.text());
        ensure!(warm.registry.count(Subject::BlobGet) > before, "{}", outcome.text());
    }
    Ok(())
}

fn offline(lab: &Arc<Lab>) -> Result<()> {
    let warm = Warm::new(lab)?;
    let (name, pinned) = (warm.name(), format!("{}@{}", warm.name(), warm.digest));
    let denied = format!("--denied-registries={}", warm.registry.host());
    let Warm { lab, registry, cache, digest } = warm;
    drop(registry);
    // The name of a registry that is not there any more.
    let warm = Warm { lab, registry: FaultRegistry::start(), cache, digest };
    let unknown = "without knowing whether that is still what it leads to";
    let by_name = warm.build(&name, &[])?;
    by_name.succeeded()?;
    ensure!(by_name.finished.stderr.contains(unknown), "{}", by_name.text());
    let by_digest = warm.build(&pinned, &[])?;
    by_digest.succeeded()?;
    ensure!(!by_digest.finished.stderr.contains("level=warning"), "{}", by_digest.text());
    let tree = by_name.image()?.tree()?;
    ensure!(tree.contains_key("/again"), "{tree:?}");

    let refused = warm.build(&name, &[&denied])?;
    refused.failed(1, &["may not be used", "is denied"])?;
    let other = warm.build(&format!("{name}:other"), &[])?;
    other.failed(1, &["cannot resolve image"])?;
    for (age, code) in [(WEEK, Some(0)), (3 * WEEK, Some(1))] {
        warm.age(age)?;
        for image in [&name, &pinned] {
            let outcome = warm.build(image, &[])?;
            ensure!(outcome.finished.code == code, "{image} {age:?}: {}", outcome.text());
        }
    }
    Ok(())
}

fn damaged(lab: &Arc<Lab>) -> Result<()> {
    let warm = Warm::new(lab)?;
    let layer = warm.layer()?;
    let good = std::fs::read(&layer)?;
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let canary = testkit::tar_builder::TarBuilder::new().file("canary", "canary\n").end();
    let other = testkit::tar_builder::gzip(&canary);
    let ignored = "in the base image cache ignored";
    let entry = "entry of the base image cache ignored";
    for (bytes, warning) in
        [(&flipped[..], ignored), (&other, entry), (&good[..good.len() / 2], entry), (b"", entry)]
    {
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(&layer)?;
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0)?;
        let outcome = warm.build(&warm.name(), &[])?;
        outcome.succeeded()?;
        let stderr = &outcome.finished.stderr;
        // The image is there once, though two things are wanted of it.
        ensure!(stderr.matches(warning).count() == 1, "`{warning}`: {}", outcome.text());
        let tree = outcome.image()?.tree()?;
        ensure!(tree.contains_key("/again") && !tree.contains_key("/canary"), "{tree:?}");
    }
    // The warmer mends it.
    let image = format!("--image={}", warm.name());
    let finished = warmer(lab, &warm.cache, &[&image])?;
    ensure!(finished.stderr.contains("Cached "), "{}", finished.stderr);
    ensure!(std::fs::read(warm.layer()?)? == good, "{}", finished.stderr);
    Ok(())
}

fn volumes(lab: &Arc<Lab>) -> Result<()> {
    let warm = Warm::new(lab)?;
    let image = format!("--image={}", warm.name());
    let program = lab.executor().with_file_name("warmer");
    let volume = lab.scratch("volume")?;
    // In a mount namespace of its own, which goes with it.
    let on = |options: &str, then: &str| -> Result<Finished> {
        let script = format!(
            "mount -t tmpfs {options} none \"$0\" && {{ {then} \"$@\"; code=$?; \
             find \"$0\" -name '[0-9]*-[0-9]*' -o -name index.json; exit $code; }}"
        );
        tool("unshare")
            .args(["--mount", "sh", "-c", &script])
            .arg(&volume)
            .arg(&program)
            .args(["--log-format=text", &image, "--cache-dir"])
            .arg(&volume)
            .finish()
    };
    let full = on("-o size=256k", "")?;
    ensure!(full.code == Some(1), "{full:?}");
    ensure!(full.stderr.contains("No space left on device"), "{}", full.stderr);
    // Nothing half-written stays.
    let expected = "failed warming cache: failed to warm any of the given images\n";
    ensure!(full.stdout == expected, "{}", full.stdout);
    let locked = on("-o size=64m", "mount -o remount,ro \"$0\";")?;
    ensure!(locked.code == Some(1), "{locked:?}");
    ensure!(locked.stderr.contains("Read-only file system"), "{}", locked.stderr);

    // A cache that cannot be written is good enough where all is there; builds never write to it.
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";
    let read_only = || tool("unshare").args(["--mount", "sh", "-c", script]).arg(&warm.cache);
    let present = read_only().arg(&program).arg(&image).arg("--cache-dir").arg(&warm.cache);
    let present = present.finish()?;
    ensure!(present.code == Some(0), "{present:?}");
    let text = format!("FROM {}\nCOPY --from={} /more /again2\n", warm.name(), warm.name());
    let build = lab.build("read-only")?.dockerfile(&text)?.push().arg("--cache");
    let build = build.arg(format!("--cache-dir={}", warm.cache.display()));
    let finished = build.command_by(read_only().arg(lab.executor())).finish()?;
    let outcome = build.ended(finished);
    outcome.succeeded()?;
    let found = format!("Found {} in local cache", warm.digest);
    ensure!(outcome.finished.stderr.contains(&found), "{}", outcome.text());
    Ok(())
}

fn everybodys(lab: &Arc<Lab>) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let warm = Warm::new(lab)?;
    let image = format!("--image={}", warm.name());
    let warning = "everybody may write to the base image cache";
    for (mode, owner, warned) in
        [(0o755, 12_345, false), (0o777, 0, false), (0o777, 12_345, true), (0o1777, 12_345, true)]
    {
        std::fs::set_permissions(&warm.cache, std::fs::Permissions::from_mode(mode))?;
        std::os::unix::fs::chown(&warm.cache, Some(owner), None)?;
        let finished = warmer(lab, &warm.cache, &[&image])?;
        ensure!(finished.code == Some(0), "{}", finished.stderr);
        ensure!(finished.stderr.contains(warning) == warned, "{mode:o}: {}", finished.stderr);
    }
    let outcome = warm.build(&warm.name(), &[])?;
    outcome.succeeded()?;
    ensure!(outcome.finished.stderr.contains(warning), "{}", outcome.text());
    Ok(())
}
