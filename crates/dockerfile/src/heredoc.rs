//! Here-documents: which words begin one, and what their bodies mean.

use crate::instruction::Heredoc;
use crate::word::{EmptyEnv, Options, WordError};

impl Heredoc {
    /// The body as it is used: for `<<-` without the tabs that begin its lines.
    #[must_use]
    pub fn body(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// The here-documents that an instruction's text begins, without their bodies.
///
/// The words are always split with `\` as the escape. A text whose quotes do not match has none,
/// as in BuildKit.
pub(crate) fn find(text: &str) -> Result<Vec<Heredoc>, WordError> {
    let options =
        Options { raw_quotes: true, raw_escapes: true, skip_unset: true, ..Options::new('\\') };
    let Ok(expanded) = options.expand(text, &EmptyEnv) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for word in &expanded.words {
        found.extend(parse(word)?);
    }
    Ok(found)
}

/// Reads a word as the beginning of a here-document: `[fd]<<[-]name`.
///
/// # Errors
/// For a name that cannot be unquoted.
pub(crate) fn parse(word: &str) -> Result<Option<Heredoc>, WordError> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Some(rest) = word[digits..].strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let options = Options { skip_unset: true, ..Options::new('\\') };
    let words = options.expand(rest, &EmptyEnv)?.words;
    let [name] = words.as_slice() else { return Ok(None) };
    let raw = Options { raw_quotes: true, ..options }.expand(rest, &EmptyEnv)?.words.concat();
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Heredoc {
        expand: quotes(name) == quotes(&raw),
        name: name.clone(),
        chomp,
        content: String::new(),
        fd: if digits == 0 { 0 } else { word[..digits].parse().unwrap_or(u64::MAX) },
    }))
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn finds_what_buildkit_finds() {
        let check = |text: &str, expected: &str| {
            let found = find(text).expect("nothing in the table fails");
            let got: Vec<String> = found
                .iter()
                .map(|h| {
                    let expand = if h.expand { "" } else { " quoted" };
                    let chomp = if h.chomp { " chomp" } else { "" };
                    let fd = if h.fd == 0 { String::new() } else { format!(" fd {}", h.fd) };
                    format!("{}{expand}{chomp}{fd}", h.name)
                })
                .collect();
            assert_eq!(got.join("|"), expected, "{text}");
        };
        check("RUN <<EOF", "EOF");
        check("RUN 3<<EOF", "EOF fd 3");
        check("RUN <<-EOF", "EOF chomp");
        check("RUN <<\"EOF\"", "EOF quoted");
        check("RUN <<'EOF'", "EOF quoted");
        check("RUN <<E\"O\"F", "EOF quoted");
        check("RUN <<eo\\'f", "eo'f");
        check("RUN <<'e'o\\'f", "eo'f quoted");
        check("RUN <<'one two'", "one two quoted");
        check("RUN << EOF", "EOF");
        check("RUN <<\tEOF && x", "EOF");
        check("RUN <<- EOF", "");
        check("RUN cat<<EOF", "");
        check("RUN cat <<<x", "");
        check("RUN \"<<EOF\"", "");
        check("RUN \\<<EOF", "");
        check("RUN echo $((1<<2))", "");
        check("RUN echo $((1 << 2))", "2))");
        check("RUN <<A <<-'B' 4<<C", "A|B quoted chomp|C fd 4");
        check("RUN it's <<EOF", "");
        check("RUN <<$X", "$X");
        check("RUN 99999999999999999999<<X", "X fd 18446744073709551615");
        check("RUN <<''", "");
        check("RUN <<", "");
    }
}
