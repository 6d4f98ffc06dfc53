//! 200 ignore patterns over a tree of 1,000,000 paths, walked as a build context is walked.
//!
//! The reference is a pass over the same paths that hashes each of them once: what any matcher with
//! a table has to do at least. The goal is 2 s on a quiet machine; the ratio is what counts.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::time::Duration;

use glob::{IgnoreFile, Verdict};
use kaniko_benches::timing::{medians, timed};
use kaniko_benches::{Figure, Goal, Measure, remark};

const PATHS: usize = 1_000_000;
const ROUNDS: usize = 3;
const GOAL: Duration = Duration::from_secs(2);

/// Patterns as projects have them: every kind, a tenth of them exceptions.
fn patterns() -> Vec<String> {
    let mut patterns = Vec::new();
    for number in 0..20 {
        patterns.extend([
            format!("build{number}"),
            format!("**/node_modules{number}"),
            format!("*.ext{number}"),
            format!("**/*.obj{number}"),
            format!("src/*/gen{number}/*.rs"),
            format!("docs{number}/**"),
            format!("**/cache{number}/**/*.tmp"),
            format!("**/*test{number}*"),
            format!("lib/[a-f]{number}?.so"),
            format!("!**/keep{number}.obj{number}"),
        ]);
    }
    patterns
}

/// One directory of the tree: its path and its files, named as in real trees.
fn directories() -> Vec<(String, Vec<String>)> {
    let names = ["main", "util_test3", "index", "a7x", "module", "keep4", "gen5", "readme"];
    let extensions = ["rs", "obj4", "so", "tmp", "md", "ext19", "json", "txt"];
    let files_each = 25;
    (0..PATHS / (files_each + 1))
        .map(|number| {
            let (top, middle, bottom) = (number % 40, number / 40 % 50, number / 2_000);
            let parents = ["src", "lib", "docs3", "build7", "vendor"];
            let path = format!("{}/{middle}/cache{bottom}/{top}", parents[top % 5]);
            let files = (0..files_each).map(|file| {
                let (name, extension) = (names[file % 8], extensions[(file + number) % 8]);
                format!("{path}/{name}{file}.{extension}")
            });
            let files = files.collect();
            (path, files)
        })
        .collect()
}

fn walk(file: &IgnoreFile, tree: &[(String, Vec<String>)]) -> usize {
    let mut excluded = 0;
    for (directory, files) in tree {
        let verdict = file.walk_to(directory.as_bytes());
        excluded += usize::from(verdict.is_excluded());
        excluded += files
            .iter()
            .map(|path| file.judge(&verdict, path.as_bytes()))
            .filter(Verdict::is_excluded)
            .count();
    }
    excluded
}

fn hash_once(tree: &[(String, Vec<String>)]) -> usize {
    let hasher = RandomState::new();
    let table: HashSet<u64> = HashSet::from([0, 1]);
    let paths = tree.iter().flat_map(|(directory, files)| std::iter::once(directory).chain(files));
    paths.filter(|path| table.contains(&hasher.hash_one(path.as_bytes()))).count()
}

fn main() {
    let file = IgnoreFile::from_patterns(patterns()).expect("because the patterns are valid");
    let tree = directories();
    let count: usize = tree.iter().map(|(_, files)| files.len() + 1).sum();
    remark(format!("{} patterns, {} of {count} paths excluded", file.len(), walk(&file, &tree)));
    let [taken, reference] = medians(ROUNDS, || {
        let walked = timed(|| black_box(walk(&file, &tree))).0;
        [walked, timed(|| black_box(hash_once(&tree))).0]
    });
    Figure::new("ignore", "200 patterns over 1,000,000 paths", Measure::Time(taken))
        .against("one hash of each path", Measure::Time(reference))
        .goal(Goal::AtMost(Measure::Time(GOAL)))
        .report();
}
