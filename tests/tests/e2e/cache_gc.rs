//! `executor cache gc`: caches that builds filled, made smaller.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::{Finished, Lab, tool};

use crate::{Test, root_test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("cache_gc::what_builds_kept_goes_and_comes_again", both),
        test("cache_gc::what_cannot_be_done_is_an_error", refused),
    ]
}

fn collect(lab: &Lab, arguments: &[&str]) -> Result<Finished> {
    tool(lab.executor()).args(["cache", "gc"]).args(arguments).finish()
}

/// How many of a directory's entries are ours to look at.
fn count(path: &Path, wanted: fn(&str) -> bool) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(path)? {
        count += usize::from(wanted(&entry?.file_name().to_string_lossy()));
    }
    Ok(count)
}

fn both(lab: &Arc<Lab>) -> Result<()> {
    let volume = lab.scratch("cache-gc")?;
    let (directory, layouts) = (volume.join("directory"), volume.join("layouts"));
    let near = format!("--layer-cache-dir={}", directory.display());
    let far = format!("--cache-repo=oci:{}", layouts.display());
    // Enough for a file that is found again by its layer.
    let build = |name: &str| {
        lab.build(name)?
            .dockerfile("FROM scratch\nCOPY a /a\nCOPY b /b\n")?
            .file("a", "a")?
            .file("b", "b")?
            .arg("--cache")
            .arg(&near)
            .arg(&far)
            .arg("--no-push")
            .run()
    };
    build("cache-gc-cold")?.succeeded()?;
    let is_entry = |name: &str| name.len() == "layouts:".len() + 64;
    let kept = count(&layouts.with_file_name(""), is_entry)?;
    ensure!(kept >= 2, "{kept} layouts");
    let warm = build("cache-gc-warm")?;
    warm.succeeded()?;
    ensure!(!warm.cached().is_empty(), "{}", warm.text());

    // Nothing is old, and nothing too much.
    let all = [near.as_str(), far.as_str(), "--max-age=100h", "--max-bytes=1GiB"];
    let finished = collect(lab, &all)?;
    ensure!(finished.code == Some(0), "{}", finished.stderr);
    ensure!(finished.stdout.matches("removed 0 entries and").count() == 2, "{}", finished.stdout);
    ensure!(count(&layouts.with_file_name(""), is_entry)? == kept);

    let finished = collect(lab, &[&near, &far, "--max-bytes=0"])?;
    ensure!(finished.code == Some(0), "{}", finished.stderr);
    let told = finished.stdout.lines().filter(|line| line.contains(" bytes, last used 20")).count();
    ensure!(told >= 2 * kept, "{}", finished.stdout);
    let none_left = finished.stdout.matches("0 entries and 0 bytes stay").count();
    ensure!(none_left == 2, "{}", finished.stdout);
    ensure!(count(&layouts.with_file_name(""), is_entry)? == 0);
    ensure!(count(&directory.join("blobs/sha256"), |_| true)? == 0);

    let again = build("cache-gc-again")?;
    again.succeeded()?;
    ensure!(again.cached().is_empty(), "{}", again.text());
    Ok(())
}

fn refused(lab: &Arc<Lab>) -> Result<()> {
    let volume = lab.scratch("cache-gc-refused")?;
    std::fs::write(volume.join("file"), b"")?;
    let file = format!("--layer-cache-dir={}", volume.join("file").display());
    let nowhere = format!("--layer-cache-dir={}", volume.join("nowhere").display());
    for (arguments, code, text) in [
        (&["--max-bytes=1"][..], 1, "needs --layer-cache-dir or --cache-repo"),
        (&[nowhere.as_str()][..], 1, "needs --max-bytes or --max-age"),
        (&["--max-bytes=1", "--cache-repo=r.example/c"][..], 1, "its registry's own retention"),
        (&["--max-bytes=1", file.as_str()][..], 1, "error collecting the cache: cannot open"),
        (&["--max-bytes=1", nowhere.as_str()][..], 0, ""),
    ] {
        let finished = collect(lab, arguments)?;
        ensure!(finished.code == Some(code), "{arguments:?}: {}", finished.stderr);
        ensure!(finished.stderr.contains(text), "{arguments:?}: {}", finished.stderr);
    }
    ensure!(!volume.join("nowhere").exists());
    Ok(())
}
