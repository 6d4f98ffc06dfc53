//! Types, modes, ids, times and odd names.

use crate::tar_builder::Member;

use super::{Accept, Case, Contain, Outcome, Reject, okf, one, stack, tar};

fn device(name: &str, flag: u8, device: (u32, u32)) -> Member {
    Member { device, ..Member::new(flag, name) }
}

/// One member, and one after it that shows whether reading went on.
fn member(id: &str, expected: Outcome, build: impl Fn() -> Member + Send + Sync + 'static) -> Case {
    one(id, expected, move |_| okf().member(&build()).file("after", "x"))
}

fn a() -> Member {
    Member::file("a", "a")
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        one("D01", Contain, |_| {
            let null = device("null", b'3', (1, 3));
            tar().member(&null.mode(0o666)).member(&device("sda", b'4', (8, 0))).file("ok", "ok")
        }),
        // A device or FIFO must be replaced, never opened.
        one("D02", Contain, |_| tar().member(&device("sda", b'4', (8, 0))).file("sda", "pwn")),
        one("D02b", Contain, |_| tar().member(&device("k", b'3', (1, 11))).file("k", "pwn")),
        one("D02c", Contain, |_| tar().member(&device("d", b'3', (1, 3))).file("d/x", "x")),
        member("D02d", Contain, || device("huge", b'3', (u32::MAX, u32::MAX))),
        one("D03", Accept, |_| tar().fifo("p").file("p", "file")),
        one("D03b", Reject, |_| tar().fifo("p").file("p/x", "file")),
        stack("D03c", Accept, |_| vec![tar().fifo("p"), tar().file("p", "file").fifo("p")]),
        member("D04", Reject, || Member::new(b's', "socket")),
        member("D05", Accept, || Member { flag: 0, ..a() }),
        member("D06", Accept, || Member { flag: b'7', ..a() }),
        one("D07", Accept, |_| {
            let old = Member { flag: 0, magic: [0; 8], ..Member::new(0, "dir/") };
            tar().member(&old).file("dir/a", "a")
        }),
        member("D08", Reject, || Member { content: b"x".to_vec(), ..Member::new(b'5', "d") }),
        member("D08b", Reject, || Member {
            content: b"x".to_vec(),
            ..Member::new(b'2', "d").link("x")
        }),
        member("D09", Contain, || a().mode(0o7_777_777)),
        member("D10", Accept, || a().mode(0o6777)),
        stack("D19", Accept, |_| {
            vec![tar().file("x", "f"), tar().dir("x", 0o755).file("x/a", "a")]
        }),
        stack("D20", Accept, |_| {
            vec![tar().dir("x", 0o755).file("x/a", "a"), tar().file("x", "f")]
        }),
        stack("D20b", Accept, |_| {
            vec![tar().dir("x", 0).file("x/a/b/c", "a"), tar().symlink("x", "y").file("y/z", "z")]
        }),
        one("D17", Accept, |_| tar().dir("d", 0).file("d/a", "a")),
        one("D17b", Accept, |_| tar().dir("d", 0).dir("d/e", 0).file("d/e/a", "a").dir("d", 0)),
        one("D21", Reject, |_| tar().file("a", "f").file("a/b", "b")),
        one("D21b", Reject, |_| tar().file("a", "f").dir("a/b", 0o755)),
        stack("D21c", Reject, |_| vec![tar().file("a", "f"), tar().file("a/b/c", "b")]),
        one("D23", Accept, |_| {
            tar().member(&Member::new(b'5', "d").mtime(1_000_000_000)).file("d/a", "a")
        }),
        one("D24", Accept, |_| (0..300).fold(tar(), |t, _| t.file("same", "x").dir("d", 0o755))),
        one("D24b", Accept, |_| (0..100).fold(tar(), |t, _| t.file("x", "x").dir("x", 0o755))),
    ];
    cases.extend(ids_and_times());
    cases.extend(odd_names());
    cases.extend(attributes());
    cases
}

fn ids_and_times() -> Vec<Case> {
    let mut cases = Vec::new();
    for key in ["uid", "gid"] {
        let pax = move |id: &str, expected, value: &'static str| {
            member(&format!("{id}-{key}"), expected, move || a().pax(key, value))
        };
        cases.extend([
            pax("D11", Reject, "4294967295"),
            pax("D12", Reject, "4294967296"),
            pax("D13", Reject, "18446744073709551616"),
            pax("D13b", Reject, "-1"),
            pax("D13c", Reject, "0x10"),
            pax("D13d", Reject, "1e3"),
            pax("D13e", Reject, " 1"),
            pax("D14", Contain, "4294967294"),
        ]);
    }
    cases.extend([
        member("D11-base256", Reject, || a().owner(u32::MAX.into(), 0)),
        member("D11-base256-gid", Reject, || a().owner(0, u32::MAX.into())),
        member("D12-base256", Reject, || a().owner(1 << 32, 0)),
        member("D15", Reject, || a().pax("mtime", "9223372036854775808")),
    ]);
    for (at, time) in
        ["nan", "inf", "", "1e9", "-", ".", "1.", "1.2.3", "--1", "0x1"].iter().enumerate()
    {
        cases.push(member(&format!("D15-{at}"), Contain, move || a().pax("mtime", time)));
    }
    let far =
        ["9223372036854775807", "-9223372036854775807.999999999", "-1.5", "-0", "0.9999999999"];
    for (at, time) in far.into_iter().enumerate() {
        cases.push(member(&format!("D16-{at}"), Contain, move || a().pax("mtime", time)));
    }
    cases
}

fn odd_names() -> Vec<Case> {
    let deep = |count: usize| move |_: &super::Canary| tar().file("d/".repeat(count) + "f", "n");
    vec![
        one("D25", Accept, |_| {
            tar().file("A", "1").file("a", "2").file("\u{e9}", "3").file("e\u{301}", "4")
        }),
        one("D26", Accept, |_| tar().file(b"\xff\xfe\x80", "n").dir(b"\xc3", 0o755)),
        one("D27", Accept, |_| tar().file("a\nb\x1b[31mred\tc", "n")),
        one("D27b", Reject, |_| tar().hardlink("a\nb\x1b[31mred\tc\x07", "no\r\n\x1b]0;pwn\x07")),
        one("D28", Accept, |_| tar().file("\u{202e}txt.exe", "n").file("-rf", "n").file("~", "n")),
        one("D29", Reject, |_| tar().file("n".repeat(256), "n")),
        one("D29b", Reject, |_| tar().file(format!("{}/x", "n".repeat(256)), "n")),
        one("D30", Accept, |_| tar().file("n".repeat(255), "n")),
        one("D31", Reject, deep(2000)),
        one("D31b", Reject, deep(1_500)),
        // Copied elsewhere the path is longer, but still short enough.
        one("D31c", Accept, deep(900)),
        one("D32", Reject, |_| tar().file(format!("{}/", "p".repeat(200)).repeat(21) + "f", "n")),
        one("D32b", Reject, |_| tar().file("x".repeat(1 << 20), "n")).add(Contain),
        one("D32c", Reject, |_| tar().gnu_long(b'L', "a/".repeat(400_000)).file("x", "n"))
            .add(Contain),
    ]
}

fn attributes() -> Vec<Case> {
    let set = |id: &str, expected, name: &'static str, value: &'static [u8]| {
        member(id, expected, move || a().xattr(name, value))
    };
    vec![
        one("D33", Contain, |_| {
            let big = Member::file("a", "a").xattr("user.big", "v".repeat(65_536));
            let many =
                (0..500).fold(Member::file("m", "m"), |m, i| m.xattr(&format!("user.k{i}"), "v"));
            tar().member(&big).member(&many).file("ok", "ok")
        }),
        one("D33b", Reject, |_| {
            let many =
                (0..1001).fold(Member::file("m", "m"), |m, i| m.xattr(&format!("user.k{i}"), ""));
            tar().member(&many)
        })
        .add(Contain),
        set("D34", Contain, "user.", b"x"),
        set("D34b", Reject, "", b"x"),
        set("D34c", Contain, "nothing.known", b"x"),
        set("D34d", Contain, "trusted.overlay.opaque", b"y"),
        set("D34e", Contain, "user.overlay.redirect", b"/etc"),
        set("D34f", Contain, "security.capability", b"\xff\xff\xff\xff"),
        set("D34g", Contain, "security.selinux", b"evil_t"),
        set("D34h", Contain, "system.posix_acl_access", b"\x02\0\0\0broken"),
        set("D34i", Contain, "security.ima", b"\x01"),
        member("D34j", Reject, || a().xattr(&format!("user.{}", "n".repeat(300)), "x")),
        member("D34k", Contain, || a().xattr("user.\x1b[31m", "x")),
        one("D35", Contain, |_| {
            let link = Member::new(b'2', "s").link("a").xattr("trusted.mine", "1");
            tar().file("a", "a").member(&link).member(&Member::new(b'6', "p").xattr("user.x", "1"))
        }),
    ]
}
