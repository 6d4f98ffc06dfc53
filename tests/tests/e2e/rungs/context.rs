//! What the Dockerfiles copy and start from: one context for all, and base images with what
//! busybox does not have.

use std::path::Path;

use anyhow::Result;
use kaniko_tests::Lab;
use testkit::base_image;
use testkit::http_server::HttpServer;
use testkit::tar_builder::{Member, TarBuilder, zstd};
use testkit::tree;

/// Everything a context may have that each user may read.
const TREE: &str = r##"
f 0644 /file.txt "file\n"
f 0755 /script.sh "#!/bin/sh\necho script\n"
f 0644 /.dockerignore "*.log\nodd/ignored\n"
f 0644 /build.log "ignored\n"
d 0755 /deep/a/b/c
f 0444 /deep/a/b/c/d "deep\n"
d 0755 /odd
f 0644 /odd/a\x20b "blank\n"
f 0644 /odd/line\nfeed "feed\n"
f 0644 /odd/\xff\xfe "bytes\n"
f 0644 /odd/späße "umlauts\n"
f 0644 /odd/ignored "ignored\n"
l 0777 /odd/\xe4 -> \xfc
d 0755 /tree
f 0644 /tree/a "a\n"
h /tree/a2 = /tree/a
l 0777 /tree/dangling -> /nowhere
l 0777 /tree/link -> sub/b
d 1777 /tree/open
f 4755 /tree/setuid "#!/bin/sh\n"
d 0755 /tree/sub
f 0666 /tree/sub/b "b\n" @1000000000
d 0555 /tree/sub/empty
l 0777 /tree/sub/up -> ..
"##;

/// Makes the context.
pub(super) fn make(directory: &Path, dockerfile: &str) {
    tree::make(directory, TREE);
    let files = [
        ("Dockerfile", dockerfile.as_bytes().to_vec()),
        ("plain.tar.gz", testkit::tar_builder::gzip(&plain())),
        ("owned.tar", owned()),
    ];
    for (name, content) in files {
        std::fs::write(directory.join(name), content).expect("because the directory is ours");
    }
}

fn plain() -> Vec<u8> {
    let long = "long".repeat(50);
    TarBuilder::new()
        .dir("dir/", 0o1777)
        .member(&Member::file("dir/tool", "tool\n").mode(0o4711).mtime(1_000_000_000))
        .hardlink("dir/same", "dir/tool")
        .symlink("dir/link", "/nowhere")
        .hardlink("dir/link2", "dir/link")
        .member(&Member::file("note", "n").xattr("user.note", "mine\0"))
        .member(&Member::file("able", "a").mode(0o755).xattr("security.capability", NET_RAW))
        .member(&Member::new(b'6', "pipe").mode(0o600))
        .member(&Member::file("fine", "f").pax("mtime", "1400000000.123456789"))
        .file(format!("{long}/{long}/f"), "f")
        .dir("shut/", 0o500)
        .end()
}

/// `cap_net_raw=ep` of revision 2.
pub(super) const NET_RAW: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn owned() -> Vec<u8> {
    TarBuilder::new()
        .member(&Member::new(b'5', "home/").mode(0o2750).owner(33, 100))
        .member(&Member::file("home/f", "f").mode(0o640).owner(1234, 5678))
        .member(&Member::new(b'2', "home/l").link("f").owner(1, 2))
        .member(&Member::new(b'6', "home/p").owner(3, 4))
        .member(&Member::file("able", "a").owner(33, 33).xattr("security.capability", NET_RAW))
        .end()
}

/// The registry of a base image.
pub(super) struct Bases {
    /// `127.0.0.1:PORT`.
    pub(super) host: String,
    _server: Option<HttpServer>,
}

/// Finds the registry that has this image.
pub(super) fn bases(lab: &Lab, name: &str) -> Result<Bases> {
    let layers = match name {
        "zstd" => zstd_layers()?,
        "devices" => device_layers()?,
        "torture" => {
            let busybox = base_image::busybox_tar().map_err(anyhow::Error::msg)?;
            [vec![busybox], super::torture::layers()].concat()
        }
        "wide" => wide_layers()?,
        _ => return Ok(Bases { host: lab.host(), _server: None }),
    };
    let server = HttpServer::start(base_image::served(name, &layers));
    let host = server.url("").replace("http://", "");
    Ok(Bases { host, _server: Some(server) })
}

fn zstd_layers() -> Result<Vec<Vec<u8>>> {
    let busybox = base_image::busybox_tar().map_err(anyhow::Error::msg)?;
    let middle = TarBuilder::new()
        .dir("z/", 0o755)
        .file("z/gone", "gone")
        .file("z/kept", "kept\n")
        .dir("z/opaque/", 0o755)
        .file("z/opaque/old", "old");
    let top = TarBuilder::new()
        .file("z/.wh.gone", "")
        .file("z/opaque/.wh..wh..opq", "")
        .file("z/opaque/new", "new");
    Ok(vec![zstd(&busybox), middle.end(), zstd(&top.end())])
}

fn device_layers() -> Result<Vec<Vec<u8>>> {
    let busybox = base_image::busybox_tar().map_err(anyhow::Error::msg)?;
    let devices = TarBuilder::new()
        .dir("nodes/", 0o755)
        .char_device("nodes/null", 1, 3)
        .member(&Member { device: (7, 0), ..Member::new(b'4', "nodes/loop").mode(0o660) });
    Ok(vec![busybox, devices.end()])
}

/// Owners that only root and those with all ids can give.
fn wide_layers() -> Result<Vec<Vec<u8>>> {
    let busybox = base_image::busybox_tar().map_err(anyhow::Error::msg)?;
    let wide = Member::file("wide", "w").owner(3_000_000, 3_000_001);
    Ok(vec![busybox, TarBuilder::new().member(&wide).end()])
}

/// The archive of packages, where a Dockerfile installs some.
pub(super) fn packages(lab: &Lab, dockerfile: &str) -> Result<Option<String>> {
    match dockerfile.contains("ARG PACKAGES") {
        true => lab.packages().map(Some),
        false => Ok(None),
    }
}
