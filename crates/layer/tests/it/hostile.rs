//! Archives that want out of their root, as layers and as contexts. The table is
//! `testkit::hostile`; the tests of `copy` try it through `COPY --from` and `ADD`.

use layer::{Owners, UnpackOptions};
use testkit::ScratchRoot;
use testkit::hostile::{Way, check};

use super::{apply_as_anyone, chain, open, rooted};

#[test]
fn as_layers() {
    check(Way::Layers, |archives| {
        let root = ScratchRoot::in_memory();
        for archive in archives {
            apply_as_anyone(root.path(), archive).map_err(|error| chain(&error))?;
        }
        Ok(())
    });
}

#[test]
fn as_contexts() {
    check(Way::Context, |archives| {
        let root = ScratchRoot::in_memory();
        let options = UnpackOptions { owners: Owners::One(0, 0), ..UnpackOptions::default() };
        for archive in archives {
            let (root, top) = (open(root.path()), rooted("/"));
            layer::unpack(&root, &top, &archive[..], &options, &|| false)
                .map_err(|error| chain(&error))?;
        }
        Ok(())
    });
}

#[test]
fn layers_are_gzip_zstd_or_plain() {
    let check = |start: &[u8], expected: &str| {
        let root = ScratchRoot::new();
        let error = apply_as_anyone(root.path(), start).expect_err("not a layer's compression");
        assert_eq!(error.to_string(), expected);
    };
    check(b"BZh91AY&SY", "the archive is compressed with bzip2, which is not accepted here");
    check(b"\xfd7zXZ\0\0\x04", "the archive is compressed with xz, which is not accepted here");
}
