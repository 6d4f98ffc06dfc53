//! Broken framing, and archives that two readers take for different things.

use crate::tar_builder::{Member, TarBuilder, header, set_checksum};

use super::{Accept, Case, Contain, Outcome, Reject, bytes, okf, one, tar};

/// An archive that begins well, so that `ADD` takes it for one.
fn after_ok(
    id: &str,
    expected: Outcome,
    build: impl Fn(TarBuilder) -> TarBuilder + Send + Sync + 'static,
) -> Case {
    one(id, expected, move |_| build(okf()))
}

/// A file whose header was changed by hand.
fn patched(name: &str, at: usize, field: &[u8]) -> [u8; 512] {
    let mut block = header(&Member::file(name, ""));
    block[at..at + field.len()].copy_from_slice(field);
    set_checksum(&mut block);
    block
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = framing();
    cases.extend(pax());
    cases.extend(numbers());
    cases.extend(sparse());
    for flag in [b'M', b'V', b'D', b'N', b'A', b'Z', b'8', b'9', b' ', 0xff, b'\n'] {
        cases.push(after_ok(&format!("F29-{flag}"), Reject, move |t| {
            let odd = Member { content: b"abc".to_vec(), ..Member::new(flag, "m") };
            t.member(&odd).file("after", "x")
        }));
    }
    cases
}

fn framing() -> Vec<Case> {
    let noise: Vec<u8> = (0..4096u32).map(|i| ((i * 7919) >> 3) as u8).collect();
    let cut = |length: usize| {
        let mut archive = tar().file("a", "x".repeat(2000)).end();
        archive.truncate(length);
        archive
    };
    let broken = Member { broken_checksum: true, ..Member::file("b", "") };
    let mut signed = header(&Member::file("\u{e9}", ""));
    signed[148..156].fill(b' ');
    let sum: i32 = signed.iter().map(|byte| i32::from(byte.cast_signed())).sum();
    signed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    vec![
        bytes("F01", Reject, [okf().bytes(), b"\0x".repeat(100)].concat()),
        bytes("F02", Reject, cut(1000)),
        bytes("F02b", Reject, cut(2500)),
        // The padding is missing, the file is not.
        bytes("F02c", Contain, cut(2512)),
        bytes("F03", Accept, okf().bytes()),
        bytes("F04", Accept, [okf().bytes(), vec![0; 512]].concat()),
        bytes("F04b", Accept, [okf().bytes(), vec![0; 20_480]].concat()),
        bytes("F05", Accept, [okf().end(), noise].concat()),
        bytes("F05b", Accept, [okf().end(), tar().file("ghost", "x").end()].concat()),
        after_ok("F06", Reject, |t| t.raw(&[0; 512]).file("b", "b")),
        after_ok("F07", Reject, move |t| t.member(&broken)),
        after_ok("F08", Accept, move |t| t.raw(&signed).file("after", "x")),
        bytes("F31", Contain, Vec::new()),
        bytes("F32", Contain, vec![0; 10_240]),
        bytes("F33", Reject, [&b"\x7fELF"[..], &[1; 2000]].concat()).add(Accept),
        bytes("F33b", Reject, b"just text, and not even a block of it".to_vec()).add(Accept),
        bytes("F33c", Reject, [&b"PK\x03\x04"[..], &[1; 2000]].concat()).add(Accept),
        bytes("F33d", Reject, [&[1; 512][..], &okf().end()].concat()).add(Accept),
        bytes("F34", Reject, [okf().bytes(), [1; 512].to_vec()].concat()),
    ]
}

fn pax() -> Vec<Case> {
    let mut cases = Vec::new();
    let raw: &[(&str, &[u8])] = &[
        ("F15", b"5 path=evil\n"),
        ("F15b", b"11 path=evil\n"),
        ("F15c", b"14 path=evil\n"),
        ("F15d", b"0 path=evil\n"),
        ("F15e", b"-12 path=evil\n"),
        ("F15f", b"99999999999999999999 path=evil\n"),
        ("F15g", b"18446744073709551615 a=b\n"),
        ("F16", b"path=evil\n"),
        ("F16b", b"7 path\n"),
        ("F16c", b"8 =evil\n"),
        ("F16d", b"10 pa\0h=x\n"),
        ("F17", b"12 path=evi"),
        ("F18", b"12 size=0x10\n"),
        ("F18b", b"11 size=-1\n"),
        ("F18c", b"31 size=999999999999999999999\n"),
        ("F18d", b"13 mtime=1e9\n"),
        ("F18e", b"15 uid=four_0\n"),
    ];
    for &(id, content) in raw {
        for flag in [b'x', b'g'] {
            // A global header that is broken is found when it is applied.
            cases.push(after_ok(&format!("{id}-{}", char::from(flag)), Reject, move |t| {
                t.pax_raw(flag, content).file("a", "x")
            }));
        }
    }
    cases.extend([
        one("F13", Accept, |_| {
            let inner = tar().file("evil", "x").end();
            let sneaky = Member { size: Some(512), ..Member::file("blob", &inner) };
            tar().member(&sneaky.pax("size", inner.len().to_string())).file("after", "")
        }),
        one("F14", Reject, |_| {
            let inner = tar().file("evil", "x").end();
            let sneaky = Member::file("blob", &inner).pax("size", "512");
            tar().member(&sneaky).raw(&[b'x'; 512]).file("after", "")
        })
        .files(Contain),
        after_ok("F19", Reject, |t| t.pax(&[("path", b"x")])),
        after_ok("F19b", Reject, |t| t.gnu_long(b'L', "name")),
        after_ok("F19c", Reject, |t| {
            t.pax(&[("path", b"one")]).pax(&[("path", b"two")]).file("x", "")
        }),
        after_ok("F20", Reject, |t| t.gnu_long(b'L', "one").gnu_long(b'L', "two").file("x", "")),
        after_ok("F20b", Reject, |t| {
            t.pax(&[("path", b"one")]).gnu_long(b'L', "two").file("x", "")
        }),
        after_ok("F20c", Accept, |t| {
            t.pax(&[("path", b"one")]).gnu_long(b'L', "one").file("x", "")
        }),
        after_ok("F20d", Reject, |t| {
            t.pax(&[("linkpath", b"ok")]).gnu_long(b'K', "ko").hardlink("x", "ok")
        }),
        after_ok("F21", Accept, |t| {
            let desync = t.pax(&[("size", b"3")]).gnu_long(b'L', "n".repeat(200));
            desync.file("x", "abc").file("after", "")
        }),
        after_ok("F21b", Reject, |t| {
            t.pax(&[("size", b"3")]).gnu_long(b'L', "n".repeat(600)).file("x", "abc")
        }),
        after_ok("F23", Reject, |t| {
            t.global_pax(&[("size", b"1024")]).file("a", "1").file("b", "2")
        }),
        after_ok("F23b", Reject, |t| t.global_pax(&[("path", b"pwn")]).file("a", "1")),
        after_ok("F23c", Reject, |t| t.global_pax(&[("linkpath", b"pwn")]).symlink("a", "1")),
        after_ok("F23d", Reject, |t| t.global_pax(&[("GNU.sparse.name", b"pwn")]).file("a", "1")),
        after_ok("F23e", Reject, |t| t.global_pax(&[("SCHILY.xattr.user.x", b"1")]).file("a", "1")),
        after_ok("F24", Accept, |t| t.global_pax(&[("comment", b"0123")]).file("a", "1")),
        after_ok("F25", Reject, |t| t.pax(&[("path", b"safe\0evil")]).file("a", "x")),
        after_ok("F26", Reject, |t| t.pax(&[("linkpath", b"safe\0evil")]).symlink("a", "x")),
        after_ok("F28-x", Reject, |t| {
            t.raw(&header(&Member { size: Some(1 << 30), ..Member::new(b'x', "x") }))
                .raw(&[b'a'; 4096])
        }),
        after_ok("F28-empty", Accept, |t| t.pax_raw(b'x', b"").file("a", "x")),
        after_ok("F28-again", Contain, |t| t.pax_raw(b'x', b"9 path=b\n9 path=c\n").file("a", "x")),
    ]);
    cases
}

fn numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    let fields: &[(&str, usize)] =
        &[("mode", 100), ("uid", 108), ("gid", 116), ("size", 124), ("mtime", 136)];
    for &(field, at) in fields {
        for (name, digits) in
            [("digits", &b"9z9z9z\0"[..]), ("sign", b"-000001"), ("split", b"1 2 3\0\0")]
        {
            cases.push(after_ok(&format!("F11-{field}-{name}"), Reject, move |t| {
                t.raw(&patched("a", at, digits)).file("after", "x")
            }));
        }
        // Base 256: a negative number, and one beyond all bounds.
        if field != "mtime" {
            cases.push(after_ok(&format!("F10-{field}"), Reject, move |t| {
                t.raw(&patched("a", at, &[0xff; 8])).file("after", "x")
            }));
        }
        if field != "mode" {
            cases.push(after_ok(&format!("F12-{field}"), Reject, move |t| {
                t.raw(&patched("a", at, &[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))
            }));
        }
    }
    for (name, size) in
        [("max", (1u64 << 63) - 1), ("over", 1 << 63), ("all", u64::MAX), ("tera", 1 << 40)]
    {
        cases.push(after_ok(&format!("F09-{name}"), Reject, move |t| {
            t.member(&Member { size: Some(size), ..Member::file("a", "x") })
        }));
        cases.push(after_ok(&format!("F09-{name}-pax"), Reject, move |t| {
            t.member(&Member::file("a", "x").pax("size", size.to_string()))
        }));
    }
    // Where the first header is broken, ADD sees no archive and copies it.
    cases.push(one("F11", Reject, |_| tar().raw(&patched("a", 124, b"9z9z9z"))).add(Accept));
    cases
}

fn sparse() -> Vec<Case> {
    let mut cases = Vec::new();
    let maps: &[(&str, Outcome, &str, &str)] = &[
        ("overlap", Reject, "9", "0,3,2,3"),
        ("order", Reject, "9", "5,3,0,3"),
        ("beyond", Reject, "4", "3,6"),
        ("short", Reject, "9", "0,3"),
        ("long", Reject, "99", "0,60"),
        ("overflow", Reject, "9", "18446744073709551615,6"),
        ("sum", Reject, "18446744073709551615", "0,3,9223372036854775807,9223372036854775807"),
        ("odd", Reject, "9", "0,3,4"),
        ("text", Reject, "9", "0,x"),
        ("huge", Reject, "18446744073709551615", "0,6"),
        ("good", Accept, "90", "0,3,50,3"),
    ];
    for &(id, expected, size, map) in maps {
        cases.push(after_ok(&format!("F27-{id}"), expected, move |t| {
            let member = Member::file("a", "abcdef").pax("GNU.sparse.size", size);
            t.member(&member.pax("GNU.sparse.map", map)).file("after", "x")
        }));
    }
    let old = |size: &[u8; 12], extended: u8| {
        let mut block = header(&Member { magic: *b"ustar  \0", ..Member::new(b'S', "hole") });
        block[483..495].copy_from_slice(size);
        block[482] = extended;
        set_checksum(&mut block);
        block
    };
    let tera = old(&[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], 0);
    let endless = old(b"00000000100\0", 1);
    cases.extend([
        one("F27", Reject, move |_| tar().raw(&tera)).add(Contain),
        after_ok("F27-tera", Reject, move |t| t.raw(&tera).file("after", "x")),
        after_ok("F27-endless", Reject, move |t| {
            let mut more = [b'1'; 512];
            more[504] = 1;
            (0..10).fold(t.raw(&endless), |t, _| t.raw(&more))
        }),
        after_ok("F27-no-gnu", Reject, |t| t.member(&Member::new(b'S', "hole")).file("after", "x")),
        after_ok("F27-content", Reject, |t| {
            let member = Member::file("a", "99999999\n0\n").pax("GNU.sparse.major", "1");
            t.member(&member.pax("GNU.sparse.minor", "0").pax("GNU.sparse.realsize", "9"))
        }),
        after_ok("F27-link", Reject, |t| {
            let member = Member::new(b'2', "s").link("x").pax("GNU.sparse.size", "9");
            t.member(&member.pax("GNU.sparse.map", ""))
        }),
        after_ok("F27-two", Reject, |t| {
            let member = Member::file("a", "abc").pax("GNU.sparse.size", "3");
            t.member(&member.pax("GNU.sparse.map", "0,3").pax("GNU.sparse.map", "0,3"))
        }),
    ]);
    cases
}
