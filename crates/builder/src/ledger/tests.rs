//! Until when the files of stages are kept: Dockerfiles whose stages ask for files or do not.

use oci::{ImageDraft, Platform};
use plan::{BuildPlan, PlanOptions, StageId};

use super::{Files, Ledger};

fn plan(text: &str) -> BuildPlan {
    let file = dockerfile::parse(text.as_bytes()).expect("because the test writes it");
    let options = PlanOptions::new(Platform::host());
    let graph = plan::stage_graph(&file, &options).expect("because its stages are there");
    plan::lower(&graph, &std::collections::BTreeMap::new()).expect("because it needs no image")
}

/// Makes the files of a stage, as a step that needs them does.
fn make(ledger: &Ledger, id: StageId, needless: &mut Vec<StageId>) {
    if ledger.has_files(id) {
        return;
    }
    if let Some(parent) = ledger.parents.get(&id) {
        make(ledger, *parent, needless);
        if ledger.is_last_holder(*parent) {
            *ledger.files(*parent).expect("because it is planned") = Files::Gone;
        }
        needless.extend(ledger.let_go(*parent));
    }
    *ledger.files(id).expect("because it is planned") = Files::Made { bytes: 0 };
}

/// Carries the stages out in order. `asked` has for each stage whose files its steps ask for.
/// `expected` has for each stage whose roots are needless after it.
fn check(text: &str, asked: &[&[usize]], expected: &[&[usize]]) {
    let plan = plan(text);
    let ledger = Ledger::new(&plan, &|_| true);
    for ((stage, asked), expected) in plan.stages.iter().zip(asked).zip(expected) {
        let mut needless = Vec::new();
        for id in *asked {
            make(&ledger, StageId(*id), &mut needless);
        }
        needless.extend(ledger.finish(stage, ImageDraft::from_scratch(&stage.platform)));
        let found: Vec<usize> = needless.into_iter().map(|id| id.0).collect();
        assert_eq!(found, *expected, "after stage {} of\n{text}", stage.id);
    }
    assert_eq!(plan.stages.len(), asked.len());
    assert!(ledger.draft(plan.target).is_some());
}

#[test]
fn a_stage_goes_with_its_last_reader() {
    let text = "FROM scratch AS a\nCOPY x /\nFROM scratch AS b\nCOPY --from=a /x /\n\
                FROM scratch\nCOPY --from=a /x /\nCOPY --from=b /x /\n";
    check(text, &[&[0], &[0, 1], &[0, 1, 2]], &[&[], &[], &[0, 1]]);
}

#[test]
fn the_last_reader_takes_the_files_over_and_others_copy_them() {
    let text = "FROM scratch AS a\nCOPY x /\nFROM a AS b\nCOPY y /\nFROM a\nCOPY --from=b /y /\n";
    check(text, &[&[0], &[1], &[1, 2]], &[&[], &[], &[1]]);
    // Who reads its parent apart from starting from it does not take it over.
    let text = "FROM scratch AS a\nCOPY x /\nFROM a\nCOPY --from=a /x /y\n";
    check(text, &[&[0], &[0, 1]], &[&[], &[0]]);
}

#[test]
fn a_stage_without_files_holds_its_parent_for_its_readers() {
    let text = "FROM scratch AS a\nCOPY x /\nFROM a AS b\nENV B=1\nFROM b\nCOPY y /\n";
    check(text, &[&[0], &[], &[2]], &[&[], &[], &[]]);
    // None of the readers ever asks for a file.
    let text = "FROM scratch AS a\nCOPY x /\nFROM a AS b\nENV B=1\nFROM b AS c\nENV C=1\n\
                FROM scratch\nCOPY --from=c / /\n";
    check(text, &[&[0], &[], &[], &[2, 3]], &[&[], &[], &[], &[2]]);
}

#[test]
fn the_target_is_kept_to_the_end() {
    check("FROM scratch\nCOPY x /\n", &[&[0]], &[&[]]);
    let text = "FROM scratch AS a\nCOPY x /\nFROM a\nENV A=1\n";
    check(text, &[&[0], &[]], &[&[], &[]]);
}
