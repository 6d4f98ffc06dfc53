//! `ADD` of archives: below a directory, without whiteouts, with a note of what was made.

use layer::{Owners, UnpackOptions};
use testkit::ScratchRoot;
use testkit::tar_builder::TarBuilder;
use testkit::tree::{Shown, make, print_with};

use super::{chain, open, rooted};

/// Unpacks into `/dest`; says what was changed, and what is there.
fn check(archive: TarBuilder, changes: &[&str], tree: &[&str]) {
    let root = ScratchRoot::new();
    make(
        root.path(),
        "d 0711 /dest @1\nf 0644 /dest/old \"old\"\nd 0755 /dest/dir\nf 0644 /outside \"x\"",
    );
    let options = UnpackOptions { owners: Owners::One(0, 0), ..UnpackOptions::default() };
    let bytes = archive.end();
    let unpacked =
        layer::unpack(&open(root.path()), &rooted("/dest"), &bytes[..], &options, &|| false)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let found: Vec<_> = unpacked
        .changes
        .iter()
        .map(|change| match change {
            rootfs::Change::Upsert(path) => path.to_string(),
            rootfs::Change::Remove(path) => format!("-{path}"),
        })
        .collect();
    assert_eq!(found, changes);
    let shown = print_with(root.path(), Shown { owners: false, times: false });
    let below: Vec<_> = shown.lines().filter(|line| !line.contains("/outside")).collect();
    assert_eq!(below, tree);
}

#[test]
fn what_was_made_is_noted_and_the_destination_stays_as_it_is() {
    check(
        TarBuilder::new().dir("./", 0o700).file("./a", "a").file("sub/b", "b"),
        &["/dest/a", "/dest/sub", "/dest/sub/b"],
        &[
            "d 0711 /dest",
            r#"f 0644 /dest/a "a""#,
            "d 0755 /dest/dir",
            r#"f 0644 /dest/old "old""#,
            "d 0755 /dest/sub",
            r#"f 0644 /dest/sub/b "b""#,
        ],
    );
}

#[test]
fn names_of_whiteouts_are_just_names() {
    check(
        TarBuilder::new().file(".wh.old", "").file(".wh..wh..opq", ""),
        &["/dest/.wh..wh..opq", "/dest/.wh.old"],
        &[
            "d 0711 /dest",
            r#"f 0644 /dest/.wh..wh..opq """#,
            r#"f 0644 /dest/.wh.old """#,
            "d 0755 /dest/dir",
            r#"f 0644 /dest/old "old""#,
        ],
    );
}

#[test]
fn what_is_there_is_replaced_or_merged() {
    check(
        TarBuilder::new().file("dir", "now a file").dir("old", 0o700).hardlink("link", "dir"),
        &["/dest/dir", "/dest/link", "/dest/old"],
        &[
            "d 0711 /dest",
            r#"f 0644 /dest/dir "now a file""#,
            "h /dest/link = /dest/dir",
            "d 0700 /dest/old",
        ],
    );
}

#[test]
fn links_are_followed_inside_the_image() {
    check(
        TarBuilder::new().symlink("l", "/dest/dir").file("l/x", "x"),
        &["/dest/dir/x", "/dest/l"],
        &[
            "d 0711 /dest",
            "d 0755 /dest/dir",
            r#"f 0644 /dest/dir/x "x""#,
            "l 0777 /dest/l -> /dest/dir",
            r#"f 0644 /dest/old "old""#,
        ],
    );
}

#[test]
fn root_an_owner_may_be_imposed() {
    if !testkit::require_root("owners") {
        return;
    }
    let root = ScratchRoot::new();
    let bytes = TarBuilder::new().file("a/b", "").symlink("s", "a").end();
    let options = UnpackOptions { owner: Some((7, 8)), ..UnpackOptions::default() };
    layer::unpack(&open(root.path()), &rooted("/"), &bytes[..], &options, &|| false)
        .expect("a usual archive");
    assert_eq!(
        testkit::tree::print(root.path()),
        "d 0755 7:8 /a\nf 0644 7:8 /a/b \"\"\nl 0777 7:8 /s -> a\n"
    );
}
