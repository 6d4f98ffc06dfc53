//! Trees as text, one line an entry, sorted by path:
//!
//! ```text
//! d 0755 0:0 /etc
//! f 0644 0:0 /etc/hosts "127.0.0.1 localhost\n" user.note="mine" @1700000000.000000005
//! l 0777 0:0 /bin -> usr/bin
//! h /usr/bin/b = /usr/bin/a
//! p 0600 0:0 /pipe
//! c 0666 0:0 /dev/null 1:3
//! ```
//!
//! `b` is a block device and `s` a socket. A hard link stands after the first of its names. In
//! paths, targets and values a blank, a backslash and what is not printable are escaped as in
//! Rust (`\x20`, `\n`, `\\`). A blank line or one that begins with `#` means nothing.
//!
//! [`make`] also takes lines without an owner (it stays ours), parents that are not listed (0755),
//! and repeated content (`"x"*1000`). [`print`] shows content over 256 bytes as its size and hash.
//! The lines `w` (whiteout) and `o` (opaque) belong to layers; [`make`] refuses them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use sha2::{Digest, Sha256};

/// What [`print_with`] shows.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Owners, as `uid:gid`.
    pub owners: bool,
    /// Modification times, as `@seconds.nanoseconds` (of links and directories too).
    pub times: bool,
}

/// The tree below `root` (not `root` itself), without times.
#[must_use]
pub fn print(root: &Path) -> String {
    print_with(root, Shown { owners: true, times: false })
}

/// The tree below `root`, with what the caller wants to see.
#[must_use]
pub fn print_with(root: &Path, shown: Shown) -> String {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    let mut names = BTreeMap::new();
    paths.iter().map(|path| line(root, path, shown, &mut names) + "\n").collect()
}

/// The line of one path (as in the tree, with its leading slash). Hard links are not told apart.
#[must_use]
pub fn print_one(root: &Path, path: &str) -> String {
    let path = root.join(path.trim_start_matches('/'));
    line(root, &path, Shown { owners: true, times: false }, &mut BTreeMap::new())
}

/// All paths below a directory, parents first, siblings by name.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("cannot list `{}`: {error}", directory.display()));
    let mut below: Vec<PathBuf> =
        entries.map(|entry| entry.expect("because the directory was just opened").path()).collect();
    below.sort();
    for path in below {
        let is_directory = stat(&path).is_dir();
        paths.push(path.clone());
        if is_directory {
            collect(&path, paths);
        }
    }
}

fn stat(path: &Path) -> Metadata {
    fs::symlink_metadata(path)
        .unwrap_or_else(|error| panic!("cannot stat `{}`: {error}", path.display()))
}

fn line(
    root: &Path,
    path: &Path,
    shown: Shown,
    names: &mut BTreeMap<(u64, u64), String>,
) -> String {
    let metadata = stat(path);
    let inside = path.strip_prefix(root).expect("because it was found below the root");
    let inside = format!("/{}", escape(inside.as_os_str().as_bytes(), b' '));
    if metadata.nlink() > 1 && !metadata.is_dir() {
        let key = (metadata.dev(), metadata.ino());
        if let Some(first) = names.get(&key) {
            return format!("h {inside} = {first}");
        }
        names.insert(key, inside.clone());
    }
    let kind = metadata.file_type();
    let letter = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () if kind.is_char_device() => 'c',
        () if kind.is_block_device() => 'b',
        () => 'f',
    };
    let mut text = format!("{letter} {:04o}", metadata.mode() & 0o7777);
    if shown.owners {
        text += &format!(" {}:{}", metadata.uid(), metadata.gid());
    }
    text += &format!(" {inside}");
    match letter {
        'f' => text += &format!(" {}", content(path)),
        'l' => {
            let target = fs::read_link(path).expect("because it is a link");
            text += &format!(" -> {}", escape(target.as_os_str().as_bytes(), b' '));
        }
        'c' | 'b' => {
            let device = metadata.rdev();
            text += &format!(" {}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        }
        _ => {}
    }
    for (name, value) in attributes(path) {
        text += &format!(" {}=\"{}\"", escape(&name, b' '), escape(&value, b'"'));
    }
    if shown.times {
        text += &format!(" @{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
    }
    text
}

fn content(path: &Path) -> String {
    let bytes =
        fs::read(path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()));
    content_of(&bytes)
}

/// Content as it is shown: whole if it is short.
pub(crate) fn content_of(bytes: &[u8]) -> String {
    if bytes.len() <= 256 {
        return format!("\"{}\"", escape(bytes, b'"'));
    }
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().take(8).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("because a string takes everything");
        hex
    });
    format!("<{} sha256:{hex}>", bytes.len())
}

/// Extended attributes, but for those that the machine's security modules keep.
fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    let length = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap_or(0);
    let names = buffer[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let ours = names.filter(|name| !name.starts_with(b"security.selinux"));
    let mut found = BTreeMap::new();
    for name in ours {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])
            .expect("because the kernel just listed it");
        value.truncate(length);
        found.insert(name.to_vec(), value);
    }
    found
}

pub(crate) fn escape(bytes: &[u8], also: u8) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\\' => text.push_str("\\\\"),
                char if char == char::from(also) && char == '"' => text.push_str("\\\""),
                char if char == char::from(also) || (char.is_ascii() && char.is_control()) => {
                    text.push_str(&format!("\\x{:02x}", u32::from(char)));
                }
                char => text.push(char),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Makes the entries of `text` below `root`.
///
/// # Panics
/// On a line that is not tree notation, and where the machine refuses (owners and devices need
/// root).
pub fn make(root: &Path, text: &str) {
    let mut closed = Vec::new();
    for line in text.lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            make_one(root, line, &mut closed);
        }
    }
    // Directory modes and times come last, or what is below could not be made, or would move them.
    for (path, mode, time) in closed.into_iter().rev() {
        finish(&path, mode, time);
    }
}

/// A directory whose mode and time are set when all is made.
type Closed = (PathBuf, Option<u32>, Option<Timespec>);

fn make_one(root: &Path, line: &str, closed: &mut Vec<Closed>) {
    let mut words = Words { rest: line };
    let kind = words.next();
    if kind == "h" {
        let (path, _, first) = (words.path(root), words.next(), words.path(root));
        make_parents(&path);
        done(line, fs::hard_link(first, path));
        return;
    }
    let mode = u32::from_str_radix(words.next(), 8)
        .unwrap_or_else(|_| panic!("no octal mode in `{line}`"));
    let owner = (!words.rest.starts_with('/')).then(|| words.pair(line));
    let path = words.path(root);
    make_parents(&path);
    match kind {
        "d" => match fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => done(line, made),
        },
        "f" => done(line, fs::write(&path, words.content(line))),
        "l" => {
            assert_eq!(words.next(), "->", "in `{line}`");
            let target = std::ffi::OsString::from_vec(unescape(words.next()));
            done(line, std::os::unix::fs::symlink(target, &path));
        }
        "p" => make_node(&path, line, FileType::Fifo, 0),
        "s" => make_node(&path, line, FileType::Socket, 0),
        "c" | "b" => {
            let (major, minor) = words.pair(line);
            let kind = if kind == "c" { FileType::CharacterDevice } else { FileType::BlockDevice };
            make_node(&path, line, kind, rustix::fs::makedev(major, minor));
        }
        _ => panic!("`{kind}` makes nothing, in `{line}`"),
    }
    if let Some((uid, gid)) = owner {
        let found = stat(&path);
        if (found.uid(), found.gid()) != (uid, gid) {
            done(line, std::os::unix::fs::lchown(&path, Some(uid), Some(gid)));
        }
    }
    let mode = (kind != "l").then_some(mode);
    if let Some(mode) = mode.filter(|_| kind != "d") {
        done(line, fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
    }
    let mut time = None;
    for word in std::iter::from_fn(|| words.attribute()) {
        match word {
            Attribute::Time(at) => time = Some(at),
            Attribute::Extended(name, value) => {
                let set =
                    rustix::fs::lsetxattr(&path, name.as_slice(), &value, XattrFlags::empty());
                done(line, set.map_err(Into::into));
            }
        }
    }
    if kind == "d" {
        closed.push((path, mode, time));
    } else {
        finish(&path, None, time);
    }
}

fn finish(path: &Path, mode: Option<u32>, time: Option<Timespec>) {
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .unwrap_or_else(|error| panic!("cannot chmod `{}`: {error}", path.display()));
    }
    if let Some(time) = time {
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .unwrap_or_else(|error| panic!("cannot set times of `{}`: {error}", path.display()));
    }
}

fn done<T>(line: &str, result: std::io::Result<T>) {
    if let Err(error) = result {
        panic!("cannot make `{line}`: {error}");
    }
}

fn make_parents(path: &Path) {
    let parent = path.parent().expect("because it is below the root");
    if !parent.is_dir() {
        fs::create_dir_all(parent)
            .unwrap_or_else(|error| panic!("cannot make `{}`: {error}", parent.display()));
    }
}

fn make_node(path: &Path, line: &str, kind: FileType, device: u64) {
    let made = rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device);
    done(line, made.map_err(Into::into));
}

enum Attribute {
    Time(Timespec),
    Extended(Vec<u8>, Vec<u8>),
}

/// What is left of a line.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        self.rest = rest.trim_start();
        word
    }

    fn path(&mut self, root: &Path) -> PathBuf {
        let bytes = unescape(self.next());
        let inside = bytes.strip_prefix(b"/").expect("because paths begin with a slash");
        root.join(std::ffi::OsStr::from_bytes(inside))
    }

    fn pair(&mut self, line: &str) -> (u32, u32) {
        let word = self.next();
        let numbers =
            word.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        numbers.unwrap_or_else(|| panic!("`{word}` is no pair of numbers in `{line}`"))
    }

    /// `"text"`, or `"text"*times`; nothing is an empty file.
    fn content(&mut self, line: &str) -> Vec<u8> {
        if !self.rest.starts_with('"') {
            return Vec::new();
        }
        let content = self.quoted(line);
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            let times = self.next().parse().unwrap_or_else(|_| panic!("no count in `{line}`"));
            return content.repeat(times);
        }
        content
    }

    fn quoted(&mut self, line: &str) -> Vec<u8> {
        let body = self.rest.strip_prefix('"').unwrap_or_else(|| panic!("no quote in `{line}`"));
        let mut escaped = false;
        let end = body.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let end = end.unwrap_or_else(|| panic!("open quote in `{line}`"));
        self.rest = &body[end + 1..];
        if !self.rest.starts_with('*') {
            self.rest = self.rest.trim_start();
        }
        unescape(&body[..end])
    }

    fn attribute(&mut self) -> Option<Attribute> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(rest) = self.rest.strip_prefix('@') {
            self.rest = rest;
            let word = self.next();
            let (secs, nanos) = word.split_once('.').unwrap_or((word, "0"));
            let (Ok(tv_sec), Ok(tv_nsec)) = (secs.parse(), nanos.parse()) else {
                panic!("`{word}` is no time");
            };
            return Some(Attribute::Time(Timespec { tv_sec, tv_nsec }));
        }
        let line = self.rest;
        let (name, rest) =
            self.rest.split_once('=').unwrap_or_else(|| panic!("no attribute in `{line}`"));
        self.rest = rest;
        Some(Attribute::Extended(unescape(name), self.quoted(line)))
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (code, after) = rest.split_first().expect("because a backslash escapes something");
        rest = after;
        bytes.push(match code {
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("because they are hex digits");
                let byte = u8::from_str_radix(digits, 16).expect("because they are hex digits");
                rest = &rest[2..];
                byte
            }
            code => *code,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use crate::ScratchRoot;

    use super::*;

    /// Made and printed, a tree is the same text again.
    fn check(text: &str) {
        let scratch = ScratchRoot::with(text);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let shown = Shown { owners: false, times: text.contains('@') };
        let printed = print_with(scratch.path(), shown);
        assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn trees_come_back_as_they_were_written() {
        check("d 0750 /a\nf 0644 /a/b \"x\\ny\"\nl 0777 /c -> a/b");
        check("f 0600 /one \"1\"\nh /two = /one");
        check("d 0500 /closed\nf 0400 /closed/file \"\"\np 0600 /pipe");
        check("f 4755 /suid \"\"\nf 0644 /with\\x20blank \"say \\\"\\\\\\\"\\xff\"");
        check("f 0644 /t \"\" @1700000000.000000005\nl 0777 /u -> x @1.000000000");
        check("s 0755 /socket");
    }

    #[test]
    fn root_owners_and_devices() {
        if !crate::require_root("owners and devices") {
            return;
        }
        let text = "c 0666 0:0 /null 1:3\nd 1777 5:6 /tmp\nl 0777 7:8 /tmp/l -> nowhere\n";
        assert_eq!(print(ScratchRoot::with(text).path()), text);
    }

    #[test]
    fn large_content_is_a_hash() {
        let scratch = ScratchRoot::with("f 0644 /big \"xy\"*500");
        let printed = print_with(scratch.path(), Shown { owners: false, times: false });
        assert_eq!(printed, "f 0644 /big <1000 sha256:1eb9741ce7e10669>\n");
    }
}
