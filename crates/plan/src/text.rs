//! How Go prints values: history and messages are compared byte for byte.

use std::time::Duration;

use dockerfile::quote;

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

#[cfg(test)]
mod tests {
    use super::*;

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
