//! Owners, modes, times, attributes, and files that are no files.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{DIR, Trees, can_run, check, check_last, compare};

#[test]
fn root_context_files_belong_to_root_and_image_files_keep_their_owner() {
    if !can_run() {
        return;
    }
    let tree = "d 0750 1:2 /d\n f 4711 3:4 /d/f \"f\"\n l 0777 5:6 /d/l -> f\n d 3777 7:8 /d/s";
    check(
        tree,
        "",
        "COPY d /x",
        "d 0755 0:0 /x\n f 4711 0:0 /x/f \"f\"\n l 0777 0:0 /x/l -> f\n d 3777 0:0 /x/s",
    );
    check(
        tree,
        "",
        "COPY --from=0 d /x",
        "d 0755 0:0 /x\n f 4711 3:4 /x/f \"f\"\n l 0777 5:6 /x/l -> f\n d 3777 7:8 /x/s",
    );
    check(
        tree,
        "",
        "COPY --from=0 --chown=9 d /y/x",
        "d 0755 9:9 /y\n d 0755 9:9 /y/x\n f 4711 9:9 /y/x/f \"f\"\n l 0777 9:9 /y/x/l -> f\n \
         d 3777 9:9 /y/x/s",
    );
}

#[test]
fn root_existing_directories_on_the_way_are_left_alone() {
    if !can_run() {
        return;
    }
    let root = "d 1777 3:4 /x\n d 0711 3:4 /x/sub\n f 0600 3:4 /x/other \"o\"";
    check(
        DIR,
        root,
        "COPY --chown=5:6 dir/x.txt /x/sub/",
        "d 1777 3:4 /x\n d 0711 3:4 /x/sub\n f 0600 5:6 /x/sub/x.txt \"x\"",
    );
    // The destination keeps its own; what is below takes the source's.
    check(
        DIR,
        root,
        "COPY dir /x",
        "d 1777 3:4 /x\n d 0700 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"\n \
         l 0777 0:0 /x/up -> ../a.txt\n f 0600 0:0 /x/x.txt \"x\"",
    );
}

#[test]
fn root_names_are_looked_up_in_the_destination() {
    if !can_run() {
        return;
    }
    let root = r#"
        f 0644 0:0 /etc/passwd "root:x:0:0::/:\napp:x:33:44::/:\n"
        f 0644 0:0 /etc/group "root:x:0:\nstaff:x:55:\n"
    "#;
    let owned = |chown: &str, owner: &str| {
        let expected = format!("f 0644 {owner} /x \"a\"");
        check(DIR, root, &format!("COPY --chown={chown} a.txt /x"), &expected);
        check(DIR, root, &format!("COPY --link --chown={chown} a.txt /x"), &expected);
    };
    owned("app", "33:44");
    owned("app:staff", "33:55");
    owned("app:7", "33:7");
    owned(":staff", "0:55");
    owned("7:staff", "7:55");
    owned("7", "7:7");
    owned("-1", "0:0");
    check(
        DIR,
        root,
        "COPY --chown=nosuch a.txt /x",
        "error: user nosuch is not a uid and does not exist on the system: unable to find user \
         nosuch: no matching entries in passwd file",
    );
    check(
        DIR,
        root,
        "COPY --chown=app:nosuch a.txt /x",
        "error: unable to find group nosuch: no matching entries in group file",
    );
}

#[test]
fn root_an_octal_mode_is_for_everything_made_but_links() {
    if !can_run() {
        return;
    }
    check(
        DIR,
        "",
        "COPY --chmod=1754 dir /y/x",
        "d 0754 0:0 /y\n d 0754 0:0 /y/x\n d 1754 0:0 /y/x/sub\n f 1754 0:0 /y/x/sub/y.md \"y\"\n \
         l 0777 0:0 /y/x/up -> ../a.txt\n f 1754 0:0 /y/x/x.txt \"x\"",
    );
    check(
        DIR,
        "d 0711 0:0 /y",
        "COPY --chmod=600 a.txt /y/",
        "d 0711 0:0 /y\n f 0600 0:0 /y/a.txt \"a\"",
    );
    check(
        DIR,
        "",
        "COPY --chmod=999 a.txt /x",
        "error: invalid chmod parameter: '999'. it should be octal string and between 0 and 07777",
    );
}

#[test]
fn root_a_symbolic_mode_starts_from_the_source() {
    if !can_run() {
        return;
    }
    check(
        DIR,
        "",
        "COPY --chmod=u=rwX,go=rX dir /x",
        "d 0755 0:0 /x\n d 0755 0:0 /x/sub\n f 0644 0:0 /x/sub/y.md \"y\"\n \
         l 0777 0:0 /x/up -> ../a.txt\n f 0644 0:0 /x/x.txt \"x\"",
    );
    check(DIR, "", "COPY --chmod=+x a.txt /x/", "d 0755 0:0 /x\n f 0755 0:0 /x/a.txt \"a\"");
}

#[test]
fn root_times_are_the_sources() {
    if !can_run() {
        return;
    }
    let trees = Trees::new(
        "d 0755 /d @1000000000.250000000\n d 0755 /d/s @1100000000.500000000\n \
         f 0644 /d/s/f \"f\" @1200000000.123456789\n l 0777 /d/s/l -> f @1300000000",
        "",
    );
    compare(
        &trees
            .run("COPY --from=0 --parents d /x/")
            .map(|_| String::new())
            .unwrap_or_else(|error| error),
        "COPY",
        "",
    );
    let shown = testkit::tree::Shown { owners: false, times: true };
    let printed = testkit::tree::print_with(trees.root.path(), shown);
    let times: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("/x/"))
        .filter_map(|line| line.split(" @").nth(1))
        .collect();
    assert_eq!(
        times,
        [
            "1000000000.250000000",
            "1100000000.500000000",
            "1200000000.123456789",
            "1300000000.000000000"
        ],
        "{printed}"
    );
}

#[test]
fn root_hard_links_of_one_tree_stay_and_those_between_sources_do_not() {
    if !can_run() {
        return;
    }
    let tree = "f 0644 /d/a \"same\"\n h /d/b = /d/a\n h /c = /d/a";
    let trees = Trees::new(tree, "");
    assert!(trees.run("COPY d c /x/").is_ok());
    compare(
        &testkit::tree::print(trees.root.path()),
        "COPY",
        "d 0755 0:0 /x\n f 0644 0:0 /x/a \"same\"\n h /x/b = /x/a\n f 0644 0:0 /x/c \"same\"",
    );
    let trees = Trees::new(tree, "");
    assert!(trees.run("COPY d/a d/b /x/").is_ok());
    compare(
        &testkit::tree::print(trees.root.path()),
        "COPY",
        "d 0755 0:0 /x\n f 0644 0:0 /x/a \"same\"\n f 0644 0:0 /x/b \"same\"",
    );
}

#[test]
fn root_attributes_pipes_and_devices_are_copied() {
    if !can_run() {
        return;
    }
    let tree =
        "p 0600 1:2 /d/p\n c 0666 0:0 /d/null 1:3\n f 0644 0:0 /d/f \"f\" user.note=\"mine\"";
    check(
        tree,
        "",
        "COPY --from=0 d /x",
        "d 0755 0:0 /x\n f 0644 0:0 /x/f \"f\" user.note=\"mine\"\n c 0666 0:0 /x/null 1:3\n \
         p 0600 1:2 /x/p",
    );
    check("p 0640 1:2 /p", "", "COPY p /x", "p 0640 0:0 /x");
    check_last(tree, "", "COPY d /x\n COPY d /x", "");
}

#[test]
fn root_holes_stay_holes() {
    use std::os::unix::fs::MetadataExt;
    if !can_run() {
        return;
    }
    let trees = Trees::new("", "");
    let sparse = trees.context.path().join("sparse");
    let file = std::fs::OpenOptions::new().create_new(true).write(true).open(sparse);
    file.and_then(|file| file.set_len(64 << 20)).expect("because the directory is ours");
    assert!(trees.run("COPY sparse /x").is_ok());
    let copied = std::fs::metadata(trees.root.path().join("x")).expect("because it was copied");
    assert_eq!(copied.len(), 64 << 20);
    assert!(copied.blocks() < 2_048, "{} blocks", copied.blocks());
}

#[test]
fn root_a_stop_is_obeyed_between_files() {
    if !can_run() {
        return;
    }
    let trees = Trees::new(DIR, "");
    let asked = AtomicU32::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) > 3;
    let error = trees.changes("COPY dir /x", &stop).expect_err("because it was stopped");
    assert!(matches!(error, copy::Error::Stopped), "{error}");
}
