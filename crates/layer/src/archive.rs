//! Reads a tar archive member by member: V7, USTAR, star, GNU and PAX, sparse files included.
//!
//! Where two common readers would disagree about an archive, it is refused: an image must not hold
//! other files for us than for the scanner that looked at it. Nothing here touches a file system.
//! Start with [`Archive::next_entry`]; the content follows with [`Archive::copy_body`].

use std::io::BufRead;

use rootfs::Timestamp;

use crate::entry::{Entry, Kind};
use crate::error::{Error, Result, shown};
use crate::extension::Extensions;
use crate::header::{BLOCK, Block};
use crate::limits::Limits;
use crate::pax;
use crate::sparse::{self, Segment};

/// A tar archive being read.
pub(crate) struct Archive<'a, R> {
    reader: R,
    limits: &'a Limits,
    /// Bytes taken from the reader.
    offset: u64,
    entries: u64,
    /// Records of global PAX headers, which hold for all that follow.
    global: Vec<pax::Record>,
    body: Body,
}

/// What of the current member's content is still in the reader.
#[derive(Default)]
struct Body {
    /// Bytes of content as stored.
    stored: u64,
    /// Zeros after it, up to the next block.
    padding: u64,
    /// Where the stored bytes belong; `None` when they are the file itself.
    segments: Option<Vec<Segment>>,
}

impl<'a, R: BufRead> Archive<'a, R> {
    pub(crate) fn new(reader: R, limits: &'a Limits) -> Self {
        Self { reader, limits, offset: 0, entries: 0, global: Vec::new(), body: Body::default() }
    }

    /// The next member, or `None` at the end of the archive. What was not read of the member
    /// before is skipped.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let rest = std::mem::take(&mut self.body);
        self.skip(rest.stored)?;
        self.skip(rest.padding)?;
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.next_block()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(self.malformed("an extension header has no member after it"))
                };
            };
            match block.type_flag() {
                b'x' | b'X' => {
                    let content = self.extension(&block)?;
                    let records = pax::parse(&content, self.offset, self.limits)?;
                    extensions.set_records(records).map_err(|reason| self.malformed(reason))?;
                }
                b'g' => {
                    let content = self.extension(&block)?;
                    let records = pax::parse(&content, self.offset, self.limits)?;
                    self.set_global(records)?;
                }
                b'L' => {
                    let name = self.long_name(&block)?;
                    extensions.set_long_name(name).map_err(|reason| self.malformed(reason))?;
                }
                b'K' => {
                    let name = self.long_name(&block)?;
                    extensions.set_long_link(name).map_err(|reason| self.malformed(reason))?;
                }
                flag => return self.member(&block, flag, extensions).map(Some),
            }
        }
    }

    /// Hands the content of the current member to `sink`, each piece with its place in the file.
    /// Holes of sparse files are not handed over.
    pub(crate) fn copy_body(
        &mut self,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let body = std::mem::take(&mut self.body);
        let whole = [Segment { offset: 0, length: body.stored }];
        for segment in body.segments.as_deref().unwrap_or(&whole) {
            let mut at = segment.offset;
            let mut left = segment.length;
            while left > 0 {
                let chunk = fill(&mut self.reader)?;
                if chunk.is_empty() {
                    return Err(self.malformed("the archive ends inside a file"));
                }
                let length = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                sink(at, &chunk[..length])?;
                self.reader.consume(length);
                self.offset += length as u64;
                at += length as u64;
                left -= length as u64;
            }
        }
        self.skip(body.padding)
    }

    fn member(&mut self, block: &Block, flag: u8, extensions: Extensions) -> Result<Entry> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::Limit { what: "entries", limit: self.limits.entries });
        }
        let fields =
            extensions.into_fields(&self.global).map_err(|reason| self.malformed(reason))?;
        let name = fields.name.unwrap_or_else(|| block.name());
        let stored = match fields.size {
            Some(size) => size,
            None => self.number(block.size(), "size")?,
        };
        let kind = self.kind(block, flag, &name, fields.link)?;
        let refuse = |reason: String| Error::Refused { path: shown(&name), reason };
        if kind != Kind::File && stored != 0 {
            return Err(refuse(format!(
                "an entry of its type has no content, but states {stored} bytes"
            )));
        }
        let owner = |pax: Option<u64>, field: Option<u64>, what| {
            let id = pax.or(field).ok_or_else(|| self.malformed(format!("{what} is no number")))?;
            // The last number means "leave it" to the kernel.
            match u32::try_from(id) {
                Ok(id) if id != u32::MAX => Ok(id),
                _ => Err(refuse(format!("{id} is no valid {what}"))),
            }
        };
        let uid = owner(fields.uid, block.uid(), "uid")?;
        let gid = owner(fields.gid, block.gid(), "gid")?;
        let (secs, nanos) = match fields.mtime {
            Some(mtime) => mtime,
            None => (self.number(block.mtime(), "mtime")?, 0),
        };
        let mode = u32::try_from(self.number(block.mode(), "mode")? & 0o7777).unwrap_or_default();
        let padding = stored.wrapping_neg() % BLOCK as u64;
        self.body = Body { stored, padding, segments: None };
        let size = match self.sparse(block, flag, fields.sparse)? {
            None => stored,
            Some((_, size)) if kind != Kind::File => {
                return Err(self.malformed(format!("a sparse map of {size} bytes without a file")));
            }
            Some((segments, size)) => {
                self.body.segments = Some(segments);
                size
            }
        };
        if size > self.limits.file_bytes {
            let limit = self.limits.file_bytes;
            return Err(Error::Limit { what: "bytes of one file", limit });
        }
        let mtime = Timestamp { secs, nanos };
        Ok(Entry { name, kind, mode, uid, gid, mtime, size, xattrs: fields.xattrs })
    }

    fn kind(&self, block: &Block, flag: u8, name: &[u8], link: Option<Vec<u8>>) -> Result<Kind> {
        let link = || link.unwrap_or_else(|| block.link_name());
        let device =
            || block.device().ok_or_else(|| self.malformed("a device has no valid device number"));
        Ok(match flag {
            // Before POSIX a slash at the end was all that told a directory.
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link()),
            b'2' => Kind::Symlink(link()),
            b'3' => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
            b'4' => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => {
                let flag = flag.escape_ascii();
                let reason = format!("entries of type `{flag}` are not supported");
                return Err(Error::Refused { path: shown(name), reason });
            }
        })
    }

    /// The sparse map of the member and its real size, if it has one, in whichever dialect.
    fn sparse(
        &mut self,
        block: &Block,
        flag: u8,
        records: Option<sparse::Records>,
    ) -> Result<Option<(Vec<Segment>, u64)>> {
        let (segments, size) = match (flag, records) {
            (b'S', None) => self.old_gnu_map(block)?,
            (b'S', Some(_)) => return Err(self.malformed("a file has two sparse maps")),
            (_, None) => return Ok(None),
            (_, Some(records)) => {
                let size = records.size;
                let in_content = records.map_in_content;
                let segments = if in_content { self.content_map()? } else { records.segments };
                (segments, size)
            }
        };
        self.bounded(segments.len())?;
        sparse::check(&segments, size, self.body.stored)
            .map_err(|reason| self.malformed(reason))?;
        Ok(Some((segments, size)))
    }

    fn old_gnu_map(&mut self, block: &Block) -> Result<(Vec<Segment>, u64)> {
        let Some(gnu) = block.gnu() else {
            return Err(self.malformed("a sparse file has no GNU header"));
        };
        let size =
            sparse::old_size(gnu).ok_or_else(|| self.malformed("a sparse file has no size"))?;
        let mut segments = Vec::new();
        let mut more = sparse::old_slots(&gnu.sparse, &mut segments)
            .map(|()| gnu.isextended[0] != 0)
            .ok_or_else(|| self.malformed("a sparse map is malformed"))?;
        while more {
            self.bounded(segments.len())?;
            let mut bytes = [0; BLOCK];
            self.exactly(&mut bytes)?;
            more = sparse::old_extension(&bytes, &mut segments)
                .ok_or_else(|| self.malformed("a sparse map is malformed"))?;
        }
        Ok((segments, size))
    }

    /// The map of GNU.sparse 1.0, which stands before the content: a count, then pairs, in lines.
    fn content_map(&mut self) -> Result<Vec<Segment>> {
        let mut map = sparse::ContentMap::default();
        loop {
            self.bounded(map.segments())?;
            if self.body.stored < BLOCK as u64 {
                return Err(self.malformed("a sparse map is longer than the content"));
            }
            let mut bytes = [0; BLOCK];
            self.exactly(&mut bytes)?;
            self.body.stored -= BLOCK as u64;
            match map.push(&bytes, self.limits.sparse_segments) {
                Ok(Some(segments)) => return Ok(segments),
                Ok(None) => {}
                Err(reason) => return Err(self.malformed(reason)),
            }
        }
    }

    fn bounded(&self, segments: usize) -> Result<()> {
        let limit = self.limits.sparse_segments;
        if segments <= limit {
            return Ok(());
        }
        Err(Error::Limit { what: "segments of one sparse file", limit: limit as u64 })
    }

    /// A header block whose checksum holds, or `None` at the end of the archive.
    fn next_block(&mut self) -> Result<Option<Block>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.is_zero() {
            return match self.block()? {
                Some(second) if !second.is_zero() => {
                    Err(self.malformed("a block of zeros stands between members"))
                }
                _ => Ok(None),
            };
        }
        if !block.checksum_holds() {
            return Err(self.malformed("a header's checksum is wrong"));
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> Result<Option<Block>> {
        if fill(&mut self.reader)?.is_empty() {
            return Ok(None);
        }
        let mut bytes = [0; BLOCK];
        self.exactly(&mut bytes)?;
        Ok(Block::from_prefix(&bytes))
    }

    /// The content of an extension header. Sizes in PAX records never apply to it.
    fn extension(&mut self, block: &Block) -> Result<Vec<u8>> {
        let size = self.number(block.size(), "size")?;
        let limit = self.limits.extension_bytes;
        if size > limit {
            return Err(Error::Limit { what: "bytes of one extension header", limit });
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        self.exactly(&mut content)?;
        self.skip(size.wrapping_neg() % BLOCK as u64)?;
        Ok(content)
    }

    /// A GNU long name: NULs may follow it, nothing else.
    fn long_name(&mut self, block: &Block) -> Result<Vec<u8>> {
        let mut name = self.extension(block)?;
        let length = name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        name.truncate(length);
        if name.is_empty() || name.contains(&0) {
            return Err(self.malformed("a long name is empty or holds a NUL"));
        }
        Ok(name)
    }

    fn set_global(&mut self, records: Vec<pax::Record>) -> Result<()> {
        for (key, value) in records {
            // Docker's reader leaves these out, GNU's applies them to every member.
            let ambiguous = matches!(&key[..], b"path" | b"linkpath" | b"size");
            if ambiguous || key.starts_with(b"GNU.sparse.") || key.starts_with(b"SCHILY.xattr.") {
                let key = shown(&key);
                return Err(self.malformed(format!("a global PAX header sets `{key}`")));
            }
            self.global.retain(|(earlier, _)| *earlier != key);
            self.global.push((key, value));
        }
        if self.global.len() > self.limits.pax_records {
            let limit = self.limits.pax_records as u64;
            return Err(Error::Limit { what: "global PAX records", limit });
        }
        Ok(())
    }

    fn number<T>(&self, value: Option<T>, what: &str) -> Result<T> {
        value.ok_or_else(|| self.malformed(format!("{what} is no valid number")))
    }

    fn exactly(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let chunk = fill(&mut self.reader)?;
            if chunk.is_empty() {
                return Err(self.malformed("the archive ends too early"));
            }
            let length = chunk.len().min(buffer.len());
            buffer[..length].copy_from_slice(&chunk[..length]);
            self.reader.consume(length);
            self.offset += length as u64;
            buffer = &mut buffer[length..];
        }
        Ok(())
    }

    fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let available = fill(&mut self.reader)?.len();
            if available == 0 {
                return Err(self.malformed("the archive ends inside a file"));
            }
            let length = available.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.reader.consume(length);
            self.offset += length as u64;
            count -= length as u64;
        }
        Ok(())
    }

    fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::Malformed { offset: self.offset, reason: reason.into() }
    }
}

/// What the reader has at hand; empty at its end.
fn fill(reader: &mut impl BufRead) -> Result<&[u8]> {
    // The borrow checker wants the retry apart from the answer.
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
    reader.fill_buf().map_err(Error::Read)
}
