//! The lexer proper: one pass over the characters, `${…}` by recursion.
//!
//! Read [`run`], then `until`, which is the loop that BuildKit's lexer has at its heart.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{Env, Expanded, Options, pattern};
use crate::text::{is_digit, is_name, is_space};

/// How much longer than the word a result may be.
const GROWTH_LIMIT: usize = 1 << 20;
/// How deep `${a:-${b:-…}}` may go: the recursion must not exhaust the stack.
const DEPTH_LIMIT: usize = 100;

type Reason = Cow<'static, str>;

const MISSING_BRACE: Reason = Cow::Borrowed("syntax error: missing '}'");
const MISSING_SLASH: Reason = Cow::Borrowed("syntax error: missing '/' in ${}");

pub(super) fn run(word: &str, env: &dyn Env, options: &Options) -> Result<Expanded, Reason> {
    let mut lexer = Lexer {
        // Go's scanner drops a byte order mark at the start of its input.
        rest: word.strip_prefix('\u{feff}').unwrap_or(word),
        env,
        options: *options,
        limit: word.len().saturating_add(GROWTH_LIMIT),
        depth: 0,
        word: String::new(),
        matched: BTreeSet::new(),
        unmatched: BTreeSet::new(),
    };
    let (text, words) = lexer.until(None, options.raw_escapes)?;
    Ok(Expanded { text, words, matched: lexer.matched, unmatched: lexer.unmatched })
}

struct Lexer<'a> {
    rest: &'a str,
    env: &'a dyn Env,
    options: Options,
    limit: usize,
    depth: usize,
    /// The word being collected for the split result. It is shared with the words inside `${…}`
    /// on purpose: in BuildKit a substitution with a modifier drops the part of the word before
    /// it, and EXPOSE shows that.
    word: String,
    matched: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

impl<'a> Lexer<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn get(&mut self, name: &str) -> Option<&'a str> {
        let value = self.env.get(name);
        let names = if value.is_some() { &mut self.matched } else { &mut self.unmatched };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }

    fn check(&self, text: &str) -> Result<(), Reason> {
        if text.len() > self.limit {
            return Err(Cow::Borrowed("result is more than 1 MiB longer than the word"));
        }
        Ok(())
    }

    /// Reads up to `stop`, which is consumed, or to the end.
    fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
    ) -> Result<(String, Vec<String>), Reason> {
        let outer = std::mem::replace(&mut self.options.raw_escapes, raw_escapes);
        let result = self.until_with_escapes(stop);
        self.options.raw_escapes = outer;
        result
    }

    fn until_with_escapes(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), Reason> {
        let mut text = String::new();
        let mut words = Vec::new();
        self.word.clear();
        let quotes = !self.options.skip_process_quotes;
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.next();
                self.end_word(&mut words);
                return Ok((text, words));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    for c in value.chars() {
                        self.add(c, &mut words);
                    }
                }
                '\'' if quotes => {
                    let part = self.single_quoted()?;
                    text.push_str(&part);
                    self.word.push_str(&part);
                }
                '"' if quotes => {
                    let part = self.double_quoted()?;
                    text.push_str(&part);
                    self.word.push_str(&part);
                }
                '<' => {
                    let part = self.possible_heredoc();
                    text.push_str(part);
                    self.word.push_str(part);
                }
                _ if c == self.options.escape => {
                    self.next();
                    if self.options.raw_escapes {
                        text.push(c);
                        self.word.push(c);
                    }
                    let Some(escaped) = self.next() else { break };
                    text.push(escaped);
                    self.word.push(escaped);
                }
                _ => {
                    self.next();
                    text.push(c);
                    self.add(c, &mut words);
                }
            }
            self.check(&text)?;
        }
        match stop {
            Some(stop) => Err(Cow::Owned(format!(
                "unexpected end of statement while looking for matching {stop}"
            ))),
            None => {
                self.end_word(&mut words);
                Ok((text, words))
            }
        }
    }

    fn add(&mut self, c: char, words: &mut Vec<String>) {
        if is_space(c) {
            self.end_word(words);
        } else {
            self.word.push(c);
        }
    }

    fn end_word(&mut self, words: &mut Vec<String>) {
        if !self.word.is_empty() {
            words.push(std::mem::take(&mut self.word));
        }
    }

    /// `<<` keeps the blanks after it in its word, so that `<< EOF` is seen as one.
    fn possible_heredoc(&mut self) -> &'a str {
        let text = self.rest;
        self.next();
        if self.peek() != Some('<') {
            return "<";
        }
        self.next();
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n' | '\x0c')) {
            self.next();
        }
        &text[..text.len() - self.rest.len()]
    }

    fn single_quoted(&mut self) -> Result<String, Reason> {
        const END: Reason =
            Cow::Borrowed("unexpected end of statement while looking for matching single-quote");
        self.next();
        let Some(length) = self.rest.find('\'') else {
            self.rest = "";
            return Err(END);
        };
        let (body, rest) = self.rest.split_at(length);
        self.rest = &rest[1..];
        Ok(if self.options.raw_quotes { format!("'{body}'") } else { body.to_owned() })
    }

    fn double_quoted(&mut self) -> Result<String, Reason> {
        const END: Reason =
            Cow::Borrowed("unexpected end of statement while looking for matching double-quote");
        let mut text = String::new();
        self.next();
        if self.options.raw_quotes {
            text.push('"');
        }
        loop {
            match self.peek() {
                None => return Err(END),
                Some('"') => {
                    self.next();
                    if self.options.raw_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) => {
                    self.next();
                    if c != self.options.escape {
                        text.push(c);
                    } else {
                        self.escape_in_double_quotes(c, &mut text);
                    }
                }
            }
            self.check(&text)?;
        }
    }

    /// Inside double quotes the escape works on `"`, `$` and itself only. With raw escapes BuildKit
    /// then writes an escape that does not work twice.
    fn escape_in_double_quotes(&mut self, escape: char, text: &mut String) {
        if self.options.raw_escapes {
            text.push(escape);
        }
        match self.peek() {
            None => {}
            Some(c) if c == '"' || c == '$' || c == escape => {
                self.next();
                text.push(c);
            }
            Some(_) => text.push(escape),
        }
    }

    fn dollar(&mut self) -> Result<Cow<'a, str>, Reason> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Cow::Borrowed("substitutions are nested more than 100 deep"));
        }
        let result = self.substitution();
        self.depth -= 1;
        result
    }

    fn substitution(&mut self) -> Result<Cow<'a, str>, Reason> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok(Cow::Borrowed("$"));
            }
            return Ok(match self.get(name) {
                None if self.options.skip_unset => Cow::Owned(format!("${name}")),
                value => Cow::Borrowed(value.unwrap_or("")),
            });
        }
        self.next();
        match self.peek() {
            None => return Err(MISSING_BRACE),
            Some('{' | '}' | ':') => return Err(Cow::Borrowed("syntax error: bad substitution")),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            // BuildKit reports an unsupported modifier U+FFFD.
            None => Err(MISSING_BRACE),
            Some('}') => Ok(match self.get(name) {
                None if self.options.skip_unset => Cow::Owned(format!("${{{name}}}")),
                value => Cow::Borrowed(value.unwrap_or("")),
            }),
            Some(':') => {
                let modifier = self.next();
                self.modified(name, modifier, ":")
            }
            Some(modifier @ ('+' | '-' | '?' | '#' | '%')) => {
                self.modified(name, Some(modifier), "")
            }
            Some('/') => self.replaced(name),
            Some(modifier) => Err(unsupported("", Some(modifier))),
        }
    }

    /// `${name:-word}` and its kin, after the modifier. With a `colon` an empty value is as good as
    /// none.
    fn modified(
        &mut self,
        name: &str,
        modifier: Option<char>,
        colon: &str,
    ) -> Result<Cow<'a, str>, Reason> {
        let is_pattern = matches!(modifier, Some('#' | '%'));
        if is_pattern && !colon.is_empty() {
            return Err(unsupported(colon, modifier));
        }
        let word = self.part('}', is_pattern, MISSING_BRACE)?;
        let value = self.get(name);
        if value.is_none() && self.options.skip_unset {
            let modifier = modifier.unwrap_or(char::REPLACEMENT_CHARACTER);
            return Ok(Cow::Owned(format!("${{{name}{colon}{modifier}{word}}}")));
        }
        let usable = value.filter(|value| colon.is_empty() || !value.is_empty());
        match modifier {
            Some('-') => Ok(usable.map_or(Cow::Owned(word), Cow::Borrowed)),
            Some('+') => Ok(usable.map_or(Cow::Borrowed(""), |_| Cow::Owned(word))),
            Some('?') => usable.map(Cow::Borrowed).ok_or_else(|| {
                let state = if value.is_none() { "unset" } else { "empty" };
                Cow::Owned(match word.as_str() {
                    "" => format!("{name}: is not allowed to be {state}"),
                    message => format!("{name}: {message}"),
                })
            }),
            Some(side @ ('#' | '%')) => {
                let (word, greedy) = match word.strip_prefix(side) {
                    Some(rest) => (rest, true),
                    None => (word.as_str(), false),
                };
                let value = value.unwrap_or("");
                Ok(Cow::Owned(if side == '#' {
                    pattern::trim_prefix(word, value, greedy)?
                } else {
                    pattern::trim_suffix(word, value, greedy)?
                }))
            }
            other => Err(unsupported(colon, other)),
        }
    }

    /// `${name/pattern/text}` and `${name//pattern/text}`, after the first slash.
    fn replaced(&mut self, name: &str) -> Result<Cow<'a, str>, Reason> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let from = self.part('/', true, MISSING_SLASH)?;
        let to = self.part('}', true, MISSING_BRACE)?;
        let value = self.get(name);
        if value.is_none() && self.options.skip_unset {
            return Ok(Cow::Owned(format!("${{{name}/{from}/{to}}}")));
        }
        let value = value.unwrap_or("");
        Ok(Cow::Owned(if all {
            pattern::replace_all(&from, value, &to, self.limit)?
        } else {
            pattern::replace_first(&from, value, &to)?
        }))
    }

    /// A word inside `${…}`. Whatever goes wrong at the end of the input is called a missing end.
    fn part(&mut self, stop: char, raw: bool, missing: Reason) -> Result<String, Reason> {
        match self.until(Some(stop), raw) {
            Ok((text, _)) => Ok(text),
            Err(_) if self.rest.is_empty() => Err(missing),
            Err(reason) => Err(reason),
        }
    }

    /// A variable's name, digits, or one of the shell's one-character parameters.
    fn name(&mut self) -> &'a str {
        let text = self.rest;
        let Some(first) = self.peek() else { return "" };
        let length = if is_digit(first) {
            text.find(|c| !is_digit(c)).unwrap_or(text.len())
        } else if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            1
        } else {
            text.find(|c| !is_name(c)).unwrap_or(text.len())
        };
        let (name, rest) = text.split_at(length);
        self.rest = rest;
        name
    }
}

fn unsupported(colon: &str, modifier: Option<char>) -> Reason {
    let modifier = modifier.unwrap_or(char::REPLACEMENT_CHARACTER);
    Cow::Owned(format!("unsupported modifier ({colon}{modifier}) in substitution"))
}
