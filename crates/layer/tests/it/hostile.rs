//! Archives that want out of their root. Nothing outside changes; what is refused says so.
//!
//! The cases carry the numbers of the project's list of inputs. Each is tried as a stack of layers
//! and as an archive that `ADD` unpacks; a canary beside the root is compared before and after.

use std::os::unix::ffi::OsStrExt;

use layer::{Error, Owners, UnpackOptions};
use testkit::ScratchRoot;
use testkit::tar_builder::{Member, TarBuilder, gzip, header, set_checksum, zstd};
use testkit::tree::{Shown, make, print_with};

use super::{apply_as_anyone, chain, open, rooted};

const ALL: Shown = Shown { owners: true, times: true };

/// What must come of an input.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    /// An error.
    Reject,
    /// Success or an error; only the canary counts.
    Contain,
    /// Success.
    Accept,
}
use Outcome::{Accept, Contain, Reject};

/// A scratch directory with a canary, and a root beside it.
struct Scene {
    canary: ScratchRoot,
    before: String,
}

impl Scene {
    fn new() -> Self {
        let canary = ScratchRoot::new();
        let tree = "f 0600 /secret \"s\" @1\nd 0700 /dir @2\nf 0600 /dir/in \"i\" @3\nf 0644 /f644 \"f\" @4";
        make(canary.path(), tree);
        let before = print_with(canary.path(), ALL);
        Self { canary, before }
    }

    /// The canary's path with `rest` behind it.
    fn c(&self, rest: &str) -> Vec<u8> {
        [self.canary.path().as_os_str().as_bytes(), rest.as_bytes()].concat()
    }

    /// The same, climbed to from far below.
    fn u(&self, rest: &str) -> Vec<u8> {
        [&b"../".repeat(24)[..], &self.c(rest)[1..]].concat()
    }

    fn check(&self, id: &str, layers: &[Vec<u8>], expected: Outcome) {
        let root = ScratchRoot::new();
        let applied = layers.iter().try_for_each(|l| apply_as_anyone(root.path(), l).map(drop));
        self.judge(id, "as layers", applied, expected);
        let root = ScratchRoot::new();
        make(root.path(), "d 0755 /dest");
        let options = UnpackOptions { owners: Owners::One(0, 0), ..UnpackOptions::default() };
        let unpacked = layers.iter().try_for_each(|bytes| {
            let dest = rooted("/dest");
            layer::unpack(&open(root.path()), &dest, &bytes[..], &options, &|| false).map(drop)
        });
        // There whiteouts are just names, and names that climb are clamped as BuildKit's ADD does:
        // what a layer must not have may be had.
        let expected = if id.starts_with(['W', 'T']) { Contain } else { expected };
        self.judge(id, "unpacked", unpacked, expected);
    }

    fn judge(&self, id: &str, way: &str, result: Result<(), Error>, expected: Outcome) {
        let after = print_with(self.canary.path(), ALL);
        assert_eq!(after, self.before, "{id} {way}: the canary changed");
        match (result, expected) {
            (Ok(()), Reject) => panic!("{id} {way}: was accepted"),
            (Err(error), Accept) => panic!("{id} {way}: {}", chain(&error)),
            _ => {}
        }
    }
}

/// A case of one layer.
fn check(id: &str, build: impl Fn(&Scene) -> TarBuilder, expected: Outcome) {
    let scene = Scene::new();
    let layer = build(&scene).end();
    scene.check(id, &[layer], expected);
}

/// A case of several layers.
fn stack(id: &str, build: impl Fn(&Scene) -> Vec<TarBuilder>, expected: Outcome) {
    let scene = Scene::new();
    let layers: Vec<_> = build(&scene).into_iter().map(TarBuilder::end).collect();
    scene.check(id, &layers, expected);
}

/// A case of bytes.
fn bytes(id: &str, layer: Vec<u8>, expected: Outcome) {
    Scene::new().check(id, &[layer], expected);
}

fn tar() -> TarBuilder {
    TarBuilder::new()
}

fn okf() -> TarBuilder {
    tar().file("ok", "ok")
}

#[test]
fn names_that_leave_the_root() {
    check("T01", |s| tar().file(s.u("/pwn"), "pwn"), Reject);
    check("T03", |s| tar().file([b"./", &s.u("/pwn")[..]].concat(), "pwn"), Reject);
    check("T05", |s| tar().file([b"a//..//", &s.u("//pwn")[..]].concat(), "pwn"), Reject);
    check("T07", |s| tar().file(s.c("/pwn"), "pwn"), Accept);
    check("T09", |s| tar().pax(&[("path", &s.u("/pwn"))]).file("safe", "pwn"), Reject);
    let hidden = |s: &Scene| [b"safe\0/", &s.u("/pwn")[..]].concat();
    check("T11", |s| tar().gnu_long(b'L', hidden(s)).file("x", "pwn"), Reject);
    check("T13", |_| tar().file("", "x").file("ok", "ok"), Contain);
    check("T15", |s| tar().symlink("/.", s.c("")).file("pwn", "pwn"), Contain);
    check("T17", |_| tar().symlink("..", "/").hardlink("lp", "/etc/passwd"), Contain);
    check("T19", |_| tar().dir("./", 0o711).file("ok", "ok"), Accept);
}

#[test]
fn links_that_lead_out() {
    check("S01", |s| tar().symlink("l", s.c("")).file("l/pwn", "pwn"), Contain);
    check("S03", |s| tar().symlink("b", s.c("")).symlink("a", "b").file("a/pwn", "pwn"), Contain);
    check("S05", |s| tar().symlink("s", s.c("/secret")).file("s", "pwn"), Accept);
    check("S07", |_| tar().symlink("a", "b").symlink("b", "a").file("a/x", "x"), Contain);
    check("S09", |s| tar().symlink("l", s.c("")).file("l/x/y/z", ""), Contain);
    check(
        "S11",
        |s| {
            let through = [b"foo", &s.c("/pwn")[..]].concat();
            let start = tar().dir("foo", 0o755).dir("foo/tmp", 0o755).symlink("foo", "/");
            start.file(through, "pwn").dir("foo", 0o755).file("foo/ok", "ok")
        },
        Contain,
    );
    stack("S13", |s| vec![tar().symlink("l", s.c("")), tar().file("l/.wh.secret", "")], Contain);
    stack(
        "S15",
        |s| {
            let first = tar().dir("d", 0o755).file("d/a", "a");
            vec![first, tar().symlink("d", s.c("")), tar().file("d/pwn", "pwn")]
        },
        Contain,
    );
    check("S17", |_| tar().symlink("s", "t".repeat(4095)), Accept);
    check(
        "S19",
        |s| {
            let through = [b"x", &s.c("/pwn")[..]].concat();
            tar().symlink("x", "/proc/self/root").file(through, "pwn")
        },
        Contain,
    );
    let foreign = |s: &Scene| Member::new(b'2', "s").link(s.c("/f644")).owner(12345, 12345);
    check("S21", |s| tar().member(&foreign(s).xattr("user.pwn", "1")), Contain);
    let usr = || tar().dir("usr", 0o755).dir("usr/bin", 0o755).symlink("bin", "usr/bin");
    stack("S23", |_| vec![usr(), tar().file("bin/x", "x")], Accept);
}

#[test]
fn hard_links_that_lead_out() {
    check("H01", |s| tar().hardlink("h", s.c("/secret")).file("h", "pwn"), Reject);
    check(
        "H03",
        |s| tar().dir("b", 0o755).symlink("b/d", s.c("")).hardlink("b/h", "b/d/secret"),
        Reject,
    );
    check("H05", |_| tar().hardlink("h", "nope"), Reject);
    check("H07", |_| tar().dir("d", 0o755).hardlink("h", "d"), Reject);
    stack("H09", |_| vec![tar().file("a", "abc"), tar().hardlink("h", "a")], Accept);
    check("H11", |_| tar().file("t", "t").symlink("s", "t").hardlink("h", "s"), Accept);
    check("self", |_| tar().file("a", "abc").hardlink("a", "a"), Accept);
    check("up", |s| tar().hardlink("h", s.u("/secret")), Reject);
}

#[test]
fn whiteouts_that_want_more_than_a_name() {
    let two = |second: TarBuilder| {
        let first = tar().dir("etc", 0o755).file("etc/passwd", "root").file("etc/keep", "keep");
        vec![first.file("top", "top"), second]
    };
    stack("W01", |_| two(tar().file(".wh..", "")), Reject);
    stack("W03", |_| two(tar().file("etc/.wh..", "")), Reject);
    stack("W03b", |_| two(tar().file("etc/.wh...", "")), Reject);
    stack("W05", |_| two(tar().file("etc/.wh.", "")), Reject);
    stack("W07", |_| two(tar().file(".wh..wh..opq", "").file("new", "n")), Accept);
    stack("W09", |_| two(tar().file(".wh.etc", "")), Accept);
    stack("W11", |_| two(tar().file("etc/.wh.nope", "")), Accept);
    stack("W13", |_| two(tar().dir(".wh.etc", 0o755).file(".wh.etc/some", "s")), Reject);
    stack("W13b", |_| two(tar().file(".wh.etc/some", "s")), Reject);
    let aufs = || tar().dir(".wh..wh.plnk", 0o755).file(".wh..wh.plnk/1.2", "x");
    stack("W15", |_| two(aufs().file(".wh..wh.aufs", "")), Accept);
}

#[test]
fn types_modes_ids_times_and_odd_names() {
    let device = |name, flag, device| Member { device, ..Member::new(flag, name) };
    let devices =
        || tar().member(&device("null", b'3', (1, 3))).member(&device("sda", b'4', (8, 0)));
    check("D01", |_| devices().file("ok", "ok"), Contain);
    check("D03", |_| tar().fifo("p").file("p", "file"), Accept);
    let old = |name: &str, content: &str| Member { flag: 0, ..Member::file(name, content) };
    check("D05", |_| tar().member(&old("a", "abc")), Accept);
    let v7 = Member { magic: [0; 8], ..old("dir/", "") };
    check("D07", |_| tar().member(&v7).file("dir/a", "a"), Accept);
    check("D09", |_| tar().member(&Member::file("a", "a").mode(0o7_777_777)), Contain);
    check("D11", |_| tar().member(&Member::file("a", "a").pax("uid", "4294967295")), Reject);
    check("D11b", |_| tar().member(&Member::file("a", "a").owner(u32::MAX.into(), 0)), Reject);
    check(
        "D13",
        |_| tar().member(&Member::file("a", "a").pax("uid", "18446744073709551616")),
        Reject,
    );
    let late = Member::file("a", "a").pax("mtime", "9223372036854775808");
    check("D15", |_| tar().member(&late).file("ok", "ok"), Contain);
    check("D17", |_| tar().dir("d", 0).file("d/a", "a"), Accept);
    stack("D19", |_| vec![tar().file("x", "f"), tar().dir("x", 0o755).file("x/a", "a")], Accept);
    check("D21", |_| tar().file("a", "f").file("a/b", "b"), Reject);
    check(
        "D25",
        |_| tar().file("A", "1").file("a", "2").file("\u{e9}", "3").file("e\u{301}", "4"),
        Accept,
    );
    check("D27", |_| tar().file("a\nb\x1b[31mred\tc", "n"), Accept);
    check("D29", |_| tar().file("n".repeat(256), "n"), Reject);
    check("D31", |_| tar().file("d/".repeat(2000) + "f", "n"), Reject);
    check("D31b", |_| tar().file("d/".repeat(900) + "f", "n"), Accept);
    let big = Member::file("a", "a").xattr("user.big", "v".repeat(65_536));
    let many = (0..500).fold(Member::file("m", "m"), |m, i| m.xattr(&format!("user.k{i}"), "v"));
    check("D33", |_| tar().member(&big).member(&many).file("ok", "ok"), Contain);
}

#[test]
fn framing() {
    bytes("F01", [okf().bytes(), b"\0x".repeat(100)].concat(), Reject);
    bytes("F03", okf().bytes(), Accept);
    bytes(
        "F05",
        [okf().end(), (0..4096u32).map(|i| ((i * 7919) >> 3) as u8).collect()].concat(),
        Accept,
    );
    let broken = Member { broken_checksum: true, ..Member::file("b", "") };
    check("F07", |_| tar().file("a", "a").member(&broken), Reject);
    let sized = |size| Member { size: Some(size), ..Member::file("a", "x") };
    check("F09", |_| tar().member(&sized((1 << 63) - 1)), Reject);
    let mut odd = header(&Member::file("a", ""));
    odd[124..130].copy_from_slice(b"9z9z9z");
    set_checksum(&mut odd);
    check("F11", |_| tar().raw(&odd), Reject);
    let inner = tar().file("evil", "x").end();
    let sneaky = Member { size: Some(512), ..Member::file("blob", &inner) };
    check(
        "F13",
        |_| tar().member(&sneaky.clone().pax("size", inner.len().to_string())).file("after", ""),
        Accept,
    );
    check("F15", |_| tar().pax_raw(b'x', b"5 path=evil\n").file("a", "x"), Reject);
    check("F17", |_| tar().pax_raw(b'x', b"12 path=evi").file("a", "x"), Reject);
    check("F19", |_| okf().pax(&[("path", b"x")]), Reject);
    let desync = || tar().pax(&[("size", b"3")]).gnu_long(b'L', "n".repeat(200));
    check("F21", |_| desync().file("x", "abc").file("ok", "ok"), Accept);
    check("F23", |_| tar().global_pax(&[("size", b"1024")]).file("a", "1").file("b", "2"), Reject);
    check("F25", |_| tar().pax(&[("path", b"safe\0evil")]).file("a", "x"), Reject);
    let mut sparse = header(&Member { magic: *b"ustar  \0", ..Member::new(b'S', "hole") });
    sparse[483..495].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    set_checksum(&mut sparse);
    check("F27", |_| tar().raw(&sparse), Reject);
    check(
        "F29",
        |_| tar().member(&Member { content: b"abc".to_vec(), ..Member::new(b'M', "m") }),
        Reject,
    );
    bytes("F31", Vec::new(), Accept);
    bytes("F33", [&b"\x7fELF"[..], &[1; 2000]].concat(), Reject);
    check("zeros", |_| tar().file("a", "a").raw(&[0; 512]).file("b", "b"), Reject);
    check(
        "link-size",
        |_| {
            tar()
                .file("a", "a")
                .member(&Member { size: Some(512), ..Member::new(b'1', "h").link("a") })
                .raw(&[0; 512])
        },
        Reject,
    );
    check(
        "two-names",
        |_| tar().pax(&[("path", b"one")]).gnu_long(b'L', "two").file("x", ""),
        Reject,
    );
    check(
        "two-pax",
        |_| tar().pax(&[("path", b"one")]).pax(&[("path", b"two")]).file("x", ""),
        Reject,
    );
}

#[test]
fn compressed_forms() {
    let plain = okf().end();
    bytes("G01", [gzip(&plain[..700]), gzip(&plain[700..])].concat(), Accept);
    let mut damaged = gzip(&plain);
    let crc = damaged.len() - 8;
    damaged[crc..crc + 4].fill(0);
    bytes("G03", damaged, Reject);
    let whole = gzip(&plain);
    bytes("G05", whole[..whole.len() - 5].to_vec(), Reject);
    bytes("G07", gzip(&plain), Accept);
    bytes("G07b", gzip(&gzip(&plain)), Reject);
    bytes("G09", zstd(&plain), Accept);
    let cut = zstd(&plain);
    bytes("G09b", cut[..cut.len() - 3].to_vec(), Reject);
    bytes("G09c", [zstd(&plain[..700]), zstd(&plain[700..])].concat(), Accept);
    bytes("G11", [&b"\x28\xb5\x2f\xfd\x00"[..], &[21 << 3], b"\x01\x00\x00"].concat(), Reject);
}

#[test]
fn layers_are_gzip_zstd_or_plain() {
    let check = |start: &[u8], expected: &str| {
        let root = ScratchRoot::new();
        let error = apply_as_anyone(root.path(), start).expect_err("not a layer's compression");
        assert_eq!(error.to_string(), expected);
    };
    check(b"BZh91AY&SY", "the archive is compressed with bzip2, which is not accepted here");
    check(b"\xfd7zXZ\0\0\x04", "the archive is compressed with xz, which is not accepted here");
}
