//! Where an image is looked for: what stands in for its registry, in order, then the registry
//! itself; and which images may be looked for at all.
//!
//! Pure: *does not* ask anybody. [`crate::Client::resolve`] goes the way that this describes.

use std::collections::BTreeMap;

use oci::Reference;

/// What stands in for registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    stand_ins: BTreeMap<String, Vec<StandIn>>,
    /// A registry that something stands in for is not asked itself.
    pub only_stand_ins: bool,
}

/// A place below which the repositories of another registry are found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StandIn {
    registry: String,
    /// What stands before a repository there; may be empty.
    prefix: String,
}

/// A text that names no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{place}` cannot stand in for the registry `{registry}`: {reason}")]
pub struct NoPlace {
    registry: String,
    place: String,
    reason: &'static str,
}

impl Routes {
    /// Adds one more place for a registry, after those that it has.
    ///
    /// # Errors
    /// Where `place` is not `HOST[:PORT][/PREFIX]`. A leading `https://` is what is meant anyway.
    pub fn add(&mut self, registry: &str, place: &str) -> Result<(), NoPlace> {
        let stand_in = StandIn::parse(place).map_err(|reason| NoPlace {
            registry: registry.to_owned(),
            place: place.to_owned(),
            reason,
        })?;
        let registry = oci::registry_name(registry);
        self.stand_ins.entry(registry.to_owned()).or_default().push(stand_in);
        Ok(())
    }

    /// The image's names, in the order they are to be tried.
    pub(crate) fn candidates(&self, reference: &Reference) -> Vec<Candidate> {
        let stand_ins = self.stand_ins.get(reference.registry()).map_or(&[][..], Vec::as_slice);
        let mut found: Vec<Candidate> = Vec::new();
        for stand_in in stand_ins {
            match stand_in.name(reference) {
                Ok(reference) => found.push(Candidate { reference, stands_in: true, last: false }),
                Err(error) => tracing::warn!("{} is left out: {error}", stand_in.registry),
            }
        }
        if stand_ins.is_empty() || !self.only_stand_ins {
            let reference = reference.clone();
            found.push(Candidate { reference, stands_in: false, last: false });
        }
        if let Some(last) = found.last_mut() {
            last.last = true;
        }
        found
    }
}

impl StandIn {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
        if text.contains("://") {
            return Err("it is not HOST[:PORT][/PREFIX]; for plain HTTP give --insecure-registry");
        }
        let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
        let registry = oci::registry_name(host).to_owned();
        let stand_in = Self { registry, prefix: prefix.to_owned() };
        let probe = Reference::parse("registry.invalid/a").map_err(|_| "the probe is no name")?;
        stand_in.name(&probe).map(|_| stand_in).map_err(|_| "it is not HOST[:PORT][/PREFIX]")
    }

    /// What an image is called there. Docker Hub's own images keep their `library/`.
    fn name(&self, reference: &Reference) -> oci::Result<Reference> {
        let there = reference.with_registry(&self.registry)?;
        match self.prefix.as_str() {
            "" => Ok(there),
            prefix => there.with_repository(&format!("{prefix}/{}", reference.repository())),
        }
    }
}

/// One name of an image that is to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) reference: Reference,
    /// It is not the name that was asked for.
    pub(crate) stands_in: bool,
    /// Nothing is tried after it.
    pub(crate) last: bool,
}

/// Which images may be pulled, by the name that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Registries, or registries with repositories.
    pub registries: Rule,
    /// Repositories, whatever the registry.
    pub repositories: Rule,
}

/// Patterns in which `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Only what matches one of these, if there are any.
    pub allowed: Vec<String>,
    /// Never what matches one of these.
    pub denied: Vec<String>,
}

impl Policy {
    /// Why the image may not be pulled; `None` if it may.
    pub(crate) fn refusal(&self, reference: &Reference) -> Option<String> {
        let (registry, repository) = (reference.registry(), reference.repository());
        let whole = format!("{registry}/{repository}");
        let by_registry = self.registries.refusal(|pattern| {
            let (host, rest) = pattern.split_once('/').unwrap_or((pattern, ""));
            let host = oci::registry_name(host);
            match rest {
                "" => matches(host, registry),
                rest => matches(&format!("{host}/{rest}"), &whole),
            }
        });
        by_registry.or_else(|| self.repositories.refusal(|pattern| matches(pattern, repository)))
    }
}

impl Rule {
    fn refusal(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        if let Some(pattern) = self.denied.iter().find(|pattern| fits(pattern)) {
            return Some(format!("`{pattern}` is denied"));
        }
        if self.allowed.is_empty() || self.allowed.iter().any(|pattern| fits(pattern)) {
            return None;
        }
        Some(format!("only `{}` is allowed", self.allowed.join("`, `")))
    }
}

/// Whether the text is the pattern, where `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maps as `registry=place`, then an image, then the names that are tried.
    fn check(maps: &[&str], only: bool, image: &str, expected: &[&str]) {
        let mut routes = Routes { only_stand_ins: only, ..Routes::default() };
        for map in maps {
            let (registry, place) = map.split_once('=').expect("because the cases are pairs");
            routes.add(registry, place).expect("because the cases are places");
        }
        let image = Reference::parse(image).expect("because the cases are names");
        let found = routes.candidates(&image);
        let names: Vec<String> =
            found.iter().map(|candidate| candidate.reference.to_string()).collect();
        assert_eq!(names, expected, "{maps:?} {image}");
        let stand_ins = found.iter().filter(|candidate| candidate.stands_in).count();
        assert_eq!(stand_ins, names.iter().filter(|name| **name != image.to_string()).count());
        assert_eq!(found.iter().position(|candidate| candidate.last), Some(found.len() - 1));
    }

    #[test]
    fn names_that_are_tried() {
        check(&[], true, "debian", &["index.docker.io/library/debian:latest"]);
        for hub in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let map = format!("{hub}=m.io");
            let expected = ["m.io/library/debian:12", "index.docker.io/library/debian:12"];
            check(&[&map], false, "debian:12", &expected);
        }
        check(&["docker.io=m.io/hub/x/"], true, "debian", &["m.io/hub/x/library/debian:latest"]);
        check(&["docker.io=https://m.io"], true, "a/b", &["m.io/a/b:latest"]);
        check(
            &["gcr.io=a:1", "gcr.io=[::1]:5/p", "ghcr.io=c"],
            false,
            "gcr.io/x/y:1",
            &["a:1/x/y:1", "[::1]:5/p/x/y:1", "gcr.io/x/y:1"],
        );
        check(&["gcr.io=docker.io/x"], true, "gcr.io/y", &["index.docker.io/x/y:latest"]);
        let hex = "a".repeat(64);
        let pinned = format!("m.io/x@sha256:{hex}");
        check(&["gcr.io=m.io"], true, &format!("gcr.io/x@sha256:{hex}"), &[&pinned]);
        // A registry that nothing stands in for is asked itself, whatever is said of others.
        check(&["gcr.io=m.io"], true, "quay.io/x", &["quay.io/x:latest"]);
        // A name that is too long there is left out.
        let long = format!("gcr.io/{}", "a".repeat(250));
        check(&["gcr.io=m.io/prefix"], false, &long, &[&format!("{long}:latest")]);
    }

    #[test]
    fn texts_that_are_no_place() {
        for place in ["", "http://m.io", "m.io/UP", "m.io//x", "a b", "m.io:x", "/x", "user@m.io"] {
            let error = Routes::default().add("gcr.io", place).expect_err(place).to_string();
            let expected =
                format!("`{place}` cannot stand in for the registry `gcr.io`: it is not");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    /// Patterns by sign: `+` allowed, `-` denied; a leading `:` is about repositories.
    fn check_policy(rules: &[&str], image: &str, expected: Option<&str>) {
        let mut policy = Policy::default();
        for rule in rules {
            let (sign, pattern) = rule.split_at(1);
            let (rule, pattern) = match pattern.strip_prefix(':') {
                Some(pattern) => (&mut policy.repositories, pattern),
                None => (&mut policy.registries, pattern),
            };
            let list = if sign == "+" { &mut rule.allowed } else { &mut rule.denied };
            list.push(pattern.to_owned());
        }
        let image = Reference::parse(image).expect("because the cases are names");
        assert_eq!(policy.refusal(&image).as_deref(), expected, "{rules:?} {image}");
    }

    #[test]
    fn what_may_be_pulled() {
        check_policy(&[], "a", None);
        check_policy(&["+gcr.io"], "gcr.io/a", None);
        check_policy(&["+gcr.io"], "quay.io/a", Some("only `gcr.io` is allowed"));
        check_policy(&["+gcr.io"], "gcr.io.evil.example/a", Some("only `gcr.io` is allowed"));
        check_policy(&["+gcr.io", "+*.pkg.dev"], "eu.pkg.dev/a", None);
        check_policy(&["+gcr.io/*"], "gcr.io/a/b", None);
        check_policy(
            &["+gcr.io/team/*"],
            "gcr.io/other/b",
            Some("only `gcr.io/team/*` is allowed"),
        );
        check_policy(&["+docker.io"], "debian", None);
        check_policy(&["+docker.io/library/*"], "debian", None);
        check_policy(&["-docker.io/*"], "debian", Some("`docker.io/*` is denied"));
        check_policy(&["+*", "-r:5"], "r:5/a", Some("`r:5` is denied"));
        check_policy(&["+:team/*"], "gcr.io/team/x", None);
        check_policy(&["+:team/*"], "gcr.io/x", Some("only `team/*` is allowed"));
        check_policy(
            &["+gcr.io", "-:*/secret*"],
            "gcr.io/a/secrets",
            Some("`*/secret*` is denied"),
        );
    }

    #[test]
    fn stars() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "ba", false),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*ab", "aab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
