//! An [`Entry`] as header blocks: USTAR, with a PAX header before it only where USTAR ends.
//!
//! The same entry gives the same bytes: records stand in a fixed order, names of owners and times
//! of access are never written, numbers have one form.

use tar::{EntryType, Header};

use crate::entry::{Entry, Kind};
use crate::header::BLOCK;
use crate::pax::{self, Records};

/// The largest number in a USTAR field of eight bytes.
const MAX_ID: u32 = 0o7_777_777;
/// The largest number in a USTAR field of twelve bytes.
const MAX_LONG: u64 = 0o77_777_777_777;

/// The header blocks of `entry`, PAX header included.
pub(crate) fn header(entry: &Entry) -> Vec<u8> {
    let mut records = Records::default();
    let link = match &entry.kind {
        Kind::Symlink(target) | Kind::HardLink(target) => &target[..],
        _ => b"",
    };
    let (prefix, name) = split_name(&entry.name).unwrap_or_else(|| {
        records.push_text(b"path", &entry.name);
        (&[], fallback(&entry.name))
    });
    if !fits(link, 100) {
        records.push_text(b"linkpath", link);
    }
    let seconds = u64::try_from(entry.mtime.secs).ok().filter(|&seconds| seconds <= MAX_LONG);
    if seconds.is_none() || entry.mtime.nanos != 0 {
        let text = pax::time_text(entry.mtime.secs, entry.mtime.nanos);
        records.push(b"mtime", text.as_bytes());
    }
    let uid = records.number(b"uid", entry.uid.into(), MAX_ID.into());
    let gid = records.number(b"gid", entry.gid.into(), MAX_ID.into());
    let size = records.number(b"size", entry.size, MAX_LONG);
    for (key, value) in &entry.xattrs {
        records.push(&[b"SCHILY.xattr.", &key[..]].concat(), value);
    }

    let mut bytes = Vec::with_capacity(3 * BLOCK);
    if !records.is_empty() {
        let content = records.as_bytes();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        copy(
            &mut header.as_old_mut().name,
            &[b"PaxHeaders/", base(fallback(&entry.name))].concat(),
        );
        header.set_mode(0o644);
        set_numbers(&mut header, 0, 0, content.len() as u64, 0);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(entry_type(&entry.kind));
    header.set_mode(entry.mode);
    let fields = header.as_ustar_mut().expect("because it was made as USTAR");
    copy(&mut fields.name, name);
    copy(&mut fields.prefix, prefix);
    copy(&mut fields.linkname, if fits(link, 100) { link } else { fallback(link) });
    let (major, minor) = match entry.kind {
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => (major, minor),
        _ => (0, 0),
    };
    octal(&mut fields.dev_major, major.into());
    octal(&mut fields.dev_minor, minor.into());
    set_numbers(&mut header, uid, gid, size, seconds.unwrap_or(0));
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

fn entry_type(kind: &Kind) -> EntryType {
    match kind {
        Kind::File => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::HardLink(_) => EntryType::Link,
        Kind::Fifo => EntryType::Fifo,
        Kind::CharDevice(..) => EntryType::Char,
        Kind::BlockDevice(..) => EntryType::Block,
    }
}

fn set_numbers(header: &mut Header, uid: u64, gid: u64, size: u64, mtime: u64) {
    let fields = header.as_old_mut();
    octal(&mut fields.uid, uid);
    octal(&mut fields.gid, gid);
    octal(&mut fields.size, size);
    octal(&mut fields.mtime, mtime);
    header.set_cksum();
}

/// Digits that fill the field but for the NUL at its end. The caller has checked the range.
fn octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}", width = field.len() - 1);
    copy(field, digits.as_bytes());
}

fn copy(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field.fill(0);
    field[..length].copy_from_slice(&text[..length]);
}

/// Whether a text can stand in a USTAR field: other bytes than ASCII mean what PAX says they mean.
fn fits(text: &[u8], length: usize) -> bool {
    text.len() <= length && text.is_ascii()
}

/// The name as USTAR's prefix and name, if it can be had.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if fits(name, 100) {
        return Some((&[], name));
    }
    if !fits(name, 256) {
        return None;
    }
    // The longest prefix that fits; a slash at the very end belongs to the name.
    let slash = name[..name.len() - 1].iter().take(156).rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (!prefix.is_empty() && rest.len() <= 100).then_some((prefix, rest))
}

/// What readers that do not know PAX see: the start of the name, if it is text.
fn fallback(name: &[u8]) -> &[u8] {
    let ascii = name.iter().take(100).position(|byte| !byte.is_ascii());
    &name[..ascii.unwrap_or(100.min(name.len()))]
}

fn base(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b'/').rfind(|part| !part.is_empty()).unwrap_or(b"entry")
}

impl Records {
    /// A path; one that is no UTF-8 is announced, as POSIX wants it.
    fn push_text(&mut self, key: &[u8], value: &[u8]) {
        if std::str::from_utf8(value).is_err() {
            self.push(b"hdrcharset", b"BINARY");
        }
        self.push(key, value);
    }

    /// What the USTAR field holds: the value, or 0 when a record had to take it.
    fn number(&mut self, key: &[u8], value: u64, max: u64) -> u64 {
        if value <= max {
            return value;
        }
        self.push(key, value.to_string().as_bytes());
        0
    }
}

#[cfg(test)]
mod tests {
    use rootfs::{Timestamp, Xattrs};

    use super::*;

    fn file(name: &[u8]) -> Entry {
        Entry {
            name: name.to_vec(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Timestamp { secs: 1, nanos: 0 },
            size: 0,
            xattrs: Xattrs::new(),
        }
    }

    /// Whether the entry needs a PAX header, and its records as text.
    fn check(entry: &Entry, expected: &str) {
        let bytes = header(entry);
        assert_eq!(bytes.len() % BLOCK, 0);
        let records = if bytes.len() == BLOCK {
            String::new()
        } else {
            assert_eq!(bytes[156], b'x');
            let content = &bytes[BLOCK..bytes.len() - BLOCK];
            let end = content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            String::from_utf8_lossy(&content[..end]).into_owned()
        };
        assert_eq!(records, expected);
    }

    #[test]
    fn a_pax_header_is_written_only_where_ustar_ends() {
        check(&file(b"usr/bin/env"), "");
        check(&file(&[b"n".repeat(100)].concat()), "");
        check(&file(&[b"d".repeat(155), b"n".repeat(100)].join(&b'/')), "");
        let long = [b"d".repeat(155), b"n".repeat(101)].join(&b'/');
        check(&file(&long), &format!("267 path={}\n", String::from_utf8_lossy(&long)));
        check(&file("\u{e9}".as_bytes()), "11 path=\u{e9}\n");
        check(&file(b"\xff"), "21 hdrcharset=BINARY\n9 path=\u{fffd}\n");
        check(&Entry { uid: 0o7_777_777, gid: 1 << 21, ..file(b"a") }, "15 gid=2097152\n");
        check(&Entry { size: 8 << 30, ..file(b"a") }, "19 size=8589934592\n");
        check(
            &Entry { mtime: Timestamp { secs: 1, nanos: 500 }, ..file(b"a") },
            "19 mtime=1.0000005\n",
        );
        check(&Entry { mtime: Timestamp { secs: -1, nanos: 0 }, ..file(b"a") }, "12 mtime=-1\n");
        let target = Kind::Symlink(b"t".repeat(101));
        check(
            &Entry { kind: target, ..file(b"s") },
            &format!("115 linkpath={}\n", "t".repeat(101)),
        );
        let xattrs = [(b"user.b".to_vec(), b"2".to_vec()), (b"user.a".to_vec(), b"\n".to_vec())];
        check(
            &Entry { xattrs: xattrs.into_iter().collect(), ..file(b"a") },
            "25 SCHILY.xattr.user.a=\n\n25 SCHILY.xattr.user.b=2\n",
        );
    }
}
