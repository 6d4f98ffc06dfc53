//! The vocabulary of container images.
//!
//! Responsible for names ([`Reference`]), digests, platforms, the three JSON documents (manifest,
//! index, config) and how a base, new layers and config edits become one [`Image`].
//! Does no I/O: bytes come in as values and go out as values.
//! Read first: [`ImageDraft`], which every build fills, and [`Raw`], which keeps what was pulled.

#![forbid(unsafe_code)]

mod digest;
mod error;
mod json;
mod media_type;
mod platform;
mod reference;
mod time;

mod config;
mod descriptor;
mod manifest;
mod raw;

mod draft;
mod edit;
mod image;

pub use config::{ContainerConfig, GoSet, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, ChainId, DiffId, Digest, chain_ids};
pub use draft::{BaseImage, ImageDraft, LayerRef};
pub use edit::ConfigEdit;
pub use error::{DigestFault, Error, PlatformFault, ReferenceFault, Result};
pub use image::{Image, ImageFormat};
pub use json::to_json;
pub use manifest::{ImageIndex, ImageManifest};
pub use media_type::{LayerCompression, MediaType};
pub use platform::{Platform, select};
pub use raw::{Document, Raw};
pub use reference::{Reference, registry_name};
pub use time::Timestamp;

/// The comment that marks a history entry as made by this version of the language.
pub const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// The search path an image gets when neither its base nor the Dockerfile sets one.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
