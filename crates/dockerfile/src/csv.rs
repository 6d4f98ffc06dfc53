//! One record of comma-separated values as Go's `encoding/csv` reads it.

/// Splits `text` into fields; a field in double quotes may hold commas, a quote is written twice.
///
/// The error is Go's text.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let at = |rest: &str| text.len() - rest.len() + 1;
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let Some(length) = rest.find('"') else {
                    return Err(broken(text.len() + 1, EXTRANEOUS));
                };
                field.push_str(&rest[..length]);
                rest = &rest[length + 1..];
                match rest.strip_prefix('"') {
                    Some(after) => rest = after,
                    None => break,
                }
                field.push('"');
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(broken(at(rest) - 1, EXTRANEOUS));
            }
        } else {
            let (plain, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if let Some(quote) = plain.find('"') {
                return Err(broken(at(rest) + quote, "bare \" in non-quoted field"));
            }
            field.push_str(plain);
            rest = after;
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

const EXTRANEOUS: &str = "extraneous or missing \" in quoted-field";

fn broken(column: usize, what: &str) -> String {
    format!("parse error on line 1, column {column}: {what}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn splits_as_go_does() {
        let check = |text: &str, expected: &str| {
            let got = super::fields(text).map_or_else(|error| error, |fields| fields.join("|"));
            assert_eq!(got, expected, "{text}");
        };
        check("a=b,c", "a=b|c");
        check("a,", "a|");
        check("\"a,b\",\"c\"\"d\"", "a,b|c\"d");
        check("", "EOF");
        check("a\"b", "parse error on line 1, column 2: bare \" in non-quoted field");
        check("\"a", "parse error on line 1, column 3: extraneous or missing \" in quoted-field");
        check(
            "\"a\"b",
            "parse error on line 1, column 3: extraneous or missing \" in quoted-field",
        );
    }
}
