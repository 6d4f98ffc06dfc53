//! Word expansion: quotes, escapes, `$name` and `${name…}` as BuildKit's shell lexer has them.
//!
//! It does not know which variables exist: an [`Env`] answers that. Start with [`expand`].

use std::collections::BTreeSet;

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

impl Env for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        Self::get(self, name).map(String::as_str)
    }
}

/// An expanded word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The result.
    pub text: String,
    /// Variables that were used and are set.
    pub matched: BTreeSet<String>,
    /// Variables that were used and are not set.
    pub unmatched: BTreeSet<String>,
}

/// A word that cannot be expanded: `failed to process "<word>": …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word}: {reason}")]
pub struct WordError {
    /// The word, quoted.
    pub word: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Expands `word` into one string: quotes removed, not split.
///
/// # Errors
/// In BuildKit's wording.
pub fn expand(word: &str, env: &dyn Env, escape: char) -> Result<Expanded, WordError> {
    let _ = (word, env, escape);
    todo!()
}

/// Expands `word` and splits the result at blanks that are not quoted (`EXPOSE`).
///
/// # Errors
/// In BuildKit's wording.
pub fn split(word: &str, env: &dyn Env, escape: char) -> Result<Vec<String>, WordError> {
    let _ = (word, env, escape);
    todo!()
}

/// Expands the body of a here-document that is a COPY or ADD source: quotes are ordinary
/// characters, the escape is always `\`.
///
/// # Errors
/// In BuildKit's wording.
pub fn expand_heredoc(body: &str, env: &dyn Env) -> Result<Expanded, WordError> {
    let _ = (body, env);
    todo!()
}
