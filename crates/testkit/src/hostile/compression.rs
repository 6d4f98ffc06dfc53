//! Compressed forms that are damaged, nested or far larger than they look.

use std::io::{Read, Write};

use crate::tar_builder::{Member, gzip, header, zstd};

use super::{Accept, Case, Contain, Reject, bytes, okf, tar};

fn changed(mut archive: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut archive);
    archive
}

pub(super) fn cases() -> Vec<Case> {
    let plain = okf().end();
    let packed = gzip(&plain);
    let end = packed.len();
    let framed = zstd(&plain);
    let named = [
        &b"\x1f\x8b\x08\x1c\0\0\0\0\0\xff"[..],
        b"\x04\0evil",
        b"../../pwn\0",
        b"remark\0",
        &packed[10..],
    ];
    let mut cases = vec![
        bytes("G01", Accept, [gzip(&plain[..700]), gzip(&plain[700..])].concat()),
        bytes("G01b", Accept, plain.chunks(100).flat_map(gzip).collect()),
        bytes("G02", Contain, [&packed[..], b"garbage behind the stream"].concat()),
        bytes("G02b", Contain, [&packed[..], &[0; 1024]].concat()),
        bytes("G03", Reject, changed(packed.clone(), |b| b[end - 8..end - 4].fill(0))),
        bytes("G04", Reject, changed(packed.clone(), |b| b[end - 4..].fill(0xff))),
        bytes("G05", Reject, packed[..end - 5].to_vec()),
        bytes("G06", Reject, packed[..end / 2].to_vec()).add(Contain),
        bytes("G06b", Reject, packed[..12].to_vec()).add(Contain),
        bytes("G06c", Reject, b"\x1f\x8b".to_vec()).add(Contain),
        bytes("G07", Accept, packed.clone()),
        bytes("G08", Accept, named.concat()),
        bytes("G08b", Reject, changed(packed.clone(), |b| b[2] = 9)).add(Contain),
        bytes("G08c", Reject, changed(packed.clone(), |b| b[3] = 0xe0)).add(Contain),
        bytes("G09", Accept, framed.clone()),
        bytes("G09b", Reject, framed[..framed.len() - 3].to_vec()).add(Contain),
        bytes("G09c", Accept, [zstd(&plain[..700]), zstd(&plain[700..])].concat()),
        bytes("G09d", Accept, [&b"\x50\x2a\x4d\x18\x04\0\0\0skip"[..], &framed].concat()),
        bytes("G10", Reject, checked_zstd(&plain)).add(Contain),
        bytes("G11", Reject, [&b"\x28\xb5\x2f\xfd\x00"[..], &[21 << 3], b"\x01\x00\x00"].concat())
            .add(Contain),
        bytes("G11b", Reject, [&b"\x28\xb5\x2f\xfd\x00"[..], &[31 << 3], b"\x01\x00\x00"].concat())
            .add(Contain),
        bytes("G12", Reject, b"BZh91AY&SYbroken".to_vec()).add(Contain),
        bytes("G13", Reject, b"\xfd7zXZ\0\0\x04broken".to_vec()).add(Contain),
        // One level of compression is taken off, not two.
        bytes("G14", Reject, gzip(&packed)).add(Accept),
        bytes("G14b", Reject, gzip(&framed)).add(Accept),
        bytes("G14c", Reject, zstd(&packed)).add(Accept),
        bytes("G15", Contain, gzip(b"")),
        bytes("G15b", Contain, zstd(b"")),
        bytes("G16", Reject, b"\x78\x9c\x4b\x04\0\0\x62\0\x62".to_vec()).add(Accept),
        bytes("G16b", Reject, b"\x04\x22\x4d\x18\x64\x40\xa7".to_vec()).add(Accept),
    ];
    cases.extend(bombs());
    cases
}

/// Small beside the figures of the full-size ones, which are for the benchmarks: here the shape.
fn bombs() -> Vec<Case> {
    let announced = |flag: u8| {
        let size = Some(1 << 30);
        okf().raw(&header(&Member { size, ..Member::new(flag, "x") })).bytes()
    };
    let mut cases = vec![
        bytes(
            "B01",
            Accept,
            packed_zeros(&okf().raw(&file_header("z", 64 << 20)).bytes(), 64 << 20),
        ),
        bytes("B05", Accept, gzip(&(0..3000).fold(tar(), |t, _| t.file("same", "")).end())),
        bytes(
            "B06",
            Accept,
            gzip(&(0..3000).fold(tar(), |t, i| t.file(format!("f{i}"), "")).end()),
        ),
        bytes("B07", Accept, {
            let one = packed_zeros(&file_header("z", 4 << 20), 4 << 20);
            one.repeat(8)
        }),
    ];
    for flag in [b'L', b'K', b'x', b'g'] {
        let id = format!("B03-{}", char::from(flag));
        cases.push(bytes(id, Reject, packed_zeros(&announced(flag), 8 << 20)));
    }
    cases
}

fn file_header(name: &str, size: u64) -> [u8; 512] {
    header(&Member { size: Some(size), ..Member::file(name, "") })
}

/// Bytes and many zeros after them, as one gzip member.
fn packed_zeros(start: &[u8], zeros: u64) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let written = encoder
        .write_all(start)
        .and_then(|()| std::io::copy(&mut std::io::repeat(0).take(zeros), &mut encoder))
        .and_then(|_| encoder.finish());
    written.expect("because a vector takes all")
}

/// A frame with a checksum that is wrong.
fn checked_zstd(plain: &[u8]) -> Vec<u8> {
    let made = zstd::stream::Encoder::new(Vec::new(), 3).and_then(|mut encoder| {
        encoder.include_checksum(true)?;
        encoder.write_all(plain)?;
        encoder.finish()
    });
    let mut frame = made.expect("because a vector takes all");
    if let Some(last) = frame.last_mut() {
        *last ^= 1;
    }
    frame
}
