//! Output files: whole or not at all, and into what cannot be replaced.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use store::write_output;
use testkit::{ScratchRoot, in_private_mounts, require_root};

use super::names;

#[test]
fn files_are_made_and_replaced() {
    let scratch = ScratchRoot::new();
    let path = scratch.path().join("some/where/digest");
    write_output(&path, b"one").expect("room");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"one");
    let before = path.metadata().expect("it is there");
    assert_eq!(before.permissions().mode() & 0o777 & !0o022, 0o644);
    write_output(&path, b"two").expect("room");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"two");
    assert_ne!(before.ino(), path.metadata().expect("it is there").ino());
    assert_eq!(names(path.parent().expect("it has one")), ["digest"]);
}

#[test]
fn a_link_is_followed() {
    let scratch = ScratchRoot::new();
    let (file, link) = (scratch.path().join("file"), scratch.path().join("link"));
    std::fs::write(&file, "old").expect("room");
    std::os::unix::fs::symlink("file", &link).expect("room");
    write_output(&link, b"new").expect("room");
    assert_eq!(std::fs::read(&file).expect("it is there"), b"new");
    assert!(link.symlink_metadata().expect("it is there").is_symlink());
}

#[test]
fn a_fifo_is_written_to() {
    let scratch = ScratchRoot::new();
    let path = scratch.path().join("fifo");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("room");
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || std::fs::read(path).expect("it is there"))
    };
    write_output(&path, b"through").expect("somebody reads");
    assert_eq!(reader.join().expect("reading does not panic"), b"through");
    assert!(path.symlink_metadata().expect("it is there").file_type().is_fifo());
    write_output(std::path::Path::new("/dev/null"), b"gone").expect("a device takes it");
}

#[test]
fn a_directory_is_an_error_and_stays() {
    let scratch = ScratchRoot::new();
    let error = write_output(scratch.path(), b"x").expect_err("a directory is no file");
    assert!(error.to_string().starts_with("cannot open `"), "{error}");
    assert_eq!(names(scratch.path()), Vec::<String>::new());
}

/// A pod's termination log is a file that is mounted: it cannot be replaced.
#[test]
fn root_a_mounted_file_is_written_to() {
    if !require_root("mounting") {
        return;
    }
    in_private_mounts(|| {
        let scratch = ScratchRoot::new();
        let (host, log) = (scratch.path().join("host"), scratch.path().join("termination-log"));
        std::fs::write(&host, "a longer old text").expect("room");
        std::fs::write(&log, "").expect("room");
        rustix::mount::mount_bind(&host, &log).expect("root may mount");
        write_output(&log, b"new").expect("it can be written to");
        assert_eq!(std::fs::read(&host).expect("it is there"), b"new");
        assert_eq!(names(scratch.path()), ["host", "termination-log"]);
        let detach = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(&log, detach).expect("it is mounted");
    });
}
