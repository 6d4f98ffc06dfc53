//! How to talk to registries, as flags and variables ask for it: the same for both programs.
//!
//! Does not make a client of it, and reads no file that a flag names; crate `connect` does.

use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;
use crate::error::Error;
use crate::grammar::Values;
use crate::value::{parse_map, parse_number};

/// How to talk to registries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegistryFlags {
    /// `--insecure`: plain HTTP when pushing.
    pub insecure: bool,
    /// `--insecure-pull`: plain HTTP when pulling.
    pub insecure_pull: bool,
    /// `--insecure-registry`: plain HTTP with these hosts.
    pub insecure_registries: Vec<String>,
    /// `--skip-tls-verify`: no verification of certificates, when pushing and pulling.
    pub skip_tls_verify: bool,
    /// `--skip-tls-verify-pull`: the same when pulling.
    pub skip_tls_verify_pull: bool,
    /// `--skip-tls-verify-registry`: the same with these hosts.
    pub skip_tls_verify_registries: Vec<String>,
    /// `--registry-certificate`: host and file of its certificate authorities.
    pub certificates: Vec<(String, PathBuf)>,
    /// `--registry-client-cert`: what we show to which host.
    pub client_certificates: Vec<ClientCertificate>,
    /// `--disable-http2`, or `GODEBUG` with `http2client=0`.
    pub http1_only: bool,
    /// `--skip-push-permission-check`.
    pub skip_push_permission_check: bool,
    /// `--verify-push`: what was pushed is read back.
    pub verify_push: bool,
    /// `--credential-helpers`, in order; all if `None`.
    pub credential_helpers: Option<Vec<String>>,
    /// Registries, and what stands in for each, in order: `--registry-map`, `KANIKO_REGISTRY_MAP`,
    /// `--registry-mirror`, `KANIKO_REGISTRY_MIRROR`.
    pub stand_ins: Vec<(String, String)>,
    /// `--skip-default-registry-fallback`: a registry with stand-ins is not asked itself.
    pub only_stand_ins: bool,
    /// `--allowed-registries`, `--denied-registries`.
    pub registries: Patterns,
    /// `--allowed-repos`, `--denied-repos`.
    pub repositories: Patterns,
    /// `--push-retry` and its companions, or `KANIKO_PUSH_RETRY`.
    pub push_again: Again,
    /// `--image-download-retry`, or `KANIKO_IMAGE_DOWNLOAD_RETRY`.
    pub pull_again: Again,
    /// `--push-ignore-immutable-tag-errors`.
    pub ignore_immutable_tags: bool,
    /// `--max-network-concurrency`; the client's default if `None`.
    pub parallel: Option<usize>,
}

/// What is allowed and what is denied, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    /// Only these, if there are any.
    pub allowed: Vec<String>,
    /// These never.
    pub denied: Vec<String>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The registry that sees it.
    pub registry: String,
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
}

/// How often something is done once more after it failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Again {
    /// How often.
    pub times: u32,
    /// The first pause.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// What each further pause is longer by.
    pub factor: f64,
}

impl Default for Again {
    fn default() -> Self {
        let (first_pause, longest_pause) = (Duration::from_secs(1), Duration::from_secs(30));
        Self { times: 0, first_pause, longest_pause, factor: 2.0 }
    }
}

pub(crate) fn registry_flags(
    values: &Values,
    environment: &Environment,
) -> Result<RegistryFlags, Error> {
    let patterns = |allowed: &str, denied: &str| Patterns {
        allowed: comma_separated(&values.list(allowed)),
        denied: comma_separated(&values.list(denied)),
    };
    let certificates = values.list("registry-certificate");
    let identities = values.list("registry-client-cert");
    Ok(RegistryFlags {
        insecure: values.is_set("insecure"),
        insecure_pull: values.is_set("insecure-pull"),
        insecure_registries: values.list("insecure-registry"),
        skip_tls_verify: values.is_set("skip-tls-verify"),
        skip_tls_verify_pull: values.is_set("skip-tls-verify-pull"),
        skip_tls_verify_registries: values.list("skip-tls-verify-registry"),
        certificates: certificates
            .iter()
            .filter_map(|text| text.split_once('='))
            .map(|(host, file)| (host.to_owned(), PathBuf::from(file)))
            .collect(),
        client_certificates: identities
            .iter()
            .map(|text| client_certificate(text))
            .collect::<Result<_, _>>()?,
        http1_only: values.is_set("disable-http2") || environment.network().http1_only,
        skip_push_permission_check: values.is_set("skip-push-permission-check"),
        verify_push: values.is_set("verify-push"),
        credential_helpers: values
            .is_given("credential-helpers")
            .then(|| values.list("credential-helpers")),
        stand_ins: stand_ins(values, environment)?,
        only_stand_ins: values.is_set("skip-default-registry-fallback"),
        registries: patterns("allowed-registries", "denied-registries"),
        repositories: patterns("allowed-repos", "denied-repos"),
        push_again: Again {
            times: times(values, environment, "push-retry", "KANIKO_PUSH_RETRY")?,
            first_pause: milliseconds(values, "push-retry-initial-delay", 1_000)?,
            longest_pause: milliseconds(values, "push-retry-max-delay", 30_000)?,
            factor: factor(values)?,
        },
        pull_again: Again {
            times: times(
                values,
                environment,
                "image-download-retry",
                "KANIKO_IMAGE_DOWNLOAD_RETRY",
            )?,
            ..Again::default()
        },
        ignore_immutable_tags: values.is_set("push-ignore-immutable-tag-errors"),
        parallel: Some(count(values, "max-network-concurrency")? as usize).filter(|n| *n > 0),
    })
}

fn comma_separated(texts: &[String]) -> Vec<String> {
    let words = texts.iter().flat_map(|text| text.split(','));
    words.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn client_certificate(text: &str) -> Result<ClientCertificate, Error> {
    let wrong = || Error::InvalidValue {
        value: text.to_owned(),
        flag: "--registry-client-cert".to_owned(),
        reason: "expected format: my.registry.url=/path/to/client.crt,/path/to/client.key"
            .to_owned(),
    };
    let (registry, files) = text.split_once('=').ok_or_else(wrong)?;
    match files.split(',').collect::<Vec<_>>()[..] {
        [certificate, key] if ![registry, certificate, key].contains(&"") => {
            Ok(ClientCertificate {
                registry: registry.to_owned(),
                certificate: PathBuf::from(certificate),
                key: PathBuf::from(key),
            })
        }
        _ => Err(wrong()),
    }
}

/// A mirror is what stands in for Docker Hub, after what is mapped to it by name.
fn stand_ins(values: &Values, environment: &Environment) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    for text in values.list("registry-map") {
        // The grammar has checked it.
        found.extend(parse_map(&text).unwrap_or_default());
    }
    if let Some(text) = environment.text("KANIKO_REGISTRY_MAP") {
        let name = "KANIKO_REGISTRY_MAP";
        found.extend(parse_map(text).map_err(|reason| Error::InvalidVariable { name, reason })?);
    }
    let mirrors = values.list("registry-mirror");
    let last = environment.text("KANIKO_REGISTRY_MIRROR").map(str::to_owned);
    let mirrors = mirrors.into_iter().chain(last).filter(|mirror| !mirror.is_empty());
    found.extend(mirrors.map(|mirror| ("index.docker.io".to_owned(), mirror)));
    Ok(found)
}

/// A number of repetitions: the flag, else its variable.
fn times(
    values: &Values,
    environment: &Environment,
    flag: &str,
    name: &'static str,
) -> Result<u32, Error> {
    let Some(text) = environment.text(name).filter(|_| !values.is_given(flag)) else {
        return count(values, flag);
    };
    let number = parse_number(text).map_err(|reason| Error::InvalidVariable { name, reason })?;
    u32::try_from(number)
        .map_err(|_| Error::InvalidVariable { name, reason: OUT_OF_RANGE.to_owned() })
}

const OUT_OF_RANGE: &str = "it must be 0 or more, and fit in 32 bits";

fn count(values: &Values, flag: &str) -> Result<u32, Error> {
    let number = values.number(flag).unwrap_or(0);
    u32::try_from(number).map_err(|_| Error::InvalidValue {
        value: number.to_string(),
        flag: format!("--{flag}"),
        reason: OUT_OF_RANGE.to_owned(),
    })
}

/// A pause; a table without the flag has no default either.
fn milliseconds(values: &Values, flag: &str, default: u64) -> Result<Duration, Error> {
    match values.number(flag) {
        None => Ok(Duration::from_millis(default)),
        Some(_) => count(values, flag).map(|number| Duration::from_millis(number.into())),
    }
}

fn factor(values: &Values) -> Result<f64, Error> {
    let flag = "push-retry-backoff-multiplier";
    let Some(text) = values.text(flag) else { return Ok(Again::default().factor) };
    match text.parse::<f64>() {
        Ok(factor) if (1.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err(Error::InvalidValue {
            value: text,
            flag: format!("--{flag}"),
            reason: "it must be a number from 1 to 1000".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::{Parsed, executor_flags, report};

    fn flags(line: &[&str], variables: &[(&str, &str)]) -> Result<RegistryFlags, String> {
        let line = line.iter().chain(&["--no-push"]).map(OsString::from);
        match executor_flags(line, &Environment::from_pairs(variables)) {
            Ok(Parsed::Run(flags)) => Ok(flags.registry),
            Ok(Parsed::Print(text)) => Err(text),
            Err(error) => Err(report::usage_error(&error)),
        }
    }

    fn check_stand_ins(line: &[&str], variables: &[(&str, &str)], expected: &[&str]) {
        let found = flags(line, variables).expect("because the line is good").stand_ins;
        let found: Vec<String> =
            found.iter().map(|(registry, place)| format!("{registry}={place}")).collect();
        assert_eq!(found, expected, "{line:?} {variables:?}");
    }

    #[test]
    fn maps_then_mirrors_and_flags_then_variables() {
        check_stand_ins(&[], &[("KANIKO_REGISTRY_MIRROR", "")], &[]);
        check_stand_ins(&["--registry-map=", "--registry-mirror="], &[], &[]);
        check_stand_ins(
            &[
                "--registry-mirror=m1",
                "--registry-map=a=1;b=2; a=3 ;",
                "--registry-mirror=m2",
                "--registry-map=a=4",
            ],
            &[("KANIKO_REGISTRY_MAP", "b=5;c=6"), ("KANIKO_REGISTRY_MIRROR", "m3")],
            &[
                "a=1",
                "b=2",
                "a=3",
                "a=4",
                "b=5",
                "c=6",
                "index.docker.io=m1",
                "index.docker.io=m2",
                "index.docker.io=m3",
            ],
        );
    }

    fn check_again(line: &[&str], variables: &[(&str, &str)], expected: (u32, u64, u64, f64)) {
        let found = flags(line, variables).expect("because the line is good").push_again;
        let milliseconds = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(0);
        let Again { times, first_pause, longest_pause, factor } = found;
        let found = (times, milliseconds(first_pause), milliseconds(longest_pause), factor);
        assert_eq!(found, expected, "{line:?} {variables:?}");
    }

    #[test]
    fn how_often_again() {
        check_again(&[], &[], (0, 1_000, 30_000, 2.0));
        check_again(&["--push-retry=5"], &[("KANIKO_PUSH_RETRY", "3")], (5, 1_000, 30_000, 2.0));
        check_again(&[], &[("KANIKO_PUSH_RETRY", "3")], (3, 1_000, 30_000, 2.0));
        let slow = ["--push-retry-initial-delay=7", "--push-retry-max-delay=0x10"];
        check_again(&slow, &[], (0, 7, 16, 2.0));
        check_again(&["--push-retry-backoff-multiplier=1.5"], &[], (0, 1_000, 30_000, 1.5));
        let pull = |line: &[&str], variables: &[(&str, &str)]| {
            flags(line, variables).expect("because the line is good").pull_again.times
        };
        assert_eq!(pull(&["--image-download-retry=4"], &[]), 4);
        assert_eq!(pull(&[], &[("KANIKO_IMAGE_DOWNLOAD_RETRY", "2")]), 2);
    }

    #[test]
    fn what_is_refused_names_the_flag() {
        let form =
            "expected format: my.registry.url=/path/to/client.crt,/path/to/client.key / hint";
        for (line, expected) in [
            ("--registry-map=a", "invalid argument value. expect key=value, got a"),
            ("--registry-map=a=b;c", "invalid argument value. expect key=value, got c"),
            ("--registry-client-cert=h", "invalid argument value. expect key=value, got h"),
            ("--registry-client-cert=h=/c", form),
            ("--registry-client-cert=h=/c,", form),
            ("--registry-client-cert=h=/c,/k,/x", form),
            ("--registry-client-cert==/c,/k", form),
            ("--push-retry=-1", "it must be 0 or more, and fit in 32 bits"),
            ("--push-retry=often", "strconv.ParseInt: parsing \"often\": invalid syntax"),
            ("--push-retry-initial-delay=-5", "it must be 0 or more, and fit in 32 bits"),
            ("--push-retry-backoff-multiplier=0.5", "it must be a number from 1 to 1000"),
            ("--push-retry-backoff-multiplier=NaN", "it must be a number from 1 to 1000"),
            ("--max-network-concurrency=-2", "it must be 0 or more, and fit in 32 bits"),
        ] {
            let error = flags(&[line], &[]).expect_err(line).replace('\n', " / ");
            assert!(error.contains(expected), "{line}: {error}");
            let flag = line.split_once('=').map_or(line, |(flag, _)| flag);
            assert!(error.contains(&format!("for \"{flag}\" flag")), "{line}: {error}");
        }
    }

    #[test]
    fn lists_with_commas_and_switches() {
        let line = ["--allowed-registries=a, b", "--allowed-registries=c", "--denied-repos=d,"];
        let found = flags(&line, &[("GODEBUG", "x=1,http2client=0")]).expect("it is good");
        assert_eq!(found.registries.allowed, ["a", "b", "c"]);
        assert_eq!(found.repositories.denied, ["d"]);
        assert!(found.http1_only);
        assert!(!flags(&[], &[("GODEBUG", "http2client=1")]).expect("it is good").http1_only);
        let parallel = |text: &str| flags(&[text], &[]).expect("it is good").parallel;
        assert_eq!(parallel("--max-network-concurrency=9"), Some(9));
        assert_eq!(parallel("--max-network-concurrency=0"), None);
    }
}
