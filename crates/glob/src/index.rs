//! Which of many patterns match a path, without asking each of them.
//!
//! Every pattern hangs on something it cannot match without: the whole path, the last name, the
//! last or the first byte. A path looks at the few patterns that hang on what it has, and passes
//! over those that need a pair of neighbouring bytes it does not have.

use std::collections::HashMap;

use crate::compile::Matcher;

/// Patterns by what they need.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    by_path: HashMap<Vec<u8>, Vec<u32>>,
    by_name: HashMap<Vec<u8>, Vec<Candidate>>,
    by_last: Vec<Vec<Candidate>>,
    by_first: Vec<Vec<Candidate>>,
    others: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    number: u32,
    /// The pairs of bytes it needs.
    pairs: Pairs,
}

/// A set of pairs of neighbouring bytes, by a hash: a pair that is in may seem to be, never not.
#[derive(Debug, Clone, Copy, Default)]
struct Pairs(u128);

impl Pairs {
    fn of(text: &[u8]) -> Self {
        let mut pairs = 0;
        for pair in text.windows(2) {
            let mixed = u32::from(pair[0]).wrapping_mul(37).wrapping_add(u32::from(pair[1]));
            pairs |= 1 << (mixed % 128);
        }
        Self(pairs)
    }

    fn includes(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
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
        let (head, tail, pairs): (&[u8], &[u8], Pairs) = match matcher {
            Matcher::Exact(text) => {
                self.by_path.entry(text.clone()).or_default().push(number);
                return;
            }
            Matcher::Prefix(text) => (text, b"", Pairs::of(text)),
            // A leading slash is not there when the path is the name alone.
            Matcher::Suffix(text) => {
                (b"", text, Pairs::of(text.strip_prefix(b"/").unwrap_or(text)))
            }
            Matcher::Sequence(sequence) => {
                let pairs = sequence.literals().map(|text| Pairs::of(text.as_bytes()).0);
                (sequence.head(), sequence.tail(), Pairs(pairs.fold(0, |all, text| all | text)))
            }
        };
        let list = if let Some(slash) = tail.iter().rposition(|&byte| byte == b'/') {
            self.by_name.entry(tail[slash + 1..].to_vec()).or_default()
        } else if let Some(&last) = tail.last() {
            &mut self.by_last[usize::from(last)]
        } else if let Some(&first) = head.first() {
            &mut self.by_first[usize::from(first)]
        } else {
            &mut self.others
        };
        list.push(Candidate { number, pairs });
    }

    /// Calls `found` with the number of every pattern that may match `path`, in no order.
    pub(crate) fn candidates(&self, path: &[u8], mut found: impl FnMut(u32)) {
        if !self.by_path.is_empty()
            && let Some(numbers) = self.by_path.get(path)
        {
            numbers.iter().for_each(|&number| found(number));
        }
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let named = if self.by_name.is_empty() { None } else { self.by_name.get(name) };
        let lists = named
            .into_iter()
            .flatten()
            .chain(bucket(&self.by_last, path.last()))
            .chain(bucket(&self.by_first, path.first()))
            .chain(&self.others);
        let mut pairs = None;
        for candidate in lists {
            let pairs = *pairs.get_or_insert_with(|| Pairs::of(path));
            if pairs.includes(candidate.pairs) {
                found(candidate.number);
            }
        }
    }
}

fn bucket<'a>(buckets: &'a [Vec<Candidate>], byte: Option<&u8>) -> &'a [Candidate] {
    byte.map_or(&[], |&byte| &buckets[usize::from(byte)])
}
