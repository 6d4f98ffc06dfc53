//! Random pairs of contexts that differ a little: `identify` tells them apart exactly when their
//! copies differ.

use std::collections::BTreeMap;

use testkit::random::Random;
use testkit::tree;

use crate::contents::in_memory;
use crate::{Trees, can_run};

/// How many pairs are tried.
const PAIRS: usize = 500;
/// The seed; another one must do as well.
const SEED: u64 = 20_260_101;

const FILES: [&str; 11] =
    ["a", "b.o", "d/a", "d/b.o", "d/e/a", "d/e/c", "d/l", "d1/a", "d2/a", "d2/b.o", "z"];
const DIRECTORIES: [&str; 4] = ["d", "d/e", "d1", "d2"];
const IGNORE: [&str; 6] = ["", "*.o", "**/*.o", r"d/e\n!d/e/c", r"d*\n!d/a", "d2"];

/// Sources of which every difference shows in the copy, since nothing covers anything else there.
const ALONE: [&str; 14] = [
    "COPY d /x/",
    "COPY . /x/",
    "COPY d/e /x/",
    "COPY a /x/",
    "COPY d/l /x/",
    "COPY --exclude=*.o d /x/",
    "COPY --exclude=e --exclude=!e/c d /x/",
    "COPY --parents d/e/a /x/",
    "COPY --parents **/*.o /x/",
    "COPY --parents d/./e /x/",
    "COPY --from=0 d /x/",
    "COPY --from=0 --chown=7:8 d /x/",
    "COPY --from=0 . /x/",
    "COPY --link d /x/",
];
/// Sources that may cover each other, or may not be there without a trace.
const TOGETHER: [&str; 6] = [
    "COPY d* /x/",
    "COPY * /x/",
    "COPY d/* /x/",
    "COPY */a /x/",
    "COPY --from=0 d* /x/",
    "COPY --chmod=600 d /x/",
];

/// A context: lines of tree notation by path.
type Lines = BTreeMap<&'static str, String>;

fn file(random: &mut Random, lines: &Lines, path: &'static str) -> String {
    let (mode, owner) = (random.of(&["0644", "0600", "4755"]), random.of(&["0:0", "1:2", "1:3"]));
    let files = lines.iter().filter(|(_, line)| line.starts_with('f'));
    let first = files.map(|(path, _)| *path).rfind(|first| *first < path);
    let attribute = random.of(&["", "", " trusted.a=\"1\"", " trusted.b=\"1\""]);
    match (random.below(10), first) {
        (0, Some(first)) => format!("h /{path} = /{first}"),
        (1, _) => format!("l 0777 {owner} /{path} -> {}", random.of(&["a", "../a", "e", "gone"])),
        (2, _) => format!("p {mode} {owner} /{path}"),
        (3, _) => format!("c {mode} {owner} /{path} 1:{}", random.of(&["3", "5"])),
        (4, _) => format!("s {mode} {owner} /{path}"),
        _ => format!(
            "f {mode} {owner} /{path} \"{}\"{attribute} @{}",
            random.of(&["", "1", "12", "a"]),
            random.of(&["1", "1000000000"])
        ),
    }
}

fn directory(random: &mut Random, path: &str) -> String {
    let (mode, owner) = (random.of(&["0755", "0755", "0700"]), random.of(&["0:0", "0:0", "1:2"]));
    format!("d {mode} {owner} /{path}{}", random.of(&["", "", " trusted.a=\"d\""]))
}

/// Changes one thing.
fn change(random: &mut Random, lines: &mut Lines) {
    match random.below(8) {
        0 => {
            let line = format!("f 0644 /.dockerignore \"{}\"", random.of(&IGNORE));
            lines.insert(".dockerignore", line);
        }
        1 => {
            let path = DIRECTORIES[random.below(DIRECTORIES.len())];
            lines.insert(path, directory(random, path));
        }
        choice => {
            let path = FILES[random.below(FILES.len())];
            let linked = format!("= /{path}");
            lines.retain(|_, line| !line.ends_with(&linked));
            lines.remove(path);
            if choice > 2 {
                let line = file(random, lines, path);
                lines.insert(path, line);
            }
        }
    }
}

fn context(random: &mut Random) -> Lines {
    let mut lines = Lines::new();
    for path in DIRECTORIES {
        let line = directory(random, path);
        lines.insert(path, line);
    }
    for path in FILES {
        if random.below(3) > 0 {
            let line = file(random, &lines, path);
            lines.insert(path, line);
        }
    }
    lines
}

/// The identity of the sources, and the copy.
fn outcome(lines: &Lines, instruction: &str) -> (Option<Vec<[u8; 32]>>, Option<String>) {
    let text = lines.values().map(|line| format!("{line}\n")).collect::<String>();
    let trees = Trees::new(&text, "");
    let identities = trees.identify(instruction).ok();
    let copied = trees.changes(instruction, &|| false).ok();
    let copied = copied.map(|_| tree::print(trees.root.path()));
    (identities.map(|all| all.iter().map(|one| one.digest).collect()), copied)
}

/// Compares what became of two contexts. Whether there was something to compare.
fn check(instruction: &str, alone: bool, contexts: [&Lines; 2], case: usize) -> [bool; 2] {
    let [(one, one_copy), (other, other_copy)] = contexts.map(|lines| outcome(lines, instruction));
    let shown = || format!("seed {SEED} case {case}: {instruction}\n{contexts:#?}");
    for (identity, copy) in [(&one, &one_copy), (&other, &other_copy)] {
        // What is not there is not there for both; what is in the way only for a copy.
        assert!(identity.is_some() || copy.is_none(), "{}", shown());
        assert!(!alone || identity.is_some() == copy.is_some(), "{}", shown());
    }
    let (Some(one_copy), Some(other_copy)) = (one_copy, other_copy) else { return [false; 2] };
    if one == other {
        assert_eq!(one_copy, other_copy, "{}", shown());
    } else if alone {
        assert_ne!(one_copy, other_copy, "{}", shown());
    }
    [one == other, one != other]
}

#[test]
fn root_identities_differ_exactly_when_copies_do() {
    if !can_run() {
        return;
    }
    in_memory(|| {
        let mut random = Random::new(SEED);
        let (mut same, mut different) = (0, 0);
        for case in 0..PAIRS {
            let before = context(&mut random);
            let mut after = before.clone();
            for _ in 0..=random.below(2) {
                change(&mut random, &mut after);
            }
            let alone = random.below(3) > 0;
            let instruction = random.of(if alone { &ALONE } else { &TOGETHER });
            let compared = check(instruction, alone, [&before, &after], case);
            same += usize::from(compared[0]);
            different += usize::from(compared[1]);
        }
        // Both must have been seen often, or nothing was tested.
        assert!(same > PAIRS / 10 && different > PAIRS / 10, "{same} {different}");
    });
}
