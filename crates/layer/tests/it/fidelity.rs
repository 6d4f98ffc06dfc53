//! Every kind of file with every attribute: written, applied, and written again to the same bytes.

use layer::{Compression, WriteOptions};
use testkit::tree::{Shown, make, print_with};
use testkit::{ScratchRoot, require_root};

use super::{apply, apply_as_anyone, everything, open, rooted, write, write_all};

const ALL: Shown = Shown { owners: true, times: true };

/// The tree comes back as it was, and its layer is the same when it is written from there.
fn check(tree: &str) {
    let source = ScratchRoot::new();
    make(source.path(), tree);
    for compression in
        [Compression::None, Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }]
    {
        let options = WriteOptions { compression, threads: 2, ..WriteOptions::default() };
        let (bytes, written) = write_all(source.path(), &options);
        let target = ScratchRoot::new();
        let applied = apply(target.path(), &bytes).expect("our own layer can be applied");
        assert_eq!(applied.diff_id, written.diff_id);
        assert_eq!(applied.entries, written.entries);
        assert_eq!(applied.warnings, Vec::<String>::new());
        assert_eq!(print_with(target.path(), ALL), print_with(source.path(), ALL));
        assert_eq!(write_all(target.path(), &options), (bytes, written));
    }
}

#[test]
fn root_every_kind_of_file_with_every_attribute() {
    if !require_root("owners and devices") {
        return;
    }
    check(
        r#"
        d 0755 0:0 /etc @1700000000.000000001
        f 0644 0:0 /etc/hosts "127.0.0.1 localhost\n" @1700000000.999999999
        f 0000 0:0 /etc/none @1
        f 4755 0:0 /etc/setuid "x" @1700000000.0
        f 2755 0:5 /etc/setgid "x" @1700000000.0
        d 1777 0:0 /tmp @5.5
        d 2775 1:2 /shared @5
        d 0000 0:0 /closed @5
        f 0600 1000:1000 /closed/inside "x" @6
        l 0777 7:8 /link -> etc/hosts @123.456
        l 0777 0:0 /dangling -> /no/where/../at//all @1
        h /hard = /etc/hosts
        h /hardlink = /link
        p 0640 3:4 /pipe @7
        c 0666 0:0 /null 1:3 @8
        b 0660 0:6 /disk 8:1 @9
        f 0644 4294967294:4294967294 /owner "x" @1
        f 0644 2097152:2097151 /owner21 "x" @1
        f 0644 0:0 /old "x" @-1000000000.25
        f 0644 0:0 /future "x" @8589934592.5
        f 0644 0:0 /xattr "x" user.a="1" user.b="two\nlines\x00\xff" user.empty="" @1
        d 0755 0:0 /xattrs user.a="dir" @1
        "#,
    );
}

#[test]
fn root_names_of_any_bytes_and_length() {
    if !require_root("owners") {
        return;
    }
    let n100 = "n".repeat(100);
    let n255 = "m".repeat(255);
    let deep = format!("/{}", "d".repeat(200)).repeat(19);
    check(&format!(
        r#"
        f 0644 0:0 /{n100} "x" @1
        f 0644 0:0 /{n255} "x" @1
        d 0755 0:0 /{n100}dir @1
        f 0644 0:0 {deep}/last "x" @1
        l 0777 0:0 /long -> {n255}/{n255} @1
        f 0644 0:0 /a\nb\x1b[31m\tc "x" @1
        f 0644 0:0 /\xff\xfe "x" @1
        l 0777 0:0 /to-bytes -> \xff @1
        f 0644 0:0 /é "x" @1
        f 0644 0:0 /A "1" @1
        f 0644 0:0 /a "2" @1
        f 0644 0:0 /blank\x20space "x" @1
        "#
    ));
}

#[test]
fn root_file_capabilities_survive() {
    if !require_root("security.capability") {
        return;
    }
    // Version 2 with CAP_NET_RAW effective and permitted.
    let capability =
        r"\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    check(&format!("f 4755 0:0 /ping \"x\" security.capability=\"{capability}\" @1"));
}

#[test]
fn root_long_symlink_target() {
    if !require_root("owners") {
        return;
    }
    let target = "t/".repeat(2047) + "t";
    assert_eq!(target.len(), 4095);
    check(&format!("l 0777 0:0 /s -> {target} @1"));
}

#[test]
fn root_sparse_files_are_whole_and_stay_cheap() {
    if !require_root("owners") {
        return;
    }
    use std::os::unix::fs::{FileExt, MetadataExt};
    let source = ScratchRoot::new();
    let file = std::fs::File::create(source.path().join("sparse")).expect("a new file");
    file.set_len(64 << 20).expect("the file system has holes");
    file.write_all_at(b"start", 0).expect("room");
    file.write_all_at(b"middle", 33 << 20).expect("room");
    drop(file);
    let options = WriteOptions { epoch: Some(0), ..WriteOptions::default() };
    let (bytes, written) = write_all(source.path(), &options);
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    assert_eq!(written.uncompressed_size, (64 << 20) + 512 + 1024);
    let target = ScratchRoot::new();
    apply(target.path(), &bytes).expect("our own layer");
    let (a, b) = (source.path().join("sparse"), target.path().join("sparse"));
    assert!(std::fs::read(&a).expect("it is there") == std::fs::read(&b).expect("it is there"));
    assert!(a.metadata().expect("it is there").blocks() < 1000);
}

/// The same tar as one gzip member or several, told apart by how far a reader of one member comes.
#[test]
fn gzip_can_be_one_member() {
    use std::io::Read;
    let source = ScratchRoot::new();
    make(source.path(), "f 0644 /big \"0123456789abcdef\"*200000");
    let write = |single_member| {
        let compression = Compression::Gzip { level: 6 };
        let options = WriteOptions { compression, single_member, ..WriteOptions::default() };
        let (bytes, written) = write_all(source.path(), &options);
        assert_eq!(
            apply_as_anyone(ScratchRoot::new().path(), &bytes).expect("our own layer").diff_id,
            written.diff_id
        );
        let mut first = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut first).expect("a gzip member");
        (written, first.len() as u64)
    };
    let (one, first_of_one) = write(true);
    let (many, first_of_many) = write(false);
    assert_eq!(one.diff_id, many.diff_id);
    assert_eq!(first_of_one, one.uncompressed_size);
    assert_eq!(first_of_many, 1 << 20);
}

#[test]
fn sockets_are_left_out_and_told() {
    let source = ScratchRoot::new();
    make(source.path(), "s 0755 /socket\nf 0644 /file \"x\"");
    let (_, written) = write_all(source.path(), &WriteOptions::default());
    assert_eq!(written.sockets, [rooted("/socket")]);
    assert_eq!(written.entries, 1);
}

#[test]
fn times_later_than_the_epoch_become_it() {
    let source = ScratchRoot::new();
    make(
        source.path(),
        "f 0644 /early \"x\" @10.5\nf 0644 /late \"x\" @20.5\nf 0644 /at \"x\" @15.1",
    );
    let options =
        WriteOptions { compression: Compression::None, epoch: Some(15), ..WriteOptions::default() };
    let (bytes, _) = write_all(source.path(), &options);
    let times: Vec<_> = tar::Archive::new(&bytes[..])
        .entries()
        .expect("a fresh archive")
        .map(|entry| entry.expect("our own entry").header().mtime().expect("a number"))
        .collect();
    assert_eq!(times, [15, 10, 15]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let source = ScratchRoot::new();
    make(source.path(), "f 0644 /log \"x\"*100000");
    let path = source.path().join("log");
    // The question whether to stop comes between the listing and the reading.
    struct Grows(std::path::PathBuf);
    impl std::io::Write for Grows {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            std::fs::OpenOptions::new().append(true).open(&self.0)?.write_all(b"more")?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // Larger than one block, so that the sink is written to before the file is at its end.
    std::fs::write(&path, vec![b'x'; 3 << 20]).expect("room");
    let options = WriteOptions { compression: Compression::None, ..WriteOptions::default() };
    let root = open(source.path());
    let changes = everything(source.path());
    let error = layer::write(&root, &changes, Grows(path), &options, &|| false)
        .expect_err("the file grows");
    assert_eq!(error.to_string(), "file `/log` changed while it was read");
}

#[test]
fn what_a_layer_cannot_hold_is_an_error() {
    let source = ScratchRoot::new();
    make(source.path(), "f 0644 /.wh.x \"x\"\nd 0755 /dir\nf 0644 /secret \"x\"");
    let check = |path: &str, expected: &str| {
        let changes = [rootfs::Change::Upsert(rooted(path))].into_iter().collect();
        let protected = rootfs::Protected::from_paths([rooted("/secret")]);
        let options = WriteOptions { protected, ..WriteOptions::default() };
        let error = write(source.path(), &changes, &options).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check("/.wh.x", "`/.wh.x` cannot be stored in a layer: its name is that of a whiteout");
    check("/secret", "`/secret` cannot be stored in a layer: it is protected");
    check("/missing", "cannot open `/missing`");
}

#[test]
fn a_stop_ends_the_writing() {
    let source = ScratchRoot::new();
    make(source.path(), "f 0644 /a \"x\"");
    let stopped = layer::write(
        &open(source.path()),
        &everything(source.path()),
        std::io::sink(),
        &WriteOptions::default(),
        &|| true,
    );
    assert!(matches!(stopped, Err(layer::Error::Stopped)));
}
