//! How a registry says what it wants: the challenges of `WWW-Authenticate`, several of which may
//! share one header, as servers really write them.

use http::{HeaderMap, header};

/// One challenge of `WWW-Authenticate`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// All challenges of an answer; several may share one header.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers.get_all(header::WWW_AUTHENTICATE).iter();
    texts.filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
}

pub(crate) fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    for item in split_items(text) {
        let item = item.trim();
        // `Scheme`, `Scheme key=value`, or a further `key=value`.
        let (scheme, parameter) = match item.split_once([' ', '\t']) {
            Some((scheme, rest)) if !scheme.contains('=') => (Some(scheme), rest.trim()),
            None if !item.contains('=') => (Some(item), ""),
            _ => (None, item),
        };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.is_empty()) {
            challenges.push(Challenge { scheme: scheme.to_owned(), parameters: Vec::new() });
        }
        if let (Some(current), Some((key, value))) =
            (challenges.last_mut(), parameter.split_once('='))
        {
            current.parameters.push((key.trim().to_owned(), unquote(value.trim())));
        }
    }
    challenges
}

/// Splits at commas outside quotes.
fn split_items(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut items = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else { return text.to_owned() };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        let shown = parse(text).into_iter().map(|challenge| {
            let parameters: Vec<String> =
                challenge.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{}[{}]", challenge.scheme, parameters.join(" "))
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenge_headers() {
        let check = |text: &str, expected: &str| assert_eq!(show(text), expected, "{text}");
        check(
            r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#,
            "Bearer[realm=https://a/t service=s scope=repository:x:pull,push]",
        );
        check(r#"Negotiate, Bearer realm="https://a""#, "Negotiate[] Bearer[realm=https://a]");
        check(r#"Basic realm=x, Bearer realm="a\"b""#, "Basic[realm=x] Bearer[realm=a\"b]");
        check("Negotiate abc==", "Negotiate[abc==]");
        check("", "");
        check(r#"Bearer realm="unclosed"#, "Bearer[realm=unclosed]");
        check("=,=,,", "");
    }
}
