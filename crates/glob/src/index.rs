//! Which of many patterns match a path, without asking each of them.
//!
//! Every pattern hangs on something it cannot match without: the whole path, the last name, the
//! last or the first byte. A path looks at the few patterns that hang on what it has.

use std::collections::HashMap;

use crate::compile::Matcher;

/// Patterns by what they need.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    by_path: HashMap<Vec<u8>, Vec<u32>>,
    by_name: HashMap<Vec<u8>, Vec<u32>>,
    by_last: Vec<Vec<u32>>,
    by_first: Vec<Vec<u32>>,
    others: Vec<u32>,
}

impl Index {
    pub(crate) fn new<'a>(matchers: impl Iterator<Item = &'a Matcher>) -> Self {
        let mut index = Self {
            by_path: HashMap::new(),
            by_name: HashMap::new(),
            by_last: vec![Vec::new(); 256],
            by_first: vec![Vec::new(); 256],
            others: Vec::new(),
        };
        for (matcher, number) in matchers.zip(0..) {
            index.add(matcher, number);
        }
        index
    }

    fn add(&mut self, matcher: &Matcher, number: u32) {
        let (head, tail): (&[u8], &[u8]) = match matcher {
            Matcher::Exact(text) => {
                self.by_path.entry(text.clone()).or_default().push(number);
                return;
            }
            Matcher::Prefix(text) => (text, b""),
            Matcher::Suffix(text) => (b"", text),
            Matcher::Sequence(sequence) => (sequence.head(), sequence.tail()),
        };
        if let Some(slash) = tail.iter().rposition(|&byte| byte == b'/') {
            self.by_name.entry(tail[slash + 1..].to_vec()).or_default().push(number);
        } else if let Some(&last) = tail.last() {
            self.by_last[usize::from(last)].push(number);
        } else if let Some(&first) = head.first() {
            self.by_first[usize::from(first)].push(number);
        } else {
            self.others.push(number);
        }
    }

    /// Calls `found` with the number of every pattern that may match `path`, in no order.
    pub(crate) fn candidates(&self, path: &[u8], mut found: impl FnMut(u32)) {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let hashed = |map: &HashMap<Vec<u8>, Vec<u32>>, key: &[u8], found: &mut dyn FnMut(u32)| {
            if !map.is_empty() {
                map.get(key).into_iter().flatten().for_each(|&number| found(number));
            }
        };
        hashed(&self.by_path, path, &mut found);
        hashed(&self.by_name, name, &mut found);
        let bucket = |buckets: &[Vec<u32>], byte: Option<&u8>, found: &mut dyn FnMut(u32)| {
            if let Some(&byte) = byte {
                buckets[usize::from(byte)].iter().for_each(|&number| found(number));
            }
        };
        bucket(&self.by_last, path.last(), &mut found);
        bucket(&self.by_first, path.first(), &mut found);
        self.others.iter().for_each(|&number| found(number));
    }
}
