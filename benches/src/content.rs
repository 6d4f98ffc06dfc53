//! Content to work on: between text and noise, always the same, and cheap to make.

use std::path::Path;

/// A source of content, and of numbers, that are the same in every run.
#[derive(Clone, Debug)]
pub struct Content {
    state: u64,
}

const WORDS: [&[u8]; 8] =
    [b"usr ", b"share\n", b"layer", b" of the ", b"\0\0\0\0", b"image\t", b"0x", b"return;\n"];

/// Between two marks of [`Content::mark`]: far below what a compressor looks back.
const MARK_EVERY: usize = 256;

impl Content {
    /// From the beginning, which another seed makes another.
    #[must_use]
    pub fn new(seed: u64) -> Content {
        Content { state: seed.wrapping_mul(2).wrapping_add(1) }
    }

    /// The next number, of 31 bits.
    pub fn number(&mut self) -> usize {
        const FACTOR: u64 = 6_364_136_223_846_793_005;
        self.state = self.state.wrapping_mul(FACTOR).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize
    }

    /// Text that compresses about as well as what is in images.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            text.extend_from_slice(WORDS[self.number() % WORDS.len()]);
            if self.number().is_multiple_of(3) {
                text.extend_from_slice(&self.number().to_le_bytes()[..3]);
            }
        }
        text.truncate(length);
        text
    }

    /// Makes a block differ from all others at little cost.
    pub fn mark(&mut self, block: &mut [u8]) {
        for piece in block.chunks_exact_mut(MARK_EVERY) {
            let number = self.number().to_le_bytes();
            piece[..4].copy_from_slice(&number[..4]);
        }
    }
}

const FILES_PER_DIRECTORY: usize = 100;
/// Each small file takes one block of the disk.
const LARGEST: usize = 4096;

/// Makes a tree of so many small files of text.
#[allow(clippy::disallowed_methods, reason = "a bench makes files")]
pub fn small_files(tree: &Path, files: usize) {
    let mut content = Content::new(0);
    for first in (0..files).step_by(FILES_PER_DIRECTORY) {
        let directory = tree.join(format!("group-{}/directory-{first}", first % 31));
        std::fs::create_dir_all(&directory).expect("because there is room");
        for index in first..files.min(first + FILES_PER_DIRECTORY) {
            let length = 1 + content.number() % LARGEST;
            std::fs::write(directory.join(format!("file-{index}.txt")), content.text(length))
                .expect("because there is room");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_for_the_same_seed() {
        assert_eq!(Content::new(1).text(1000), Content::new(1).text(1000));
        assert_ne!(Content::new(1).text(1000), Content::new(2).text(1000));
        let mut block = vec![0; 1024];
        Content::new(1).mark(&mut block);
        assert!(block.chunks(MARK_EVERY).all(|piece| piece[..4] != [0; 4]));
    }
}
