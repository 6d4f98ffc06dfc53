//! The subcommands that have flags of their own, and how they are told from a build.
//!
//! `doctor` is none of them: it takes the flags of a build.

use std::ffi::OsString;

/// A subcommand with flags of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subcommand {
    /// `login`: keep a password for a registry.
    Login,
    /// `push`: push an image that is in a file or directory.
    Push,
    /// `cache gc`: make a cache on a disk smaller.
    Cache,
}

impl Subcommand {
    const ALL: [(&str, Subcommand); 3] =
        [("login", Subcommand::Login), ("push", Subcommand::Push), ("cache", Subcommand::Cache)];

    /// The subcommand of a command line, and the arguments around its name. Flags may stand before it
    /// where they hold their value (`--verbosity=debug login`): in `-f login` it is a file.
    #[must_use]
    pub fn find(arguments: &[OsString]) -> Option<(Subcommand, Vec<OsString>)> {
        let whole = |argument: &OsString| {
            argument.to_str().is_some_and(|text| text.starts_with("--") && text.contains('='))
        };
        let at = arguments.iter().position(|argument| !whole(argument))?;
        let (_, found) = Self::ALL.iter().find(|(name, _)| arguments[at] == **name)?;
        let around = arguments[..at].iter().chain(&arguments[at + 1..]);
        Some((*found, around.cloned().collect()))
    }

    /// Whether a word is the name of one.
    pub(crate) fn is_name(word: &str) -> bool {
        Self::ALL.iter().any(|(name, _)| word == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_word_stands() {
        let line =
            |text: &str| -> Vec<OsString> { text.split_whitespace().map(OsString::from).collect() };
        let check = |text: &str, expected: Option<(Subcommand, &str)>| {
            let expected = expected.map(|(found, around)| (found, line(around)));
            assert_eq!(Subcommand::find(&line(text)), expected, "{text}");
        };
        check("login r -u u", Some((Subcommand::Login, "r -u u")));
        check("push image.tar -d r", Some((Subcommand::Push, "image.tar -d r")));
        check("--verbosity=debug login r", Some((Subcommand::Login, "--verbosity=debug r")));
        check("cache gc --max-age=1h", Some((Subcommand::Cache, "gc --max-age=1h")));
        check("--cache", None);
        check("-f login", None);
        check("--dockerfile login", None);
        check("--destination push", None);
        check("--no-push", None);
        check("", None);
    }
}
