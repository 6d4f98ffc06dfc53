//! Owners, protected places, and what the caller expects of the stream.

use layer::{ApplyOptions, Error, Owners};
use oci::{DiffId, Digest};
use rootfs::Protected;
use testkit::ScratchRoot;
use testkit::tar_builder::{Member, TarBuilder, gzip};
use testkit::tree::{Shown, make, print_with};

use super::{apply_as_anyone, chain, open, rooted};

#[test]
fn a_second_owner_needs_newuidmap() {
    let layer = TarBuilder::new().file("a", "").member(&Member::file("b", "").owner(5, 6)).end();
    let root = ScratchRoot::new();
    let error = apply_as_anyone(root.path(), &layer).expect_err("only root's files can be had");
    assert!(matches!(error, Error::Owner { uid: 5, gid: 6, .. }));
    let text = error.to_string();
    assert!(text.contains("newuidmap") && text.contains("/etc/subuid"), "{text}");
}

#[test]
fn the_stream_must_be_the_expected_one() {
    let plain = TarBuilder::new().file("a", "").end();
    let expected = DiffId(Digest::sha256_of(&plain));
    let check = |layer: &[u8]| {
        let root = ScratchRoot::new();
        let options = ApplyOptions {
            owners: Owners::One(0, 0),
            expected: Some(expected.clone()),
            ..ApplyOptions::default()
        };
        layer::apply(&open(root.path()), layer, &options, &|| false)
    };
    assert_eq!(check(&plain).expect("the same bytes").diff_id, expected);
    assert_eq!(check(&gzip(&plain)).expect("the same bytes, compressed").diff_id, expected);
    // Bytes behind the end of the archive count.
    let longer = [&plain[..], b"more"].concat();
    assert!(matches!(check(&longer), Err(Error::DiffId { .. })));
}

#[test]
fn protected_places_are_left_alone() {
    let root = ScratchRoot::new();
    let tree = r#"
        d 0755 /kaniko @1
        f 0600 /kaniko/config "secret" @1
        d 0755 /etc @1
        f 0644 /etc/hosts "mounted" @1
        f 0644 /etc/passwd "root" @1
    "#;
    make(root.path(), tree);
    let protected = Protected::from_paths([rooted("/kaniko"), rooted("/etc/hosts")]);
    let options = ApplyOptions { owners: Owners::One(0, 0), protected, ..ApplyOptions::default() };
    let shown = Shown { owners: false, times: false };
    let run =
        |tar: TarBuilder| layer::apply(&open(root.path()), &tar.end()[..], &options, &|| false);

    let layer = TarBuilder::new()
        .dir("kaniko", 0o700)
        .file("kaniko/config", "pwn")
        .file("kaniko/new/file", "pwn")
        .file("etc/hosts", "pwn")
        .symlink("k", "/kaniko")
        .file("k/config", "pwn")
        .file("kaniko/.wh.config", "")
        .file("kaniko/.wh..wh..opq", "")
        .file("etc/.wh.hosts", "")
        .file(".wh.kaniko", "");
    let applied = run(layer).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(applied.protected, 9);
    // What lies above something protected is emptied, but for that.
    run(TarBuilder::new().file(".wh..wh..opq", "")).expect("the rest can go");
    assert_eq!(
        print_with(root.path(), shown).lines().collect::<Vec<_>>(),
        [
            "d 0755 /etc",
            r#"f 0644 /etc/hosts "mounted""#,
            "d 0755 /kaniko",
            r#"f 0600 /kaniko/config "secret""#,
        ]
    );
    let check = |tar: TarBuilder, expected: &str| {
        let error = run(tar).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check(
        TarBuilder::new().hardlink("h", "kaniko/config"),
        "archive entry `h` is refused: its target `kaniko/config` is protected",
    );
    check(
        TarBuilder::new().file("etc", "a file"),
        "archive entry `/etc` is refused: it would replace a directory with protected paths",
    );
}

#[test]
fn root_other_mounts_are_left_alone() {
    if !testkit::require_root("mounting") {
        return;
    }
    testkit::in_private_mounts(|| {
        let root = ScratchRoot::new();
        make(root.path(), "d 0755 /proc\nd 0755 /etc\nf 0644 /etc/hosts \"lower\"");
        let proc = root.path().join("proc");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &proc, "tmpfs", flags, None).expect("root may mount");
        let hosts = proc.join("hosts");
        std::fs::write(&hosts, "mounted").expect("a fresh tmpfs");
        rustix::mount::mount_bind(&hosts, root.path().join("etc/hosts")).expect("root may mount");
        let layer = TarBuilder::new()
            .dir("proc", 0o555)
            .file("proc/pwn", "x")
            .file("proc/a/b", "x")
            .file("etc/hosts", "pwn")
            .file("proc/.wh.hosts", "")
            .end();
        let options = ApplyOptions { owners: Owners::One(0, 0), ..ApplyOptions::default() };
        let applied = layer::apply(&open(root.path()), &layer[..], &options, &|| false)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(applied.protected, 5);
        assert_eq!(std::fs::read_dir(&proc).expect("it is there").count(), 1);
        assert_eq!(std::fs::read(&hosts).expect("it is there"), b"mounted");
        rustix::mount::unmount(root.path().join("etc/hosts"), rustix::mount::UnmountFlags::DETACH)
            .expect("it is mounted");
        rustix::mount::unmount(&proc, rustix::mount::UnmountFlags::DETACH).expect("it is mounted");
    });
}
