//! Image references: the grammar of the distribution project with Docker's short forms.

use std::fmt;
use std::str::FromStr;

use crate::Digest;
use crate::error::{Error, ReferenceFault, Result};

/// The registry that serves Docker's short names, as registries and credentials know it.
const DEFAULT_REGISTRY: &str = "index.docker.io";
/// The same registry in the spelling that messages and Dockerfiles use.
const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;
/// No valid reference is longer; anything longer is refused before it is looked at.
const LONGEST_TEXT: usize = 4096;

/// A registry's host as references have it: Docker Hub has several names, and one that counts.
#[must_use]
pub fn registry_name(host: &str) -> &str {
    match host {
        DEFAULT_DOMAIN | "registry-1.docker.io" => DEFAULT_REGISTRY,
        host => host,
    }
}

/// The name of an image: registry, repository, and a tag, a digest or both.
///
/// `ubuntu` is `index.docker.io/library/ubuntu:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses any form of a reference; without tag and digest the tag is `latest`.
    pub fn parse(text: &str) -> Result<Reference> {
        Reference::check(text).map_err(|fault| Error::Reference { text: text.to_owned(), fault })
    }

    /// As [`Reference::parse`], with Docker's own message.
    pub fn check(text: &str) -> std::result::Result<Reference, ReferenceFault> {
        if text.len() > LONGEST_TEXT {
            return Err(ReferenceFault::Format);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceFault::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let repository = remainder.split(':').next().unwrap_or("");
        if repository.chars().any(char::is_uppercase) {
            return Err(ReferenceFault::UppercaseRepository(repository.to_owned()));
        }
        let mut reference = parse_canonical(domain, &remainder)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            reference.tag = Some("latest".to_owned());
        }
        Ok(reference)
    }

    /// The registry's host, with its port where one is given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference> {
        if !is_tag(tag) {
            let text = format!("{}/{}:{tag}", self.registry, self.repository);
            return Err(Error::Reference { text, fault: ReferenceFault::Format });
        }
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name, pinned to a digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { digest: Some(digest), ..self.clone() }
    }

    /// The manifest with this digest in the same repository, whatever its tags say.
    #[must_use]
    pub fn by_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same registry with another repository; tag and digest are kept.
    pub fn with_repository(&self, repository: &str) -> Result<Reference> {
        let other = Reference { repository: repository.to_owned(), ..self.clone() };
        if !is_repository(repository) || repository.len() > LONGEST_REPOSITORY {
            return Err(Error::Reference {
                text: other.to_string(),
                fault: ReferenceFault::Format,
            });
        }
        Ok(other)
    }

    /// The same repository, tag and digest on another registry (a mirror).
    pub fn with_registry(&self, registry: &str) -> Result<Reference> {
        let other = Reference { registry: registry.to_owned(), ..self.clone() };
        if !is_domain(registry) {
            return Err(Error::Reference {
                text: other.to_string(),
                fault: ReferenceFault::Format,
            });
        }
        Ok(other)
    }

    /// The shortest form a user may write: `ubuntu`, `ghcr.io/a/b:1`.
    pub fn familiar(&self) -> String {
        let name = if self.registry == DEFAULT_REGISTRY {
            self.repository.strip_prefix(OFFICIAL).unwrap_or(&self.repository).to_owned()
        } else {
            format!("{}/{}", self.registry, self.repository)
        };
        match (self.tag.as_deref(), &self.digest) {
            (Some("latest") | None, None) => name,
            _ => format!("{name}{}", self.suffix()),
        }
    }

    /// The full form as Docker writes it: `docker.io/library/ubuntu:latest`.
    pub fn normalized(&self) -> String {
        let domain =
            if self.registry == DEFAULT_REGISTRY { DEFAULT_DOMAIN } else { &self.registry };
        format!("{domain}/{}{}", self.repository, self.suffix())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        Reference::parse(text)
    }
}

/// Splits off the registry, and fills in Docker's where none is named. What stands before the
/// first slash is a registry only if it cannot be a directory of the default one.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, remainder) = match text.split_once('/') {
        None => (DEFAULT_DOMAIN, text),
        Some((first, rest)) => {
            if first == DEFAULT_REGISTRY {
                (DEFAULT_DOMAIN, rest)
            } else if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(char::is_uppercase)
            {
                (first, rest)
            } else {
                (DEFAULT_DOMAIN, text)
            }
        }
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        (domain, format!("{OFFICIAL}{remainder}"))
    } else {
        (domain, remainder.to_owned())
    }
}

fn parse_canonical(
    domain: &str,
    remainder: &str,
) -> std::result::Result<Reference, ReferenceFault> {
    let (named, digest) = match remainder.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (remainder, None),
    };
    let (repository, tag) = match named.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (named, None),
    };
    let valid = is_domain(domain)
        && is_repository(repository)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest_shaped);
    if !valid {
        return Err(ReferenceFault::Format);
    }
    if repository.len() > LONGEST_REPOSITORY {
        return Err(ReferenceFault::TooLong);
    }
    let digest = match digest {
        None => None,
        Some(text) => {
            Digest::check(text).map_err(ReferenceFault::Digest)?;
            Digest::parse(text).ok()
        }
    };
    Ok(Reference {
        registry: if domain == DEFAULT_DOMAIN { DEFAULT_REGISTRY } else { domain }.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, after)) => {
                let digits = host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                if host.is_empty() || !digits {
                    return false;
                }
                match after.strip_prefix(':') {
                    Some(port) => (None, Some(port)),
                    None if after.is_empty() => (None, None),
                    None => return false,
                }
            }
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.is_none_or(|host| host.split('.').all(component))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Components of lower-case words, joined by `.`, `_`, `__` or any number of `-`.
fn is_repository(repository: &str) -> bool {
    repository.split('/').all(|component| {
        let mut bytes = component.bytes().peekable();
        let mut word = false;
        while let Some(byte) = bytes.next() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' => word = true,
                b'.' | b'_' | b'-' if word => {
                    match byte {
                        b'-' => while bytes.next_if_eq(&b'-').is_some() {},
                        b'_' => {
                            bytes.next_if_eq(&b'_');
                        }
                        _ => {}
                    }
                    word = false;
                }
                _ => return false,
            }
        }
        word
    })
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= LONGEST_TAG
        && !tag.starts_with(['.', '-'])
        && !tag.is_empty()
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_digest_shaped(digest: &str) -> bool {
    let part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.split(['-', '_', '+', '.']).all(part)
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        let found = match Reference::check(text) {
            Ok(reference) => reference.to_string(),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(found, expected, "{text}");
    }

    const FORMAT: &str = "invalid reference format";

    #[test]
    fn short_forms_become_full() {
        check("ubuntu", "index.docker.io/library/ubuntu:latest");
        check("ubuntu:24.04", "index.docker.io/library/ubuntu:24.04");
        check("user/image", "index.docker.io/user/image:latest");
        check("docker.io/ubuntu", "index.docker.io/library/ubuntu:latest");
        check("index.docker.io/ubuntu", "index.docker.io/library/ubuntu:latest");
        check("docker.io/library/ubuntu", "index.docker.io/library/ubuntu:latest");
        check("localhost/x", "localhost/x:latest");
        check("localhost:5000/x", "localhost:5000/x:latest");
        check("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1");
        check("[::1]:5000/a", "[::1]:5000/a:latest");
        check("[2001:db8::1]/a:1", "[2001:db8::1]/a:1");
        check("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest");
        check("Uppercase/a", "Uppercase/a:latest");
        check("a__b/c--d.e_f:T_a.g-1", "index.docker.io/a__b/c--d.e_f:T_a.g-1");
    }

    #[test]
    fn digests_are_kept_beside_tags() {
        let hex = "a".repeat(64);
        check(&format!("x@sha256:{hex}"), &format!("index.docker.io/library/x@sha256:{hex}"));
        check(&format!("x:1@sha256:{hex}"), &format!("index.docker.io/library/x:1@sha256:{hex}"));
        check(&format!("x@sha256:{}", "a".repeat(40)), "invalid checksum digest length");
        check(&format!("x@md5:{}", "a".repeat(32)), "unsupported digest algorithm");
        check("x@sha256:abc", FORMAT);
        check("x@", FORMAT);
    }

    #[test]
    fn what_is_refused_says_why() {
        check("", FORMAT);
        check("FOO", "invalid reference format: repository name (library/FOO) must be lowercase");
        check("ghcr.io/A/b", "invalid reference format: repository name (A/b) must be lowercase");
        check("a:", FORMAT);
        check("a:-x", FORMAT);
        check(&format!("a:{}", "t".repeat(129)), FORMAT);
        check(
            &format!("a:{}", "t".repeat(128)),
            &format!("index.docker.io/library/a:{}", "t".repeat(128)),
        );
        check(
            &format!("a/{}", "b".repeat(254)),
            "repository name must not be more than 255 characters",
        );
        check("a b", FORMAT);
        check("-a", FORMAT);
        check("a//b", FORMAT);
        check("/a", FORMAT);
        check("a/", FORMAT);
        check("a___b", FORMAT);
        check("a..b", FORMAT);
        check("[::1", FORMAT);
        check("[::1]x/a", FORMAT);
        check("[]/a", FORMAT);
        check("a.b:x/c", FORMAT);
        check("https://a/b", FORMAT);
        check(
            &"f".repeat(64),
            &format!(
                "invalid repository name ({}), cannot specify 64-byte hexadecimal strings",
                "f".repeat(64)
            ),
        );
        check(&"a/".repeat(4000), FORMAT);
    }

    #[test]
    fn other_forms() {
        let forms = |text: &str| {
            let reference = Reference::parse(text).expect("the cases are references");
            (reference.familiar(), reference.normalized())
        };
        assert_eq!(forms("ubuntu"), ("ubuntu".into(), "docker.io/library/ubuntu:latest".into()));
        assert_eq!(forms("a/b:1"), ("a/b:1".into(), "docker.io/a/b:1".into()));
        assert_eq!(forms("r:5/a"), ("r:5/a".into(), "r:5/a:latest".into()));
        let reference = Reference::parse("r.io/a:1").expect("a reference");
        assert!(reference.with_tag("..").is_err());
        assert_eq!(reference.with_tag("2").expect("a tag").to_string(), "r.io/a:2");
        assert!(reference.with_repository("A").is_err());
        assert_eq!(reference.with_registry("m.io:1").expect("a host").to_string(), "m.io:1/a:1");
        assert!(reference.with_registry("m.io/x").is_err());
    }

    #[test]
    fn oci_spec_agrees_where_both_accept() {
        for text in ["ubuntu", "ubuntu:1", "a/b", "ghcr.io/a/b:c", "localhost:5000/x:y"] {
            let spec: oci_spec::distribution::Reference = text.parse().expect("a reference");
            let ours = Reference::parse(text).expect("a reference");
            assert_eq!(ours.normalized(), spec.whole(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            let _ = Reference::check(&text);
        }

        #[test]
        fn print_then_parse_is_the_identity(
            text in "(([a-z]{1,3}\\.)?[a-z]{1,3}(:[0-9]{1,4})?/)?[a-z0-9]{1,3}([._/-][a-z0-9]{1,3}){0,3}(:[A-Za-z0-9_.]{1,5})?"
        ) {
            if let Ok(reference) = Reference::check(&text) {
                prop_assert_eq!(Reference::check(&reference.to_string()), Ok(reference.clone()));
                prop_assert_eq!(Reference::check(&reference.normalized()), Ok(reference.clone()));
                prop_assert_eq!(Reference::check(&reference.familiar()), Ok(reference));
            }
        }
    }
}
