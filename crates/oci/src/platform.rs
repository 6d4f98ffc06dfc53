//! Platforms: containerd's specifiers, normalisation and order of preference.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, PlatformFault, Result};
use crate::{Descriptor, ImageIndex};

/// An operating system and a processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, in Go's spelling (`amd64`).
    pub architecture: String,
    /// The operating system, in Go's spelling (`linux`).
    pub os: String,
    /// The version of the operating system (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system that the image needs.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "crate::json::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the processor (`v7`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

const KNOWN_ARCHITECTURE: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// A platform of two words and no more.
    pub fn new(os: &str, architecture: &str) -> Platform {
        Platform { os: os.to_owned(), architecture: architecture.to_owned(), ..Platform::default() }
    }

    /// The platform this program was compiled for.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform::new("linux", architecture)
    }

    /// Parses `os`, `architecture`, `os/architecture` or `os/architecture/variant`, where `os` may
    /// carry `(version+feature+…)`. What is missing is the host's.
    pub fn parse(specifier: &str) -> Result<Platform> {
        Platform::check(specifier)
            .map_err(|fault| Error::Platform { text: specifier.to_owned(), fault })
    }

    /// As [`Platform::parse`], with containerd's own message.
    pub fn check(specifier: &str) -> std::result::Result<Platform, PlatformFault> {
        if specifier.contains('*') {
            return Err(PlatformFault::Wildcard(specifier.to_owned()));
        }
        let parts: Vec<&str> = specifier.splitn(4, '/').collect();
        let mut platform = parse_os(parts[0]).ok_or_else(|| PlatformFault::Os {
            component: parts[0].to_owned(),
            specifier: specifier.to_owned(),
        })?;
        for part in &parts[1..] {
            if part.is_empty() || !part.bytes().all(is_component_byte) {
                return Err(PlatformFault::Component {
                    component: (*part).to_owned(),
                    specifier: specifier.to_owned(),
                });
            }
        }
        match parts[1..] {
            [] => {
                if KNOWN_OS.contains(&platform.os.as_str()) {
                    platform.architecture = Platform::host().architecture;
                    return Ok(platform);
                }
                let (architecture, variant) = normalize_architecture(parts[0], "");
                if !KNOWN_ARCHITECTURE.contains(&architecture.as_str()) {
                    return Err(PlatformFault::Unknown(specifier.to_owned()));
                }
                platform.os = Platform::host().os;
                platform.variant = default_arm(&architecture, variant);
                platform.architecture = architecture;
            }
            [architecture] => {
                let (architecture, variant) = normalize_architecture(architecture, "");
                platform.variant = default_arm(&architecture, variant);
                platform.architecture = architecture;
            }
            [architecture, variant] => {
                let (architecture, variant) = normalize_architecture(architecture, variant);
                // A variant the user spelled out is kept, though it is the usual one.
                platform.variant = match (architecture.as_str(), variant.as_str()) {
                    ("arm64", "") => Some("v8".to_owned()),
                    (_, "") => None,
                    _ => Some(variant),
                };
                platform.architecture = architecture;
            }
            _ => return Err(PlatformFault::Parts(specifier.to_owned())),
        }
        Ok(platform)
    }

    /// The canonical spelling: `arm64/v8` is `arm64`, `arm` is `arm/v7`, `x86_64` is `amd64`.
    #[must_use]
    pub fn normalized(&self) -> Platform {
        let (architecture, variant) =
            normalize_architecture(&self.architecture, self.variant.as_deref().unwrap_or(""));
        let mut os_features = self.os_features.clone();
        os_features.sort();
        os_features.dedup();
        Platform {
            os: if self.os.is_empty() { Platform::host().os } else { normalize_os(&self.os) },
            architecture,
            variant: (!variant.is_empty()).then_some(variant),
            os_version: self.os_version.clone(),
            os_features,
        }
    }

    /// Whether an image for `image` is one for this platform, exactly.
    pub fn matches(&self, image: &Platform) -> bool {
        let (wanted, image) = (self.normalized(), image.normalized());
        wanted.os == image.os
            && wanted.architecture == image.architecture
            && wanted.variant == image.variant
            && (wanted.os != "windows" || same_windows(&wanted, &image))
            && image.os_features.iter().all(|feature| wanted.os_features.contains(feature))
    }

    /// The platforms whose images run here, best first: `arm/v7` also runs `arm/v6`.
    pub fn preferences(&self) -> Vec<Platform> {
        let normalized = self.normalized();
        let with = |architecture: &str, variant: Option<String>| Platform {
            architecture: architecture.to_owned(),
            variant,
            ..normalized.clone()
        };
        let variant = normalized.variant.as_deref().unwrap_or("");
        let mut found = vec![normalized.clone()];
        match normalized.architecture.as_str() {
            "amd64" => {
                let version = number(variant).unwrap_or(1);
                found.extend((1..version).rev().map(|v| with("amd64", Some(format!("v{v}")))));
                found.push(with("386", None));
            }
            "arm" => {
                let version = number(variant).unwrap_or(0);
                found.extend((5..version).rev().map(|v| with("arm", Some(format!("v{v}")))));
            }
            "arm64" => {
                found.extend(arm64_below(variant).into_iter().map(|v| with("arm64", Some(v))));
                // An arm64 processor also runs arm, from v8 downwards.
                found.extend((5..=8).rev().map(|v| with("arm", Some(format!("v{v}")))));
            }
            _ => {}
        }
        found
    }
}

/// `v7` → 7, within what exists, so that a hostile variant makes no long list.
fn number(variant: &str) -> Option<u32> {
    variant.strip_prefix('v').unwrap_or(variant).parse().ok().filter(|n| *n <= 99)
}

/// The variants of arm64 below the given one: v9.x runs v9.0 … and v8.(x+5) and down.
fn arm64_below(variant: &str) -> Vec<String> {
    let name = |major: u32, minor: u32| match minor {
        0 => format!("v{major}"),
        minor => format!("v{major}.{minor}"),
    };
    let variant = if variant.is_empty() { "v8" } else { variant };
    let (major, minor) = variant.split_once('.').unwrap_or((variant, "0"));
    let (Some(major), Some(mut minor)) = (number(major), number(minor)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if major == 9 {
        found.extend((0..minor).rev().map(|minor| name(9, minor)));
        minor += 5;
        found.push(name(8, minor));
    }
    if major >= 8 {
        found.extend((0..minor).rev().map(|minor| name(8, minor)));
    }
    found
}

fn same_windows(wanted: &Platform, image: &Platform) -> bool {
    match (&wanted.os_version, &image.os_version) {
        (Some(wanted), Some(image)) => {
            let build = |version: &str| version.split('.').take(3).collect::<Vec<_>>().join(".");
            build(wanted) == build(image)
        }
        _ => true,
    }
}

fn is_component_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

/// `linux`, `windows(10.0.17763+win32k)`.
fn parse_os(text: &str) -> Option<Platform> {
    let (name, options) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
    };
    let word = |word: &str, extra: &[u8]| {
        word.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
    };
    if name.is_empty() || !word(name, b"_-") {
        return None;
    }
    let mut platform = Platform { os: normalize_os(name), ..Platform::default() };
    if let Some(options) = options {
        let mut options = options.split('+');
        let version = options.next().unwrap_or("");
        if !word(version, b"_.%-") {
            return None;
        }
        if !version.is_empty() {
            platform.os_version = Some(unescape(version)?);
        }
        for feature in options {
            if feature.is_empty() || !word(feature, b"_.%-") {
                return None;
            }
            platform.os_features.push(unescape(feature)?);
        }
    }
    Some(platform)
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn escape(text: &str) -> String {
    text.replace('%', "%25")
        .replace('+', "%2B")
        .replace('(', "%28")
        .replace(')', "%29")
        .replace('/', "%2F")
}

fn normalize_os(os: &str) -> String {
    let os = os.to_ascii_lowercase();
    if os == "macos" { "darwin".to_owned() } else { os }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

/// A variant nobody spelled out is not shown when it is the usual one.
fn default_arm(architecture: &str, variant: String) -> Option<String> {
    let usual = architecture == "arm" && variant == "v7";
    (!usual && !variant.is_empty()).then_some(variant)
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        f.write_str(&self.os)?;
        let mut options = self.os_version.as_deref().map(escape).unwrap_or_default();
        let mut features = self.os_features.clone();
        features.sort();
        for feature in features {
            options.push('+');
            options.push_str(&escape(&feature));
        }
        if !options.is_empty() {
            write!(f, "({options})")?;
        }
        for part in [Some(&self.architecture), self.variant.as_ref()].into_iter().flatten() {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform> {
        Platform::parse(text)
    }
}

/// The manifest of an index that fits a platform best.
///
/// An entry that names no platform serves where none fits: the config will tell.
pub fn select<'a>(index: &'a ImageIndex, wanted: &Platform) -> Result<&'a Descriptor> {
    for preference in wanted.preferences() {
        let fits = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|platform| preference.matches(platform))
        };
        if let Some(entry) = index.manifests.iter().find(fits) {
            return Ok(entry);
        }
    }
    index.manifests.iter().find(|entry| entry.platform.is_none()).ok_or_else(|| {
        let offered = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        let offered: Vec<String> =
            offered.map(Platform::to_string).filter(|text| text != "unknown/unknown").collect();
        let shown = offered.iter().take(20).map(|text| format!("`{text}`")).collect::<Vec<_>>();
        let more = if offered.len() > shown.len() { ", …" } else { "" };
        Error::NoPlatform {
            wanted: wanted.to_string(),
            available: format!("{}{more}", shown.join(", ")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, MediaType};
    use proptest::prelude::*;

    fn check(specifier: &str, expected: &str) {
        let found = match Platform::check(specifier) {
            Ok(platform) => platform.to_string(),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(found, expected, "{specifier}");
    }

    #[test]
    fn specifiers() {
        let host = Platform::host();
        check("linux", &host.to_string());
        check("linux/amd64", "linux/amd64");
        check("Linux/x86_64", "linux/amd64");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm64/v8", "linux/arm64/v8");
        check("linux/arm64", "linux/arm64");
        check("linux/arm", "linux/arm");
        check("linux/arm/v7", "linux/arm/v7");
        check("linux/arm/7", "linux/arm/v7");
        check("linux/armel", "linux/arm/v6");
        check("linux/armhf", "linux/arm");
        check("arm64", "linux/arm64");
        check("i386", "linux/386");
        check("linux/amd64/v1", "linux/amd64");
        check("linux/amd64/v3", "linux/amd64/v3");
        check("macos/arm64", "darwin/arm64");
        check("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64");
        check("windows(10.0.17763+win32k)/amd64", "windows(10.0.17763+win32k)/amd64");
        check("linux(+a%2Bb)/amd64", "linux(+a%2Bb)/amd64");
        check("any/thing", "any/thing");
        check("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier: invalid argument");
        check("nothing", "\"nothing\": unknown operating system or architecture: invalid argument");
        check("linux/*", "\"linux/*\": wildcards not yet supported: invalid argument");
        check(
            "linux/a b",
            "\"a b\" is an invalid component of \"linux/a b\": platform specifier component must \
             match \"^[A-Za-z0-9_.-]+$\": invalid argument",
        );
        check(
            "",
            "\"\" is an invalid OS component of \"\": OSAndVersion specifier component must match \
             \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.%-]*)((?:\\\\+[A-Za-z0-9_.%-]+)*)\\\\))?$\": \
             invalid argument",
        );
    }

    fn chosen(wanted: &str, offered: &[&str]) -> String {
        let entry = |text: &&str| {
            let mut entry = Descriptor::new(
                MediaType::OciManifest,
                Digest::sha256_of(text.as_bytes()),
                text.len() as u64,
            );
            entry.platform =
                (*text != "none").then(|| Platform::parse(text).expect("the cases are platforms"));
            entry
        };
        let index = ImageIndex::new(offered.iter().map(entry).collect());
        match select(&index, &Platform::parse(wanted).expect("the cases are platforms")) {
            Ok(entry) => {
                entry.platform.as_ref().map_or_else(|| "none".to_owned(), Platform::to_string)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_best_entry_is_chosen() {
        assert_eq!(chosen("linux/amd64", &["linux/386", "linux/amd64"]), "linux/amd64");
        assert_eq!(chosen("linux/amd64", &["linux/386", "linux/arm64"]), "linux/386");
        assert_eq!(chosen("linux/arm64", &["linux/arm64/v8"]), "linux/arm64/v8");
        assert_eq!(chosen("linux/arm64/v8", &["linux/arm", "linux/arm64"]), "linux/arm64");
        assert_eq!(chosen("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"]), "linux/arm/v6");
        assert_eq!(chosen("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"]), "linux/arm/v5");
        assert_eq!(chosen("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]), "linux/amd64/v2");
        assert_eq!(chosen("linux/arm64/v9.1", &["linux/arm64/v8.6"]), "linux/arm64/v8.6");
        assert_eq!(chosen("linux/x86_64", &["linux/arm64", "linux/amd64"]), "linux/amd64");
        assert_eq!(chosen("linux/aarch64", &["linux/arm/v7", "linux/arm64/v8"]), "linux/arm64/v8");
        assert_eq!(chosen("linux/arm64", &["linux/arm/v6", "linux/arm/v7"]), "linux/arm/v7");
        assert_eq!(chosen("linux/arm", &["linux/arm/v5", "linux/arm/v7"]), "linux/arm/v7");
        assert_eq!(chosen("linux/armel", &["linux/arm/v7", "linux/arm/v6"]), "linux/arm/v6");
        assert_eq!(
            chosen("linux/amd64", &["linux/amd64/v2"]),
            "no image for platform `linux/amd64` among `linux/amd64/v2`"
        );
        assert_eq!(chosen("linux/s390x", &["none", "linux/amd64"]), "none");
        assert_eq!(chosen("linux/amd64", &["linux(+f)/amd64", "linux/amd64"]), "linux/amd64");
        assert_eq!(
            chosen("linux/s390x", &["linux/amd64", "unknown/unknown"]),
            "no image for platform `linux/s390x` among `linux/amd64`"
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = Platform::check(&text);
        }

        #[test]
        fn print_then_parse_is_the_identity(
            os in "[a-z]{1,8}", arch in "[a-z0-9]{1,8}", variant in "v[0-9]{1,2}"
        ) {
            if let Ok(platform) = Platform::check(&format!("{os}/{arch}/{variant}")) {
                prop_assert_eq!(Platform::check(&platform.to_string()), Ok(platform));
            }
        }
    }
}
