//! The tar reader alone: any bytes come to an end, and what was read is read again the same from
//! what our writer makes of it.
//!
//! Checksums of headers are put right first, or nothing would come past them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use testkit::tar_builder::set_checksum;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    let mut rest = &mut bytes[..];
    while let Some((block, after)) = rest.split_first_chunk_mut::<512>() {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        set_checksum(block);
        let digits = std::str::from_utf8(&block[124..135]).unwrap_or_default();
        let size = usize::from_str_radix(digits, 8).unwrap_or(0);
        rest = after.get_mut(size.next_multiple_of(512)..).unwrap_or_default();
    }
    layer::reread(input);
    layer::reread(&bytes);
});
