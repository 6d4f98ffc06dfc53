//! Durations in Go's syntax: `1m30s`, `500ms`, `1.5h`.

use std::time::Duration;

/// Go's `time.ParseDuration`; a negative duration is `Ok(None)`. The error is Go's text.
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Some(Duration::ZERO));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let nanoseconds = term(&mut rest, text)?.ok_or_else(invalid)?;
        total = total.checked_add(nanoseconds).filter(|t| *t <= 1 << 63).ok_or_else(invalid)?;
    }
    if negative && total > 0 {
        return Ok(None);
    }
    if total >= 1 << 63 {
        return Err(invalid());
    }
    Ok(Some(Duration::from_nanos(total)))
}

/// One number with its unit, in nanoseconds. `Ok(None)`: not a number, or out of range.
fn term(rest: &mut &str, text: &str) -> Result<Option<u64>, String> {
    let (whole, after) = digits(rest);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Ok(None);
    }
    let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (unit, after) = after.split_at(end);
    *rest = after;
    let scale: u64 = match unit {
        "" => return Err(format!("time: missing unit in duration {}", quote(text))),
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        }
    };
    let whole: u64 = match whole {
        "" => 0,
        whole => match whole.parse() {
            Ok(whole) if whole <= 1 << 63 => whole,
            _ => return Ok(None),
        },
    };
    // More than eighteen digits of a fraction cannot change a nanosecond.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = fraction.bytes().fold(0u128, |sum, digit| sum * 10 + u128::from(digit - b'0'))
        * u128::from(scale)
        / 10u128.pow(u32::try_from(fraction.len()).unwrap_or(18));
    Ok(whole
        .checked_mul(scale)
        .and_then(|whole| whole.checked_add(u64::try_from(part).ok()?))
        .filter(|nanoseconds| *nanoseconds <= 1 << 63))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The quoting of Go's `time`, simpler than `%q`.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='\x7f' => out.push(c),
            _ => {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    out.push_str(&format!("\\x{byte:02x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn parses_as_go_does() {
        let check = |text: &str, expected: &str| {
            let got = match super::parse(text) {
                Ok(Some(duration)) => format!("{duration:?}"),
                Ok(None) => "negative".to_owned(),
                Err(error) => error,
            };
            assert_eq!(got, expected, "{text}");
        };
        check("30s", "30s");
        check("1m30s", "90s");
        check("1.5h", "5400s");
        check("500ms", "500ms");
        check(".5s", "500ms");
        check("1.s", "1s");
        check("+1us", "1µs");
        check("1µs", "1µs");
        check("0", "0ns");
        check("-0", "0ns");
        check("-1s", "negative");
        check("5", "time: missing unit in duration \"5\"");
        check("x", "time: invalid duration \"x\"");
        check("", "time: invalid duration \"\"");
        check("-", "time: invalid duration \"-\"");
        check(".s", "time: invalid duration \".s\"");
        check("5x", "time: unknown unit \"x\" in duration \"5x\"");
        check("5 s", "time: unknown unit \" s\" in duration \"5 s\"");
        check("9223372036854775807ns", "9223372036.854775807s");
        check("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\"");
        check("9999999h", "time: invalid duration \"9999999h\"");
        check("1é", "time: unknown unit \"\\xc3\\xa9\" in duration \"1\\xc3\\xa9\"");
    }
}
