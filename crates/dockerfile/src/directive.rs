//! Parser directives: `# syntax=…`, `# escape=…` and `# check=…` at the very top of a file.

use crate::error::ParseErrorKind;
use crate::json;
use crate::text::is_space;

/// A parser directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape` or `check`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its line, from 1.
    pub line: u32,
}

/// Which frontend a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syntax {
    /// The frontend's image.
    pub image: String,
    /// The whole value: image and arguments.
    pub command_line: String,
    /// The line that says so, from 1.
    pub line: u32,
}

/// Reads directives line by line until the first line that is none.
#[derive(Default)]
pub(crate) struct DirectiveReader {
    done: bool,
    seen: Vec<String>,
}

impl DirectiveReader {
    /// The directive on this line, if directives may still stand here.
    pub(crate) fn read(
        &mut self,
        line: &str,
        number: u32,
        comment: &str,
    ) -> Result<Option<Directive>, ParseErrorKind> {
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = line.strip_prefix(comment).and_then(split) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(ParseErrorKind::DuplicateDirective(name));
        }
        self.seen.push(name.clone());
        Ok(Some(Directive { name, value: value.to_owned(), line: number }))
    }
}

/// `name = value` of a known directive.
pub(crate) fn split(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches(is_space);
    let end = text.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (name, rest) = text.split_at(end);
    let name = name.to_ascii_lowercase();
    if !matches!(name.as_str(), "syntax" | "escape" | "check") {
        return None;
    }
    let value = rest.trim_start_matches(is_regex_space).strip_prefix('=')?;
    let trimmed = value.trim_matches(is_regex_space);
    if trimmed.is_empty() {
        // BuildKit's expression wants one character and takes the last blank for it.
        return Some((name, value.get(value.len().checked_sub(1)?..)?));
    }
    Some((name, trimmed))
}

/// `\s` of a regular expression.
fn is_regex_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ')
}

/// The directives at the top of `text` and the error that ends them, if one does. Values are not
/// checked. `comment` is what begins a comment: `#` in a Dockerfile.
#[must_use]
pub fn directives(text: &str, comment: &str) -> (Vec<Directive>, Option<ParseErrorKind>) {
    let mut reader = DirectiveReader::default();
    let mut found = Vec::new();
    for (line, number) in text.split('\n').zip(1..) {
        match reader.read(line.strip_suffix('\r').unwrap_or(line), number, comment) {
            Ok(Some(directive)) => found.push(directive),
            Ok(None) => break,
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

/// The frontend that a file asks for, as a directive in a `#` or `//` comment, also below a `#!`
/// line, or as the member `syntax` of a JSON object.
#[must_use]
pub fn detect_syntax(text: &[u8]) -> Option<Syntax> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
    let (text, skipped) = match text.strip_prefix("#!") {
        Some(rest) => (rest.split_once('\n').map_or("", |(_, rest)| rest), 1),
        None => (text.as_ref(), 0),
    };
    for comment in ["#", "//"] {
        let found = directives(text, comment).0.into_iter().find(|found| found.name == "syntax");
        if let Some(found) = found {
            let image = found.value.split(' ').next().unwrap_or_default().to_owned();
            let line = found.line + skipped;
            return Some(Syntax { image, command_line: found.value, line });
        }
    }
    let value = json::string_member(text, "syntax")?;
    Some(Syntax { image: value.clone(), command_line: value, line: 1 + skipped })
}

#[cfg(test)]
mod tests {
    use super::{detect_syntax, directives};

    #[test]
    fn reads_directives_at_the_top_only() {
        let check = |text: &str, expected: &str| {
            let (found, error) = directives(text, "#");
            let mut got: Vec<String> =
                found.iter().map(|d| format!("{}:{}={}", d.line, d.name, d.value)).collect();
            got.extend(error.map(|error| error.to_string()));
            assert_eq!(got.join("|"), expected, "{text:?}");
        };
        check("# escape=`\n# syntax = a b \nFROM x", "1:escape=`|2:syntax=a b");
        check(
            "#ESCAPE=\\\r\n#check=skip=all;error=true\r\n",
            "1:escape=\\|2:check=skip=all;error=true",
        );
        check("# a comment\n# escape=`\n", "");
        check("# unknown=x\n# escape=`\n", "");
        check("\n# escape=`\n", "");
        check(" # escape=`\n", "");
        check("# escape=\n", "");
        check("# escape= \n", "1:escape= ");
        check(
            "# escape=`\n# escape=`\n",
            "1:escape=`|only one escape parser directive can be used",
        );
        check("", "");
        check("#", "");
        check("#escape", "");
    }

    #[test]
    fn detects_the_frontend() {
        let check = |text: &str, expected: &str| {
            let got = detect_syntax(text.as_bytes()).map_or("none".to_owned(), |s| {
                format!("{}:{}:{}", s.line, s.image, s.command_line)
            });
            assert_eq!(got, expected, "{text:?}");
        };
        check("# syntax=docker/dockerfile:1\nFROM x", "1:docker/dockerfile:1:docker/dockerfile:1");
        check("\u{feff}# syntax=a b c\n", "1:a:a b c");
        check("#!/usr/bin/x\n# escape=`\n# syntax=a\n", "3:a:a");
        check("//syntax=a\n{}", "1:a:a");
        check("// check=x\n// syntax=a\n", "2:a:a");
        check("{\"syntax\": \"a b\"}", "1:a b:a b");
        check("{\"syntax\": 1}", "none");
        check("FROM x\n# syntax=a\n", "none");
        check("#!x", "none");
        check("", "none");
    }
}
