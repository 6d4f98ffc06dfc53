//! What an archive may ask for at most.
//!
//! Every size, count, length and depth that an archive states passes one of these numbers before
//! anything is allocated or created for it. The defaults are far above what images need and far
//! below what hurts. Only numbers live here; the checks stand where the value is read.

/// The bounds that reading an archive keeps.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the uncompressed archive.
    pub archive_bytes: u64,
    /// Apparent size of one file, holes included.
    pub file_bytes: u64,
    /// Entries in one archive.
    pub entries: u64,
    /// Bytes of one extension record block (PAX header, GNU long name or link).
    pub extension_bytes: u64,
    /// Records in one PAX header.
    pub pax_records: usize,
    /// Bytes of a path, after it has been joined to its destination.
    pub path_bytes: usize,
    /// Bytes of one component of a path.
    pub name_bytes: usize,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of a symbolic link's target.
    pub link_bytes: usize,
    /// Segments of one sparse file.
    pub sparse_segments: usize,
    /// Bytes of decoder memory (the window of zstd, the dictionary of xz).
    pub decoder_bytes: u64,
    /// Warnings kept; further ones are only counted.
    pub warnings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            archive_bytes: 512 << 30,
            file_bytes: 256 << 30,
            entries: 20_000_000,
            extension_bytes: 1 << 20,
            pax_records: 1_000,
            path_bytes: 4_096,
            name_bytes: 255,
            depth: 1_024,
            link_bytes: 4_095,
            sparse_segments: 200_000,
            decoder_bytes: 128 << 20,
            warnings: 100,
        }
    }
}
