//! Maps of sparse files: old GNU headers, and GNU's three PAX forms 0.0, 0.1 and 1.0.
//!
//! Only the maps; that their content is then read right is [`crate::archive`]'s business.

use tar::{GnuHeader, GnuSparseHeader};

use crate::header;
use crate::pax::decimal;

/// A piece of a file that is stored; between the pieces are holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Why a map is refused.
pub(crate) type Reason = String;

/// Holds when the segments are in order, inside the file, and as long as what is stored.
pub(crate) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), Reason> {
    let (mut end, mut sum) = (0u64, 0u64);
    for segment in segments {
        let next = segment.offset.checked_add(segment.length);
        let next = next.filter(|&next| segment.offset >= end && next <= size);
        end = next.ok_or("a sparse map's segments overlap or leave the file")?;
        // Cannot overflow: the segments lie one after the other below `size`.
        sum += segment.length;
    }
    if sum == stored {
        Ok(())
    } else {
        Err("a sparse map does not fit the stored bytes".to_owned())
    }
}

/// The real size in an old GNU header.
pub(crate) fn old_size(header: &GnuHeader) -> Option<u64> {
    header::unsigned(&header.realsize)
}

/// Appends the used slots of an old GNU map.
pub(crate) fn old_slots(slots: &[GnuSparseHeader], segments: &mut Vec<Segment>) -> Option<()> {
    for slot in slots {
        match header::sparse_segment(slot)? {
            Some((offset, length)) => segments.push(Segment { offset, length }),
            None => break,
        }
    }
    Some(())
}

/// Appends the slots of a block that continues an old GNU map; whether a further one follows.
pub(crate) fn old_extension(
    block: &[u8; header::BLOCK],
    segments: &mut Vec<Segment>,
) -> Option<bool> {
    for slot in block.chunks_exact(24).take(21) {
        let (offset, length) = slot.split_at(12);
        if offset[0] == 0 && length[0] == 0 {
            break;
        }
        let (offset, length) = (header::unsigned(offset)?, header::unsigned(length)?);
        segments.push(Segment { offset, length });
    }
    Some(block[504] != 0)
}

/// What the `GNU.sparse.` records of a member say.
pub(crate) struct Records {
    /// The file's name; the member's own is made up.
    pub(crate) name: Option<Vec<u8>>,
    /// The size with all holes.
    pub(crate) size: u64,
    /// Whether the map stands before the content (form 1.0).
    pub(crate) map_in_content: bool,
    /// The map, of the forms that have it in records.
    pub(crate) segments: Vec<Segment>,
}

/// Gathers `GNU.sparse.` records.
#[derive(Default)]
pub(crate) struct RecordsBuilder {
    any: bool,
    name: Option<Vec<u8>>,
    /// `realsize` of form 1.0 and `size` of the others, which must not differ.
    size: Option<u64>,
    version: (Option<u64>, Option<u64>),
    count: Option<u64>,
    segments: Vec<Segment>,
    /// An offset of form 0.0 that waits for its length.
    offset: Option<u64>,
    map: bool,
}

impl RecordsBuilder {
    /// Takes a record; `key` is what follows `GNU.sparse.`.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Reason> {
        self.any = true;
        let number = || decimal(value).ok_or("a sparse record is no number");
        match key {
            b"name" if value.is_empty() || value.contains(&0) => {
                return Err("a sparse file has no valid name".to_owned());
            }
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => {
                let size = number()?;
                if self.size.replace(size).is_some_and(|earlier| earlier != size) {
                    return Err("a sparse file has two sizes".to_owned());
                }
            }
            b"major" => self.version.0 = Some(number()?),
            b"minor" => self.version.1 = Some(number()?),
            b"numblocks" => self.count = Some(number()?),
            b"offset" => {
                if self.offset.replace(number()?).is_some() {
                    return Err("a sparse map has two offsets in a row".to_owned());
                }
            }
            b"numbytes" => {
                let offset =
                    self.offset.take().ok_or("a sparse map has a length without offset")?;
                self.segments.push(Segment { offset, length: number()? });
            }
            b"map" => self.set_map(value)?,
            _ => return Err("an unknown sparse record".to_owned()),
        }
        Ok(())
    }

    fn set_map(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.map || !self.segments.is_empty() {
            return Err("a file has two sparse maps".to_owned());
        }
        self.map = true;
        if value.is_empty() {
            return Ok(());
        }
        let numbers: Option<Vec<u64>> = value.split(|&byte| byte == b',').map(decimal).collect();
        let numbers = numbers.filter(|numbers| numbers.len() % 2 == 0);
        let numbers = numbers.ok_or("a sparse map is no list of pairs")?;
        let pairs = numbers.chunks_exact(2);
        self.segments = pairs.map(|p| Segment { offset: p[0], length: p[1] }).collect();
        Ok(())
    }

    pub(crate) fn build(self) -> Result<Option<Records>, Reason> {
        if !self.any {
            return Ok(None);
        }
        let map_in_content = match self.version {
            (None, None) => false,
            (Some(0), Some(0 | 1)) => false,
            (Some(1), Some(0)) if self.segments.is_empty() && !self.map => true,
            _ => return Err("a sparse file of an unknown form".to_owned()),
        };
        let counted = self.count.is_none_or(|count| count == self.segments.len() as u64);
        if self.offset.is_some() || !(map_in_content || counted) {
            return Err("a sparse map is not complete".to_owned());
        }
        let size = self.size.ok_or("a sparse file has no size")?;
        Ok(Some(Records { name: self.name, size, map_in_content, segments: self.segments }))
    }
}

/// Gathers the map of form 1.0 out of the first blocks of the content.
#[derive(Default)]
pub(crate) struct ContentMap {
    count: Option<usize>,
    numbers: Vec<u64>,
    line: Vec<u8>,
}

impl ContentMap {
    pub(crate) fn segments(&self) -> usize {
        self.numbers.len() / 2
    }

    /// Takes the next block; gives the map when that was the last.
    pub(crate) fn push(
        &mut self,
        block: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<Segment>>, Reason> {
        for &byte in block {
            if byte != b'\n' {
                if self.line.len() == 20 {
                    return Err("a sparse map holds a line that is no number".to_owned());
                }
                self.line.push(byte);
                continue;
            }
            let number =
                decimal(&self.line).ok_or("a sparse map holds a line that is no number")?;
            self.line.clear();
            let count = match self.count {
                Some(count) => {
                    self.numbers.push(number);
                    count
                }
                None => {
                    let count = usize::try_from(number).ok().filter(|&count| count <= limit);
                    *self.count.insert(count.ok_or("a sparse map states too many segments")?)
                }
            };
            if self.numbers.len() == 2 * count {
                let pairs = self.numbers.chunks_exact(2);
                let segments = pairs.map(|p| Segment { offset: p[0], length: p[1] });
                return Ok(Some(segments.collect()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(pairs: &[(u64, u64)]) -> Vec<Segment> {
        pairs.iter().map(|&(offset, length)| Segment { offset, length }).collect()
    }

    #[test]
    fn maps_lie_in_order_inside_the_file() {
        let ok = |pairs: &[(u64, u64)], size, stored| check(&segments(pairs), size, stored).is_ok();
        assert!(ok(&[], 1 << 40, 0));
        assert!(ok(&[(0, 1), (5, 2), (10, 0)], 10, 3));
        assert!(!ok(&[(0, 1), (5, 2)], 10, 4));
        assert!(!ok(&[(0, 6), (5, 2)], 10, 8));
        assert!(!ok(&[(9, 2)], 10, 2));
        assert!(!ok(&[(u64::MAX, 2)], 10, 2));
    }

    #[test]
    fn records_of_all_three_forms() {
        let check = |records: &[(&str, &str)], expected: Result<Option<&[(u64, u64)]>, &str>| {
            let mut builder = RecordsBuilder::default();
            let set = records.iter().try_for_each(|(k, v)| builder.set(k.as_bytes(), v.as_bytes()));
            let built = set.and_then(|()| builder.build());
            let found = built.as_ref().map(|records| records.as_ref().map(|r| &r.segments[..]));
            match expected {
                Ok(expected) => assert_eq!(found, Ok(expected.map(segments).as_deref())),
                Err(expected) => assert_eq!(found.err().map(String::as_str), Some(expected)),
            }
        };
        check(&[], Ok(None));
        check(&[("size", "9"), ("map", "0,1,5,2")], Ok(Some(&[(0, 1), (5, 2)])));
        check(&[("size", "9"), ("map", "")], Ok(Some(&[])));
        check(
            &[("size", "9"), ("numblocks", "1"), ("offset", "3"), ("numbytes", "4")],
            Ok(Some(&[(3, 4)])),
        );
        check(&[("major", "1"), ("minor", "0"), ("realsize", "9")], Ok(Some(&[])));
        check(
            &[("major", "2"), ("minor", "0"), ("realsize", "9")],
            Err("a sparse file of an unknown form"),
        );
        check(&[("map", "0,1")], Err("a sparse file has no size"));
        check(&[("size", "9"), ("map", "0")], Err("a sparse map is no list of pairs"));
        check(
            &[("size", "9"), ("numblocks", "2"), ("map", "0,1")],
            Err("a sparse map is not complete"),
        );
        check(&[("size", "9"), ("offset", "1")], Err("a sparse map is not complete"));
        check(&[("size", "9"), ("realsize", "8")], Err("a sparse file has two sizes"));
    }

    #[test]
    fn content_maps_end_with_their_last_number() {
        let mut map = ContentMap::default();
        assert_eq!(map.push(b"2\n0\n1", 10), Ok(None));
        assert_eq!(
            map.push(b"00\n4096\n512\n\0\0\0", 10),
            Ok(Some(segments(&[(0, 100), (4096, 512)])))
        );
        let mut map = ContentMap::default();
        assert!(map.push(b"11\n", 10).is_err());
        assert!(ContentMap::default().push(&[0; 512], 10).is_err());
    }
}
