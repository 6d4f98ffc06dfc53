//! Orders of stages, written as `0 1<0 2<0,1`: each stage and what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Barrier, Mutex};

use plan::StageId;

use super::Schedule;

fn schedule(text: &str) -> Schedule {
    let number = |text: &str| StageId(text.parse().expect("because the test names numbers"));
    Schedule::new(text.split_whitespace().map(|stage| match stage.split_once('<') {
        Some((stage, waits)) => (number(stage), waits.split(',').map(number).collect()),
        None => (number(stage), BTreeSet::new()),
    }))
}

/// Runs a schedule in which some stages fail; what started and what ended, in order, as `+0 -0`, and
/// which failures are told.
fn run(text: &str, workers: usize, failing: &[usize]) -> (Vec<String>, Vec<usize>) {
    let seen = Mutex::new(Vec::new());
    let see = |what: String| seen.lock().expect("because no test panics here").push(what);
    let work = |stage: StageId| {
        see(format!("+{stage}"));
        see(format!("-{stage}"));
        if failing.contains(&stage.0) { Err(stage.0) } else { Ok(()) }
    };
    let failures: BTreeMap<StageId, usize> =
        schedule(text).run(workers, work, || see("halt".to_owned()));
    let seen = seen.into_inner().expect("because no test panics here");
    (seen, failures.into_values().collect())
}

fn check(text: &str, failing: &[usize], expected: &str, told: &[usize]) {
    let (seen, failures) = run(text, 1, failing);
    assert_eq!((seen.join(" ").as_str(), failures.as_slice()), (expected, told), "{text}");
}

#[test]
fn one_worker_keeps_the_order_of_the_plan() {
    check("", &[], "", &[]);
    check("0", &[], "+0 -0", &[]);
    check("0 1 2<1 3<0", &[], "+0 -0 +1 -1 +2 -2 +3 -3", &[]);
    // Stages that were left out leave gaps.
    check("2 5<2 7", &[], "+2 -2 +5 -5 +7 -7", &[]);
}

#[test]
fn nothing_starts_after_a_failure() {
    check("0 1 2", &[1], "+0 -0 +1 -1 halt", &[1]);
    check("0 1<0", &[0], "+0 -0 halt", &[0]);
}

#[test]
fn whoever_waits_starts_after_all_it_waits_for() {
    for text in ["0 1 2 3<0,1,2", "0 1<0 2<0 3<1 4<2 5<3,4", "0 1<0 2 3<2 4<1,3 5"] {
        let (seen, failures) = run(text, 4, &[]);
        assert_eq!(failures, [0; 0]);
        let at = |what: String| seen.iter().position(|entry| *entry == what);
        for (stage, waits) in &schedule(text).0 {
            for wait in waits {
                assert!(at(format!("-{wait}")) < at(format!("+{stage}")), "{text}: {seen:?}");
            }
        }
        assert_eq!(seen.len(), 2 * schedule(text).0.len(), "{text}: {seen:?}");
    }
}

#[test]
fn stages_that_do_not_wait_are_at_work_together() {
    // Each waits until all three are there, which would be never if one came after another.
    let together = Barrier::new(3);
    let work = |_: StageId| {
        together.wait();
        Ok::<(), ()>(())
    };
    assert!(schedule("0 1 2").run(3, work, || {}).is_empty());
}

#[test]
fn the_stages_at_work_are_halted_once_and_all_their_failures_are_told() {
    let together = Barrier::new(3);
    let halts = Mutex::new(0);
    let work = |stage: StageId| {
        together.wait();
        Err::<(), usize>(stage.0)
    };
    let halt = || *halts.lock().expect("because no test panics here") += 1;
    let failures = schedule("0 1 2 3<0 4").run(3, work, halt);
    assert_eq!(failures.into_values().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(halts.into_inner().expect("because no test panics here"), 1);
}

#[test]
fn a_panic_wakes_those_who_wait() {
    let work = |stage: StageId| match stage.0 {
        0 => std::panic::resume_unwind(Box::new("the stage panics")),
        _ => Ok::<(), ()>(()),
    };
    let run = std::panic::catch_unwind(|| schedule("0 1 2<0,1").run(2, work, || {}));
    assert!(run.is_err());
}

#[test]
fn how_many_are_at_work_at_once() {
    let check = |text: &str, workers: usize, expected: usize| {
        assert_eq!(schedule(text).at_once(workers), expected, "{text} with {workers}");
    };
    check("0", 4, 1);
    check("0 1", 4, 2);
    check("0 1 2<0,1", 2, 2);
    check("0 1 2<0,1", 8, 3);
    check("0 1 2<0,1", 1, 1);
    check("0 1 2", 0, 1);
    check("0 1<0 2<1", 4, 1);
    check("0 2<0 5<0,2", 4, 1);
    // A bound: the stage that the others wait for is never beside them.
    check("0 1<0 2<0", 4, 3);
    check("", 4, 1);
}
