//! The identity of sources: equal exactly when copies of them are.
//!
//! [`check`] compares the identities that one instruction has in two contexts; [`agree`] also
//! carries the instruction out in both and compares what came of it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::tree;

use crate::contents::in_memory;
use crate::{DIR, Trees, can_run};

fn digests(trees: &Trees, instruction: &str) -> Result<Vec<[u8; 32]>, String> {
    let identities = trees.identify(instruction).map_err(|error| error.to_string())?;
    Ok(identities.into_iter().map(|identity| identity.digest).collect())
}

/// Whether `instruction` has the same sources in both contexts.
fn check(instruction: &str, one: &str, other: &str, same: bool) {
    let (a, b) = (Trees::new(one, ""), Trees::new(other, ""));
    let (a, b) = (digests(&a, instruction), digests(&b, instruction));
    assert!(a.is_ok() && b.is_ok(), "{instruction}: {a:?} {b:?}");
    assert_eq!(a == b, same, "{instruction}\n{one}\n{other}");
}

/// The same, and the copies are the same or not as well.
fn agree(instruction: &str, one: &str, other: &str, same: bool) {
    check(instruction, one, other, same);
    let copied = |context: &str| {
        let trees = Trees::new(context, "");
        trees.changes(instruction, &|| false).expect("because nothing is in the way");
        tree::print(trees.root.path())
    };
    assert_eq!(copied(one) == copied(other), same, "{instruction}\n{one}\n{other}");
}

#[test]
fn root_what_a_copy_has_of_a_file_counts() {
    if !can_run() {
        return;
    }
    let file = "f 0644 1:2 /d/f \"text\" @1000000000";
    for copy in ["COPY d /x/", "COPY d/f /x/", "COPY d/* /x/", "COPY --parents d/f /x/"] {
        agree(copy, file, "f 0644 1:2 /d/f \"text\" @1111111111.5", true);
        agree(copy, file, "f 0644 3:4 /d/f \"text\"", true);
        agree(copy, file, &format!("{file}\n f 0600 /e \"\""), true);
        agree(copy, file, &format!("{file}\n h /e = /d/f"), true);
        agree(copy, file, "f 0644 /d/f \"texT\"", false);
        agree(copy, file, "f 0644 /d/f \"text\\n\"", false);
        agree(copy, file, "f 0645 /d/f \"text\"", false);
        agree(copy, file, "f 4644 /d/f \"text\"", false);
        agree(copy, file, "f 0644 /d/f \"text\" user.a=\"\"", false);
        agree(copy, file, "p 0644 /d/f", false);
        let image = copy.replace("COPY", "COPY --from=0");
        agree(&image, file, "f 0644 1:3 /d/f \"text\"", false);
        agree(&image, file, "f 0644 3:2 /d/f \"text\"", false);
        let chown = copy.replace("COPY", "COPY --from=0 --chown=5");
        agree(&chown, file, "f 0644 1:3 /d/f \"text\"", true);
    }
    let attribute = |text: &str| format!("f 0644 /d/f \"\" user.a=\"{text}\"");
    agree("COPY d /x", &attribute("1"), &attribute("2"), false);
    agree("COPY d /x", &attribute("1"), "f 0644 /d/f \"\" user.a1=\"\"", false);
    agree("COPY d /x", "c 0600 /d/f 1:3", "c 0600 /d/f 1:5", false);
    agree("COPY d /x", "c 0600 /d/f 1:3", "b 0600 /d/f 1:3", false);
    agree("COPY d /x", "l 0777 /d/f -> a", "l 0777 /d/f -> b", false);
}

#[test]
fn root_what_a_directory_is_counts_below_the_source() {
    if !can_run() {
        return;
    }
    let with = |mode: &str| format!("d {mode} 1:2 /d\n d {mode} /d/e\n f 0644 /d/e/f \"\"");
    agree("COPY d /x/", &with("0755"), &with("0700"), false);
    agree("COPY d/e /x/", &with("0755"), &with("0700"), true);
    agree("COPY d/e/f /x/", &with("0755"), &with("0700"), true);
    agree("COPY --parents d/e/f /x/", &with("0755"), &with("0700"), false);
    agree("COPY d /x/", "d 0755 /d/e", "f 0755 /d/e \"\"", false);
    agree("COPY d /x/", "d 0755 /d/e", "d 0755 /d", false);
    agree("COPY d /x/", "d 0755 /d/e", "d 0755 /d/e user.a=\"\"", false);
    agree("COPY d /x/", "d 0755 /d", "d 0755 /d user.a=\"\"", true);
    // A mount shows the directory itself too.
    check("COPY --mount d /x/", &with("0755"), &with("0755"), true);
    check("COPY --mount d/e /x/", &with("0755"), &with("0700"), false);
    check("COPY --mount d /x/", "d 0755 /d", "d 0755 /d user.a=\"\"", false);
}

#[test]
fn root_nothing_passes_for_something_else() {
    if !can_run() {
        return;
    }
    // The hash of a neighbour as a name, newlines, and texts that move over a border.
    let hash = "9e2f5b8e1c";
    let named = |name: &str| format!("f 0644 /d/a \"{hash}\"\n f 0644 /d/{name} \"\"");
    agree("COPY d /x/", &named("b"), &named(&format!("a{hash}")), false);
    agree("COPY d /x/", &named("b"), &named(hash), false);
    agree("COPY d /x/", "f 0644 /d/a\\nb \"\"", "f 0644 /d/a \"\"\n f 0644 /d/b \"\"", false);
    agree("COPY d /x/", "f 0644 /d/a\\nb \"\"", "f 0644 /d/a \"b\"", false);
    agree("COPY d /x/", "f 0644 /d/ab \"c\"", "f 0644 /d/a \"bc\"", false);
    agree("COPY d /x/", "f 0644 /d/a/b \"\"", "d 0755 /d/a\n f 0644 /d/b \"\"", false);
    agree("COPY d /x/", "f 0644 /d/a \"1\"\n f 0644 /d/b \"2\"", "f 0644 /d/a \"12\"", false);
    // Names and values of attributes.
    let attribute = |text: &str| format!("f 0644 /d/a \"\" {text}");
    let one = attribute("user.a=\"1user.b2\"");
    agree("COPY d /x/", &one, &attribute("user.a=\"1\" user.b=\"2\""), false);
    // A file by another name, and another file.
    agree("COPY *.x /y/", "f 0644 /a.x \"\"", "f 0644 /b.x \"\"", false);
    agree("COPY *.x /y/", "f 0644 /a.x \"1\"", "f 0644 /a.x \"1\"\n f 0644 /b.x \"1\"", false);
    agree("COPY d* /y/", "f 0644 /d1/a \"1\"", "f 0644 /d2/a \"1\"", true);
    agree("COPY d* /y/", "f 0644 /d1/a \"1\"", "f 0644 /d1 \"1\"", false);
}

#[test]
fn root_names_of_one_file_are_told_from_copies_of_it() {
    if !can_run() {
        return;
    }
    let linked = "f 0644 /d/a \"1\"\n h /d/e/b = /d/a\n h /out = /d/a";
    agree("COPY d /x/", linked, "f 0644 /d/a \"1\"\n h /d/e/b = /d/a", true);
    agree("COPY d /x/", linked, "f 0644 /d/a \"1\"\n f 0644 /d/e/b \"1\"", false);
    agree("COPY d/e /x/", linked, "f 0644 /d/e/b \"1\"", true);
    agree("COPY d/a d/e/b /x/", linked, "f 0644 /d/a \"1\"\n f 0644 /d/e/b \"1\"", true);
    let pairs = |third: &str| {
        format!("f 0644 /d/a \"1\"\n f 0644 /d/b \"1\"\n h /d/c = /d/a\n h /d/e = /d/{third}")
    };
    agree("COPY d /x/", &pairs("a"), &pairs("b"), false);
}

#[test]
fn root_what_is_left_out_does_not_count() {
    if !can_run() {
        return;
    }
    let with = |ignore: &str, more: &str| {
        format!("f 0644 /.dockerignore \"{ignore}\"\n f 0644 /d/a.c \"a\"\n{more}")
    };
    let ignore = r"d/*.o\nd/tmp\n!d/tmp/keep";
    let more = "f 0644 /d/a.o \"o\"\n f 0600 /d/tmp/x \"x\"\n s 0644 /d/socket";
    agree("COPY d /x/", &with(ignore, ""), &with(ignore, more), true);
    // Rules enter only through what they select.
    agree("COPY d /x/", &with(ignore, ""), &with("nothing", ""), true);
    agree("COPY d /x/", &with(ignore, ""), &with("d/a.c", ""), false);
    // A directory that is ignored itself is there for what is kept in it.
    let kept = "f 0644 /d/tmp/keep \"k\"";
    agree("COPY d /x/", &with(ignore, kept), &with(ignore, ""), false);
    let kept_with = |mode: &str| with(ignore, &format!("d {mode} /d/tmp\n{kept}"));
    agree("COPY d /x/", &kept_with("0755"), &kept_with("0700"), false);
    // The same for --exclude.
    agree("COPY --exclude=*.o d /x/", &with("", ""), &with("", "f 0644 /d/a.o \"o\""), true);
    agree("COPY --exclude=*.c d /x/", &with("", ""), &with("", "f 0644 /d/a.o \"o\""), false);
    // Other stages and images have no ignore file.
    agree("COPY --from=0 d /x/", &with(ignore, ""), &with(ignore, more), false);
}

#[test]
fn root_links_are_followed_where_a_copy_follows_them() {
    if !can_run() {
        return;
    }
    let tree = |rest: &str| format!("f 0644 /one \"1\"\n f 0644 /two \"1\"\n{rest}");
    let link = |to: &str| tree(&format!("l 0777 /d/l -> {to}"));
    agree("COPY d/l /x/", &link("../one"), &link("../two"), true);
    agree("COPY d/* /x/", &link("../one"), &link("../two"), true);
    agree("COPY d/* /x/", &link("../one"), &link("../gone"), false);
    agree("COPY d /x/", &link("../one"), &link("../two"), false);
    agree("COPY d/l /x/", &link("../one"), &tree("f 0644 /d/l \"1\""), true);
}

#[test]
fn root_sources_that_are_not_there() {
    if !can_run() {
        return;
    }
    let trees = Trees::new(DIR, "");
    let failed = |instruction: &str| {
        let copied = trees.run(instruction).expect_err("because it is not there");
        let identified = trees.identify(instruction).expect_err("because it is not there");
        assert!(copied.starts_with(&format!("error: {identified}")), "{copied}: {identified}");
    };
    failed("COPY nothing /x/");
    failed("COPY a.txt nothing /x/");
    failed("COPY --parents dir/nothing /x/");
    failed("COPY --exclude=[ dir /x/");
    // A wildcard may find nothing, and that is something else than finding something.
    let none = trees.identify("COPY *.nothing /x/").expect("because a wildcard may");
    assert_eq!((none.len(), none[0].label.as_str()), (1, "*.nothing"));
    assert!(none[0].files.is_empty());
    check("COPY *.nothing /x/", DIR, "", true);
    check("COPY *.txt /x/", DIR, "", false);
}

/// Identifies a file that is longer than what is read between two questions whether to stop, and
/// lets `meddle` answer the second one.
fn meddled(meddle: impl Fn(&Path) -> bool + Sync) -> String {
    let trees = Trees::new("f 0644 /long \"\"", "");
    let path = trees.context.path().join("long");
    std::fs::write(&path, vec![7; 20 << 20]).expect("because there is room");
    let asked = AtomicU32::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) == 1 && meddle(&path);
    let found = trees.identify_until("COPY long /x", &stop);
    assert_eq!(asked.into_inner(), 2);
    found.map_or_else(|error| error.to_string(), |found| found.len().to_string())
}

#[test]
fn root_a_file_that_changes_has_no_identity() {
    if !can_run() {
        return;
    }
    let length = |path: &Path, length: u64| {
        let file = std::fs::OpenOptions::new().write(true).open(path);
        file.and_then(|file| file.set_len(length)).expect("because it is ours");
        false
    };
    let changed = "`/long` was changed while it was copied";
    assert_eq!(meddled(|path| length(path, (20 << 20) + 1)), changed);
    assert_eq!(meddled(|path| length(path, 5)), changed);
    assert_eq!(meddled(|_| false), "1");
    assert_eq!(meddled(|_| true), "copying was stopped");
}

#[test]
fn root_archives_count_by_their_bytes() {
    if !can_run() {
        return;
    }
    let archive = |mode: u32, name: &str, content: &[u8]| {
        let trees = Trees::new("", "");
        let path = trees.context.path().join(name);
        let tar = testkit::tar_builder::TarBuilder::new().file("f", content).end();
        std::fs::write(&path, tar).expect("because there is room");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("because it is ours");
        trees
    };
    let plain = archive(0o644, "a.tar", b"1");
    let differ = |instruction: &str, other: &Trees| {
        digests(&plain, instruction).expect("because it is there")
            != digests(other, instruction).expect("because it is there")
    };
    assert!(differ("ADD *.tar /x/", &archive(0o644, "a.tar", b"2")));
    assert!(!differ("ADD *.tar /x/", &archive(0o600, "b.tar", b"1")));
    assert!(differ("ADD --unpack=false *.tar /x/", &archive(0o600, "a.tar", b"1")));
    assert!(differ("ADD --unpack=false *.tar /x/", &archive(0o644, "b.tar", b"1")));
    let of = |instruction: &str| digests(&plain, instruction).expect("because it is there");
    assert_ne!(of("ADD a.tar /x/"), of("ADD --unpack=false a.tar /x/"));
    assert_eq!(of("COPY a.tar /x/"), of("ADD --unpack=false a.tar /x/"));
}

#[test]
fn root_each_source_has_its_own_identity() {
    if !can_run() {
        return;
    }
    let trees = Trees::new(DIR, "");
    let found = trees.identify("COPY dir *.txt b.txt <<here /x/").expect("because all are there");
    let shown: Vec<_> = found
        .iter()
        .map(|source| {
            let files = source.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>();
            format!("{}: {}", source.label, files.join(" "))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "dir: dir/up dir/x.txt dir/sub/ dir/sub/y.md",
            "*.txt: a.txt b.txt",
            "b.txt: b.txt",
            "here: "
        ]
    );
    assert!(found.iter().flat_map(|source| &source.files).all(|file| file.hash.len() == 32));
    let alone = trees.identify("COPY b.txt /x/").expect("because it is there");
    assert_eq!(alone[0], found[2]);
}

#[test]
fn root_identities_do_not_depend_on_threads_or_places() {
    if !can_run() {
        return;
    }
    let mut text = String::from("d 0755 0:0 /d\n");
    for directory in 0..8 {
        text.push_str(&format!("d 0750 3:4 /d/{directory}\n"));
        for file in 0..300 {
            text.push_str(&format!("f 0640 1:2 /d/{directory}/{file:03} \"{directory}{file}\"\n"));
        }
        text.push_str(&format!("l 0777 /d/{directory}/link -> 000\n"));
        text.push_str(&format!("h /d/{directory}/z = /d/0/000\n").repeat((directory > 0).into()));
    }
    let mut results = Vec::new();
    in_memory(|| {
        for threads in [1, 2, 8] {
            let mut trees = Trees::new(&text, "");
            trees.threads = threads;
            let found = trees.identify("COPY --from=0 d d/1 /x/");
            results.push(found.expect("because they are there"));
        }
    });
    assert_eq!(results[0][0].files.len(), 8 * 302 + 7);
    assert!(results.iter().all(|result| *result == results[0]));
    // A changed value here is a changed key for everybody: raise the version of the domain.
    let hex =
        |digest: &[u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    insta::assert_snapshot!(hex(&results[0][0].digest), @"712da42bb9df7b4de02207a340c09bb00b998640d14947d5b425fc846a497881");
}
