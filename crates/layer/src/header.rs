//! One 512-byte header block as it is read: fields, numbers and the checksum.
//!
//! The `tar` crate names the fields; every number is parsed here, strictly: a field that two
//! readers could take for different numbers is an error, not a guess.

use tar::{GnuHeader, GnuSparseHeader, Header};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 512;

/// A header block.
pub(crate) struct Block(Header);

impl Block {
    /// The block at the start of `bytes`, if there is a whole one.
    pub(crate) fn from_prefix(bytes: &[u8]) -> Option<Self> {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(bytes.get(..BLOCK)?);
        Some(Self(header))
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.as_bytes().iter().all(|&byte| byte == 0)
    }

    /// The stated sum is that of the bytes, taken unsigned, or signed as some old programs did.
    pub(crate) fn checksum_holds(&self) -> bool {
        let bytes = self.0.as_bytes();
        let Some(stated) = octal(&self.0.as_old().cksum) else { return false };
        let blank = 8 * i64::from(b' ');
        let (mut unsigned, mut signed) = (blank, blank);
        for (at, &byte) in bytes.iter().enumerate() {
            if !(148..156).contains(&at) {
                unsigned += i64::from(byte);
                signed += i64::from(byte.cast_signed());
            }
        }
        let stated = i64::try_from(stated).unwrap_or(i64::MAX);
        stated != 0 && (stated == unsigned || stated == signed)
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.0.as_old().linkflag[0]
    }

    /// The name, with the prefix that POSIX (not GNU) headers put before it.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.0.as_old().name);
        let Some(ustar) = self.0.as_ustar() else { return name.to_vec() };
        // star keeps times in the last bytes of the prefix and signs with `tar` at the end.
        let star = self.0.as_bytes().ends_with(b"tar\0");
        let prefix = text(if star { &ustar.prefix[..131] } else { &ustar.prefix });
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(crate) fn link_name(&self) -> Vec<u8> {
        text(&self.0.as_old().linkname).to_vec()
    }

    pub(crate) fn mode(&self) -> Option<u64> {
        unsigned(&self.0.as_old().mode)
    }

    pub(crate) fn uid(&self) -> Option<u64> {
        unsigned(&self.0.as_old().uid)
    }

    pub(crate) fn gid(&self) -> Option<u64> {
        unsigned(&self.0.as_old().gid)
    }

    pub(crate) fn size(&self) -> Option<u64> {
        unsigned(&self.0.as_old().size)
    }

    pub(crate) fn mtime(&self) -> Option<i64> {
        i64::try_from(number(&self.0.as_old().mtime)?).ok()
    }

    /// Major and minor number of a device.
    pub(crate) fn device(&self) -> Option<(u32, u32)> {
        // Both dialects have them in the same place; a header of neither has none.
        let (major, minor) = match (self.0.as_ustar(), self.0.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (None, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            (None, None) => return None,
        };
        let part = |field: &[u8]| u32::try_from(unsigned(field)?).ok();
        Some((part(major)?, part(minor)?))
    }

    /// The fields of GNU's own dialect.
    pub(crate) fn gnu(&self) -> Option<&GnuHeader> {
        self.0.as_gnu()
    }
}

/// A segment of an old GNU sparse map: `None` for an unused slot.
pub(crate) fn sparse_segment(slot: &GnuSparseHeader) -> Option<Option<(u64, u64)>> {
    if slot.numbytes[0] == 0 && slot.offset[0] == 0 {
        return Some(None);
    }
    Some(Some((unsigned(&slot.offset)?, unsigned(&slot.numbytes)?)))
}

/// A text field: up to the first NUL, or all of it.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number that must not be negative.
pub(crate) fn unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(number(field)?).ok()
}

/// A numeric field: octal digits, or base 256 when the first bit is set.
fn number(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return octal(field).map(i128::from);
    }
    let top = i128::from(first & 0x7f);
    let value = rest.iter().fold(top, |value, &byte| value << 8 | i128::from(byte));
    // Two's complement over all bits but the marker.
    let bits = 8 * field.len() - 1;
    Some(if first & 0x40 == 0 { value } else { value - (1 << bits) })
}

/// Octal digits with spaces and NULs around them; nothing at all is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    field[start..end].iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let check = |field: &[u8], expected| assert_eq!(number(field), expected, "{field:?}");
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"77777777777 ", Some(0o77_777_777_777));
        check(b"9z9z9z\0\0", None);
        check(b"12\x0034\0\0\0", None);
        check(b"-1\0\0\0\0\0\0", None);
        check(b"\x80\0\0\0\0\x20\0\0", Some(1 << 21));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1));
        check(b"\x80\0\0\x02\0\0\0\0\0\0\0\0", Some(1 << 65));
        assert_eq!(unsigned(b"\x80\0\0\x02\0\0\0\0\0\0\0\0"), None);
        assert_eq!(unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }
}
