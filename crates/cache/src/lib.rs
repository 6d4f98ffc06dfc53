//! Identity of step results, and where results and base images are found.
//!
//! Responsible for: the keys of steps, the cache of their layers, the cache of base images that the
//! warmer fills, and bringing a blob from the nearest place into a store.
//!
//! Does not: execute steps, read what a step reads, read the clock (times come in), fail a
//! build: what is torn, foreign or expired is not there.
//!
//! Read first: [`KeyBuilder`] and [`step_key`] for identity, [`LayerCache`] for results and
//! [`TieredCache`], by which a build uses them, [`BaseImageCache`] and [`Warmer`] for base images,
//! [`Fetcher`] for blobs.
#![forbid(unsafe_code)]

mod key;
mod step;

mod documents;
mod entry;
mod layer_cache;

mod collect;
mod directory;
mod health;
mod layout;
mod registry_cache;
mod tiered;

mod base_image;
mod fetch;
mod fill;
mod lookup;
mod warm;

mod error;

pub use base_image::{BaseImageCache, CachedImage, Freshness};
pub use collect::{CollectOptions, Collected, CollectedEntry};
pub use directory::DirectoryCache;
pub use documents::{recall, remember};
pub use error::Error;
pub use fetch::Fetcher;
pub use key::{CacheKey, Explained, KeyBuilder, KeyPart, Part, first_difference};
pub use layer_cache::{Below, BoxFuture, CachedLayer, LayerCache};
pub use layout::LayoutCache;
pub use lookup::{BaseImages, Found};
pub use registry_cache::RegistryCache;
pub use step::{
    Source, Start, Writer, first_state, mount_source, op_key, source_count, stands_alone,
    state_after, step_key,
};
pub use tiered::TieredCache;
pub use warm::{Refresh, WarmOptions, Warmed, Warmer};

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
