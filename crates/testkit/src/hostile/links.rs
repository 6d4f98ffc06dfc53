//! Links that lead out, and entries that go through them.

use crate::tar_builder::{Member, TarBuilder};

use super::{Accept, Canary, Case, Contain, Reject, one, stack, tar};

type Target = fn(&Canary) -> Vec<u8>;

/// Where a link to the canary's directory may lead.
const OUT: &[(&str, Target)] = &[
    ("absolute", |c| c.at("")),
    ("relative", |c| c.climbed("")),
    ("proc-root", |c| [b"/proc/self/root", &c.at("")[..]].concat()),
    ("proc-cwd", |c| [b"/proc/self/cwd/", &c.climbed("")[..]].concat()),
    ("proc-one", |c| [b"/proc/1/root", &c.at("")[..]].concat()),
    ("proc-fd", |_| b"/proc/self/fd/3".to_vec()),
    ("slashes", |c| [b"//", &c.at("/.")[..]].concat()),
];

type Through = fn(TarBuilder) -> TarBuilder;

/// What is done with a link `l` in its own archive. Nothing of it may happen behind the link.
const THROUGH: &[(&str, Through)] = &[
    ("S01", |t| t.file("l/pwn", "pwn")),
    ("S01b", |t| t.file("l/secret", "pwn")),
    ("S02", |t| t.dir("l/dir", 0o777)),
    ("S02b", |t| t.dir("l/", 0o777)),
    ("S04", |t| t.symlink("k", "l").file("k/pwn", "pwn")),
    ("S06", |t| t.dir("l", 0o777).file("l/x", "x")),
    ("S09", |t| t.file("l/x/y/z", "")),
    ("S10", |t| t.hardlink("h", "l/secret").file("h", "pwn")),
    ("S10b", |t| t.file("f", "pwn").hardlink("l/secret", "f")),
    ("S12", |t| t.file("l/.wh.secret", "")),
    ("S12b", |t| t.file("l/.wh..wh..opq", "")),
    ("S12c", |t| t.file(".wh.l", "")),
    ("S14", |t| t.symlink("l/s", "/etc/passwd")),
    ("S16", |t| t.fifo("l/p")),
    ("S16b", |t| t.char_device("l/null", 1, 3)),
    ("S18", |t| t.file("l/../pwn", "pwn")),
    ("S18b", |t| t.symlink("up", "l/..").file("up/pwn", "pwn")),
    ("S20", |t| t.member(&Member::new(b'5', "l/dir").owner(7, 8).xattr("user.pwn", "1").mtime(9))),
    ("S22", |t| t.hardlink("h", "l").file("h/pwn", "pwn")),
    ("S22b", |t| t.hardlink("h", "l").dir("h", 0o777).file("h/x", "x")),
    ("S24", |t| t.file("l", "pwn")),
    ("S26", |t| t.file("l/x", "x").dir("l", 0o755).file("l/y", "y").symlink("l", "dir")),
];

pub(super) fn symbolic() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(id, through) in THROUGH {
        for &(out, target) in OUT {
            let both = move |c: &Canary| through(tar().symlink("l", target(c)));
            cases.push(one(format!("{id}-{out}"), Contain, both));
        }
        let above = move |c: &Canary| vec![tar().symlink("l", c.at("")), through(tar())];
        cases.push(stack(format!("{id}-above"), Contain, above));
    }
    cases.extend(singular());
    cases
}

fn singular() -> Vec<Case> {
    let usr = || tar().dir("usr", 0o755).dir("usr/bin", 0o755).symlink("bin", "usr/bin");
    vec![
        one("S03", Contain, |c| {
            tar().symlink("b", c.at("")).symlink("a", "b").file("a/pwn", "pwn")
        }),
        one("S05", Accept, |c| tar().symlink("s", c.at("/secret")).file("s", "pwn")),
        one("S05b", Accept, |c| tar().symlink("s", c.at("/secret")).fifo("s")),
        one("S05c", Accept, |c| tar().symlink("s", c.at("/dir")).dir("s", 0o777)),
        one("S07", Reject, |_| tar().symlink("a", "b").symlink("b", "a").file("a/x", "x")),
        one("S07b", Reject, |_| tar().symlink("a", "a").file("a/x", "x")),
        one("S07c", Reject, |_| {
            let chain =
                (0..60).fold(tar(), |t, i| t.symlink(format!("l{i}"), format!("l{}", i + 1)));
            chain.file("l0/x", "x")
        }),
        one("S11", Contain, |c| {
            let through = [b"foo", &c.at("/pwn")[..]].concat();
            let start = tar().dir("foo", 0o755).dir("foo/tmp", 0o755).symlink("foo", "/");
            start.file(through, "pwn").dir("foo", 0o755).file("foo/ok", "ok")
        }),
        stack("S13", Contain, |c| {
            vec![tar().symlink("l", c.at("")), tar().file("l/.wh.secret", "")]
        }),
        stack("S15", Contain, |c| {
            let first = tar().dir("d", 0o755).file("d/a", "a");
            vec![first, tar().symlink("d", c.at("")), tar().file("d/pwn", "pwn")]
        }),
        one("S17", Accept, |_| tar().symlink("s", "t".repeat(4095))),
        one("S17b", Reject, |_| tar().symlink("s", "t".repeat(4096))),
        one("S17c", Reject, |_| tar().symlink("s", "")),
        one("S17d", Reject, |_| tar().pax(&[("linkpath", b"a\0b")]).symlink("s", "x")).add(Contain),
        one("S17e", Accept, |_| tar().symlink("s", "a\nb\x1b[31m").symlink("t", b"\xff\xfe")),
        one("S19", Contain, |c| {
            let through = [b"x", &c.at("/pwn")[..]].concat();
            tar().symlink("x", "/proc/self/root").file(through, "pwn")
        }),
        one("S21", Contain, |c| {
            let foreign = Member::new(b'2', "s").link(c.at("/f644")).owner(12345, 12345);
            tar().member(&foreign.xattr("user.pwn", "1").mtime(9).mode(0o4777))
        }),
        stack("S23", Accept, move |_| vec![usr(), tar().file("bin/x", "x")]),
        one("S25", Accept, |_| {
            tar().dir("usr/lib", 0o755).symlink("lib", "/usr/lib").file("lib/x", "x")
        }),
        one("S27", Accept, |c| {
            tar().symlink("s", c.at("/secret")).hardlink("h", "s").file("h", "pwn").file("s", "pwn")
        }),
        stack("S28", Contain, |c| {
            let swapped = tar().symlink("d", c.at("")).dir("d", 0o755).symlink("d/e", c.at("/dir"));
            vec![swapped.file("d/e/pwn", "pwn"), tar().file("d/e/.wh.in", "").file("d/.wh.e", "")]
        }),
    ]
}

/// Targets outside.
const TARGETS: &[(&str, Target)] = &[
    ("absolute", |c| c.at("/secret")),
    ("relative", |c| c.climbed("/secret")),
    ("dotted", |c| [b"./", &c.climbed("/secret")[..]].concat()),
    ("passwd", |_| b"/etc/passwd".to_vec()),
    ("proc", |c| [b"/proc/self/root", &c.at("/secret")[..]].concat()),
];

pub(super) fn hard() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(out, target) in TARGETS {
        cases.push(one(format!("H01-{out}"), Reject, move |c| {
            tar().hardlink("h", target(c)).file("h", "pwn")
        }));
        cases.push(one(format!("H02-{out}"), Reject, move |c| {
            tar().pax(&[("linkpath", &target(c))]).hardlink("h", "x")
        }));
        cases.push(one(format!("H04-{out}"), Reject, move |c| {
            tar().gnu_long(b'K', target(c)).hardlink("h", "x")
        }));
    }
    cases.extend([
        one("H03", Reject, |c| {
            tar().dir("b", 0o755).symlink("b/d", c.at("")).hardlink("b/h", "b/d/secret")
        }),
        one("H03b", Reject, |c| {
            tar().symlink("d", c.climbed("")).hardlink("h", "d/dir/in").file("h", "pwn")
        }),
        one("H05", Reject, |_| tar().hardlink("h", "nope")),
        one("H05b", Reject, |_| tar().hardlink("h", "later").file("later", "x")),
        one("H06", Reject, |_| tar().hardlink("h", "h")),
        one("H06b", Accept, |_| tar().file("a", "abc").hardlink("a", "a")),
        one("H07", Reject, |_| tar().dir("d", 0o755).hardlink("h", "d")),
        one("H07b", Reject, |_| tar().hardlink("h", "/")),
        one("H07c", Reject, |_| tar().hardlink("h", ".")),
        one("H07d", Reject, |_| tar().hardlink("h", "")),
        one("H07e", Reject, |_| {
            tar().file("a", "").pax(&[("linkpath", b"a\0b")]).hardlink("h", "a")
        }),
        stack("H09", Accept, |_| vec![tar().file("a", "abc"), tar().hardlink("h", "a")]),
        one("H10", Accept, |_| {
            (0..50).fold(tar().file("h0", "x"), |t, i| {
                t.hardlink(format!("h{}", i + 1), format!("/./h{i}"))
            })
        }),
        one("H11", Accept, |_| tar().file("t", "t").symlink("s", "t").hardlink("h", "s")),
        one("H12", Accept, |_| tar().fifo("p").hardlink("h", "p")),
        one("H13", Accept, |_| tar().file("a", "1").hardlink("b", "a").file("a", "2")),
        stack("H14", Contain, |_| {
            vec![tar().file("a", "1"), tar().file(".wh.a", "").hardlink("b", "a")]
        }),
        one("H15", Contain, |_| tar().dir("d", 0o755).file("d/a", "1").hardlink("d", "d/a")),
        one("H16", Reject, |_| {
            let sized = Member { size: Some(512), ..Member::new(b'1', "h").link("a") };
            tar().file("a", "a").member(&sized).raw(&[0; 512])
        }),
        one("H17", Contain, |_| {
            let foreign = Member::new(b'1', "h").link("a").owner(7, 8).mode(0o4777);
            tar().file("a", "a").member(&foreign.xattr("user.pwn", "1"))
        }),
    ]);
    cases
}
