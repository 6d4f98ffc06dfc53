//! The content of a file on its way into a layer: holes skipped, changes noticed.

use std::fs::File;
use std::io::Write;

use rootfs::{Metadata, RootPath};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::compress::Encoder;
use crate::error::{Error, Result};
use crate::header::BLOCK;
use crate::parents::failed;
use crate::stop::StopCheck;

/// Between two questions whether to stop.
const PIECE: u64 = 8 << 20;

/// One file being read.
pub(crate) struct Content<'a, W: Write> {
    pub(crate) path: &'a RootPath,
    pub(crate) encoder: &'a mut Encoder<W>,
    pub(crate) stop: &'a dyn StopCheck,
}

impl<W: Write> Content<'_, W> {
    /// Appends the open file that `metadata` was taken of, and the padding after it.
    pub(crate) fn copy(mut self, metadata: &Metadata, mut file: File) -> Result<()> {
        let path = self.path;
        if metadata.blocks.saturating_mul(512) < metadata.size {
            self.sparse(metadata.size, &mut file)?;
        } else {
            self.piece(metadata.size, &mut file)?;
        }
        // The time of change is enough: every write moves it, also one through a mapping.
        if stamp(path, &file)? != Stamp::of(metadata) {
            return Err(Error::Changed(path.to_string()));
        }
        self.encoder.push_zeros(metadata.size.wrapping_neg() % BLOCK as u64)
    }

    /// Holes are known without reading them.
    fn sparse(&mut self, size: u64, file: &mut File) -> Result<()> {
        let path = self.path;
        let mut at = 0;
        while at < size {
            let data = match rustix::fs::seek(&*file, SeekFrom::Data(at)) {
                Ok(data) => data.min(size),
                Err(Errno::NXIO) => size,
                Err(errno) => return Err(failed("find the holes of", path, errno)),
            };
            self.hole(data.saturating_sub(at))?;
            if data >= size {
                break;
            }
            let end = rustix::fs::seek(&*file, SeekFrom::Hole(data));
            let end = end.map_err(|errno| failed("find the holes of", path, errno))?.min(size);
            let back = rustix::fs::seek(&*file, SeekFrom::Start(data));
            back.map_err(|errno| failed("read", path, errno))?;
            if end <= data {
                return Err(Error::Changed(path.to_string()));
            }
            self.piece(end - data, file)?;
            at = end;
        }
        Ok(())
    }

    fn hole(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let piece = length.min(PIECE);
            self.encoder.push_zeros(piece)?;
            length -= piece;
            self.go_on()?;
        }
        Ok(())
    }

    fn piece(&mut self, mut length: u64, file: &mut File) -> Result<()> {
        let path = self.path;
        while length > 0 {
            let piece = length.min(PIECE);
            let missing = self.encoder.take_from(file, piece).map_err(|error| match error {
                Error::Read(source) => failed("read", path, source),
                other => other,
            })?;
            if missing > 0 {
                return Err(Error::Changed(path.to_string()));
            }
            length -= piece;
            if length > 0 {
                self.go_on()?;
            }
        }
        Ok(())
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// What moves when a file is written to.
#[derive(PartialEq, Eq)]
struct Stamp {
    size: u64,
    mtime: (i64, u64),
    ctime: (i64, u64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let Metadata { size, mtime, ctime, .. } = *metadata;
        let (mtime, ctime) = ((mtime.secs, mtime.nanos.into()), (ctime.secs, ctime.nanos.into()));
        Self { size, mtime, ctime }
    }
}

fn stamp(path: &RootPath, file: &File) -> Result<Stamp> {
    let stat = rustix::fs::fstat(file).map_err(|errno| failed("inspect", path, errno))?;
    Ok(Stamp {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime: (stat.st_mtime, stat.st_mtime_nsec),
        ctime: (stat.st_ctime, stat.st_ctime_nsec),
    })
}
