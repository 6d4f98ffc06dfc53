//! Any text is what a registry says in its headers: challenges, ranges, when to come back. All of it
//! is read or ignored, within bounds.
#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    registry::headers(text);
    let _ = transport::http_date(text);
    let shown = transport::printable(text, 50);
    assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
    if let Ok(value) = HeaderValue::from_str(text) {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        headers.insert(header::RETRY_AFTER, value);
        let _ = transport::retry_after(&headers);
    }
});
