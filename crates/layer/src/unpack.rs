//! Unpacks an archive below a directory: `ADD` of archives, and contexts that are archives.
use std::io::{BufReader, Read};

use oci::DiffId;
use rootfs::{ChangeSet, Protected, RootDir, RootPath};

use crate::apply::Owners;
use crate::archive::Archive;
use crate::decode::{Accepted, decoder};
use crate::error::Result;
use crate::limits::Limits;
use crate::pipe::with_stream;
use crate::place::{Meaning, Placer, Terms};
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
    let terms = Terms {
        root,
        dest: dest.clone(),
        limits: &options.limits,
        owners: options.owners,
        owner: options.owner,
        protected: &options.protected,
        stop,
    };
    let mut placer = Placer::new(terms, Meaning::Files(ChangeSet::new()))?;
    let limits = &options.limits;
    let ((), stream) = with_stream(reader, Accepted::Any, limits, |pipe| {
        placer.run(&mut Archive::new(pipe, limits))
    })?;
    let changes = match placer.meaning {
        Meaning::Files(changes) => changes,
        Meaning::Layer(_) => ChangeSet::new(),
    };
    Ok(Unpacked {
        changes,
        diff_id: stream.diff_id,
        entries: placer.entries,
        warnings: placer.warnings,
    })
}

/// Whether `reader` holds an archive that `ADD` unpacks: one whose first header, after at most one
/// decompression, reads as that of a tar. Anything else is copied as the file it is.
pub fn is_archive<R: Read + Send>(reader: R) -> bool {
    let limits = Limits::default();
    let Ok(decoder) = decoder(reader, Accepted::Any, &limits) else { return false };
    let mut archive = Archive::new(BufReader::new(decoder), &limits);
    matches!(archive.next_entry(), Ok(Some(_)))
}
