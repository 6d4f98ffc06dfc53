//! The DNS messages a stub resolver needs: one question out, the addresses of its answer in.
//! Nothing here does I/O; answers are hostile bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    fn code(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    /// The name is known not to exist.
    NoSuchName,
    /// Too large for a datagram: ask again over TCP.
    Truncated,
    /// The server failed or refused: ask another one.
    Failed(u8),
}

/// A recursive query, or `None` when the name cannot be one.
pub(crate) fn query(id: u16, name: &str, family: Family) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(name.len() + 18);
    message.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question.
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let name = name.trim_end_matches('.');
    if name.is_empty() || name.len() > 253 {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&family.code().to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    Some(message)
}

/// Reads the answer to `query`. `None`: not an answer to it (a stray or forged datagram).
pub(crate) fn answer(query: &[u8], message: &[u8], family: Family) -> Option<Answer> {
    let question = query.get(12..)?;
    if message.get(..2)? != query.get(..2)? {
        return None;
    }
    let flags = (message.get(2)?, message.get(3)?);
    let echoed = message.get(12..12 + question.len())?;
    let is_answer = flags.0 & 0x80 != 0 && message.get(4..6)? == [0, 1];
    if !is_answer || !echoed.eq_ignore_ascii_case(question) {
        return None;
    }
    match flags.1 & 0x0f {
        0 => {}
        3 => return Some(Answer::NoSuchName),
        code => return Some(Answer::Failed(code)),
    }
    if flags.0 & 0x02 != 0 {
        return Some(Answer::Truncated);
    }
    let count = u16::from_be_bytes([*message.get(6)?, *message.get(7)?]);
    let mut at = 12 + question.len();
    let mut addresses = Vec::new();
    for _ in 0..count {
        // The server resolved the aliases: any address record in the answer is the name's.
        at = skip_name(message, at)?;
        let head = message.get(at..at + 10)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
        let value = message.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if kind == family.code() {
            addresses.push(match family {
                Family::V4 => Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into(),
                Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into(),
            });
        }
    }
    Some(Answer::Addresses(addresses))
}

/// The position behind a name. Pointers are not followed: where a name ends is all that matters.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192..=255 => return Some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(query: &[u8], flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = u8::try_from(records.len()).expect("few records");
        for (kind, value) in records {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&u16::try_from(value.len()).expect("short").to_be_bytes());
            message.extend_from_slice(value);
        }
        message
    }

    #[test]
    fn answers() {
        let asked = query(7, "a.example", Family::V4).expect("a name");
        let check = |message: &[u8], expected: Option<Answer>| {
            assert_eq!(answer(&asked, message, Family::V4), expected);
        };
        let alias: (u16, &[u8]) = (5, &[1, b'x', 0]);
        let good = reply(&asked, [0x81, 0x80], &[alias, (1, &[10, 0, 0, 1])]);
        check(&good, Some(Answer::Addresses(vec![IpAddr::from([10, 0, 0, 1])])));
        check(&reply(&asked, [0x81, 0x80], &[]), Some(Answer::Addresses(vec![])));
        check(&reply(&asked, [0x81, 0x83], &[]), Some(Answer::NoSuchName));
        check(&reply(&asked, [0x81, 0x82], &[]), Some(Answer::Failed(2)));
        check(&reply(&asked, [0x83, 0x80], &[]), Some(Answer::Truncated));
        // A query is no answer; another id, another question, a cut or a lying length neither.
        check(&asked, None);
        check(&reply(&query(8, "a.example", Family::V4).expect("a name"), [0x81, 0x80], &[]), None);
        check(&reply(&query(7, "b.example", Family::V4).expect("a name"), [0x81, 0x80], &[]), None);
        check(&reply(&asked, [0x81, 0x80], &[(1, &[10, 0, 0])]), None);
        for cut in 0..good.len() {
            check(&good[..cut], None);
        }
    }

    #[test]
    fn names_that_cannot_be_asked() {
        let check = |name: &str, good: bool| assert_eq!(query(1, name, Family::V6).is_some(), good);
        check("a.example.", true);
        check("", false);
        check("a..b", false);
        check(&"x".repeat(64), false);
        check(&"x.".repeat(130), false);
    }
}
