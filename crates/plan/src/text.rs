//! How Go prints values: history and messages are compared byte for byte.

use std::time::Duration;

/// `%q` of a string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..0x80 => format!("\\x{code:02x}"),
                    0x80..0x1_0000 => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    out.push('"');
    out
}

fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // Rust escapes a combining mark only at the start of a string, Go never does.
    format!("a{c}").escape_debug().count() == 2
}

/// `%q` of a list of strings.
pub(crate) fn quote_list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(" "))
}

/// `%v` of a list of strings.
pub(crate) fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// `Duration.String`.
pub(crate) fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let duration = Duration::from_nanos(nanos.unsigned_abs());
    let total = duration.as_nanos();
    let fraction = |value: u128, unit: u128| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", value % unit);
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{}{dot}{rest}", value / unit)
    };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(total, 1_000_000)),
        _ => {
            let minutes = duration.as_secs() / 60;
            let seconds = fraction(total - u128::from(minutes) * 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `path.Clean` of an absolute path.
pub(crate) fn clean_absolute(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A path below a directory, or itself where it is absolute; cleaned.
pub(crate) fn join(directory: &str, path: &str) -> String {
    if path.starts_with('/') {
        clean_absolute(path)
    } else {
        clean_absolute(&format!("{directory}/{path}"))
    }
}

/// The known word nearest to an unknown one, if they differ by less than three edits; of several
/// as near, the alphabetically first.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut known: Vec<&str> = known.into_iter().collect();
    if known.contains(&word) {
        return None;
    }
    known.sort_unstable();
    known.dedup();
    let distances = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    let (_, best) = distances.filter(|(distance, _)| *distance < 3).min_by_key(|(d, _)| *d)?;
    Some(best.to_owned())
}

/// The Levenshtein distance, as far as it matters here.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        for (word, known, expected) in [
            ("bulider", &["builder", "base"][..], Some("builder")),
            ("builder", &["builder", "builded"][..], None),
            ("xy", &["xb", "xa"][..], Some("xa")),
            ("abcdef", &["xyz"][..], None),
            ("", &["ab", "abc"][..], Some("ab")),
        ] {
            assert_eq!(nearest(word, known.iter().copied()).as_deref(), expected, "{word}");
        }
    }

    fn check_duration(nanos: i64, expected: &str) {
        assert_eq!(duration(nanos), expected);
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        check_duration(0, "0s");
        check_duration(1, "1ns");
        check_duration(1_500, "1.5µs");
        check_duration(2_000_000, "2ms");
        check_duration(2_200_000, "2.2ms");
        check_duration(30_000_000_000, "30s");
        check_duration(90_000_000_000, "1m30s");
        check_duration(300_000_000_000, "5m0s");
        check_duration(3_600_000_000_000, "1h0m0s");
        check_duration(5_400_500_000_000, "1h30m0.5s");
        check_duration(-1_500_000_000, "-1.5s");
        check_duration(i64::MAX, "2562047h47m16.854775807s");
    }

    #[test]
    fn strings_quote_as_go_quotes_them() {
        let words = ["a b", "c\"d", "é", "\n", "\u{1}\u{a0}"].map(str::to_owned);
        assert_eq!(quote_list(&words), r#"["a b" "c\"d" "é" "\n" "\x01\u00a0"]"#);
        assert_eq!(list(&words[..1]), "[a b]");
    }

    #[test]
    fn paths_clean_as_go_cleans_them() {
        for (directory, path, expected) in [
            ("/a", "b", "/a/b"),
            ("/a", "../../b/./c/", "/b/c"),
            ("/a", "/x//y/", "/x/y"),
            ("/", ".", "/"),
            ("/srv", "", "/srv"),
        ] {
            assert_eq!(join(directory, path), expected);
        }
    }
}
