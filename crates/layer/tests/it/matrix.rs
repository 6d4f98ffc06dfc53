//! The fidelity matrix: every type of file with every attribute it can have, alone and together,
//! written, applied, and written again. Both layers are the same bytes, and the trees are equal.

use std::os::unix::fs::FileExt;

use layer::{Compression, WriteOptions};
use testkit::tree::{Shown, make, print_with};
use testkit::{ScratchRoot, require_root};

use super::{apply, write_all};

const ALL: Shown = Shown { owners: true, times: true };

/// A type of file: its letter, what follows the path, and whether it takes the attribute.
struct Type {
    name: &'static str,
    letter: char,
    rest: &'static str,
    /// A link has no mode of its own, and the kernel gives nothing but files and directories
    /// attributes of users.
    has_mode: bool,
    has_xattrs: bool,
}

const TYPES: &[Type] = &[
    Type { name: "empty", letter: 'f', rest: "\"\"", has_mode: true, has_xattrs: true },
    Type { name: "file", letter: 'f', rest: "\"content\\n\"", has_mode: true, has_xattrs: true },
    Type { name: "block", letter: 'f', rest: "\"x\"*512", has_mode: true, has_xattrs: true },
    Type { name: "large", letter: 'f', rest: "\"xyz\"*700000", has_mode: true, has_xattrs: true },
    Type { name: "directory", letter: 'd', rest: "", has_mode: true, has_xattrs: true },
    Type { name: "symlink", letter: 'l', rest: "-> to/where", has_mode: false, has_xattrs: false },
    Type { name: "fifo", letter: 'p', rest: "", has_mode: true, has_xattrs: false },
    Type { name: "char", letter: 'c', rest: "1:3", has_mode: true, has_xattrs: false },
    Type {
        name: "block-device",
        letter: 'b',
        rest: "4095:1048575",
        has_mode: true,
        has_xattrs: false,
    },
];

const MODES: &[&str] =
    &["0000", "0400", "0644", "0777", "1755", "2755", "4755", "6711", "7777", "4000", "1777"];
const OWNERS: &[&str] = &[
    "0:0",
    "1:2",
    "65534:65534",
    "2097151:2097151",
    "2097152:2097152",
    "4294967294:0",
    "0:4294967294",
];
const TIMES: &[&str] = &[
    "0",
    "1",
    "1700000000",
    "1700000000.000000001",
    "1700000000.999999999",
    "1700000000.100000000",
    "-1",
    "-1.5",
    "-1000000000.000000001",
    "8589934591",
    "8589934592",
    "8589934592.25",
];
/// By itself, as the file system has room for only some at a time.
const XATTRS: &[&str] = &[
    "user.a=\"\"",
    "user.a=\"text\"",
    "user.a=\"two\\nlines\" user.b=\"\\x00\\xff=\" user.A=\"\\\"\"",
    "user.equals=\"a=b\\n12 path=evil\\n\"",
    "trusted.mine=\"1\"",
];
/// Version 2 with CAP_NET_RAW effective and permitted.
const CAPABILITY: &str = r#"security.capability="\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00""#;

/// Names by what is special about them.
fn names() -> Vec<(&'static str, String)> {
    vec![
        ("plain", "n".to_owned()),
        ("blank", "a\\x20b".to_owned()),
        ("controls", "a\\nb\\x1b[31m\\tc\\x7f".to_owned()),
        ("utf8", "\u{e9}\u{1f980}".to_owned()),
        ("bytes", "\\xff\\xfe\\x80".to_owned()),
        ("backslash", "a\\\\b".to_owned()),
        ("dots", "...".to_owned()),
        ("dash", "-rf".to_owned()),
        ("n99", "n".repeat(99)),
        ("n100", "n".repeat(100)),
        ("n101", "n".repeat(101)),
        ("n255", "n".repeat(255)),
        ("prefix", format!("{}/{}", "d".repeat(155), "n".repeat(99))),
        ("prefix-over", format!("{}/{}", "d".repeat(156), "n".repeat(100))),
        ("deep", format!("{}{}", format!("{}/", "d".repeat(200)).repeat(19), "n".repeat(200))),
    ]
}

/// Writes, applies and writes again.
fn check(source: &ScratchRoot, what: &str, how: &[Compression]) {
    for &compression in how {
        let options = WriteOptions { compression, threads: 2, ..WriteOptions::default() };
        let (first, written) = write_all(source.path(), &options);
        let target = ScratchRoot::in_memory();
        let applied = apply(target.path(), &first).expect("our own layer can be applied");
        assert_eq!(applied.warnings, Vec::<String>::new(), "{what}");
        assert_eq!(applied.entries, written.entries, "{what}");
        let trees = (print_with(target.path(), ALL), print_with(source.path(), ALL));
        assert_eq!(trees.0, trees.1, "{what}");
        let (second, again) = write_all(target.path(), &options);
        assert!(first == second, "{what}, {compression:?}: the second layer differs");
        assert_eq!(written, again, "{what}");
    }
}

const PLAIN: &[Compression] = &[Compression::None];
const EVERY: &[Compression] =
    &[Compression::None, Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }];

/// Checks lines a tree at a time.
fn check_lines(what: &str, lines: &[String]) {
    let source = ScratchRoot::in_memory();
    make(source.path(), &lines.join("\n"));
    assert_eq!(print_with(source.path(), ALL).lines().count(), count(lines), "{what}");
    check(&source, what, PLAIN);
}

/// Directories on the way that no line lists are made, too.
fn count(lines: &[String]) -> usize {
    let mut paths = std::collections::BTreeSet::new();
    for line in lines {
        let at = line.find('/').expect("every line has a path");
        let path = line[at..].split(' ').next().unwrap_or_default();
        paths.extend(path.match_indices('/').skip(1).map(|(end, _)| path[..end].to_owned()));
        paths.insert(path.to_owned());
    }
    paths.len()
}

#[test]
fn root_every_type_with_every_mode_owner_and_time() {
    if !require_root("owners and devices") {
        return;
    }
    for Type { name, letter, rest, has_mode, .. } in TYPES {
        let modes = if *has_mode { MODES } else { &["0777"][..] };
        let mut lines = Vec::new();
        let mut line = |mode: &str, owner: &str, time: &str| {
            let number = lines.len();
            // Content of a large file is worth a few times only.
            lines.push(format!("{letter} {mode} {owner} /{number:03} {rest} @{time}"));
        };
        if *name == "large" {
            line("4755", "2097152:5", "-1.5");
        } else {
            for mode in modes {
                for owner in OWNERS {
                    for time in TIMES {
                        line(mode, owner, time);
                    }
                }
            }
        }
        check_lines(name, &lines);
    }
}

#[test]
fn root_every_type_with_every_name() {
    if !require_root("owners and devices") {
        return;
    }
    for Type { name: kind, letter, rest, has_mode, .. } in TYPES {
        let mode = if *has_mode { "0640" } else { "0777" };
        for (name, path) in names() {
            let line = format!("{letter} {mode} 3:4 /{path} {rest} @5.5");
            check_lines(&format!("{kind} {name}"), &[line]);
        }
    }
    for (name, path) in names() {
        let link = format!("l 0777 3:4 /link -> {path} @5.5");
        check_lines(&format!("target {name}"), &[link]);
        let lines = [format!("f 0640 3:4 /{path} \"x\" @5.5"), format!("h /zzz = /{path}")];
        check_lines(&format!("hard link to {name}"), &lines);
        let lines = ["f 0640 3:4 /0 \"x\" @5.5".to_owned(), format!("h /{path} = /0")];
        check_lines(&format!("hard link called {name}"), &lines);
    }
    let target = format!("l 0777 3:4 /link -> {} @1", "t/".repeat(2047) + "t");
    check_lines("the longest target", &[target]);
}

#[test]
fn root_every_type_with_every_extended_attribute() {
    if !require_root("trusted attributes and capabilities") {
        return;
    }
    for Type { name, letter, rest, has_mode, has_xattrs } in TYPES {
        let mode = if *has_mode { "4755" } else { "0777" };
        let of_users = if *has_xattrs { XATTRS } else { &XATTRS[XATTRS.len() - 1..] };
        let capability = (*letter == 'f').then_some(&CAPABILITY);
        for (at, xattrs) in of_users.iter().chain(capability).enumerate() {
            let line = format!("{letter} {mode} 7:8 /n {rest} {xattrs} @1700000000.5");
            check_lines(&format!("{name} {at}"), &[line]);
        }
    }
}

#[test]
fn root_hard_links_of_every_type() {
    if !require_root("owners and devices") {
        return;
    }
    for Type { name, letter, rest, has_mode, .. } in TYPES {
        if *letter == 'd' {
            continue;
        }
        let mode = if *has_mode { "4711" } else { "0777" };
        let lines = [
            "d 0700 1:1 /a @1".to_owned(),
            format!("{letter} {mode} 2:3 /a/one {rest} @-5.25"),
            "h /a/two = /a/one".to_owned(),
            "h /b/three = /a/one".to_owned(),
            format!("{letter} {mode} 2:3 /c {rest} @-5.25"),
        ];
        check_lines(name, &lines);
    }
}

#[test]
fn root_everything_together_in_every_compression() {
    if !require_root("owners and devices") {
        return;
    }
    let mut lines = Vec::new();
    for (at, Type { letter, rest, has_mode, has_xattrs, .. }) in TYPES.iter().enumerate() {
        let mode = if *has_mode { MODES[at % MODES.len()] } else { "0777" };
        let xattrs = if *has_xattrs { XATTRS[at % XATTRS.len()] } else { "" };
        let (owner, time) = (OWNERS[at % OWNERS.len()], TIMES[at % TIMES.len()]);
        lines.push(format!("{letter} {mode} {owner} /{at} {rest} {xattrs} @{time}"));
    }
    let source = ScratchRoot::in_memory();
    make(source.path(), &lines.join("\n"));
    check(&source, "together", EVERY);
}

/// Where the data of sparse files lies: nowhere, at either end, across blocks; one larger than
/// eight GiB, which a size in octal cannot say.
#[test]
fn root_sparse_files_of_every_shape() {
    if !require_root("owners") {
        return;
    }
    const MIB: u64 = 1 << 20;
    let check = |size: u64, pieces: &[(u64, &[u8])]| {
        let source = ScratchRoot::in_memory();
        let path = source.path().join("sparse");
        let file = std::fs::File::create(&path).expect("a new file");
        file.set_len(size).expect("the file system has holes");
        for (at, piece) in pieces {
            file.write_all_at(piece, *at).expect("room");
        }
        drop(file);
        self::check(&source, &format!("{size} bytes, {} pieces", pieces.len()), PLAIN);
    };
    check(4 * MIB, &[]);
    check(4 * MIB + 1, &[(0, b"start")]);
    check(4 * MIB - 1, &[(4 * MIB - 4, b"end")]);
    check(4 * MIB, &[(0, &[7; 5000]), (MIB, b"x"), (2 * MIB - 1, &[8; 4097]), (4 * MIB - 1, b"z")]);
    check(1, &[]);
}

/// A file whose size needs a record: its header is right, and so is what comes back. Its zeros are
/// a hole again, or this test would fill the disk.
#[test]
fn root_a_sparse_file_of_more_than_eight_gib() {
    if !require_root("owners") {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    const SIZE: u64 = (8 << 30) + 3;
    let source = ScratchRoot::new();
    let file = std::fs::File::create(source.path().join("huge")).expect("a new file");
    file.set_len(SIZE).expect("the file system has holes");
    file.write_all_at(b"end", SIZE - 3).expect("room");
    drop(file);
    let options = WriteOptions {
        compression: Compression::Zstd { level: 1 },
        epoch: Some(0),
        ..WriteOptions::default()
    };
    let (bytes, written) = write_all(source.path(), &options);
    assert!(written.uncompressed_size > SIZE);
    let target = ScratchRoot::new();
    apply(target.path(), &bytes).expect("our own layer can be applied");
    let made = std::fs::File::open(target.path().join("huge")).expect("it is there");
    let metadata = made.metadata().expect("it is open");
    assert_eq!(metadata.size(), SIZE);
    assert!(metadata.blocks() < 10_000, "{} blocks", metadata.blocks());
    let mut end = [0; 4];
    made.read_exact_at(&mut end, SIZE - 4).expect("it is long enough");
    assert_eq!(&end, b"\0end");
}
