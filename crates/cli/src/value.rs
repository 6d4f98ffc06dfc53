//! Values of flags as Go reads them: booleans, whole numbers, durations, words of a fixed set.
//!
//! Messages are those of Go's `strconv` and `time`, which is what a kaniko user has seen before.

use std::time::Duration;

use crate::flag::Value;

/// A boolean in any of Go's spellings.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax")),
    }
}

/// A whole number, with an optional sign and a `0x`, `0o` or `0b` prefix.
pub(crate) fn parse_number(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let invalid = || format!("strconv.ParseInt: parsing \"{text}\": invalid syntax");
    if digits.starts_with(['+', '-']) {
        return Err(invalid());
    }
    i64::from_str_radix(digits, radix).map(|number| sign * number).map_err(|_| invalid())
}

/// A duration in Go's syntax: `336h`, `1h30m`, `1.5h`, `500ms`, `0`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration \"{text}\"");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() || rest.starts_with('-') {
        return Err(invalid());
    }
    let mut seconds = 0f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount: f64 = rest[..number].parse().map_err(|_| invalid())?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "" => return Err(format!("time: missing unit in duration \"{text}\"")),
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => {
                return Err(format!("time: unknown unit \"{other}\" in duration \"{text}\""));
            }
        };
        seconds += amount * factor;
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

/// A number of bytes, or of units as coreutils has them: `K` and `KiB` are 1,024, `KB` is 1,000.
pub(crate) fn parse_size(text: &str) -> Result<u64, &'static str> {
    let invalid = "not a size: write bytes, or a number and one of K, M, G and T, as in 10GiB";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid)?;
    let (letter, behind) = match unit.chars().next() {
        None => return Ok(number),
        Some(letter) => (letter.to_ascii_uppercase(), &unit[letter.len_utf8()..]),
    };
    let power = match letter {
        'K' => 1,
        'M' => 2,
        'G' => 3,
        'T' => 4,
        'B' if behind.is_empty() => return Ok(number),
        _ => return Err(invalid),
    };
    let base: u64 = match behind {
        "" | "iB" | "i" => 1024,
        "B" => 1000,
        _ => return Err(invalid),
    };
    number.checked_mul(base.pow(power)).ok_or("more than any disk has")
}

/// `key=value[;key=value]`, in order.
pub(crate) fn parse_map(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(';').filter(|pair| !pair.trim().is_empty());
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err(no_pair(text)),
    };
    pairs.map(pair).collect()
}

fn no_pair(text: &str) -> String {
    format!("invalid argument value. expect key=value, got {text}")
}

/// Whether a value fits its flag; the reason if not.
pub(crate) fn check(kind: Value, name: &str, text: &str) -> Result<(), String> {
    match kind {
        Value::Bool => parse_bool(text).map(|_| ()),
        Value::Number => parse_number(text).map(|_| ()),
        Value::Duration => parse_duration(text).map(|_| ()),
        Value::KeyValue if !text.contains('=') => Err(no_pair(text)),
        Value::Map => parse_map(text).map(|_| ()),
        Value::Text | Value::List | Value::KeyValue => Ok(()),
        Value::Choice(words) if words.contains(&text) => Ok(()),
        Value::Choice(words) => Err(match name {
            "log-format" => format!(
                "not a valid log format: \"{text}\". Please specify one of ({})",
                words.join(", ")
            ),
            "snapshot-mode" | "snapshotMode" => format!("{text} is not a valid snapshot mode"),
            _ => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("must be either {}", quoted.join(" or "))
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_duration(text: &str, expected: Result<u64, &str>) {
        let found = parse_duration(text).map(|duration| duration.as_millis() as u64);
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn durations_are_gos() {
        check_duration("336h", Ok(336 * 3_600_000));
        check_duration("1h30m", Ok(5_400_000));
        check_duration("1.5h", Ok(5_400_000));
        check_duration("500ms", Ok(500));
        check_duration("0", Ok(0));
        check_duration("6", Err("time: missing unit in duration \"6\""));
        check_duration("3d", Err("time: unknown unit \"d\" in duration \"3d\""));
        check_duration("", Err("time: invalid duration \"\""));
        check_duration("h", Err("time: invalid duration \"h\""));
        check_duration(
            "99999999999999999999999h",
            Err("time: invalid duration \"99999999999999999999999h\""),
        );
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        };
        check("0", Some(0));
        check("123", Some(123));
        check("123B", Some(123));
        check("10GiB", Some(10 << 30));
        check("10Gi", Some(10 << 30));
        check("10G", Some(10 << 30));
        check("10GB", Some(10_000_000_000));
        check("5k", Some(5120));
        check("1TiB", Some(1 << 40));
        check("16777216T", None);
        for text in ["", "G", "-1", "1.5G", "1 G", "1GiBs", "1X", "0x10", "1Bi"] {
            check(text, None);
        }
    }

    fn check_number(text: &str, expected: Option<i64>) {
        assert_eq!(parse_number(text).ok(), expected, "{text}");
    }

    #[test]
    fn numbers_take_gos_prefixes() {
        check_number("6", Some(6));
        check_number("-1", Some(-1));
        check_number("0x10", Some(16));
        check_number("0b11", Some(3));
        check_number("0o17", Some(15));
        check_number("017", Some(15));
        check_number("", None);
        check_number("--1", None);
        check_number("0x", None);
        check_number("six", None);
    }

    #[test]
    fn booleans_are_gos() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(text), Ok(false), "{text}");
        }
        assert!(parse_bool("yes").is_err());
    }
}
