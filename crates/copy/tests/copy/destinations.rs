//! Where copies go, and what they replace.

use rootfs::{Protected, RootPath};

use crate::{DIR, Trees, can_run, check, check_last, compare};

#[test]
fn root_links_in_the_destination_are_followed_inside_the_root() {
    if !can_run() {
        return;
    }
    let root = r#"
        d 0755 0:0 /real
        f 0644 0:0 /real/f "old"
        l 0777 0:0 /lnk -> /real
        l 0777 0:0 /up -> ../../../../real
        l 0777 0:0 /file -> real/f
        l 0777 0:0 /later -> /not/yet
        l 0777 0:0 /chain -> lnk
    "#;
    let real = r#"
        d 0755 0:0 /real
        f 0644 0:0 /real/a.txt "a"
    "#;
    for dest in ["/lnk", "/lnk/", "/up", "/up/", "/chain", "/lnk/a.txt", "/up/a.txt"] {
        check(DIR, root, &format!("COPY a.txt {dest}"), real);
    }
    check(DIR, root, "COPY a.txt /file", "d 0755 0:0 /real\n f 0644 0:0 /real/f \"a\"");
    check(DIR, root, "COPY a.txt /later", "d 0755 0:0 /not\n f 0644 0:0 /not/yet \"a\"");
    check(
        DIR,
        root,
        "COPY a.txt /lnk/new/deep/f",
        "d 0755 0:0 /real\n d 0755 0:0 /real/new\n d 0755 0:0 /real/new/deep\n \
         f 0644 0:0 /real/new/deep/f \"a\"",
    );
    check(
        DIR,
        "l 0777 0:0 /a -> b\n l 0777 0:0 /b -> a",
        "COPY a.txt /a",
        "error: too many links at `/a`",
    );
}

#[test]
fn root_inside_a_tree_files_replace_and_never_write_through() {
    if !can_run() {
        return;
    }
    let trees = Trees::new(
        DIR,
        "f 0644 0:0 /passwd \"secret\"\n d 0755 0:0 /x\n l 0777 0:0 /x/x.txt -> /passwd\n \
         f 0644 0:0 /x/up \"file\"",
    );
    let layer = r#"
        d 0755 0:0 /x
        d 0700 0:0 /x/sub
        f 0644 0:0 /x/sub/y.md "y"
        l 0777 0:0 /x/up -> ../a.txt
        f 0600 0:0 /x/x.txt "x"
    "#;
    compare(&trees.run("COPY dir /x").unwrap_or_else(|error| error), "COPY dir /x", layer);
    let secret = testkit::tree::print_one(trees.root.path(), "/passwd");
    assert_eq!(secret, r#"f 0644 0:0 /passwd "secret""#);
}

#[test]
fn root_directories_and_files_do_not_replace_each_other() {
    if !can_run() {
        return;
    }
    check(
        DIR,
        "d 0755 0:0 /x/a.txt",
        "COPY a.txt /x/",
        "error: cannot replace to directory /x/a.txt with file",
    );
    check(DIR, "f 0644 0:0 /x \"\"", "COPY dir /x", "error: cannot copy to non-directory: /x");
    check(
        DIR,
        "l 0777 0:0 /x/sub -> /\n",
        "COPY dir /x",
        "error: cannot copy to non-directory: /x/sub",
    );
    check(DIR, "f 0644 0:0 /x \"\"", "COPY a.txt /x/", "error: mkdir /x: not a directory");
    check(DIR, "f 0644 0:0 /x \"\"", "COPY a.txt /x/y", "error: mkdir /x: not a directory");
}

#[test]
fn root_several_files_need_a_directory() {
    if !can_run() {
        return;
    }
    let refused = "error: when specifying multiple sources in a COPY command, destination must be \
                   a directory and end in '/': When using COPY with more than one source file, \
                   the destination must be a directory and end with a /";
    check(DIR, "", "COPY a.txt b.txt /x", refused);
    check(DIR, "", "COPY [ab].txt /x", refused);
    check(DIR, "", "COPY a.txt <<b /x", refused);
    let both = r#"
        d 0755 0:0 /x
        f 0644 0:0 /x/a.txt "a"
        f 0755 0:0 /x/b.txt "b"
    "#;
    check(DIR, "d 0755 0:0 /x", "COPY a.txt b.txt /x", both);
    check(DIR, "", "COPY [ab].txt /x/", both);
    check(
        DIR,
        "",
        "COPY dir/sub dir /x",
        "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"\n \
         l 0777 0:0 /x/up -> ../a.txt\n f 0600 0:0 /x/x.txt \"x\"\n f 0644 0:0 /x/y.md \"y\"",
    );
}

#[test]
fn root_what_is_already_there_is_no_change() {
    if !can_run() {
        return;
    }
    check_last(DIR, "", "COPY dir /x\n COPY dir /x", "");
    check_last(
        DIR,
        "",
        "COPY a.txt /x/\n COPY a.txt b.txt /x/",
        "d 0755 0:0 /x\n f 0755 0:0 /x/b.txt \"b\"",
    );
    check_last(
        DIR,
        "",
        "COPY dir /x\n COPY --chmod=600 dir/x.txt /x/\n COPY --chmod=640 dir/x.txt /x/",
        "d 0755 0:0 /x\n f 0640 0:0 /x/x.txt \"x\"",
    );
    check_last(
        "f 0644 /one/f \"same\" @1700000000.5\n f 0644 /two/f \"diff\" @1700000000.5",
        "",
        "COPY one /x\n COPY two /x",
        "d 0755 0:0 /x\n f 0644 0:0 /x/f \"diff\"",
    );
}

#[test]
fn root_protected_paths_are_refused() {
    if !can_run() {
        return;
    }
    let root = "d 0755 0:0 /kaniko\n l 0777 0:0 /k -> kaniko\n f 0644 0:0 /etc/x.txt \"mine\"";
    for (instruction, refused) in [
        ("COPY a.txt /kaniko/", "/kaniko/a.txt"),
        ("COPY a.txt /k/", "/kaniko/a.txt"),
        ("COPY a.txt /kaniko/new/f", "/kaniko/new"),
        ("COPY dir /kaniko", "/kaniko/up"),
        ("COPY dir/x.txt /etc/", "/etc/x.txt"),
        ("COPY dir /etc", "/etc/x.txt"),
        ("COPY --link a.txt /kaniko", "/kaniko"),
        ("COPY --link a.txt /etc", "/etc/x.txt"),
        ("COPY <<text /etc/x.txt", "/etc/x.txt"),
    ] {
        let mut trees = Trees::new(DIR, root);
        let path = |text: &str| RootPath::new(text).expect("because it is short");
        trees.protected = Protected::from_paths([path("/kaniko"), path("/etc/x.txt")]);
        let expected = format!("error: cannot write to `{refused}`, which is protected");
        assert_eq!(trees.run(instruction), Err(expected), "{instruction}");
        let mine = testkit::tree::print_one(trees.root.path(), "/etc/x.txt");
        assert_eq!(mine, "f 0644 0:0 /etc/x.txt \"mine\"", "{instruction}");
    }
}
