//! The table of features: every row has its effect in a plan, or is refused by name.

mod support;

use plan::features::{FEATURES, Support};
use plan::{PlanOptions, Unimplemented};
use support::{images, options};

#[test]
fn rows_are_implemented_or_refused_by_name() {
    let known = images(include_str!("data/base_images.json"));
    for feature in FEATURES {
        let all = PlanOptions { unimplemented: Unimplemented::Plan, ..options() };
        let planned = match support::plan(feature.example, &all, &known) {
            Ok(planned) => planned,
            Err(refused) => panic!("{}: {}", feature.name, refused.message),
        };
        let image = planned.image();
        assert!(image.config().size() > 0, "{}", feature.name);
        match (support::plan(feature.example, &options(), &known), feature.support) {
            (Ok(same), Support::Implemented) => assert_eq!(same.plan, planned.plan),
            (Err(refused), Support::NotYet(_)) => {
                assert_eq!(refused.message, format!("{} is not supported yet", feature.name));
                assert_eq!(refused.lines, [(2, 2)], "{}", feature.name);
            }
            (Ok(_), Support::NotYet(_)) => panic!("{} is accepted", feature.name),
            (Err(refused), Support::Implemented) => {
                panic!("{} is refused: {}", feature.name, refused.message)
            }
        }
    }
}

#[test]
fn rows_differ_in_the_plan() {
    // A feature whose example plans like that of another row has no effect of its own; only the
    // defaults that are spelled out may do so.
    let known = images(include_str!("data/base_images.json"));
    let all = PlanOptions { unimplemented: Unimplemented::Plan, ..options() };
    let mut seen: Vec<(String, &str)> = Vec::new();
    for feature in FEATURES {
        let Ok(planned) = support::plan(feature.example, &all, &known) else {
            panic!("{} is refused", feature.name)
        };
        let shown = planned.plan.to_string();
        let spelled_out = ["RUN --network=default", "RUN --security=sandbox"];
        if spelled_out.contains(&feature.name) {
            continue;
        }
        if let Some((_, other)) = seen.iter().find(|(plan, _)| *plan == shown) {
            panic!("{} plans like {other}:\n{shown}", feature.name);
        }
        seen.push((shown, feature.name));
    }
}

#[test]
fn every_instruction_has_a_row() {
    for instruction in [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ] {
        assert!(FEATURES.iter().any(|row| row.instruction == instruction), "{instruction}");
    }
    let names: std::collections::BTreeSet<&str> = FEATURES.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), FEATURES.len(), "a name occurs once");
}
