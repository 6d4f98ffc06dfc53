//! A base image with everything that a layer may hold, and how it must come out.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use anyhow::{Context as _, Error, Result, ensure};
use kaniko_tests::Lab;
use testkit::layout;
use testkit::tar_builder::{Member, TarBuilder};

use super::context::{NET_RAW, bases};

/// Files of a directory `t`, in three layers.
pub(super) fn layers() -> Vec<Vec<u8>> {
    vec![first(), second(), third()]
}

fn first() -> Vec<u8> {
    let odd = |name: &str, mode, uid, gid| Member::file(name, "x").mode(mode).owner(uid, gid);
    TarBuilder::new()
        .member(&Member::new(b'5', "t/").mode(0o755).mtime(1_000_000_001))
        .dir("t/dir-to-file/", 0o755)
        .file("t/dir-to-file/x", "x")
        .file("t/file-to-dir", "f")
        .dir("t/dir-to-link/", 0o755)
        .file("t/dir-to-link/gone", "g")
        .symlink("t/link-to-dir", "target")
        .dir("t/target/", 0o755)
        .file("t/target/keep", "keep")
        .file("t/deleted", "bye")
        .dir("t/deleted-dir/", 0o755)
        .file("t/deleted-dir/a", "1")
        .dir("t/deleted-dir/sub/", 0o755)
        .dir("t/opaque/", 0o755)
        .file("t/opaque/old", "o")
        .dir("t/opaque/old-dir/", 0o755)
        .file("t/opaque/old-dir/old", "o")
        .member(&Member::file("t/hl1", "hard\n").mode(0o640))
        .hardlink("t/hl2", "t/hl1")
        .hardlink("t/hl3", "t/hl1")
        .member(&Member::new(b'2', "t/sl").mode(0o777).link("hl1").mtime(1_000_000_002))
        .hardlink("t/hl-to-sl", "t/sl")
        .member(&odd("t/setuid", 0o4755, 0, 0))
        .member(&odd("t/setgid", 0o2755, 0, 42))
        .member(&odd("t/uid1000", 0o644, 1000, 1000))
        .member(&odd("t/mode000", 0, 0, 0))
        .dir("t/sticky/", 0o1777)
        .member(&Member::new(b'5', "t/group/").mode(0o2775).owner(0, 50))
        .dir("t/mode500/", 0o500)
        .file("t/mode500/in", "i")
        .member(&Member::file("t/able", "a").mode(0o755).xattr("security.capability", NET_RAW))
        .member(&Member::file("t/noted", "u").xattr("user.lab", "hello"))
        .file("t/empty", "")
        .member(&Member::file("t/fine", "s").pax("mtime", "1500000000.123456789"))
        .member(&Member::file("t/before-1970", "s").pax("mtime", "-1000"))
        .member(&Member::file("t/in-2200", "s").mtime(7_258_118_400))
        .file(format!("t/{}", "n".repeat(200)), "long name")
        .file(format!("t/{}/f", vec!["p".repeat(60); 6].join("/")), "long path")
        .symlink("t/long-link", vec!["q".repeat(100); 3].join("/"))
        .symlink("t/longer-link", "q".repeat(300))
        .symlink("t/loop", "loop")
        .file("t/späße-日本", "utf8")
        .file(b"t/\xff\xfe", "bytes")
        .file("t/white space\tand\nnewline", "ws")
        .symlink("t/absolute", "/t/hl1")
        .symlink("t/dangling", "/nowhere")
        .symlink("t/up", "../../../../../t/hl1")
        .member(&Member::new(b'6', "t/pipe").mode(0o600))
        .member(&Member::file("t/chmod", "c").mode(0o600))
        .file("t/chown", "c")
        .file("t/.whiteout-not", "n")
        .file("t/twice", "first")
        .file("t/twice", "second")
        .end()
}

fn second() -> Vec<u8> {
    TarBuilder::new()
        .member(&Member::new(b'5', "t/").mode(0o755).mtime(1_000_000_003))
        .file("t/dir-to-file", "now a file")
        .dir("t/file-to-dir/", 0o755)
        .file("t/file-to-dir/in", "in")
        .symlink("t/dir-to-link", "target")
        .file("t/link-to-dir/through", "through a link")
        .file("t/.wh.deleted", "")
        .file("t/.wh.deleted-dir", "")
        .file("t/.wh.hl2", "")
        .file("t/.wh.never-there", "")
        .file("t/opaque/new", "n")
        .file("t/opaque/.wh..wh..opq", "")
        .member(&Member::file("t/chmod", "c").mode(0o755))
        .member(&Member::file("t/chown", "c").owner(33, 33))
        .file("./t/dot-slash", "d")
        .end()
}

fn third() -> Vec<u8> {
    TarBuilder::new()
        .file("t/deleted", "back again")
        .dir("t/deleted-dir/", 0o755)
        .file("t/deleted-dir/new", "new")
        .file("t/hl1", "of its own\n")
        .hardlink("t/hl4", "t/hl1")
        .member(&Member::new(b'5', "t/").mode(0o755).mtime(1_000_000_004))
        .end()
}

/// A step that moves the directory makes a layer of it as it was unpacked. That it is the same on
/// every rung, the table says.
pub(super) fn unpacks_exactly(lab: &Arc<Lab>) -> Result<()> {
    let bases = bases(lab, "torture")?;
    let build = lab
        .build("torture")?
        .dockerfile(&format!("FROM {}/torture\nRUN mv /t /u\n", bases.host))?;
    let path = build.directory.join("layout");
    let outcome = build.arg(format!("--oci-layout-path={}", path.display())).pushed()?;
    let image = layout::read_oci(&path, None).map_err(Error::msg)?;
    let made = image.tree().map_err(Error::msg)?;
    let expected = layout::flatten(&layers()).map_err(Error::msg)?;
    let expected = expected.replace(" /t/", " /u/").replace(" /t\n", " /u\n");
    // The target of a link is no path of the tree.
    let expected = expected.replace("-> /u/", "-> /t/");
    let found: Vec<&str> =
        made.lines().filter(|line| line.contains(" /u") && !line.contains(" /usr")).collect();
    let expected: Vec<&str> = expected.lines().collect();
    ensure!(found == expected, "found {found:#?}\nexpected {expected:#?}");

    let root = outcome.image()?.unpack()?;
    for (name, seconds, nanoseconds) in [
        ("sl", 1_000_000_002, 0),
        ("fine", 1_500_000_000, 123_456_789),
        ("before-1970", -1000, 0),
        ("in-2200", 7_258_118_400, 0),
        ("hl4", 0, 0),
        ("opaque", 0, 0),
    ] {
        let file = root.join("u").join(name);
        let found = file.symlink_metadata().with_context(|| name.to_owned())?;
        let (found, fine) = (found.mtime(), found.mtime_nsec());
        // The directory of the opaque marker has no entry of its own in the second layer.
        ensure!((found, fine) == (seconds, nanoseconds), "{name}: {found}.{fine}");
    }
    Ok(())
}
