//! Somebody swaps a directory and a link that leads out while a tree is scanned: a process of a
//! step that is still alive against the rules makes a snapshot wrong, but never leads it out.
#![allow(missing_docs)]

use rootfs::{Engine, Protected, RootDir};
use snapshot::{Contents, ScanOptions, diff, scan};
use testkit::race::{Arena, SECRET_NAME};

#[test]
fn scanning_does_not_get_out() {
    let protected = Protected::none();
    let options = ScanOptions { threads: 2, protected: &protected, contents: Contents::All };
    for engine in [Engine::Kernel, Engine::Walking] {
        let arena = Arena::new("f 0644 /dir/x \"inside\"\nf 0644 /dir/sub/y \"inside\"");
        let root = RootDir::open_with(arena.root(), engine).expect("because it is there");
        let mut baseline = None;
        arena.race(|| {
            let Some(before) = baseline.take() else {
                baseline = scan(&root, &options).ok();
                return;
            };
            if let Ok((changes, after)) = diff(&root, before, &options) {
                let secret = |name: Option<&[u8]>| name == Some(SECRET_NAME.as_bytes());
                assert!(!changes.iter().any(|change| secret(change.path().file_name())));
                baseline = Some(after);
            }
        });
    }
}
