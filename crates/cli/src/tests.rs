//! The flag grammar and both tables, through their public door.

use std::ffi::OsString;

use crate::flag::{Flag, Status, Value};
use crate::{
    Environment, Excerpt, ExecutorFlags, Parsed, Report, executor_flags, executor_table, report,
    warmer_flags, warmer_table,
};

fn arguments(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

/// The first line a person sees, or `ok`.
pub(crate) fn outcome(line: &[&str], variables: &[(&str, &str)]) -> String {
    match executor_flags(arguments(line), &Environment::from_pairs(variables)) {
        Ok(Parsed::Run(_)) => "ok".to_owned(),
        Ok(Parsed::Print(text)) => format!("prints {}", text.lines().next().unwrap_or_default()),
        Err(error) => report::usage_error(&error).trim_end().replace('\n', " / "),
    }
}

fn check(line: &[&str], expected: &str) {
    assert_eq!(outcome(line, &[]), expected, "{line:?}");
}

pub(crate) fn flags(line: &[&str], variables: &[(&str, &str)]) -> ExecutorFlags {
    match executor_flags(arguments(line), &Environment::from_pairs(variables)) {
        Ok(Parsed::Run(flags)) => flags,
        other => panic!("{line:?} gives {other:?}"),
    }
}

#[test]
fn the_grammar_is_pflags() {
    let spellings: &[&[&str]] = &[
        &["--no-push", "--context=/c", "--dockerfile=/f"],
        &["--no-push", "--context", "/c", "--dockerfile", "/f"],
        &["--no-push=true", "-c", "/c", "-f", "/f"],
        &["--no-push=T", "-c/c", "-f/f"],
        &["--no-push=1", "-c=/c", "-f=/f"],
        &["--no-push=false", "--no-push", "-c", "/x", "-c", "/c", "-f/x", "--dockerfile=/f"],
    ];
    for line in spellings {
        let flags = flags(line, &[]);
        assert_eq!((flags.context.as_str(), flags.dockerfile.as_str()), ("/c", "/f"), "{line:?}");
    }
    let flags = flags(&["--no-push", "--build-arg", "--X=-1", "--build-arg=A=b=c,d"], &[]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(flags.build_args, [pair("--X", "-1"), pair("A", "b=c,d")]);
}

#[test]
fn errors_are_one_line_in_kanikos_words() {
    check(&["--no-push", "--x"], "Error: unknown flag: --x / hint: --help lists the flags");
    check(
        &["--no-push", "--contxt=/c"],
        "Error: unknown flag: --contxt / hint: did you mean --context?",
    );
    check(
        &["--no-push", "-x"],
        "Error: unknown shorthand flag: 'x' in -x / hint: --help lists the flags",
    );
    check(
        &["--no-push", "--context"],
        "Error: flag needs an argument: --context / hint: --help lists the flags",
    );
    check(
        &["--no-push", "-c"],
        "Error: flag needs an argument: 'c' in -c / hint: --help lists the flags",
    );
    check(
        &["--no-push", "true"],
        "Error: unknown command \"true\" for \"executor\" / hint: a boolean takes its value after \
         `=`: write --no-push=true",
    );
    check(
        &["build"],
        "Error: unknown command \"build\" for \"executor\" / hint: --help lists the flags",
    );
    check(
        &["--no-push=yes"],
        "Error: invalid argument \"yes\" for \"--no-push\" flag: strconv.ParseBool: parsing \
         \"yes\": invalid syntax / hint: --help lists the flags",
    );
    check(
        &["--no-push", "--compression=lzma"],
        "Error: invalid argument \"lzma\" for \"--compression\" flag: must be either \"gzip\" or \
         \"zstd\" / hint: --help lists the flags",
    );
    check(
        &["--no-push", "--snapshot-mode=fast"],
        "Error: invalid argument \"fast\" for \"--snapshot-mode\" flag: fast is not a valid \
         snapshot mode / hint: --help lists the flags",
    );
    check(
        &["--no-push", "--log-format=x"],
        "Error: invalid argument \"x\" for \"--log-format\" flag: not a valid log format: \"x\". \
         Please specify one of (text, color, json) / hint: --help lists the flags",
    );
    check(
        &["--no-push", "-v", "loud"],
        "Error: invalid argument \"loud\" for \"-v, --verbosity\" flag: parsing log level: not a \
         valid logrus Level: \"loud\" / hint: --help lists the flags",
    );
    check(
        &["--no-push", "--registry-certificate=x"],
        "Error: invalid argument \"x\" for \"--registry-certificate\" flag: invalid argument \
         value. expect key=value, got x / hint: --help lists the flags",
    );
    check(&["--no-push", "--label=x"], "Error: labels must be of the form key=value, got x");
}

#[test]
fn every_snapshot_mode_is_accepted() {
    for mode in ["full", "redo", "time"] {
        check(&["--no-push", &format!("--snapshot-mode={mode}")], "ok");
    }
}

#[test]
fn what_no_flag_can_say_by_itself() {
    check(&[], "Error: you must provide --destination, or use --no-push");
    check(&["--destination=a"], "ok");
    check(&["--dryrun"], "ok");
    check(
        &["--no-push", "--image-name-with-digest-file=/f"],
        "Error: you must provide --destination if setting ImageNameDigestFile",
    );
    check(
        &["--no-push", "--image-name-tag-with-digest-file=/f"],
        "Error: you must provide --destination if setting ImageNameTagDigestFile",
    );
    check(
        &["--no-push", "--compression=zstd", "--image-format=docker"],
        "Error: --compression=zstd cannot be used with --image-format=docker, a docker image \
         cannot have zstd layers",
    );
    check(
        &["--no-push", "--tar-path=/t", "--image-format=oci"],
        "Error: --tar-path writes a Docker schema2 tarball and cannot be used with \
         --image-format=oci, give one of them up",
    );
    check(
        &["--no-push", "--image-format=oci", "--oci-mode=docker"],
        "Error: --image-format cannot be used with --oci-mode, they ask for different formats",
    );
    check(
        &["--no-push", "--annotation=a"],
        "Error: invalid argument \"a\" for \"--annotation\" flag: invalid argument value. \
         expect key=value, got a / hint: --help lists the flags",
    );
}

#[test]
fn sources_that_are_not_there_are_refused() {
    let refused = |flag: &str, value: &str, what: &str| {
        let expected = format!(
            "Error: invalid argument \"{value}\" for \"--{flag}\" flag: {what} is not implemented \
             yet / hint: the README lists what is there and what is not"
        );
        check(&["--no-push", &format!("--{flag}={value}")], &expected);
    };
    for value in ["gs://b/c.tar.gz", "tar://stdin", "s3://b", "git://h/r.git", "https://h/c"] {
        refused("context", value, "a context that is no directory");
    }
    refused("dockerfile", "https://h/Dockerfile", "a Dockerfile from the network");
    check(&["--no-push", "--context=dir:///c"], "ok");
    check(
        &["--no-push", "--context=ftp://h/c"],
        "Error: error resolving source context: unknown build context prefix provided, please use \
         one of the following: gs://, dir://, tar://, s3://, git://, https://",
    );
}

#[test]
fn help_and_version_are_printed() {
    let version = concat!("prints Kaniko version :  v", env!("CARGO_PKG_VERSION"));
    check(&["version"], version);
    check(&["--version"], version);
    check(&["--help"], "prints Usage:");
    check(&["-h"], "prints Usage:");
    check(&["help"], "prints Usage:");
    check(
        &["completion"],
        "Error: command `completion` is not implemented yet / hint: the README lists what is there \
         and what is not",
    );
    check(
        &["--no-push", "push"],
        "Error: `push` comes before its flags / hint: --help lists the flags",
    );
}

#[test]
fn what_is_allowed_is_named() {
    use crate::Allow::{AnyDevice, Device, NetworkHost, SecurityInsecure};
    let line = ["--allow=network.host", "--allow", "security.insecure", "--allow=device"];
    let found = flags(&[&["--no-push", "--allow=device=/dev/fuse"], &line[..]].concat(), &[]);
    let expected = [Device("/dev/fuse".to_owned()), NetworkHost, SecurityInsecure, AnyDevice];
    assert_eq!(found.allow, expected);
    for wrong in ["network", "device=", "all", ""] {
        check(
            &["--no-push", &format!("--allow={wrong}")],
            &format!(
                "Error: invalid argument \"{wrong}\" for \"--allow\" flag: must be network.host, \
                 security.insecure, device or device=NAME / hint: --help lists the flags"
            ),
        );
    }
}

#[test]
fn a_limit_of_nothing_is_none() {
    let limit = |text: &str| flags(&["--no-push", text], &[]).command_timeout;
    assert_eq!(limit("--command-timeout=1m30s"), Some(std::time::Duration::from_secs(90)));
    assert_eq!(limit("--command-timeout=0"), None);
    assert_eq!(limit("--dryrun"), None);
    check(
        &["--no-push", "--command-timeout=5"],
        "Error: invalid argument \"5\" for \"--command-timeout\" flag: time: missing unit in \
         duration \"5\" / hint: --help lists the flags",
    );
}

#[test]
fn no_stages_at_a_time_are_as_many_as_there_are_cores() {
    let count = |text: &str| flags(&["--no-push", text], &[]).max_parallel_stages;
    assert_eq!(count("--max-parallel-stages=3"), Some(3));
    assert_eq!(count("--max-parallel-stages=0"), None);
    assert_eq!(count("--dryrun"), None);
    check(
        &["--no-push", "--max-parallel-stages=-1"],
        "Error: invalid argument \"-1\" for \"--max-parallel-stages\" flag: it cannot be negative / \
         hint: --help lists the flags",
    );
}

#[test]
fn old_spellings_work_and_say_so() {
    let found = flags(
        &[
            "--no-push",
            "--whitelist-var-run=false",
            "--snapshotMode=redo",
            "--tarPath=x",
            "--customPlatform=linux/amd64",
            "--force-build-metadata",
            "--skip-unused-stages",
        ],
        &[],
    );
    assert_eq!(found.tar_path.as_deref(), Some(std::path::Path::new("x")));
    assert_eq!(found.platforms.platforms, [oci::Platform::new("linux", "amd64")]);
    assert_eq!(found.ignore_paths, Vec::<std::path::PathBuf>::new());
    assert_eq!(found.notices.len(), 6, "{:?}", found.notices);
    // The last one on the line wins, whichever spelling it has.
    let line = ["--no-push", "--ignore-var-run=false", "--whitelist-var-run"];
    assert_eq!(flags(&line, &[]).ignore_paths, [std::path::PathBuf::from("/var/run")]);
}

#[test]
fn the_environment_gives_defaults() {
    let value = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let found = flags(&["--no-push", "--build-arg=A", "--build-arg=B"], &[("A", "1")]);
    assert_eq!(found.build_args, value("A", "1"));
    assert!(flags(&["-d", "a"], &[("KANIKO_NO_PUSH", "1")]).no_push);
    let overruled = flags(&["--no-push"], &[("KANIKO_NO_PUSH", "false")]);
    assert!(overruled.no_push);
    assert_eq!(overruled.notices, ["--no-push=true goes before KANIKO_NO_PUSH=false"]);
    assert_eq!(flags(&["--no-push"], &[("SOURCE_DATE_EPOCH", "7")]).source_date_epoch, Some(7));
    let dir = |line: &[&str]| flags(line, &[("KANIKO_DIR", "/k")]).kaniko_dir;
    assert_eq!(dir(&["--no-push"]), Some("/k".into()));
    assert_eq!(dir(&["--no-push", "--kaniko-dir=/x"]), Some("/x".into()));
    for (name, value, expected) in [
        ("KANIKO_NO_PUSH", "maybe", "Error: variable KANIKO_NO_PUSH is not valid"),
        ("SOURCE_DATE_EPOCH", "now", "Error: variable SOURCE_DATE_EPOCH is not valid"),
        ("KANIKO_REGISTRY_MAP", "m", "Error: variable KANIKO_REGISTRY_MAP is not valid"),
        ("KANIKO_PUSH_RETRY", "-1", "Error: variable KANIKO_PUSH_RETRY is not valid"),
        ("KANIKO_CLEANUP", "maybe", "Error: variable KANIKO_CLEANUP is not valid"),
        ("KANIKO_CLEANUP", "false", "ok"),
    ] {
        let found = outcome(&["--no-push"], &[(name, value)]);
        assert!(found.starts_with(expected), "{name}={value}: {found}");
    }
}

#[test]
fn the_image_that_kaniko_calls_alpine_sets_three_variables() {
    let variables =
        [("KANIKO_PRE_CLEANUP", "1"), ("KANIKO_CLEANUP", "1"), ("KANIKO_PRESERVE_CONTEXT", "1")];
    let found = |line: &[&str]| {
        let found = flags(line, &variables);
        (found.pre_cleanup, found.cleanup, found.preserve_context)
    };
    assert_eq!(found(&["--no-push"]), (true, true, true));
    assert_eq!(found(&["--no-push", "--cleanup=false"]), (true, false, true));
}

#[test]
fn doctor_is_a_command_with_the_flags_of_a_build() {
    let found = flags(&["doctor", "-d", "a/b", "--isolation=in-place"], &[]);
    assert_eq!(found.command, crate::Command::Doctor);
    assert_eq!(found.destinations, ["a/b"]);
    // No destination is needed to ask what can be built, and no context.
    assert_eq!(flags(&["doctor", "--context=s3://b"], &[]).command, crate::Command::Doctor);
    assert_eq!(flags(&["--no-push"], &[]).command, crate::Command::Build);
    let second = outcome(&["doctor", "me"], &[]);
    assert!(second.starts_with("Error: unknown command \"doctor\""), "{second}");
}

/// A value that fits the flag and is not its default.
fn other_value(flag: &Flag) -> String {
    match flag.value {
        // The one list of fixed words.
        Value::List if flag.name == "allow" => "device".to_owned(),
        Value::Bool => (flag.default != "true").to_string(),
        Value::Text | Value::List => "x".to_owned(),
        Value::KeyValue | Value::Map => "k=v".to_owned(),
        Value::Number => "7".to_owned(),
        Value::Duration => "7h".to_owned(),
        Value::Choice(words) => {
            let word = words.iter().find(|word| **word != flag.default);
            (*word.expect("because every choice has two words")).to_owned()
        }
    }
}

/// What a row promises is what the program does: an error that names the flag, a notice that names
/// it, or neither.
fn check_row(flag: &Flag, text: &str, outcome: Result<Vec<String>, String>) {
    let spelled = format!("--{}", flag.name);
    match (flag.status, outcome) {
        (Status::NotYet(what), Err(error)) => {
            assert!(error.contains(&spelled) && error.contains(what), "{text}: {error}");
        }
        (Status::NoEffect(_) | Status::Alias(_), Ok(notices)) => {
            assert!(notices.iter().any(|notice| notice.contains(&spelled)), "{text}: {notices:?}");
        }
        (Status::Implemented, Ok(notices)) => assert!(notices.is_empty(), "{text}: {notices:?}"),
        (status, outcome) => panic!("{text} is {status:?} and gives {outcome:?}"),
    }
}

/// These need a value with a grammar of their own.
fn fitting_value(flag: &Flag) -> String {
    match flag.name {
        "verbosity" => "debug".to_owned(),
        "label" | "build-arg" | "ssh" => "k=v".to_owned(),
        "secret" => "id=a,src=b".to_owned(),
        "custom-platform" | "customPlatform" | "multi-platform" => "linux/arm64".to_owned(),
        "registry-client-cert" => "host=/cert,/key".to_owned(),
        "push-retry-backoff-multiplier" => "1.5".to_owned(),
        _ => other_value(flag),
    }
}

/// What a flag means something with.
fn companions(flag: &Flag) -> &'static [&'static str] {
    match flag.name {
        "publish-index" | "require-native-nodes" => &["--multi-platform=linux/arm64"],
        "legacy-manifest-list" | "index-annotations" => {
            &["--multi-platform=linux/arm64", "--publish-index"]
        }
        "digests-from" => &["--driver=ci"],
        "cache" => &["--layer-cache-dir=/l"],
        "layer-cache-dir" => &["--cache", "--cache-repo=oci:/c"],
        "cache-copy-layers" | "cache-dir" | "cache-repo" | "cache-run-layers" | "cache-ttl"
        | "explain-cache" | "no-push-cache" => &["--cache", "--layer-cache-dir=/l"],
        _ => &[],
    }
}

#[test]
fn every_row_of_the_executors_table_does_what_it_says() {
    for flag in executor_table() {
        if ["help", "version", "no-push"].contains(&flag.name) {
            continue;
        }
        let text = format!("--{}={}", flag.name, fitting_value(&flag));
        let line = [companions(&flag), &["--no-push", "--destination=a", &text]].concat();
        let line = arguments(&line);
        let outcome = match executor_flags(line, &Environment::default()) {
            Ok(Parsed::Run(flags)) => Ok(flags.notices),
            Ok(Parsed::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        };
        check_row(&flag, &text, outcome);
    }
}

#[test]
fn every_row_of_the_warmers_table_does_what_it_says() {
    for flag in warmer_table() {
        if ["help", "version"].contains(&flag.name) {
            continue;
        }
        let text = format!("--{}={}", flag.name, fitting_value(&flag));
        let outcome = match warmer_flags(arguments(&["--image=a", &text]), &Environment::default())
        {
            Ok(Parsed::Run(flags)) => Ok(flags.notices),
            Ok(Parsed::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        };
        check_row(&flag, &text, outcome);
    }
}

#[test]
fn an_implemented_flag_changes_the_value_it_stands_for() {
    for flag in executor_table() {
        if flag.status != Status::Implemented || ["help", "version", "no-push"].contains(&flag.name)
        {
            continue;
        }
        let text = format!("--{}={}", flag.name, fitting_value(&flag));
        let without = [companions(&flag), &["--no-push", "--destination=a"]].concat();
        let plain = format!("{:?}", flags(&without, &[]));
        let changed = format!("{:?}", flags(&[&without[..], &[&text]].concat(), &[]));
        assert_ne!(plain, changed, "{text}");
    }
}

#[test]
fn names_are_unique_and_aliases_lead_somewhere() {
    for table in [executor_table(), warmer_table()] {
        let mut names: Vec<&str> = table.iter().map(|flag| flag.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for flag in &table {
            if let Status::Alias(name) = flag.status {
                assert!(names.contains(&name), "{}", flag.name);
            }
        }
    }
}

#[test]
fn the_warmers_short_names_are_its_own() {
    let line = arguments(&["-i", "a", "-c", "/c", "-f", "-d", "/d"]);
    let Ok(Parsed::Run(flags)) = warmer_flags(line, &Environment::default()) else {
        panic!("the line is refused");
    };
    assert_eq!(flags.images, ["a"]);
    assert_eq!(flags.cache_dir, std::path::Path::new("/c"));
    assert_eq!(flags.dockerfile.as_deref(), Some("/d"));
    assert!(flags.force);
    let nothing = warmer_flags(arguments(&[]), &Environment::default());
    assert_eq!(
        nothing.expect_err("because nothing is asked for").to_string(),
        "you must select at least one image to cache or a dockerfilepath to parse"
    );
}

#[derive(Debug, thiserror::Error)]
#[error("step `RUN make` failed")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("exit status 42")]
struct Inner;

#[test]
fn a_report_has_headline_excerpt_causes_output_and_hint() {
    let text = "FROM busybox\nRUN true\nRUN make \\\n  all\nCMD [\"x\"]\n";
    let report = Report {
        doing: "error building image",
        error: &Outer(Inner),
        excerpt: Some(Excerpt { name: "Dockerfile", text, first_line: 3, last_line: 4 }),
        hint: Some("the command ran as root"),
        output: &["make: nothing".to_owned()],
    };
    insta::assert_snapshot!(report::render(&report), @r#"
    error building image: step `RUN make` failed: exit status 42
       ╭─[Dockerfile:3:1]
     1 │ FROM busybox
     2 │ RUN true
     3 │ RUN make \
       · ──────────
     4 │   all
       ·   ───
     5 │ CMD ["x"]
       ╰────
    error: step `RUN make` failed
    cause: exit status 42
    last output of the command:
      | make: nothing
    hint: the command ran as root
    "#);
}

#[test]
fn a_headline_is_one_line_whatever_the_error_says() {
    #[derive(Debug, thiserror::Error)]
    #[error("first\n  second\n")]
    struct Lines;
    let report = Report { doing: "error", error: &Lines, excerpt: None, hint: None, output: &[] };
    assert_eq!(report::render(&report), "error: first; second\n");
}
