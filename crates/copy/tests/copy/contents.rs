//! What is in files: sources that change, disks that are full, stops, many files by many threads.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::{in_private_mounts, mount_tmpfs, mount_tmpfs_with, tree};

use crate::{Trees, can_run, compare};

/// More than is copied between two questions whether to stop.
const LONG: usize = 20 << 20;

/// A context with one long file; its host path.
fn long_file() -> (Trees, PathBuf) {
    let trees = Trees::new("f 0644 /long \"\"", "");
    let path = trees.context.path().join("long");
    std::fs::write(&path, vec![7; LONG]).expect("because there is room");
    (trees, path)
}

/// Copies the long file and lets `meddle` happen once its copy has begun, which is when the
/// question whether to stop comes and something of the copy is there.
fn meddled(meddle: impl Fn(&Path) + Sync, stopped: bool) -> String {
    let (trees, path) = long_file();
    let copy = trees.root.path().join("x");
    let done = AtomicU32::new(0);
    let stop = || {
        let begun = std::fs::metadata(&copy).is_ok_and(|copy| copy.len() > 0);
        if begun && done.fetch_add(1, Ordering::Relaxed) == 0 {
            meddle(&path);
        }
        begun && stopped
    };
    let result = trees.changes("COPY long /x", &stop);
    assert_eq!(done.load(Ordering::Relaxed).min(1), 1, "the copy was never seen half done");
    match result {
        Ok(changes) => format!("{} changes", changes.len()),
        Err(error) => error.to_string(),
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).expect("because it is ours")
}

#[test]
fn root_a_source_that_changes_is_an_error_that_names_it() {
    if !can_run() {
        return;
    }
    let changed = "`/long` was changed while it was copied";
    let grown = |path: &Path| open(path).set_len(LONG as u64 + 1).expect("because there is room");
    assert_eq!(meddled(grown, false), changed);
    let shrunk = |path: &Path| open(path).set_len(5).expect("because it is ours");
    assert_eq!(meddled(shrunk, false), changed);
    let rewritten = |path: &Path| {
        let file = open(path);
        let before = file.metadata().and_then(|metadata| metadata.modified());
        file.write_all_at(b"other", 0).expect("because there is room");
        file.set_modified(before.expect("because Linux keeps it")).expect("because it is ours");
    };
    assert_eq!(meddled(rewritten, false), changed);
    assert_eq!(meddled(|_: &Path| {}, false), "1 changes");
}

#[test]
fn root_a_stop_is_obeyed_inside_a_long_file() {
    if !can_run() {
        return;
    }
    assert_eq!(meddled(|_: &Path| {}, true), "copying was stopped");
}

/// Copies into a tmpfs of this kind; the failure, with its cause.
fn into_small(options: &str, context: &str, instruction: &str) -> String {
    let trees = Trees::new(context, "");
    in_private_mounts(|| {
        mount_tmpfs_with(trees.root.path(), options);
        trees.run(instruction).expect_err("because it is too small")
    })
}

#[test]
fn root_a_full_disk_is_an_error_that_names_the_copy() {
    if !can_run() {
        return;
    }
    let no_space = "No space left on device (os error 28)";
    let long = "f 0644 /d/a \"x\"\n f 0644 /d/b \"x\"*2000000";
    let cases = [
        ("size=1m", long, "COPY d /x", "error: cannot write the content of `/x/b`"),
        ("size=1m", long, "COPY d/b /y", "error: cannot write the content of `/y`"),
        ("size=1m,nr_inodes=3", long, "COPY d /x", "error: cannot create `/x/b`"),
        (
            "size=1m,nr_inodes=3",
            "d 0755 /d/a/b",
            "COPY d /x",
            "error: cannot create the directory `/x/a/b`",
        ),
        (
            "size=1m,nr_inodes=2",
            "l 0777 /d/a -> b",
            "COPY d /x",
            "error: cannot create the link `/x/a`",
        ),
    ];
    for (options, context, instruction, expected) in cases {
        let found = into_small(options, context, instruction);
        assert_eq!(found, format!("{expected}: {no_space}"), "{options} {instruction}");
    }
}

/// Runs a test whose scratch roots lie in memory: some file systems make thousands of files slowly.
pub(crate) fn in_memory(test: impl FnOnce() + Send) {
    in_private_mounts(|| {
        mount_tmpfs(&std::env::temp_dir());
        test();
    });
}

/// A tree with more files than one thread copies alone, links among them and between directories.
fn many() -> String {
    let mut text = String::from("d 0755 /d @1000000000\n");
    for directory in 0..6 {
        text.push_str(&format!("d 0755 /d/{directory} @1000000001.5\n"));
        for file in 0..200 {
            let place = format!("/d/{directory}/{file:03}");
            text.push_str(&format!("f 0640 1:2 {place} \"{directory}{file}\" @1000000002\n"));
        }
        text.push_str(&format!("f 4711 3:4 /d/{directory}/set \"s\" @1000000003\n"));
        text.push_str(&format!("l 0777 /d/{directory}/link -> 000 @1000000004\n"));
        text.push_str(&format!("h /d/{directory}/z = /d/0/set\n").repeat((directory > 0).into()));
    }
    text
}

#[test]
fn root_the_number_of_threads_does_not_matter() {
    if !can_run() {
        return;
    }
    in_memory(|| {
        let shown = tree::Shown { owners: true, times: true };
        for instruction in
            ["COPY --from=0 d /x", "COPY --from=0 --link d /x", "COPY --chown=7 d /x"]
        {
            let mut results = Vec::new();
            for threads in [1, 2, 8] {
                let mut trees = Trees::new(&many(), "d 0755 /x/3\n f 0600 /x/3/100 \"old\"");
                trees.threads = threads;
                let layer = trees.run(instruction).expect("because nothing is in the way");
                let whole = tree::print_with(trees.root.path(), shown);
                assert_eq!(layer.lines().count(), 1 + 6 * 203 + 5, "{instruction}: {layer}");
                results.push((layer, whole));
            }
            assert!(results[0].1.contains("h /x/5/z = /x/0/set"), "{}", results[0].1);
            assert!(results.iter().all(|result| *result == results[0]), "{instruction}");
        }
    });
}

#[test]
fn root_the_first_failure_is_told_by_any_number_of_threads() {
    if !can_run() {
        return;
    }
    in_memory(|| {
        for threads in [1, 2, 8] {
            let root = "d 0755 /x/1/150\n d 0755 /x/3/002\n d 0755 /x/3/001";
            let mut trees = Trees::new(&many(), root);
            trees.threads = threads;
            let error = trees.run("COPY d /x").expect_err("because directories are in the way");
            assert_eq!(error, "error: cannot replace to directory /x/1/150 with file");
        }
    });
}

#[test]
fn root_attributes_of_every_kind_of_file_are_kept() {
    if !can_run() {
        return;
    }
    let capability =
        r"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let of = |owner: &str, top: &str| {
        format!(
            "d 0755 {owner} {top} user.d=\"d\"\n f 4755 {owner} {top}/f \"f\" \
             security.capability=\"{capability}\" user.f=\"f\"\n l 0777 {owner} {top}/l -> f \
             trusted.l=\"l\"\n c 0666 {owner} {top}/n 1:3 trusted.n=\"n\"\n p 0600 {owner} {top}/p \
             trusted.p=\"p\""
        )
    };
    let trees = Trees::new(&of("1:2", "/t/d"), "");
    compare(
        &trees.run("COPY --from=0 t /x").unwrap_or_else(|error| error),
        "COPY --from=0",
        &format!("d 0755 0:0 /x\n {}", of("1:2", "/x/d")),
    );
    compare(
        &trees.run("COPY --chown=9 t /y").unwrap_or_else(|error| error),
        "COPY --chown",
        &format!("d 0755 9:9 /y\n {}", of("9:9", "/y/d")),
    );
}

#[test]
fn root_files_that_are_as_they_should_be_are_not_written_again() {
    if !can_run() {
        return;
    }
    let trees = Trees::new("f 0644 0:0 /d/a \"a\"\n f 0644 0:0 /d/b \"b\"", "");
    let copied = |name: &str| {
        let found = std::fs::metadata(trees.root.path().join("x").join(name));
        found.expect("because it was copied").ino()
    };
    trees.run("COPY d /x").expect("because nothing is in the way");
    let before = copied("a");
    std::fs::write(trees.context.path().join("d/b"), "c").expect("because it is ours");
    let layer = trees.run("COPY d /x").expect("because nothing is in the way");
    compare(&layer, "COPY d /x again", "d 0755 0:0 /x\n f 0644 0:0 /x/b \"c\"");
    assert_eq!(copied("a"), before);
}
