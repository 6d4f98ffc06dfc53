//! A finished image.

use crate::{Descriptor, Digest, ImageConfig, ImageManifest, LayerRef, Raw};

/// In which of the two families of media types an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// OCI image specification.
    Oci,
    /// Docker schema 2.
    Docker,
}

/// An image that knows every digest. Nothing about it can change any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub(crate) config: Raw<ImageConfig>,
    pub(crate) manifest: Raw<ImageManifest>,
    pub(crate) layers: Vec<LayerRef>,
}

impl Image {
    /// The config document.
    pub fn config(&self) -> &Raw<ImageConfig> {
        &self.config
    }

    /// The manifest document.
    pub fn manifest(&self) -> &Raw<ImageManifest> {
        &self.manifest
    }

    /// What an index or a registry says about the manifest.
    pub fn manifest_descriptor(&self) -> Descriptor {
        self.manifest.descriptor(self.manifest.media_type())
    }

    /// The same with the platform that the config names, as an index of several images has it.
    pub fn index_entry(&self) -> Descriptor {
        Descriptor { platform: Some(self.config.platform()), ..self.manifest_descriptor() }
    }

    /// What the manifest says about the config.
    pub fn config_descriptor(&self) -> &Descriptor {
        &self.manifest.config
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[LayerRef] {
        &self.layers
    }

    /// The digest by which the image is known: its manifest's.
    pub fn digest(&self) -> &Digest {
        self.manifest.digest()
    }

    /// The format it is written in.
    pub fn format(&self) -> ImageFormat {
        if self.manifest.media_type() == crate::MediaType::DockerManifest {
            ImageFormat::Docker
        } else {
            ImageFormat::Oci
        }
    }
}
