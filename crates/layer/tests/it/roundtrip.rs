//! Any change of any tree: written from the later tree and applied to the earlier one, it gives
//! the later one. And any bytes: never a panic, never a change outside.

use std::collections::BTreeMap;

use layer::{Compression, WriteOptions};
use proptest::prelude::*;
use rootfs::ChangeSet;
use testkit::tar_builder::{Member, TarBuilder};
use testkit::tree::{Shown, make, print_with};
use testkit::{ScratchRoot, require_root};

use super::{apply, apply_as_anyone, rooted, write};

const ALL: Shown = Shown { owners: true, times: true };

/// A path of few names, so that trees share paths of different kinds.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

/// A tree as path → the rest of its line. What lies below something that is no directory is left
/// out when it is made.
fn tree() -> impl Strategy<Value = BTreeMap<String, String>> {
    let line = prop_oneof![
        4 => (0..4u32, "[xy]{0,3}", 1..4u64)
            .prop_map(|(mode, text, time)| format!("f 064{mode} PATH \"{text}\" @{time}.5")),
        3 => (0..2u32, 1..4u64).prop_map(|(mode, time)| format!("d 075{mode} PATH @{time}")),
        1 => (1..4u64).prop_map(|time| format!("l 0777 PATH -> a/b @{time}")),
        1 => path().prop_map(|first| format!("h PATH = {first}")),
        1 => Just("f 0600 PATH \"x\" user.note=\"n\" @1".to_owned()),
        1 => Just("d 1777 3:4 PATH user.note=\"n\" @-1.5".to_owned()),
        1 => Just("f 4755 2097152:5 PATH \"x\" @2".to_owned()),
        1 => (0..2u32, 1..3u64).prop_map(|(mode, time)| format!("p 061{mode} PATH @{time}")),
        1 => (3..5u32).prop_map(|minor| format!("c 0666 0:0 PATH 1:{minor} @1")),
    ];
    prop::collection::btree_map(path(), line, 0..12)
}

/// Makes as much of the tree as can be made.
fn build(tree: &BTreeMap<String, String>) -> ScratchRoot {
    let root = ScratchRoot::in_memory();
    let is = |path: &str, kind: char| tree.get(path).is_some_and(|line| line.starts_with(kind));
    let mut text = String::new();
    let mut links = String::new();
    for (path, line) in tree {
        let blocked = path
            .match_indices('/')
            .skip(1)
            .any(|(at, _)| tree.contains_key(&path[..at]) && !is(&path[..at], 'd'));
        // Directories must be listed to have a known time.
        let mut above = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
        let listed = above.all(|above| is(above, 'd'));
        if blocked || !listed {
            continue;
        }
        let line = line.replace("PATH", path) + "\n";
        match line.strip_prefix("h ") {
            Some(rest) => {
                let first = rest.trim().rsplit(' ').next().unwrap_or_default();
                if (is(first, 'f') || is(first, 'p'))
                    && text.lines().any(|line| line.split(' ').any(|word| word == first))
                {
                    links += &line;
                }
            }
            None => text += &line,
        }
    }
    make(root.path(), &(text.clone() + &links));
    // Links that came after moved the times of their directories.
    let directories: String =
        text.lines().filter(|l| l.starts_with('d')).map(|l| format!("{l}\n")).collect();
    make(root.path(), &directories);
    root
}

/// The lines of a tree by path; a hard link as the line of its first name, too.
fn lines(root: &ScratchRoot) -> BTreeMap<String, String> {
    let text = print_with(root.path(), ALL);
    let path = |line: &str| {
        let at = line.find('/').expect("every line has a path");
        line[at..].split(' ').next().unwrap_or_default().to_owned()
    };
    text.lines().map(|line| (path(line), line.to_owned())).collect()
}

/// What must be in a layer to come from one tree to the other.
fn difference(lower: &ScratchRoot, upper: &ScratchRoot) -> ChangeSet {
    let (before, after) = (lines(lower), lines(upper));
    let mut changes = ChangeSet::new();
    let is_dir =
        |path: &str| path.is_empty() || after.get(path).is_some_and(|l| l.starts_with('d'));
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        // What lay below something that is gone, or is no directory any more, went with it.
        if is_dir(&path[..path.rfind('/').unwrap_or_default()]) {
            changes.remove(&rooted(path));
        }
    }
    for (path, line) in &after {
        // A group of names is only a group if all of it is in the layer.
        let linked =
            line.starts_with('h') || after.values().any(|l| l.ends_with(&format!(" = {path}")));
        if before.get(path) != Some(line) || linked {
            changes.upsert(&rooted(path));
        }
    }
    changes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn root_a_change_applied_is_the_change(lower in tree(), upper in tree()) {
        if !require_root("times and owners as they are") {
            return Ok(());
        }
        let (lower, upper) = (build(&lower), build(&upper));
        let options = WriteOptions { compression: Compression::None, ..WriteOptions::default() };
        let changes = difference(&lower, &upper);
        let (bytes, _) = write(upper.path(), &changes, &options).expect("the tree can be written");
        apply(lower.path(), &bytes).expect("our own layer");
        prop_assert_eq!(print_with(lower.path(), ALL), print_with(upper.path(), ALL));
        let (again, _) = write(lower.path(), &changes, &options).expect("the tree can be written");
        prop_assert!(again == bytes, "the second layer differs");
    }

    #[test]
    fn damaged_archives_do_no_harm(
        at in prop::collection::vec((0usize..6000, any::<u8>()), 1..6),
        cut in 0usize..6000,
    ) {
        let outer = ScratchRoot::with("d 0755 /root\nf 0600 /canary \"c\" @1");
        let before = testkit::tree::print_one(outer.path(), "/canary");
        let mut bytes = TarBuilder::new()
            .dir("d", 0o755)
            .symlink("d/l", "../../")
            .member(&Member::file("d/l/x", "content").xattr("user.a", "b"))
            .gnu_long(b'L', "n".repeat(120))
            .file("x", "long")
            .hardlink("h", "d/l/x")
            .file("d/.wh.l", "")
            .end();
        for (at, byte) in at {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len()) / 3);
        repair(&mut bytes);
        // Success or not: it comes back, and has changed nothing outside.
        let _ = apply_as_anyone(&outer.path().join("root"), &bytes);
        prop_assert_eq!(std::fs::read_dir(outer.path()).expect("it is there").count(), 2);
        prop_assert_eq!(testkit::tree::print_one(outer.path(), "/canary"), before);
    }
}

/// Puts the checksums of headers right, or damage would not come past them.
fn repair(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some((block, after)) = rest.split_first_chunk_mut::<512>() {
        if block.iter().any(|byte| *byte != 0) {
            testkit::tar_builder::set_checksum(block);
        }
        let digits = std::str::from_utf8(&block[124..135]).unwrap_or_default();
        let size = usize::from_str_radix(digits, 8).unwrap_or(0);
        rest = after.get_mut(size.next_multiple_of(512)..).unwrap_or_default();
    }
}
