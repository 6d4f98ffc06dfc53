//! What enters the identity of a source, and in which form.
//!
//! Every entry is hashed by itself: typed, its texts framed by their lengths. A source is the list
//! of its entries' hashes, in the order of the walk. Not in it: times, inode numbers, how many names
//! a file has elsewhere, what the ignore file or `--exclude` leaves out.

use std::collections::HashMap;

use blake3::{Hash, Hasher};
use rootfs::{FileKind, Metadata, RootPath, Xattrs};

use crate::listing::{FileIdentity, Listing};

/// Changes whenever the form of what is hashed does.
const DOMAIN: &str = "kaniko-rs 2026 copied sources v1";

/// What a copy of one source would hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// The source as it is written.
    pub label: String,
    /// Equal for two sources exactly if copies of them are.
    pub digest: [u8; 32],
    /// The files in it, to explain why two differ.
    pub files: Vec<FileIdentity>,
}

/// What a hash is about. The numbers are never reused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// The list of everything a source holds.
    List = 0,
    /// A file that a source names, by the name its copy gets.
    File = 1,
    /// A directory that a source names, whose contents are copied. What is below it follows.
    Contents = 2,
    /// The same with its own metadata.
    Whole = 3,
    /// What is below a directory, by its path there.
    Below = 4,
    /// Another name of a file below the same directory.
    Linked = 5,
    /// An archive that is unpacked: nothing but its bytes counts.
    Archive = 6,
    /// A here-document.
    Inline = 7,
}

/// Puts a hash together.
pub(crate) struct EntryHasher(Hasher);

impl EntryHasher {
    /// Hashes of `role`. The domain is prepared once, in `Domain`.
    fn new(domain: &Domain, role: Role) -> Self {
        let mut hasher = domain.0.clone();
        hasher.update(&[role as u8]);
        Self(hasher)
    }

    pub(crate) fn framed(mut self, bytes: &[u8]) -> Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn hash(mut self, hash: &Hash) -> Self {
        self.0.update(hash.as_bytes());
        self
    }

    /// What a copy has of a file besides its content. `keeps_owner` is for copies that do.
    pub(crate) fn metadata(
        mut self,
        metadata: &Metadata,
        attributes: &Xattrs,
        keeps_owner: bool,
    ) -> Self {
        // Nobody can set the mode of a link, and file systems show different ones.
        let mode = if metadata.is_symlink() { 0 } else { metadata.mode };
        self.0.update(&[code(metadata.kind), u8::from(keeps_owner)]);
        self.0.update(&mode.to_le_bytes());
        if keeps_owner {
            self.0.update(&metadata.uid.to_le_bytes());
            self.0.update(&metadata.gid.to_le_bytes());
        }
        self.0.update(&(attributes.len() as u64).to_le_bytes());
        attributes.iter().fold(self, |hasher, (name, value)| hasher.framed(name).framed(value))
    }

    /// The number of a device.
    pub(crate) fn device(mut self, (major, minor): (u32, u32)) -> Self {
        self.0.update(&major.to_le_bytes());
        self.0.update(&minor.to_le_bytes());
        self
    }

    /// Only what kind of file it is.
    pub(crate) fn kind(mut self, kind: FileKind) -> Self {
        self.0.update(&[code(kind)]);
        self
    }

    pub(crate) fn finish(self) -> Hash {
        self.0.finalize()
    }
}

/// The number that stands for a kind. Never reused.
fn code(kind: FileKind) -> u8 {
    match kind {
        FileKind::File => 1,
        FileKind::Directory => 2,
        FileKind::Symlink => 3,
        FileKind::Fifo => 4,
        FileKind::Socket => 5,
        FileKind::BlockDevice => 6,
        FileKind::CharDevice => 7,
    }
}

/// The domain of all hashes of sources.
pub(crate) struct Domain(Hasher);

impl Domain {
    pub(crate) fn new() -> Self {
        Self(Hasher::new_derive_key(DOMAIN))
    }

    pub(crate) fn entry(&self, role: Role) -> EntryHasher {
        EntryHasher::new(self, role)
    }
}

/// One entry of a source.
pub(crate) struct Entry {
    pub(crate) role: Role,
    /// Its path below the directory that the source names; for what a source names itself the name
    /// its copy gets.
    pub(crate) relative: Vec<u8>,
    pub(crate) is_dir: bool,
    pub(crate) hash: Hash,
    /// What tells the file from others, if it has several names.
    pub(crate) inode: Option<Inode>,
    /// Where the tree has it, if the source names it itself.
    pub(crate) at: Option<RootPath>,
}

/// What a file is known by, whatever its name.
pub(crate) type Inode = ((u32, u32), u64);

/// The identity of one source, as far as it is known.
pub(crate) struct Collecting {
    label: String,
    list: EntryHasher,
    count: u64,
    /// The hashes of files with several names below the current directory, by their first name.
    linked: HashMap<Inode, Hash>,
    listing: Listing,
}

impl Collecting {
    pub(crate) fn new(label: &[u8], domain: &Domain) -> Self {
        Self {
            label: String::from_utf8_lossy(label).into_owned(),
            list: domain.entry(Role::List),
            count: 0,
            linked: HashMap::new(),
            listing: Listing::default(),
        }
    }

    /// Adds the next entry; `top` is where the tree has the directory it is below.
    pub(crate) fn add(&mut self, mut entry: Entry, top: &RootPath, domain: &Domain) {
        match entry.role {
            // Names of one file are told from copies of it within one directory, as a copy does.
            Role::Contents | Role::Whole => self.linked.clear(),
            Role::Below => {
                if let Some(inode) = entry.inode {
                    match self.linked.get(&inode) {
                        Some(first) => {
                            let linked = domain.entry(Role::Linked).framed(&entry.relative);
                            entry.hash = linked.hash(first).finish();
                        }
                        None => drop(self.linked.insert(inode, entry.hash)),
                    }
                }
            }
            Role::List | Role::File | Role::Linked | Role::Archive | Role::Inline => {}
        }
        self.list.0.update(entry.hash.as_bytes());
        self.count += 1;
        match entry.role {
            // There is nothing in it but that it is there.
            Role::Contents => {}
            Role::Below | Role::Linked => {
                self.listing.add(top, &entry.relative, entry.is_dir, &entry.hash);
            }
            Role::List | Role::File | Role::Whole | Role::Archive | Role::Inline => {
                let at = entry.at.as_ref().unwrap_or(top);
                self.listing.add(at, b"", entry.is_dir, &entry.hash);
            }
        }
    }

    pub(crate) fn finish(mut self) -> SourceIdentity {
        self.list.0.update(&self.count.to_le_bytes());
        SourceIdentity {
            label: self.label,
            digest: *self.list.finish().as_bytes(),
            files: self.listing.finish(),
        }
    }
}
