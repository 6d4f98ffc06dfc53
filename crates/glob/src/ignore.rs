//! Ignore files: an ordered list of patterns, asked during a walk.
//!
//! BuildKit's context transfer hands down, from every directory to its entries, which patterns
//! matched it; an entry counts those as matched and tests only its own path against the others. A
//! pattern that could not change the state at its place in the list is skipped and does not count
//! as matched. [`IgnoreFile::judge`] is that walk and the truth for contexts;
//! [`IgnoreFile::excludes`] answers for a single path, as moby's `MatchesOrParentMatches`.

use std::sync::Arc;

use crate::Error;
use crate::bytes::{clean, trim_space};
use crate::compile::Matcher;
use crate::index::Index;

/// Longest line of an ignore file: what BuildKit's reader accepts.
const LINE_LIMIT: usize = 64 * 1024 - 1;

/// A compiled ignore file, or the patterns of `--exclude`.
#[derive(Debug, Clone)]
pub struct IgnoreFile {
    rules: Vec<Rule>,
    index: Index,
    exceptions: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    exception: bool,
    matcher: Matcher,
}

/// What is decided about one path, and what its entries inherit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    excluded: bool,
    /// The rules that matched, in order; `None` for none of them.
    hits: Option<Arc<[u32]>>,
}

impl Verdict {
    /// Whether the path is excluded.
    pub fn is_excluded(&self) -> bool {
        self.excluded
    }
}

impl Default for IgnoreFile {
    fn default() -> Self {
        Self::from_rules(Vec::new())
    }
}

impl IgnoreFile {
    /// Reads the text of an ignore file.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut rules = Vec::new();
        for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
            if line.len() > LINE_LIMIT {
                return Err(Error::LineTooLong { line: number, limit: LINE_LIMIT });
            }
            let line = match number {
                1 => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
                _ => line,
            };
            if let Some(pattern) = read_line(line) {
                rules.extend(rule(&pattern).map_err(|error| error.at(Some(number)))?);
            }
        }
        Ok(Self::from_rules(rules))
    }

    /// Compiles patterns that do not come from a file: nothing is a comment, a leading slash stays.
    pub fn from_patterns<P: AsRef<[u8]>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error> {
        let mut rules = Vec::new();
        for pattern in patterns {
            rules.extend(rule(pattern.as_ref())?);
        }
        Ok(Self::from_rules(rules))
    }

    fn from_rules(rules: Vec<Rule>) -> Self {
        let index = Index::new(rules.iter().map(|rule| &rule.matcher));
        let exceptions = rules.iter().any(|rule| rule.exception);
        Self { rules, index, exceptions }
    }

    /// Whether there are no patterns at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether any pattern begins with `!`.
    pub fn has_exceptions(&self) -> bool {
        self.exceptions
    }

    /// The verdict on the top directory, with which a walk begins.
    pub fn root(&self) -> Verdict {
        Verdict::default()
    }

    /// The verdict on `path` (relative, slash-separated), given that on its directory.
    pub fn judge(&self, parent: &Verdict, path: &[u8]) -> Verdict {
        let own = self.matching(path);
        if own.is_empty() {
            // What the directory's verdict follows from is all there is.
            return parent.clone();
        }
        let inherited = parent.hits.as_deref().unwrap_or_default();
        let (excluded, hits) = self.fold(inherited, &own);
        let hits = match &parent.hits {
            Some(same) if **same == *hits => Some(Arc::clone(same)),
            _ if hits.is_empty() => None,
            _ => Some(hits.into()),
        };
        Verdict { excluded, hits }
    }

    /// Whether a walk has to look inside the directory `path` whose verdict this is: it is not
    /// excluded, or a `!` pattern could bring something below it back.
    pub fn may_include_below(&self, verdict: &Verdict, path: &[u8]) -> bool {
        if !verdict.excluded {
            return true;
        }
        if !self.exceptions {
            return false;
        }
        let inside = [path, b"/"].concat();
        let mut exceptions = self.rules.iter().filter(|rule| rule.exception);
        exceptions.any(|rule| rule.matcher.may_match_below(&inside))
    }

    /// The same question for patterns that say what is wanted, not what is excluded: whether a
    /// walk has to look inside the directory `path` for something that matches.
    pub fn may_exclude_below(&self, verdict: &Verdict, path: &[u8]) -> bool {
        if verdict.excluded {
            return true;
        }
        let inside = [path, b"/"].concat();
        let mut rules = self.rules.iter().filter(|rule| !rule.exception);
        verdict.hits.is_some() || rules.any(|rule| rule.matcher.may_match_below(&inside))
    }

    /// Whether a single path is excluded, by its own name or that of a directory above it.
    pub fn excludes(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        let mut hits: Vec<u32> =
            slashes.flat_map(|(slash, _)| self.matching(&path[..slash])).collect();
        hits.extend(self.matching(path));
        hits.sort_unstable();
        hits.dedup();
        self.fold(&[], &hits).0
    }

    /// The verdict of a walk from the root down to `path`.
    pub fn walk_to(&self, path: &[u8]) -> Verdict {
        let mut verdict = self.root();
        for (slash, _) in path.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            verdict = self.judge(&verdict, &path[..slash]);
        }
        self.judge(&verdict, path)
    }

    /// The rules whose pattern matches `path` itself, in order.
    fn matching(&self, path: &[u8]) -> Vec<u32> {
        let mut own = Vec::new();
        self.index.candidates(path, |number| {
            let rule = usize::try_from(number).ok().and_then(|number| self.rules.get(number));
            if rule.is_some_and(|rule| rule.matcher.matches(path)) {
                own.push(number);
            }
        });
        own.sort_unstable();
        own
    }

    /// Goes through the rules that matched, top to bottom.
    fn fold(&self, inherited: &[u32], own: &[u32]) -> (bool, Vec<u32>) {
        let mut excluded = false;
        let mut hits = Vec::with_capacity(inherited.len() + own.len());
        let (mut inherited, mut own) = (inherited.iter().peekable(), own.iter().peekable());
        loop {
            let (number, handed_down) = match (inherited.peek(), own.peek()) {
                (None, None) => return (excluded, hits),
                (Some(&&above), mine) if mine.is_none_or(|&&mine| above <= mine) => (above, true),
                (_, Some(&&mine)) => (mine, false),
                (Some(&&above), None) => (above, true),
            };
            inherited.next_if_eq(&&number);
            own.next_if_eq(&&number);
            let exception =
                usize::try_from(number).is_ok_and(|number| self.rules[number].exception);
            if handed_down || exception == excluded {
                hits.push(number);
                excluded = !exception;
            }
        }
    }
}

/// The pattern on a line of a file, normalised as BuildKit's reader does it.
fn read_line(line: &[u8]) -> Option<Vec<u8>> {
    if line.starts_with(b"#") {
        return None;
    }
    let line = trim_space(line);
    if line.is_empty() {
        return None;
    }
    let (sign, body): (&[u8], &[u8]) = match line.strip_prefix(b"!") {
        Some(body) => (b"!", trim_space(body)),
        None => (b"", line),
    };
    if body.is_empty() {
        return Some(sign.to_vec());
    }
    let body = clean(body);
    let body = match body.strip_prefix(b"/") {
        Some(relative) if !relative.is_empty() => relative,
        _ => &body,
    };
    Some([sign, body].concat())
}

/// A pattern as moby's matcher takes it; nothing for an empty one.
fn rule(pattern: &[u8]) -> Result<Option<Rule>, Error> {
    let trimmed = trim_space(pattern);
    if trimmed.is_empty() {
        return Ok(None);
    }
    let cleaned = clean(trimmed);
    let (exception, body) = match cleaned.strip_prefix(b"!") {
        Some(b"") => return Err(Error::EmptyException { line: None }),
        Some(body) => (true, body),
        None => (false, cleaned.as_slice()),
    };
    Ok(Some(Rule { exception, matcher: Matcher::new(body)? }))
}
