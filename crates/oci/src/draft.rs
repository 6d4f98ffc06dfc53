//! An image in the making: a base, then layers and config edits in order.

use std::collections::BTreeMap;

use serde_json::Map;

use crate::error::{Error, Result};
use crate::raw::Document;
use crate::{
    ConfigEdit, Descriptor, DiffId, History, Image, ImageConfig, ImageFormat, ImageManifest,
    MediaType, Platform, Raw, RootFs, Timestamp,
};

/// A layer by both its identities: what is stored, and what it unpacks to.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRef {
    /// The stored blob.
    pub descriptor: Descriptor,
    /// The uncompressed tar.
    pub diff_id: DiffId,
}

/// An image as it was pulled, to build on.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseImage {
    manifest_descriptor: Descriptor,
    config: Raw<ImageConfig>,
    layers: Vec<LayerRef>,
}

impl BaseImage {
    /// Puts a manifest and its config together, and refuses what cannot be built on: something
    /// that is no container image, layers we cannot apply, a config that speaks of others.
    pub fn new(
        manifest_descriptor: Descriptor,
        manifest: &ImageManifest,
        config: Raw<ImageConfig>,
    ) -> Result<BaseImage> {
        let refused = |problem: String| Err(Error::Document { kind: ImageManifest::KIND, problem });
        if !manifest.config.media_type.is_config() {
            return refused(format!(
                "`config` is a `{}`, so this is no container image",
                manifest.config.media_type
            ));
        }
        if &manifest.config.digest != config.digest() || manifest.config.size != config.size() {
            return refused(format!(
                "`config` is `{}` of {} bytes, but `{}` of {} bytes came",
                manifest.config.digest,
                manifest.config.size,
                config.digest(),
                config.size()
            ));
        }
        if config.os.is_empty() || config.architecture.is_empty() {
            let problem = "`os` or `architecture` is missing".to_owned();
            return Err(Error::Document { kind: ImageConfig::KIND, problem });
        }
        if manifest.layers.len() != config.rootfs.diff_ids.len() {
            return refused(format!(
                "it has {} layers, but its config has {} diff ids",
                manifest.layers.len(),
                config.rootfs.diff_ids.len()
            ));
        }
        if let Some(layer) = manifest.layers.iter().find(|layer| !layer.media_type.is_layer()) {
            return refused(format!(
                "layer `{}` has the unknown media type `{}`",
                layer.digest, layer.media_type
            ));
        }
        let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids);
        let layers = layers
            .map(|(descriptor, diff_id)| LayerRef {
                descriptor: descriptor.clone(),
                diff_id: diff_id.clone(),
            })
            .collect();
        Ok(BaseImage { manifest_descriptor, config, layers })
    }

    /// What the registry or the index says about the manifest.
    pub fn manifest_descriptor(&self) -> &Descriptor {
        &self.manifest_descriptor
    }

    /// The config document.
    pub fn config(&self) -> &Raw<ImageConfig> {
        &self.config
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[LayerRef] {
        &self.layers
    }

    /// The format it is written in.
    pub fn format(&self) -> ImageFormat {
        if self.manifest_descriptor.media_type == MediaType::DockerManifest {
            ImageFormat::Docker
        } else {
            ImageFormat::Oci
        }
    }
}

/// An image in the making.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageDraft {
    config: ImageConfig,
    layers: Vec<LayerRef>,
    format: Option<ImageFormat>,
    annotations: BTreeMap<String, String>,
}

impl ImageDraft {
    /// An image without layers.
    pub fn from_scratch(platform: &Platform) -> ImageDraft {
        let mut config = ImageConfig::default();
        config.set_platform(platform);
        ImageDraft { config, layers: Vec::new(), format: None, annotations: BTreeMap::new() }
    }

    /// An image on top of a pulled one. The base's own time is not ours, and of the fields this
    /// project does not know, none is passed on.
    pub fn from_base(base: &BaseImage) -> ImageDraft {
        ImageDraft {
            config: derived(base.config.value()),
            layers: base.layers.clone(),
            format: Some(base.format()),
            annotations: BTreeMap::new(),
        }
    }

    /// An image on top of one of our own.
    pub fn from_image(image: &Image) -> ImageDraft {
        ImageDraft {
            config: derived(image.config.value()),
            layers: image.layers.clone(),
            format: Some(image.format()),
            annotations: BTreeMap::new(),
        }
    }

    /// The config as it is now.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The layers as they are now, lowest first.
    pub fn layers(&self) -> &[LayerRef] {
        &self.layers
    }

    /// The format of the base, where there is one.
    pub fn base_format(&self) -> Option<ImageFormat> {
        self.format
    }

    /// Carries out one change of the config.
    pub fn edit(&mut self, edit: &ConfigEdit) {
        edit.apply(&mut self.config);
    }

    /// Adds a layer and the history of the step that made it.
    pub fn push_layer(&mut self, layer: LayerRef, history: History) {
        self.layers.push(layer);
        self.config.history.push(History { empty_layer: false, ..history });
    }

    /// Adds the history of a step that made no layer.
    pub fn push_empty(&mut self, history: History) {
        self.config.history.push(History { empty_layer: true, ..history });
    }

    /// Sets when the image was made.
    pub fn set_created(&mut self, created: Option<Timestamp>) {
        self.config.created = created;
    }

    /// Says something in the manifest, in place of what was said under the same keys.
    pub fn annotate(&mut self, annotations: &BTreeMap<String, String>) {
        let annotations = annotations.iter().map(|(key, value)| (key.clone(), value.clone()));
        self.annotations.extend(annotations);
    }

    /// Writes both documents. Layers keep their blobs; only the names of their media types follow
    /// the format.
    pub fn finish(mut self, format: ImageFormat) -> Image {
        repair_history(&mut self.config, self.layers.len());
        let (manifest_type, config_type) = match format {
            ImageFormat::Oci => (MediaType::OciManifest, MediaType::OciConfig),
            ImageFormat::Docker => (MediaType::DockerManifest, MediaType::DockerConfig),
        };
        for layer in &mut self.layers {
            let media_type = &mut layer.descriptor.media_type;
            *media_type = match format {
                ImageFormat::Oci => media_type.to_oci_layer(),
                ImageFormat::Docker => media_type.to_docker_layer(),
            };
        }
        let diff_ids = self.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let platform = self.config.platform().normalized();
        self.config.set_platform(&platform);
        self.config.rootfs = RootFs { diff_ids, ..RootFs::default() };
        let config = Raw::from_value(self.config);
        let manifest = Raw::from_value(ImageManifest {
            schema_version: 2,
            media_type: Some(manifest_type),
            artifact_type: None,
            config: config.descriptor(config_type),
            layers: self.layers.iter().map(|layer| layer.descriptor.clone()).collect(),
            subject: None,
            annotations: self.annotations,
            extra: Map::new(),
        });
        Image { config, manifest, layers: self.layers }
    }
}

fn derived(config: &ImageConfig) -> ImageConfig {
    let mut config = ImageConfig { created: None, extra: Map::new(), ..config.clone() };
    config.config.extra.clear();
    config
}

/// Readers count the entries that made a layer and expect as many layers. A base that is already
/// wrong gets entries for the layers nobody speaks of, below everything else; one that speaks of
/// layers it does not have loses that claim, from the bottom up.
fn repair_history(config: &mut ImageConfig, layers: usize) {
    let claimed = config.history.iter().filter(|entry| !entry.empty_layer).count();
    if config.history.is_empty() || claimed == layers {
        return;
    }
    if claimed < layers {
        let missing = std::iter::repeat_n(History::default(), layers - claimed);
        config.history.splice(0..0, missing);
    } else {
        let wrong = config.history.iter_mut().filter(|entry| !entry.empty_layer);
        for entry in wrong.take(claimed - layers) {
            entry.empty_layer = true;
        }
    }
}
