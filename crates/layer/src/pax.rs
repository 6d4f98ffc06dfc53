//! PAX extended header records: `<length> <keyword>=<value>\n`, told apart by their length.
//!
//! Values are bytes: a `security.capability` may hold a newline or a NUL. Nothing here knows what
//! a keyword means; [`crate::archive`] does. Start with [`parse`] and [`Records`].

use crate::error::{Error, Result};
use crate::limits::Limits;

/// Why a block of records is refused.
type Reason = &'static str;

/// One record: keyword and value.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// Splits a PAX header's content into its records, in the order they stand in.
pub(crate) fn parse(mut bytes: &[u8], offset: u64, limits: &Limits) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        if records.len() == limits.pax_records {
            let limit = limits.pax_records as u64;
            return Err(Error::Limit { what: "records of one PAX header", limit });
        }
        let (record, rest) = record(bytes).map_err(|reason| Error::Malformed {
            offset,
            reason: format!("PAX header: {reason}"),
        })?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

fn record(bytes: &[u8]) -> Result<(Record, &[u8]), Reason> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ');
    let digits = space.map(|at| &bytes[..at]).ok_or("a record has no length")?;
    let length = decimal(digits).ok_or("a record's length is no number")?;
    let length = usize::try_from(length).map_err(|_| "a record's length is too large")?;
    let body = bytes.get(digits.len() + 1..length).ok_or("a record's length is wrong")?;
    let (&newline, body) = body.split_last().ok_or("a record is empty")?;
    if newline != b'\n' {
        return Err("a record does not end where its length says");
    }
    let equals = body.iter().position(|&byte| byte == b'=').ok_or("a record has no `=`")?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err("a record's keyword is empty or holds a NUL");
    }
    Ok(((key.to_vec(), value.to_vec()), &bytes[length..]))
}

/// A number made of ASCII digits only.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A PAX time: seconds with an optional sign and fraction, finer digits than nanoseconds cut off.
pub(crate) fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = digits.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanos = 0u32;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digit = |at: usize| fraction.get(at).map_or(0, |byte| u32::from(byte - b'0'));
        nanos = (0..9).fold(0, |sum, at| sum * 10 + digit(at));
    }
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => ((-seconds).checked_sub(1)?, 1_000_000_000 - nanos),
    })
}

/// Writes a time as [`time`] reads it.
pub(crate) fn time_text(seconds: i64, nanos: u32) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    let text = if seconds >= 0 {
        format!("{seconds}.{nanos:09}")
    } else {
        let (whole, rest) = (i128::from(seconds) + 1, 1_000_000_000 - nanos);
        format!("-{}.{rest:09}", whole.unsigned_abs())
    };
    text.trim_end_matches('0').to_owned()
}

/// Records on their way into a header, in the order they are given.
#[derive(Default)]
pub(crate) struct Records(Vec<u8>);

impl Records {
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        // The length counts its own digits: grow it until it is its own fixed point.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pair<'a> = (&'a [u8], &'a [u8]);

    fn check(bytes: &[u8], expected: Result<&[Pair<'_>], &str>) {
        let found = parse(bytes, 0, &Limits::default());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<_> = found.iter().map(|(k, v)| (&k[..], &v[..])).collect();
                assert_eq!(found, expected);
            }
            (Err(found), Err(expected)) => assert!(found.to_string().contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn records_are_split_by_their_length() {
        check(b"", Ok(&[]));
        check(b"9 path=a\n", Ok(&[(b"path", b"a")]));
        check(b"9 path=a\n11 path=b\n\n", Ok(&[(b"path", b"a"), (b"path", b"b\n")]));
        check(b"7 a==\0\n5 b=\n", Ok(&[(b"a", b"=\0"), (b"b", b"")]));
        check(b"5 path=evil\n", Err("does not end"));
        check(b"12 path=evi", Err("length is wrong"));
        check(b"path=evil\n", Err("has no length"));
        check(b"+9 path=a\n", Err("no number"));
        check(b"9 =value\n", Err("keyword is empty"));
        check(b"99999999999999999999 a=b\n", Err("no length"));
        check(b"18446744073709551615 a=b\n", Err("no length"));
        check(b"6 path\n", Err("does not end"));
        check(b"7 path\n", Err("no `=`"));
        check(b"2 ", Err("empty"));
        check(b"1 ", Err("length is wrong"));
    }

    #[test]
    fn too_many_records_are_a_limit() {
        let bytes = b"6 a=b\n".repeat(1001);
        check(&bytes, Err("limit of 1000"));
    }

    #[test]
    fn times_have_a_sign_and_a_fraction() {
        let check = |text: &str, expected| assert_eq!(time(text.as_bytes()), expected, "{text}");
        check("0", Some((0, 0)));
        check("1700000000.5", Some((1_700_000_000, 500_000_000)));
        check("1.0000000019", Some((1, 1)));
        check("-1.25", Some((-2, 750_000_000)));
        check("-3", Some((-3, 0)));
        check("9223372036854775807", Some((i64::MAX, 0)));
        check("9223372036854775808", None);
        check("", None);
        check("1.x", None);
        check("+1", None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in prop::collection::vec(("[a-zA-Z.]{1,30}", prop::collection::vec(any::<u8>(), 0..200)), 0..20)
        ) {
            let mut written = Records::default();
            for (key, value) in &records {
                written.push(key.as_bytes(), value);
            }
            let read = parse(written.as_bytes(), 0, &Limits::default()).expect("our own records");
            let expected: Vec<Record> =
                records.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn times_are_read_as_they_were_written(seconds in -1_000_000_000_000i64.., nanos in 0u32..1_000_000_000) {
            prop_assert_eq!(time(time_text(seconds, nanos).as_bytes()), Some((seconds, nanos)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, 0, &Limits::default());
        }
    }
}
