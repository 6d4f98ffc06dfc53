//! `--link`: a layer laid over what is there, as if copied into an empty root.

use crate::{DIR, Trees, can_run, check, compare};

#[test]
fn root_parents_are_reset() {
    if !can_run() {
        return;
    }
    check(
        DIR,
        "d 1777 3:4 /tmp\n f 0600 3:4 /tmp/other \"o\"",
        "COPY --link a.txt /tmp/",
        "d 0755 0:0 /tmp\n f 0644 0:0 /tmp/a.txt \"a\"",
    );
    check(
        DIR,
        "d 0700 3:4 /root",
        "COPY --link --chown=5:6 a.txt /root/x/y",
        "d 0755 5:6 /root\n d 0755 5:6 /root/x\n f 0644 5:6 /root/x/y \"a\"",
    );
}

#[test]
fn root_links_in_the_destination_are_replaced() {
    if !can_run() {
        return;
    }
    let trees = Trees::new(DIR, "f 0644 0:0 /real/keep \"k\"\n l 0777 0:0 /lnk -> /real");
    let layer = "d 0755 0:0 /lnk\n f 0644 0:0 /lnk/a.txt \"a\"";
    let instruction = "COPY --link a.txt /lnk/";
    compare(&trees.run(instruction).unwrap_or_else(|error| error), instruction, layer);
    let tree = "d 0755 0:0 /lnk\n f 0644 0:0 /lnk/a.txt \"a\"\n d 0755 0:0 /real\n \
                f 0644 0:0 /real/keep \"k\"";
    compare(&testkit::tree::print(trees.root.path()), instruction, tree);
}

#[test]
fn root_what_is_there_does_not_make_the_destination_a_directory() {
    if !can_run() {
        return;
    }
    let trees = Trees::new(DIR, "f 0644 0:0 /x/old \"o\"");
    let instruction = "COPY --link a.txt /x";
    compare(
        &trees.run(instruction).unwrap_or_else(|error| error),
        instruction,
        "f 0644 0:0 /x \"a\"",
    );
    compare(&testkit::tree::print(trees.root.path()), instruction, "f 0644 0:0 /x \"a\"");
}

#[test]
fn root_everything_copied_is_in_the_layer_even_if_it_was_there() {
    if !can_run() {
        return;
    }
    let root = "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"\n f 0600 0:0 /x/mine \"m\"";
    check(
        DIR,
        root,
        "COPY --link dir /x",
        "d 0755 0:0 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"\n \
         l 0777 0:0 /x/up -> ../a.txt\n f 0600 0:0 /x/x.txt \"x\"",
    );
}

#[test]
fn root_link_means_nothing_together_with_chmod() {
    if !can_run() {
        return;
    }
    check(
        DIR,
        "d 0755 3:4 /x\n",
        "COPY --link --chmod=600 a.txt /x",
        "d 0755 3:4 /x\n f 0600 0:0 /x/a.txt \"a\"",
    );
}
