//! The environment, read once when the program starts.
//!
//! No other place of the workspace asks the operating system for a variable: everything below gets
//! values. Does not interpret; the flags and the programs do.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The variables of the program.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Reads the program's own environment.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    pub fn read() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// An environment with these variables only.
    #[must_use]
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        let variables = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables }
    }

    /// The value of a variable; an empty one counts as unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|v| !v.is_empty())
    }

    /// The value of a variable if it is text; an empty one counts as unset.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// The value of a variable if it is set, be it empty.
    pub(crate) fn raw_text(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name)).and_then(|value| value.to_str())
    }
}

impl std::fmt::Debug for Environment {
    /// Values may be secrets, so only the names are shown.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset_and_values_are_never_printed() {
        let environment = Environment::from_pairs(&[("EMPTY", ""), ("TOKEN", "s3cret")]);
        assert_eq!(environment.get("EMPTY"), None);
        assert_eq!(environment.raw_text("EMPTY"), Some(""));
        assert_eq!(environment.text("TOKEN"), Some("s3cret"));
        assert_eq!(format!("{environment:?}"), r#"{"EMPTY", "TOKEN"}"#);
    }
}
