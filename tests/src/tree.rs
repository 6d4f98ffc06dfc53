//! A directory tree as a list of lines: path, then type, mode, owner, content.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Paths with their description.
pub type Tree = BTreeMap<String, String>;

/// Lists everything below `root`; times and link counts are left out.
///
/// # Errors
/// Where something cannot be read.
pub fn list(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    visit(root, "", &mut tree, &mut Linked::new())?;
    Ok(tree)
}

/// Descriptions of files with several names, by inode: busybox has one for each of its applets,
/// and is read once.
type Linked = BTreeMap<(u64, u64), String>;

fn visit(directory: &Path, prefix: &str, tree: &mut Tree, linked: &mut Linked) -> Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let inside = format!("{prefix}/{}", name.unwrap_or_default());
        let metadata = path.symlink_metadata()?;
        let inode = (metadata.dev(), metadata.ino());
        let text = match linked.get(&inode) {
            Some(text) => text.clone(),
            None => describe(&path, &metadata)?,
        };
        if metadata.nlink() > 1 && !metadata.is_dir() {
            linked.insert(inode, text.clone());
        }
        tree.insert(inside.clone(), text);
        if metadata.is_dir() {
            visit(&path, &inside, tree, linked)?;
        }
    }
    Ok(())
}

fn describe(path: &Path, metadata: &std::fs::Metadata) -> Result<String> {
    let kind = metadata.file_type();
    let owner = format!("{}:{}", metadata.uid(), metadata.gid());
    if kind.is_symlink() {
        return Ok(format!("l {owner} -> {}", std::fs::read_link(path)?.display()));
    }
    let letter = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_file() => 'f',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () if kind.is_char_device() => 'c',
        () => 'b',
    };
    let mut text = format!("{letter} {:04o} {owner}", metadata.mode() & 0o7777);
    if kind.is_file() {
        text.push_str(&content(&std::fs::read(path)?));
    }
    if kind.is_char_device() || kind.is_block_device() {
        text.push_str(&format!(" {}", metadata.rdev()));
    }
    let mut value = [0; 64];
    if let Ok(length) = rustix::fs::lgetxattr(path, "security.capability", &mut value) {
        let hex: String = value[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!(" capability={hex}"));
    }
    Ok(text)
}

/// Short texts are shown, the rest is told apart by length and hash.
fn content(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= 200 => format!(" {text:?}"),
        _ => {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            format!(" {} bytes, hash {:016x}", bytes.len(), hasher.finish())
        }
    }
}

/// What is different: one line per path.
#[must_use]
pub fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let absent = "absent".to_owned();
    let mut lines = Vec::new();
    for path in paths {
        let (left, right) =
            (ours.get(path).unwrap_or(&absent), theirs.get(path).unwrap_or(&absent));
        if left != right {
            lines.push(format!("{path}: ours {left}, theirs {right}"));
        }
    }
    lines
}
