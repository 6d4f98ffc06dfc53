//! Keeping a cache on a disk small: what was used least recently goes first, and what nobody has a
//! use for goes at once.
//!
//! Builds that are at work hold the cache's lock; while there are any, what was used in the last hours
//! stays, whatever was asked for: they may count on it. *Does not* read the clock, and leaves
//! registries to their own retention.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use store::{SharedDir, SharedEntry, SharedKind, Sharing};

use crate::Result;
use crate::directory::{self, DirectoryCache, RECORDS, parse_record};
use crate::key::CacheKey;
use crate::layer_cache::RECORD_LIMIT;
use crate::layout::{self, INDEX, LayoutCache};

/// How long builds that are at work may count on what they found.
const IN_USE: Duration = Duration::from_secs(2 * 3600);

/// What shall stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectOptions {
    /// At most so many bytes.
    pub max_bytes: Option<u64>,
    /// What was used within this time.
    pub max_age: Option<Duration>,
    /// The moment from which ages are counted.
    pub now: SystemTime,
}

/// What went, and what stayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The entries that went.
    pub removed: Vec<CollectedEntry>,
    /// What dead writers left, and what no entry speaks of.
    pub leftovers: usize,
    /// All bytes that went.
    pub removed_bytes: u64,
    /// How many entries stayed.
    pub left: usize,
    /// How many bytes stayed.
    pub left_bytes: u64,
    /// Builds are at work; what they may count on stayed.
    pub in_use: bool,
}

/// An entry that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedEntry {
    /// Its key.
    pub key: CacheKey,
    /// When it was last used.
    pub used: SystemTime,
    /// How many bytes went with it; of a layer that another entry has as well, none.
    pub bytes: u64,
}

/// What may go at a time.
struct Rule<'a> {
    options: &'a CollectOptions,
    in_use: bool,
}

impl Rule<'_> {
    /// Whether what was used then may be wanted by a build that is at work.
    fn spares(&self, used: SystemTime) -> bool {
        self.in_use && self.age(used) < IN_USE
    }

    fn age(&self, used: SystemTime) -> Duration {
        // What is from the future was used now, for all we know.
        self.options.now.duration_since(used).unwrap_or_default()
    }

    /// Whether an entry has to go, where the cache holds so many bytes.
    fn wants(&self, used: SystemTime, held: u64) -> bool {
        let is_old = self.options.max_age.is_some_and(|most| self.age(used) > most);
        is_old || self.options.max_bytes.is_some_and(|most| held > most)
    }
}

impl DirectoryCache {
    /// Makes the cache as small as the options say.
    pub fn collect(&self, options: &CollectOptions) -> Result<Collected> {
        let Some(directory) = SharedDir::find(self.root())? else {
            return Ok(Collected::default());
        };
        let lock = directory.lock(Path::new(directory::LOCK), Sharing::Alone)?;
        let rule = Rule { options, in_use: lock.is_none() };
        let temporary = Path::new(directory::TEMPORARY);
        let mut collected = Collected { in_use: rule.in_use, ..Collected::default() };
        collected.leftovers += directory.sweep(temporary, "", options.now).unwrap_or(0);
        let mut held = Held::read(&directory, &rule, &mut collected)?;
        held.records.sort_by_key(|record| (record.entry.used, record.key));
        let mut bytes = held.bytes();
        let mut records = std::mem::take(&mut held.records).into_iter();
        for record in records.by_ref() {
            if !rule.wants(record.entry.used, bytes) || rule.spares(record.entry.used) {
                collected.left += 1;
                break;
            }
            let gone = held.remove(&directory, &rule, &record)?;
            bytes = bytes.saturating_sub(gone.unwrap_or(0));
            match gone {
                Some(bytes) => collected.gone(record.key, record.entry.used, bytes),
                None => collected.left += 1,
            }
        }
        collected.left += records.count();
        collected.left_bytes = bytes;
        Ok(collected)
    }
}

impl Collected {
    fn gone(&mut self, key: CacheKey, used: SystemTime, bytes: u64) {
        self.removed.push(CollectedEntry { key, used, bytes });
        self.removed_bytes += bytes;
    }
}

/// What a directory holds.
struct Held {
    records: Vec<HeldRecord>,
    /// By name, with the number of records that speak of each.
    blobs: BTreeMap<String, (SharedEntry, usize)>,
}

struct HeldRecord {
    key: CacheKey,
    path: PathBuf,
    entry: SharedEntry,
    blob: String,
}

const BLOBS: &str = "blobs/sha256";

impl Held {
    /// Looks at all of it; what nobody has a use for goes at once.
    fn read(directory: &SharedDir, rule: &Rule<'_>, collected: &mut Collected) -> Result<Self> {
        let mut held = Self { records: Vec::new(), blobs: BTreeMap::new() };
        for blob in list(directory, Path::new(BLOBS))? {
            if blob.kind == SharedKind::File {
                held.blobs.insert(blob.name.to_string_lossy().into_owned(), (blob, 0));
            }
        }
        for shard in list(directory, Path::new(RECORDS))? {
            let below = Path::new(RECORDS).join(&shard.name);
            if shard.kind != SharedKind::Directory {
                continue;
            }
            for entry in list(directory, &below)? {
                let path = below.join(&entry.name);
                if let Some(record) = held.record(directory, &shard, &path, &entry) {
                    held.records.push(record);
                } else if !rule.spares(entry.used) {
                    collected.leftovers += 1;
                    collected.removed_bytes += entry.size;
                    directory.remove(&path)?;
                }
            }
        }
        let orphans: Vec<String> = held
            .blobs
            .iter()
            .filter(|(_, (entry, users))| *users == 0 && !rule.spares(entry.used))
            .map(|(name, _)| name.clone())
            .collect();
        for name in orphans {
            collected.leftovers += 1;
            collected.removed_bytes += held.remove_blob(directory, rule, &name)?;
        }
        Ok(held)
    }

    /// A record that speaks of a blob that is there.
    fn record(
        &mut self,
        directory: &SharedDir,
        shard: &SharedEntry,
        path: &Path,
        entry: &SharedEntry,
    ) -> Option<HeldRecord> {
        let name = format!("{}{}", shard.name.to_string_lossy(), entry.name.to_string_lossy());
        let key = CacheKey::parse(&name)?;
        let bytes = directory.read(path, 2 * RECORD_LIMIT as u64).ok()?;
        let cached = parse_record(&bytes, &key).ok()?;
        let blob = cached.layer.descriptor.digest.hex().to_owned();
        self.blobs.get_mut(&blob)?.1 += 1;
        Some(HeldRecord { key, path: path.to_owned(), entry: entry.clone(), blob })
    }

    fn bytes(&self) -> u64 {
        let records = self.records.iter().map(|record| record.entry.size);
        records.chain(self.blobs.values().map(|(entry, _)| entry.size)).sum()
    }

    /// Removes a record, and its layer where no other has it; nothing if it was just used.
    fn remove(
        &mut self,
        directory: &SharedDir,
        rule: &Rule<'_>,
        record: &HeldRecord,
    ) -> Result<Option<u64>> {
        let now = directory.entry(&record.path)?;
        if now.is_some_and(|now| now.used != record.entry.used) {
            return Ok(None);
        }
        directory.remove(&record.path)?;
        let mut bytes = record.entry.size;
        if let Some((_, users)) = self.blobs.get_mut(&record.blob) {
            *users -= 1;
            if *users == 0 {
                bytes += self.remove_blob(directory, rule, &record.blob)?;
            }
        }
        Ok(Some(bytes))
    }

    /// Removes a blob, unless somebody has just found it good to use.
    fn remove_blob(&mut self, directory: &SharedDir, rule: &Rule<'_>, name: &str) -> Result<u64> {
        let path = Path::new(BLOBS).join(name);
        let Some((entry, _)) = self.blobs.get(name) else { return Ok(0) };
        let now = directory.entry(&path)?;
        if rule.spares(entry.used) || now.is_none_or(|now| now.used != entry.used) {
            return Ok(0);
        }
        directory.remove(&path)?;
        Ok(self.blobs.remove(name).map_or(0, |(entry, _)| entry.size))
    }
}

impl LayoutCache {
    /// Makes the cache as small as the options say.
    pub fn collect(&self, options: &CollectOptions) -> Result<Collected> {
        let beside = &self.beside;
        let Some(directory) = SharedDir::find(&beside.directory)? else {
            return Ok(Collected::default());
        };
        let lock = directory.lock(&beside.name(layout::LOCK), Sharing::Alone)?;
        let rule = Rule { options, in_use: lock.is_none() };
        let temporary = beside.name(layout::TEMPORARY);
        let swept =
            directory.sweep(Path::new(""), &temporary.to_string_lossy(), options.now).unwrap_or(0);
        let mut collected =
            Collected { in_use: rule.in_use, leftovers: swept, ..Collected::default() };
        let mut entries = self.entries(&directory)?;
        entries.sort_by_key(|entry| (entry.used, entry.key));
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let mut entries = entries.into_iter();
        for entry in entries.by_ref() {
            if !rule.wants(entry.used, bytes) || rule.spares(entry.used) {
                collected.left += 1;
                break;
            }
            let path = beside.entry(&entry.key);
            if last_used(&directory, &path).is_some_and(|used| used != entry.used) {
                collected.left += 1;
                continue;
            }
            directory.discard(&path, temporary.as_os_str())?;
            bytes = bytes.saturating_sub(entry.bytes);
            collected.gone(entry.key, entry.used, entry.bytes);
        }
        collected.left += entries.count();
        collected.left_bytes = bytes;
        Ok(collected)
    }

    fn entries(&self, directory: &SharedDir) -> Result<Vec<CollectedEntry>> {
        let prefix = self.beside.name(":");
        let prefix = prefix.to_string_lossy();
        let mut entries = Vec::new();
        for found in directory.list(Path::new(""), &prefix)? {
            let name = found.name.to_string_lossy();
            let key = name.strip_prefix(prefix.as_ref()).and_then(CacheKey::parse);
            if let Some(key) = key.filter(|_| found.kind == SharedKind::Directory) {
                let path = self.beside.entry(&key);
                let used = last_used(directory, &path).unwrap_or(found.used);
                entries.push(CollectedEntry { key, used, bytes: size(directory, &path, 0) });
            }
        }
        Ok(entries)
    }
}

/// When a layout was last used.
fn last_used(directory: &SharedDir, path: &Path) -> Option<SystemTime> {
    Some(directory.entry(&path.join(INDEX)).ok()??.used)
}

/// The bytes below a directory, as deep as a layout is.
fn size(directory: &SharedDir, path: &Path, depth: u32) -> u64 {
    let below = directory.list(path, "").unwrap_or_default();
    let sizes = below.iter().map(|entry| match entry.kind {
        SharedKind::Directory if depth < 3 => size(directory, &path.join(&entry.name), depth + 1),
        SharedKind::Directory | SharedKind::Other => 0,
        SharedKind::File => entry.size,
    });
    sizes.sum()
}

/// The entries of a directory; none where it is not there.
fn list(directory: &SharedDir, path: &Path) -> Result<Vec<SharedEntry>> {
    match directory.list(path, "") {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        other => Ok(other?),
    }
}
