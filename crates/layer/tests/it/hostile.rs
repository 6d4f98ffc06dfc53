//! Archives that want out of their root, as layers and as contexts. The table is
//! `testkit::hostile`; the tests of `copy` try it through `COPY --from` and `ADD`.

use std::sync::Arc;

use layer::{ApplyOptions, Owners, UnpackOptions};
use rootfs::{Engine, RootDir};
use testkit::ScratchRoot;
use testkit::hostile::{Way, check};

use super::{apply_as_anyone, chain, rooted};

/// Each archive with each way of resolving paths, into a root of its own.
fn check_all(
    way: Way,
    place: impl Fn(&RootDir, &[u8]) -> Result<(), layer::Error> + Send + Sync + 'static,
) {
    let place = Arc::new(place);
    for engine in [Engine::Kernel, Engine::Walking] {
        let place = Arc::clone(&place);
        check(way, move |archives| {
            let scratch = ScratchRoot::in_memory();
            let root = RootDir::open_with(scratch.path(), engine).expect("it was just made");
            archives
                .iter()
                .try_for_each(|archive| place(&root, archive))
                .map_err(|error| format!("{engine:?}: {}", chain(&error)))
        });
    }
}

#[test]
fn as_layers() {
    let options = ApplyOptions { owners: Owners::One(0, 0), ..ApplyOptions::default() };
    check_all(Way::Layers, move |root, archive| {
        layer::apply(root, archive, &options, &|| false).map(drop)
    });
}

#[test]
fn as_contexts() {
    let options = UnpackOptions { owners: Owners::One(0, 0), ..UnpackOptions::default() };
    check_all(Way::Context, move |root, archive| {
        layer::unpack(root, &rooted("/"), archive, &options, &|| false).map(drop)
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
