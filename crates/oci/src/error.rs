//! What can be wrong with a name or a document.

use crate::Digest;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An invalid name, document or combination of them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A digest is malformed.
    #[error("invalid digest `{text}`")]
    Digest {
        /// The refused text.
        text: String,
        /// Why.
        #[source]
        fault: DigestFault,
    },
    /// An image reference is malformed.
    #[error("invalid image reference `{text}`")]
    Reference {
        /// The refused text.
        text: String,
        /// Why.
        #[source]
        fault: ReferenceFault,
    },
    /// A platform specifier is malformed.
    #[error("invalid platform `{text}`")]
    Platform {
        /// The refused text.
        text: String,
        /// Why.
        #[source]
        fault: PlatformFault,
    },
    /// A timestamp is not RFC 3339.
    #[error("invalid time `{text}`")]
    Timestamp {
        /// The refused text.
        text: String,
    },
    /// A document is longer than any that is read.
    #[error("{kind} of {size} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Which document.
        kind: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A document has more entries than any that is read.
    #[error("{kind} has {count} {entries}, more than the limit of {limit}")]
    TooMany {
        /// Which document.
        kind: &'static str,
        /// What there is too much of.
        entries: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A document is not JSON, or not of its schema.
    #[error("invalid {kind}")]
    Json {
        /// Which document.
        kind: &'static str,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A document is JSON of its schema, but contradicts itself or the specification.
    #[error("invalid {kind}: {problem}")]
    Document {
        /// Which document.
        kind: &'static str,
        /// What is wrong, naming the field.
        problem: String,
    },
    /// The bytes are not those that were asked for.
    #[error("{kind} has digest `{found}`, expected `{expected}`")]
    DigestMismatch {
        /// Which document.
        kind: &'static str,
        /// The digest of the bytes.
        found: Digest,
        /// The digest asked for.
        expected: Digest,
    },
    /// An index holds no manifest for the wanted platform.
    #[error("no image for platform `{wanted}` among {available}")]
    NoPlatform {
        /// The wanted platform.
        wanted: String,
        /// What the index offers.
        available: String,
    },
}

/// Why a digest is refused; the texts are the ones Docker users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestFault {
    /// Not `algorithm:hex`.
    #[error("invalid checksum digest format")]
    Format,
    /// The wrong number of digits for the algorithm.
    #[error("invalid checksum digest length")]
    Length,
    /// An algorithm that is not SHA-2.
    #[error("unsupported digest algorithm")]
    Algorithm,
}

/// Why a reference is refused; the texts are the ones Docker users know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceFault {
    /// The text matches no form of a reference.
    #[error("invalid reference format")]
    Format,
    /// The repository contains an upper-case letter.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UppercaseRepository(String),
    /// The repository is longer than 255 characters.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// 64 hexadecimal digits look like an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The part after `@` is not a digest.
    #[error(transparent)]
    Digest(DigestFault),
}

/// Why a platform specifier is refused; the texts are containerd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformFault {
    /// A `*`.
    #[error("{0:?}: wildcards not yet supported: invalid argument")]
    Wildcard(String),
    /// The operating system part has a character that cannot stand there.
    #[error(
        "{component:?} is an invalid OS component of {specifier:?}: OSAndVersion specifier \
         component must match \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.%-]*)\
         ((?:\\\\+[A-Za-z0-9_.%-]+)*)\\\\))?$\": invalid argument"
    )]
    Os {
        /// The part.
        component: String,
        /// The whole.
        specifier: String,
    },
    /// Another part has a character that cannot stand there.
    #[error(
        "{component:?} is an invalid component of {specifier:?}: platform specifier component \
         must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component {
        /// The part.
        component: String,
        /// The whole.
        specifier: String,
    },
    /// One word that is neither a known operating system nor a known architecture.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
    /// More than three parts.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Parts(String),
}
