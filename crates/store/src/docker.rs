//! [`DockerArchive`]: an image as the file that `docker load` takes, as kaniko's `--tar-path`.
//!
//! Members in kaniko's order: the config under the name of its digest, each distinct layer as
//! `<hex>.tar.gz`, and `manifest.json` last. Nothing in it depends on time or owner.

use std::io::{self, Read, Write};
use std::path::Path;

use oci::{Image, LayerCompression, LayerRef, Reference};
use serde::Serialize;
use tar::{EntryType, Header};

use crate::blob::BlobStore;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::verified::Verified;

/// The archive that `docker load`, podman and skopeo read.
#[derive(Debug)]
pub struct DockerArchive;

/// One image in `manifest.json`.
#[derive(Serialize)]
struct Row {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    tags: Vec<String>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

impl DockerArchive {
    /// Writes `image`, whose layers are in `blobs`, to the file at `path`, under `names`.
    pub fn write(path: &Path, image: &Image, blobs: &BlobStore, names: &[Reference]) -> Result<()> {
        let layers = image.layers().iter().map(member_name).collect::<Result<Vec<_>>>()?;
        for layer in image.layers() {
            // Before the file is touched: nothing half may be left of it.
            drop(blobs.open_blob(&layer.descriptor.digest)?);
        }
        let config = image.config().digest().to_string();
        let mut tags: Vec<String> = Vec::new();
        for name in names {
            let tag = tag_of(name);
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let row = Row { config: config.clone(), tags, layers: layers.clone() };
        let manifest = serde_json::to_vec(&[row]).map_err(|error| Error::Archive(error.into()))?;
        Output::create(path)?.finish(|file| {
            let mut tar = io::BufWriter::with_capacity(256 << 10, file);
            let bytes = image.config().bytes();
            append(&mut tar, &config, bytes.len() as u64, bytes)?;
            for (at, (layer, name)) in image.layers().iter().zip(&layers).enumerate() {
                if layers[..at].contains(name) {
                    continue;
                }
                let blob = blobs.open_blob(&layer.descriptor.digest).map_err(io::Error::other)?;
                let size = layer.descriptor.size;
                append(&mut tar, name, size, Verified::new(blob, &layer.descriptor))?;
            }
            append(&mut tar, "manifest.json", manifest.len() as u64, &manifest[..])?;
            tar.write_all(&[0; 1024])?;
            tar.flush()
        })
    }
}

/// A layer's name in the archive; its ending tells how it is compressed.
fn member_name(layer: &LayerRef) -> Result<String> {
    let hex = layer.descriptor.digest.hex();
    match layer.descriptor.media_type.compression() {
        Some(LayerCompression::Gzip) => Ok(format!("{hex}.tar.gz")),
        Some(LayerCompression::None) => Ok(format!("{hex}.tar")),
        Some(LayerCompression::Zstd) | None => Err(Error::Layer {
            digest: layer.descriptor.digest.clone(),
            media_type: layer.descriptor.media_type.as_str().to_owned(),
        }),
    }
}

/// The full name with a tag and without a digest, which `docker load` does not know.
fn tag_of(name: &Reference) -> String {
    let tagged = name.with_tag(name.tag().unwrap_or("latest"));
    tagged.expect("because the tag is one already").normalized()
}

fn append(tar: &mut impl Write, name: &str, size: u64, mut content: impl Read) -> io::Result<()> {
    // The longest name is a digest, which fits; GNU's header holds sizes over 8 GiB.
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    tar.write_all(header.as_bytes())?;
    let written = io::copy(&mut content, tar)?;
    if written != size {
        return Err(io::Error::other(format!("`{name}` has {written} bytes instead of {size}")));
    }
    let padding = usize::try_from(size.wrapping_neg() % 512).unwrap_or_default();
    tar.write_all(&[0; 512][..padding])
}
