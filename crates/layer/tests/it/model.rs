//! All small archives, compared with a model of a file system that fits on a page.
//!
//! Names are few, so that entries meet: a link is replaced, written through, hidden, linked. Where
//! the model gives an error, so must we; else the trees are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};

use testkit::ScratchRoot;
use testkit::tar_builder::TarBuilder;

use super::apply_as_anyone;

/// An entry of the archives tried.
#[derive(Clone, Copy, Debug)]
enum Kind {
    File,
    Dir,
    Symlink(&'static str),
    HardLink(&'static str),
    Fifo,
    Whiteout,
    Opaque,
    /// A name that no layer may have.
    Forbidden,
    /// A name that means nothing.
    Leftover,
}

type Row = (Kind, &'static str);

/// Ten kinds of entry (a link that points beside, up or to the root is a kind of its own) under
/// names that meet.
const ROWS: [Row; 14] = [
    (Kind::File, "a"),
    (Kind::File, "a/b"),
    (Kind::File, "c/b"),
    (Kind::Dir, "a"),
    (Kind::Dir, "a/b"),
    (Kind::Symlink("c"), "a"),
    (Kind::Symlink("/"), "a"),
    (Kind::Symlink("../a"), "c"),
    (Kind::HardLink("a"), "c"),
    (Kind::HardLink("a/b"), "a"),
    (Kind::Fifo, "c"),
    (Kind::Whiteout, "a"),
    (Kind::Whiteout, "a/b"),
    (Kind::Opaque, "a"),
];

/// More of them, for the shorter archives.
const MORE: [Row; 8] = [
    (Kind::Dir, "c"),
    (Kind::Opaque, ""),
    (Kind::Whiteout, "c"),
    (Kind::Symlink("a/b"), "c"),
    (Kind::Fifo, "a/b"),
    (Kind::Forbidden, "a/.wh.."),
    (Kind::Forbidden, "../a"),
    (Kind::Leftover, "a/.wh..wh.aufs"),
];

type Path = Vec<String>;

#[derive(Clone, Debug)]
enum Node {
    File { ino: usize, content: String },
    Link { ino: usize, target: String },
    Fifo { ino: usize },
    Dir { mode: u32 },
}

impl Node {
    fn ino(&self) -> Option<usize> {
        match self {
            Self::File { ino, .. } | Self::Link { ino, .. } | Self::Fifo { ino } => Some(*ino),
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
        match kind {
            Kind::Forbidden => return Err(()),
            Kind::Leftover => return Ok(()),
            // The root's own marker.
            Kind::Opaque if name.is_empty() => {
                self.hide_children(&Path::new());
                return Ok(());
            }
            _ => {}
        }
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
            Kind::Fifo => Node::Fifo { ino },
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
            Kind::Whiteout | Kind::Opaque | Kind::Forbidden | Kind::Leftover => return Err(()),
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
                Some(Node::File { .. } | Node::Fifo { .. }) if !todo.is_empty() => return Err(()),
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
                Node::Fifo { .. } => format!("p 0644 {path}\n"),
                Node::Dir { mode } => format!("d {mode:04o} {path}\n"),
            };
        }
        text
    }
}

/// One entry as it stands in an archive, at its place there.
fn member((kind, name): Row, at: usize) -> Vec<u8> {
    let tar = TarBuilder::new();
    let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
    let tar = match kind {
        Kind::File => tar.file(name, at.to_string()),
        Kind::Dir => tar.dir(name, 0o711),
        Kind::Symlink(target) => tar.symlink(name, target),
        Kind::HardLink(target) => tar.hardlink(name, target),
        Kind::Fifo => tar.fifo(name),
        Kind::Whiteout => tar.file(format!("{parent}/.wh.{last}"), ""),
        Kind::Opaque => tar.file(format!("{name}/.wh..wh..opq"), ""),
        Kind::Forbidden | Kind::Leftover => tar.file(name, ""),
    };
    tar.bytes()
}

/// The lower layer's tree.
fn make_lower(root: &std::path::Path) -> std::io::Result<()> {
    let directory = |name: &str| fs::DirBuilder::new().mode(0o700).create(root.join(name));
    fs::create_dir(root)?;
    directory("a")?;
    directory("c")?;
    for name in ["a/b", "a/z"] {
        fs::write(root.join(name), "lower")?;
        fs::set_permissions(root.join(name), PermissionsExt::from_mode(0o644))?;
    }
    Ok(())
}

/// The tree in the notation of the tests: cheaper than theirs, for there are many trees.
fn print(directory: &std::path::Path, inside: &str, text: &mut String, first: &mut Names) {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        let (path, shown) = (directory.join(&name), format!("{inside}/{name}"));
        let metadata = path.symlink_metadata().expect("it was just listed");
        let (kind, mode) = (metadata.file_type(), metadata.mode() & 0o7777);
        if kind.is_dir() {
            let _ = writeln!(text, "d {mode:04o} {shown}");
            print(&path, &shown, text, first);
            continue;
        }
        let known = first.entry(metadata.ino()).or_insert_with(|| shown.clone());
        let _ = if *known != shown {
            writeln!(text, "h {shown} = {known}")
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).expect("it is a link");
            writeln!(text, "l {mode:04o} {shown} -> {}", target.display())
        } else if kind.is_fifo() {
            writeln!(text, "p {mode:04o} {shown}")
        } else {
            let content = fs::read_to_string(&path).expect("it is a file of ours");
            writeln!(text, "f {mode:04o} {shown} \"{content}\"")
        };
    }
}

/// The first name of each inode.
type Names = BTreeMap<u64, String>;

fn check(root: &std::path::Path, rows: &[Row], archive: &[u8]) {
    make_lower(root).expect("the directory is empty");
    let mut model = Model::lower();
    let expected = rows
        .iter()
        .enumerate()
        .try_for_each(|(at, (kind, name))| model.place(*kind, name, &at.to_string()));
    match (apply_as_anyone(root, archive), expected) {
        (Ok(_), Ok(())) => {
            let mut found = String::new();
            print(root, "", &mut found, &mut Names::new());
            assert_eq!(found, model.print(), "{rows:?}");
        }
        (Err(_), Err(())) => {}
        (Ok(_), Err(())) => panic!("{rows:?} was accepted"),
        (Err(error), Ok(())) => panic!("{rows:?}: {}", super::chain(&error)),
    }
    fs::remove_dir_all(root).expect("it is ours");
}

/// Every archive of `length` rows out of `choice`, on several threads, in memory where that can be
/// had. Says how many there were.
fn check_all(choice: &[Row], length: usize) -> usize {
    let total = choice.len().pow(u32::try_from(length).expect("a small number"));
    let members: Vec<Vec<Vec<u8>>> =
        choice.iter().map(|row| (0..length).map(|at| member(*row, at)).collect()).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let members = &members;
            scope.spawn(move || {
                let place = ScratchRoot::in_memory();
                let root = place.path().join("root");
                let (mut rows, mut archive) = (Vec::new(), Vec::new());
                for number in (first..total).step_by(threads) {
                    rows.clear();
                    archive.clear();
                    let mut rest = number;
                    while rows.len() < length {
                        let row = rest % choice.len();
                        rest /= choice.len();
                        archive.extend_from_slice(&members[row][rows.len()]);
                        rows.push(choice[row]);
                    }
                    archive.extend_from_slice(&[0; 1024]);
                    check(&root, &rows, &archive);
                }
            });
        }
    });
    total
}

#[test]
fn archives_of_up_to_four_entries() {
    let tried: usize = (1..=4).map(|length| check_all(&ROWS, length)).sum();
    assert_eq!(tried, 14 + 196 + 2_744 + 38_416);
}

#[test]
fn archives_of_up_to_two_entries_of_more_kinds() {
    let all = [&ROWS[..], &MORE].concat();
    for length in 1..=2 {
        check_all(&all, length);
    }
}
