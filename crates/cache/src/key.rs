//! Keys: the identity of a step's result, and why two of them differ.
//!
//! The only place that computes keys. A key is a BLAKE3 hash in a domain of its own (so that it can
//! never equal a key of another tool or version), over parts that are typed, counted and framed by
//! their length: no two sequences of parts give the same bytes.
//!
//! | part | what it is | enters the key of |
//! |---|---|---|
//! | [`Part::Parent`] | the key of the state before the step | every step but `--link` ones that stand alone |
//! | [`Part::Base`] | digest of the base image's manifest, or `scratch` | the state before the first step |
//! | [`Part::Platform`] | the stage's platform | the state before the first step |
//! | [`Part::Kind`] | the instruction: `RUN`, `COPY`, `ADD`, `WORKDIR` | every step |
//! | [`Part::Arguments`] | its words after expansion; for RUN the argument vector | every step |
//! | [`Part::Bodies`] | names and contents of here-documents | RUN, COPY, ADD |
//! | [`Part::Environment`] | the variables that the command sees, in order | RUN |
//! | [`Part::User`] | user, as written | RUN, WORKDIR |
//! | [`Part::Directory`] | working directory | RUN; COPY and ADD to a relative destination |
//! | [`Part::Mounts`] | mounts, each with its options; a secret by its id only | RUN |
//! | [`Part::Sources`] | a hash of what each source holds | COPY, ADD, RUN with mounts; by content |
//! | [`Part::Remote`] | kept for later: what ADD fetched is in `Sources` and `Origin` | none |
//! | [`Part::Origin`] | what stands for a source before it is read: a stage's state, an image's digest, an URL's validator | COPY, ADD, RUN with mounts; early |
//! | [`Part::Ownership`] | the text of `--chown`, never the ids it was looked up to | COPY, ADD |
//! | [`Part::Mode`] | the text of `--chmod` | COPY, ADD |
//! | [`Part::Options`] | other flags that change the layer, such as `--parents` or `--network` | RUN, COPY, ADD |
//! | [`Part::Writer`] | compression and bound for times: what the same files are written as | every step |
//!
//! Not in any key: times of files, ARGs the step cannot see, proxy arguments, values of secrets,
//! files the ignore file leaves out, the name of the destination. `docs/cache-key.md` has this table
//! too (a test compares them), says which value enters which part, and why some enter none.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Changes whenever the meaning of a part does.
const DOMAIN: &str = "kaniko-rs 2026 layer cache key v1";
const PART_DOMAIN: &str = "kaniko-rs 2026 layer cache key part v1";

/// The identity of a step's result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key whose 64 hexadecimal digits these are.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex =
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex {
            return None;
        }
        let hash = blake3::Hash::from_hex(text).ok()?;
        Some(Self(*hash.as_bytes()))
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a part of a key is. The table above says which step has which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the table of this module describes them")]
pub enum Part {
    Parent,
    Base,
    Platform,
    Kind,
    Arguments,
    Bodies,
    Environment,
    User,
    Directory,
    Mounts,
    Sources,
    Remote,
    Ownership,
    Mode,
    Options,
    Writer,
    Origin,
}

impl Part {
    /// The number that stands for the part in the hashed bytes. Never reused.
    fn code(self) -> u8 {
        match self {
            Self::Parent => 1,
            Self::Base => 2,
            Self::Platform => 3,
            Self::Kind => 4,
            Self::Arguments => 5,
            Self::Bodies => 6,
            Self::Environment => 7,
            Self::User => 8,
            Self::Directory => 9,
            Self::Mounts => 10,
            Self::Sources => 11,
            Self::Remote => 12,
            Self::Ownership => 13,
            Self::Mode => 14,
            Self::Options => 15,
            Self::Writer => 16,
            Self::Origin => 17,
        }
    }
}

/// One part as it is remembered: what it was about, and a hash of its value. Values themselves are
/// not kept; an environment may hold what nobody else shall read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPart {
    /// What it is.
    pub part: Part,
    /// Which one of several, such as a source's path; empty where there is one.
    pub label: String,
    /// Half of the value's hash, enough to tell two apart.
    pub value: String,
}

/// A key and how it came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The key.
    pub key: CacheKey,
    /// Its parts, in order.
    pub parts: Vec<KeyPart>,
}

/// Collects the parts of one key, in a fixed order.
#[derive(Debug)]
pub struct KeyBuilder {
    hasher: blake3::Hasher,
    parts: Vec<KeyPart>,
}

impl Default for KeyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyBuilder {
    /// Of the first step of a stage, or of a step that depends on its input alone.
    pub fn new() -> Self {
        Self { hasher: blake3::Hasher::new_derive_key(DOMAIN), parts: Vec::new() }
    }

    /// Of a step after a state.
    pub fn after(parent: &CacheKey) -> Self {
        let mut builder = Self::new();
        builder.part(Part::Parent, &parent.0);
        builder
    }

    /// Adds a part.
    pub fn part(&mut self, part: Part, value: &[u8]) -> &mut Self {
        self.labelled(part, "", value)
    }

    /// Adds one of several parts of a kind, such as one source.
    pub fn labelled(&mut self, part: Part, label: &str, value: &[u8]) -> &mut Self {
        self.list(part, label, std::iter::once(value))
    }

    /// Adds a part that is a list; where one entry ends and the next begins matters.
    pub fn list<'v>(
        &mut self,
        part: Part,
        label: &str,
        values: impl Iterator<Item = &'v [u8]>,
    ) -> &mut Self {
        let mut value = blake3::Hasher::new_derive_key(PART_DOMAIN);
        let mut count = 0u64;
        for entry in values {
            value.update(&(entry.len() as u64).to_le_bytes());
            value.update(entry);
            count += 1;
        }
        value.update(&count.to_le_bytes());
        let value = value.finalize();
        // Fixed width but for the label, which is framed.
        self.hasher.update(&[part.code()]);
        self.hasher.update(&(label.len() as u64).to_le_bytes());
        self.hasher.update(label.as_bytes());
        self.hasher.update(value.as_bytes());
        let value = value.to_hex()[..32].to_owned();
        self.parts.push(KeyPart { part, label: label.to_owned(), value });
        self
    }

    /// The key of what was collected.
    pub fn finish(mut self) -> Explained {
        self.hasher.update(&[0]);
        self.hasher.update(&(self.parts.len() as u64).to_le_bytes());
        Explained { key: CacheKey(*self.hasher.finalize().as_bytes()), parts: self.parts }
    }
}

/// The first part in which `wanted` differs from an earlier entry: why a step missed. `None` when
/// nothing does.
pub fn first_difference<'a>(wanted: &'a [KeyPart], earlier: &'a [KeyPart]) -> Option<&'a KeyPart> {
    let longer = if wanted.len() >= earlier.len() { wanted } else { earlier };
    let pairs = wanted.iter().zip(earlier);
    let differs = pairs.clone().find(|(new, old)| new != old).map(|(new, _)| new);
    differs.or_else(|| longer.get(pairs.count()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    fn key(parts: &[(Part, &str, &[&str])]) -> Explained {
        let mut builder = KeyBuilder::new();
        for (part, label, values) in parts {
            builder.list(*part, label, values.iter().map(|value| value.as_bytes()));
        }
        builder.finish()
    }

    /// All parts, in some order. A new one must be put somewhere, or this does not compile.
    fn parts() -> Vec<Part> {
        let next = |part: &Part| match part {
            Part::Parent => Some(Part::Base),
            Part::Base => Some(Part::Platform),
            Part::Platform => Some(Part::Kind),
            Part::Kind => Some(Part::Arguments),
            Part::Arguments => Some(Part::Bodies),
            Part::Bodies => Some(Part::Environment),
            Part::Environment => Some(Part::User),
            Part::User => Some(Part::Directory),
            Part::Directory => Some(Part::Mounts),
            Part::Mounts => Some(Part::Sources),
            Part::Sources => Some(Part::Remote),
            Part::Remote => Some(Part::Origin),
            Part::Origin => Some(Part::Ownership),
            Part::Ownership => Some(Part::Mode),
            Part::Mode => Some(Part::Options),
            Part::Options => Some(Part::Writer),
            Part::Writer => None,
        };
        std::iter::successors(Some(Part::Parent), next).collect()
    }

    /// The rows of a table whose first cells are names of parts, without the marks around these.
    fn rows(text: &str) -> Vec<String> {
        let lines = text.lines().map(|line| line.trim_start_matches("//! "));
        let names: Vec<String> = parts().iter().map(|part| format!("{part:?}")).collect();
        let rows = lines.filter_map(|line| {
            let (first, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
            let name = first.trim_matches(['[', '`', ']']).trim_start_matches("Part::");
            let is_part = first.starts_with('[') || names.iter().any(|known| known == name);
            is_part.then(|| format!("{name} | {rest}"))
        });
        rows.collect()
    }

    #[test]
    fn every_part_is_in_the_tables() {
        let (here, page) = (include_str!("key.rs"), include_str!("../../../docs/cache-key.md"));
        let (header, _) = here.split_once("\nuse ").expect("because the header comes first");
        assert_eq!(rows(header), rows(page));
        let named = rows(header).into_iter().map(|row| row.split(' ').next().map(str::to_owned));
        let known = parts().into_iter().map(|part| Some(format!("{part:?}")));
        assert_eq!(named.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
        let codes: BTreeSet<u8> = parts().into_iter().map(Part::code).collect();
        assert_eq!(codes.len(), parts().len());
    }

    #[test]
    fn keys_are_stable() {
        // A changed value here is a changed key for everybody: raise the version in DOMAIN.
        let explained = key(&[(Part::Kind, "", &["RUN"]), (Part::Arguments, "", &["make", "all"])]);
        insta::assert_snapshot!(
            explained.key,
            @"e7ca85e0048e0cbc44b54234d5bcacdb2adf54dcf76c110ab3a8aa12d553b5d7"
        );
        assert_eq!(CacheKey::parse(&explained.key.to_string()), Some(explained.key));
    }

    #[test]
    fn no_other_split_of_the_same_text_has_the_same_key() {
        // Every way to cut "abcd" into entries, parts and labels.
        let mut seen = HashMap::new();
        let mut check = |parts: &[(Part, &str, &[&str])]| {
            let shown = format!("{parts:?}");
            if let Some(other) = seen.insert(key(parts).key, shown.clone()) {
                panic!("{shown} and {other} have one key");
            }
        };
        for cut in 0..=4 {
            let (a, b) = "abcd".split_at(cut);
            check(&[(Part::Arguments, "", &[a, b])]);
            if cut > 0 {
                check(&[(Part::Arguments, a, &[b])]);
            }
            check(&[(Part::Arguments, "", &[a]), (Part::Arguments, "", &[b])]);
            check(&[(Part::Arguments, "", &[a]), (Part::Options, "", &[b])]);
            check(&[(Part::Options, "", &[a]), (Part::Arguments, "", &[b])]);
        }
        check(&[(Part::Arguments, "", &["abcd"])]);
        check(&[(Part::Arguments, "", &[])]);
        check(&[]);
        // Kaniko's own collision: A=x-B=z and B=y against A=x and B=z-B=y.
        check(&[(Part::Environment, "", &["A=x-B=z", "B=y"])]);
        check(&[(Part::Environment, "", &["A=x", "B=z-B=y"])]);
    }

    #[test]
    fn a_parent_matters() {
        let one = key(&[(Part::Base, "", &["sha256:1"])]).key;
        let two = key(&[(Part::Base, "", &["sha256:2"])]).key;
        let after = |parent| KeyBuilder::after(parent).finish().key;
        assert_ne!(after(&one), after(&two));
        assert_ne!(after(&one), one);
    }

    #[test]
    fn a_miss_is_explained() {
        let old = key(&[(Part::Kind, "", &["COPY"]), (Part::Sources, "src/a.c", &["1"])]);
        let check = |parts: &[(Part, &str, &[&str])], expected: Option<(Part, &str)>| {
            let new = key(parts);
            let found = first_difference(&new.parts, &old.parts);
            assert_eq!(found.map(|part| (part.part, part.label.as_str())), expected);
        };
        check(&[(Part::Kind, "", &["COPY"]), (Part::Sources, "src/a.c", &["1"])], None);
        check(
            &[(Part::Kind, "", &["COPY"]), (Part::Sources, "src/a.c", &["2"])],
            Some((Part::Sources, "src/a.c")),
        );
        check(&[(Part::Kind, "", &["COPY"])], Some((Part::Sources, "src/a.c")));
        check(&[(Part::Kind, "", &["ADD"])], Some((Part::Kind, "")));
    }

    #[test]
    fn texts_that_are_no_key() {
        let check = |text: &str| assert_eq!(CacheKey::parse(text), None, "{text}");
        check("");
        check(&"g".repeat(64));
        check(&"A".repeat(64));
        check(&"a".repeat(63));
    }
}
