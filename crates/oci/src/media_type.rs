//! The media types of manifests, configs and layers, OCI's and Docker's.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a layer's tar is compressed, as its media type says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerCompression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A media type this project knows, or another one, kept as it is.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MediaType {
            $($(#[$doc])* $name,)*
            /// Any other media type.
            Other(String),
        }

        impl MediaType {
            /// The text of the media type.
            pub fn as_str(&self) -> &str {
                match self {
                    $(MediaType::$name => $text,)*
                    MediaType::Other(text) => text,
                }
            }

            /// The media type with this text.
            pub fn parse(text: &str) -> MediaType {
                match text {
                    $($text => MediaType::$name,)*
                    other => MediaType::Other(other.to_owned()),
                }
            }
        }

        #[cfg(test)]
        const KNOWN: &[MediaType] = &[$(MediaType::$name,)*];
    };
}

media_types! {
    /// OCI image manifest.
    OciManifest = "application/vnd.oci.image.manifest.v1+json",
    /// OCI image index.
    OciIndex = "application/vnd.oci.image.index.v1+json",
    /// OCI image config.
    OciConfig = "application/vnd.oci.image.config.v1+json",
    /// OCI layer, uncompressed.
    OciLayer = "application/vnd.oci.image.layer.v1.tar",
    /// OCI layer, gzip.
    OciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip",
    /// OCI layer, Zstandard.
    OciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd",
    /// OCI layer that registries do not hold, uncompressed.
    OciForeignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar",
    /// OCI layer that registries do not hold, gzip.
    OciForeignLayerGzip = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    /// OCI layer that registries do not hold, Zstandard.
    OciForeignLayerZstd = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    /// The config of an artifact that has none.
    OciEmpty = "application/vnd.oci.empty.v1+json",
    /// Docker schema 2 manifest.
    DockerManifest = "application/vnd.docker.distribution.manifest.v2+json",
    /// Docker manifest list.
    DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json",
    /// Docker image config.
    DockerConfig = "application/vnd.docker.container.image.v1+json",
    /// Docker layer, gzip.
    DockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip",
    /// Docker layer, Zstandard; in no specification, but written by some tools.
    DockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd",
    /// Docker layer, uncompressed.
    DockerLayer = "application/vnd.docker.image.rootfs.diff.tar",
    /// Docker layer that registries do not hold, gzip.
    DockerForeignLayerGzip = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    /// Docker layer that registries do not hold, uncompressed.
    DockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar",
    /// Docker schema 1 manifest, which is refused.
    DockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json",
    /// Signed Docker schema 1 manifest, which is refused.
    DockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws",
}

impl MediaType {
    /// Whether this is a manifest of one image.
    pub fn is_manifest(&self) -> bool {
        matches!(self, MediaType::OciManifest | MediaType::DockerManifest)
    }

    /// Whether this is a list of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self, MediaType::OciIndex | MediaType::DockerManifestList)
    }

    /// Whether this is an image config.
    pub fn is_config(&self) -> bool {
        matches!(self, MediaType::OciConfig | MediaType::DockerConfig)
    }

    /// Whether this is a layer we can apply.
    pub fn is_layer(&self) -> bool {
        self.compression().is_some()
    }

    /// Whether this is a layer that is fetched from its `urls`, not from the registry.
    pub fn is_foreign(&self) -> bool {
        matches!(
            self,
            MediaType::OciForeignLayer
                | MediaType::OciForeignLayerGzip
                | MediaType::OciForeignLayerZstd
                | MediaType::DockerForeignLayer
                | MediaType::DockerForeignLayerGzip
        )
    }

    /// How a layer is compressed; nothing for what is no layer.
    pub fn compression(&self) -> Option<LayerCompression> {
        match self {
            MediaType::OciLayer
            | MediaType::OciForeignLayer
            | MediaType::DockerLayer
            | MediaType::DockerForeignLayer => Some(LayerCompression::None),
            MediaType::OciLayerGzip
            | MediaType::OciForeignLayerGzip
            | MediaType::DockerLayerGzip
            | MediaType::DockerForeignLayerGzip => Some(LayerCompression::Gzip),
            MediaType::OciLayerZstd
            | MediaType::OciForeignLayerZstd
            | MediaType::DockerLayerZstd => Some(LayerCompression::Zstd),
            MediaType::OciManifest
            | MediaType::OciIndex
            | MediaType::OciConfig
            | MediaType::OciEmpty
            | MediaType::DockerManifest
            | MediaType::DockerManifestList
            | MediaType::DockerConfig
            | MediaType::DockerSchema1
            | MediaType::DockerSchema1Signed
            | MediaType::Other(_) => None,
        }
    }

    /// The media type of the same layer in the OCI format.
    pub fn to_oci_layer(&self) -> MediaType {
        match (self.compression(), self.is_foreign()) {
            (Some(LayerCompression::None), false) => MediaType::OciLayer,
            (Some(LayerCompression::Gzip), false) => MediaType::OciLayerGzip,
            (Some(LayerCompression::Zstd), false) => MediaType::OciLayerZstd,
            (Some(LayerCompression::None), true) => MediaType::OciForeignLayer,
            (Some(LayerCompression::Gzip), true) => MediaType::OciForeignLayerGzip,
            (Some(LayerCompression::Zstd), true) => MediaType::OciForeignLayerZstd,
            (None, _) => self.clone(),
        }
    }

    /// The media type of the same layer in Docker's format.
    pub fn to_docker_layer(&self) -> MediaType {
        match (self.compression(), self.is_foreign()) {
            (Some(LayerCompression::None), false) => MediaType::DockerLayer,
            (Some(LayerCompression::Gzip), false) => MediaType::DockerLayerGzip,
            (Some(LayerCompression::Zstd), false) => MediaType::DockerLayerZstd,
            (Some(LayerCompression::None), true) => MediaType::DockerForeignLayer,
            (Some(LayerCompression::Gzip), true) => MediaType::DockerForeignLayerGzip,
            // Docker has no name for it; OCI's says what it is.
            (Some(LayerCompression::Zstd), true) => MediaType::OciForeignLayerZstd,
            (None, _) => self.clone(),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<MediaType, D::Error> {
        Ok(MediaType::parse(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_type_parses_to_itself() {
        for known in KNOWN {
            assert_eq!(&MediaType::parse(known.as_str()), known);
        }
    }

    #[test]
    fn oci_spec_agrees_on_its_names() {
        use oci_spec::image::MediaType as Spec;
        for (ours, spec) in [
            (MediaType::OciManifest, Spec::ImageManifest),
            (MediaType::OciIndex, Spec::ImageIndex),
            (MediaType::OciConfig, Spec::ImageConfig),
            (MediaType::OciLayer, Spec::ImageLayer),
            (MediaType::OciLayerGzip, Spec::ImageLayerGzip),
            (MediaType::OciLayerZstd, Spec::ImageLayerZstd),
            (MediaType::OciForeignLayerGzip, Spec::ImageLayerNonDistributableGzip),
            (MediaType::OciEmpty, Spec::EmptyJSON),
        ] {
            assert_eq!(ours.as_str(), spec.to_string());
        }
    }

    #[test]
    fn layers_keep_their_compression_across_formats() {
        for known in KNOWN.iter().filter(|known| known.is_layer()) {
            assert_eq!(known.to_oci_layer().compression(), known.compression(), "{known}");
            assert_eq!(known.to_docker_layer().compression(), known.compression(), "{known}");
            assert_eq!(known.to_docker_layer().is_foreign(), known.is_foreign(), "{known}");
        }
        let encrypted = MediaType::parse("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        assert!(!encrypted.is_layer());
    }
}
