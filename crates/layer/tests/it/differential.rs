//! Our layers as GNU tar and Python read them: the same tree.

use std::path::Path;
use std::process::Command;

use layer::{Compression, WriteOptions};
use testkit::tree::{Shown, make, print_with};
use testkit::{ScratchRoot, require_program, require_root};

use super::write_all;

const TREE: &str = r#"
    d 0755 0:0 /etc @1700000000
    f 0644 0:0 /etc/hosts "127.0.0.1 localhost\n" @1700000000
    f 4755 0:0 /etc/setuid "x" @1700000000
    d 1777 0:0 /tmp @5
    l 0777 7:8 /link -> etc/hosts
    h /hard = /etc/hosts
    p 0640 3:4 /pipe @7
    c 0666 0:0 /null 1:3 @8
    b 0660 0:6 /disk 8:1 @9
    f 0644 4000000000:4000000000 /owner "x" @1
    f 0644 0:0 /é "x" @1
    f 0644 0:0 /\xff\xfe "x" @1
    f 0644 0:0 /a\nb "x" @1
"#;

/// Unpacks our layer with another program into a fresh directory; both trees are the same.
fn check(program: &str, unpack: impl Fn(&Path, &Path) -> Command) {
    if !require_root("owners and devices") || !require_program(program) {
        return;
    }
    let shown = Shown { owners: true, times: false };
    let source = ScratchRoot::new();
    let long = format!("{}/{}", "d".repeat(200), "n".repeat(200));
    make(source.path(), &format!("{TREE}\nf 0644 0:0 /{long} \"long\" @1"));
    for compression in [Compression::None, Compression::Gzip { level: 6 }] {
        let options = WriteOptions { compression, ..WriteOptions::default() };
        let (bytes, _) = write_all(source.path(), &options);
        let place = ScratchRoot::new();
        let archive = place.path().join("layer");
        std::fs::write(&archive, bytes).expect("room");
        let target = ScratchRoot::new();
        let output = unpack(&archive, target.path()).output().expect("it is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(print_with(target.path(), shown), print_with(source.path(), shown));
    }
}

#[test]
fn root_gnu_tar_reads_our_layers() {
    check("tar", |archive, target| {
        let mut tar = Command::new("tar");
        tar.args(["-x", "--numeric-owner", "-p", "-f"]).arg(archive).arg("-C").arg(target);
        tar
    });
}

#[test]
fn root_python_reads_our_layers() {
    let script = "
import sys, tarfile
with tarfile.open(sys.argv[1]) as archive:
    # Before 3.11.4 there are no filters, and everything is trusted.
    trust = {'filter': 'fully_trusted'} if hasattr(tarfile, 'fully_trusted_filter') else {}
    archive.extractall(sys.argv[2], numeric_owner=True, **trust)
";
    check("python3", |archive, target| {
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(archive).arg(target);
        python
    });
}

/// Whatever the reader takes an archive for, the crate with which others read does too.
#[test]
fn the_tar_crate_reads_our_entries() {
    let source = ScratchRoot::new();
    make(source.path(), "f 0644 /a \"x\"*3000\nd 0755 /d\nf 0600 /d/b \"\"\nl 0777 /s -> a");
    let options = WriteOptions { compression: Compression::None, ..WriteOptions::default() };
    let (bytes, _) = write_all(source.path(), &options);
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries: Vec<_> = archive
        .entries()
        .expect("a fresh archive")
        .map(|entry| {
            let entry = entry.expect("our own entry");
            let path = entry.path().expect("a name").display().to_string();
            (path, entry.size(), entry.header().entry_type())
        })
        .collect();
    let expected = [
        ("a", 3000, tar::EntryType::Regular),
        ("d/", 0, tar::EntryType::Directory),
        ("d/b", 0, tar::EntryType::Regular),
        ("s", 0, tar::EntryType::Symlink),
    ];
    assert_eq!(entries, expected.map(|(path, size, kind)| (path.to_owned(), size, kind)));
}
