//! Text from the other side, and of errors, made fit for a terminal and a log.

use std::fmt::Write as _;

use url::Url;

/// An error and its causes on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<String> = std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    texts.join(": ")
}

/// At most `limit` characters of `text`, with every control character escaped, so that what a
/// server says cannot move the cursor, recolour a log or forge a line of it.
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        // Beside the control characters: the marks that reorder text (Unicode "Trojan Source").
        if c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The address without what may be secret: user name, password, query and fragment.
pub fn shown_url(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for addresses that can hold neither.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    let has_query = shown.query().is_some();
    shown.set_query(None);
    let mut text = printable(shown.as_str(), 500);
    if has_query {
        text.push_str("?…");
    }
    text
}

/// Seconds since 1970 of a date as HTTP writes it (`Sun, 06 Nov 1994 08:49:37 GMT`).
pub fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(',')?.1.split_ascii_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let zone = words.next()? == "GMT" && words.next().is_none();
    let plausible = (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !zone || !plausible {
        return None;
    }
    // Days from a civil date: years begin in March, so that the leap day comes last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check =
            |text: &str, expected: Option<i64>| assert_eq!(http_date(text), expected, "{text}");
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199));
        check("Sat, 01 Mar 2025 00:00:00 GMT", Some(1_740_787_200));
        check("Sun, 06 Nov 1994 08:49:37 CET", None);
        check("Sun, 06 Foo 1994 08:49:37 GMT", None);
        check("Sun, 06 Nov 1994 25:49:37 GMT", None);
        check("nonsense", None);
    }

    #[test]
    fn control_characters_are_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(printable(text, 20), expected);
        check("plain", "plain");
        check("a\u{1b}[31mred", "a\\u{1b}[31mred");
        check("two\nlines\r", "two\\nlines");
        check("\u{202e}gnp.exe", "\\u{202e}gnp.exe");
        check("ünï", "ünï");
        check("0123456789012345678901", "01234567890123456789…");
    }

    #[test]
    fn shown_address_holds_no_secret() {
        let check = |text: &str, expected: &str| {
            assert_eq!(shown_url(&Url::parse(text).expect("a good address")), expected);
        };
        check("https://u:p@h.example/x?sig=1#f", "https://h.example/x?…");
        check("http://h:5000/v2/", "http://h:5000/v2/");
    }
}
