//! What a source names.

use crate::{DIR, can_run, check, check_last};

const LINKS: &str = r#"
    f 0644 /a.txt "a"
    f 0644 /dir/x.txt "x"
    l 0777 /link -> a.txt
    l 0777 /dlink -> dir
    l 0777 /rooted -> /dir
    l 0777 /dangling -> nowhere
    l 0777 /escape -> ../../../../etc/passwd
    l 0777 /loop -> loop
"#;

#[test]
fn root_a_directory_stands_for_its_contents() {
    if !can_run() {
        return;
    }
    let contents = r#"
        d 0755 0:0 /x
        d 0700 0:0 /x/sub
        f 0644 0:0 /x/sub/y.md "y"
        l 0777 0:0 /x/up -> ../a.txt
        f 0600 0:0 /x/x.txt "x"
    "#;
    for source in ["dir", "dir/", "dir/.", "/dir", "./dir", "../../dir", "a/../dir", "di*"] {
        for dest in ["/x", "/x/", "//x//", "/x/.", "/../x", "../x", "/y/../x"] {
            check(DIR, "", &format!("COPY {source} {dest}"), contents);
        }
    }
}

#[test]
fn root_a_file_keeps_its_name_in_a_directory() {
    if !can_run() {
        return;
    }
    check(DIR, "", "COPY a.txt /x", r#"f 0644 0:0 /x "a""#);
    let inside = r#"
        d 0755 0:0 /x
        f 0644 0:0 /x/a.txt "a"
    "#;
    check(DIR, "", "COPY a.txt /x/", inside);
    check(DIR, "", "COPY a.txt /x/.", inside);
    check(DIR, "d 0755 0:0 /x", "COPY a.txt /x", inside);
    let working = r#"
        d 0755 0:0 /app
        f 0644 0:0 /app/a.txt "a"
    "#;
    check(DIR, "d 0755 0:0 /app", "COPY a.txt .", working);
    check(DIR, "", "COPY a.txt ./", working);
    check(DIR, "", "COPY a.txt ./a.txt", working);
}

#[test]
fn root_a_missing_source_is_an_error_and_a_wildcard_without_matches_is_not() {
    if !can_run() {
        return;
    }
    check(DIR, "", "COPY nosuch /x", r#"error: "/nosuch": not found in the build context"#);
    check(DIR, "", "COPY a.txt nosuch /x/", r#"error: "/nosuch": not found in the build context"#);
    check(DIR, "", "COPY --from=0 nosuch /x", r#"error: "/nosuch": not found in the source image"#);
    check(DIR, "", "COPY a.txt/b /x", r#"error: "/a.txt/b": not found in the build context"#);
    check(DIR, "", "COPY nosuch* /x/", "");
    check(DIR, "", "COPY dir/*.png nosuch? /x/", "");
    check(DIR, "", "COPY a.txt/* /x/", "");
    // The directory a wildcard stands in has to be there.
    check(DIR, "", "COPY nosuch/* /x/", r#"error: "/nosuch": not found in the build context"#);
    check(
        DIR,
        "",
        "COPY [a /x/",
        "error: cannot use `[a` as a pattern: syntax error in pattern: `[a`",
    );
}

#[test]
fn root_wildcards_match_by_component_in_order() {
    if !can_run() {
        return;
    }
    let tree = r#"
        f 0644 /b/z "bz"
        f 0644 /a/y "ay"
        f 0644 /a/z "az"
        f 0644 /a/.hidden "h"
        f 0644 /a/deep/z "adz"
        f 0644 /a[0] "bracket"
        f 0644 /a*b "star"
    "#;
    let both = r#"
        d 0755 0:0 /x
        f 0644 0:0 /x/z "bz"
    "#;
    check(tree, "", "COPY */z /x/", both);
    check(tree, "", "COPY [a-b]/z /x/", both);
    check(tree, "", "COPY **/z /x/", both);
    check(tree, "", "COPY a[[]0] /x", r#"f 0644 0:0 /x "bracket""#);
    check(tree, "", "COPY a[0] /x", "");
    check(tree, "", "COPY a[*]b /x", r#"f 0644 0:0 /x "star""#);
    check(tree, "", r"COPY a\*b /x", r#"error: "/a\*b": not found in the build context"#);
    let hidden = r#"
        d 0755 0:0 /x
        f 0644 0:0 /x/.hidden "h"
        f 0644 0:0 /x/y "ay"
        f 0644 0:0 /x/z "adz"
    "#;
    // `deep` is a directory: its contents come, after `a/z` would have been overwritten by them.
    check_last(tree, "", "COPY a/.* a/y a/deep /x/", hidden);
}

#[test]
fn root_a_named_link_is_followed_inside_the_context() {
    if !can_run() {
        return;
    }
    check(LINKS, "", "COPY link /x/", "d 0755 0:0 /x\n f 0644 0:0 /x/link \"a\"");
    check(LINKS, "", "COPY dlink /x", "d 0755 0:0 /x\n f 0644 0:0 /x/x.txt \"x\"");
    check(LINKS, "", "COPY rooted/x.txt /x", r#"f 0644 0:0 /x "x""#);
    check(LINKS, "", "COPY dl*/x.txt /x", "");
    check(LINKS, "", "COPY dlink/*.txt /x", r#"f 0644 0:0 /x "x""#);
    check(LINKS, "", "COPY dangling /x", r#"error: "/dangling": not found in the build context"#);
    check(LINKS, "", "COPY escape /x", r#"error: "/escape": not found in the build context"#);
    check(LINKS, "", "COPY loop /x", "error: too many links at `/loop`");
}

#[test]
fn root_a_wildcard_takes_a_link_that_leads_nowhere_as_it_is() {
    if !can_run() {
        return;
    }
    let links = r#"
        d 0755 0:0 /x
        l 0777 0:0 /x/dangling -> nowhere
        l 0777 0:0 /x/escape -> ../../../../etc/passwd
        f 0644 0:0 /x/link "a"
        l 0777 0:0 /x/loop -> loop
    "#;
    check(LINKS, "", "COPY dang* esc* li* lo* /x/", links);
}

#[test]
fn root_ignored_files_do_not_exist() {
    if !can_run() {
        return;
    }
    let ignoring =
        |lines: &str| format!("{DIR}\n l 0777 /dlink -> dir\n f 0644 /.dockerignore \"{lines}\"");
    let gone = ", because its ignore file excludes it";
    let missing = |path: &str| format!("error: \"/{path}\": not found in the build context{gone}");
    check(&ignoring("dir"), "", "COPY dir /x", &missing("dir"));
    check(&ignoring("dir"), "", "COPY dir/x.txt /x", &missing("dir/x.txt"));
    check(&ignoring("dir"), "", "COPY dlink /x", &missing("dlink"));
    check(&ignoring("dir"), "", "COPY di* /x/", "");
    check(&ignoring("dlink"), "", "COPY dlink/x.txt /x", &missing("dlink/x.txt"));
    check(&ignoring("**"), "", "COPY . /x/", "d 0755 0:0 /x");
    let back = r#"
        d 0755 0:0 /x
        d 0700 0:0 /x/sub
        f 0644 0:0 /x/sub/y.md "y"
    "#;
    check(&ignoring("*\\n!dir/sub/y.md"), "", "COPY dir /x", back);
    check(&ignoring("*\\n!dir/sub/y.md"), "", "COPY d* /x", back);
    check(&ignoring("*\\n!dir/sub/nosuch"), "", "COPY dir /x", &missing("dir"));
    let dir = r#"
        d 0755 0:0 /x
        d 0750 0:0 /x/dir
        d 0700 0:0 /x/dir/sub
        f 0644 0:0 /x/dir/sub/y.md "y"
    "#;
    check(&ignoring("*\\n!dir/sub/y.md"), "", "COPY . /x", dir);
    // What comes from an image is not the context's.
    check(&ignoring("a.txt"), "", "COPY --from=0 a.txt /x", r#"f 0644 0:0 /x "a""#);
}

#[test]
fn root_here_documents_are_files() {
    if !can_run() {
        return;
    }
    check("", "", "COPY <<one /x", r#"f 0644 0:0 /x "text\n""#);
    let many = r#"
        d 0755 3:4 /x
        f 0640 3:4 /x/a.txt "a"
        f 0640 3:4 /x/one "text\n"
        f 0640 3:4 /x/two "text\n"
    "#;
    check(DIR, "d 0755 3:4 /x", "COPY --chown=3:4 --chmod=640 a.txt <<one <<two /x/", many);
    check("", "", "COPY <<a/b /x/", "error: open a/b: no such file or directory");
}
