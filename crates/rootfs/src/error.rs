//! What can go wrong in a root, and how it is told.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::path::RootPath;

/// Why an operation in a root failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path beyond [`RootPath::MAX_BYTES`].
    #[error("path `{path}` is longer than {} bytes", RootPath::MAX_BYTES)]
    PathTooLong {
        /// Its beginning.
        path: String,
    },
    /// A path beyond [`RootPath::MAX_DEPTH`].
    #[error("path `{path}` is deeper than {} directories", RootPath::MAX_DEPTH)]
    PathTooDeep {
        /// Its beginning.
        path: String,
    },
    /// A name beyond [`RootPath::MAX_NAME`].
    #[error("name `{name}` is longer than {} bytes", RootPath::MAX_NAME)]
    NameTooLong {
        /// Its beginning.
        name: String,
    },
    /// A path with a NUL byte, which no file system can hold.
    #[error("path `{path}` holds a NUL byte")]
    PathHasNul {
        /// The path.
        path: String,
    },
    /// The directory that was to become a root could not be opened.
    #[error("cannot open the directory `{}`", path.display())]
    OpenRoot {
        /// The path on the host.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A system call failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: RootPath,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The root itself cannot be removed, renamed or replaced.
    #[error("cannot {action} the root directory itself")]
    Root {
        /// What was tried, as a verb.
        action: &'static str,
    },
    /// A file that is read whole is larger than it may be.
    #[error("`{path}` is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: RootPath,
        /// What would have been read.
        limit: u64,
    },
    /// A file is not what the caller needs.
    #[error("`{path}` is not a {expected}")]
    WrongKind {
        /// The file.
        path: RootPath,
        /// What it should be.
        expected: &'static str,
    },
    /// An owner that the kernel would read as "leave it as it is".
    #[error("{id} is not a valid owner for `{path}`")]
    InvalidOwner {
        /// The file.
        path: RootPath,
        /// The id.
        id: u32,
    },
    /// An owner that the user namespace we run in does not have.
    #[error(
        "cannot give `{path}` the owner {uid}:{gid}, which this user namespace lacks: install \
         newuidmap and add a range for this user to /etc/subuid and /etc/subgid"
    )]
    UnmappedOwner {
        /// The path.
        path: RootPath,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// An attribute that a build without root cannot keep beside the file.
    #[error("the attribute `{name}` of `{path}` cannot be carried by a build without root")]
    NotCarried {
        /// The file.
        path: RootPath,
        /// The attribute.
        name: String,
    },
    /// A line of the root's passwd or group file is beyond the limit.
    #[error("line {line} of `{path}` is longer than {limit} bytes")]
    LineTooLong {
        /// The file.
        path: RootPath,
        /// Counted from 1.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// A user that the root's passwd file does not name and that is not a number.
    #[error("user `{name}` is not in the root's passwd file")]
    NoSuchUser {
        /// As it was asked for.
        name: String,
    },
    /// A group that the root's group file does not name and that is not a number.
    #[error("group `{name}` is not in the root's group file")]
    NoSuchGroup {
        /// As it was asked for.
        name: String,
    },
    /// Reading or writing the content of a file failed.
    #[error("cannot {action} the content of a file")]
    Content {
        /// What was tried, as a verb.
        action: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A file was written while it was being read.
    #[error(
        "file changed while it was read{}",
        if expected == found { String::new() } else { format!(": {expected} bytes expected, {found} found") }
    )]
    ChangedWhileRead {
        /// Its size when it was opened.
        expected: u64,
        /// What was read.
        found: u64,
    },
    /// A long operation was told to stop.
    #[error("stopped in the middle of a file")]
    Stopped,
}

impl Error {
    /// Whether what was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(std::io::ErrorKind::NotFound)
    }

    /// Whether something is there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.io_kind() == Some(std::io::ErrorKind::AlreadyExists)
    }

    /// Whether the user we run as may not do that.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.io_kind() == Some(std::io::ErrorKind::PermissionDenied)
    }

    /// Whether a component of the path is no directory.
    #[must_use]
    pub fn is_not_a_directory(&self) -> bool {
        self.io_kind() == Some(std::io::ErrorKind::NotADirectory)
    }

    /// The kernel's error number, if a system call failed.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source_io().and_then(std::io::Error::raw_os_error)
    }

    /// The kind of the system call's failure.
    #[must_use]
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        self.source_io().map(std::io::Error::kind)
    }

    fn source_io(&self) -> Option<&std::io::Error> {
        match self {
            Error::Io { source, .. }
            | Error::OpenRoot { source, .. }
            | Error::UnmappedOwner { source, .. }
            | Error::Content { source, .. } => Some(source),
            Error::PathTooLong { .. }
            | Error::PathTooDeep { .. }
            | Error::NameTooLong { .. }
            | Error::PathHasNul { .. }
            | Error::Root { .. }
            | Error::TooLarge { .. }
            | Error::WrongKind { .. }
            | Error::InvalidOwner { .. }
            | Error::NotCarried { .. }
            | Error::LineTooLong { .. }
            | Error::NoSuchUser { .. }
            | Error::NoSuchGroup { .. }
            | Error::ChangedWhileRead { .. }
            | Error::Stopped => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: &RootPath, errno: Errno) -> Error {
        Error::Io { action, path: path.clone(), source: errno.into() }
    }

    /// Bytes of the tree as they may be shown: short, on one line, without control characters.
    pub(crate) fn excerpt(bytes: &[u8]) -> String {
        const SHOWN: usize = RootPath::MAX_BYTES;
        let mut text = String::new();
        for chunk in bytes[..bytes.len().min(SHOWN)].utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '\0' => text.push_str("\\0"),
                    '\n' => text.push_str("\\n"),
                    '\t' => text.push_str("\\t"),
                    '\r' => text.push_str("\\r"),
                    char if char.is_control() => {
                        text.push_str(&format!("\\x{:02x}", u32::from(char)));
                    }
                    char => text.push(char),
                }
            }
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        if bytes.len() > SHOWN {
            text.push('…');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, text: &str) {
        assert_eq!(error.to_string(), text);
        let cause = std::error::Error::source(error).map(ToString::to_string);
        assert!(
            cause.is_none_or(|cause| !text.contains(&cause)),
            "the cause is told twice: {text}"
        );
        assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
    }

    #[test]
    fn errors_name_the_object() {
        let path = RootPath::new("/a\nb").expect("because it is short");
        let source = || std::io::Error::from(Errno::NOSPC);
        let text = || "x".to_owned();
        check(&Error::PathTooLong { path: text() }, "path `x` is longer than 4096 bytes");
        check(&Error::PathTooDeep { path: text() }, "path `x` is deeper than 1024 directories");
        check(&Error::NameTooLong { name: text() }, "name `x` is longer than 255 bytes");
        check(&Error::PathHasNul { path: text() }, "path `x` holds a NUL byte");
        let host = PathBuf::from("/host");
        check(
            &Error::OpenRoot { path: host, source: source() },
            "cannot open the directory `/host`",
        );
        check(
            &Error::Io { action: "create", path: path.clone(), source: source() },
            "cannot create `/a\\nb`",
        );
        check(&Error::Root { action: "rename" }, "cannot rename the root directory itself");
        check(&Error::TooLarge { path: path.clone(), limit: 5 }, "`/a\\nb` is larger than 5 bytes");
        check(
            &Error::WrongKind { path: path.clone(), expected: "regular file" },
            "`/a\\nb` is not a regular file",
        );
        check(
            &Error::InvalidOwner { path: path.clone(), id: u32::MAX },
            "4294967295 is not a valid owner for `/a\\nb`",
        );
        check(
            &Error::UnmappedOwner { path: path.clone(), uid: 1, gid: 2, source: source() },
            "cannot give `/a\\nb` the owner 1:2, which this user namespace lacks: install newuidmap \
             and add a range for this user to /etc/subuid and /etc/subgid",
        );
        check(
            &Error::LineTooLong { path, line: 3, limit: 9 },
            "line 3 of `/a\\nb` is longer than 9 bytes",
        );
        check(&Error::NoSuchUser { name: text() }, "user `x` is not in the root's passwd file");
        check(&Error::NoSuchGroup { name: text() }, "group `x` is not in the root's group file");
        check(
            &Error::Content { action: "write", source: source() },
            "cannot write the content of a file",
        );
        check(
            &Error::ChangedWhileRead { expected: 2, found: 1 },
            "file changed while it was read: 2 bytes expected, 1 found",
        );
        check(&Error::ChangedWhileRead { expected: 2, found: 2 }, "file changed while it was read");
        check(&Error::Stopped, "stopped in the middle of a file");
    }

    #[test]
    fn kinds_of_failure_can_be_asked_for() {
        let failed = |errno| Error::io("open", &RootPath::root(), errno);
        assert!(failed(Errno::NOENT).is_not_found());
        assert!(failed(Errno::EXIST).is_already_exists());
        assert!(failed(Errno::PERM).is_permission_denied());
        assert!(failed(Errno::NOTDIR).is_not_a_directory());
        assert_eq!(failed(Errno::XDEV).raw_os_error(), Some(Errno::XDEV.raw_os_error()));
        assert_eq!(Error::Root { action: "open" }.raw_os_error(), None);
    }
}
