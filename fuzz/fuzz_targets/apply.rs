//! Any bytes are a layer or an error, and nothing beside the root changes.
//!
//! Checksums of headers are put right first, or nothing would come past them.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use layer::{ApplyOptions, Limits, Owners, UnpackOptions};
use libfuzzer_sys::fuzz_target;
use rootfs::{RootDir, RootPath};
use testkit::ScratchRoot;
use testkit::tar_builder::set_checksum;
use testkit::tree::{Shown, print_with};

/// A directory with a canary in it; roots are made beside that.
fn place() -> &'static (ScratchRoot, String) {
    static PLACE: OnceLock<(ScratchRoot, String)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let outer = ScratchRoot::with("d 0700 /canary @1\nf 0600 /canary/file \"c\" @1");
        let before = print(outer.path());
        (outer, before)
    })
}

fn print(outer: &Path) -> String {
    print_with(&outer.join("canary"), Shown { owners: true, times: true })
}

fn repair(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some((block, after)) = rest.split_first_chunk_mut::<512>() {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        set_checksum(block);
        let digits = std::str::from_utf8(&block[124..135]).unwrap_or_default();
        let size = usize::from_str_radix(digits, 8).unwrap_or(0);
        rest = after.get_mut(size.next_multiple_of(512)..).unwrap_or_default();
    }
}

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    repair(&mut bytes);
    let (outer, before) = place();
    let scratch = ScratchRoot::within(outer.path());
    let root = RootDir::open(scratch.path()).expect("because it was just made");
    let mut limits = Limits::default();
    limits.archive_bytes = 1 << 20;
    limits.file_bytes = 1 << 30;
    let options = ApplyOptions {
        limits: limits.clone(),
        owners: Owners::One(0, 0),
        ..ApplyOptions::default()
    };
    if let Err(error) = layer::apply(&root, &bytes[..], &options, &|| false) {
        assert!(!error.to_string().chars().any(char::is_control));
    }
    let options = UnpackOptions { limits, owners: Owners::One(0, 0), ..UnpackOptions::default() };
    let _ = layer::unpack(&root, &RootPath::root(), &bytes[..], &options, &|| false);
    let _ = layer::is_archive(&bytes[..]);
    assert_eq!(print(outer.path()), *before);
});
