//! Plans for several platforms: what is shared, and what each platform has of its own.

mod support;

use oci::Platform;
use plan::{BuildPlan, PlanOptions, StageBase};
use support::{images, options};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

fn platform(text: &str) -> Platform {
    text.parse().expect("the cases are platforms")
}

/// The plan of each platform, and all of them as one.
fn merged(text: &str, platforms: &[&str]) -> Result<BuildPlan, String> {
    let known = images(include_str!("data/base_images.json"));
    let plans = platforms.iter().map(|name| {
        let options = PlanOptions { platform: Some(platform(name)), ..options() };
        let planned = support::plan(text, &options, &known);
        let planned = planned.unwrap_or_else(|refused| panic!("{}: {text}", refused.message));
        (platform(name), planned.plan)
    });
    plan::merge(plans.collect()).map_err(|errors| errors[0].to_string())
}

/// A stage as `number name < stages it reads`.
fn shown(plan: &BuildPlan) -> Vec<String> {
    let stage = |stage: &plan::StagePlan| {
        let mut reads: Vec<usize> = stage
            .steps
            .iter()
            .filter_map(|step| match &step.op {
                plan::Op::Copy(plan::CopyOp { from: plan::CopySource::Stage(id), .. }) => {
                    Some(id.0)
                }
                _ => None,
            })
            .collect();
        if let StageBase::Stage(base) = stage.base {
            reads.push(base.0);
        }
        let name = stage.name.as_deref().unwrap_or("-");
        format!("{} {name} < {reads:?}", stage.id)
    };
    plan.stages.iter().map(stage).collect()
}

fn check(text: &str, stages: &[&str], images: &[usize]) {
    let plan = merged(text, &PLATFORMS).expect("the plans fit together");
    assert_eq!(shown(&plan), stages, "{text}");
    let found: Vec<usize> = plan.images.iter().map(|id| id.0).collect();
    assert_eq!(found, images, "{text}");
    assert_eq!(plan.target.0, images[0]);
    for (stage, step) in plan.stages.iter().flat_map(|s| s.steps.iter().map(move |step| (s, step)))
    {
        assert_eq!(step.id.stage, stage.id);
    }
}

#[test]
fn a_stage_on_the_build_platform_is_there_once() {
    check(
        "FROM --platform=$BUILDPLATFORM busybox AS build\nRUN make\nFROM scratch\n\
         COPY --from=build /out /\n",
        &[
            "0 build < []",
            "1 linux/amd64 stage-1 < [0]",
            "2 linux/arm64 stage-1 < [0]",
            "3 linux/arm/v7 stage-1 < [0]",
        ],
        &[1, 2, 3],
    );
}

#[test]
fn a_stage_that_asks_for_the_target_is_there_for_each() {
    check(
        "FROM --platform=$BUILDPLATFORM busybox AS fetch\nRUN fetch\nFROM fetch AS build\n\
         ARG TARGETARCH\nRUN make\nFROM scratch\nCOPY --from=build /out /\n",
        &[
            "0 fetch < []",
            "1 linux/amd64 build < [0]",
            "2 linux/amd64 stage-2 < [1]",
            "3 linux/arm64 build < [0]",
            "4 linux/arm64 stage-2 < [3]",
            "5 linux/arm/v7 build < [0]",
            "6 linux/arm/v7 stage-2 < [5]",
        ],
        &[2, 4, 6],
    );
}

#[test]
fn a_stage_of_the_target_s_own_platform_is_there_for_each() {
    check(
        "FROM busybox AS app\nCOPY x /\n",
        &["0 linux/amd64 app < []", "1 linux/arm64 app < []", "2 linux/arm/v7 app < []"],
        &[0, 1, 2],
    );
}

#[test]
fn stages_with_the_same_text_stay_apart() {
    check(
        "FROM --platform=$BUILDPLATFORM scratch AS a\nCOPY x /\n\
         FROM --platform=$BUILDPLATFORM busybox AS b\nCOPY x /\n\
         FROM --platform=$BUILDPLATFORM busybox AS c\nCOPY x /\n\
         FROM scratch\nCOPY --from=b /x /b\nCOPY --from=c /x /c\n",
        &[
            "0 b < []",
            "1 c < []",
            "2 linux/amd64 stage-3 < [0, 1]",
            "3 linux/arm64 stage-3 < [0, 1]",
            "4 linux/arm/v7 stage-3 < [0, 1]",
        ],
        &[2, 3, 4],
    );
}

#[test]
fn the_plan_of_one_platform_stays_as_it_is() {
    let text = "FROM busybox AS a\nRUN x\nFROM scratch\nCOPY --from=a /x /\n";
    let known = images(include_str!("data/base_images.json"));
    let options = PlanOptions { platform: Some(platform("linux/arm64")), ..options() };
    let alone = support::plan(text, &options, &known).map(|planned| planned.plan);
    let alone = alone.unwrap_or_else(|refused| panic!("{}", refused.message));
    assert_eq!(merged(text, &["linux/arm64"]), Ok(alone));
}

#[test]
fn findings_and_images_are_told_once() {
    let text = "FROM --platform=$BUILDPLATFORM busybox as a\nFROM alpine\nCOPY --from=a /x /\n";
    let known = images(include_str!("data/base_images.json"));
    let alone = support::plan(text, &options(), &known).map(|planned| planned.plan.warnings);
    let alone = alone.unwrap_or_else(|refused| panic!("{}", refused.message));
    let plan = merged(text, &PLATFORMS).expect("the plans fit together");
    assert!(plan.warnings.starts_with(&alone) && !alone.is_empty(), "{:?}", plan.warnings);
    let wanted: Vec<&str> = plan.base_images.iter().map(|image| image.id.as_str()).collect();
    assert_eq!(
        wanted,
        [
            "docker.io/library/busybox:latest for linux/amd64",
            "docker.io/library/alpine:latest for linux/amd64",
            "docker.io/library/alpine:latest for linux/arm64",
            "docker.io/library/alpine:latest for linux/arm/v7",
        ]
    );
}

#[test]
fn an_epoch_that_depends_on_the_platform_is_refused() {
    let text = "ARG SOURCE_DATE_EPOCH=${TARGETVARIANT#v}0\nFROM scratch\n";
    let expected = "SOURCE_DATE_EPOCH is not the same for every platform of this build";
    assert_eq!(merged(text, &PLATFORMS).map(|_| ()), Err(expected.to_owned()));
}
