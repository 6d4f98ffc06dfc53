//! The one error type of this crate.
//!
//! Names out of archives are hostile text: they enter a message only through [`shown`], which
//! escapes control characters.

use std::io;

use oci::DiffId;

/// Why a layer could not be written, or an archive not be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source of the archive failed, or its compressed form is damaged.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive's bytes break the format, or mean different things to different readers.
    #[error("the archive is malformed near byte {offset}: {reason}")]
    Malformed {
        /// Where in the uncompressed archive.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The archive is compressed in a way that is not accepted here.
    #[error("the archive is compressed with {0}, which is not accepted here")]
    Compression(&'static str),
    /// An entry that must not be carried out.
    #[error("archive entry `{path}` is refused: {reason}")]
    Refused {
        /// The entry's name, escaped.
        path: String,
        /// Why it is refused.
        reason: String,
    },
    /// A value of the archive is above its limit.
    #[error("the archive exceeds the limit of {limit} for {what}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The limit of it.
        limit: u64,
    },
    /// An operation in the root failed.
    #[error("cannot {action} `{path}`")]
    Root {
        /// What was tried.
        action: &'static str,
        /// The path inside the root, escaped.
        path: String,
        /// The root's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An owner that does not exist in this user namespace.
    #[error(
        "cannot give `{path}` the owner {uid}:{gid}: this user namespace holds one owner only; \
         install newuidmap and add a range for this user to /etc/subuid and /etc/subgid"
    )]
    Owner {
        /// The path inside the root, escaped.
        path: String,
        /// The owner asked for.
        uid: u32,
        /// The group asked for.
        gid: u32,
    },
    /// The uncompressed archive is not the one that was expected.
    #[error("the layer's content is `{found}`, expected `{expected}`")]
    DiffId {
        /// What the image's config says.
        expected: DiffId,
        /// What the archive is.
        found: DiffId,
    },
    /// A file was written to while its content went into the layer.
    #[error("file `{0}` changed while it was read")]
    Changed(String),
    /// A path that a layer cannot hold.
    #[error("`{path}` cannot be stored in a layer: {reason}")]
    Unstorable {
        /// The path, escaped.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// A compression level that the method does not have.
    #[error("{method} has no compression level {level}")]
    Level {
        /// The method.
        method: &'static str,
        /// The level asked for.
        level: i64,
    },
    /// The sink of the layer failed.
    #[error("cannot write the layer")]
    Sink(#[source] io::Error),
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A name as it may be shown to people: text as it is, control characters escaped.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn names_are_shown_without_control_characters() {
        let check = |name: &[u8], expected: &str| assert_eq!(shown(name), expected);
        check(b"usr/bin/env", "usr/bin/env");
        check("\u{e9}t\u{e9}".as_bytes(), "\u{e9}t\u{e9}");
        check(b"a\nb\x1b[31m", "a\\nb\\u{1b}[31m");
        check(b"\xff\xfe", "\\xff\\xfe");
    }
}
