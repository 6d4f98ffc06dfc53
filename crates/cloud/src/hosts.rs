//! Whose registry a name is. A cloud's token goes to that cloud and nowhere else, so names are
//! compared by whole labels and to their end, and one that is written in any unusual way (a port,
//! capitals, a final dot, letters beyond ASCII) is nobody's.

/// The labels of a plain host name.
pub(crate) fn labels(registry: &str) -> Option<Vec<&str>> {
    let plain = |label: &str| {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<&str> = registry.split('.').collect();
    (registry.len() <= 253 && labels.iter().all(|label| plain(label))).then_some(labels)
}

/// What stands before these labels at the end of a name.
pub(crate) fn before<'a, 'b>(labels: &'b [&'a str], end: &str) -> Option<&'b [&'a str]> {
    let count = labels.len().checked_sub(end.split('.').count())?;
    let (rest, last) = labels.split_at(count);
    last.iter().copied().eq(end.split('.')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names() {
        let check =
            |name: &str, expected: bool| assert_eq!(labels(name).is_some(), expected, "{name}");
        check("gcr.io", true);
        check("a-1.gcr.io", true);
        check("localhost", true);
        for name in ["", "gcr.io.", ".gcr.io", "gcr..io", "GCR.io", "gcr.io:443", "u@gcr.io"] {
            check(name, false);
        }
        for name in ["gсr.io", "gcr。io", "gcr.io/x", "gcr.io ", "-a.gcr.io", "a-.gcr.io", "[::1]"]
        {
            check(name, false);
        }
        check(&format!("{}.gcr.io", "a".repeat(64)), false);
        check(&format!("{}gcr.io", "a.".repeat(130)), false);
    }

    #[test]
    fn ends_are_whole_labels() {
        let check = |name: &str, end: &str, expected: Option<&str>| {
            let labels = labels(name).expect("because it is plain");
            assert_eq!(before(&labels, end).map(|rest| rest.join(".")).as_deref(), expected);
        };
        check("eu.gcr.io", "gcr.io", Some("eu"));
        check("gcr.io", "gcr.io", Some(""));
        check("notgcr.io", "gcr.io", None);
        check("gcr.io.evil.example", "gcr.io", None);
    }
}
