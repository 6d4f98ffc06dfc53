//! Every limit has its error, and what is below it works.

use layer::{ApplyOptions, Limits, Owners};
use testkit::ScratchRoot;
use testkit::tar_builder::{Member, TarBuilder, gzip};

use super::open;

fn check(limits: Limits, layer: impl AsRef<[u8]>, expected: &str) {
    let root = ScratchRoot::new();
    let options = ApplyOptions { limits, owners: Owners::One(0, 0), ..ApplyOptions::default() };
    let applied = layer::apply(&open(root.path()), layer.as_ref(), &options, &|| false);
    let found = applied.map_or_else(|error| error.to_string(), |_| "applied".to_owned());
    assert_eq!(found, expected);
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[test]
fn each_limit_is_named() {
    let two = || TarBuilder::new().file("a", "abc").file("b/c", "def");
    let size = two().end().len() as u64;
    check(limits(|l| l.archive_bytes = size), two().end(), "applied");
    check(
        limits(|l| l.archive_bytes = size - 1),
        two().end(),
        &format!(
            "the archive exceeds the limit of {} for bytes of the uncompressed archive",
            size - 1
        ),
    );
    check(limits(|l| l.entries = 2), two().end(), "applied");
    check(limits(|l| l.entries = 1), two().end(), "the archive exceeds the limit of 1 for entries");
    check(limits(|l| l.file_bytes = 3), two().end(), "applied");
    check(
        limits(|l| l.file_bytes = 2),
        two().end(),
        "the archive exceeds the limit of 2 for bytes of one file",
    );
    check(limits(|l| l.depth = 2), two().end(), "applied");
    check(
        limits(|l| l.depth = 1),
        two().end(),
        "the archive exceeds the limit of 1 for depth of a path",
    );
    check(
        limits(|l| l.path_bytes = 3),
        two().end(),
        "the archive exceeds the limit of 3 for bytes of a path",
    );
    check(
        limits(|l| l.link_bytes = 3),
        TarBuilder::new().symlink("s", "four").end(),
        "the archive exceeds the limit of 3 for bytes of a symbolic link",
    );
    let records = (0..4).fold(Member::file("a", ""), |m, i| m.pax(format!("k{i}"), "v"));
    check(
        limits(|l| l.pax_records = 3),
        TarBuilder::new().member(&records).end(),
        "the archive exceeds the limit of 3 for records of one PAX header",
    );
    let map = Member::file("a", "xy").pax("GNU.sparse.size", "9").pax("GNU.sparse.map", "0,1,5,1");
    check(limits(|l| l.sparse_segments = 2), TarBuilder::new().member(&map).end(), "applied");
    check(
        limits(|l| l.sparse_segments = 1),
        TarBuilder::new().member(&map).end(),
        "the archive exceeds the limit of 1 for segments of one sparse file",
    );
}

#[test]
fn a_header_that_announces_a_gigabyte_is_refused_at_once() {
    for flag in [b'L', b'K', b'x', b'g'] {
        let huge = Member { size: Some(1 << 30), ..Member::new(flag, "x") };
        let layer = TarBuilder::new().member(&huge).raw(&[b'a'; 4096]).end();
        let expected = "the archive exceeds the limit of 1048576 for bytes of one extension header";
        check(Limits::default(), gzip(&layer), expected);
    }
}

#[test]
fn warnings_are_counted_beyond_their_limit() {
    let odd = |name: String| Member::file(name, "").xattr("user.", "no name");
    let layer = (0..5).fold(TarBuilder::new(), |tar, i| tar.member(&odd(format!("f{i}")))).end();
    let root = ScratchRoot::new();
    let limits = limits(|l| l.warnings = 2);
    let options = ApplyOptions { limits, owners: Owners::One(0, 0), ..ApplyOptions::default() };
    let applied =
        layer::apply(&open(root.path()), &layer[..], &options, &|| false).expect("only warnings");
    assert_eq!(
        applied.warnings,
        [
            "`/f0`: extended attribute `user.` cannot be set here",
            "`/f1`: extended attribute `user.` cannot be set here",
            "3 more warnings of this kind",
        ]
    );
}
