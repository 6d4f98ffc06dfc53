//! Somebody swaps a directory and a link that leads out, while layers are applied to that name,
//! archives are unpacked there and layers are written of it.

use layer::{ApplyOptions, Compression, Owners, UnpackOptions, WriteOptions};
use rootfs::{Change, ChangeSet, Engine, RootDir};
use testkit::race::{Arena, SECRET, SECRET_NAME};
use testkit::tar_builder::TarBuilder;

use super::rooted;

fn check(inside: &str, work: impl Fn(&RootDir)) {
    for engine in [Engine::Kernel, Engine::Walking] {
        let arena = Arena::new(inside);
        let root = RootDir::open_with(arena.root(), engine).expect("because it is there");
        arena.race(|| work(&root));
    }
}

/// Everything that an archive can do below a name, with both names and with names that the canary
/// has, too.
fn archives() -> Vec<Vec<u8>> {
    let mut archives = Vec::new();
    for base in ["dir", "link"] {
        let at = |name: &str| format!("{base}/{name}");
        archives.push(
            TarBuilder::new()
                .file(at("x"), "pwn")
                .file(at("pwn"), "pwn")
                .file(at("sub/y"), "pwn")
                .symlink(at("l"), "sub")
                .file(at("l/z"), "pwn")
                .hardlink(at("h"), at("x"))
                .hardlink("stolen", at(SECRET_NAME))
                .end(),
        );
        archives.push(
            TarBuilder::new()
                .dir(at("sub"), 0o751)
                .dir(at("sub/sub"), 0o751)
                .dir(at("new"), 0o751)
                .dir(base, 0o751)
                .end(),
        );
        archives.push(
            TarBuilder::new()
                .file(at(".wh.x"), "")
                .file(at("sub/.wh.y"), "")
                .file(at("sub/sub/.wh..wh..opq"), "")
                .file(at(".wh.sub"), "")
                .end(),
        );
        archives.push(TarBuilder::new().file(at(".wh..wh..opq"), "").file(at("y"), "pwn").end());
        // A file in the place of a directory with something in it, and back.
        archives.push(TarBuilder::new().file(at("sub"), "pwn").dir(at("x"), 0o700).end());
    }
    archives
}

#[test]
fn applying_does_not_get_out() {
    let options = ApplyOptions { owners: Owners::One(0, 0), ..ApplyOptions::default() };
    let archives = archives();
    check("f 0644 /dir/x \"\"\nf 0644 /dir/sub/y \"\"", |root| {
        for archive in &archives {
            drop(layer::apply(root, archive.as_slice(), &options, &|| false));
        }
        assert!(!root.exists(&rooted("/stolen")).expect("because the root is there"));
    });
}

#[test]
fn unpacking_does_not_get_out() {
    let options = UnpackOptions { owners: Owners::One(0, 0), ..UnpackOptions::default() };
    let archives = archives();
    check("f 0644 /dir/x \"\"\nf 0644 /dir/sub/y \"\"", |root| {
        for archive in &archives {
            drop(layer::unpack(root, &rooted("/"), archive.as_slice(), &options, &|| false));
        }
        let plain = TarBuilder::new().file("x", "pwn").file("sub/y", "pwn").dir("sub", 0o700).end();
        drop(layer::unpack(root, &rooted("/dir"), plain.as_slice(), &options, &|| false));
    });
}

#[test]
fn writing_takes_nothing_in() {
    let options =
        WriteOptions { compression: Compression::None, threads: 1, ..WriteOptions::default() };
    let paths = ["/dir", "/dir/x", "/dir/sub", "/dir/sub/y"];
    let changes: ChangeSet = paths.iter().map(|path| Change::Upsert(rooted(path))).collect();
    check("f 0644 /dir/x \"inside\"\nf 0644 /dir/sub/y \"inside\"", |root| {
        let mut bytes = Vec::new();
        drop(layer::write(root, &changes, &mut bytes, &options, &|| false));
        // What the link says is in the layer, if it is a link: hence not its target, but content.
        let holds = |text: &[u8]| bytes.chunks(512).any(|block| block.starts_with(text));
        assert!(!holds(SECRET.as_bytes()), "content from outside");
    });
}
