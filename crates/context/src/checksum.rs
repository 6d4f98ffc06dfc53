//! Checksums of downloads, as `ADD --checksum` takes them.

use std::fmt;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A checksum: algorithm and digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

/// Why a text is no checksum; BuildKit's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumFault {
    /// Not `algorithm:hex`.
    #[error("invalid checksum digest format")]
    Format,
    /// The wrong number of digits.
    #[error("invalid checksum digest length")]
    Length,
    /// Not SHA-2.
    #[error("unsupported digest algorithm")]
    Algorithm,
}

impl Checksum {
    /// Reads `sha256:…`, `sha384:…` or `sha512:…`.
    pub fn parse(text: &str) -> Result<Self, ChecksumFault> {
        let (name, hex) = text.split_once(':').ok_or(ChecksumFault::Format)?;
        let (algorithm, digits) = match name {
            "sha256" => (Algorithm::Sha256, 64),
            "sha384" => (Algorithm::Sha384, 96),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(ChecksumFault::Algorithm),
        };
        if hex.len() != digits {
            return Err(ChecksumFault::Length);
        }
        if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ChecksumFault::Format);
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }

    /// A hasher of its algorithm.
    pub(crate) fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// A running checksum.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// As `algorithm:hex`.
    pub(crate) fn finish(self) -> String {
        let (algorithm, hash) = match self {
            Self::Sha256(hash) => (Algorithm::Sha256, hash.finalize().to_vec()),
            Self::Sha384(hash) => (Algorithm::Sha384, hash.finalize().to_vec()),
            Self::Sha512(hash) => (Algorithm::Sha512, hash.finalize().to_vec()),
        };
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{hex}", algorithm.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text: &str, expected: Result<(), ChecksumFault>| {
            assert_eq!(
                Checksum::parse(text).map(|sum| assert_eq!(sum.to_string(), text)),
                expected
            );
        };
        check(&format!("sha256:{}", "0a".repeat(32)), Ok(()));
        check(&format!("sha384:{}", "0a".repeat(48)), Ok(()));
        check(&format!("sha512:{}", "0a".repeat(64)), Ok(()));
        check(&format!("sha256:{}", "0A".repeat(32)), Err(ChecksumFault::Format));
        check("sha256:00", Err(ChecksumFault::Length));
        check("md5:00", Err(ChecksumFault::Algorithm));
        check("00", Err(ChecksumFault::Format));
    }
}
