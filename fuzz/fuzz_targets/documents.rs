//! Any bytes are a manifest, an index or a config, or they are refused; what is read keeps its
//! bytes, is read the same again from what our writer makes of it, and is of one kind only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{
    BaseImage, Digest, Document, ImageConfig, ImageDraft, ImageFormat, ImageIndex, ImageManifest,
    MediaType, Platform, Raw,
};

fn read<T: Document + Clone + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<Raw<T>> {
    let raw = match Raw::<T>::parse(bytes.to_vec()) {
        Ok(raw) => raw,
        Err(error) => {
            let _ = error.to_string();
            return None;
        }
    };
    assert_eq!(raw.bytes(), bytes);
    assert_eq!(raw.digest(), &Digest::sha256_of(bytes));
    let written = Raw::from_value(raw.value().clone());
    let again = Raw::<T>::parse(written.bytes().to_vec()).expect("what is written is valid");
    assert_eq!(again.value(), raw.value());
    assert_eq!(Raw::from_value(again.value().clone()).bytes(), written.bytes());
    Some(raw)
}

fuzz_target!(|input: &[u8]| {
    let manifest = read::<ImageManifest>(input);
    let index = read::<ImageIndex>(input);
    assert!(manifest.is_none() || index.is_none(), "a document of two kinds");
    if let Some(index) = index {
        let _ = oci::select(&index, &Platform::new("linux", "amd64")).map_err(|e| e.to_string());
    }
    // A config, under a manifest that fits it, is a base to build on or says why it is none.
    if let Some(config) = read::<ImageConfig>(input) {
        let layers: Vec<String> = config
            .rootfs
            .diff_ids
            .iter()
            .map(|id| {
                let kind = MediaType::OciLayerGzip;
                format!("{{\"mediaType\":\"{kind}\",\"digest\":\"{}\",\"size\":1}}", id.0)
            })
            .collect();
        let text = format!(
            "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"{}\",\"digest\":\"{}\",\"size\":{}}},\
             \"layers\":[{}]}}",
            MediaType::OciConfig,
            config.digest(),
            config.size(),
            layers.join(",")
        );
        let manifest = Raw::<ImageManifest>::parse(text.into_bytes()).expect("it is well formed");
        let descriptor = manifest.descriptor(MediaType::OciManifest);
        if let Ok(base) = BaseImage::new(descriptor, &manifest, config) {
            for format in [ImageFormat::Oci, ImageFormat::Docker] {
                let image = ImageDraft::from_base(&base).finish(format);
                assert_eq!(image.layers().len(), base.layers().len());
            }
        }
    }
});
