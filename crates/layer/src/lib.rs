//! Image layers: changes written as a deterministic tar, and archives applied to a root.
//!
//! Responsible for the bytes of a layer (the same changes and options give the same bytes, for any
//! number of threads) and for what an archive may do to a root: it cannot leave it, and it keeps
//! the [`Limits`]. One extractor serves base layers, `COPY --from`, `ADD` and context archives.
//! *Does not* decide what changed (`snapshot` and `copy` do), fetch or store blobs.
//!
//! Read [`write()`] and [`apply()`] first; `archive.rs` is the tar reader below the latter.
#![forbid(unsafe_code)]

mod error;
mod limits;
mod stop;

mod archive;
mod encode;
mod entry;
mod extension;
mod header;
mod pax;
mod sparse;

mod compress;
mod decode;
mod digester;
mod pool;

mod apply;
mod content;
mod create;
mod hide;
mod made;
mod parents;
mod pipe;
mod place;
#[cfg(any(test, feature = "fuzzing"))]
mod reread;
mod unpack;
mod whiteout;
mod write;

pub use apply::{Applied, ApplyOptions, Owners, apply};
pub use compress::{Compression, Encoded, Encoder};
pub use decode::{ArchiveKind, diff_id, sniff};
pub use error::{Error, Result};
pub use limits::Limits;
#[cfg(feature = "fuzzing")]
pub use reread::reread;
pub use stop::StopCheck;
pub use unpack::{UnpackOptions, Unpacked, is_archive, unpack};
pub use whiteout::Whiteout;
pub use write::{WriteOptions, WrittenLayer, write};
