//! Whatever the text: no panic, and a plan that holds together.

mod support;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use plan::{
    BuildPlan, CopySource, HistoryKind, MountSource, MountSpec, Op, PlanOptions, StageBase,
};
use plan::{Unimplemented, gitref};
use proptest::prelude::*;
use support::{Images, images, options};

static KNOWN: LazyLock<Images> = LazyLock::new(|| images(include_str!("data/base_images.json")));

/// Lines that refer to each other often enough to make interesting files.
fn line() -> impl Strategy<Value = String> {
    let word = "[a-c$/{}:?\"' -]{0,8}";
    prop_oneof![
        "FROM (a|b|scratch|busybox|full|onb|nope) AS (a|b|c)",
        "FROM (scratch|busybox|onbcopy)",
        "COPY --from=(a|b|c|0|1|9|busybox) /x /y",
        "RUN --mount=from=(a|b|c|busybox),target=/(m|) true",
        "RUN --mount=type=(bind|cache|tmpfs|secret|ssh),(id=a|target=/a|required|ro) x",
        "ARG (A|B|PATH)(=[a-c$]{0,4})?",
        "ENV (A|B|PATH)=[a-c$]{0,4}",
        "ONBUILD (RUN x|COPY --from=a / /|ENV A=b)",
        "WORKDIR [a-c/.]{0,6}",
        word.prop_map(|word| format!("COPY {word} /x/")),
        word.prop_map(|word| format!("EXPOSE {word}")),
        word.prop_map(|word| format!("ENV A={word}")),
        word.prop_map(|word| format!("ADD {word} https://a/{word} /")),
        "CMD .{0,8}",
        "ENTRYPOINT (\\[\\]|\\[\"x\"\\]|x)",
    ]
}

fn file() -> impl Strategy<Value = String> {
    prop::collection::vec(line(), 0..12)
        .prop_map(|lines| format!("FROM busybox AS a\n{}\n", lines.join("\n")))
}

/// A stage reads only stages before it, every image it reads was asked for, and steps count up.
fn holds_together(plan: &BuildPlan) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let stage_is_known = |seen: &BTreeSet<_>, id: &plan::StageId| {
        seen.contains(id).then_some(()).ok_or(format!("stage {id} is not planned before"))
    };
    let image_is_known = |id: &plan::BaseImageId| {
        plan.base_image(id).map(|_| ()).ok_or(format!("image {id} was not asked for"))
    };
    for stage in &plan.stages {
        match &stage.base {
            StageBase::Scratch => {}
            StageBase::Image(id) => image_is_known(id)?,
            StageBase::Stage(id) => stage_is_known(&seen, id)?,
        }
        for (index, step) in stage.steps.iter().enumerate() {
            if step.id.index != index || step.id.stage != stage.id {
                return Err(format!("step {} is at {index}", step.id));
            }
            let makes_layer = !matches!(step.op, Op::Config(_));
            if makes_layer != (step.history == HistoryKind::Layer) {
                return Err(format!("step {} and its history disagree", step.id));
            }
            match &step.op {
                Op::Copy(op) => match &op.from {
                    CopySource::Context | CopySource::Scratch => {}
                    CopySource::Stage(id) => stage_is_known(&seen, id)?,
                    CopySource::Image(id) => image_is_known(id)?,
                },
                Op::Run(op) => {
                    for mount in &op.mounts {
                        let from = match mount {
                            MountSpec::Bind { from, .. } | MountSpec::Cache { from, .. } => from,
                            _ => continue,
                        };
                        match from {
                            MountSource::Context | MountSource::Scratch => {}
                            MountSource::Stage(id) => stage_is_known(&seen, id)?,
                            MountSource::Image(id) => image_is_known(id)?,
                        }
                    }
                }
                Op::Config(_) | Op::Workdir(_) | Op::Add(_) => {}
            }
        }
        seen.insert(stage.id);
    }
    stage_is_known(&seen, &plan.target)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn plans_hold_together(text in file(), target in prop::option::of("[a-c0-9]")) {
        let options = PlanOptions {
            targets: target.into_iter().collect(),
            unimplemented: Unimplemented::Plan,
            ..options()
        };
        if let Ok(planned) = support::plan(&text, &options, &KNOWN) {
            prop_assert_eq!(holds_together(&planned.plan), Ok(()));
            let image = planned.image();
            let layers = image.config().history.iter().filter(|entry| !entry.empty_layer).count();
            prop_assert_eq!(layers, image.layers().len());
            prop_assert!(!planned.plan.to_string().is_empty());
        }
    }

    #[test]
    fn git_references_never_panic(text in "(https?://|git@|ssh://|github.com/)?.{0,40}") {
        if let Ok(git) = gitref::parse(&text) {
            prop_assert!(!git.to_string().contains('\n') || text.contains('\n') || text.contains('%'));
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(FROM x\n)?.{0,60}") {
        let _ = support::plan(&text, &options(), &KNOWN);
    }
}

#[test]
fn a_small_file_makes_no_huge_plan() {
    let mut text = String::from("FROM busybox\n");
    for index in 0..1100 {
        text.push_str(&format!("ARG A{index}=x\nRUN x\n"));
    }
    let Err(refused) = support::plan(&text, &options(), &KNOWN) else { panic!("it is planned") };
    assert_eq!(refused.message, "the steps of the plan carry more than 1000000 variables");
}

#[test]
fn a_chain_of_many_stages_is_planned() {
    let mut text = String::from("FROM busybox AS s0\nRUN x\n");
    for index in 1..2000 {
        let before = index - 1;
        text.push_str(&format!("FROM scratch AS s{index}\nCOPY --from=s{before} / /\n"));
    }
    let planned = support::plan(&text, &options(), &KNOWN);
    let Ok(planned) = planned else { panic!("a chain is refused") };
    assert_eq!(planned.plan.stages.len(), 2000);
    assert_eq!(planned.image().layers().len(), 1);
}
