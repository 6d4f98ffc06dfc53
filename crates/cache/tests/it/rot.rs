//! Disks that rot, and directories that others have been at: what a cache gives is what was put, or
//! nothing.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::{CachedLayer, LayerCache};
use oci::Digest;
use store::BlobStore;
use testkit::ScratchRoot;

use super::{KINDS, Kind, bytes, key, layer, store};

/// Several blocks of 4 KiB, and a bit.
const SIZE: usize = 20_000;

fn content() -> Vec<u8> {
    (0..SIZE as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A cache with one entry, and what it should give.
struct Spoilt {
    scratch: ScratchRoot,
    kind: Kind,
    ours: BlobStore,
    cached: CachedLayer,
}

impl Spoilt {
    async fn new(kind: Kind) -> Self {
        let scratch = ScratchRoot::in_memory();
        let ours = store(&scratch, "ours");
        let cached = CachedLayer { content: key("mine"), ..layer(&ours, &content()) };
        std::fs::create_dir(scratch.path().join("volume")).expect("because there is room");
        let spoilt = Self { scratch, kind, ours, cached };
        spoilt.put().await.expect("because the cache is writable");
        spoilt
    }

    fn volume(&self) -> PathBuf {
        self.scratch.path().join("volume")
    }

    /// As the next program opens it.
    fn cache(&self) -> Box<dyn LayerCache> {
        self.kind.open(&self.volume())
    }

    async fn put(&self) -> cache::Result<()> {
        self.cache().put(&key("mine"), &self.cached, &self.ours).await
    }

    /// Whether it is found; another than what was put never is.
    async fn find(&self, what: &str) -> bool {
        let found = self.cache().look_up(&key("mine"), None).await;
        let found = found.expect("because it can be asked");
        if let Some(found) = &found {
            assert_eq!(*found, self.cached, "{:?}: {what}", self.kind);
        }
        found.is_some()
    }

    /// Whether it is found, and whether its bytes come; neither is ever wrong, and nothing hangs.
    async fn ask(&self, what: &str) -> (bool, bool) {
        let asked = async {
            let found = self.find(what).await;
            let cache = self.cache();
            let came = bytes(&*cache, &key("mine"), &self.cached).await;
            if let Some(came) = &came {
                assert_eq!(Digest::sha256_of(came), Digest::sha256_of(&content()), "{what}");
            }
            (found, came.is_some())
        };
        let asked = tokio::time::timeout(Duration::from_secs(60), asked).await;
        asked.unwrap_or_else(|_| panic!("{:?} hangs: {what}", self.kind))
    }

    /// After which it must be good again.
    async fn heal(&self, what: &str) {
        self.put().await.unwrap_or_else(|error| panic!("{:?}: {what}: {error}", self.kind));
        assert_eq!(self.ask(what).await, (true, true), "{:?} heals: {what}", self.kind);
    }

    /// All that is in the volume, but for locks; directories before what is in them.
    fn entries(&self) -> Vec<PathBuf> {
        let mut entries = Vec::new();
        collect(&self.volume(), &mut entries);
        entries.retain(|path| !path.to_string_lossy().ends_with("lock"));
        entries
    }
}

fn collect(directory: &Path, entries: &mut Vec<PathBuf>) {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("because it is a directory")
        .map(|entry| entry.expect("because it is readable").path())
        .collect();
    found.sort();
    for path in found {
        entries.push(path.clone());
        if path.is_dir() {
            collect(&path, entries);
        }
    }
}

/// Ways in which a file can differ from what it was: each of its regions.
fn damages(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut damages = Vec::new();
    let last = whole.len() - 1;
    // Of documents, each byte: one letter of a history would change an image.
    let step = if whole.len() < 4096 { 1 } else { 4096 };
    let mut places: Vec<usize> = (0..whole.len()).step_by(step).collect();
    places.extend([1, whole.len() / 3, whole.len() / 2, last]);
    for at in places {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x20;
        damages.push((format!("byte {at} of {} flipped", whole.len()), bytes));
    }
    for length in [0, 1, whole.len() / 2, last] {
        damages.push((format!("cut to {length}"), whole[..length].to_vec()));
    }
    for more in [1, 4096] {
        damages.push((format!("{more} bytes more"), [whole, &vec![0; more]].concat()));
    }
    damages.push(("half JSON".to_owned(), b"{".to_vec()));
    damages.push(("other JSON".to_owned(), b"{\"version\":1}".to_vec()));
    damages
}

#[tokio::test]
async fn every_region_of_every_file() {
    for kind in KINDS {
        let spoilt = Spoilt::new(kind).await;
        let mut detected = 0;
        let files: Vec<PathBuf> =
            spoilt.entries().into_iter().filter(|path| path.is_file()).collect();
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            let whole = std::fs::read(&file).expect("because it was put");
            for (how, bytes) in damages(&whole) {
                let what = format!("{}: {how}", file.display());
                std::fs::write(&file, &bytes).expect("because it is ours");
                if whole.len() == SIZE {
                    assert!(!spoilt.ask(&what).await.1, "damaged bytes came: {what}");
                    // What was damaged once is not there any more.
                    assert_eq!(spoilt.ask(&what).await, (false, false), "{what}");
                    spoilt.heal(&what).await;
                    detected += 1;
                } else {
                    detected += usize::from(!spoilt.find(&what).await);
                    std::fs::write(&file, &whole).expect("because it is ours");
                }
            }
            assert_eq!(spoilt.ask("all is as it was").await, (true, true));
        }
        assert!(detected > 500, "{kind:?}: {detected}");
    }
}

/// A name in a cache that somebody else has put something under.
async fn check_replaced(kind: Kind, how: &str, replace: fn(&Path, &Path)) {
    let count = Spoilt::new(kind).await.entries().len();
    for at in 0..count {
        let spoilt = Spoilt::new(kind).await;
        let path = spoilt.entries().swap_remove(at);
        // The directory that a user names may be a link, and what is written is not read.
        if path == spoilt.volume().join("layers") || path.ends_with("tmp") {
            continue;
        }
        let what = format!("{} is {how}", path.display());
        let aside = spoilt.scratch.path().join("aside");
        std::fs::create_dir(&aside).expect("because there is room");
        std::fs::rename(&path, aside.join("x")).expect("because it is ours");
        replace(&aside.join("x"), &path);
        // What was there is never changed, by a reader or a writer.
        let before = testkit::tree::print(&aside);
        assert!(!spoilt.ask(&what).await.0, "{kind:?}: {what}");
        let _ = spoilt.put().await;
        assert_eq!(testkit::tree::print(&aside), before, "{kind:?}: {what}");
    }
}

#[tokio::test]
async fn what_others_put_there_is_neither_followed_nor_waited_for() {
    for kind in KINDS {
        check_replaced(kind, "a link to what was there", |aside, path| {
            symlink(aside, path).expect("because the name is free");
        })
        .await;
        check_replaced(kind, "a pipe", |_, path| {
            let (parent, name) = (path.parent(), path.file_name());
            let (parent, name) = (parent.expect("it has one"), name.expect("it has one"));
            testkit::tree::make(parent, &format!("p 0644 /{}", name.display()));
        })
        .await;
        check_replaced(kind, "a directory", |_, path| {
            std::fs::create_dir(path).expect("because the name is free");
        })
        .await;
        check_replaced(kind, "gone", |_, _| {}).await;
    }
}

#[tokio::test]
async fn files_under_a_wrong_name_heal() {
    for kind in KINDS {
        let spoilt = Spoilt::new(kind).await;
        let files: Vec<PathBuf> =
            spoilt.entries().into_iter().filter(|path| path.is_file()).collect();
        for path in files {
            for make in ["p 0644", "d 0755"] {
                std::fs::remove_file(&path).expect("because it is ours");
                let (parent, name) = (path.parent(), path.file_name());
                let (parent, name) = (parent.expect("it has one"), name.expect("it has one"));
                testkit::tree::make(parent, &format!("{make} /{}", name.display()));
                spoilt.heal(&format!("{} is {make}", path.display())).await;
            }
        }
    }
}

#[tokio::test]
async fn an_entry_under_another_key_is_none() {
    let spoilt = Spoilt::new(Kind::Directory).await;
    let path = |word: &str| {
        let text = key(word).to_string();
        spoilt.volume().join("layers/records").join(&text[..2]).join(&text[2..])
    };
    std::fs::create_dir_all(path("other").parent().expect("it has one")).expect("there is room");
    std::fs::copy(path("mine"), path("other")).expect("because it was put");
    let found = spoilt.cache().look_up(&key("other"), None).await;
    assert_eq!(found.expect("because it can be asked"), None);

    // A newer version, whole.
    let text = std::fs::read_to_string(path("mine")).expect("because it was put");
    let (_, record) = text.split_once('\n').expect("because it has two lines");
    let newer = record.trim_end().replace("\"version\":2", "\"version\":3");
    assert_ne!(newer, record.trim_end());
    let newer = format!("{}\n{newer}\n", Digest::sha256_of(newer.as_bytes()));
    std::fs::write(path("mine"), newer).expect("because it is ours");
    assert!(!spoilt.ask("newer").await.0);

    let spoilt = Spoilt::new(Kind::Layouts).await;
    let entry = |word: &str| spoilt.volume().join(format!("layers:{}", key(word)));
    std::fs::rename(entry("mine"), entry("other")).expect("because it is ours");
    let found = spoilt.cache().look_up(&key("other"), None).await;
    assert_eq!(found.expect("because it can be asked"), None);
}
