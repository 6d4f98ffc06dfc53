//! Why a COPY or ADD fails. Texts that users grep for are kept as BuildKit or kaniko words them.

use rootfs::RootPath;

/// Why a COPY or ADD fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source that was named without wildcards is not there.
    #[error(
        "\"{path}\": not found in the {place}{}",
        if *excluded { ", because its ignore file excludes it" } else { "" }
    )]
    NotFound {
        /// The source, resolved to the root of its tree.
        path: RootPath,
        /// What it was looked for in.
        place: &'static str,
        /// Whether it would be there without the ignore file.
        excluded: bool,
    },
    /// A source pattern or an exclude pattern breaks Go's syntax.
    #[error("cannot use `{text}` as a pattern")]
    Pattern {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        source: glob::Error,
    },
    /// More than one file for one name.
    #[error(
        "when specifying multiple sources in a {instruction} command, destination must be a \
         directory and end in '/'"
    )]
    OneNameForMany {
        /// COPY or ADD.
        instruction: &'static str,
        /// The same as docker words it.
        source: Reason,
    },
    /// `--chown` names a user the image does not have.
    #[error("user {name} is not a uid and does not exist on the system")]
    UnknownUser {
        /// The name.
        name: String,
        /// The same as BuildKit words it.
        source: Reason,
    },
    /// `--chown` names a group the image does not have.
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// The name.
        name: String,
    },
    /// A numeric `--chmod` out of range.
    #[error("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")]
    OctalMode {
        /// The value.
        text: String,
    },
    /// A symbolic `--chmod` that makes no sense.
    #[error("invalid syntax in chmod parameter `{text}`")]
    SymbolicMode {
        /// The value.
        text: String,
    },
    /// A here-document whose name cannot be a file name.
    #[error("open {name}: no such file or directory")]
    InlineName {
        /// The name.
        name: String,
    },
    /// A file stands where a directory is needed.
    #[error("mkdir {path}: not a directory")]
    NotDirectory {
        /// The file.
        path: RootPath,
    },
    /// A directory stands where a file is to go.
    #[error("cannot replace to directory {path} with file")]
    ReplaceDirectory {
        /// The directory.
        path: RootPath,
    },
    /// A file or link stands where a directory is to go.
    #[error("cannot copy to non-directory: {path}")]
    IntoNonDirectory {
        /// The file or link.
        path: RootPath,
    },
    /// Something else wrote into the destination.
    #[error("cannot create `{path}`, which has just been removed and is there again")]
    Occupied {
        /// The path.
        path: RootPath,
    },
    /// Links lead in a circle.
    #[error("too many links at `{path}`")]
    TooManyLinks {
        /// Where the resolution started.
        path: RootPath,
    },
    /// The destination belongs to the builder or to the container it runs in.
    #[error("cannot write to `{path}`, which is protected")]
    Protected {
        /// The path.
        path: RootPath,
    },
    /// A root refused an operation.
    #[error(transparent)]
    Root(#[from] rootfs::Error),
    /// Reading a source or writing its copy failed.
    #[error("cannot {action} the content of `{path}`")]
    Content {
        /// What was tried, as a verb.
        action: &'static str,
        /// The source if it was read, its copy if that was written.
        path: RootPath,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A source was written while it was copied, so that nobody could say what the copy holds.
    #[error("`{path}` was changed while it was copied")]
    Changed {
        /// The source.
        path: RootPath,
        /// What was found.
        source: rootfs::Error,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack `{path}`")]
    Archive {
        /// The archive.
        path: RootPath,
        /// What is wrong.
        source: Box<layer::Error>,
    },
    /// The build was told to stop.
    #[error("copying was stopped")]
    Stopped,
}

/// The same failure in another tool's words, as the cause of an [`Error`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Reason(pub(crate) String);
