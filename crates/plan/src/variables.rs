//! Variables: ordered scopes, and the arguments that exist without being declared.

use std::collections::BTreeMap;

use dockerfile::word::Env;
use oci::Platform;

use crate::PlanOptions;

/// Variables, with the order they were last set in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    values: BTreeMap<String, (usize, String)>,
    sets: usize,
}

impl Scope {
    /// Sets a variable; it becomes the last one.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.sets += 1;
        self.values.insert(name.to_owned(), (self.sets, value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.values.remove(name);
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The variables, the one that was set last at the end.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let mut ordered: Vec<_> = self.values.iter().collect();
        ordered.sort_by_key(|(_, (set, _))| *set);
        let pair = |(name, (_, value)): (&String, &(usize, String))| (name.clone(), value.clone());
        ordered.into_iter().map(pair).collect()
    }
}

impl Env for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        self.value(name)
    }
}

/// Arguments that a stage may declare, but that no step gets to see.
const NO_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Whether a declared argument is in the environment of steps.
pub(crate) fn is_visible(name: &str) -> bool {
    !NO_ENVIRONMENT.contains(&name)
}

/// The arguments every Dockerfile has before its first line; a build argument overrides one.
pub(crate) fn predefined(options: &PlanOptions, target: &str) -> Scope {
    fn parts(platform: &Platform) -> [String; 5] {
        let variant = platform.variant.clone().unwrap_or_default();
        let version = platform.os_version.clone().unwrap_or_default();
        let (os, architecture) = (platform.os.clone(), platform.architecture.clone());
        [platform.to_string(), os, version, architecture, variant]
    }
    let [build, build_os, build_version, build_arch, build_variant] =
        parts(&options.build_platform);
    let [target_platform, target_os, target_version, target_arch, target_variant] =
        parts(options.target_platform());
    let stage = if target.is_empty() { "default" } else { target };
    let mut scope = Scope::default();
    for (name, value) in [
        ("BUILDPLATFORM", build),
        ("BUILDOS", build_os),
        ("BUILDOSVERSION", build_version),
        ("BUILDARCH", build_arch),
        ("BUILDVARIANT", build_variant),
        ("TARGETPLATFORM", target_platform),
        ("TARGETOS", target_os),
        ("TARGETOSVERSION", target_version),
        ("TARGETARCH", target_arch),
        ("TARGETVARIANT", target_variant),
        ("TARGETSTAGE", stage.to_owned()),
    ] {
        scope.set(name, options.build_arg(name).unwrap_or(&value));
    }
    scope
}

/// Whether a build argument means something without being declared.
pub(crate) fn is_special(name: &str) -> bool {
    const PLATFORM: [&str; 11] = [
        "BUILDPLATFORM",
        "BUILDOS",
        "BUILDOSVERSION",
        "BUILDARCH",
        "BUILDVARIANT",
        "TARGETPLATFORM",
        "TARGETOS",
        "TARGETOSVERSION",
        "TARGETARCH",
        "TARGETVARIANT",
        "TARGETSTAGE",
    ];
    name.starts_with("BUILDKIT_")
        || name == "SOURCE_DATE_EPOCH"
        || PLATFORM.contains(&name)
        || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// The proxy settings among the build arguments, in both spellings. They need no declaration, and
/// neither expansion nor history nor cache keys see them. Where both spellings are given, the
/// lower-case one counts.
pub(crate) fn proxies(options: &PlanOptions) -> Vec<(String, String)> {
    let mut given: Vec<&(String, String)> = options.build_args.iter().collect();
    given.sort_by(|a, b| a.0.cmp(&b.0));
    let mut found = Vec::new();
    for proxy in PROXIES {
        let value = given.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(proxy));
        if let Some((_, value)) = value {
            found.push((proxy.to_ascii_uppercase(), value.clone()));
            found.push((proxy.to_owned(), value.clone()));
        }
    }
    found
}
