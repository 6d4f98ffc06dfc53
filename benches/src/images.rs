//! Images to move about.

use libdeflater::{CompressionLvl, Compressor};
use oci::{
    Descriptor, DiffId, Digest, History, Image, ImageDraft, ImageFormat, LayerRef, MediaType,
    Platform,
};
use store::BlobStore;

use crate::content::Content;

/// An image of layers that compress no further, as registries get them; together `mib` MiB.
///
/// # Panics
/// Where the store has no room.
#[must_use]
pub fn incompressible(store: &BlobStore, mib: u64, layers: usize) -> Image {
    let mut draft = ImageDraft::from_scratch(&Platform::new("linux", "amd64"));
    let mut content = Content::new(0);
    for number in 0..layers {
        let mut bytes = Vec::new();
        let wanted = (mib << 20) as usize / layers;
        while bytes.len() < wanted {
            bytes.extend_from_slice(&(content.number() as u32).to_le_bytes()[..3]);
        }
        let mut compressor = Compressor::new(CompressionLvl::new(0).expect("because 0 is a level"));
        let mut packed = vec![0; compressor.gzip_compress_bound(bytes.len())];
        let length = compressor.gzip_compress(&bytes, &mut packed).expect("because it fits");
        packed.truncate(length);
        let digest = store.put(&packed).expect("because there is room");
        let descriptor = Descriptor::new(MediaType::OciLayerGzip, digest, length as u64);
        let diff_id = DiffId(Digest::sha256_of(&bytes));
        let history = History::step(&format!("COPY {number} /"), None);
        draft.push_layer(LayerRef { descriptor, diff_id }, history);
    }
    draft.finish(ImageFormat::Oci)
}
