//! What every operation of a root does to a tree, the same with both engines.
#![allow(missing_docs)]

use std::io::Write;

use rootfs::{Engine, Error, FileKind, Protected, RootDir, RootPath, Timestamp};
use testkit::tree::{self, Shown};
use testkit::{ScratchRoot, require_root};

type Done = Result<String, Error>;

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because paths in tests are short")
}

/// Before → action → after, once with each engine. The action's answer stands on the first line.
fn check(before: &str, action: impl Fn(&RootDir) -> Done, after: &str) {
    for engine in [Engine::Kernel, Engine::Walking] {
        let scratch = ScratchRoot::with(before);
        let root = RootDir::open_with(scratch.path(), engine).expect("because it is there");
        let answer = match action(&root) {
            Ok(answer) => answer,
            Err(error) => told(&error),
        };
        let shown = Shown { owners: false, times: after.contains('@') };
        let tree = tree::print_with(scratch.path(), shown);
        let lines: Vec<&str> = after.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        assert_eq!(format!("{answer}\n{tree}").trim(), lines.join("\n"), "with {engine:?}");
    }
}

/// The whole chain of causes, as the programs show it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn ok(result: Result<(), Error>) -> Done {
    result.map(|()| "ok".to_owned())
}

#[test]
fn metadata_is_about_the_path_itself() {
    let tree = "f 0640 /a/f \"four\"
        l 0777 /l -> a/f
        l 0777 /up -> a";
    let ask = |text: &'static str| {
        move |root: &RootDir| {
            let found = root.metadata(&path(text))?;
            Ok(format!("{:?} {:04o} {}", found.kind, found.mode, found.size))
        }
    };
    let after = |answer: &str| {
        format!("{answer}\nd 0755 /a\nf 0640 /a/f \"four\"\nl 0777 /l -> a/f\nl 0777 /up -> a")
    };
    check(tree, ask("/a/f"), &after("File 0640 4"));
    check(tree, ask("/l"), &after("Symlink 0777 3"));
    check(tree, ask("/up/f"), &after("File 0640 4"));
    check(tree, ask("/l/x"), &after("cannot stat `/l/x`: Not a directory (os error 20)"));
    check(tree, ask("/b"), &after("cannot stat `/b`: No such file or directory (os error 2)"));
    check(
        tree,
        |root| Ok(format!("{}", root.metadata_opt(&path("/l/x"))?.is_none())),
        &after("true"),
    );
}

#[test]
fn links_stay_inside() {
    let tree = "d 0755 /etc
        l 0777 /abs -> /etc
        l 0777 /dots -> ../../../../../etc
        l 0777 /deep/loop -> /deep/loop
        l 0777 /deep/file -> /etc/passwd/
        l 0777 /deep/dots -> ../x/../../etc/./
        d 0755 /x
        f 0644 /etc/passwd \"inside\"";
    for (asked, wanted) in [
        ("/abs/passwd", "inside"),
        ("/dots/passwd", "inside"),
        ("/deep/dots/passwd", "inside"),
        (
            "/deep/loop/passwd",
            "cannot open `/deep/loop/passwd`: Too many levels of symbolic links (os error 40)",
        ),
        ("/deep/file/x", "cannot open `/deep/file/x`: Not a directory (os error 20)"),
        ("/abs", "`/abs` is not a regular file"),
        ("/etc", "`/etc` is not a regular file"),
    ] {
        let read = |root: &RootDir| {
            let content = root.read(&path(asked), 100)?;
            Ok(String::from_utf8_lossy(&content).into_owned())
        };
        let scratch = ScratchRoot::with(tree);
        check(
            tree,
            read,
            &format!(
                "{wanted}\n{}",
                tree::print_with(scratch.path(), Shown { owners: false, times: false })
            ),
        );
    }
}

#[test]
fn resolving_tells_where_links_lead() {
    let tree = "d 0755 /a/b
        f 0644 /a/f \"\"
        l 0777 /l -> /a/b
        l 0777 /m -> l/../f
        l 0777 /dangling -> /no/../where/x
        l 0777 /cycle -> cycle";
    let scratch = ScratchRoot::with(tree);
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let say = |result: Result<RootPath, Error>| match result {
        Ok(path) => path.to_string(),
        Err(error) => told(&error),
    };
    for (asked, whole, existing, parent) in [
        ("/", "/", "/", "/"),
        ("/l", "/a/b", "/a/b", "/l"),
        ("/l/n/o", "No such file or directory (os error 2)", "/a/b/n/o", "/a/b/n/o"),
        ("/m", "/a/f", "/a/f", "/m"),
        ("/dangling", "No such file or directory (os error 2)", "/where/x", "/dangling"),
        ("/dangling/y", "No such file or directory (os error 2)", "/where/x/y", "/where/x/y"),
        (
            "/a/f/x",
            "Not a directory (os error 20)",
            "Not a directory (os error 20)",
            "Not a directory (os error 20)",
        ),
    ] {
        let short = |text: String| text.rsplit(": ").next().map(str::to_owned).unwrap_or_default();
        let asked = path(asked);
        assert_eq!(short(say(root.resolve(&asked))), whole, "resolve {asked}");
        assert_eq!(short(say(root.resolve_existing(&asked))), existing, "existing {asked}");
        assert_eq!(short(say(root.resolve_parent(&asked))), parent, "parent {asked}");
    }
    assert_eq!(say(root.resolve_parent(&path("/cycle"))), "/cycle");
    assert!(root.resolve(&path("/cycle")).is_err());
}

#[test]
fn names_are_made_exactly_as_asked() {
    check("", |root| ok(root.create_dir(&path("/d"), 0o7777)), "ok\nd 7777 /d");
    check(
        "d 2755 /s",
        |root| ok(root.create_dir(&path("/s/d"), 0o700)),
        "ok\nd 2755 /s\nd 0700 /s/d",
    );
    check("", |root| ok(root.create_file(&path("/f"), 0o4777).map(drop)), "ok\nf 4777 /f \"\"");
    check("", |root| ok(root.symlink(&path("/l"), b"/etc/\xff")), "ok\nl 0777 /l -> /etc/\\xff");
    check("", |root| ok(root.mknod(&path("/p"), FileKind::Fifo, 0o666, (0, 0))), "ok\np 0666 /p");
    check(
        "f 0644 /a \"1\"",
        |root| ok(root.hard_link(&path("/a"), &path("/b"))),
        "ok\nf 0644 /a \"1\"\nh /b = /a",
    );
    check(
        "l 0777 /a -> x",
        |root| ok(root.hard_link(&path("/a"), &path("/b"))),
        "ok\nl 0777 /a -> x\nh /b = /a",
    );
    check(
        "l 0777 /l -> new",
        |root| ok(root.create_file(&path("/l"), 0o644).map(drop)),
        "cannot create `/l`: File exists (os error 17)\nl 0777 /l -> new",
    );
    check(
        "",
        |root| ok(root.mknod(&path("/d"), FileKind::Directory, 0o755, (0, 0))),
        "cannot create the node `/d`: Invalid argument (os error 22)",
    );
}

#[test]
fn directories_are_made_through_links() {
    let all = |text: &'static str| {
        move |root: &RootDir| {
            let made = root.create_dir_all(&path(text), 0o750)?;
            Ok(format!("{made:?}"))
        }
    };
    check("", all("/a/b"), "[`/a`, `/a/b`]\nd 0750 /a\nd 0750 /a/b");
    check("d 0755 /a", all("/a"), "[]\nd 0755 /a");
    check("d 0755 /a", all("/"), "[]\nd 0755 /a");
    check(
        "d 0755 /usr\nl 0777 /bin -> usr",
        all("/bin/x/y"),
        "[`/usr/x`, `/usr/x/y`]\nl 0777 /bin -> usr\nd 0755 /usr\nd 0750 /usr/x\nd 0750 /usr/x/y",
    );
    check(
        "l 0777 /l -> ../../x",
        all("/l/y"),
        "[`/x`, `/x/y`]\nl 0777 /l -> ../../x\nd 0750 /x\nd 0750 /x/y",
    );
    check(
        "f 0644 /f \"\"",
        all("/f"),
        "cannot create the directory `/f`: Not a directory (os error 20)\nf 0644 /f \"\"",
    );
    check(
        "f 0644 /f \"\"",
        all("/f/x"),
        "cannot resolve `/f/x`: Not a directory (os error 20)\nf 0644 /f \"\"",
    );
}

#[test]
fn names_are_removed_and_renamed() {
    check(
        "l 0777 /l -> d\nf 0644 /d/f \"\"",
        |root| ok(root.remove(&path("/l"))),
        "ok\nd 0755 /d\nf 0644 /d/f \"\"",
    );
    check("d 0755 /d", |root| ok(root.remove(&path("/d"))), "ok");
    check(
        "f 0644 /d/f \"\"",
        |root| ok(root.remove(&path("/d"))),
        "cannot remove `/d`: Directory not empty (os error 39)\nd 0755 /d\nf 0644 /d/f \"\"",
    );
    check(
        "f 0644 /a \"\"\nd 0755 /d",
        |root| ok(root.rename(&path("/a"), &path("/d/b"))),
        "ok\nd 0755 /d\nf 0644 /d/b \"\"",
    );
    check("", |root| ok(root.remove(&RootPath::root())), "cannot remove the root directory itself");
    check(
        "",
        |root| ok(root.rename(&RootPath::root(), &path("/x"))),
        "cannot rename the root directory itself",
    );
}

#[test]
fn attributes_are_set_on_the_path_itself() {
    let note =
        |text: &'static str| move |root: &RootDir| ok(root.set_xattr(&path(text), b"user.n", b"v"));
    check("f 0644 /f \"\"", |root| ok(root.set_mode(&path("/f"), 0o4111)), "ok\nf 4111 /f \"\"");
    check("p 0600 /p", |root| ok(root.set_mode(&path("/p"), 0o622)), "ok\np 0622 /p");
    check("s 0600 /s", |root| ok(root.set_mode(&path("/s"), 0o622)), "ok\ns 0622 /s");
    check("d 0755 /d", |root| ok(root.set_mode(&path("/d"), 0o1777)), "ok\nd 1777 /d");
    check(
        "f 0644 /f \"\"\nl 0777 /l -> f",
        |root| ok(root.set_mode(&path("/l"), 0o600)),
        "`/l` is not a file that has a mode (it is a symbolic link)\nf 0644 /f \"\"\nl 0777 /l -> f",
    );
    let time = Timestamp { secs: 1_000_000_000, nanos: 5 };
    check(
        "f 0644 /f \"\" @1\nl 0777 /l -> f @2",
        |root| ok(root.set_times(&path("/l"), time)),
        "ok\nf 0644 /f \"\" @1.000000000\nl 0777 /l -> f @1000000000.000000005",
    );
    check("f 0644 /f \"\"", note("/f"), "ok\nf 0644 /f \"\" user.n=\"v\"");
    check("d 0755 /d", note("/d"), "ok\nd 0755 /d user.n=\"v\"");
    check(
        "f 0644 /f \"\"\nl 0777 /l -> f",
        note("/l"),
        "cannot set an attribute of `/l`: Operation not permitted (os error 1)\nf 0644 /f \"\"\nl 0777 /l -> f",
    );
    check(
        "f 0644 /f \"\" user.n=\"v\"",
        |root| ok(root.remove_xattr(&path("/f"), b"user.n")),
        "ok\nf 0644 /f \"\"",
    );
    check(
        "f 0644 /f \"\" user.b=\"2\" user.a=\"1\" user.overlay.opaque=\"y\"",
        |root| {
            Ok(format!(
                "{:?}",
                root.get_xattrs(&path("/f"))?
                    .into_keys()
                    .map(|name| String::from_utf8_lossy(&name).into_owned())
                    .collect::<Vec<_>>()
            ))
        },
        "[\"user.a\", \"user.b\"]\nf 0644 /f \"\" user.a=\"1\" user.b=\"2\" user.overlay.opaque=\"y\"",
    );
    check(
        "f 0644 /f \"\"",
        |root| ok(root.set_owner(&path("/f"), u32::MAX, 0)),
        "4294967295 is not a valid owner for `/f`\nf 0644 /f \"\"",
    );
}

/// What was opened stays what it is, whoever has its name by now.
#[test]
fn an_open_node_is_one_file() {
    let scratch = ScratchRoot::with(
        "f 0640 /f \"four\" user.a=\"1\"\nl 0777 /l -> f\np 0600 /p\nd 0750 /d user.b=\"2\"",
    );
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let open = |text: &str| root.open_node(&path(text)).expect("because it is there");
    let (file, link, fifo, directory) = (open("/f"), open("/l"), open("/p"), open("/d"));
    for name in ["/f", "/l", "/p", "/d"] {
        root.rename(&path(name), &path(&format!("{name}.old"))).expect("because it is free");
        root.symlink(&path(name), b"elsewhere").expect("because it is free");
    }
    let about = |node: &rootfs::OpenNode| {
        let found = node.metadata();
        let xattrs = node.xattrs().expect("because it is open");
        format!("{:?} {:04o} {:?}", found.kind, found.mode, xattrs.keys().next().map(Vec::len))
    };
    assert_eq!(about(&file), "File 0640 Some(6)");
    assert_eq!(about(&link), "Symlink 0777 None");
    assert_eq!(about(&fifo), "Fifo 0600 None");
    assert_eq!(about(&directory), "Directory 0750 Some(6)");
    assert_eq!(link.read_link().expect("because it is a link"), b"f");
    let check = |result: Result<(), Error>, expected: &str| {
        assert_eq!(result.map_or_else(|error| told(&error), |()| "ok".to_owned()), expected);
    };
    check(file.read_link().map(drop), "`/f` is not a symbolic link");
    check(fifo.read_link().map(drop), "`/p` is not a symbolic link");
    check(directory.into_file().map(drop), "`/d` is not a regular file");
    check(fifo.into_file().map(drop), "`/p` is not a regular file");
    let mut content = String::new();
    let mut file = file.into_file().expect("because it is a file");
    std::io::Read::read_to_string(&mut file, &mut content).expect("because it is open");
    assert_eq!(content, "four");
    check(
        root.open_node(&path("/none")).map(drop),
        "cannot open `/none`: No such file or directory (os error 2)",
    );
}

#[test]
fn large_attributes_come_whole() {
    let scratch = ScratchRoot::with("f 0644 /f \"\"");
    let root = RootDir::open(scratch.path()).expect("because it is there");
    root.set_xattr(&path("/f"), b"user.big", &[7; 3000]).expect("because the value fits");
    let found = root.get_xattrs(&path("/f")).expect("because it can be read");
    assert_eq!(found.get(&b"user.big"[..]).map(Vec::len), Some(3000));
}

#[test]
fn nothing_blocks_and_limits_hold() {
    check(
        "p 0600 /p",
        |root| ok(root.open_file(&path("/p")).map(drop)),
        "`/p` is not a regular file\np 0600 /p",
    );
    check(
        "f 0644 /f \"12345\"",
        |root| ok(root.read(&path("/f"), 4).map(drop)),
        "`/f` is larger than 4 bytes\nf 0644 /f \"12345\"",
    );
    check(
        "f 0644 /f \"1234\"",
        |root| ok(root.read(&path("/f"), 4).map(drop)),
        "ok\nf 0644 /f \"1234\"",
    );
    check(
        "f 0644 /f \"\"",
        |root| ok(root.read_link(&path("/f")).map(drop)),
        "`/f` is not a symbolic link\nf 0644 /f \"\"",
    );
}

#[test]
fn listings_are_sorted_and_typed() {
    let tree = "l 0777 /d/c -> x\nf 0644 /d/a \"\"\nd 0755 /d/b\nl 0777 /l -> d";
    let list = |text: &'static str| {
        move |root: &RootDir| {
            let entries = root.read_dir(&path(text))?;
            let names = entries
                .iter()
                .map(|entry| format!("{}:{:?}", String::from_utf8_lossy(&entry.name), entry.kind));
            Ok(names.collect::<Vec<_>>().join(" "))
        }
    };
    let after = "d 0755 /d\nf 0644 /d/a \"\"\nd 0755 /d/b\nl 0777 /d/c -> x\nl 0777 /l -> d";
    check(tree, list("/d"), &format!("a:File b:Directory c:Symlink\n{after}"));
    check(tree, list("/"), &format!("d:Directory l:Symlink\n{after}"));
    check(tree, list("/l"), &format!("cannot list `/l`: Not a directory (os error 20)\n{after}"));
}

#[test]
fn a_directory_can_be_a_root() {
    check(
        "f 0644 /sub/f \"x\"\nl 0777 /sub/up -> /../f\nl 0777 /l -> sub",
        |root| {
            let sub = root.subdir(&path("/l"))?;
            let up = sub.resolve(&path("/up"))?;
            sub.remove(&path("/f"))?;
            Ok(format!("{up}"))
        },
        "/f\nl 0777 /l -> sub\nd 0755 /sub\nl 0777 /sub/up -> /../f",
    );
}

#[test]
fn contents_are_copied_with_their_holes() {
    let scratch = ScratchRoot::new();
    let root = RootDir::open(scratch.path()).expect("because it is there");
    for (name, size, data) in
        [("/empty", 0, 0), ("/full", 300_000, 0), ("/sparse", 64 << 20, 32 << 20)]
    {
        let from = root.create_file(&path(name), 0o644).expect("because nothing is there");
        from.set_len(size).expect("because there is room");
        if size > 0 {
            use std::os::unix::fs::FileExt;
            let length = if data == 0 { size } else { 5000 };
            let bytes = vec![7; usize::try_from(length).expect("because it is small")];
            from.write_all_at(&bytes, data).expect("because there is room");
        }
        from.sync_all().expect("because the disk works");
        let copy = path(&format!("{name}-copy"));
        let mut to = root.create_file(&copy, 0o600).expect("because nothing is there");
        let before = root.metadata(&path(name)).expect("because it is there");
        let route = rootfs::CopyRoute::default();
        rootfs::copy_file_contents(&from, &before, &to, &route, &|| false)
            .expect("because there is room");
        to.flush().expect("because the disk works");
        let (a, b) = (root.metadata(&path(name)), root.metadata(&copy));
        let (a, b) = (a.expect("because it is there"), b.expect("because it is there"));
        assert_eq!(a.size, b.size);
        assert!(data == 0 || b.blocks < 1000, "the hole took {} blocks", b.blocks);
        let read = |of| root.read(of, 1 << 30).expect("because it is there");
        assert!(read(&path(name)) == read(&copy), "{name} differs");
    }
}

#[test]
fn a_file_that_was_written_since_it_was_looked_at_is_not_copied() {
    let scratch = ScratchRoot::with("f 0644 /f \"text\"");
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let check = |number: u32, write: &dyn Fn(&std::fs::File), expected: Option<&str>| {
        let before = root.metadata(&path("/f")).expect("because it is there");
        let from = root.open_file_for_writing(&path("/f")).expect("because it is there");
        write(&from);
        let to = root.create_file(&path(&format!("/{number}")), 0o600).expect("because it is new");
        let route = rootfs::CopyRoute::default();
        let copied = rootfs::copy_file_contents(&from, &before, &to, &route, &|| false);
        assert_eq!(copied.err().map(|error| error.to_string()).as_deref(), expected);
    };
    let changed = "file changed while it was read";
    check(0, &|_| {}, None);
    check(
        1,
        &|file| file.set_len(5).expect("because there is room"),
        Some(&format!("{changed}: 4 bytes expected, 5 found")),
    );
    check(
        2,
        &|file| file.set_len(2).expect("because it is ours"),
        Some(&format!("{changed}: 5 bytes expected, 2 found")),
    );
    // The same size and the old time again: the ctime tells.
    let rewritten = |file: &std::fs::File| {
        use std::os::unix::fs::FileExt;
        let time = file.metadata().and_then(|metadata| metadata.modified());
        file.write_all_at(b"x", 0).expect("because there is room");
        file.set_modified(time.expect("because Linux keeps it")).expect("because it is ours");
    };
    check(3, &rewritten, Some(changed));
}

#[test]
fn root_owners_devices_and_capabilities() {
    if !require_root("owners, devices and capabilities") {
        return;
    }
    let scratch = ScratchRoot::with("f 0755 /f \"\"\nl 0777 /l -> f");
    for engine in [Engine::Kernel, Engine::Walking] {
        let root = RootDir::open_with(scratch.path(), engine).expect("because it is there");
        let capability =
            b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        let done = || -> Result<(), Error> {
            root.set_owner(&path("/f"), 1000, 1001)?;
            root.set_owner(&path("/l"), 5, 6)?;
            root.set_xattr(&path("/f"), b"security.capability", capability)?;
            root.mknod(&path("/c"), FileKind::CharDevice, 0o666, (1, 3))?;
            root.set_xattr(&path("/l"), b"trusted.note", b"on the link")?;
            assert_eq!(root.get_xattrs(&path("/l"))?.len(), 1);
            assert_eq!(root.get_xattrs(&path("/c"))?.len(), 0);
            assert_eq!(root.get_xattrs(&path("/f"))?[&b"security.capability"[..]], capability);
            Ok(())
        };
        done().expect("because root may");
        let seen = tree::print(scratch.path());
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines[0], "c 0666 0:0 /c 1:3");
        assert!(lines[1].starts_with("f 0755 1000:1001 /f"), "{}", lines[1]);
        assert_eq!(
            lines[2],
            "l 0777 5:6 /l -> f trusted.note=\"on\\x20the\\x20link\"".replace("\\x20", " ")
        );
        root.remove_tree(&path("/c"), &Protected::none()).expect("because root may");
    }
}

#[test]
fn root_magic_links_are_not_followed() {
    if !require_root("a mount") {
        return;
    }
    let scratch =
        ScratchRoot::with("d 0755 /proc\nl 0777 /x -> /proc/self/root\nf 0644 /etc/f \"\"");
    testkit::in_private_mounts(|| {
        testkit::mount_bind(std::path::Path::new("/proc"), &scratch.path().join("proc"));
        for engine in [Engine::Kernel, Engine::Walking] {
            let root = RootDir::open_with(scratch.path(), engine).expect("because it is there");
            for magic in
                ["/x/etc", "/proc/self/cwd/etc", "/proc/self/fd/0/x", "/proc/self/root/etc"]
            {
                let answer = root.metadata(&path(magic)).expect_err("because it would lead out");
                assert_eq!(
                    answer.raw_os_error(),
                    Some(40),
                    "{engine:?} {magic}: {}",
                    told(&answer)
                );
            }
            assert!(root.metadata(&path("/proc/self/status")).is_ok(), "plain links of proc work");
        }
    });
}

#[test]
fn userns_no_proc_is_needed() {
    // In an empty root there is no /proc; files, directories and FIFOs must still take modes.
    if !testkit::require_userns("a root without /proc") {
        return;
    }
    if !require_root("a mount over /proc") {
        return;
    }
    testkit::in_private_mounts(|| {
        let scratch =
            ScratchRoot::with("f 0644 /f \"\"\nd 0755 /d\np 0600 /p\nl 0777 /l -> f\ns 0600 /s");
        testkit::mount_tmpfs(std::path::Path::new("/proc"));
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let done = || -> Result<(), Error> {
            root.set_mode(&path("/f"), 0o4711)?;
            root.set_mode(&path("/d"), 0o700)?;
            root.set_mode(&path("/p"), 0o644)?;
            root.set_xattr(&path("/f"), b"user.n", b"v")?;
            assert_eq!(root.get_xattrs(&path("/f"))?.len(), 1);
            assert!(root.get_xattrs(&path("/l"))?.is_empty());
            root.set_owner(&path("/l"), 1, 1)?;
            root.remove_tree(&path("/d"), &Protected::none()).map(drop)
        };
        done().expect("because none of these needs /proc");
        assert!(root.set_mode(&path("/s"), 0o644).is_err(), "and what needs it says so");
    });
}
