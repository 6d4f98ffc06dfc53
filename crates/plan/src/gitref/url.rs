//! Addresses as Go's `net/url` reads and writes them.
//!
//! Only what references need. It is Go's reading that decides what is a repository, and it keeps
//! an address closer to what the user wrote than the WHATWG rules do.

use std::fmt;

/// An address in parts, percent-decoded but for the host and the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: String,
    pub(crate) path: String,
    raw_path: String,
    force_query: bool,
    pub(crate) query: String,
    pub(crate) fragment: String,
}

/// Where a character stands decides whether it is escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    User,
    Host,
    Query,
    Fragment,
}

impl Url {
    /// Reads an address; the message is Go's.
    pub(crate) fn parse(text: &str) -> Result<Url, String> {
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let failed = |reason: String| format!("parse {text:?}: {reason}");
        let mut url = Url::parse_without_fragment(before).map_err(failed)?;
        url.fragment = lossy(unescape(fragment, Place::Fragment).map_err(failed)?);
        Ok(url)
    }

    fn parse_without_fragment(text: &str) -> Result<Url, String> {
        if text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (scheme, mut rest) = split_scheme(text)?;
        let mut url = Url { scheme: scheme.to_ascii_lowercase(), ..Url::default() };
        if rest.ends_with('?') && rest.matches('?').count() == 1 {
            url.force_query = true;
            rest = &rest[..rest.len() - 1];
        } else if let Some((path, query)) = rest.split_once('?') {
            url.query = query.to_owned();
            rest = path;
        }
        if !rest.starts_with('/') && rest.split('/').next().is_some_and(|part| part.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
        if let Some(after) = rest.strip_prefix("//")
            && (!url.scheme.is_empty() || !rest.starts_with("///"))
        {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, path) = after.split_at(end);
            url.set_authority(authority)?;
            rest = path;
        }
        url.path = lossy(unescape(rest, Place::Path)?);
        url.raw_path = rest.to_owned();
        Ok(url)
    }

    fn set_authority(&mut self, authority: &str) -> Result<(), String> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        self.host = parse_host(host)?;
        let Some(user) = user else { return Ok(()) };
        if !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b)) {
            return Err("net/url: invalid userinfo".to_owned());
        }
        self.user = Some(match user.split_once(':') {
            None => (unescape(user, Place::User)?, None),
            Some((name, password)) => {
                (unescape(name, Place::User)?, Some(unescape(password, Place::User)?))
            }
        });
        Ok(())
    }

    /// The path as it was written, if that is a valid way to write it.
    fn escaped_path(&self) -> String {
        let valid = self
            .raw_path
            .bytes()
            .all(|b| b"!$&'()*+,;=:@[]%".contains(&b) || !must_escape(b, Place::Path));
        if valid { self.raw_path.clone() } else { escape(self.path.as_bytes(), Place::Path) }
    }

    /// The last part of the path, where it has one.
    pub(crate) fn file_name(&self) -> Option<&str> {
        self.path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .filter(|name| !matches!(*name, "" | "." | ".."))
    }
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn parse_host(host: &str) -> Result<String, String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |colon| &host[colon..])
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let valid =
        port.is_empty() || port.starts_with(':') && digits.bytes().all(|b| b.is_ascii_digit());
    if !valid {
        return Err(format!("invalid port {port:?} after host"));
    }
    unescape(host, Place::Host).map(lossy)
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn unescape(text: &str, place: Place) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3);
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let hex = digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let Some(value) = value.filter(|_| hex) else {
                    let end = (at + 3).min(bytes.len());
                    let shown = String::from_utf8_lossy(&bytes[at..end]).into_owned();
                    return Err(format!("invalid URL escape {shown:?}"));
                };
                if place == Place::Host && value < 0x80 {
                    let shown = &text[at..at + 3];
                    return Err(format!("invalid URL escape {shown:?}"));
                }
                out.push(value);
                at += 3;
            }
            b'+' if place == Place::Query => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                if place == Place::Host && byte < 0x80 && must_escape(byte, Place::Host) {
                    let shown = char::from(byte).to_string();
                    return Err(format!("invalid character {shown:?} in host name"));
                }
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

fn must_escape(byte: u8, place: Place) -> bool {
    if byte.is_ascii_alphanumeric() {
        return false;
    }
    match (byte, place) {
        (b'-' | b'_' | b'.' | b'~', _) => false,
        (
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':'
            | b'[' | b']' | b'<' | b'>' | b'"',
            Place::Host,
        ) => false,
        (b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@', place) => match place
        {
            Place::Path => byte == b'?',
            Place::User => matches!(byte, b'@' | b'/' | b'?' | b':'),
            Place::Query => true,
            Place::Host => true,
            Place::Fragment => false,
        },
        (b'!' | b'(' | b')' | b'*', Place::Fragment) => false,
        _ => true,
    }
}

fn escape(bytes: &[u8], place: Place) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if must_escape(byte, place) {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

/// The pairs of a query, and whether all of it could be read.
pub(crate) fn parse_query(query: &str) -> (Vec<(String, String)>, bool) {
    let mut pairs = Vec::new();
    let mut valid = true;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match (unescape(key, Place::Query), unescape(value, Place::Query)) {
            (Ok(key), Ok(value)) if !part.contains(';') => pairs.push((lossy(key), lossy(value))),
            _ => valid = false,
        }
    }
    (pairs, valid)
}

/// An address as it may be shown: without the password.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            let name = user.split(':').next().unwrap_or("");
            format!("{scheme}://{name}:xxxxx@{host}{after}")
        }
        _ => text.to_owned(),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if !self.host.is_empty() || self.user.is_some() || !self.scheme.is_empty() {
            f.write_str("//")?;
        }
        if let Some((name, password)) = &self.user {
            f.write_str(&escape(name, Place::User))?;
            if let Some(password) = password {
                write!(f, ":{}", escape(password, Place::User))?;
            }
            f.write_str("@")?;
        }
        f.write_str(&escape(self.host.as_bytes(), Place::Host))?;
        let path = self.escaped_path();
        if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
            f.write_str("/")?;
        }
        f.write_str(&path)?;
        if self.force_query || !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", escape(self.fragment.as_bytes(), Place::Fragment))?;
        }
        Ok(())
    }
}
