//! Whiteouts that want more than a name.

use crate::tar_builder::{Member, TarBuilder};

use super::{Accept, Case, Contain, Outcome, Reject, stack, tar};

fn lower() -> TarBuilder {
    let first = tar().dir("etc", 0o755).file("etc/passwd", "root").file("etc/keep", "keep");
    first.file("top", "top")
}

/// On top of a small tree; where whiteouts are names, only the canary counts.
fn two(
    id: impl Into<String>,
    expected: Outcome,
    second: impl Fn() -> TarBuilder + Send + Sync + 'static,
) -> Case {
    stack(id, expected, move |_| vec![lower(), second()]).files(Contain)
}

/// A member of some type under a name.
type OfName = fn(&str) -> Member;

/// Names that are no valid whiteout, wherever they stand.
const INVALID: &[(&str, &str)] = &[
    ("W01", ".wh.."),
    ("W02", ".wh..."),
    ("W03", "etc/.wh.."),
    ("W04", "etc/.wh..."),
    ("W05", "etc/.wh."),
    ("W05b", ".wh."),
    ("W05c", "./.wh../"),
    ("W05d", "etc/../.wh.."),
    ("W05e", "etc/.wh./"),
    ("W13b", ".wh.etc/some"),
    ("W13c", ".wh../etc/passwd"),
    ("W13d", "etc/.wh./passwd"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(id, name) in INVALID {
        cases.push(two(id, Reject, move || tar().file(name, "")));
    }
    let kinds: [(&str, OfName); 5] = [
        ("dir", |name| Member::new(b'5', name)),
        ("symlink", |name| Member::new(b'2', name).link("etc")),
        ("fifo", |name| Member::new(b'6', name)),
        ("device", |name| Member { device: (0, 0), ..Member::new(b'3', name) }),
        ("content", |name| Member::file(name, "content")),
    ];
    for (kind, member) in kinds {
        for (id, name) in
            [("W12", ".wh.etc"), ("W12b", "etc/.wh.passwd"), ("W12c", "etc/.wh..wh..opq")]
        {
            cases.push(two(format!("{id}-{kind}"), Reject, move || tar().member(&member(name))));
        }
    }
    cases.extend([
        two("W06", Accept, || tar().file(".wh.etc", "").file("etc/new", "n")),
        two("W06b", Accept, || tar().file("etc/new", "n").file(".wh.etc", "")),
        two("W07", Accept, || tar().file(".wh..wh..opq", "").file("new", "n")),
        two("W07b", Accept, || tar().file("new", "n").file(".wh..wh..opq", "")),
        two("W08", Accept, || tar().file("etc/.wh..wh..opq", "").file("etc/new", "n")),
        two("W08b", Accept, || tar().file("nowhere/.wh..wh..opq", "")),
        two("W09", Accept, || tar().file(".wh.etc", "")),
        two("W10", Accept, || tar().file(".wh.top", "").file("top", "new").file(".wh.top", "")),
        two("W11", Accept, || tar().file("etc/.wh.nope", "")),
        two("W11b", Accept, || tar().file("no/where/.wh.nope", "")),
        two("W11c", Contain, || tar().file("top/.wh.nope", "")),
        two("W13", Reject, || tar().dir(".wh.etc", 0o755).file(".wh.etc/some", "s")),
        two("W14", Accept, || tar().hardlink(".wh.top", ".wh..wh.aufs")),
        two("W15", Accept, || {
            let aufs = tar().dir(".wh..wh.plnk", 0o755).file(".wh..wh.plnk/1.2", "x");
            aufs.file(".wh..wh.aufs", "").dir(".wh..wh.orph", 0o700)
        }),
        two("W15b", Accept, || tar().file(".wh..wh..wh.x", "").file("etc/.wh..wh.", "")),
        two("W16", Accept, || tar().file(format!(".wh.{}", "n".repeat(255)), "")),
        two("W16b", Reject, || tar().file(format!(".wh.{}", "n".repeat(256)), "")),
        two("W17", Accept, || tar().file("etc/../.wh.etc", "")),
        two("W18", Accept, || tar().file(".wh.etc", "").file(".wh.etc", "").file(".wh.top", "")),
    ]);
    cases.push(
        stack("W19", Contain, |c| {
            let links = lower().symlink("out", c.at("")).symlink("etc/up", c.climbed("/dir"));
            let hide = tar().file("out/.wh.secret", "").file("etc/up/.wh.in", "");
            vec![
                links,
                hide.file("out/dir/.wh..wh..opq", "").file(".wh.out", "").file(".wh.etc", ""),
            ]
        })
        .files(Contain),
    );
    cases
}
