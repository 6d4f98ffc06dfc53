//! Times as the documents write them: RFC 3339 in UTC, as Go prints it.
//!
//! Does not read the clock.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A moment, in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// The last second of the year 9999: RFC 3339 has four digits for the year.
const LAST: i64 = 253_402_300_799;
/// The first second of the year 0.
const FIRST: i64 = -62_167_219_200;

impl Timestamp {
    /// The moment `seconds` and `nanos` after the epoch, clamped to the years 0 to 9999.
    pub fn new(seconds: i64, nanos: u32) -> Timestamp {
        Timestamp { seconds: seconds.clamp(FIRST, LAST), nanos: nanos.min(999_999_999) }
    }

    /// Seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Parses RFC 3339, with any offset.
    pub fn parse(text: &str) -> Result<Timestamp> {
        parse(text).ok_or_else(|| Error::Timestamp { text: text.to_owned() })
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let shifted = (month + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let mark = |at: usize, mark: u8| (bytes.get(at) == Some(&mark)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    mark(4, b'-')?;
    mark(7, b'-')?;
    mark(13, b':')?;
    mark(16, b':')?;
    bytes.get(10).filter(|b| matches!(b, b'T' | b't'))?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let date = days_from_civil(year, month, day);
    if civil_from_days(date) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, at) = match bytes.get(19) {
        Some(b'.') => {
            let digits = bytes[20..].iter().take_while(|b| b.is_ascii_digit()).count();
            let kept = std::str::from_utf8(&bytes[20..20 + digits.min(9)]).ok()?;
            let nanos = format!("{kept:0<9}").parse::<u32>().ok()?;
            (digits > 0).then_some((nanos, 20 + digits))?
        }
        _ => (0, 19),
    };
    let offset = match bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 => {
            mark(at + 3, b':')?;
            let minutes = number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let seconds = date * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    (FIRST..=LAST).contains(&seconds).then_some(Timestamp { seconds, nanos })
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(86_400));
        let of_day = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| serde::de::Error::custom(format!("invalid time {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Option<&str>) {
        let printed = Timestamp::parse(text).ok().map(|t| t.to_string());
        assert_eq!(printed.as_deref(), expected, "{text}");
    }

    #[test]
    fn texts() {
        check("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00Z"));
        check("2023-11-14T22:13:20Z", Some("2023-11-14T22:13:20Z"));
        check("2024-02-29T23:59:59.123456789Z", Some("2024-02-29T23:59:59.123456789Z"));
        check("2024-02-29T23:59:59.120Z", Some("2024-02-29T23:59:59.12Z"));
        check("2024-03-01T01:00:00+02:00", Some("2024-02-29T23:00:00Z"));
        check("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z"));
        check("2023-02-29T00:00:00Z", None);
        check("2023-11-14 22:13:20Z", None);
        check("2023-11-14T22:13:20", None);
        check("2023-11-14T22:13:20.Z", None);
        check("", None);
        check("é", None);
    }

    proptest! {
        #[test]
        fn print_then_parse_is_the_identity(seconds in FIRST..=LAST, nanos in 0u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos);
            prop_assert_eq!(Timestamp::parse(&time.to_string()).ok(), Some(time));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
