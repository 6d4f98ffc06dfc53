//! HTTP/1.1 on a socket, as little of it as a registry needs.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;

/// A request with its body still on the wire.
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The same request with nothing asked for beside the path.
    pub(crate) fn without_query(&self) -> Head {
        let (method, path) = (self.method.clone(), self.path.clone());
        Head { method, path, query: Vec::new(), headers: self.headers.clone() }
    }

    pub(crate) fn shown(&self) -> String {
        let query: Vec<String> =
            self.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, query.join("&"))
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value.into());
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value));
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// An error as registries write it.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let text = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"{code}\"}}]}}");
        Self::new(status).header("Content-Type", "application/json").body(text)
    }
}

pub(crate) struct Connection {
    pub(crate) reader: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// The next request; `None` when the client has gone.
    pub(crate) fn head(&mut self) -> Option<Head> {
        if self.reader.fill_buf().ok()?.first() == Some(&0x16) {
            // A TLS greeting: there is no newline to wait for.
            return None;
        }
        let mut line = String::new();
        self.reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).ok()?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = pairs(query);
        Some(Head { method, path: decode(path), query, headers })
    }

    /// The body: `share` of it, 1 for all.
    pub(crate) fn body(&mut self, head: &Head, share: u64) -> Option<Vec<u8>> {
        let chunked = head.header("transfer-encoding").is_some();
        if chunked {
            return self.chunked();
        }
        let length: u64 =
            head.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = Vec::new();
        let wanted = length / share;
        let read = self.reader.by_ref().take(wanted).read_to_end(&mut body).ok()?;
        (read as u64 == wanted).then_some(body)
    }

    fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).ok()?;
            let length = u64::from_str_radix(line.trim(), 16).ok()?;
            self.reader.by_ref().take(length).read_to_end(&mut body).ok()?;
            self.reader.read_line(&mut String::new()).ok()?;
            if length == 0 {
                return Some(body);
            }
        }
    }

    /// Sends status and headers. `length` overrides the body's.
    pub(crate) fn send_head(
        &mut self,
        answer: &Answer,
        length: Option<u64>,
    ) -> std::io::Result<()> {
        let mut text = format!("HTTP/1.1 {} Status\r\n", answer.status);
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        self.send(text.as_bytes())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Ends the connection by a reset, as a dying proxy or a NAT does.
    pub(crate) fn reset(self) {
        let linger = Some(std::time::Duration::ZERO);
        let _ = rustix::net::sockopt::set_socket_linger(self.reader.get_ref(), linger);
    }
}

/// The fields of a form.
pub(crate) fn form(text: &str) -> Vec<(String, String)> {
    pairs(&text.replace('+', " "))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = code.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
