//! All small archives, compared with a model of a file system that fits on a page.
//!
//! Names are few, so that entries meet: a link is replaced, written through, hidden, linked. Where
//! the model gives an error, so must we; else the trees are the same.

use std::collections::{BTreeMap, BTreeSet};

use testkit::ScratchRoot;
use testkit::tar_builder::TarBuilder;
use testkit::tree::{Shown, make, print_with};

use super::apply_as_anyone;

/// An entry of the archives tried.
#[derive(Clone, Copy, Debug)]
enum Kind {
    File,
    Dir,
    Symlink(&'static str),
    HardLink(&'static str),
    Whiteout,
    Opaque,
}

type Row = (Kind, &'static str);

const ROWS: [Row; 14] = [
    (Kind::File, "a"),
    (Kind::File, "a/b"),
    (Kind::Dir, "a"),
    (Kind::Symlink("c"), "a"),
    (Kind::Symlink("/"), "a"),
    (Kind::HardLink("a"), "c"),
    (Kind::Whiteout, "a"),
    (Kind::Whiteout, "a/b"),
    (Kind::Opaque, "a"),
    (Kind::Dir, "c"),
    // From here on only in the shorter archives.
    (Kind::Dir, "a/b"),
    (Kind::Symlink("../a"), "c"),
    (Kind::HardLink("a/b"), "a"),
    (Kind::File, "c/b"),
];

const LOWER: &str = "d 0700 /a\nf 0644 /a/b \"lower\"\nf 0644 /a/z \"lower\"\nd 0700 /c";

type Path = Vec<String>;

#[derive(Clone, Debug)]
enum Node {
    File { ino: usize, content: String },
    Link { ino: usize, target: String },
    Dir { mode: u32 },
}

impl Node {
    fn ino(&self) -> Option<usize> {
        match self {
            Self::File { ino, .. } | Self::Link { ino, .. } => Some(*ino),
            Self::Dir { .. } => None,
        }
    }
}

/// The model. `Err` is an error of any kind.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<Path, Node>,
    made: BTreeSet<Path>,
    serial: usize,
}

impl Model {
    fn lower() -> Self {
        let mut model = Self::default();
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Path>();
        model.nodes.insert(path("a"), Node::Dir { mode: 0o700 });
        for name in ["a/b", "a/z"] {
            model.serial += 1;
            let file = Node::File { ino: model.serial, content: "lower".to_owned() };
            model.nodes.insert(path(name), file);
        }
        model.nodes.insert(path("c"), Node::Dir { mode: 0o700 });
        model
    }

    fn place(&mut self, kind: Kind, name: &str, content: &str) -> Result<(), ()> {
        let (parent, name) = self.locate(name)?;
        let path = [&parent[..], &[name]].concat();
        match kind {
            Kind::Whiteout => {
                if self.is_dir(&parent)? {
                    self.hide(&path);
                }
                return Ok(());
            }
            // An opaque marker lies in the directory that is named here.
            Kind::Opaque => {
                let directory = self.resolve(&path)?;
                if self.is_dir(&directory)? {
                    self.hide_children(&directory);
                }
                return Ok(());
            }
            _ => {}
        }
        for depth in 1..=parent.len() {
            let above = parent[..depth].to_vec();
            if !self.is_dir(&above)? {
                self.nodes.insert(above.clone(), Node::Dir { mode: 0o755 });
                self.made.insert(above);
            }
        }
        self.serial += 1;
        let ino = self.serial;
        let node = match kind {
            Kind::File => Node::File { ino, content: content.to_owned() },
            Kind::Symlink(target) => Node::Link { ino, target: target.to_owned() },
            Kind::Dir => Node::Dir { mode: 0o711 },
            Kind::HardLink(target) => {
                let (parent, name) = self.locate(target)?;
                let source = [&parent[..], &[name]].concat();
                self.is_dir(&parent)?;
                let node = self.nodes.get(&source).cloned().ok_or(())?;
                let ino = node.ino().ok_or(())?;
                if self.nodes.get(&path).and_then(Node::ino) != Some(ino) {
                    self.remove(&path);
                    self.nodes.get(&source).ok_or(())?;
                }
                node
            }
            Kind::Whiteout | Kind::Opaque => return Err(()),
        };
        let merges = |node: &Node| matches!(node, Node::Dir { .. });
        if !(merges(&node) && self.nodes.get(&path).is_some_and(merges)) {
            self.remove(&path);
        }
        self.nodes.insert(path.clone(), node);
        self.made.insert(path);
        Ok(())
    }

    fn remove(&mut self, path: &[String]) {
        self.nodes.retain(|other, _| !other.starts_with(path));
    }

    fn hide(&mut self, path: &Path) {
        let made = self.made.contains(path);
        let below = self.made.iter().any(|other| other != path && other.starts_with(path));
        if !made && !below {
            return self.remove(path);
        }
        if !matches!(self.nodes.get(path), Some(Node::Dir { .. })) {
            return;
        }
        self.hide_children(path);
        if !made {
            self.nodes.insert(path.clone(), Node::Dir { mode: 0o755 });
        }
    }

    fn hide_children(&mut self, directory: &Path) {
        let is_child =
            |path: &&Path| path.len() == directory.len() + 1 && path.starts_with(directory);
        let children: Vec<Path> = self.nodes.keys().filter(is_child).cloned().collect();
        children.iter().for_each(|child| self.hide(child));
    }

    /// The resolved directory of a name, and its last component.
    fn locate(&self, name: &str) -> Result<(Path, String), ()> {
        let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
        let parent: Path = parent.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        Ok((self.resolve(&parent)?, last.to_owned()))
    }

    /// Whether a directory is there; something else there is an error.
    fn is_dir(&self, path: &[String]) -> Result<bool, ()> {
        match self.nodes.get(path) {
            _ if path.is_empty() => Ok(true),
            None => Ok(false),
            Some(Node::Dir { .. }) => Ok(true),
            Some(_) => Err(()),
        }
    }

    /// Follows every link; what is missing stays as written.
    fn resolve(&self, path: &[String]) -> Result<Path, ()> {
        let mut todo: Vec<String> = path.iter().rev().cloned().collect();
        let mut done = Path::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match &name[..] {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(name),
            }
            match self.nodes.get(&done) {
                Some(Node::Link { target, .. }) => {
                    links += 1;
                    if links > 40 {
                        return Err(());
                    }
                    done.pop();
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(Node::File { .. }) if !todo.is_empty() => return Err(()),
                _ => {}
            }
        }
        Ok(done)
    }

    /// The tree in the notation of the tests.
    fn print(&self) -> String {
        let mut first = BTreeMap::new();
        let mut text = String::new();
        for (path, node) in &self.nodes {
            let path = path.iter().map(|name| format!("/{name}")).collect::<String>();
            if let Some(ino) = node.ino() {
                if let Some(first) = first.get(&ino) {
                    text += &format!("h {path} = {first}\n");
                    continue;
                }
                first.insert(ino, path.clone());
            }
            text += &match node {
                Node::File { content, .. } => format!("f 0644 {path} \"{content}\"\n"),
                Node::Link { target, .. } => format!("l 0777 {path} -> {target}\n"),
                Node::Dir { mode } => format!("d {mode:04o} {path}\n"),
            };
        }
        text
    }
}

fn archive(rows: &[Row]) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    for (at, (kind, name)) in rows.iter().enumerate() {
        let (parent, last) = name.rsplit_once('/').map_or(("", *name), |(p, l)| (p, l));
        tar = match kind {
            Kind::File => tar.file(name, at.to_string()),
            Kind::Dir => tar.dir(name, 0o711),
            Kind::Symlink(target) => tar.symlink(name, target),
            Kind::HardLink(target) => tar.hardlink(name, target),
            Kind::Whiteout => tar.file(format!("{parent}/.wh.{last}"), ""),
            Kind::Opaque => tar.file(format!("{name}/.wh..wh..opq"), ""),
        };
    }
    tar.end()
}

fn check(rows: &[Row]) {
    let root = ScratchRoot::new();
    make(root.path(), LOWER);
    let mut model = Model::lower();
    let expected = rows
        .iter()
        .enumerate()
        .try_for_each(|(at, (kind, name))| model.place(*kind, name, &at.to_string()));
    match (apply_as_anyone(root.path(), &archive(rows)), expected) {
        (Ok(_), Ok(())) => {
            let shown = Shown { owners: false, times: false };
            assert_eq!(print_with(root.path(), shown), model.print(), "{rows:?}");
        }
        (Err(_), Err(())) => {}
        (Ok(_), Err(())) => panic!("{rows:?} was accepted"),
        (Err(error), Ok(())) => panic!("{rows:?}: {}", super::chain(&error)),
    }
}

/// Every archive of `length` rows out of `choice` (or one of each `stride`), on several threads.
fn check_all(choice: &[Row], length: u32, stride: usize) {
    let total = choice.len().pow(length);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for number in (first * stride..total).step_by(threads * stride) {
                    let digit = |at: u32| choice[number / choice.len().pow(at) % choice.len()];
                    check(&(0..length).map(digit).collect::<Vec<_>>());
                }
            });
        }
    });
}

#[test]
fn archives_of_up_to_three_entries() {
    for length in 1..=3 {
        check_all(&ROWS, length, 1);
    }
}

#[test]
fn archives_of_four_entries() {
    // All of them take a minute where a test runs unoptimised beside others.
    let stride = if cfg!(debug_assertions) { 13 } else { 1 };
    check_all(&ROWS[..10], 4, stride);
}
