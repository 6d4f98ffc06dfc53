//! A reader that fails at its end when what it gave is not what was expected.

use std::io::{self, Read};

use oci::{Algorithm, Descriptor, Digest};
use sha2::{Digest as _, Sha256};

/// Hashes and counts on the way through.
pub(crate) struct Verified<'a, R> {
    inner: R,
    expected: &'a Descriptor,
    hash: Sha256,
    size: u64,
}

impl<'a, R: Read> Verified<'a, R> {
    pub(crate) fn new(inner: R, expected: &'a Descriptor) -> Self {
        Self { inner, expected, hash: Sha256::new(), size: 0 }
    }

    fn check(&self) -> io::Result<()> {
        let Descriptor { digest, size, .. } = self.expected;
        // SHA-512 is compared when the blob is committed; its size is compared here too.
        let whole = digest.algorithm() != Algorithm::Sha256
            || Digest::from_sha256(self.hash.clone().finalize().into()) == *digest;
        if whole && self.size == *size {
            return Ok(());
        }
        Err(io::Error::other(format!("the stored blob `{digest}` is damaged")))
    }
}

impl<R: Read> Read for Verified<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.size += length as u64;
        if length == 0 && !buffer.is_empty() {
            self.check()?;
        }
        Ok(length)
    }
}
