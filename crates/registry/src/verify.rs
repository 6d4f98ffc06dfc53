//! Hashing what streams by, with the algorithm that the expected digest names.

use oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::error::Cause;

/// A running hash.
#[derive(Clone, Debug)]
pub(crate) enum Verifier {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Verifier {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Compares with what was promised.
    pub(crate) fn finish(self, expected: &Digest) -> Result<(), Cause> {
        let hash = match self {
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha384(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        };
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        if hex == expected.hex() {
            return Ok(());
        }
        let found = format!("{}:{hex}", expected.algorithm().as_str());
        Err(Cause::Digest { expected: expected.clone(), found })
    }
}
