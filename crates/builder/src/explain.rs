//! Why a step is not in the cache: what its key is made of now, against what it was made of when the
//! same Dockerfile was built before.
//!
//! What all keys of a build were made of is kept beside the results, in the slot of the build. It
//! holds hashes and names, no values. Without an earlier build nothing can be said, and nothing is.

use std::collections::{BTreeMap, BTreeSet};

use cache::{CacheKey, KeyBuilder, KeyPart, Part, first_difference};
use copy::FileIdentity;
use plan::{BuildPlan, StagePlan, Step};
use serde::{Deserialize, Serialize};

use crate::event::StageName;
use crate::request::BuildRequest;
use crate::results::{MadeOf, Results};

/// Raised when the meaning of a field changes.
const VERSION: u32 = 1;
/// So many files are named.
const NAMED: usize = 3;
/// What files are called that are too many to be remembered by their names.
const MANY: &str = "one of very many files";

/// What the keys of a build were made of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    version: u32,
    steps: Vec<StepKeys>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepKeys {
    stage: String,
    text: String,
    parts: Vec<KeyPart>,
    /// Of each source, by its label: the files and their hashes.
    files: Vec<(String, BTreeMap<String, String>)>,
}

/// Where the keys of builds like this one are kept: of the same targets for the same destination.
pub(crate) fn slot(request: &BuildRequest) -> CacheKey {
    let mut slot = KeyBuilder::new();
    slot.labelled(Part::Kind, "slot", b"what keys were made of");
    let destination = request.outputs.destinations.first();
    let destination = destination.map(|name| format!("{}/{}", name.registry(), name.repository()));
    slot.labelled(Part::Arguments, "destination", destination.unwrap_or_default().as_bytes());
    slot.list(Part::Arguments, "targets", request.targets.iter().map(String::as_bytes));
    let platforms: Vec<String> = request.platforms.iter().map(ToString::to_string).collect();
    slot.list(Part::Platform, "", platforms.iter().map(String::as_bytes));
    slot.finish().key
}

impl Keys {
    /// Of a build whose steps are known by now.
    pub(crate) fn of(plan: &BuildPlan, results: &Results) -> Keys {
        let steps = plan.stages.iter().flat_map(|stage| {
            stage
                .steps
                .iter()
                .filter_map(|step| Some(StepKeys::new(stage, step, results.made_of(step.id)?)))
        });
        Keys { version: VERSION, steps: steps.collect() }
    }

    /// As they were kept; nothing where that cannot be read.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Keys> {
        serde_json::from_slice(bytes).ok().filter(|keys: &Keys| keys.version == VERSION)
    }

    /// To be kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Why a step has another key than the nearest one of the earlier build: the same instruction of
    /// the same stage, else one of the same stage that is as near as can be, else the same one elsewhere.
    pub(crate) fn reason(&self, stage: &StagePlan, step: &Step, now: MadeOf) -> String {
        let now = StepKeys::new(stage, step, now);
        let nearness = |earlier: &&StepKeys| {
            let same_stage = earlier.stage == now.stage;
            let same_text = earlier.text == now.text;
            let equal = earlier.parts.iter().zip(&now.parts).filter(|(a, b)| a == b).count();
            (same_stage && same_text, same_text, same_stage, equal)
        };
        let alike = self.steps.iter().filter(|earlier| earlier.kind() == now.kind());
        match alike.max_by_key(nearness) {
            Some(earlier) => now.against(earlier),
            None => "no earlier build had such a step".to_owned(),
        }
    }
}

impl StepKeys {
    fn new(stage: &StagePlan, step: &Step, made_of: MadeOf) -> StepKeys {
        let files = |files: Vec<FileIdentity>| files.into_iter().map(|one| (one.path, one.hash));
        StepKeys {
            stage: StageName::of(stage).to_string(),
            text: step.text.clone(),
            parts: made_of.parts,
            files: made_of
                .files
                .into_iter()
                .map(|(label, of)| (label, files(of).collect()))
                .collect(),
        }
    }

    fn kind(&self) -> Option<&KeyPart> {
        self.parts.iter().find(|part| part.part == Part::Kind)
    }

    /// The files of a source.
    fn files_of(&self, label: &str) -> Option<&BTreeMap<String, String>> {
        self.files.iter().find(|(known, _)| known == label).map(|(_, files)| files)
    }

    fn against(&self, earlier: &StepKeys) -> String {
        // The state before says only that something before differs; a reason of its own says more.
        let own = |keys: &StepKeys| -> Vec<KeyPart> {
            keys.parts.iter().filter(|part| part.part != Part::Parent).cloned().collect()
        };
        let (now, before) = (own(self), own(earlier));
        match first_difference(&now, &before) {
            Some(part) => self.difference(part, earlier),
            None if self.parts != earlier.parts => "a step before it changed".to_owned(),
            None => "it is not in the cache any more".to_owned(),
        }
    }

    fn difference(&self, part: &KeyPart, earlier: &StepKeys) -> String {
        let KeyPart { part, label, .. } = part;
        match part {
            Part::Sources => self
                .changed_files(label, earlier)
                .unwrap_or_else(|| format!("what `{label}` holds changed")),
            Part::Origin => format!("where `{label}` comes from changed"),
            Part::Environment => format!("the variable {label} changed"),
            Part::Bodies => format!("the here-document {label} changed"),
            Part::Mounts => format!("the mount {label} changed"),
            Part::Arguments => "the instruction changed".to_owned(),
            Part::Ownership => "--chown changed".to_owned(),
            Part::Mode => "--chmod changed".to_owned(),
            Part::User => "the user changed".to_owned(),
            Part::Directory => "the working directory changed".to_owned(),
            Part::Options => "another flag of the instruction changed".to_owned(),
            Part::Writer => "the compression or the bound for times changed".to_owned(),
            Part::Parent | Part::Base | Part::Platform | Part::Kind | Part::Remote => {
                "a step before it changed".to_owned()
            }
        }
    }

    /// The files of a source that differ.
    fn changed_files(&self, label: &str, earlier: &StepKeys) -> Option<String> {
        let (now, before) = (self.files_of(label)?, earlier.files_of(label)?);
        let names: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
        let mut told =
            names.into_iter().filter_map(|name| match (now.get(name), before.get(name)) {
                (Some(new), Some(old)) if new != old && name.is_empty() => {
                    Some(MANY.to_owned() + " changed")
                }
                (Some(_), None) | (None, Some(_)) if name.is_empty() => None,
                (Some(_), None) => Some(format!("{name} is new")),
                (None, Some(_)) => Some(format!("{name} is gone")),
                (Some(new), Some(old)) if new != old => Some(format!("{name} changed")),
                _ => None,
            });
        let mut text: Vec<String> = told.by_ref().take(NAMED).collect();
        let more = told.count();
        if more > 0 {
            text.push(format!("and {more} more"));
        }
        (!text.is_empty()).then(|| text.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: Part, label: &str, value: &str) -> KeyPart {
        KeyPart { part, label: label.to_owned(), value: value.to_owned() }
    }

    fn step(parts: &[KeyPart], files: &[(&str, &str)]) -> StepKeys {
        let files = files.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned()));
        StepKeys {
            stage: "stage 0".to_owned(),
            text: "COPY src /src".to_owned(),
            parts: parts.to_vec(),
            files: vec![("src".to_owned(), files.collect())],
        }
    }

    #[test]
    fn what_changed_is_named() {
        let copy = |parent, sources| {
            [
                part(Part::Parent, "", parent),
                part(Part::Kind, "", "COPY"),
                part(Part::Sources, "src", sources),
            ]
        };
        let before = step(&copy("1", "1"), &[("src/a.c", "1"), ("src/b.c", "1")]);
        let check = |now: &StepKeys, expected: &str| assert_eq!(now.against(&before), expected);
        let files = |files| step(&copy("1", "2"), files);
        check(&files(&[("src/a.c", "2"), ("src/b.c", "1")]), "src/a.c changed");
        check(&files(&[("src/a.c", "1"), ("src/c.c", "1")]), "src/b.c is gone, src/c.c is new");
        let many: Vec<(String, &str)> = (0..9).map(|n| (format!("src/{n}"), "1")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, hash)| (&**name, *hash)).collect();
        check(&files(&many), "src/0 is new, src/1 is new, src/2 is new, and 8 more");
        let unnamed = |hash| step(&copy("1", hash), &[("", hash)]);
        assert_eq!(unnamed("2").against(&unnamed("1")), "one of very many files changed");
        // The source itself says more than that something before it changed.
        let both = step(&copy("2", "2"), &[("src/a.c", "2"), ("src/b.c", "1")]);
        check(&both, "src/a.c changed");
        check(&step(&copy("2", "1"), &[]), "a step before it changed");
        check(&step(&copy("1", "1"), &[]), "it is not in the cache any more");
        let mut owned = copy("1", "1").to_vec();
        owned.insert(2, part(Part::Ownership, "", "1"));
        check(&step(&owned, &[]), "--chown changed");
    }
}
