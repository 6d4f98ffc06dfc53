//! Names that leave the root, or are the root.

use crate::tar_builder::{Member, header, set_checksum};

use super::{Accept, Canary, Case, Contain, Reject, okf, one, tar};

type Name = fn(&Canary) -> Vec<u8>;

/// Names that climb out. A layer must not have them; ADD and contexts clamp them.
const CLIMBING: &[(&str, Name)] = &[
    ("T01", |c| c.climbed("/pwn")),
    ("T03", |c| [b"./", &c.climbed("/pwn")[..]].concat()),
    ("T04", |c| [b"a/b/../../", &c.climbed("/pwn")[..]].concat()),
    ("T05", |c| [b"a//..//", &c.climbed("//pwn")[..]].concat()),
    ("T06", |_| b"x/../..".to_vec()),
    ("T06b", |_| b"..".to_vec()),
    ("T06c", |_| b"../".to_vec()),
    ("T06d", |_| b"a/../../".to_vec()),
    ("T08", |c| [b"/", &c.climbed("/pwn")[..]].concat()),
    ("T08b", |c| [b"/./.././", &c.climbed("/pwn")[..]].concat()),
    ("T08c", |c| [b"//", &c.climbed("/pwn/")[..]].concat()),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(id, name) in CLIMBING {
        let kind = |flag: u8, link: &'static str| {
            move |c: &Canary| {
                let member = Member { device: (1, 3), ..Member::new(flag, name(c)) };
                tar().file("t", "t").member(&member.mode(0o777).link(link))
            }
        };
        for (suffix, flag, link) in [
            ("file", b'0', ""),
            ("dir", b'5', ""),
            ("symlink", b'2', "/"),
            ("hardlink", b'1', "t"),
            ("fifo", b'6', ""),
            ("device", b'3', ""),
        ] {
            cases.push(one(format!("{id}-{suffix}"), Reject, kind(flag, link)).files(Contain));
        }
        cases.push(
            one(format!("{id}-pax"), Reject, move |c| {
                tar().pax(&[("path", &name(c))]).file("safe", "pwn")
            })
            .files(Contain),
        );
        cases.push(
            one(format!("{id}-gnu"), Reject, move |c| {
                tar().gnu_long(b'L', name(c)).file("safe", "pwn")
            })
            .files(Contain),
        );
        cases.push(
            one(format!("{id}-sparse"), Reject, move |c| {
                let map = [("GNU.sparse.size", &b"3"[..]), ("GNU.sparse.map", b"0,3")];
                tar().pax(&map).pax_name(&name(c)).file("safe", "pwn")
            })
            .add(Contain),
        );
    }
    cases.extend(odd());
    cases.extend(of_the_root());
    cases
}

fn odd() -> Vec<Case> {
    let prefixed = |prefix: &'static [u8]| {
        move |_: &Canary| {
            let mut block = header(&Member::file("pwn", ""));
            block[345..345 + prefix.len()].copy_from_slice(prefix);
            set_checksum(&mut block);
            tar().raw(&block)
        }
    };
    vec![
        one("T07", Accept, |c| tar().file(c.at("/pwn"), "pwn")),
        one("T07b", Accept, |c| tar().file([b"///", &c.at("//pwn")[..]].concat(), "pwn")),
        one("T07c", Accept, |c| tar().pax(&[("path", &c.at("/pwn"))]).file("safe", "pwn")),
        one("T10", Reject, prefixed(b"../../../../tmp")).files(Contain),
        one("T10b", Accept, prefixed(b"/tmp")),
        one("T11", Reject, |c| {
            let hidden = [b"safe\0/", &c.climbed("/pwn")[..]].concat();
            tar().gnu_long(b'L', hidden).file("x", "pwn")
        })
        .add(Contain),
        one("T11b", Reject, |_| tar().gnu_long(b'L', b"\0\0").file("x", "pwn")).add(Contain),
        one("T12", Reject, |_| tar().pax(&[("path", b"safe\0evil")]).file("x", "pwn")).add(Contain),
        one("T13", Reject, |_| tar().file("", "x").file("ok", "ok")),
        one("T13b", Contain, |_| tar().pax(&[("path", b"")]).file("x", "x").file("ok", "ok")),
        one("T13c", Reject, |_| tar().dir("", 0o711).file("ok", "ok")),
        // The separator of another system is a letter of ours.
        one("T20", Accept, |_| tar().file("..\\..\\pwn", "pwn").file("C:\\pwn", "pwn")),
        one("T21", Accept, |_| tar().file("...", "x").file("..a/b..", "x").file(". ", "x")),
        one("T22", Accept, |_| tar().file("a/./b/../c", "x")),
        one("T23", Accept, |_| tar().file("a/./", "x").file("b/..c", "x")),
    ]
}

/// The root may only be a directory, and nothing may stand in its place.
fn of_the_root() -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, name) in ["/", ".", "./", "/.", "//", "./.", "a/.."].into_iter().enumerate() {
        let id = |what: &str| format!("T15-{at}-{what}");
        cases.push(one(id("file"), Reject, move |_| tar().file(name, "x").file("ok", "ok")));
        cases.push(one(id("symlink"), Reject, move |c| {
            tar().symlink(name, c.at("")).file("pwn", "pwn")
        }));
        cases.push(one(id("hardlink"), Reject, move |_| tar().file("f", "x").hardlink(name, "f")));
        cases.push(one(id("fifo"), Reject, move |_| tar().fifo(name).file("ok", "ok")));
        cases.push(one(id("device"), Reject, move |_| tar().char_device(name, 1, 3)));
        cases.push(one(id("dir"), Accept, move |_| tar().dir(name, 0o711).file("ok", "ok")));
    }
    cases.push(one("T17", Reject, |c| tar().symlink("..", "/").hardlink("lp", c.at("/secret"))));
    cases.push(one("T19", Accept, |_| tar().dir("./", 0o711).file("ok", "ok")));
    cases.push(one("T19b", Contain, |_| {
        let root = Member::new(b'5', "./").mode(0o7777).owner(7, 8).xattr("user.pwn", "1");
        okf().member(&root.mtime(1))
    }));
    cases
}

impl crate::tar_builder::TarBuilder {
    /// A sparse file's real name, in a further header: two of them are ambiguous.
    fn pax_name(self, name: &[u8]) -> Self {
        self.pax(&[("GNU.sparse.name", name)])
    }
}
