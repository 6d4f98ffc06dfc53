//! Unpacks an archive below a directory: `ADD` of archives, and contexts that are archives.
#![allow(clippy::todo, unused_variables)]
use std::io::Read;

use oci::DiffId;
use rootfs::{ChangeSet, Protected, RootDir, RootPath};

use crate::apply::Owners;
use crate::error::Result;
use crate::limits::Limits;
use crate::stop::StopCheck;

/// How an archive is unpacked.
#[derive(Clone, Debug, Default)]
pub struct UnpackOptions {
    /// What the archive may ask for at most.
    pub limits: Limits,
    /// Which owners the root can hold.
    pub owners: Owners,
    /// Who owns everything, instead of whom the archive says.
    pub owner: Option<(u32, u32)>,
    /// What must not be touched: entries there are left out.
    pub protected: Protected,
}

/// What unpacking an archive did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The paths that were made or changed.
    pub changes: ChangeSet,
    /// The digest of the uncompressed archive.
    pub diff_id: DiffId,
    /// How many entries it has.
    pub entries: u64,
    /// What could not be done, one line each.
    pub warnings: Vec<String>,
}

/// Unpacks the archive in `reader` (tar, plain or compressed with gzip, bzip2, xz or zstd) into the
/// directory `dest` of `root`, which exists. Whiteouts mean nothing here, and an entry for the
/// archive's own root does not change `dest`.
pub fn unpack<R: Read + Send>(
    root: &RootDir,
    dest: &RootPath,
    reader: R,
    options: &UnpackOptions,
    stop: &dyn StopCheck,
) -> Result<Unpacked> {
    todo!()
}

/// Whether `reader` holds an archive that `ADD` unpacks: one whose first header, after at most one
/// decompression, reads as that of a tar. Anything else is copied as the file it is.
pub fn is_archive<R: Read + Send>(reader: R) -> bool {
    todo!()
}
