//! [`ChangeSet`]: what a step changed, as `snapshot` and `copy` find it and `layer` writes it.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::names::{Iter, Names};
use crate::path::RootPath;

/// One difference between two states of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The path is new or differs: it is in the layer as it now is (a directory without what is
    /// below it).
    Upsert(RootPath),
    /// The path, and all that was below it, is gone: a whiteout.
    Remove(RootPath),
}

impl Change {
    /// Where.
    #[must_use]
    pub fn path(&self) -> &RootPath {
        match self {
            Change::Upsert(path) | Change::Remove(path) => path,
        }
    }
}

/// What holds for one name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing, but something below it changed.
    Through,
    Upserted,
    Removed,
    /// Removed first and then there again: what was below it before must not show through.
    Replaced,
}

/// What holds for a name once it is there.
fn upserted(before: Option<State>) -> State {
    match before {
        None | Some(State::Through | State::Upserted) => State::Upserted,
        Some(State::Removed | State::Replaced) => State::Replaced,
    }
}

/// Changes ordered by path and minimal: a removal of a directory stands for all that was below it.
///
/// Inserting has the meaning of one thing happening after the other. A path that was removed and
/// is there again is given as `Remove` followed by `Upsert` of the same path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// The root itself, which has no name in a directory.
    root: bool,
    /// Directory → name → state. Every directory on the way to a change has its own entry above,
    /// so that the order of paths is a walk down from the root. Keyed this way because a million
    /// changes are held in memory, and names are a fraction of paths.
    directories: BTreeMap<RootPath, Names<State>>,
}

impl ChangeSet {
    /// Nothing changed.
    #[must_use]
    pub fn new() -> ChangeSet {
        ChangeSet::default()
    }

    /// Adds what happened next.
    pub fn insert(&mut self, change: Change) {
        match change {
            Change::Upsert(path) => self.upsert(&path),
            Change::Remove(path) => self.remove(&path),
        }
    }

    /// Adds that `path` is now as it is.
    pub fn upsert(&mut self, path: &RootPath) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            self.root = true;
            return;
        };
        self.pass_through(&parent);
        let names = self.directories.entry(parent).or_default();
        names.set(name, upserted(names.get(name)));
    }

    /// Adds that all these names in `directory` are now as they are.
    pub fn upsert_names<'n>(
        &mut self,
        directory: &RootPath,
        names: impl IntoIterator<Item = &'n [u8]>,
    ) {
        let mut coming = names.into_iter().peekable();
        if coming.peek().is_none() {
            return;
        }
        self.pass_through(directory);
        let known = self.directories.entry(directory.clone()).or_default();
        for name in coming {
            known.set(name, upserted(known.get(name)));
        }
    }

    /// Adds that `path` is gone, with all below it. The root is never gone.
    pub fn remove(&mut self, path: &RootPath) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        let below: Vec<RootPath> = self
            .directories
            .range::<RootPath, _>((Bound::Included(path), Bound::Unbounded))
            .map(|(directory, _)| directory)
            .take_while(|directory| directory.starts_with(path))
            .cloned()
            .collect();
        for directory in below {
            self.directories.remove(&directory);
        }
        self.pass_through(&parent);
        self.directories.entry(parent).or_default().set(name, State::Removed);
    }

    /// Adds what happened in a later set.
    pub fn merge(&mut self, later: &ChangeSet) {
        for change in later.iter() {
            self.insert(change);
        }
    }

    /// Makes sure that a walk down from the root comes to `directory`. A directory that had been
    /// removed and now holds something is there again.
    fn pass_through(&mut self, directory: &RootPath) {
        let mut path = directory.clone();
        while let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let names = self.directories.entry(parent.clone()).or_default();
            match names.get(name) {
                Some(State::Removed) => return names.set(name, State::Replaced),
                Some(State::Through | State::Upserted | State::Replaced) => return,
                None => names.set(name, State::Through),
            }
            path = parent;
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.root && self.directories.is_empty()
    }

    /// How many changes [`ChangeSet::iter`] gives.
    #[must_use]
    pub fn len(&self) -> usize {
        let states = self.directories.values().flat_map(Names::iter);
        let count = |(_, state): (&[u8], State)| match state {
            State::Through => 0,
            State::Upserted | State::Removed => 1,
            State::Replaced => 2,
        };
        usize::from(self.root) + states.map(count).sum::<usize>()
    }

    /// Whether `path` itself is an upsert of this set.
    #[must_use]
    pub fn upserts(&self, path: &RootPath) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.root;
        };
        let state = self.directories.get(&parent).and_then(|names| names.get(name));
        matches!(state, Some(State::Upserted | State::Replaced))
    }

    /// The changes, ordered by path: a directory before what is below it.
    pub fn iter(&self) -> impl Iterator<Item = Change> + '_ {
        let root = self.root.then(|| Change::Upsert(RootPath::root()));
        let walk = Descent { set: self, stack: Vec::new(), second: None };
        root.into_iter().chain(walk.starting())
    }
}

impl Extend<Change> for ChangeSet {
    fn extend<T: IntoIterator<Item = Change>>(&mut self, changes: T) {
        for change in changes {
            self.insert(change);
        }
    }
}

impl FromIterator<Change> for ChangeSet {
    fn from_iter<T: IntoIterator<Item = Change>>(changes: T) -> ChangeSet {
        let mut set = ChangeSet::new();
        set.extend(changes);
        set
    }
}

/// One directory of a walk: where it is, and what of it is still to come.
type Level<'a> = (RootPath, Iter<'a, State>);

/// The walk down from the root that [`ChangeSet::iter`] is.
struct Descent<'a> {
    set: &'a ChangeSet,
    stack: Vec<Level<'a>>,
    /// The second half of a replacement.
    second: Option<Change>,
}

impl Descent<'_> {
    fn starting(mut self) -> Self {
        self.descend(&RootPath::root());
        self
    }

    fn descend(&mut self, path: &RootPath) {
        if let Some(names) = self.set.directories.get(path) {
            self.stack.push((path.clone(), names.iter()));
        }
    }
}

impl Iterator for Descent<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        if let Some(change) = self.second.take() {
            return Some(change);
        }
        while let Some((directory, names)) = self.stack.last_mut() {
            let Some((name, state)) = names.next() else {
                self.stack.pop();
                continue;
            };
            let path =
                directory.child(name).expect("because the path was whole when it was inserted");
            self.descend(&path);
            match state {
                State::Through => {}
                State::Upserted => return Some(Change::Upsert(path)),
                State::Removed => return Some(Change::Remove(path)),
                State::Replaced => {
                    self.second = Some(Change::Upsert(path.clone()));
                    return Some(Change::Remove(path));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+path` upserts, `-path` removes; the set is printed the same way.
    fn check(happened: &str, set: &str) {
        let mut changes = ChangeSet::new();
        for word in happened.split_whitespace() {
            let (sign, path) = word.split_at(1);
            let path = RootPath::new(path).expect("because it is short");
            changes.insert(if sign == "+" { Change::Upsert(path) } else { Change::Remove(path) });
        }
        let printed: Vec<_> = changes
            .iter()
            .map(|change| match change {
                Change::Upsert(path) => format!("+{path}"),
                Change::Remove(path) => format!("-{path}"),
            })
            .collect();
        assert_eq!(printed.join(" "), set, "after {happened}");
        assert_eq!(changes.len(), printed.len(), "length after {happened}");
        let again: ChangeSet = changes.iter().collect();
        assert_eq!(again, changes, "iterating and inserting give the same set");
    }

    #[test]
    fn changes_are_ordered_by_component() {
        check("", "");
        check("+/", "+/");
        check("+/b +/a", "+/a +/b");
        check("+/a.b +/a/c +/a +/a-b", "+/a +/a/c +/a-b +/a.b");
        check("+/x/y/z +/", "+/ +/x/y/z");
    }

    #[test]
    fn removals_cover_what_is_below() {
        check("-/a/b -/a", "-/a");
        check("+/a/b +/a/b/c -/a", "-/a");
        check("+/a.b +/a/b -/a", "-/a +/a.b");
        check("-/", "");
    }

    #[test]
    fn what_comes_later_wins() {
        check("+/a -/a", "-/a");
        check("-/a +/a", "-/a +/a");
        check("-/a +/a -/a", "-/a");
        check("-/a +/a/b", "-/a +/a +/a/b");
        check("-/a +/a +/a/b", "-/a +/a +/a/b");
        check("+/a/b/c -/a/b +/a/b/d", "-/a/b +/a/b +/a/b/d");
    }

    #[test]
    fn names_of_one_directory_are_added_together() {
        let path = |text: &str| RootPath::new(text).expect("because it is short");
        for before in ["", "-/d", "-/d/a", "+/d/b/c", "+/d/a -/d"] {
            let (mut together, mut alone) = (ChangeSet::new(), ChangeSet::new());
            for word in before.split_whitespace() {
                let (sign, name) = word.split_at(1);
                for set in [&mut together, &mut alone] {
                    if sign == "+" { set.upsert(&path(name)) } else { set.remove(&path(name)) }
                }
            }
            together.upsert_names(&path("/d"), [&b"b"[..], &b"a"[..]]);
            together.upsert_names(&path("/e"), []);
            alone.upsert(&path("/d/a"));
            alone.upsert(&path("/d/b"));
            assert_eq!(together, alone, "after {before}");
        }
    }

    #[test]
    fn merging_is_inserting_in_order() {
        let path = |text: &str| RootPath::new(text).expect("because it is short");
        let mut first: ChangeSet =
            [Change::Upsert(path("/a")), Change::Upsert(path("/a/b"))].into_iter().collect();
        first.merge(&[Change::Remove(path("/a"))].into_iter().collect());
        assert_eq!(first.iter().collect::<Vec<_>>(), [Change::Remove(path("/a"))]);
        assert!(!first.upserts(&path("/a")));
    }
}
