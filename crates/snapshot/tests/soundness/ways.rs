//! How a file can be rewritten so that it looks as before.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FallocateFlags, OFlags, Timespec, Timestamps, XattrFlags};
use sys::SharedMapping;

/// One page, so that holes can be punched and pages be mapped.
const SIZE: usize = 4096;

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Write,
    /// Through its other name, if it has one.
    OtherName,
    /// By another file that takes its name.
    Rename,
    /// By another file that exchanges names with it, and was there before.
    Exchange,
    /// Through a mapping that is read first.
    Mapping,
    /// Through a mapping that is only written.
    MappingUnread,
    MappingAndSync,
    /// Through a mapping, after an ordinary write of what is there.
    WriteThenMapping,
    Truncate,
    PunchHole,
    ZeroRange,
    CopyRange,
    /// Past the page cache.
    Direct,
    /// Another link of the same length takes the file's place.
    Link,
    /// An attribute of the same length.
    Attribute,
}

impl Way {
    /// Any; those that make a disk work are rarer.
    pub(crate) fn any(numbers: &mut Numbers) -> Way {
        const CHEAP: [Way; 6] = [
            Way::Write,
            Way::OtherName,
            Way::Mapping,
            Way::MappingUnread,
            Way::WriteThenMapping,
            Way::Attribute,
        ];
        const DEAR: [Way; 6] = [
            Way::Rename,
            Way::Exchange,
            Way::Truncate,
            Way::PunchHole,
            Way::ZeroRange,
            Way::CopyRange,
        ];
        match numbers.next(400) {
            0 => Way::MappingAndSync,
            1 => Way::Direct,
            2..10 => Way::Link,
            10..100 => DEAR[numbers.next(DEAR.len())],
            _ => CHEAP[numbers.next(CHEAP.len())],
        }
    }
}

/// The same numbers in every run, that look like any.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new() -> Numbers {
        Numbers(0x9E37_79B9_7F4A_7C15)
    }

    /// One below `end`.
    pub(crate) fn next(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % end
    }
}

/// Rewrites files of one tree.
pub(crate) struct Writer<'a> {
    root: &'a Path,
    /// A directory on the same file system, but not in the tree.
    outside: &'a Path,
    directories: usize,
    count: usize,
}

/// So many of the files have a second name, and are only rewritten in ways that keep it.
const LINKED: usize = 20;

impl<'a> Writer<'a> {
    pub(crate) fn new(root: &'a Path, outside: &'a Path, directories: usize) -> Writer<'a> {
        Writer { root, outside, directories, count: 0 }
    }

    fn name(&self, file: usize) -> String {
        format!("d{}/f{file}", file % self.directories)
    }

    /// Makes a file of the tree below `root`.
    pub(crate) fn make(&self, root: &Path, file: usize) {
        fs::write(root.join(self.name(file)), [b'x'; SIZE]).expect("because there is room");
    }

    /// Gives some files a second name, in another directory.
    pub(crate) fn link_names(&self) {
        for file in 0..LINKED {
            let other = format!("d{}/other{file}", (file + 1) % self.directories);
            fs::hard_link(self.root.join(self.name(file)), self.root.join(other)).expect("ours");
        }
    }

    /// Rewrites a file; returns the names of it.
    pub(crate) fn rewrite(&mut self, file: usize, way: Way) -> Vec<String> {
        self.count += 1;
        let path = self.root.join(self.name(file));
        let mut names = vec![format!("/{}", self.name(file))];
        let mut written = path.clone();
        let mut way = way;
        if file < LINKED {
            let other = format!("d{}/other{file}", (file + 1) % self.directories);
            if way == Way::OtherName {
                written = self.root.join(&other);
            }
            names.push(format!("/{other}"));
            if matches!(way, Way::Rename | Way::Exchange | Way::Link) {
                way = Way::Write;
            }
        }
        let before = fs::symlink_metadata(&path).expect("because it is there");
        if before.is_symlink() && way != Way::Link {
            way = Way::Rename;
        }
        self.act(&written, way, &before).expect("because it is ours");
        restore_time(&path, &before);
        names
    }

    fn act(&self, path: &Path, way: Way, before: &fs::Metadata) -> std::io::Result<()> {
        let file = || OpenOptions::new().read(true).write(true).open(path);
        match way {
            Way::Write | Way::OtherName => self.write(&file()?),
            Way::Rename => fs::rename(self.other(before)?, path),
            Way::Exchange => {
                let other = self.other(before)?;
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                if rustix::fs::renameat_with(CWD, &other, CWD, path, flags).is_ok() {
                    fs::remove_file(other)
                } else {
                    fs::rename(other, path)
                }
            }
            Way::Mapping => self.map(&file()?).map(drop),
            Way::MappingUnread => self.fill(&mut SharedMapping::new(&file()?, SIZE)?),
            Way::MappingAndSync => self.map(&file()?)?.sync(),
            Way::WriteThenMapping => {
                let file = file()?;
                let mut same = [0; SIZE];
                file.read_exact_at(&mut same, 0)?;
                file.write_all_at(&same, 0)?;
                self.map(&file).map(drop)
            }
            Way::Truncate => {
                let file = file()?;
                file.set_len(0)?;
                file.set_len(SIZE as u64)?;
                self.write(&file)
            }
            Way::PunchHole => {
                self.clear(&file()?, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE)
            }
            Way::ZeroRange => self.clear(&file()?, FallocateFlags::ZERO_RANGE),
            Way::CopyRange => {
                let (source, file) = (self.outside.join("source"), file()?);
                let source = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(source)?;
                source.write_all_at(&self.content(), 0)?;
                if rustix::fs::ioctl_ficlone(&file, &source).is_err() {
                    rustix::fs::copy_file_range(&source, None, &file, None, SIZE)?;
                }
                Ok(())
            }
            Way::Direct => {
                let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
                match OpenOptions::new().write(true).custom_flags(flags).open(path) {
                    Ok(direct) => {
                        let mut room = vec![0; 2 * SIZE];
                        let start = room.as_ptr().align_offset(SIZE);
                        let page = &mut room[start..start + SIZE];
                        page.copy_from_slice(&self.content());
                        direct.write_all_at(page, 0)
                    }
                    Err(_) => self.write(&file()?),
                }
            }
            Way::Link => {
                let other = self.outside.join("link");
                symlink(format!("{:08}", self.count), &other)?;
                fs::rename(other, path)
            }
            Way::Attribute => {
                let value = self.count.to_le_bytes();
                match rustix::fs::setxattr(path, "user.count", &value, XattrFlags::empty()) {
                    Ok(()) => Ok(()),
                    // A tmpfs of older kernels takes none.
                    Err(_) => self.write(&file()?),
                }
            }
        }
    }

    /// A page that no file ever had.
    fn content(&self) -> [u8; SIZE] {
        let mut content = [b'x'; SIZE];
        content[..8].copy_from_slice(&self.count.to_le_bytes());
        content
    }

    fn write(&self, file: &File) -> std::io::Result<()> {
        file.write_all_at(&self.content()[..8], 0)
    }

    /// Writes through a mapping that was read first.
    fn map(&self, file: &File) -> std::io::Result<SharedMapping> {
        let mut mapping = SharedMapping::new(file, SIZE)?;
        assert!(mapping.read(0).is_some());
        self.fill(&mut mapping)?;
        Ok(mapping)
    }

    fn fill(&self, mapping: &mut SharedMapping) -> std::io::Result<()> {
        for (at, byte) in self.count.to_le_bytes().into_iter().enumerate() {
            mapping.write(at, byte).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        }
        Ok(())
    }

    /// All to zeros; a file that is so already is written, because it would stay the same.
    fn clear(&self, file: &File, flags: FallocateFlags) -> std::io::Result<()> {
        let mut first = [0; 8];
        file.read_exact_at(&mut first, 0)?;
        let cleared = first != [0; 8] && rustix::fs::fallocate(file, flags, 0, SIZE as u64).is_ok();
        if cleared { Ok(()) } else { self.write(file) }
    }

    /// Another file with what `before` has but another content, outside of the tree.
    fn other(&self, before: &fs::Metadata) -> std::io::Result<PathBuf> {
        let other = self.outside.join("other");
        fs::write(&other, self.content())?;
        fs::set_permissions(&other, before.permissions())?;
        Ok(other)
    }
}

/// Puts the time back, where it moved: doing so moves the ctime, and a write that moved nothing must
/// be seen without that.
fn restore_time(path: &Path, before: &fs::Metadata) {
    let now = fs::symlink_metadata(path).expect("because it is there");
    if (now.mtime(), now.mtime_nsec()) == (before.mtime(), before.mtime_nsec()) {
        return;
    }
    let time = Timespec { tv_sec: before.mtime(), tv_nsec: before.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("it is ours");
}
