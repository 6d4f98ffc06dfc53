//! Dialects of tar and of compression that other programs write.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::tar_builder::{Member, TarBuilder, header, set_checksum};
use testkit::{ScratchRoot, require_program};

use super::{apply_as_anyone, chain, open, rooted};

/// What a program prints; `None` where it is not installed.
fn run(
    directory: &Path,
    program: &str,
    arguments: &[&str],
    input: Option<&[u8]>,
) -> Option<Vec<u8>> {
    if !require_program(program) {
        return None;
    }
    let file = directory.join(".input");
    std::fs::write(&file, input.unwrap_or_default()).expect("room");
    let input = std::fs::File::open(&file).expect("it was just written");
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(input).stderr(Stdio::inherit());
    let output = command.output().expect("it is installed");
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    Some(output.stdout)
}

/// GNU tar's own archives of a sparse file, in all its forms.
#[test]
fn gnu_sparse_files_of_every_form() {
    let source = ScratchRoot::new();
    let name = "with a long name ".repeat(10).trim().to_owned();
    let path = source.path().join(&name);
    let file = std::fs::File::create(&path).expect("a new file");
    file.set_len(20 << 20).expect("holes");
    // More pieces than fit the first header of the old form.
    for at in [0, 1 << 20, 2 << 20, 3 << 20, 5 << 20, 7 << 20, (20 << 20) - 5] {
        file.write_all_at(b"piece", at).expect("room");
    }
    std::fs::write(source.path().join("after"), "after").expect("room");
    let check = |arguments: &[&str]| {
        let more =
            ["--sparse", "--owner=0", "--group=0", "--numeric-owner", "-cf", "-", &name, "after"];
        let arguments = [arguments, &more].concat();
        let Some(archive) = run(source.path(), "tar", &arguments, None) else { return };
        assert!(archive.len() < 1 << 20, "{arguments:?} made no sparse archive");
        let root = ScratchRoot::new();
        apply_as_anyone(root.path(), &archive).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let made = root.path().join(&name);
        assert!(
            std::fs::read(&made).expect("it is there")
                == std::fs::read(&path).expect("it is there")
        );
        assert!(made.metadata().expect("it is there").blocks() < 1000, "{arguments:?}");
        assert_eq!(std::fs::read(root.path().join("after")).expect("it is there"), b"after");
    };
    check(&["--format=gnu"]);
    check(&["--format=oldgnu"]);
    check(&["--format=pax", "--sparse-version=0.0"]);
    check(&["--format=pax", "--sparse-version=0.1"]);
    check(&["--format=pax", "--sparse-version=1.0"]);
}

#[test]
fn archives_in_every_compression_are_unpacked() {
    let archive = TarBuilder::new().file("a", "content").end();
    let options = layer::UnpackOptions {
        owners: layer::Owners::One(0, 0),
        ..layer::UnpackOptions::default()
    };
    let check = |kind, program: &str, arguments: &[&str]| {
        let here = ScratchRoot::new();
        let Some(one) = run(here.path(), program, arguments, Some(&archive[..700])) else { return };
        let Some(two) = run(here.path(), program, arguments, Some(&archive[700..])) else { return };
        let both = [one, two].concat();
        assert_eq!(layer::sniff(&both), Some(kind));
        assert!(layer::is_archive(&both[..]), "{program}");
        layer::unpack(&open(here.path()), &rooted("/"), &both[..], &options, &|| false)
            .unwrap_or_else(|error| panic!("{program}: {}", chain(&error)));
        assert_eq!(std::fs::read(here.path().join("a")).expect("it is there"), b"content");
        let cut = &both[..both.len() - 4];
        layer::unpack(&open(here.path()), &rooted("/"), cut, &options, &|| false)
            .expect_err("a stream that ends too early");
    };
    check(layer::ArchiveKind::Gzip, "gzip", &["-c"]);
    check(layer::ArchiveKind::Bzip2, "bzip2", &["-c"]);
    check(layer::ArchiveKind::Xz, "xz", &["-c"]);
    check(layer::ArchiveKind::Zstd, "zstd", &["-c", "-q"]);
}

#[test]
fn what_add_takes_for_an_archive() {
    let check = |bytes: &[u8], expected| assert_eq!(layer::is_archive(bytes), expected);
    let archive = TarBuilder::new().file("a", "content").end();
    check(&archive, true);
    check(&testkit::tar_builder::gzip(&archive), true);
    check(&testkit::tar_builder::zstd(&archive), true);
    // Compressed, but no tar inside: copied as the file it is.
    check(&testkit::tar_builder::gzip(b"just text"), false);
    check(&testkit::tar_builder::gzip(&testkit::tar_builder::gzip(&archive)), false);
    check(b"", false);
    check(b"just text", false);
    check(&[0; 10240], false);
    check(b"\x1f\x8b", false);
    check(&archive[..500], false);
}

/// star's archives keep times where POSIX has the end of the prefix.
#[test]
fn prefixes_of_posix_star_and_gnu_headers() {
    let check = |change: &dyn Fn(&mut [u8; 512]), expected: &str| {
        let mut block = header(&Member::file("name", ""));
        change(&mut block);
        set_checksum(&mut block);
        let root = ScratchRoot::new();
        let layer = TarBuilder::new().raw(&block).end();
        apply_as_anyone(root.path(), &layer).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(root.path().join(expected).is_file(), "{expected}");
    };
    check(&|block| block[345..351].copy_from_slice(b"prefix"), "prefix/name");
    let star = |block: &mut [u8; 512]| {
        block[345..351].copy_from_slice(b"prefix");
        block[476..487].copy_from_slice(b"12345670123");
        block[508..512].copy_from_slice(b"tar\0");
    };
    check(&star, "prefix/name");
    let gnu = |block: &mut [u8; 512]| {
        block[257..265].copy_from_slice(b"ustar  \0");
        block[345..357].copy_from_slice(b"12345670123\0");
    };
    check(&gnu, "name");
}

#[test]
fn records_of_the_member_win_over_global_ones() {
    let layer = TarBuilder::new()
        .global_pax(&[("mtime", b"1000"), ("comment", b"by git")])
        .file("global", "")
        .member(&Member::file("own", "").pax("mtime", "2000"))
        .member(&Member::file("back", "").mtime(3000).pax("mtime", ""))
        .end();
    let root = ScratchRoot::new();
    apply_as_anyone(root.path(), &layer).expect("a usual archive");
    let check = |name: &str, mtime| {
        assert_eq!(root.path().join(name).metadata().expect("it is there").mtime(), mtime);
    };
    check("global", 1000);
    check("own", 2000);
    check("back", 3000);
}
