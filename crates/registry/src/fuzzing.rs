//! Only for fuzzing: what registries say in headers, any bytes of it.

use crate::challenge;
use crate::pull::range_start;
use crate::upload::parse_range_end;

/// Reads a text as each of the headers that this crate reads.
pub fn headers(text: &str) {
    for challenge in challenge::parse(text) {
        assert!(!challenge.scheme.is_empty() && !challenge.scheme.contains(' '));
        let names = challenge.parameters.iter().map(|(name, _)| name);
        for name in names {
            assert!(challenge.parameter(name).is_some());
        }
    }
    let _ = (range_start(Some(text)), parse_range_end(text));
}
