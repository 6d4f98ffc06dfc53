//! The cache of base images: one entry per image, named by the digest of the platform's manifest, as
//! kaniko lays it out. The warmer writes (`fill.rs`), builds read.
//!
//! ```text
//! <root>/sha256:<hex>/          an OCI layout with one image
//! <root>/sha256:<hex>           or, of kaniko's older warmers, what `docker save` writes,
//! <root>/sha256:<hex>.json      with the manifest beside it
//! <root>/.indexes/sha256:<hex>  an index that led to images of the cache, byte for byte
//! ```
//! Whoever reads believes nothing: documents are compared with their digests, layers when they are
//! copied out. No link is followed, and nothing but plain files is opened.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use oci::{
    BaseImage, Descriptor, Digest, Document as _, ImageConfig, ImageIndex, ImageManifest, Platform,
    Raw, Reference,
};
use store::{Member, REF_NAME, SavedImage, SharedDir, blob_path};

use crate::Result;
use crate::error::Error;

/// Further names, separated by spaces. Not entries of their own: kaniko expects one.
pub(crate) const MORE_NAMES: &str = "dev.kaniko-rs.further-names";
/// Clocks of machines that share a volume differ; what is from further ahead is not believed.
const SKEW: Duration = Duration::from_secs(300);
const MARKER_LIMIT: u64 = 4096;

/// What is fresh.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The time.
    pub now: SystemTime,
    /// How long after it was fetched an image may be used.
    pub lifetime: Duration,
}

impl Freshness {
    /// Whether what was fetched then may be used. A time ahead of ours would never end: a clock was
    /// set back, so it counts as past.
    pub(crate) fn holds(&self, fetched: SystemTime) -> bool {
        match self.now.duration_since(fetched) {
            Ok(age) => age < self.lifetime,
            Err(ahead) => ahead.duration() < SKEW.min(self.lifetime),
        }
    }
}

/// A directory of base images.
#[derive(Clone, Debug)]
pub struct BaseImageCache {
    root: PathBuf,
    /// Entries whose damage was told: once is enough.
    told: Arc<Mutex<BTreeSet<Digest>>>,
}

impl BaseImageCache {
    /// The cache in `root`; nothing is touched yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), told: Arc::default() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an image is, or would be.
    pub fn entry(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.as_str())
    }

    pub(crate) fn index_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(".indexes").join(digest.as_str())
    }

    /// Whether there is a directory at all.
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// What people should know of the directory, if anything.
    pub fn suspicion(&self) -> Option<String> {
        store::is_open_to_others(&self.root).then(|| {
            format!(
                "everybody may write to the base image cache `{}`, which belongs to another user: \
                 what it holds is compared with its digests, but which image a name leads to when \
                 its registry cannot be reached is not",
                self.root.display()
            )
        })
    }

    /// The image whose platform's manifest has this digest, if it is fresh. An entry that cannot be
    /// read is not there; the reason is a warning.
    pub fn image(&self, digest: &Digest, freshness: &Freshness) -> Option<CachedImage> {
        match CachedImage::read(&self.entry(digest), digest) {
            Ok(image) => image.filter(|image| freshness.holds(image.fetched)),
            Err(error) => {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if !told.insert(digest.clone()) {
                    return None;
                }
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let cause = cause.unwrap_or_default();
                tracing::warn!(%digest, %error, cause, "entry of the base image cache ignored");
                None
            }
        }
    }

    /// The same, however old it is, and without a word.
    pub(crate) fn stale(&self, digest: &Digest) -> Option<CachedImage> {
        CachedImage::read(&self.entry(digest), digest).ok().flatten()
    }

    /// The image with this digest, or the one for the platform where it is an index that is known.
    pub fn find(
        &self,
        digest: &Digest,
        platform: &Platform,
        freshness: &Freshness,
    ) -> Option<CachedImage> {
        match self.index(digest) {
            Some(index) => self.image(&oci::select(&index, platform).ok()?.digest, freshness),
            None => self.image(digest, freshness),
        }
    }

    fn index(&self, digest: &Digest) -> Option<Raw<ImageIndex>> {
        let limit = ImageIndex::LIMIT as u64;
        let bytes = store::read_file(&self.index_path(digest), limit).ok()?;
        Raw::parse_expecting(bytes, digest).ok()
    }

    /// The image that was last fetched by this name for the platform, if it is fresh. Looks through
    /// the whole cache: for builds that cannot ask a registry.
    pub fn named(
        &self,
        reference: &Reference,
        platform: &Platform,
        freshness: &Freshness,
    ) -> Option<CachedImage> {
        let entries = std::fs::read_dir(&self.root).ok()?.filter_map(std::result::Result::ok);
        let digests = entries.filter_map(|entry| Digest::parse(entry.file_name().to_str()?).ok());
        let images = digests.filter_map(|digest| self.stale(&digest));
        let usable =
            |image: &CachedImage| image.is_named(reference) && freshness.holds(image.fetched);
        let mut images: Vec<CachedImage> = images.filter(usable).collect();
        images.sort_by_key(|image| Reverse(image.fetched));
        let index = ImageIndex::new(images.iter().map(CachedImage::with_platform).collect());
        let digest = oci::select(&index, platform).map(|found| found.digest.clone());
        match digest {
            Ok(digest) => images.into_iter().find(|image| image.descriptor.digest == digest),
            // What is no part of an index serves any platform, as it does when it is pulled.
            Err(_) => images.into_iter().find(|image| image.descriptor.platform.is_none()),
        }
    }
}

/// An image of the cache. Manifest and config are verified; of the layers, that they are there and as
/// long as they should be.
#[derive(Clone, Debug)]
pub struct CachedImage {
    source: Source,
    descriptor: Descriptor,
    names: Vec<String>,
    manifest: Raw<ImageManifest>,
    config: Raw<ImageConfig>,
    fetched: SystemTime,
}

/// Where its layers are.
#[derive(Clone, Debug)]
enum Source {
    Layout(Arc<SharedDir>),
    Archive(Vec<(Digest, Member)>),
}

impl CachedImage {
    /// Nothing where there is no entry, or one that a warmer did not finish.
    fn read(path: &Path, digest: &Digest) -> Result<Option<Self>> {
        let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(None) };
        let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let image = if found.is_dir() {
            let Ok(index) = std::fs::symlink_metadata(path.join("index.json")) else {
                return Ok(None);
            };
            // kaniko looks at the directory; we write the index anew when a name is added.
            let written = index.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Self::read_layout(path, digest, modified.min(written))?
        } else if found.is_file() {
            let Some(image) = Self::read_archive(path, digest, modified)? else { return Ok(None) };
            image
        } else {
            // A link would let whoever may write here point anywhere.
            return Ok(None);
        };
        let unusable = |source| Error::Image { name: digest.to_string(), source: Box::new(source) };
        image.base_image().map_err(unusable)?;
        Ok(Some(image))
    }

    fn read_layout(path: &Path, digest: &Digest, fetched: SystemTime) -> Result<Self> {
        let above = SharedDir::open(path.parent().unwrap_or(path))?;
        let directory = above.subdir(Path::new(digest.as_str()))?;
        let marker = directory.read(Path::new("oci-layout"), MARKER_LIMIT)?;
        let marker = serde_json::from_slice::<serde_json::Value>(&marker).unwrap_or_default();
        if marker["imageLayoutVersion"] != "1.0.0" {
            let (path, reason) = (path.to_owned(), "its version is not 1.0.0");
            return Err(store::Error::NotALayout { path, reason }.into());
        }
        let name = Path::new("index.json");
        let index = directory.read(name, ImageIndex::LIMIT as u64)?;
        let index: Raw<ImageIndex> = Raw::parse(index).map_err(invalid(path, name))?;
        let found: Vec<&Descriptor> =
            index.manifests.iter().filter(|entry| entry.digest == *digest).collect();
        let names = found.iter().flat_map(|entry| names_of(entry)).collect();
        let descriptor = found.first().copied().cloned();
        let descriptor = descriptor.ok_or_else(|| store::Error::Missing(digest.clone()))?;
        let name = blob_path(digest);
        let manifest = directory.read(&name, ImageManifest::LIMIT as u64)?;
        let manifest: Raw<ImageManifest> =
            Raw::parse_expecting(manifest, digest).map_err(invalid(path, &name))?;
        let name = blob_path(&manifest.config.digest);
        let config = directory.read(&name, ImageConfig::LIMIT as u64)?;
        let config = Raw::parse_expecting(config, &manifest.config.digest);
        let config = config.map_err(invalid(path, &name))?;
        for layer in manifest.layers.iter().filter(|layer| !layer.media_type.is_foreign()) {
            let file = directory.open_file(&blob_path(&layer.digest))?;
            let found = file.metadata().map_or(0, |found| found.len());
            same_size(layer, found)?;
        }
        let source = Source::Layout(Arc::new(directory));
        Ok(Self { source, descriptor, names, manifest, config, fetched })
    }

    /// kaniko's older form. Of use only where the archive holds the layers as the registry does.
    fn read_archive(path: &Path, digest: &Digest, fetched: SystemTime) -> Result<Option<Self>> {
        let beside = path.with_file_name(format!("{digest}.json"));
        if std::fs::symlink_metadata(&beside).is_err() {
            // kaniko writes it first, so nobody knows what this is.
            return Ok(None);
        }
        let manifest = store::read_file(&beside, ImageManifest::LIMIT as u64)?;
        let manifest: Raw<ImageManifest> = Raw::parse_expecting(manifest, digest)
            .map_err(invalid(path, Path::new(&format!("{digest}.json"))))?;
        let saved = SavedImage::open(path)?;
        let (found, told) = (saved.layers().len(), manifest.layers.len());
        if found != told {
            let reason = format!("it has {found} layers, but its manifest {told}");
            return Err(store::Error::NotAnImage { path: path.to_owned(), reason }.into());
        }
        let mut layers = Vec::new();
        for (layer, member) in manifest.layers.iter().zip(saved.layers()) {
            same_size(layer, member.left())?;
            layers.push((layer.digest.clone(), member.clone()));
        }
        Ok(Some(Self {
            source: Source::Archive(layers),
            descriptor: manifest.descriptor(manifest.media_type()),
            names: saved.names().to_vec(),
            config: saved.config().clone(),
            manifest,
            fetched,
        }))
    }

    /// What an index says about the manifest, without the names it was fetched by.
    pub fn descriptor(&self) -> Descriptor {
        let mut descriptor = self.descriptor.clone();
        descriptor.annotations.remove(REF_NAME);
        descriptor.annotations.remove(MORE_NAMES);
        descriptor
    }

    fn with_platform(&self) -> Descriptor {
        let descriptor = self.descriptor();
        let platform = descriptor.platform.clone().unwrap_or_else(|| self.config.platform());
        Descriptor { platform: Some(platform), ..descriptor }
    }

    /// The manifest's digest.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// The manifest.
    pub fn manifest(&self) -> &Raw<ImageManifest> {
        &self.manifest
    }

    /// The config.
    pub fn config(&self) -> &Raw<ImageConfig> {
        &self.config
    }

    /// When it was fetched.
    pub(crate) fn fetched(&self) -> SystemTime {
        self.fetched
    }

    /// Whether it was fetched by this name.
    pub(crate) fn is_named(&self, reference: &Reference) -> bool {
        self.names.iter().any(|name| Reference::parse(name).is_ok_and(|name| name == *reference))
    }

    /// Whether it is in the form that is written now.
    pub(crate) fn is_layout(&self) -> bool {
        matches!(self.source, Source::Layout(_))
    }

    /// The names it was fetched by.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The image as a base; refused when manifest and config do not fit together.
    pub fn base_image(&self) -> std::result::Result<BaseImage, oci::Error> {
        BaseImage::new(self.descriptor(), &self.manifest, self.config.clone())
    }

    /// Opens a layer. Its content must still be compared with its digest: [`crate::Fetcher`] does.
    pub fn open_blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send>> {
        match &self.source {
            Source::Layout(directory) => Ok(Box::new(directory.open_file(&blob_path(digest))?)),
            Source::Archive(layers) => match layers.iter().find(|(found, _)| found == digest) {
                Some((_, member)) => Ok(Box::new(member.clone())),
                None => Err(store::Error::Missing(digest.clone()).into()),
            },
        }
    }
}

fn names_of(entry: &Descriptor) -> Vec<String> {
    let texts = [REF_NAME, MORE_NAMES].map(|key| entry.annotations.get(key));
    let words = texts.into_iter().flatten().flat_map(|text| text.split(' '));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn same_size(layer: &Descriptor, found: u64) -> Result<()> {
    match found == layer.size {
        true => Ok(()),
        false => {
            let (digest, expected) = (layer.digest.clone(), layer.size);
            Err(store::Error::Size { digest, expected, found }.into())
        }
    }
}

fn invalid(path: &Path, name: &Path) -> impl FnOnce(oci::Error) -> Error {
    let path = path.join(name);
    move |source| store::Error::Document { path, source: Box::new(source) }.into()
}
