//! Archives of any shape, hostile ones included: what no decent program would write.
//!
//! Independent of our own writer. [`TarBuilder`] puts members one after the other; [`Member`] says
//! what one is; everything can be overridden, down to raw bytes.

use std::io::Write;

const BLOCK: usize = 512;

/// An archive in the making. Without [`TarBuilder::end`] it has no end marker.
#[derive(Clone, Debug, Default)]
pub struct TarBuilder {
    bytes: Vec<u8>,
}

/// One member with all its fields. Long names get a PAX header by themselves.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name as it is to stand there.
    pub name: Vec<u8>,
    /// The type flag.
    pub flag: u8,
    /// The content.
    pub content: Vec<u8>,
    /// What links point to.
    pub link: Vec<u8>,
    /// The mode field.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u64, u64),
    /// Seconds since 1970.
    pub mtime: u64,
    /// Device number.
    pub device: (u32, u32),
    /// The size field, where it is to differ from the content's length.
    pub size: Option<u64>,
    /// PAX records before the member.
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
    /// Magic and version: `ustar\0` `00` if not told otherwise.
    pub magic: [u8; 8],
    /// Whether the checksum is to be wrong.
    pub broken_checksum: bool,
}

impl Member {
    /// A member of the given type without content.
    #[must_use]
    pub fn new(flag: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            flag,
            content: Vec::new(),
            link: Vec::new(),
            mode: 0o644,
            owner: (0, 0),
            mtime: 0,
            device: (0, 0),
            size: None,
            pax: Vec::new(),
            magic: *b"ustar\x0000",
            broken_checksum: false,
        }
    }

    /// A regular file.
    #[must_use]
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self { content: content.as_ref().to_vec(), ..Self::new(b'0', name) }
    }

    /// The same with another mode.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// The same with another owner.
    #[must_use]
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    /// The same with another time.
    #[must_use]
    pub fn mtime(self, mtime: u64) -> Self {
        Self { mtime, ..self }
    }

    /// The same with a target.
    #[must_use]
    pub fn link(self, link: impl AsRef<[u8]>) -> Self {
        Self { link: link.as_ref().to_vec(), ..self }
    }

    /// The same with one more PAX record.
    #[must_use]
    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The same with an extended attribute.
    #[must_use]
    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }
}

impl TarBuilder {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.member(&Member::file(name, content))
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, name: impl AsRef<[u8]>, mode: u32) -> Self {
        self.member(&Member::new(b'5', name).mode(mode))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.member(&Member::new(b'2', name).mode(0o777).link(target))
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hardlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.member(&Member::new(b'1', name).link(target))
    }

    /// Adds a FIFO.
    #[must_use]
    pub fn fifo(self, name: impl AsRef<[u8]>) -> Self {
        self.member(&Member::new(b'6', name))
    }

    /// Adds a character device.
    #[must_use]
    pub fn char_device(self, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        let device = (major, minor);
        self.member(&Member { device, ..Member::new(b'3', name) })
    }

    /// Adds any member.
    #[must_use]
    pub fn member(mut self, member: &Member) -> Self {
        let mut records = member.pax.clone();
        let has = |key: &[u8]| member.pax.iter().any(|(known, _)| known == key);
        if member.name.len() > 100 && !has(b"path") {
            records.push((b"path".to_vec(), member.name.clone()));
        }
        if member.link.len() > 100 && !has(b"linkpath") {
            records.push((b"linkpath".to_vec(), member.link.clone()));
        }
        if !records.is_empty() {
            self = self.pax_raw(b'x', &pax_records(&records));
        }
        self.bytes.extend_from_slice(&header(member));
        self.content(&member.content)
    }

    /// Adds PAX records that apply to the next member.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let records: Vec<_> =
            records.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec())).collect();
        self.pax_raw(b'x', &pax_records(&records))
    }

    /// Adds PAX records that apply to all that follows.
    #[must_use]
    pub fn global_pax(self, records: &[(&str, &[u8])]) -> Self {
        let records: Vec<_> =
            records.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec())).collect();
        self.pax_raw(b'g', &pax_records(&records))
    }

    /// Adds a PAX header (`x` or `g`) with this content, be it records or not.
    #[must_use]
    pub fn pax_raw(mut self, flag: u8, content: &[u8]) -> Self {
        let size = Some(content.len() as u64);
        self.bytes
            .extend_from_slice(&header(&Member { size, ..Member::new(flag, "PaxHeaders/x") }));
        self.content(content)
    }

    /// Adds a GNU long name (`L`) or long link (`K`) that applies to the next member.
    #[must_use]
    pub fn gnu_long(mut self, flag: u8, name: impl AsRef<[u8]>) -> Self {
        let content = [name.as_ref(), b"\0"].concat();
        let size = Some(content.len() as u64);
        let magic = *b"ustar  \0";
        let member = Member { size, magic, ..Member::new(flag, "././@LongLink") };
        self.bytes.extend_from_slice(&header(&member));
        self.content(&content)
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The archive with its end marker.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 2 * BLOCK]);
        self.bytes
    }

    /// The archive as it is.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }
}

/// Records as a PAX header holds them.
#[must_use]
pub fn pax_records(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..).find(|length| *length == rest + length.to_string().len());
        let length = length.unwrap_or(rest);
        bytes.extend_from_slice(format!("{length} ").as_bytes());
        bytes.extend_from_slice(key);
        bytes.push(b'=');
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

/// The bytes as one gzip member.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("because a vector takes all")
}

/// The bytes as one zstd frame.
#[must_use]
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("because a vector takes all")
}

/// The header block of a member; what does not fit a field is cut off.
#[must_use]
pub fn header(member: &Member) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, room: usize, text: &[u8]| {
        let length = text.len().min(room);
        block[at..at + length].copy_from_slice(&text[..length]);
    };
    put(0, 100, &member.name);
    put(100, 8, format!("{:07o}\0", member.mode).as_bytes());
    put(108, 8, &number(member.owner.0, 8));
    put(116, 8, &number(member.owner.1, 8));
    put(124, 12, &number(member.size.unwrap_or(member.content.len() as u64), 12));
    put(136, 12, &number(member.mtime, 12));
    put(156, 1, &[member.flag]);
    put(157, 100, &member.link);
    put(257, 8, &member.magic);
    put(329, 8, &number(member.device.0.into(), 8));
    put(337, 8, &number(member.device.1.into(), 8));
    set_checksum(&mut block);
    if member.broken_checksum {
        block[148] ^= 1;
    }
    block
}

/// Computes the checksum of a header that was changed by hand.
pub fn set_checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Octal where it fits, else base 256.
fn number(value: u64, room: usize) -> Vec<u8> {
    let digits = format!("{value:0width$o}\0", width = room - 1);
    if digits.len() <= room {
        return digits.into_bytes();
    }
    let mut bytes = vec![0; room - 8];
    bytes.extend_from_slice(&value.to_be_bytes());
    bytes[0] |= 0x80;
    bytes
}
