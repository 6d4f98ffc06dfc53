//! [`Names`]: the names of one directory and what is to be said of each, in order and compact,
//! because a million of them may be held in memory.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;

/// An ordered map from names to something small.
///
/// Names mostly come in order, one behind the other: those share one text. One that comes late has
/// a place of its own, so that no order of coming makes it slow.
#[derive(Clone, Debug)]
pub(crate) struct Names<T> {
    text: Vec<u8>,
    rows: Vec<Row<T>>,
    late: BTreeMap<Box<[u8]>, T>,
}

#[derive(Clone, Copy, Debug)]
struct Row<T> {
    start: u32,
    length: u16,
    value: T,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names { text: Vec::new(), rows: Vec::new(), late: BTreeMap::new() }
    }
}

fn text_of<'t, T>(text: &'t [u8], row: &Row<T>) -> &'t [u8] {
    // Starts are positions in what is in memory.
    let start = row.start as usize;
    &text[start..start + usize::from(row.length)]
}

impl<T: Copy> Names<T> {
    fn row(&self, name: &[u8]) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| text_of(&self.text, row).cmp(name))
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<T> {
        match self.row(name) {
            Ok(row) => Some(self.rows[row].value),
            Err(_) => self.late.get(name).copied(),
        }
    }

    /// Sets what is to be said of a name.
    pub(crate) fn set(&mut self, name: &[u8], value: T) {
        let place = self.row(name);
        if let Ok(row) = place {
            self.rows[row].value = value;
            return;
        }
        if let Some(old) = self.late.get_mut(name) {
            *old = value;
            return;
        }
        let start = u32::try_from(self.text.len());
        match (place, start, u16::try_from(name.len())) {
            (Err(row), Ok(start), Ok(length)) if row == self.rows.len() => {
                self.text.extend_from_slice(name);
                self.rows.push(Row { start, length, value });
            }
            _ => drop(self.late.insert(Box::from(name), value)),
        }
    }

    /// All of them, ordered by name.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter { text: &self.text, rows: self.rows.iter(), late: self.late.iter().peekable() }
    }
}

/// Two maps are alike if they say the same, however they came to it.
impl<T: Copy + PartialEq> PartialEq for Names<T> {
    fn eq(&self, other: &Names<T>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Copy + Eq> Eq for Names<T> {}

/// What [`Names::iter`] gives.
pub(crate) struct Iter<'a, T> {
    text: &'a [u8],
    rows: std::slice::Iter<'a, Row<T>>,
    late: Peekable<btree_map::Iter<'a, Box<[u8]>, T>>,
}

impl<'a, T: Copy> Iterator for Iter<'a, T> {
    type Item = (&'a [u8], T);

    fn next(&mut self) -> Option<(&'a [u8], T)> {
        let text = self.text;
        let row = self.rows.as_slice().first().map(|row| (text_of(text, row), row.value));
        let first_late = self.late.peek().map(|(name, _)| name.as_ref());
        if first_late.is_some_and(|late| row.is_none_or(|(name, _)| late < name)) {
            return self.late.next().map(|(name, value)| (name.as_ref(), *value));
        }
        self.rows.next();
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets names one after the other (`a3` says 3 of `a`); then as they are given back, and how
    /// many came late.
    fn check(set: &str, wanted: &str, late: usize) {
        let mut names = Names::default();
        for word in set.split_whitespace() {
            let (name, value) = word.split_at(word.len() - 1);
            names.set(name.as_bytes(), value.parse::<u8>().expect("because it is a digit"));
        }
        let printed: Vec<_> = names
            .iter()
            .map(|(name, value)| format!("{}{value}", String::from_utf8_lossy(name)))
            .collect();
        assert_eq!((printed.join(" ").as_str(), names.late.len()), (wanted, late), "{set}");
        for (name, value) in names.iter() {
            assert_eq!(names.get(name), Some(value));
        }
        assert_eq!(names.get(b"none"), None);
        let mut again = Names::default();
        names.iter().for_each(|(name, value)| again.set(name, value));
        assert!(again == names && again.late.is_empty());
    }

    #[test]
    fn names_are_in_order_however_they_come() {
        check("", "", 0);
        check("a1 b2 ba3 c4", "a1 b2 ba3 c4", 0);
        check("c1 b2 a3 d4", "a3 b2 c1 d4", 2);
        check("b1 a2 a3 b4 c5", "a3 b4 c5", 1);
        check("m1 z2 x3 a4 zz5 y6", "a4 m1 x3 y6 z2 zz5", 3);
    }

    #[test]
    fn names_are_small() {
        assert_eq!(size_of::<Row<u8>>(), 8);
    }
}
