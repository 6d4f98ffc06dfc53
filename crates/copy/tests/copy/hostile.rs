//! Trees made to break out: nothing outside the roots is read or written.

use testkit::ScratchRoot;

use crate::{Trees, can_run, compare};

/// A directory outside both roots that must never be seen or touched.
fn canary() -> (ScratchRoot, String) {
    let scratch = ScratchRoot::with("f 0600 0:0 /secret \"secret\"\n d 0700 0:0 /d");
    let path = scratch.path().display().to_string();
    (scratch, path)
}

const UNTOUCHED: &str = "d 0700 0:0 /d\n f 0600 0:0 /secret \"secret\"";

#[test]
fn root_source_links_stay_inside_their_tree() {
    if !can_run() {
        return;
    }
    let (scratch, outside) = canary();
    let climb = "../".repeat(24);
    let trees = Trees::new(
        &format!(
            "l 0777 /abs -> {outside}\n l 0777 /rel -> {climb}{outside}\n d 0755 /d\n \
             l 0777 /d/in -> {outside}/secret\n l 0777 /proc -> /proc/self/root{outside}"
        ),
        "",
    );
    for source in ["abs", "rel", "abs/secret", "rel/secret", "proc/secret", "d/in"] {
        for flags in ["", "--from=0 ", "--parents "] {
            let result = trees.run(&format!("COPY {flags}{source} /x/"));
            let shown = result.unwrap_or_else(|error| error);
            assert!(!shown.contains("\"secret\""), "{flags}{source}: {shown}");
        }
    }
    let result = trees.run("COPY * /y/").unwrap_or_else(|error| error);
    assert!(result.contains(" -> ") && !result.contains("\"secret\""), "{result}");
    compare(&testkit::tree::print(scratch.path()), "outside", UNTOUCHED);
}

#[test]
fn root_destination_links_stay_inside_the_root() {
    if !can_run() {
        return;
    }
    let (scratch, outside) = canary();
    let climb = "../".repeat(24);
    for instruction in [
        "COPY a /l",
        "COPY a /l/",
        "COPY a /l/new/deep",
        "COPY t /l",
        "COPY t /",
        "COPY <<secret /l/",
        "COPY --chown=1:1 --chmod=777 t /l/d",
        "COPY --link t /l",
        "COPY --parents t/l/x /",
        "ADD t /l/",
    ] {
        for target in [outside.clone(), format!("{climb}{outside}"), "/proc/self/root".to_owned()] {
            let trees = Trees::new(
                "f 0644 /a \"pwn\"\n f 0644 /t/l/x \"pwn\"\n f 0644 /t/secret \"pwn\"",
                &format!("l 0777 0:0 /l -> {target}"),
            );
            drop(trees.run(instruction));
            let what = format!("{instruction} with {target}");
            compare(&testkit::tree::print(scratch.path()), &what, UNTOUCHED);
        }
    }
}

#[test]
fn root_files_behind_links_are_never_written_through() {
    if !can_run() {
        return;
    }
    let (scratch, outside) = canary();
    let trees = Trees::new(
        "f 0644 /t/secret \"pwn\"\n f 0644 /t/two \"pwn\"",
        &format!("d 0755 0:0 /x\n l 0777 0:0 /x/secret -> {outside}/secret"),
    );
    let secret = scratch.path().join("secret");
    let linked = std::fs::hard_link(secret, trees.root.path().join("x/two"));
    assert!(linked.is_ok(), "both are on one file system");
    let layer = "d 0755 0:0 /x\n f 0644 0:0 /x/secret \"pwn\"\n f 0644 0:0 /x/two \"pwn\"";
    compare(&trees.run("COPY t /x").unwrap_or_else(|error| error), "COPY t /x", layer);
    compare(&testkit::tree::print(scratch.path()), "outside", UNTOUCHED);
}

#[test]
fn root_a_pipe_is_copied_without_being_read() {
    if !can_run() {
        return;
    }
    let trees = Trees::new("p 0600 /t/pipe\n s 0600 /t/socket", "");
    let layer = "d 0755 0:0 /x\n p 0600 0:0 /x/pipe";
    compare(&trees.run("COPY t /x").unwrap_or_else(|error| error), "COPY t /x", layer);
    compare(&trees.run("ADD t/pipe /y").unwrap_or_else(|error| error), "ADD", "p 0600 0:0 /y");
}

#[test]
fn root_deep_trees_are_copied() {
    if !can_run() {
        return;
    }
    let deep = "d/".repeat(300);
    let trees = Trees::new("", "");
    let context = rootfs::RootDir::open(trees.context.path()).expect("because it is there");
    let path = rootfs::RootPath::new(&deep).expect("because 300 directories are allowed");
    assert!(context.create_dir_all(&path, 0o755).is_ok());
    let changes = trees.changes("COPY . /x", &|| false).expect("because depth is no problem");
    assert_eq!(changes.len(), 301);
}
