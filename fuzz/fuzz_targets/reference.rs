//! Any text is a reference, a digest and a platform, or it is refused; what is read is written so
//! that it is read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Digest, Platform, Reference};

fuzz_target!(|text: &str| {
    match Reference::parse(text) {
        Ok(reference) => {
            let shown = reference.to_string();
            let again = Reference::parse(&shown).expect("what is written can be read");
            assert_eq!(again, reference, "{shown}");
            assert!(!reference.registry().contains('/') && !reference.repository().is_empty());
            for part in reference.repository().split('/') {
                assert!(!part.is_empty() && part != "." && part != "..", "{shown}");
            }
        }
        Err(error) => drop(error.to_string()),
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = Platform::parse(text) {
        let shown = platform.to_string();
        let again = Platform::parse(&shown).expect("what is written can be read");
        assert_eq!(again.to_string(), shown);
    }
});
