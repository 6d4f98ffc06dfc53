//! Applies a layer to a root: base layers, cached layers, and the images of `COPY --from`.
use std::io::Read;

use oci::DiffId;
use rootfs::{Protected, RootDir, RootPath};

use crate::archive::Archive;
use crate::decode::Accepted;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::made::Made;
use crate::pipe::with_stream;
use crate::place::{Meaning, Placer, Terms};
use crate::stop::StopCheck;

/// Which owners the root can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// All: they are set as the archive says.
    #[default]
    Keep,
    /// Only this user and group, as in a user namespace without a range of ids: every file has
    /// them already, and an entry of another owner is an error.
    One(u32, u32),
}

/// How a layer is applied.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// What the archive may ask for at most.
    pub limits: Limits,
    /// Which owners the root can hold.
    pub owners: Owners,
    /// What must not be touched: entries there are left out.
    pub protected: Protected,
    /// What the uncompressed archive must be.
    pub expected: Option<DiffId>,
}

/// What applying a layer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the uncompressed archive, read to its very end.
    pub diff_id: DiffId,
    /// The number of its bytes.
    pub uncompressed_size: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How many of them lie in protected places and were left out.
    pub protected: u64,
    /// What could not be done and does not make the root wrong for most uses, one line each.
    pub warnings: Vec<String>,
}

/// Applies the layer in `reader` (tar, plain or compressed with gzip or zstd) to `root`.
///
/// Long runs of zeros in files are left as holes. The stream is read to its end. After an error the root is in between: it must not be used.
pub fn apply<R: Read + Send>(
    root: &RootDir,
    reader: R,
    options: &ApplyOptions,
    stop: &dyn StopCheck,
) -> Result<Applied> {
    let terms = Terms {
        root,
        dest: RootPath::root(),
        limits: &options.limits,
        owners: options.owners,
        owner: None,
        protected: &options.protected,
        stop,
    };
    let mut placer = Placer::new(terms, Meaning::Layer(Made::default()))?;
    let limits = &options.limits;
    let ((), stream) = with_stream(reader, Accepted::Layer, limits, |pipe| {
        placer.run(&mut Archive::new(pipe, limits))
    })?;
    if let Some(expected) = options.expected.as_ref().filter(|id| **id != stream.diff_id) {
        return Err(Error::DiffId { expected: expected.clone(), found: stream.diff_id });
    }
    Ok(Applied {
        diff_id: stream.diff_id,
        uncompressed_size: stream.size,
        entries: placer.entries,
        protected: placer.protected,
        warnings: placer.warnings,
    })
}
