//! ADD of archives.

use std::io::Write;

use testkit::tar_builder::{Member, TarBuilder, gzip};

use crate::{Trees, can_run, compare};

fn archive() -> Vec<u8> {
    TarBuilder::new()
        .member(&Member::new(b'5', "t/").mode(0o750).owner(10, 11))
        .member(&Member::file("t/one", "one").mode(0o640).owner(10, 11))
        .member(&Member::file("t/two", "two").mode(0o4755))
        .symlink("t/l", "one")
        .hardlink("t/h", "t/one")
        .end()
}

/// Makes a file of the context.
fn put(trees: &Trees, name: &str, content: &[u8]) {
    let path = trees.context.path().join(name);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(content));
    written.expect("because the directory is ours");
}

/// Files of a context by name and content; the layer of the instruction.
fn check(files: &[(&str, &[u8])], root: &str, instruction: &str, expected: &str) {
    let trees = Trees::new("", root);
    for (name, content) in files {
        put(&trees, name, content);
    }
    compare(&trees.run(instruction).unwrap_or_else(|error| error), instruction, expected);
}

const UNPACKED: &str = r#"
    d 0755 0:0 /x
    d 0750 10:11 /x/t
    f 0640 10:11 /x/t/h "one"
    l 0777 0:0 /x/t/l -> one
    f 0640 10:11 /x/t/one "one"
    f 4755 0:0 /x/t/two "two"
"#;

#[test]
fn root_add_unpacks_by_content_into_a_directory() {
    if !can_run() {
        return;
    }
    check(&[("no-name", &archive())], "", "ADD no-name /x", UNPACKED);
    check(&[("a.tar", &archive())], "", "ADD a.tar /x/", UNPACKED);
    check(&[("a.tar", &archive())], "", "ADD *.tar /x", UNPACKED);
    check(&[("a.tar", &archive())], "", "ADD --chmod=600 --exclude=* a.tar /x", UNPACKED);
    check(&[("a.tgz", &gzip(&archive()))], "", "ADD a.tgz /x", UNPACKED);
}

#[test]
fn root_what_is_no_archive_is_copied() {
    if !can_run() {
        return;
    }
    let copied = |name: &str, content: &[u8]| {
        let expected = format!("d 0755 0:0 /x\nf 0644 0:0 /x/{name} ");
        let trees = Trees::new("", "");
        put(&trees, name, content);
        let found = trees.run(&format!("ADD {name} /x/")).unwrap_or_else(|error| error);
        assert!(found.starts_with(&expected), "{name}: {found}");
        let copy = std::fs::metadata(trees.root.path().join("x").join(name));
        assert_eq!(copy.map(|copy| copy.len()).ok(), Some(content.len() as u64), "{name}");
    };
    copied("text.tar", b"no archive at all");
    copied("empty.tar", b"");
    copied("text.gz", &gzip(b"a compressed text"));
    copied("cut.tgz", &gzip(&archive())[..40]);
    check(&[("a.tar", b"x")], "", "ADD a.tar /x", r#"f 0644 0:0 /x "x""#);
}

#[test]
fn root_copy_does_not_unpack_and_add_need_not() {
    if !can_run() {
        return;
    }
    let trees = Trees::new("", "");
    put(&trees, "a.tar", &archive());
    for instruction in ["COPY a.tar /x/one", "ADD --unpack=false a.tar /x/two", "ADD . /x/three/"] {
        assert!(trees.run(instruction).is_ok(), "{instruction}");
    }
    for copy in ["x/one", "x/two", "x/three/a.tar"] {
        let copy = std::fs::metadata(trees.root.path().join(copy));
        assert!(copy.is_ok_and(|copy| copy.is_file()));
    }
}

#[test]
fn root_add_chown_owns_everything() {
    if !can_run() {
        return;
    }
    let owned = r#"
        d 0755 3:4 /x
        d 0750 3:4 /x/t
        f 0640 3:4 /x/t/h "one"
        l 0777 3:4 /x/t/l -> one
        f 0640 3:4 /x/t/one "one"
        f 4755 3:4 /x/t/two "two"
    "#;
    check(&[("a.tar", &archive())], "", "ADD --chown=3:4 a.tar /x", owned);
}

#[test]
fn root_entries_replace_what_is_there() {
    if !can_run() {
        return;
    }
    let root =
        "d 0700 1:1 /x/t\n d 0755 0:0 /x/t/one\n l 0777 0:0 /x/t/two -> /etc\n d 0755 0:0 /etc";
    check(&[("a.tar", &archive())], root, "ADD a.tar /x", UNPACKED);
    let reset = "d 0700 1:1 /x\n d 0755 0:0 /x/t";
    check(&[("a.tar", &archive())], reset, "ADD --link a.tar /x", UNPACKED);
}

#[test]
fn root_names_are_clamped_into_the_destination() {
    if !can_run() {
        return;
    }
    let climbing = TarBuilder::new().file("../../up", "u").file("/abs", "a").end();
    check(
        &[("a.tar", &climbing)],
        "",
        "ADD a.tar /x",
        "d 0755 0:0 /x\n f 0644 0:0 /x/abs \"a\"\n f 0644 0:0 /x/up \"u\"",
    );
}

#[test]
fn root_links_of_an_archive_lead_inside_the_destination() {
    if !can_run() {
        return;
    }
    let through = |target: &str| {
        TarBuilder::new().dir("real", 0o755).symlink("l", target).file("l/f", "f").end()
    };
    let inside =
        "d 0755 0:0 /x\n l 0777 0:0 /x/l -> {}\n d 0755 0:0 /x/real\n f 0644 0:0 /x/real/f \"f\"";
    for target in ["real", "/real", "../../real"] {
        let expected = inside.replace("{}", target);
        check(&[("a.tar", &through(target))], "d 0755 0:0 /real", "ADD a.tar /x", &expected);
    }
    let refused = "error: cannot unpack `/a.tar`: archive entry `/l` is refused: it is a link that leads nowhere";
    check(&[("a.tar", &through("nowhere"))], "", "ADD a.tar /x", refused);
    let deep = TarBuilder::new().dir("real", 0o755).symlink("l", "real").file("l/new/f", "f").end();
    check(
        &[("a.tar", &deep)],
        "",
        "ADD a.tar /x",
        "d 0755 0:0 /x\n l 0777 0:0 /x/l -> real\n d 0755 0:0 /x/real\n d 0755 0:0 /x/real/new\n \
         f 0644 0:0 /x/real/new/f \"f\"",
    );
}

#[test]
fn root_a_damaged_archive_is_an_error() {
    if !can_run() {
        return;
    }
    let trees = Trees::new("", "");
    put(&trees, "a.tar", &archive()[..512 + 512 + 100]);
    let error = trees.run("ADD a.tar /x").expect_err("because the content is cut off");
    assert!(error.starts_with("error: cannot unpack `/a.tar`"), "{error}");
}
