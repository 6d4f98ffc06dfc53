//! Digests, and the two other identities a layer has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::{DigestFault, Error, Result};

/// The hash functions a digest may be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the only one we write.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }

    fn parse(name: &str) -> Option<Algorithm> {
        [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

/// The identity of some bytes: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    text: String,
    algorithm: Algorithm,
}

impl Digest {
    /// Parses and validates the text form.
    pub fn parse(text: &str) -> Result<Digest> {
        Digest::check(text)
            .map(|algorithm| Digest { text: text.to_owned(), algorithm })
            .map_err(|fault| Error::Digest { text: text.to_owned(), fault })
    }

    /// Says why a text is no digest. The order of the checks decides which of the three messages
    /// a user sees, and follows go-digest.
    pub fn check(text: &str) -> std::result::Result<Algorithm, DigestFault> {
        let (name, encoded) = text.split_once(':').ok_or(DigestFault::Format)?;
        if encoded.is_empty() || !is_algorithm_name(name) {
            return Err(DigestFault::Format);
        }
        let Some(algorithm) = Algorithm::parse(name) else {
            let shaped = encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b));
            return Err(if shaped { DigestFault::Algorithm } else { DigestFault::Format });
        };
        if encoded.len() != algorithm.hex_len() {
            return Err(DigestFault::Length);
        }
        if !encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestFault::Format);
        }
        Ok(algorithm)
    }

    /// The digest of some bytes.
    pub fn sha256_of(bytes: &[u8]) -> Digest {
        Digest::from_sha256(sha2::Sha256::digest(bytes).into())
    }

    /// The digest whose hash is already known.
    pub fn from_sha256(hash: [u8; 32]) -> Digest {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Digest { text, algorithm: Algorithm::Sha256 }
    }

    /// Whether the bytes are those that this digest names.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let hash = match self.algorithm {
            Algorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Algorithm::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            Algorithm::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
        };
        self.hex().len() == hash.len() * 2
            && hash
                .iter()
                .zip(self.hex().as_bytes().chunks(2))
                .all(|(byte, pair)| format!("{byte:02x}").as_bytes() == pair)
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits after the colon.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_algorithm_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.split(['.', '+', '_', '-']).all(part)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        Digest::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Digest::check(&text) {
            Ok(algorithm) => Ok(Digest { text, algorithm }),
            Err(fault) => {
                Err(serde::de::Error::custom(format!("invalid digest {text:?}: {fault}")))
            }
        }
    }
}

/// The digest of a layer's uncompressed tar: what an image config lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a stack of layers: the first alone, then each over what is below.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub Digest);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The chain id after each of the layers, lowest first.
pub fn chain_ids(diff_ids: &[DiffId]) -> Vec<ChainId> {
    let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.0.clone(),
            Some(below) => Digest::sha256_of(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(ChainId(id));
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: std::result::Result<Algorithm, DigestFault>) {
        assert_eq!(Digest::check(text), expected, "{text}");
        assert_eq!(Digest::parse(text).is_ok(), expected.is_ok(), "{text}");
    }

    #[test]
    fn texts_are_judged_as_go_digest_judges_them() {
        let zeros = "0".repeat(64);
        check(&format!("sha256:{zeros}"), Ok(Algorithm::Sha256));
        check(&format!("sha512:{zeros}{zeros}"), Ok(Algorithm::Sha512));
        check(&format!("sha384:{zeros}{}", "a".repeat(32)), Ok(Algorithm::Sha384));
        check("", Err(DigestFault::Format));
        check("sha256", Err(DigestFault::Format));
        check("sha256:", Err(DigestFault::Format));
        check(":abc", Err(DigestFault::Format));
        check("sha256:0123456789", Err(DigestFault::Length));
        check(&format!("sha256:{}", "A".repeat(64)), Err(DigestFault::Format));
        check(&format!("sha256:{}/../", "a".repeat(60)), Err(DigestFault::Format));
        check(&format!("sha256:{}/../", "a".repeat(59)), Err(DigestFault::Length));
        check("md5:abc", Err(DigestFault::Algorithm));
        check("SHA256:abc", Err(DigestFault::Format));
        check("a+b.c:xyz=_-", Err(DigestFault::Algorithm));
        check("a++b:xyz", Err(DigestFault::Format));
        check("md5:a/b", Err(DigestFault::Format));
    }

    #[test]
    fn known_hashes() {
        let empty = Digest::sha256_of(b"");
        assert_eq!(
            empty.as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(empty.matches(b""));
        assert!(!empty.matches(b"x"));
    }

    #[test]
    fn chain_of_one_is_the_diff_id_itself() {
        let a = DiffId(Digest::sha256_of(b"a"));
        let b = DiffId(Digest::sha256_of(b"b"));
        let chain = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chain[0].0, a.0);
        assert_eq!(chain[1].0, Digest::sha256_of(format!("{a} {b}").as_bytes()));
        assert!(chain_ids(&[]).is_empty());
    }
}
