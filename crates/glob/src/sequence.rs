//! The automaton both pattern languages compile to: a straight line of items.
//!
//! Every item consumes one character, some of them any number of times, some may be skipped. There
//! is no alternation and no nesting, so a set of positions describes every way a match can go on,
//! and matching takes one pass over the text: nothing to backtrack into.

use crate::bytes::{as_go_sees, decode};

const SLASH: u32 = b'/' as u32;
const NEWLINE: u32 = b'\n' as u32;

/// Which characters an item accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Set {
    /// Exactly this one (an invalid byte by its own code).
    Rune(u32),
    /// Any but the slash.
    NotSlash,
    /// A bracket expression.
    Class(Class),
}

/// A bracket expression: closed ranges, as Go sees characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Class {
    pub(crate) negated: bool,
    pub(crate) ranges: Vec<(u32, u32)>,
}

impl Set {
    fn accepts(&self, rune: u32) -> bool {
        match self {
            Self::Rune(wanted) => rune == *wanted,
            Self::NotSlash => rune != SLASH,
            Self::Class(class) => {
                let rune = as_go_sees(rune);
                class.negated != class.ranges.iter().any(|&(low, high)| low <= rune && rune <= high)
            }
        }
    }
}

/// One position of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// One character.
    One(Set),
    /// Any number of characters.
    Star(Set),
    /// Any number of characters but newlines.
    Anything,
    /// The next item ([`Item::Directories`]) may be skipped.
    Maybe,
    /// Any characters but newlines, up to and with a slash.
    Directories,
}

/// What to ask of the positions left at the end of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The whole line was consumed.
    End,
    /// More text could still bring it to its end.
    Alive,
}

/// A compiled line, with the literal text at both its ends kept apart for quick refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    items: Vec<Item>,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The items between head and tail.
    middle: std::ops::Range<usize>,
    /// The longest literal text in the middle.
    needle: Vec<u8>,
}

impl Sequence {
    pub(crate) fn new(items: Vec<Item>) -> Self {
        let mut head = String::new();
        let mut first = 0;
        while let Some(character) = items.get(first).and_then(literal) {
            head.push(character);
            first += 1;
        }
        let mut tail = Vec::new();
        let mut last = items.len();
        while last > first
            && let Some(character) = literal(&items[last - 1])
        {
            tail.push(character);
            last -= 1;
        }
        let tail: String = tail.into_iter().rev().collect();
        let needle = literals(&items[first..last]).max_by_key(String::len).unwrap_or_default();
        let [head, tail, needle] = [head, tail, needle].map(String::into_bytes);
        Self { items, head, tail, middle: first..last, needle }
    }

    /// The literal text every match begins with.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The stretches of literal text that every match contains.
    pub(crate) fn literals(&self) -> impl Iterator<Item = String> + '_ {
        literals(&self.items)
    }

    /// The literal text every match ends with.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(self.head.as_slice()) else { return false };
        let Some(rest) = rest.strip_suffix(self.tail.as_slice()) else { return false };
        match &self.items[self.middle.clone()] {
            [] => rest.is_empty(),
            [Item::Star(Set::NotSlash)] => !rest.contains(&b'/'),
            [Item::Maybe, Item::Directories, Item::Star(Set::NotSlash)] => {
                // A newline may only stand where no directory has to reach over it.
                match rest.iter().position(|&byte| byte == b'\n') {
                    None => true,
                    Some(newline) => !rest[newline..].contains(&b'/'),
                }
            }
            middle => holds(rest, &self.needle) && run(middle, rest, Ask::End),
        }
    }

    /// Whether some text that begins with `text` matches.
    pub(crate) fn may_match_below(&self, text: &[u8]) -> bool {
        run(&self.items, text, Ask::Alive)
    }
}

fn literal(item: &Item) -> Option<char> {
    match item {
        Item::One(Set::Rune(rune)) => char::from_u32(*rune),
        _ => None,
    }
}

fn literals(items: &[Item]) -> impl Iterator<Item = String> + '_ {
    let runs = items.split(|item| literal(item).is_none());
    runs.map(|run| run.iter().filter_map(literal).collect())
}

fn holds(text: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || text.windows(needle.len()).any(|window| window == needle)
}

fn run(items: &[Item], text: &[u8], ask: Ask) -> bool {
    if items.len() < 64 {
        run_in::<Word>(items, text, ask)
    } else {
        run_in::<Words>(items, text, ask)
    }
}

/// A set of positions.
trait Positions: Clone {
    fn empty(size: usize) -> Self;
    fn insert(&mut self, position: usize);
    fn contains(&self, position: usize) -> bool;
    /// The first position in the set from `start` on.
    fn next(&self, start: usize) -> Option<usize>;
    fn clear(&mut self);
}

/// Positions below 64: all patterns but the longest.
#[derive(Clone)]
struct Word(u64);

impl Positions for Word {
    fn empty(_: usize) -> Self {
        Self(0)
    }
    fn insert(&mut self, position: usize) {
        self.0 |= 1 << position;
    }
    fn contains(&self, position: usize) -> bool {
        self.0 >> position & 1 == 1
    }
    fn next(&self, start: usize) -> Option<usize> {
        let later = if start < 64 { self.0 >> start << start } else { 0 };
        (later != 0).then(|| later.trailing_zeros() as usize)
    }
    fn clear(&mut self) {
        self.0 = 0;
    }
}

/// Any positions.
#[derive(Clone)]
struct Words(Vec<bool>);

impl Positions for Words {
    fn empty(size: usize) -> Self {
        Self(vec![false; size])
    }
    fn insert(&mut self, position: usize) {
        self.0[position] = true;
    }
    fn contains(&self, position: usize) -> bool {
        self.0[position]
    }
    fn next(&self, start: usize) -> Option<usize> {
        self.0.iter().skip(start).position(|&set| set).map(|ahead| start + ahead)
    }
    fn clear(&mut self) {
        self.0.fill(false);
    }
}

fn run_in<P: Positions>(items: &[Item], mut text: &[u8], ask: Ask) -> bool {
    let mut now = P::empty(items.len() + 1);
    let mut next = now.clone();
    now.insert(0);
    skip(items, &mut now);
    while !text.is_empty() {
        let (rune, width) = decode(text);
        text = &text[width..];
        next.clear();
        let mut at = now.next(0);
        while let Some(position) = at {
            if let Some(item) = items.get(position) {
                step(item, position, rune, &mut next);
            }
            at = now.next(position + 1);
        }
        if next.next(0).is_none() {
            return false;
        }
        skip(items, &mut next);
        std::mem::swap(&mut now, &mut next);
    }
    match ask {
        Ask::End => now.contains(items.len()),
        // Every item accepts something, so each position but the last can still reach the end.
        Ask::Alive => now.next(0).is_some_and(|first| first < items.len()),
    }
}

/// Where `item` at `position` goes with `rune`.
fn step<P: Positions>(item: &Item, position: usize, rune: u32, next: &mut P) {
    match item {
        Item::One(set) if set.accepts(rune) => next.insert(position + 1),
        Item::Star(set) if set.accepts(rune) => next.insert(position),
        Item::Anything if rune != NEWLINE => next.insert(position),
        Item::Directories => {
            if rune != NEWLINE {
                next.insert(position);
            }
            if rune == SLASH {
                next.insert(position + 1);
            }
        }
        Item::One(_) | Item::Star(_) | Item::Anything | Item::Maybe => {}
    }
}

/// Adds the positions reachable without text. One pass suffices: they all lie ahead.
fn skip<P: Positions>(items: &[Item], positions: &mut P) {
    let mut at = positions.next(0);
    while let Some(position) = at {
        match items.get(position) {
            Some(Item::Star(_) | Item::Anything) => positions.insert(position + 1),
            Some(Item::Maybe) => {
                positions.insert(position + 1);
                positions.insert(position + 2);
            }
            Some(Item::One(_) | Item::Directories) | None => {}
        }
        at = positions.next(position + 1);
    }
}
