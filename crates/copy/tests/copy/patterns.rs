//! `--exclude` and `--parents`.

use crate::{DIR, can_run, check};

#[test]
fn root_exclude_is_relative_to_the_copied_directory() {
    if !can_run() {
        return;
    }
    let without_sub = "d 0755 0:0 /x\n l 0777 0:0 /x/up -> ../a.txt\n f 0600 0:0 /x/x.txt \"x\"";
    check(DIR, "", "COPY --exclude=sub dir /x", without_sub);
    check(DIR, "", "COPY --exclude=sub/ dir /x", without_sub);
    check(DIR, "", "COPY --exclude=s* dir /x", without_sub);
    let whole = "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"\n \
                 l 0777 0:0 /x/up -> ../a.txt\n f 0600 0:0 /x/x.txt \"x\"";
    check(DIR, "", "COPY --exclude=/sub dir /x", whole);
    check(DIR, "", "COPY --exclude=dir/sub dir /x", whole);
    check(DIR, "", "COPY --exclude=*.md dir /x", whole);
    check(
        DIR,
        "",
        "COPY --exclude=**/*.md --exclude=up dir /x",
        "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0600 0:0 /x/x.txt \"x\"",
    );
    check(DIR, "", "COPY --exclude=* dir /x", "d 0755 0:0 /x");
    check(
        DIR,
        "",
        "COPY --exclude=* --exclude=!sub/y.md dir /x",
        "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"",
    );
}

#[test]
fn root_exclude_means_nothing_for_a_file() {
    if !can_run() {
        return;
    }
    check(DIR, "", "COPY --exclude=a.txt a.txt /x", r#"f 0644 0:0 /x "a""#);
    check(
        DIR,
        "",
        "COPY --exclude=a.txt *.txt /x/",
        "d 0755 0:0 /x\n f 0644 0:0 /x/a.txt \"a\"\n f 0755 0:0 /x/b.txt \"b\"",
    );
    check(
        DIR,
        "",
        "COPY --exclude=[ a.txt /x",
        "error: cannot use `[` as a pattern: syntax error in pattern: `[`",
    );
}

#[test]
fn root_parents_keep_the_path_and_its_metadata() {
    if !can_run() {
        return;
    }
    check(
        DIR,
        "",
        "COPY --parents dir/sub/y.md a.txt /x",
        "d 0755 0:0 /x\n f 0644 0:0 /x/a.txt \"a\"\n d 0750 0:0 /x/dir\n d 0700 0:0 /x/dir/sub\n \
         f 0644 0:0 /x/dir/sub/y.md \"y\"",
    );
    let pivoted = "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"";
    check(DIR, "", "COPY --parents dir/./sub/y.md /x/", pivoted);
    check(DIR, "", "COPY --parents ./dir/./sub /x/", pivoted);
    check(DIR, "", "COPY --parents d*/./sub /x/", pivoted);
    check(DIR, "", "COPY --parents dir/./**/*.md /x/", pivoted);
    check(
        DIR,
        "",
        "COPY --parents --chown=5:6 --chmod=711 dir/x.txt /x/",
        "d 0711 5:6 /x\n d 0711 5:6 /x/dir\n f 0711 5:6 /x/dir/x.txt \"x\"",
    );
    check(
        DIR,
        "",
        "COPY --parents --exclude=dir/sub dir /x/",
        "d 0755 0:0 /x\n d 0750 0:0 /x/dir\n l 0777 0:0 /x/dir/up -> ../a.txt\n \
         f 0600 0:0 /x/dir/x.txt \"x\"",
    );
}

#[test]
fn root_parents_reach_over_directories_with_two_stars() {
    if !can_run() {
        return;
    }
    check(
        DIR,
        "",
        "COPY --parents **/*.md /x/",
        "d 0755 0:0 /x\n d 0750 0:0 /x/dir\n d 0700 0:0 /x/dir/sub\n \
         f 0644 0:0 /x/dir/sub/y.md \"y\"",
    );
    check(DIR, "", "COPY --parents **/*.png /x/", "d 0755 0:0 /x");
}

#[test]
fn root_parents_need_what_they_name() {
    if !can_run() {
        return;
    }
    let tree = format!("{DIR}\n l 0777 /dlink -> dir");
    let missing = |path: &str| format!("error: \"/{path}\": not found in the build context");
    check(&tree, "", "COPY --parents dir/nosuch /x/", &missing("dir/nosuch"));
    check(&tree, "", "COPY --parents nosuch/./a /x/", &missing("nosuch"));
    check(&tree, "", "COPY --parents dlink/x.txt /x/", &missing("dlink/x.txt"));
    check(&tree, "", "COPY --parents a.txt/./b /x/", &missing("a.txt/b"));
    check(&tree, "", "COPY --parents ../a.txt /x/", "d 0755 0:0 /x\n f 0644 0:0 /x/a.txt \"a\"");
}

#[test]
fn root_parents_of_everything_are_everything() {
    if !can_run() {
        return;
    }
    let whole = "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"\n \
                 l 0777 0:0 /x/up -> ../a.txt\n f 0600 0:0 /x/x.txt \"x\"";
    check(DIR, "", "COPY --parents dir/./ /x/", whole);
    check(DIR, "", "COPY --parents dir/./. /x/", whole);
}
