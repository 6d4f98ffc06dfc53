//! What is refused, with BuildKit's words and the lines a user is shown.
//!
//! Beside the recorded messages: every rule that a plan can break has a line here.

mod support;

use plan::{Entitlement, Lint, PlanOptions, Unimplemented};
use support::{images, options};

/// `lines` are the first lines of the instructions shown.
fn check_with(text: &str, options: &PlanOptions, expected: &str, lines: &[u32]) {
    let known = images(include_str!("data/base_images.json"));
    match support::plan(text, options, &known) {
        Ok(planned) => {
            // Both ways of looking at a plan have to work for any plan.
            let shown = format!("{}{}", planned.plan, planned.image().digest());
            panic!("expected {expected:?} for\n{text}\nbut there is a plan:\n{shown}");
        }
        Err(refused) => {
            assert_eq!(refused.message, expected, "{text}");
            let found: Vec<u32> = refused.lines.iter().map(|(first, _)| *first).collect();
            assert_eq!(found, lines, "{text}");
        }
    }
}

fn check(text: &str, expected: &str, lines: &[u32]) {
    let options = PlanOptions { unimplemented: Unimplemented::Plan, ..options() };
    check_with(text, &options, expected, lines);
}

/// One instruction after `FROM busybox`, on line 2.
fn check_one(instruction: &str, expected: &str) {
    check(&format!("FROM busybox\n{instruction}\n"), expected, &[2]);
}

fn with_args(args: &[(&str, &str)]) -> PlanOptions {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    PlanOptions { build_args: args.collect(), ..options() }
}

fn with_target(target: &str) -> PlanOptions {
    PlanOptions { targets: vec![target.to_owned()], ..options() }
}

#[test]
fn stages() {
    check("ARG A=b\n", "dockerfile contains no stages to build", &[]);
    check("FROM $NOPE\n", "base name ($NOPE) should not be blank", &[1]);
    check("ARG B=\nFROM ${B}\n", "base name (${B}) should not be blank", &[2]);
    check(
        "FROM scratch AS unused\nFROM BUSYBOX\nFROM scratch\n",
        "failed to parse stage name \"BUSYBOX\": invalid reference format: repository name \
         (library/BUSYBOX) must be lowercase",
        &[2],
    );
    check("FROM a:b:c\n", "failed to parse stage name \"a:b:c\": invalid reference format", &[1]);
    check("FROM ${A?missing}\n", "failed to process \"${A?missing}\": A: missing", &[1]);
    check(
        "FROM busybox AS Foo\nFROM Foo\n",
        concat!(
            "failed to parse stage name \"Foo\": invalid reference format: repository name ",
            "(library/Foo) must be lowercase"
        ),
        &[2],
    );
    check("FROM nope\n", "nope: docker.io/library/nope:latest: not found", &[1]);
}

#[test]
fn platforms() {
    check("FROM --platform=$NOPE busybox\n", "empty platform value from expression $NOPE", &[1]);
    check(
        "FROM --platform=$TARGETPLATFROM busybox\n",
        "empty platform value from expression $TARGETPLATFROM (did you mean TARGETPLATFORM?)",
        &[1],
    );
    check(
        "FROM --platform=a/b/c/d busybox\n",
        "failed to parse platform a/b/c/d: \"a/b/c/d\": cannot parse platform specifier: invalid \
         argument",
        &[1],
    );
    check(
        "FROM --platform=${x^} busybox\n",
        "failed to process arguments for platform : failed to process \"${x^}\": unsupported \
         modifier (^) in substitution",
        &[1],
    );
}

#[test]
fn targets() {
    let file = "FROM busybox AS builder\nFROM scratch\n";
    check_with(
        file,
        &with_target("bulider"),
        "target stage \"bulider\" could not be found (did you mean builder?)",
        &[],
    );
    check_with(file, &with_target("2"), "target stage \"2\" could not be found", &[]);
    check_with(file, &with_target("-1"), "target stage \"-1\" could not be found", &[]);
}

#[test]
fn references_between_stages() {
    check_one("COPY --from=5 /a /b", "invalid stage index 5");
    check_one("COPY --from=-1 /a /b", "invalid stage index -1");
    check_one("COPY --from=0 /a /b", "circular dependency detected on stage: stage-0");
    let variable = "variable expansion is not supported for --from, define a new stage with FROM \
                    using ARG from global scope as a workaround";
    check_one("COPY --from=$X /a /b", variable);
    check_one("COPY --from=a${X}b /a /b", variable);
}

#[test]
fn what_no_target_needs_is_not_refused() {
    let known = images(include_str!("data/base_images.json"));
    for text in [
        // Sources that are defined too late, images that do not exist, values that are wrong.
        "FROM busybox AS a\nCOPY --from=b /a /b\nFROM busybox AS b\n",
        "FROM nope\nFROM busybox\n",
        "FROM busybox\nCOPY --from=nope / /\nFROM busybox\n",
        "FROM busybox\nENV A=${x?}\nSTOPSIGNAL x\nEXPOSE x\nCOPY --chmod=9 a b\nFROM busybox\n",
        "FROM busybox\nRUN --mount=type=nope true\nFROM busybox\n",
        "FROM onbbad\nFROM busybox\n",
    ] {
        if let Err(refused) = support::plan(text, &options(), &known) {
            panic!("{}\n{text}", refused.message);
        }
    }
}

#[test]
fn order_of_stages() {
    check_with(
        "FROM busybox AS a\nCOPY --from=b /a /b\nFROM busybox AS b\n",
        &with_target("a"),
        "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"",
        &[2],
    );
    let options = PlanOptions { unimplemented: Unimplemented::Plan, ..with_target("a") };
    check_with(
        "FROM busybox AS a\nRUN --mount=from=b,target=/m true\nFROM busybox AS b\n",
        &options,
        "cannot mount from stage \"b\" to \"/m\", stage needs to be defined before current command",
        &[2],
    );
    check(
        "FROM busybox AS a\nCOPY --from=c / /\nFROM busybox AS b\nCOPY --from=a / /\n\
         FROM busybox AS c\nCOPY --from=b / /\n",
        "circular dependency detected on stage: a",
        &[2, 6, 4],
    );
    check(
        "FROM busybox AS a\nRUN --mount=from=a,target=/m true\n",
        "circular dependency detected on stage: a",
        &[2],
    );
    check("FROM onbcopy\n", "build: docker.io/library/build:latest: not found", &[1]);
}

#[test]
fn triggers() {
    check("FROM onbbad\n", "*instructions.Stage is not a command type", &[1]);
    check("FROM onbbad2\n", "onbuild trigger should be a single expression", &[1]);
    check("FROM onbbad3\n", "unknown instruction: NOPE (did you mean COPY?)", &[1]);
    check(
        "FROM busybox AS a\nONBUILD NOPE\nFROM a\n",
        "unknown instruction: NOPE (did you mean COPY?)",
        &[3],
    );
}

#[test]
fn copies() {
    let chmod = |mode: &str| {
        format!(
            "invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777"
        )
    };
    check_one("COPY --chmod=64a a b", &chmod("64a"));
    check_one("ADD --chmod=99999 a b", &chmod("99999"));
    check_one("COPY --chmod=u=q a b", "invalid syntax");
    check_one("COPY https://example.com/a /", "source can't be a URL for COPY");
    check_one("COPY https://example.com/a.git /", "source can't be a git ref for COPY");
    check_one(
        "COPY a \"b",
        "failed to process \"\\\"b\": unexpected end of statement while looking for matching double-quote",
    );
    check_one("COPY --chown=${x a b c", "failed to process \"${x\": syntax error: missing '}'");
    check(
        "FROM busybox\nCOPY <<E /x\n${N:?must}\nE\n",
        "failed to process \"${N:?must}\\n\": N: must",
        &[2],
    );
    let sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    check_one(
        &format!("ADD --checksum={sum} https://a/b https://a/c /"),
        "checksum can't be specified for multiple sources",
    );
    check_one(&format!("ADD --checksum={sum} a /"), "checksum requires HTTP(S) or Git sources");
    check_one("ADD --checksum=md5:abc https://a/b /", "unsupported digest algorithm");
    check_one("ADD --checksum=sha256:abc https://a/b /", "invalid checksum digest length");
    check_one("ADD --checksum=abc https://a/b /", "invalid checksum digest format");
    check_one(
        "ADD --checksum=abc https://a/b.git?checksum=abd /",
        "checksum mismatch \"abc\" != \"abd\"",
    );
    check_one(
        "ADD --keep-git-dir https://a/b.git?keep-git-dir=0 /",
        "inconsistent keep-git-dir configuration",
    );
    check_one("ADD https://a/b.git?nope=1 /", "unexpected query \"nope\"");
    check_one("ADD https://a/b.git?ref=x#y /", "ref conflicts: \"y\" vs \"x\"");
}

#[test]
fn here_documents_are_files_of_one_name() {
    let expected = |name: &str| format!("here-document name \"{name}\" is not a file name");
    check("FROM busybox\nCOPY <<a/b /x/\na/b\n", &expected("a/b"), &[2]);
    check("FROM busybox\nADD <<.. /x/\n..\n", &expected(".."), &[2]);
    check("FROM busybox\nRUN <<../x\n#!/bin/sh\n../x\n", &expected("../x"), &[2]);
}

#[test]
fn config() {
    check_one("STOPSIGNAL SIGNOPE", "invalid signal: SIGNOPE");
    check_one("STOPSIGNAL 0", "invalid signal: 0");
    check_one("VOLUME $NOPE", "VOLUME specified can not be an empty string");
    check_one("EXPOSE 80/x", "invalid port: \"80/x\": invalid proto: x");
    check_one("EXPOSE [\"80\"]", "invalid containerPort: [80]");
    check_one("ENV A=${B:?}", "failed to process \"${B:?}\": B: is not allowed to be unset");
    check_one(
        "LABEL a=\"b",
        "failed to process \"\\\"b\": unexpected end of statement while looking for matching double-quote",
    );
    check_one("ARG A=${B?no}", "failed to process \"${B?no}\": B: no");
    check_one(
        "USER ${A!}",
        "failed to process \"${A!}\": unsupported modifier (!) in substitution",
    );
    check("ARG A=${B?no}\nFROM busybox\n", "failed to process \"${B?no}\": B: no", &[1]);
}

#[test]
fn mounts() {
    let check_mount = |mount: &str, expected: &str| {
        check_one(&format!("RUN --mount={mount} true"), expected);
    };
    check_mount("target=/", "invalid mount target \"/\"");
    check_mount("type=tmpfs,target=/a/..", "invalid mount target \"/\"");
    check_mount("type=ssh,source=a", "ssh does not support source");
    check_mount("type=secret,id=a,source=b", "both source and id can't be set");
    check_mount("target=/a,sharing=shared", "invalid cache sharing set for bind mount");
    check_mount("target=/a,nope", "invalid field 'nope' must be a key=value pair");
    check_mount("type=$X,target=/a", "unsupported mount type \"\"");
    check_mount("from=nope,target=/a", "nope: docker.io/library/nope:latest: not found");
    check_mount("from=0,target=/a", "0: docker.io/library/0:latest: not found");
}

#[test]
fn times() {
    let invalid = |value: &str| format!("invalid SOURCE_DATE_EPOCH: {value}");
    let given = |value: &str| with_args(&[("SOURCE_DATE_EPOCH", value)]);
    check_with("FROM busybox\n", &given("now"), &invalid("now"), &[]);
    check_with("FROM busybox\n", &given("1.5"), &invalid("1.5"), &[]);
    check("ARG SOURCE_DATE_EPOCH=x\nFROM busybox\n", &invalid("x"), &[]);
    check_with(
        "FROM scratch AS src\nADD https://a/b /\nFROM busybox\n",
        &given("SRC"),
        "SOURCE_DATE_EPOCH taken from `SRC` is not supported yet: give it in seconds",
        &[],
    );
}

#[test]
fn frontends() {
    let expected = "the frontend `example.com/mine` named by `# syntax` cannot be run: only \
                    docker/dockerfile and docker/dockerfile-upstream up to version 1 are covered";
    check("# syntax=example.com/mine\nFROM busybox\n", expected, &[1]);
    let options = with_args(&[("BUILDKIT_SYNTAX", "example.com/mine x=y")]);
    let expected = expected.replace("# syntax", "BUILDKIT_SYNTAX");
    check_with("# syntax=docker/dockerfile:1\nFROM busybox\n", &options, &expected, &[]);
    for (text, covered) in [
        ("#!/usr/bin/env x\n# syntax=docker/dockerfile:1\nFROM a\n", true),
        ("#!/usr/bin/env x\n# syntax=mine\nFROM a\n", false),
        ("// syntax=mine\n", false),
        ("{\"syntax\": \"mine\"}", false),
        ("FROM a\n", true),
    ] {
        let found = plan::check_frontend(text.as_bytes(), &support::options());
        assert_eq!(found.is_ok(), covered, "{text}");
    }
}

#[test]
fn findings_that_are_errors() {
    let file = "FROM busybox\nCMD x\nMAINTAINER y\n";
    let expected = "lint violation found for rules: JSONArgsRecommended, MaintainerDeprecated";
    let strict = PlanOptions { lint: Lint::Error, ..options() };
    check_with(file, &strict, expected, &[3, 2]);
    check(&format!("# check=error=true\n{file}"), expected, &[4, 3]);
    check(
        "# check=skip=MaintainerDeprecated;error=true\nFROM busybox\nCMD x\nMAINTAINER y\n",
        "lint violation found for rules: JSONArgsRecommended",
        &[3],
    );
    check(
        "# check=foo\nFROM busybox\n",
        "failed to parse check options: invalid check option \"foo\"",
        &[1],
    );
    check_with(
        "# check=skip=all\nFROM busybox\n",
        &with_args(&[("BUILDKIT_DOCKERFILE_CHECK", "foo")]),
        "failed to parse check options: invalid check option \"foo\"",
        &[],
    );
}

#[test]
fn what_the_operator_has_not_granted() {
    let check = |instruction: &str, allow: &[Entitlement], expected: Result<(), &str>| {
        // A plan that is only shown is refused, too.
        for unimplemented in [Unimplemented::Refuse, Unimplemented::Plan] {
            let options = PlanOptions { allow: allow.to_vec(), unimplemented, ..options() };
            let text = format!("FROM busybox\n{instruction}\n");
            match expected {
                Err(expected) => {
                    check_with(&text, &options, &format!("{expected} is not allowed"), &[2]);
                }
                Ok(()) => {
                    let known = images(include_str!("data/base_images.json"));
                    assert!(support::plan(&text, &options, &known).is_ok(), "{text}");
                }
            }
        }
    };
    let network = [Entitlement::NetworkHost];
    check("RUN --network=host x", &[], Err("network.host"));
    check("RUN --network=host x", &network, Ok(()));
    check("RUN --network=none x", &[], Ok(()));
    check("RUN --network=default x", &[], Ok(()));
    check("RUN --security=insecure x", &network, Err("security.insecure"));
    check("RUN --security=insecure x", &[Entitlement::SecurityInsecure], Ok(()));
    check("RUN --security=sandbox x", &[], Ok(()));
    let one = [Entitlement::Device("v/c=a".to_owned())];
    check("RUN --device=v/c=a x", &[], Err("device=v/c=a"));
    check("RUN --device=v/c=a x", &one, Ok(()));
    check("RUN --device=v/c=a x", &[Entitlement::AnyDevice], Ok(()));
    check("RUN --device=v/c=a --device=v/c=b,required x", &one, Err("device=v/c=b"));
    check("ONBUILD RUN --network=host x", &[], Ok(()));
}
