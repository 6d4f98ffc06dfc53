//! What holds for every path, every set of changes and every tree of links.
#![allow(missing_docs)]

use proptest::prelude::*;
use rootfs::{Change, ChangeSet, Engine, RootDir, RootPath};
use testkit::ScratchRoot;

/// Paths over few names, so that they meet.
fn some_path() -> impl Strategy<Value = RootPath> {
    let name = prop::sample::select(vec!["a", "b", "a.b", "-"]);
    prop::collection::vec(name, 0..5)
        .prop_map(|names| RootPath::new(names.join("/")).expect("because it is short"))
}

fn some_change() -> impl Strategy<Value = Change> {
    (any::<bool>(), some_path())
        .prop_map(|(upsert, path)| if upsert { Change::Upsert(path) } else { Change::Remove(path) })
}

/// What links say and what is asked for, with all the ways to go astray.
fn some_target() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "..", "..", ".", "", "/a", "/", "no"]);
    prop::collection::vec(name, 1..6).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn paths_are_ordered_by_their_components(a in some_path(), b in some_path()) {
        let names = |path: &RootPath| -> Vec<Vec<u8>> {
            path.components().map(<[u8]>::to_vec).collect()
        };
        prop_assert_eq!(a.cmp(&b), names(&a).cmp(&names(&b)));
        prop_assert_eq!(a.starts_with(&b), names(&a).starts_with(&names(&b)));
    }

    #[test]
    fn sets_are_ordered_and_minimal(changes in prop::collection::vec(some_change(), 0..20)) {
        let set: ChangeSet = changes.iter().cloned().collect();
        let listed: Vec<Change> = set.iter().collect();
        for pair in listed.windows(2) {
            let replaced = pair[0].path() == pair[1].path()
                && matches!(pair, [Change::Remove(_), Change::Upsert(_)]);
            prop_assert!(replaced || pair[0].path() < pair[1].path(), "{:?}", pair);
        }
        for change in &listed {
            let Change::Remove(path) = change else { continue };
            let below = listed.iter().any(|other| other.path() != path && other.path().starts_with(path));
            prop_assert!(!below || set.upserts(path), "{path} is removed, and yet holds something");
        }
        // What happened last to a path holds, unless something above or below it happened later.
        if let Some(Change::Upsert(path)) = changes.last() {
            prop_assert!(set.upserts(path));
        }
        if let Some(last @ Change::Remove(path)) = changes.last() {
            prop_assert!(path.is_root() || listed.contains(last));
        }
        let again: ChangeSet = listed.into_iter().collect();
        prop_assert_eq!(again, set);
    }

    #[test]
    fn both_engines_go_the_same_way(
        links in prop::collection::vec((0_usize..3, some_target()), 0..5),
        asked in prop::collection::vec(some_target(), 5),
    ) {
        let scratch = ScratchRoot::with("f 0644 /a/b/c \"\"\nd 0755 /b/a\nf 0644 /c \"\"");
        let root = RootDir::open(scratch.path()).expect("because it is there");
        for (index, (place, target)) in links.iter().enumerate() {
            let place = ["/", "/a", "/a/b"][*place];
            let name = ["a", "b", "c", "no", "l"][index];
            let path = RootPath::new(format!("{place}/{name}")).expect("because it is short");
            // A link where something is already replaces it, be it a whole tree.
            drop(root.remove_tree(&path, &rootfs::Protected::none()));
            drop(root.symlink(&path, target.as_bytes()));
        }
        let look = |engine: Engine, path: &RootPath| {
            let root = RootDir::open_with(scratch.path(), engine).expect("because it is there");
            let whole = root.subdir(path).and_then(|dir| dir.metadata(&RootPath::root()));
            let itself = root.metadata(path);
            [whole, itself].map(|found| found.map(|found| found.ino).map_err(|error| error.raw_os_error()))
        };
        for path in asked {
            let path = RootPath::new(path).expect("because it is short");
            prop_assert_eq!(look(Engine::Kernel, &path), look(Engine::Walking, &path), "{}", path);
            // And the place that a path resolves to is the place that the kernel opens.
            if let Ok(place) = root.resolve(&path) {
                let itself = root.metadata(&place).map(|found| found.ino);
                let opened = root.subdir(&path).and_then(|dir| dir.metadata(&RootPath::root()));
                if let (Ok(itself), Ok(opened)) = (itself, opened) {
                    prop_assert_eq!(itself, opened.ino, "{} is not {}", path, place);
                }
            }
        }
    }
}
