//! Keys: equal exactly when what they stand for is.
//!
//! A random walk changes one thing of one step at a time (`change`), and of every step the key is
//! compared with what the step is when all is left out that must not matter (`normal`). Over a
//! million steps, two keys are the same if and only if those are. [`check`] has the pairs that
//! other tools get wrong.

mod change;
mod normal;

use std::collections::HashMap;

use cache::{CacheKey, Source, Start, Writer, first_state, op_key, source_count, state_after};
use oci::{Digest, Platform};
use plan::{InlineFile, MountSource, MountSpec, Op, RunNetwork, RunOp, RunSecurity, WorkdirOp};
use testkit::random::Random;

/// How many steps are tried, and by how many walks at a time.
const CASES: usize = 1_000_000;
const WALKS: u64 = 2;
/// The seed of the first walk; another one must do as well.
const SEED: u64 = 20_260_101;

/// A step and all that its key is made of.
#[derive(Clone, Debug)]
struct Case {
    op: Op,
    /// Which of the states it comes after.
    state: usize,
    sources: Vec<Source>,
    writer: Writer,
}

impl Case {
    fn key(&self, states: &[CacheKey]) -> CacheKey {
        let state = Some(&states[self.state]);
        let key = op_key(&self.op, state, &self.sources, &self.writer);
        key.expect("because all sources are there").key
    }
}

/// How many states there are.
const STATES: usize = 9 + 8;

/// Different states: first ones, and those after a step.
fn states() -> Vec<CacheKey> {
    let digests = [b"1", b"2"].map(|content| Digest::sha256_of(content));
    let mut starts = vec![Start::Scratch];
    starts.extend(digests.iter().map(Start::Image));
    let variant = Platform { variant: Some("v8".to_owned()), ..Platform::new("linux", "arm64") };
    let platforms = [Platform::new("linux", "amd64"), Platform::new("linux", "arm64"), variant];
    let mut states = Vec::new();
    for platform in &platforms {
        states.extend(starts.iter().map(|start| first_state(*start, platform)));
    }
    // After the same steps on different states, and after different steps on the same.
    for link in [false, true] {
        for dest in ["/a", "/b"] {
            let op = change::plain_copy(dest, link);
            let source = Source::Content { label: "a".to_owned(), hash: vec![1] };
            for state in 0..2 {
                let writer = writer();
                let key = op_key(&op, Some(&states[state]), std::slice::from_ref(&source), &writer);
                let key = key.expect("because the source is there").key;
                states.push(state_after(&op, &states[state], &key));
            }
        }
    }
    states
}

fn writer() -> Writer {
    Writer { compression: "gzip:1".to_owned(), epoch: None }
}

#[test]
fn states_differ() {
    let mut states = states();
    let count = states.len();
    states.sort();
    states.dedup();
    assert_eq!((count, states.len()), (STATES, STATES));
}

/// The first `count` steps of a walk.
fn walk(seed: u64, count: usize, mut each: impl FnMut(&Case)) {
    let mut random = Random::new(seed);
    let mut case = change::start(&mut random);
    for number in 0..count {
        // Now and then from somewhere else.
        if number % 64 == 0 {
            case = change::start(&mut random);
        }
        each(&case);
        change::change(&mut random, &mut case);
    }
}

/// A step by its walk and its place there.
type Place = (u64, usize);

fn shown((seed, number): Place) -> String {
    let mut found = None;
    walk(seed, number + 1, |case| found = Some(case.clone()));
    format!("step {number} of seed {seed}: {found:#?}")
}

#[test]
fn keys_are_equal_exactly_when_steps_are() {
    let states = &states();
    let each = CASES / usize::try_from(WALKS).expect("because they are few");
    let walked = std::thread::scope(|scope| {
        let walks = (0..WALKS).map(|walk_number| SEED + walk_number).map(|seed| {
            scope.spawn(move || {
                let mut seen = Vec::with_capacity(each);
                walk(seed, each, |case| seen.push((case.key(states), normal::of(case))));
                (seed, seen)
            })
        });
        let walks: Vec<_> = walks.collect();
        walks
            .into_iter()
            .map(|walk| walk.join().expect("because it does not panic"))
            .collect::<Vec<_>>()
    });
    let mut by_key: HashMap<CacheKey, (u64, Place)> = HashMap::with_capacity(CASES);
    let mut by_normal: HashMap<u64, (CacheKey, Place)> = HashMap::with_capacity(CASES);
    let (mut unchanged, mut before) = (0, 0);
    for (seed, seen) in walked {
        for (number, (key, normal)) in seen.into_iter().enumerate() {
            let place = (seed, number);
            let (known, other) = *by_key.entry(key).or_insert((normal, place));
            assert_eq!(known, normal, "one key for {} and {}", shown(other), shown(place));
            let (known, other) = *by_normal.entry(normal).or_insert((key, place));
            assert_eq!(known, key, "two keys for {} and {}", shown(other), shown(place));
            unchanged += usize::from(before == normal);
            before = normal;
        }
    }
    // The walk must have seen much, and changes that do not matter too.
    let different = by_key.len();
    assert!(different > CASES / 2 && unchanged > CASES / 50, "{different} {unchanged}");
}

/// A RUN without anything.
fn run() -> RunOp {
    RunOp {
        argv: vec!["sh".to_owned(), "-c".to_owned(), "make".to_owned()],
        env: Vec::new(),
        proxy: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: String::new(),
        script: None,
        mounts: Vec::new(),
        network: RunNetwork::Default,
        security: RunSecurity::Sandbox,
        devices: Vec::new(),
    }
}

fn of(op: Op) -> Case {
    let source = |number| Source::Content { label: "a".to_owned(), hash: vec![number] };
    let sources = (0..source_count(&op)).map(|number| source(u8::try_from(number).unwrap_or(0)));
    Case { sources: sources.collect(), op, state: 0, writer: writer() }
}

/// Whether two steps have one key.
fn check(one: Op, other: Op, same: bool) {
    let states = states();
    let (one, other) = (of(one), of(other));
    assert_eq!(one.key(&states) == other.key(&states), same, "{one:#?}\n{other:#?}");
    assert_eq!(normal::of(&one) == normal::of(&other), same, "{one:#?}\n{other:#?}");
}

#[test]
fn what_other_tools_take_for_the_same() {
    let env = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Op::Run(RunOp { env: pairs.collect(), ..run() })
    };
    // Joined by dashes these are one text.
    check(env(&[("A", "x-B=z"), ("B", "y")]), env(&[("A", "x"), ("B", "z-B=y")]), false);
    check(env(&[("A", "1"), ("B", "2")]), env(&[("B", "2"), ("A", "1")]), false);
    check(env(&[("A", "=1")]), env(&[("A=", "1")]), false);
    check(env(&[("A", "")]), env(&[]), false);
    let argv = |words: &[&str]| {
        let argv = words.iter().map(|word| (*word).to_owned()).collect();
        Op::Run(RunOp { argv, ..run() })
    };
    check(argv(&["a b"]), argv(&["a", "b"]), false);
    check(argv(&["a", ""]), argv(&["a"]), false);
    let body = |content: &str| {
        let file = InlineFile { name: "EOF".to_owned(), content: content.to_owned() };
        Op::Run(RunOp { script: Some(file), ..run() })
    };
    check(body("#!/bin/sh\nmake\n"), body("#!/bin/sh\nmake all\n"), false);
    check(body(""), Op::Run(run()), false);
    let user = |user: &str| Op::Run(RunOp { user: user.to_owned(), ..run() });
    check(user("1"), user("0"), false);
    let workdir = |path: &str, user: &str| {
        Op::Workdir(WorkdirOp { path: path.to_owned(), user: user.to_owned() })
    };
    check(workdir("/a", "b"), workdir("/a", "c"), false);
    check(workdir("/ab", ""), workdir("/a", "b"), false);
}

#[test]
fn what_does_not_matter() {
    let proxy = |value: &str| {
        let proxy = vec![("HTTP_PROXY".to_owned(), value.to_owned())];
        Op::Run(RunOp { proxy, ..run() })
    };
    check(proxy("http://a"), proxy("http://b"), true);
    check(proxy("http://a"), Op::Run(run()), true);
    // Which stage it is says what stands for the source, not the number it has now.
    let bind = |stage: usize, target: &str| {
        let mount = MountSpec::Bind {
            from: MountSource::Stage(plan::StageId(stage)),
            source: "/".to_owned(),
            target: target.to_owned(),
            read_only: true,
        };
        Op::Run(RunOp { mounts: vec![mount], ..run() })
    };
    check(bind(0, "/mnt"), bind(3, "/mnt"), true);
    check(bind(0, "/mnt"), bind(0, "/srv"), false);
    // Of a copy that stands alone, what is below.
    let states = states();
    let on = |link, state| Case { state, ..of(change::plain_copy("/a", link)) }.key(&states);
    assert_eq!(on(true, 0), on(true, 1));
    assert_ne!(on(false, 0), on(false, 1));
}
