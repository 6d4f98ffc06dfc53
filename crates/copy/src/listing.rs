//! The files of a source as they are remembered, so that a later difference can be named.
//!
//! Of very many files not each is remembered: they are put together by the directories right below
//! the source, and if those are too many as well, all in one.

use blake3::Hash;
use rootfs::RootPath;

/// No more than this many lines are kept of one source.
const MOST: usize = 4096;
/// Half of a hash is enough to tell two files apart.
const HALF: usize = 16;

/// One file of a source, or several together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// Where it is in its tree, without a leading slash. With a slash at the end it is a directory,
    /// and then with all that is in it when there are very many files; empty for all together.
    pub path: String,
    /// Half of the hash of all that a copy has of it, as 32 hexadecimal digits.
    pub hash: String,
}

/// How much of a path a line stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Grain {
    #[default]
    Each,
    Directories,
    All,
}

#[derive(Clone, Debug)]
struct Line {
    path: String,
    /// How much of `path` is left when it is put together with its neighbours.
    group: usize,
    hash: [u8; HALF],
}

/// Lines in the order of a walk.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    grain: Grain,
    lines: Vec<Line>,
}

impl Listing {
    /// Adds what is at `relative` below `top`.
    pub(crate) fn add(&mut self, top: &RootPath, relative: &[u8], is_dir: bool, hash: &Hash) {
        let hash = half(hash);
        if self.grain == Grain::All {
            return self.put(Line { path: String::new(), group: 0, hash });
        }
        let slash = relative.iter().position(|byte| *byte == b'/');
        let first = &relative[..slash.unwrap_or(relative.len())];
        let mut path = shown(top, first);
        if slash.is_some() || is_dir {
            path.push('/');
        }
        let group = path.len();
        if self.grain == Grain::Each && slash.is_some() {
            path = shown(top, relative);
            if is_dir {
                path.push('/');
            }
        }
        self.put(Line { path, group, hash });
    }

    fn put(&mut self, line: Line) {
        match self.lines.last_mut() {
            // The walk comes to what belongs together in one go.
            Some(last) if self.grain != Grain::Each && last.path == line.path => {
                last.hash = together(&last.hash, &line.hash);
            }
            _ => self.lines.push(line),
        }
        if self.lines.len() > MOST {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.grain = match self.grain {
            Grain::Each => Grain::Directories,
            Grain::Directories | Grain::All => Grain::All,
        };
        let grain = self.grain;
        for mut line in std::mem::take(&mut self.lines) {
            line.path.truncate(if grain == Grain::All { 0 } else { line.group });
            self.put(line);
        }
    }

    pub(crate) fn finish(self) -> Vec<FileIdentity> {
        let lines = self.lines.into_iter();
        lines.map(|line| FileIdentity { path: line.path, hash: hex(&line.hash) }).collect()
    }
}

/// The path of `relative` below `top` for people, without a leading slash.
fn shown(top: &RootPath, relative: &[u8]) -> String {
    let path = top.join(relative).unwrap_or_else(|_| top.clone());
    let mut path = path.to_string();
    path.remove(0);
    path
}

fn half(hash: &Hash) -> [u8; HALF] {
    let mut half = [0; HALF];
    half.copy_from_slice(&hash.as_bytes()[..HALF]);
    half
}

fn together(a: &[u8; HALF], b: &[u8; HALF]) -> [u8; HALF] {
    half(&blake3::hash(&[*a, *b].concat()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths that are left of `paths` below `/src`, and whether another hash of `changed`
    /// changes only the line `shows`.
    fn check(paths: &[String], changed: &str, shows: &str, lines: usize) {
        let top = RootPath::new("/src").expect("because it is short");
        let list = |odd: bool| {
            let mut listing = Listing::default();
            for path in paths {
                let text = format!("{path}{}", odd && path == changed);
                let plain = path.trim_end_matches('/');
                let hash = blake3::hash(text.as_bytes());
                listing.add(&top, plain.as_bytes(), path.ends_with('/'), &hash);
            }
            listing.finish()
        };
        let (before, after) = (list(false), list(true));
        assert_eq!(before.len(), lines);
        assert_eq!(after.len(), lines);
        let differ = before.iter().zip(&after).filter(|(old, new)| old != new);
        assert_eq!(differ.map(|(_, new)| new.path.as_str()).collect::<Vec<_>>(), [shows]);
    }

    #[test]
    fn few_files_are_told_one_by_one() {
        let paths = ["a", "d/", "d/b", "d/e/", "d/e/c"].map(str::to_owned);
        check(&paths, "d/e/c", "src/d/e/c", 5);
        check(&paths, "d/e/", "src/d/e/", 5);
        check(&paths, "a", "src/a", 5);
    }

    #[test]
    fn many_files_are_told_by_the_directory() {
        let mut paths = vec!["a".to_owned(), "empty/".to_owned()];
        for directory in 0..20 {
            paths.push(format!("{directory}/"));
            paths.extend((0..300).map(|file| format!("{directory}/deep/{file}")));
        }
        check(&paths, "7/deep/3", "src/7/", 22);
        check(&paths, "7/", "src/7/", 22);
        check(&paths, "empty/", "src/empty/", 22);
        check(&paths, "a", "src/a", 22);
    }

    #[test]
    fn too_many_directories_are_told_together() {
        let paths: Vec<_> = (0..5000).map(|file| format!("{file}/x")).collect();
        check(&paths, "4999/x", "", 1);
        check(&paths, "0/x", "", 1);
    }
}
