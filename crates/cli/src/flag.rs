//! One row of a flag table: everything the grammar, the usage text and the tests need to know.
//!
//! Does not parse; [`crate::executor_flags`] and [`crate::warmer_flags`] do.

/// A flag as a row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The long name, without dashes.
    pub name: &'static str,
    /// The one-letter name.
    pub short: Option<char>,
    /// What stands behind the name.
    pub value: Value,
    /// The default as the usage text shows it; empty for none.
    pub default: &'static str,
    /// One line for the usage text.
    pub help: &'static str,
    /// Whether it does anything.
    pub status: Status,
}

/// The grammar of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// `--flag` or `--flag=true`; never `--flag true`.
    Bool,
    /// One text; the last one wins.
    Text,
    /// May be repeated; each occurrence is one entry, commas are not special.
    List,
    /// May be repeated; `key=value`.
    KeyValue,
    /// May be repeated; `key=value[;key=value]`, several values per key; an empty text says nothing.
    Map,
    /// A whole number, decimal or with `0x`, `0o`, `0b`.
    Number,
    /// A duration in Go's syntax, such as `1h30m`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What becomes of a flag that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what kaniko's documentation says.
    Implemented,
    /// Another spelling of the named flag. kaniko deprecates it, and says so.
    Alias(&'static str),
    /// It asks for what is done anyway; the text says why nothing changes.
    NoEffect(&'static str),
    /// It is refused with an error that names it; the text says what is missing.
    NotYet(&'static str),
}

impl Flag {
    /// An implemented flag without a short name and without a default.
    pub(crate) const fn new(name: &'static str, value: Value, help: &'static str) -> Self {
        Self { name, short: None, value, default: "", help, status: Status::Implemented }
    }

    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub(crate) const fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Whether several occurrences add up (else the last one wins).
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        matches!(self.value, Value::List | Value::KeyValue | Value::Map)
    }
}
