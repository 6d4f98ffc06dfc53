//! The flags of each instruction: which exist, what kind of value they take, and BuildKit's checks.

use crate::arguments::FlagWord;
use crate::error::{ParseErrorKind, suggest};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagKind {
    /// Nothing, `true` or `false`.
    Bool,
    /// One value.
    Text,
    /// A value each time; may be repeated.
    List,
}

use FlagKind::{Bool, List, Text};

pub(crate) type FlagTable = &'static [(&'static str, FlagKind)];

pub(crate) const NO_FLAGS: FlagTable = &[];
pub(crate) const FROM_FLAGS: FlagTable = &[("platform", Text)];
pub(crate) const RUN_FLAGS: FlagTable =
    &[("mount", List), ("network", Text), ("security", Text), ("device", List)];
pub(crate) const COPY_FLAGS: FlagTable = &[
    ("chown", Text),
    ("from", Text),
    ("chmod", Text),
    ("link", Bool),
    ("parents", Bool),
    ("exclude", List),
];
pub(crate) const ADD_FLAGS: FlagTable = &[
    ("chown", Text),
    ("chmod", Text),
    ("link", Bool),
    ("keep-git-dir", Bool),
    ("checksum", Text),
    ("unpack", Bool),
    ("exclude", List),
];
pub(crate) const HEALTHCHECK_FLAGS: FlagTable = &[
    ("interval", Text),
    ("timeout", Text),
    ("start-period", Text),
    ("start-interval", Text),
    ("retries", Text),
];

/// The flags of one instruction, checked against a table.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    values: Vec<(&'static str, String)>,
}

impl Flags {
    /// Checks `words` against `table`. The second of an error is a suggestion.
    pub(crate) fn read(
        words: &[FlagWord],
        table: FlagTable,
    ) -> Result<Self, (ParseErrorKind, Option<String>)> {
        let mut flags = Self::default();
        for word in words {
            let (name, value) = split(&word.text);
            let Some((name, kind)) = table.iter().copied().find(|known| known.0 == name) else {
                let names: Vec<_> = table.iter().map(|known| known.0).collect();
                let suggestion = suggest(name, &names);
                return Err((ParseErrorKind::UnknownFlag(name.to_owned()), suggestion));
            };
            if kind != List && flags.text(name).is_some() {
                return Err((ParseErrorKind::DuplicateFlag(name.to_owned()), None));
            }
            let value = check(name, kind, value).map_err(|error| (error, None))?;
            flags.values.push((name, value));
        }
        Ok(flags)
    }

    /// The value of a flag that is given at most once.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|flag| flag.0 == name).map(|flag| flag.1.as_str())
    }

    /// As [`Flags::text`], an empty value being no flag.
    pub(crate) fn not_empty(&self, name: &str) -> Option<String> {
        self.text(name).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// The value of a boolean flag, absent if it is not given.
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }

    /// The values of a flag that may be repeated.
    pub(crate) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |flag| flag.0 == name).map(|flag| flag.1.as_str())
    }
}

/// Name and value of a flag word.
pub(crate) fn split(word: &str) -> (&str, Option<&str>) {
    let word = word.strip_prefix("--").unwrap_or(word);
    match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    }
}

fn check(name: &str, kind: FlagKind, value: Option<&str>) -> Result<String, ParseErrorKind> {
    let missing = || ParseErrorKind::MissingFlagValue(name.to_owned());
    match (kind, value) {
        (Bool, None) => Ok("true".to_owned()),
        (Bool, Some("")) => Err(missing()),
        (Bool, Some(value)) => match value.to_lowercase() {
            lower if lower == "true" || lower == "false" => Ok(lower),
            _ => Err(ParseErrorKind::NotBoolean(name.to_owned(), value.to_owned())),
        },
        (Text | List, None) => Err(missing()),
        (Text | List, Some(value)) => Ok(value.to_owned()),
    }
}
