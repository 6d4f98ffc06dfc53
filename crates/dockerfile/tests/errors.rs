//! Errors of our own tables, where the sample of BuildKit's answers is thin: wording, lines, order.

use dockerfile::{CommandLine, Instruction, ParseError, parse, parse_trigger};

/// The first error with its lines, or `accepted`.
fn first(text: &[u8]) -> String {
    match parse(text) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => show(&errors[0]),
    }
}

fn show(error: &ParseError) -> String {
    let lines = error.span.lines();
    format!("{}-{}: {error}", lines.start(), lines.end())
}

/// An instruction after a FROM, and the error it makes without `dockerfile parse error on line 2`.
fn check(instruction: &str, expected: &str) {
    let got = first(format!("FROM a\n{instruction}\n").as_bytes());
    let got = got.split_once(": ").map_or(got.as_str(), |(_, error)| error);
    let got = got.strip_prefix("dockerfile parse error on line 2: ").unwrap_or(got);
    assert_eq!(got, expected, "{instruction}");
}

#[test]
fn arguments_are_counted() {
    check("RUN", "accepted");
    check("RUN []", "RUN requires at least one argument");
    check("CMD", "accepted");
    check("ENTRYPOINT []", "accepted");
    check("ENV", "ENV requires at least one argument");
    check("ENV a", "ENV must have two arguments");
    check("ENV =b", "ENV names can not be blank");
    check("LABEL a=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value");
    check("EXPOSE", "EXPOSE requires at least one argument");
    check("VOLUME", "VOLUME requires at least one argument");
    check("VOLUME []", "VOLUME requires at least one argument");
    check("SHELL", "SHELL requires at least one argument");
    check("SHELL []", "SHELL requires at least one argument");
    check("SHELL sh", "SHELL requires the arguments to be in JSON form");
    check("USER", "USER requires exactly one argument");
    check("STOPSIGNAL", "STOPSIGNAL requires exactly one argument");
    check("STOPSIGNAL a b", "accepted");
    check("HEALTHCHECK", "HEALTHCHECK requires at least one argument");
    check("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD");
    check("HEALTHCHECK foo", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)");
    check("FROM", "FROM requires either one or three arguments");
    check("FROM a in b", "FROM requires either one or three arguments");
    check(
        "FROM a AS 1b",
        "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
    );
    check(
        "ADD a",
        "ADD requires at least two arguments, but only one was provided. Destination could not be \
         determined",
    );
    check("ONBUILD maintainer x", "MAINTAINER isn't allowed as an ONBUILD trigger");
    check("FOO", "unknown instruction: FOO (did you mean FROM?)");
    check("foo", "unknown instruction: foo (did you mean from?)");
    check("HEALTHCHEK CMD a", "unknown instruction: HEALTHCHEK (did you mean HEALTHCHECK?)");
}

#[test]
fn flags_are_checked() {
    check("RUN --mont=a b", "unknown flag: --mont (did you mean mount?)");
    check("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe");
    check("COPY --link=TRUE a b", "accepted");
    check("COPY --link= a b", "missing a value on flag: --link");
    check("COPY --chown a b", "missing a value on flag: --chown");
    check("COPY --chown=a --chown=b a b", "duplicate flag specified: --chown");
    check("COPY --exclude=a --exclude=b a b", "accepted");
    check("COPY --unpack a b", "unknown flag: --unpack");
    check("ADD --from=a a b", "unknown flag: --from");
    check("CMD --foo x", "unknown flag: --foo");
    check("CMD -- --foo x", "accepted");
    check("ARG --foo x", "accepted");
    check("STOPSIGNAL --foo x", "accepted");
    check("HEALTHCHECK --foo NONE", "accepted");
    check("HEALTHCHECK --interval=5 CMD a", "time: missing unit in duration \"5\"");
    check("HEALTHCHECK --interval=1us CMD a", "Interval \"interval\" cannot be less than 1ms");
    check("HEALTHCHECK --retries=x CMD a", "strconv.ParseInt: parsing \"x\": invalid syntax");
    check(
        "HEALTHCHECK --retries=2147483648 CMD a",
        "strconv.ParseInt: parsing \"2147483648\": value out of range",
    );
    check("RUN --security=foo a", "security \"foo\" is not valid");
    check("RUN --device=a,b=c a", "unexpected key 'b' in 'b=c'");
    check(
        "RUN --mount='type=bind,a\"b' a",
        "failed to parse csv mounts: parse error on line 1, column 12: bare \" in non-quoted field",
    );
    check("RUN --mount=target=/$X a", "accepted");
    // BuildKit looks at devices before mounts, and at mounts before the network.
    check("RUN --network=x --device= a", "failed to parse csv devices: EOF");
    // Arguments are counted before flags are looked at, but not for ENV.
    check("USER --x", "USER requires exactly one argument");
    check("ENV --x", "unknown flag: --x");
}

#[test]
fn heredocs_are_read_or_refused() {
    check("RUN <<EOF\na\nEOF", "accepted");
    check("RUN <<EOF\na", "unterminated heredoc");
    check("RUN <<A <<B\na\nA\nb\nB", "accepted");
    check("RUN <<A <<B\na\nB\nb\nA", "unterminated heredoc");
    check("COPY <<EOF a <<EOF\nEOF\nEOF", "COPY cannot accept a heredoc as a destination");
    // BuildKit takes `<<` and `EOF` for the names of files here, and drops the body.
    check("COPY << EOF /a\nx\nEOF", "COPY has a heredoc that blanks or quotes split");
    check("COPY \"<<EOF\" /a", "accepted");
    check("COPY [\"<<EOF\", \"/a\"]", "accepted");
}

#[test]
fn errors_name_their_lines_and_come_in_buildkits_order() {
    let check = |text: &str, expected: &str| assert_eq!(first(text.as_bytes()), expected, "{text}");
    check("", "0-0: the Dockerfile cannot be empty");
    check("\n# a\n", "2-2: file with no instructions");
    check("RUN a\nFROM b", "1-1: no build stage in current context");
    check(
        "ARG a\n\nFROM a \\\n b\n",
        "3-4: dockerfile parse error on line 3: FROM requires either one or three arguments",
    );
    // What the line reader finds comes first, wherever it stands.
    check(
        "FROM a\nFOO\nRUN [1]\n",
        "3-3: when using JSON array syntax, arrays must be comprised of strings only",
    );
    check("# escape=x\nFROM a\n", "1-1: invalid escape token 'x' does not match ` or \\");
    check("#escape=`\n#escape=`\nFROM a\n", "2-2: only one escape parser directive can be used");
    check("FROM a\nRUN <<E \\\n b\nc\n", "2-4: unterminated heredoc");
    let long = format!("FROM a\nRUN {}\n", "x".repeat(65_532));
    check(&long, "2-2: dockerfile line greater than max allowed size of 65535");
    check(&long.replacen("x", "", 1), "accepted");
}

#[test]
fn all_errors_are_reported() {
    let errors = parse(b"FROM a b\nRUN --x a\nCOPY a\nUSER u\n").expect_err("three are wrong");
    let lines: Vec<u32> = errors.iter().map(|error| error.span.start.line).collect();
    assert_eq!(lines, [1, 2, 3]);
}

#[test]
fn only_comments_may_be_in_another_encoding() {
    assert_eq!(first(b"# caf\xe9\nFROM a\nRUN b \\\n  # \xe9\n c\n"), "accepted");
    assert_eq!(first(b"FROM a\nRUN caf\xe9\n"), "2-2: line is not valid UTF-8");
    assert_eq!(first(b"FROM a\nRUN <<E\n# \xe9\nE\n"), "3-3: line is not valid UTF-8");
}

#[test]
fn hints_say_why() {
    let hint = |text: &str| parse(text.as_bytes()).expect_err("it is wrong")[0].hint();
    let said = hint("FROM a\nRUN echo $((1 << 2))\n").expect("there is advice");
    assert!(said.contains("a line holding only `2))`"), "{said}");
    assert!(hint("FROM a\nENV a=${X:?need X}\n").is_some_and(|said| said.contains("quote")));
    assert_eq!(hint("FROM a\nFOO\n"), None);
}

#[test]
fn triggers_are_one_instruction() {
    let check = |text: &str, expected: &str| {
        let got = match parse_trigger(text, '\\') {
            Ok(statement) => statement.instruction.name().to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{text}");
    };
    check("RUN a &&    b", "RUN");
    check("COPY <<EOF /a\nb\nEOF", "COPY");
    check("copy --from=x a b", "COPY");
    check("RUN a\nRUN b", "onbuild trigger should be a single expression");
    check("NOPE x", "unknown instruction: NOPE (did you mean COPY?)");
    check("FROM a", "FROM isn't allowed as an ONBUILD trigger");
    check("", "file with no instructions");
}

#[test]
fn a_trigger_is_stored_as_written() {
    let check = |text: &str, expected: &str| {
        let file = parse(text.as_bytes()).expect("the text is valid");
        let Instruction::OnBuild(trigger) = &file.stages[0].statements[0].instruction else {
            panic!("{text} is no trigger");
        };
        assert_eq!(trigger.trigger, expected, "{text}");
    };
    check("FROM a\nONBUILD run a &&    b \n", "run a &&    b ");
    check("FROM a\nonbuild  RUN a \\\n  b\n", "RUN a   b");
    check(
        "FROM a\nONBUILD COPY <<-A <<'B' /x\n\ta\n\tA\nb\nB\n",
        "COPY <<-A <<'B' /x\n\ta\nA\nb\nB",
    );
}

#[test]
fn forms_are_told_apart() {
    let check = |text: &str, expected: CommandLine| {
        let file = parse(format!("FROM a\nRUN {text}\n").as_bytes()).expect("the text is valid");
        let Instruction::Run(run) = &file.stages[0].statements[0].instruction else {
            panic!("{text} is no RUN");
        };
        assert_eq!(run.command, expected, "{text}");
    };
    let exec = |words: &[&str]| CommandLine::Exec(words.iter().map(|w| (*w).to_owned()).collect());
    let shell = |text: &str| CommandLine::Shell(text.to_owned());
    check("[ \"a\", \"b c\" ]", exec(&["a", "b c"]));
    check("--network=none [\"a\"]", exec(&["a"]));
    check("['a']", shell("['a']"));
    check("[\"a\",]", shell("[\"a\",]"));
    check("[\"a\"] b", shell("[\"a\"] b"));
    check("[ -d a ] || b", shell("[ -d a ] || b"));
    check("a \\\n  # b\n\n  c", shell("a   c"));
    check("", shell(""));
}

#[test]
fn flags_know_their_place() {
    let file = parse(b"FROM a\nRUN --network=none \\\n  --mount=type=tmpfs,target=/a b\n")
        .expect("the text is valid");
    let places: Vec<_> = file.stages[0].statements[0]
        .flags
        .iter()
        .map(|flag| (flag.name.as_str(), flag.span.start.line, flag.span.start.column))
        .collect();
    assert_eq!(places, [("network", 2, 5), ("mount", 3, 3)]);
}
