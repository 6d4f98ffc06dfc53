//! Word expansion: quotes, escapes, `$name` and `${name…}` as BuildKit's shell lexer has them.
//!
//! It does not know which variables exist: an [`Env`] answers that. Start with [`expand`]; the
//! rules are in `lexer`, the wildcards of `${name#pattern}` in `pattern`.
//!
//! Two deviations from BuildKit: a `${name` that never ends is reported as a missing `}`, and the
//! replacement of `${name//pattern/text}` is taken literally (BuildKit reads `$1` in it as a group
//! of a regular expression). Bounds that BuildKit does not have: see [`Options::expand`].

use std::collections::{BTreeMap, BTreeSet};

mod lexer;
mod pattern;

/// Where variables are looked up.
pub trait Env {
    /// The value of `name`, if it is set.
    fn get(&self, name: &str) -> Option<&str>;
}

/// In a list the last entry of a name counts.
impl Env for [(String, String)] {
    fn get(&self, name: &str) -> Option<&str> {
        self.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Env for Vec<(String, String)> {
    fn get(&self, name: &str) -> Option<&str> {
        Env::get(self.as_slice(), name)
    }
}

impl Env for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        Self::get(self, name).map(String::as_str)
    }
}

/// An environment in which nothing is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmptyEnv;

impl Env for EmptyEnv {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }
}

/// An expanded word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The result in one string, not split.
    pub text: String,
    /// The result split at blanks that were not quoted.
    pub words: Vec<String>,
    /// Variables that were used and are set.
    pub matched: BTreeSet<String>,
    /// Variables that were used and are not set.
    pub unmatched: BTreeSet<String>,
}

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {}: {reason}", crate::text::quote(word))]
pub struct WordError {
    /// The word as it was written.
    pub word: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The escape character: `\` or `` ` ``.
    pub escape: char,
    /// Quotes work, but stay in the result.
    pub raw_quotes: bool,
    /// Escapes work, but stay in the result.
    pub raw_escapes: bool,
    /// Quotes are ordinary characters.
    pub skip_process_quotes: bool,
    /// A variable that is not set stays as it is written.
    pub skip_unset: bool,
}

impl Options {
    /// The ordinary reading with the given escape character.
    #[must_use]
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            raw_quotes: false,
            raw_escapes: false,
            skip_process_quotes: false,
            skip_unset: false,
        }
    }

    /// Expands `word`.
    ///
    /// # Errors
    /// In BuildKit's wording. Beyond BuildKit, a result more than 1 MiB longer than the word and
    /// substitutions nested more than 100 deep are refused, so that no word can exhaust memory.
    pub fn expand(&self, word: &str, env: &dyn Env) -> Result<Expanded, WordError> {
        lexer::run(word, env, self)
            .map_err(|reason| WordError { word: word.to_owned(), reason: reason.into_owned() })
    }
}

/// Expands `word` into one string: quotes removed, not split.
///
/// # Errors
/// See [`Options::expand`].
pub fn expand(word: &str, env: &dyn Env, escape: char) -> Result<Expanded, WordError> {
    Options::new(escape).expand(word, env)
}

/// Expands `word` and splits the result at blanks that are not quoted (`EXPOSE`).
///
/// # Errors
/// See [`Options::expand`].
pub fn split(word: &str, env: &dyn Env, escape: char) -> Result<Vec<String>, WordError> {
    Ok(expand(word, env, escape)?.words)
}

/// Expands the body of a here-document that is a COPY or ADD source: quotes are ordinary
/// characters, the escape is always `\`, whatever the file's directive says.
///
/// # Errors
/// See [`Options::expand`].
pub fn expand_heredoc(body: &str, env: &dyn Env) -> Result<Expanded, WordError> {
    Options { skip_process_quotes: true, ..Options::new('\\') }.expand(body, env)
}
