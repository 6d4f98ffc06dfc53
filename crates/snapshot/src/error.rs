//! Why a tree could not be scanned.

use rootfs::RootPath;

/// Why a scan failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A directory or a file cannot be read.
    #[error("cannot scan the root")]
    Root(#[from] rootfs::Error),
    /// The content of a file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: RootPath,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A step made a file with a name that means a removal in a layer.
    #[error("`{path}` cannot be stored in a layer: names beginning with `.wh.` mean a removal")]
    WhiteoutName {
        /// The file.
        path: RootPath,
    },
    /// More names in one directory, or longer ones, than a baseline can hold.
    #[error("directory `{path}` holds more names than can be recorded")]
    DirectoryTooLarge {
        /// The directory.
        path: RootPath,
    },
}
