//! What must hold for every text: no panic, and nothing lost by printing and parsing again.

use dockerfile::lint::{LintOptions, lint};
use dockerfile::word::{EmptyEnv, Options};
use dockerfile::{Dockerfile, Instruction, parse, parse_trigger, print};
use proptest::prelude::*;

/// What printing keeps: everything but places and the way it was written.
type Kept<'a> = (&'a Instruction, &'a str, &'a [String]);

fn kept(file: &Dockerfile) -> (char, Vec<(&str, &str)>, Vec<Kept<'_>>) {
    let directives = file.directives.iter().map(|d| (d.name.as_str(), d.value.as_str()));
    let statements =
        file.statements().map(|s| (&s.instruction, s.keyword.as_str(), s.comments.as_slice()));
    (file.escape, directives.collect(), statements.collect())
}

/// Uses all that can be done with a text; checks the identity if it is a Dockerfile.
fn exercise(text: &[u8]) -> Result<(), TestCaseError> {
    let file = match parse(text) {
        Ok(file) => file,
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            for error in errors {
                let _ = (error.to_string(), error.hint(), error.buildkit_lines());
                prop_assert!(error.span.start.line <= error.span.end.line);
            }
            return Ok(());
        }
    };
    let _ = lint(&file, &LintOptions::of(&file, None).unwrap_or_default());
    let lines = text.split(|byte| *byte == b'\n').count();
    for statement in file.statements() {
        prop_assert!(*statement.span.lines().end() as usize <= lines);
        if let Instruction::OnBuild(trigger) = &statement.instruction {
            let _ = parse_trigger(&trigger.trigger, '\\');
        }
    }
    let printed = print(&file);
    let again = parse(printed.as_bytes());
    match again {
        Ok(again) => prop_assert_eq!(kept(&file), kept(&again), "{}", printed),
        Err(errors) => prop_assert!(false, "{:?} in {}", errors, printed),
    }
    Ok(())
}

/// Pieces of Dockerfiles, put together at random.
const PIECES: &[&str] = &[
    "\n",
    "\n",
    "\n",
    " ",
    " ",
    "\t",
    "\\\n",
    "`\n",
    "\\",
    "`",
    "\r\n",
    "\n\n",
    "\u{a0}",
    "é",
    "#",
    "# a\n",
    "  # b\n",
    "# escape=`\n",
    "# check=skip=all\n",
    "# syntax=a\n",
    "=",
    "a=b",
    "a=\"b c\"",
    "a='b",
    "FROM a\n",
    "FROM a\n",
    "from a AS b\n",
    "FROM --platform=$P a\n",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "LABEL ",
    "ARG ",
    "ONBUILD ",
    "CMD ",
    "ENTRYPOINT ",
    "SHELL ",
    "EXPOSE ",
    "VOLUME ",
    "USER ",
    "WORKDIR ",
    "STOPSIGNAL ",
    "MAINTAINER ",
    "HEALTHCHECK ",
    "HEALTHCHECK --interval=1.5s --retries=3 CMD ",
    "NONE",
    "--",
    "-- ",
    "--mount=type=cache,target=/a ",
    "--mount=\"type=bind,'x'\" ",
    "--mount='\"a,b\",c' ",
    "--network=none ",
    "--security=insecure ",
    "--device=a,required ",
    "--from=b ",
    "--chown=1:2 ",
    "--chmod=u+x ",
    "--link ",
    "--link=false ",
    "--parents ",
    "--exclude=*.a ",
    "--exclude='a b' ",
    "--exclude=\\$X\\' ",
    "--checksum=x ",
    "--unpack ",
    "--keep-git-dir=false ",
    "<<EOF",
    "<<-EOF",
    "<<'EOF'",
    "<< EOF",
    "3<<E\"O\"F",
    "<<",
    "EOF\n",
    "\tEOF\n",
    "EOF",
    "[\"a\", \"b c\"]\n",
    "[\"<<EOF\",\"\\n\"]",
    "[]",
    "[",
    "]",
    "\"",
    "'",
    "$A",
    "${A:-b}",
    "${",
    "}",
    "a",
    "b",
    "/",
    "c d",
    "80/tcp",
    "1-2",
    ",",
    ":",
];

fn dockerfile_like() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..24);
    (any::<bool>(), pieces).prop_map(|(with_stage, pieces)| {
        let start = if with_stage { "FROM a\n" } else { "" };
        format!("{start}{}", pieces.concat())
    })
}

/// Instructions with arguments that often suit them: most are accepted.
const LINES: &[&str] = &[
    "FROM {}",
    "FROM --platform={} a AS b",
    "from a As B",
    "RUN {} {}",
    "run {}",
    "RUN --mount=type=cache,target={} {}",
    "RUN --mount='from=a,{}' --network=none {}",
    "RUN --device={},required --security=insecure {}",
    "RUN {} <<EOF {}",
    "RUN <<-'EOF'",
    "RUN <<EOF",
    "COPY {} {}",
    "COPY <<EOF {}",
    "COPY --exclude={} {} <<EOF {}",
    "COPY --from={} --chown={} --link --parents {} {}",
    "ADD <<'EOF' {} {}",
    "ADD --checksum={} --unpack=false {} {}",
    "COPY [\"{}\", \"{}\"]",
    "ENV a={}",
    "ENV a={} b={}",
    "ENV {} {}",
    "LABEL a=\"{}\"",
    "LABEL {} {}",
    "ARG a={} {}",
    "ARG {}",
    "ONBUILD RUN {} {}",
    "ONBUILD COPY <<EOF {}",
    "ONBUILD {} {}",
    "CMD {}",
    "CMD [\"{}\"]",
    "CMD",
    "ENTRYPOINT {} {}",
    "ENTRYPOINT []",
    "SHELL [\"{}\", \"b\"]",
    "EXPOSE {} {}",
    "VOLUME {}",
    "VOLUME [\"{}\"]",
    "USER {}",
    "WORKDIR {}",
    "STOPSIGNAL {}",
    "MAINTAINER {} {}",
    "HEALTHCHECK --interval=1m --retries=2 CMD {}",
    "HEALTHCHECK --start-period=1.5s --timeout=0 CMD [\"{}\"]",
    "HEALTHCHECK none",
    "# {}",
    "",
    "  # {}",
    "# check={}",
];

/// What fills them in.
const WORDS: &[&str] = &[
    "a",
    "b c",
    "/d",
    "\"e f\"",
    "'g h'",
    "i\\ j",
    "k` l",
    "$A",
    "${A:-b}",
    "${",
    "{",
    "it's",
    "\"",
    "\\\n",
    "\\\n  #x\n y",
    "`\n",
    "\\\n\n z",
    "\\",
    "\\\\",
    "--",
    "--x",
    "=",
    "a=b",
    ",",
    "[",
    "]",
    "[]",
    "é\u{a0}ü",
    "\u{a0}",
    "\t",
    "\\n",
    "\\u00e9",
    "<<",
    "<<X",
    "1<<2",
    "#",
    "",
];

fn mostly_valid() -> impl Strategy<Value = String> {
    let word = || prop::sample::select(WORDS);
    let line = (prop::sample::select(LINES), prop::collection::vec(word(), 4)).prop_map(
        |(line, words)| {
            let mut words = words.into_iter();
            let mut out = String::new();
            for (index, part) in line.split("{}").enumerate() {
                out.extend((index > 0).then(|| words.next()).flatten());
                out.push_str(part);
            }
            out.push('\n');
            if line.contains("<<") {
                out.push_str("$A\n\t'b\n# c\n\\\nEOF\n");
            }
            out
        },
    );
    let escape = prop::sample::select(&["", "", "# escape=`\n", "# check=error=true\n"][..]);
    (escape, prop::collection::vec(line, 1..4))
        .prop_map(|(escape, lines)| format!("{escape}FROM a\n{}", lines.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_are_parsed_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&text)?;
    }

    #[test]
    fn dockerfiles_survive_printing(text in dockerfile_like()) {
        exercise(text.as_bytes())?;
    }

    #[test]
    fn valid_dockerfiles_survive_printing(text in mostly_valid()) {
        exercise(text.as_bytes())?;
    }

    #[test]
    fn any_word_is_expanded_or_refused(
        text in prop::collection::vec(
            prop::sample::select(&["$", "{", "}", "A", "b", ":", "-", "+", "?", "#", "%", "/", "*",
                "\\", "`", "\"", "'", " ", "<", "é", "\u{feff}"][..]), 0..20),
        flags in any::<[bool; 4]>(),
        escape in prop::sample::select(vec!['\\', '`']),
    ) {
        let [raw_quotes, raw_escapes, skip_process_quotes, skip_unset] = flags;
        let options = Options { escape, raw_quotes, raw_escapes, skip_process_quotes, skip_unset };
        let env = vec![("A".to_owned(), "a/b*c\nd".to_owned())];
        let _ = options.expand(&text.concat(), &env);
        let _ = options.expand(&text.concat(), &EmptyEnv);
    }
}

/// The texts that BuildKit accepts survive printing as well.
#[test]
fn accepted_texts_survive_printing() {
    for line in include_str!("data/accepted.jsonl").lines() {
        let row: serde_json::Value =
            serde_json::from_str(line).expect("rows are JSON because we wrote them");
        let text = row["dockerfile"].as_str().expect("every row has a text");
        exercise(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why}"));
    }
}

#[test]
fn long_lines_are_folded() {
    let text = format!("FROM a\nRUN {}\\\n{}\n", "x # \\\\ ".repeat(8_000), "é".repeat(32_000));
    exercise(text.as_bytes()).expect("a joined line may be longer than a physical one");
}
