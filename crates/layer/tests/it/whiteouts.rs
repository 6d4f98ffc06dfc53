//! What whiteouts remove, whatever the order they stand in.

use testkit::ScratchRoot;
use testkit::tar_builder::{Member, TarBuilder};
use testkit::tree::{Shown, make, print_with};

use super::{apply_as_anyone, chain, rooted, write};

const LOWER: &str = r#"
    d 0755 /etc @5
    f 0644 /etc/passwd "root" @5
    f 0644 /etc/keep "keep" @5
    d 0700 /etc/dir @5
    f 0644 /etc/dir/old "old" @5
    f 0644 /top "top" @5
"#;

fn print(root: &ScratchRoot) -> String {
    print_with(root.path(), Shown { owners: false, times: false })
}

/// Applies `layer` over [`LOWER`] and compares; the time of `/etc` never moves.
fn check(layer: TarBuilder, expected: &[&str]) {
    let root = ScratchRoot::new();
    make(root.path(), LOWER);
    apply_as_anyone(root.path(), &layer.end()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(print(&root).lines().collect::<Vec<_>>(), expected);
    if let Ok(metadata) = root.path().join("etc").symlink_metadata() {
        let mtime = metadata.modified().expect("Linux has times");
        assert_eq!(mtime, std::time::UNIX_EPOCH + std::time::Duration::from_secs(5));
    }
}

#[test]
fn a_whiteout_removes_a_file_or_a_tree() {
    check(
        TarBuilder::new().file("etc/.wh.passwd", ""),
        &[
            "d 0755 /etc",
            "d 0700 /etc/dir",
            r#"f 0644 /etc/dir/old "old""#,
            r#"f 0644 /etc/keep "keep""#,
            r#"f 0644 /top "top""#,
        ],
    );
    check(TarBuilder::new().file(".wh.etc", ""), &[r#"f 0644 /top "top""#]);
    check(TarBuilder::new().file("etc/.wh.nope", "").file("no/.wh.x", ""), &LINES);
}

const LINES: [&str; 6] = [
    "d 0755 /etc",
    "d 0700 /etc/dir",
    r#"f 0644 /etc/dir/old "old""#,
    r#"f 0644 /etc/keep "keep""#,
    r#"f 0644 /etc/passwd "root""#,
    r#"f 0644 /top "top""#,
];

#[test]
fn opaque_hides_what_was_there_before_only() {
    check(TarBuilder::new().file(".wh..wh..opq", "").file("new", "n"), &[r#"f 0644 /new "n""#]);
    check(TarBuilder::new().file("new", "n").file(".wh..wh..opq", ""), &[r#"f 0644 /new "n""#]);
}

#[test]
fn the_order_of_whiteouts_does_not_matter() {
    let hidden = [
        "d 0755 /etc",
        "d 0755 /etc/dir",
        r#"f 0644 /etc/dir/new "new""#,
        r#"f 0644 /etc/keep "keep""#,
        r#"f 0644 /etc/passwd "root""#,
        r#"f 0644 /top "top""#,
    ];
    let whiteout = Member::file("etc/.wh.dir", "");
    let file = Member::file("etc/dir/new", "new");
    check(TarBuilder::new().member(&whiteout).member(&file), &hidden);
    check(TarBuilder::new().member(&file).member(&whiteout), &hidden);
    let opaque = Member::file("etc/dir/.wh..wh..opq", "");
    let dir = Member::new(b'5', "etc/dir").mode(0o755);
    check(TarBuilder::new().member(&dir).member(&opaque).member(&file), &hidden);
    check(TarBuilder::new().member(&file).member(&opaque).member(&dir), &hidden);
    check(TarBuilder::new().member(&opaque).member(&file).member(&dir), &hidden);
    let same = Member::file("etc/.wh.passwd", "");
    let again = Member::file("etc/passwd", "again");
    let mut replaced = LINES;
    replaced[4] = r#"f 0644 /etc/passwd "again""#;
    check(TarBuilder::new().member(&same).member(&again), &replaced);
    check(TarBuilder::new().member(&again).member(&same), &replaced);
}

#[test]
fn leftovers_of_aufs_mean_nothing() {
    let layer = TarBuilder::new()
        .dir(".wh..wh.plnk", 0o755)
        .file(".wh..wh.plnk/1.2", "x")
        .file(".wh..wh.aufs", "")
        .hardlink("etc/.wh.passwd", ".wh..wh.aufs");
    let mut lines = LINES.to_vec();
    lines.remove(4);
    check(layer, &lines);
}

#[test]
fn a_whiteout_follows_links_in_its_directory_inside_the_root() {
    let layer = TarBuilder::new().symlink("l", "/etc").file("l/.wh.passwd", "");
    let root = ScratchRoot::new();
    make(root.path(), LOWER);
    apply_as_anyone(root.path(), &layer.end()).expect("it stays inside");
    assert!(!root.path().join("etc/passwd").exists());
}

#[test]
fn whiteouts_of_long_names() {
    let name = "n".repeat(255);
    let root = ScratchRoot::new();
    make(root.path(), &format!("f 0644 /{name} \"x\""));
    let layer = TarBuilder::new().file(format!(".wh.{name}"), "").end();
    apply_as_anyone(root.path(), &layer).expect("a whiteout may be longer than a file's name");
    assert_eq!(print(&root), "");
}

#[test]
fn removals_and_replacements_are_written_and_applied() {
    let lower = ScratchRoot::new();
    make(lower.path(), LOWER);
    let upper = ScratchRoot::new();
    make(
        upper.path(),
        "d 0711 /etc\nd 0755 /etc/dir\nf 0644 /etc/dir/new \"new\"\nf 0600 /top \"t\"",
    );
    let mut changes = rootfs::ChangeSet::new();
    changes.remove(&rooted("/etc/passwd"));
    changes.remove(&rooted("/etc/dir"));
    changes.upsert(&rooted("/etc/dir"));
    changes.upsert(&rooted("/etc/dir/new"));
    changes.remove(&rooted("/top"));
    changes.upsert(&rooted("/top"));
    let options = layer::WriteOptions {
        compression: layer::Compression::None,
        ..layer::WriteOptions::default()
    };
    let (bytes, _) = write(upper.path(), &changes, &options).expect("all is there");
    let names: Vec<_> = tar::Archive::new(&bytes[..])
        .entries()
        .expect("a fresh archive")
        .map(|entry| entry.expect("our own entry").path().expect("a name").display().to_string())
        .collect();
    let expected = ["etc/dir/", "etc/dir/.wh..wh..opq", "etc/dir/new", "etc/.wh.passwd", "top"];
    assert_eq!(names, expected);
    if !testkit::require_root("the upper tree belongs to whom the tests run as") {
        return;
    }
    super::apply(lower.path(), &bytes).expect("our own layer");
    assert_eq!(
        print(&lower).lines().collect::<Vec<_>>(),
        [
            "d 0755 /etc",
            "d 0755 /etc/dir",
            r#"f 0644 /etc/dir/new "new""#,
            r#"f 0644 /etc/keep "keep""#,
            r#"f 0600 /top "t""#,
        ]
    );
}
