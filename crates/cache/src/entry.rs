//! An entry as an image of one layer: what repositories and layouts hold under a key.
//!
//! The shape is kaniko's, so that retention rules that go by an image's time keep working: `created`
//! in the config, one layer, one line of history. The record is a label of the config, and with it
//! bound to the digests of config and manifest. *Does not* read or write anything.

use oci::{
    ConfigEdit, History, Image, ImageConfig, ImageDraft, ImageFormat, ImageManifest, MediaType,
    Platform, Timestamp,
};

use crate::key::CacheKey;
use crate::layer_cache::{CachedLayer, Record};

/// The label of the config that holds the record.
const RECORD_LABEL: &str = "io.kaniko-rs.cache.record";

/// The image that stands for a result.
pub(crate) fn image(key: &CacheKey, cached: &CachedLayer) -> Image {
    // It is no image to run: without a platform, as kaniko's.
    let mut draft = ImageDraft::from_scratch(&Platform::default());
    let created = Some(Timestamp::new(cached.created, 0));
    draft.set_created(created);
    draft.push_layer(cached.layer.clone(), History::step(&cached.created_by, created));
    draft.edit(&ConfigEdit::Label {
        key: RECORD_LABEL.to_owned(),
        value: Record::new(key, cached).into_json(),
    });
    draft.finish(format_of(&cached.layer.descriptor.media_type))
}

/// The format whose names the layer has already: its descriptor is not to change.
fn format_of(layer: &MediaType) -> ImageFormat {
    if *layer == layer.to_oci_layer() { ImageFormat::Oci } else { ImageFormat::Docker }
}

/// The result that an image stands for, if it is one of this key and nothing in it speaks of
/// anything else; the reason if not.
pub(crate) fn read(
    key: &CacheKey,
    manifest: &ImageManifest,
    config: &ImageConfig,
) -> Result<CachedLayer, &'static str> {
    let [descriptor] = manifest.layers.as_slice() else { return Err("it has not one layer") };
    let [diff_id] = config.rootfs.diff_ids.as_slice() else { return Err("it has not one diff id") };
    let record = config.config.labels.get(RECORD_LABEL).ok_or("it has no record")?;
    let cached = Record::parse(record.as_bytes(), key)?;
    if cached.layer.descriptor != *descriptor {
        return Err("its manifest has another layer than its record");
    }
    if cached.layer.diff_id != *diff_id {
        return Err("its config has another diff id than its record");
    }
    Ok(cached)
}
