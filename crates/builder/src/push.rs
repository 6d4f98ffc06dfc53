//! An image that is already in a file or directory, pushed as it is.
//!
//! Read [`push`] first. A layout is pushed byte for byte, an index with everything below it; from a
//! docker archive only the config is taken as it is: layers are verified against it, and compressed
//! where they are not. *Does not* build anything, or need a rung.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer::{ArchiveKind, Compression, Encoder, Limits};
use oci::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType, Raw, Reference};
use registry::{BlobOrigin, BlobSource, Client, Silent};
use store::{BlobStore, Member, OciLayout, SavedImage};
use sys::StopHandle;

use crate::build::{check_push, or_stopped};
use crate::digests::Web;
use crate::each::to_each;
use crate::error::Error;
use crate::event::Observer;
use crate::publish::{tell, told};
use crate::request::Outputs;

/// What is to be pushed, and where.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// A docker archive, or the directory of an OCI layout.
    pub source: PathBuf,
    /// How pushing speaks to registries.
    pub push: registry::ClientOptions,
    /// The destinations and the digest files; nothing else of it is looked at.
    pub outputs: Outputs,
    /// Where layers of a docker archive go on their way.
    pub state_dir: PathBuf,
    /// Threads for compressing.
    pub threads: usize,
}

/// Pushes the image, or the images, to every destination, and returns the digest.
pub async fn push(
    request: PushRequest,
    observer: Arc<dyn Observer>,
    stop: StopHandle,
) -> Result<Digest, Error> {
    let client =
        Client::new(request.push.clone()).map_err(|source| Error::Client(Box::new(source)))?;
    let pushed = push_with(&client, request, &observer, &stop).await;
    if pushed.is_err() {
        // As after a build: registries shall not keep what was begun.
        client.abandon_uploads().await;
    }
    pushed
}

async fn push_with(
    client: &Client,
    request: PushRequest,
    observer: &Arc<dyn Observer>,
    stop: &StopHandle,
) -> Result<Digest, Error> {
    let PushRequest { source, push, outputs, state_dir, threads } = request;
    let registry::ClientOptions { http, retry, .. } = push;
    or_stopped(stop, check_push(&outputs, Some(client))).await?;
    let opened = tokio::task::spawn_blocking(move || open(&source, &state_dir, threads));
    let content = or_stopped(stop, async { opened.await.map_err(|_| Error::Worker)? }).await?;
    let send = |to| {
        let sent = content.send(client, to, outputs.verify_push);
        told(to, &content.digest, &outputs, observer, sent)
    };
    let sent = to_each(outputs.destinations.iter(), observer, send);
    let reached = or_stopped(stop, async { Ok(sent.await) }).await?;
    let web = Web { settings: &http, retry: &retry };
    tell(&content.digest, Vec::new(), reached, &outputs, web).await?;
    Ok(content.digest.clone())
}

/// What a file or directory holds.
struct Content {
    /// What it is known by.
    digest: Digest,
    /// One image, or those of the index.
    manifests: Vec<Raw<ImageManifest>>,
    index: Option<Raw<ImageIndex>>,
    files: Files,
}

/// Where its blobs are.
enum Files {
    Layout(Box<OciLayout>),
    Store { store: BlobStore, config: Box<Raw<oci::ImageConfig>> },
}

impl Content {
    fn image(manifest: Raw<ImageManifest>, files: Files) -> Content {
        let digest = manifest.digest().clone();
        Content { digest, manifests: vec![manifest], index: None, files }
    }

    async fn send(
        &self,
        client: &Client,
        to: &Reference,
        verify: bool,
    ) -> registry::Result<Digest> {
        let mut pushed = self.digest.clone();
        for manifest in &self.manifests {
            let name = match &self.index {
                Some(_) => to.by_digest(manifest.digest().clone()),
                None => to.clone(),
            };
            pushed = client.push_manifest_and_blobs(&name, manifest, &self.files, &Silent).await?;
            if verify {
                client.verify(&name, manifest).await?;
            }
        }
        match &self.index {
            Some(index) => client.push_index(to, index).await,
            None => Ok(pushed),
        }
    }
}

impl BlobSource for Files {
    fn locate(&self, descriptor: &Descriptor) -> io::Result<BlobOrigin> {
        let digest = &descriptor.digest;
        let file = match self {
            Files::Layout(layout) => layout.open_blob(digest),
            Files::Store { config, .. } if config.digest() == digest => {
                return Ok(BlobOrigin::Bytes(config.bytes().to_vec().into()));
            }
            Files::Store { store, .. } => store.open_blob(digest),
        };
        Ok(BlobOrigin::File(Arc::new(file.map_err(io::Error::other)?)))
    }
}

fn open(path: &Path, state_dir: &Path, threads: usize) -> Result<Content, Error> {
    let failed = |source| Error::ImageFile { path: path.to_owned(), source };
    let content = match path.is_dir() {
        true => from_layout(path),
        false => from_archive(path, &state_dir.join("store"), threads),
    };
    content.map_err(failed)
}

fn from_layout(path: &Path) -> Result<Content, ImageFileError> {
    let layout = OciLayout::read(path)?;
    let [only] = layout.index().manifests.as_slice() else {
        return Err(ImageFileError::NotOne(layout.index().manifests.len()));
    };
    let only = only.clone();
    if !only.media_type.is_index() {
        return Ok(Content::image(layout.manifest(&only)?, Files::Layout(Box::new(layout))));
    }
    let index = layout.nested_index(&only)?;
    let mut manifests = BTreeMap::new();
    for child in &index.manifests {
        if !child.media_type.is_manifest() {
            return Err(ImageFileError::Below(child.media_type.as_str().to_owned()));
        }
        manifests.insert(child.digest.clone(), layout.manifest(child)?);
    }
    Ok(Content {
        digest: index.digest().clone(),
        manifests: manifests.into_values().collect(),
        index: Some(index),
        files: Files::Layout(Box::new(layout)),
    })
}

fn from_archive(path: &Path, store: &Path, threads: usize) -> Result<Content, ImageFileError> {
    let saved = SavedImage::open(path)?;
    let store = BlobStore::open(store)?;
    let mut layers = Vec::new();
    for (member, diff_id) in saved.layers().iter().zip(&saved.config().rootfs.diff_ids) {
        let (descriptor, found) = take_layer(&store, member, threads)?;
        if found != *diff_id {
            return Err(ImageFileError::DiffId {
                layer: member.name().to_owned(),
                expected: diff_id.0.clone(),
                found: found.0,
            });
        }
        layers.push(descriptor);
    }
    let manifest = Raw::from_value(ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::DockerManifest),
        artifact_type: None,
        config: saved.config().descriptor(MediaType::DockerConfig),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
        extra: serde_json::Map::new(),
    });
    let config = Box::new(saved.config().clone());
    Ok(Content::image(manifest, Files::Store { store, config }))
}

/// Brings a layer into the store, compressed. Registries take no other from docker's manifests.
fn take_layer(
    store: &BlobStore,
    member: &Member,
    threads: usize,
) -> Result<(Descriptor, oci::DiffId), ImageFileError> {
    let failed = |source| ImageFileError::Layer { layer: member.name().to_owned(), source };
    let read = |source| ImageFileError::Read { layer: member.name().to_owned(), source };
    let mut start = Vec::new();
    member.clone().take(512).read_to_end(&mut start).map_err(read)?;
    let mut writer = store.writer()?;
    let diff_id = match layer::sniff(&start) {
        Some(ArchiveKind::Gzip) => {
            let diff_id = layer::diff_id(member.clone(), &Limits::default()).map_err(failed)?;
            io::copy(&mut member.clone(), &mut writer).map_err(read)?;
            diff_id
        }
        Some(ArchiveKind::Tar) | None => {
            let mut encoder = Encoder::new(&mut writer, Compression::default(), threads, false)
                .map_err(failed)?;
            let (mut plain, mut buffer) = (member.clone(), vec![0; 256 << 10]);
            loop {
                match plain.read(&mut buffer).map_err(read)? {
                    0 => break,
                    count => encoder.push(&buffer[..count]).map_err(failed)?,
                }
            }
            encoder.finish().map_err(failed)?.1.diff_id
        }
        Some(kind @ (ArchiveKind::Zstd | ArchiveKind::Bzip2 | ArchiveKind::Xz)) => {
            return Err(ImageFileError::Compression {
                layer: member.name().to_owned(),
                kind: format!("{kind:?}").to_lowercase(),
            });
        }
    };
    let (digest, size) = writer.keep()?;
    Ok((Descriptor::new(MediaType::DockerLayerGzip, digest, size), diff_id))
}

/// Why a file or directory cannot be pushed as an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFileError {
    /// It cannot be read, or its content kept.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A layout of several images. The text is kaniko's.
    #[error("OCI layout must contain exactly one image, found {0}")]
    NotOne(usize),
    /// Something in an index that is no manifest.
    #[error("its index has an entry of type `{0}`, which is no manifest")]
    Below(String),
    /// A layer of an archive cannot be read.
    #[error("cannot read the layer `{layer}`")]
    Read {
        /// The member.
        layer: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A layer of an archive cannot be unpacked or packed.
    #[error("cannot take the layer `{layer}`")]
    Layer {
        /// The member.
        layer: String,
        /// Why.
        #[source]
        source: layer::Error,
    },
    /// A compression that docker's manifests have no name for.
    #[error("the layer `{layer}` is compressed by {kind}; docker images have gzip")]
    Compression {
        /// The member.
        layer: String,
        /// How it is compressed.
        kind: String,
    },
    /// The layer is not the one that the config speaks of.
    #[error("the layer `{layer}` unpacks to `{found}`, but the config says `{expected}`")]
    DiffId {
        /// The member.
        layer: String,
        /// What the config says.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
}
