//! For which platforms images are made, by whom, and how they are joined: `--custom-platform`,
//! `--multi-platform`, `--driver` and the flags of the index.
//!
//! Reads no digest file; the builder does, where `--driver=ci` says so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci::Platform;

use crate::environment::Environment;
use crate::error::Error;
use crate::executor::ExecutorFlags;
use crate::grammar::Values;

/// What is made for which platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformFlags {
    /// `--custom-platform` or `--multi-platform`; empty: this machine's.
    pub platforms: Vec<Platform>,
    /// `--driver`.
    pub driver: Driver,
    /// How images are joined, where they are.
    pub index: Option<IndexFlags>,
    /// `--require-native-nodes`, where it means something: nothing runs under an emulator. kaniko's
    /// `--custom-platform` alone never asked for that.
    pub native_only: bool,
}

/// `--driver`: who makes the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// This program.
    Local,
    /// Somebody else made and pushed them; their digests are in files of this directory.
    Ci {
        /// `--digests-from`, or the place that a known CI system has.
        digests: PathBuf,
    },
}

/// How images are joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexFlags {
    /// `--legacy-manifest-list`: Docker's list, not OCI's index.
    pub legacy: bool,
    /// `--index-annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// What several of the checks say about.
const SEVERAL: &str = "--multi-platform of several platforms";

pub(crate) fn platforms(
    values: &Values,
    environment: &Environment,
) -> Result<PlatformFlags, Error> {
    let several = several("--multi-platform", &values.list("multi-platform"))?;
    let custom = values.text("custom-platform");
    if custom.is_some() && !several.is_empty() {
        let reason = "each names the platforms of the image";
        return conflict("--multi-platform", "--custom-platform", reason);
    }
    let ci = driver(values)?;
    let legacy = values.is_set("legacy-manifest-list");
    let annotations = annotations(&values.list("index-annotations"))?;
    let publish = values.is_set("publish-index");
    if publish && several.is_empty() && !ci {
        let needs = "--multi-platform or --driver=ci";
        return Err(Error::Needs { flag: "--publish-index", needs });
    }
    let joined = publish || several.len() > 1 || ci;
    for (asked, flag) in
        [(legacy, "--legacy-manifest-list"), (!annotations.is_empty(), "--index-annotations")]
    {
        if asked && !joined {
            return Err(Error::Needs { flag, needs: "--publish-index" });
        }
    }
    if legacy && !annotations.is_empty() {
        let reason = "a docker manifest list has no annotations";
        return conflict("--index-annotations", "--legacy-manifest-list", reason);
    }
    let native = values.is_set("require-native-nodes");
    let native_asked = values.is_given("require-native-nodes") || !several.is_empty();
    let custom = custom.map(|text| platform(&text)).transpose()?;
    Ok(PlatformFlags {
        platforms: custom.into_iter().chain(several).collect(),
        driver: match ci {
            true => Driver::Ci { digests: digests(values, environment) },
            false => Driver::Local,
        },
        index: joined.then_some(IndexFlags { legacy, annotations }),
        native_only: native && native_asked,
    })
}

/// Whether images come from other jobs.
fn driver(values: &Values) -> Result<bool, Error> {
    match values.text("driver").as_deref() {
        Some("ci") => {
            if values.is_given("custom-platform") {
                let reason = "--multi-platform names the platforms to join";
                return conflict("--custom-platform", "--driver=ci", reason);
            }
            if values.is_given("publish-index") && !values.is_set("publish-index") {
                let reason = "an index is all that it makes";
                return conflict("--publish-index=false", "--driver=ci", reason);
            }
            Ok(true)
        }
        Some("k8s") => Err(Error::ValueNotYet {
            value: "k8s".to_owned(),
            flag: "driver",
            what: "starting a job on each platform's nodes",
        }),
        _ if values.is_given("digests-from") => {
            Err(Error::Needs { flag: "--digests-from", needs: "--driver=ci" })
        }
        _ => Ok(false),
    }
}

fn digests(values: &Values, environment: &Environment) -> PathBuf {
    let known = || {
        let workspace = environment.get("GITHUB_WORKSPACE").map(PathBuf::from);
        let workspace = workspace.map(|path| path.join("digests"));
        workspace.or_else(|| environment.get("CI_DIGESTS_DIR").map(PathBuf::from))
    };
    let temporary = || {
        let directory = environment.get("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from);
        directory.join("kaniko-digests")
    };
    values.text("digests-from").map(PathBuf::from).or_else(known).unwrap_or_else(temporary)
}

/// `--multi-platform`: repeated, or with commas, or both.
pub(crate) fn several(flag: &str, texts: &[String]) -> Result<Vec<Platform>, Error> {
    let mut found: Vec<Platform> = Vec::new();
    for text in texts.iter().flat_map(|text| text.split(',')) {
        let wanted = platform(text.trim())?;
        if found.iter().any(|earlier| earlier.normalized() == wanted.normalized()) {
            return Err(Error::InvalidValue {
                value: text.to_owned(),
                flag: flag.to_owned(),
                reason: format!("the platform {wanted} is given twice"),
            });
        }
        found.push(wanted);
    }
    Ok(found)
}

/// `OS/ARCH[/VARIANT][:OSVERSION]`.
fn platform(text: &str) -> Result<Platform, Error> {
    let (name, version) = match text.split_once(':') {
        Some((name, version)) if !version.is_empty() => (name, Some(version)),
        Some(_) | None => (text, None),
    };
    let found = Platform::check(name)
        .map_err(|fault| Error::Platform { text: text.to_owned(), reason: fault.to_string() })?;
    let os_version = version.map(str::to_owned).or(found.os_version);
    Ok(Platform { os_version, ..found })
}

/// `--index-annotations`, as pflag reads its maps: `k=v`, or several of them with commas between;
/// one with a comma in it stands in quotes.
fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    for text in texts {
        let pairs = match text.matches('=').count() {
            0 | 1 => vec![text.trim_matches('"').to_owned()],
            _ => fields(text),
        };
        for pair in pairs {
            match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    found.insert(key.to_owned(), value.to_owned());
                }
                Some(_) | None => {
                    return Err(Error::InvalidValue {
                        value: text.clone(),
                        flag: "--index-annotations".to_owned(),
                        reason: format!("{pair} must be formatted as key=value"),
                    });
                }
            }
        }
    }
    Ok(found)
}

/// The fields of a line of CSV.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        let last = fields.len() - 1;
        match character {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => fields[last].push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            character => fields[last].push(character),
        }
    }
    fields
}

fn conflict<T>(flag: &'static str, other: &'static str, reason: &'static str) -> Result<T, Error> {
    Err(Error::Conflict { flag, other, reason })
}

/// What the flags of platforms and the other outputs cannot say together.
pub(crate) fn check(flags: &ExecutorFlags, publish_index: bool) -> Result<(), Error> {
    let several = flags.platforms.platforms.len() > 1;
    match flags.platforms.driver {
        Driver::Ci { .. } => {
            let builds_nothing = "it builds nothing";
            let asked = [
                (flags.dryrun, "--dryrun"),
                (flags.tar_path.is_some(), "--tar-path"),
                (flags.oci_layout_path.is_some(), "--oci-layout-path"),
            ];
            if let Some((_, flag)) = asked.into_iter().find(|(asked, _)| *asked) {
                return conflict(flag, "--driver=ci", builds_nothing);
            }
            if flags.destinations.is_empty() {
                return Err(Error::Needs { flag: "--driver=ci", needs: "--destination" });
            }
        }
        Driver::Local if several => {
            if flags.tar_path.is_some() {
                return conflict("--tar-path", SEVERAL, "a docker archive holds one image");
            }
            if !flags.no_push && !flags.dryrun && !publish_index {
                return conflict(
                    SEVERAL,
                    "a push without --publish-index",
                    "no tag can name several images",
                );
            }
        }
        Driver::Local => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Driver, PlatformFlags};
    use crate::tests::{flags, outcome};

    fn found(line: &[&str], variables: &[(&str, &str)]) -> PlatformFlags {
        flags(&[line, &["--no-push", "-d", "a"]].concat(), variables).platforms
    }

    fn check(line: &[&str], expected: &[&str]) {
        let found = found(line, &[]).platforms;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn platforms_are_listed_or_repeated() {
        check(&[], &[]);
        check(&["--custom-platform=linux/arm64"], &["linux/arm64"]);
        check(&["--custom-platform=linux/arm/v7"], &["linux/arm/v7"]);
        check(&["--custom-platform=windows/amd64:10.0.17763"], &["windows(10.0.17763)/amd64"]);
        check(&["--multi-platform=linux/amd64,linux/arm64"], &["linux/amd64", "linux/arm64"]);
        check(
            &["--multi-platform=linux/arm/v7, linux/x86_64", "--multi-platform=linux/s390x"],
            &["linux/arm/v7", "linux/amd64", "linux/s390x"],
        );
        check(
            &["--multi-platform=linux/arm/v6,linux/arm/v7,linux/arm64/v8"],
            &["linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"],
        );
    }

    fn refused(line: &[&str], expected: &str) {
        let found = outcome(line, &[]);
        let found = found.strip_prefix("Error: ").unwrap_or(&found);
        assert_eq!(found.split(" / ").next().unwrap_or_default(), expected, "{line:?}");
    }

    #[test]
    fn what_is_no_platform_or_twice_the_same_is_refused() {
        refused(
            &["--no-push", "--custom-platform=a/b/c/d"],
            "Invalid platform \"a/b/c/d\": \"a/b/c/d\": cannot parse platform specifier: invalid \
             argument",
        );
        for (value, again) in [
            ("linux/amd64,linux/x86_64", "linux/x86_64"),
            ("linux/arm64,linux/arm64/v8", "linux/arm64/v8"),
            ("linux/arm/v7,linux/arm", "linux/arm"),
        ] {
            let found = outcome(&["--no-push", &format!("--multi-platform={value}")], &[]);
            let start = format!(
                "Error: invalid argument \"{again}\" for \"--multi-platform\" flag: the pl"
            );
            assert!(found.starts_with(&start), "{found}");
        }
        let found = outcome(&["--no-push", "--multi-platform=linux/amd64,"], &[]);
        assert!(found.starts_with("Error: Invalid platform \"\""), "{found}");
    }

    #[test]
    fn what_cannot_be_joined_is_refused() {
        const TWO: &str = "--multi-platform=linux/amd64,linux/arm64";
        refused(
            &["-d", "a", TWO],
            "--multi-platform of several platforms cannot be used with a push without \
             --publish-index, no tag can name several images",
        );
        refused(&["-d", "a", TWO, "--publish-index"], "ok");
        refused(&["-d", "a", TWO, "--dryrun"], "ok");
        refused(&["--no-push", TWO], "ok");
        refused(&["-d", "a", "--multi-platform=linux/arm64"], "ok");
        refused(
            &["--no-push", TWO, "--tar-path=/t"],
            "--tar-path cannot be used with --multi-platform of several platforms, a docker \
             archive holds one image",
        );
        refused(
            &["--no-push", TWO, "--custom-platform=linux/amd64"],
            "--multi-platform cannot be used with --custom-platform, each names the platforms of \
             the image",
        );
        refused(
            &["-d", "a", "--publish-index"],
            "--publish-index needs --multi-platform or --driver=ci",
        );
        refused(
            &["-d", "a", "--legacy-manifest-list"],
            "--legacy-manifest-list needs --publish-index",
        );
        refused(
            &["-d", "a", "--index-annotations=a=b"],
            "--index-annotations needs --publish-index",
        );
        refused(
            &["--no-push", TWO, "--legacy-manifest-list", "--index-annotations=a=b"],
            "--index-annotations cannot be used with --legacy-manifest-list, a docker manifest \
             list has no annotations",
        );
    }

    #[test]
    fn drivers() {
        assert_eq!(found(&["--driver=local"], &[]).driver, Driver::Local);
        let ci = |line: &[&str], variables: &[(&str, &str)]| {
            let line = [&["--driver=ci"], line].concat();
            match found(&line, variables).driver {
                Driver::Ci { digests } => digests,
                Driver::Local => panic!("{line:?} is local"),
            }
        };
        assert_eq!(ci(&["--digests-from=/d"], &[]), Path::new("/d"));
        let variables = [("GITHUB_WORKSPACE", "/w"), ("CI_DIGESTS_DIR", "/c"), ("TMPDIR", "/t")];
        assert_eq!(ci(&[], &variables), Path::new("/w/digests"));
        assert_eq!(ci(&[], &variables[1..]), Path::new("/c"));
        assert_eq!(ci(&[], &variables[2..]), Path::new("/t/kaniko-digests"));
        assert_eq!(ci(&[], &[]), Path::new("/tmp/kaniko-digests"));
        refused(
            &["-d", "a", "--driver=k8s"],
            "invalid argument \"k8s\" for \"--driver\" flag: starting a job on each platform's \
             nodes is not implemented yet",
        );
        refused(&["-d", "a", "--digests-from=/d"], "--digests-from needs --driver=ci");
        refused(&["--no-push", "--driver=ci"], "--driver=ci needs --destination");
        for flag in ["--dryrun", "--tar-path", "--oci-layout-path"] {
            let value = if flag == "--dryrun" { flag.to_owned() } else { format!("{flag}=/x") };
            let expected = format!("{flag} cannot be used with --driver=ci, it builds nothing");
            refused(&["-d", "a", "--driver=ci", &value], &expected);
        }
        refused(
            &["-d", "a", "--driver=ci", "--publish-index=false"],
            "--publish-index=false cannot be used with --driver=ci, an index is all that it makes",
        );
    }

    #[test]
    fn emulation_is_kept_out_where_it_is_not_asked_for() {
        let native = |line: &[&str]| found(line, &[]).native_only;
        // As kaniko, where emulation is the machine's affair.
        assert!(!native(&["--custom-platform=linux/arm64"]));
        assert!(native(&["--custom-platform=linux/arm64", "--require-native-nodes"]));
        assert!(native(&["--multi-platform=linux/arm64"]));
        assert!(!native(&["--multi-platform=linux/arm64", "--require-native-nodes=false"]));
    }

    fn check_annotations(line: &[&str], expected: &[(&str, &str)]) {
        let line = [&["--multi-platform=linux/amd64", "--publish-index"], line].concat();
        let found = found(&line, &[]).index.unwrap_or_default().annotations;
        let pairs = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        assert_eq!(found, pairs.collect(), "{line:?}");
    }

    #[test]
    fn annotations_are_read_as_pflag_reads_maps() {
        check_annotations(&["--index-annotations=a=b"], &[("a", "b")]);
        check_annotations(&["--index-annotations=a=b,c"], &[("a", "b,c")]);
        check_annotations(&["--index-annotations=a=b,c=d"], &[("a", "b"), ("c", "d")]);
        check_annotations(&["--index-annotations=\"a=b,x\",c=d"], &[("a", "b,x"), ("c", "d")]);
        check_annotations(
            &["--index-annotations=a=b", "--index-annotations=c=d", "--index-annotations=a=z"],
            &[("a", "z"), ("c", "d")],
        );
        check_annotations(&["--index-annotations=a="], &[("a", "")]);
        refused(
            &["-d=a", "--multi-platform=linux/amd64", "--publish-index", "--index-annotations==b"],
            "invalid argument \"=b\" for \"--index-annotations\" flag: =b must be formatted as \
             key=value",
        );
    }
}
