//! A parsed document together with the exact bytes it came from.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json::{from_json, to_json};
use crate::{Descriptor, Digest, MediaType};

/// A JSON document of the image format.
pub trait Document: Serialize + for<'de> Deserialize<'de> {
    /// What messages call it.
    const KIND: &'static str;
    /// The longest one that is read, in bytes.
    const LIMIT: usize;

    /// What the schema alone does not say; called on everything that is read.
    fn validate(&self) -> Result<()>;
}

/// A document and its bytes. A digest is never computed from bytes that were written again.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw<T> {
    value: T,
    bytes: Vec<u8>,
    digest: Digest,
}

impl<T: Document> Raw<T> {
    /// Reads a document.
    pub fn parse(bytes: Vec<u8>) -> Result<Raw<T>> {
        if bytes.len() > T::LIMIT {
            return Err(Error::TooLarge {
                kind: T::KIND,
                size: bytes.len() as u64,
                limit: T::LIMIT as u64,
            });
        }
        let value: T = from_json(&bytes).map_err(|source| Error::Json { kind: T::KIND, source })?;
        value.validate()?;
        let digest = Digest::sha256_of(&bytes);
        Ok(Raw { value, bytes, digest })
    }

    /// Reads a document that must be the one the digest names.
    pub fn parse_expecting(bytes: Vec<u8>, expected: &Digest) -> Result<Raw<T>> {
        if bytes.len() <= T::LIMIT && !expected.matches(&bytes) {
            return Err(Error::DigestMismatch {
                kind: T::KIND,
                found: Digest::sha256_of(&bytes),
                expected: expected.clone(),
            });
        }
        let raw = Raw::parse(bytes)?;
        Ok(Raw { digest: expected.clone(), ..raw })
    }

    /// Writes a document of our own.
    pub fn from_value(value: T) -> Raw<T> {
        let bytes = to_json(&value);
        let digest = Digest::sha256_of(&bytes);
        Raw { value, bytes, digest }
    }
}

impl<T> Raw<T> {
    /// The bytes as they were read or written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The length of the bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The parsed value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// A descriptor of the bytes.
    pub fn descriptor(&self, media_type: MediaType) -> Descriptor {
        Descriptor::new(media_type, self.digest.clone(), self.size())
    }
}

impl<T> Deref for Raw<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
