//! Image manifests and image indexes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::raw::Document;
use crate::{Descriptor, ImageFormat, MediaType};

/// Registries must take manifests of 4 MiB; nobody needs a longer one.
const MANIFEST_LIMIT: usize = 4 << 20;
/// The specification sets no limit; kernels and tools stop at a few hundred.
const MOST_LAYERS: usize = 1024;
const MOST_MANIFESTS: usize = 4096;

/// One image: its config and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageManifest {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// The document's own media type; OCI allows it to be absent.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The kind of artifact, where this is no container image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text.
    #[serde(
        default,
        deserialize_with = "crate::json::null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Everything else, as it stood there.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageManifest {
    /// The media type; a manifest that says none is OCI's.
    pub fn media_type(&self) -> MediaType {
        self.media_type.clone().unwrap_or(MediaType::OciManifest)
    }
}

impl Document for ImageManifest {
    const KIND: &'static str = "image manifest";
    const LIMIT: usize = MANIFEST_LIMIT;

    fn validate(&self) -> Result<()> {
        check_version::<ImageManifest>(self.schema_version)?;
        check_keys::<ImageManifest>(
            &self.extra,
            &[
                "schemaVersion",
                "mediaType",
                "artifactType",
                "config",
                "layers",
                "subject",
                "annotations",
            ],
            &["manifests", "fsLayers", "blobs"],
        )?;
        if !self.media_type().is_manifest() {
            return Err(wrong_type::<ImageManifest>(&self.media_type()));
        }
        check_count::<ImageManifest>("layers", self.layers.len(), MOST_LAYERS)
    }
}

/// Several images, told apart by platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageIndex {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// The document's own media type; OCI allows it to be absent.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The kind of artifact, where this is no container image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// The manifest this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text.
    #[serde(
        default,
        deserialize_with = "crate::json::null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Everything else, as it stood there.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageIndex {
    /// An OCI index of some manifests.
    pub fn new(manifests: Vec<Descriptor>) -> ImageIndex {
        ImageIndex {
            schema_version: 2,
            media_type: Some(MediaType::OciIndex),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// An index in this format, of manifests in this order.
    pub fn of(
        format: ImageFormat,
        manifests: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> ImageIndex {
        let media_type = match format {
            ImageFormat::Oci => MediaType::OciIndex,
            ImageFormat::Docker => MediaType::DockerManifestList,
        };
        let media_type = Some(media_type);
        ImageIndex { media_type, annotations, ..ImageIndex::new(manifests) }
    }

    /// The media type; an index that says none is OCI's.
    pub fn media_type(&self) -> MediaType {
        self.media_type.clone().unwrap_or(MediaType::OciIndex)
    }
}

impl Document for ImageIndex {
    const KIND: &'static str = "image index";
    const LIMIT: usize = MANIFEST_LIMIT;

    fn validate(&self) -> Result<()> {
        check_version::<ImageIndex>(self.schema_version)?;
        check_keys::<ImageIndex>(
            &self.extra,
            &["schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"],
            &["config", "layers", "fsLayers", "blobs"],
        )?;
        if !self.media_type().is_index() {
            return Err(wrong_type::<ImageIndex>(&self.media_type()));
        }
        check_count::<ImageIndex>("manifests", self.manifests.len(), MOST_MANIFESTS)
    }
}

fn check_version<T: Document>(version: u32) -> Result<()> {
    if version == 2 {
        return Ok(());
    }
    let problem = format!("`schemaVersion` is {version}, not 2");
    Err(Error::Document { kind: T::KIND, problem })
}

fn wrong_type<T: Document>(media_type: &MediaType) -> Error {
    Error::Document { kind: T::KIND, problem: format!("`mediaType` is `{media_type}`") }
}

/// Documents that two readers could take for different things are refused: a key that Go's
/// readers would take for another one, and keys of the other kind of manifest.
pub(crate) fn check_keys<T: Document>(
    extra: &Map<String, Value>,
    known: &[&str],
    foreign: &[&str],
) -> Result<()> {
    for key in extra.keys() {
        if known.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            let problem = format!("key `{key}` differs from a known one only by case");
            return Err(Error::Document { kind: T::KIND, problem });
        }
        if foreign.iter().any(|foreign| foreign.eq_ignore_ascii_case(key)) {
            let problem = format!("key `{key}` belongs to another kind of document");
            return Err(Error::Document { kind: T::KIND, problem });
        }
    }
    Ok(())
}

pub(crate) fn check_count<T: Document>(
    entries: &'static str,
    count: usize,
    limit: usize,
) -> Result<()> {
    if count > limit {
        return Err(Error::TooMany { kind: T::KIND, entries, count, limit });
    }
    Ok(())
}
