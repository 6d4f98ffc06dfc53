//! Any bytes are a Dockerfile or a list of errors, and printing a Dockerfile loses nothing.
#![no_main]

use dockerfile::lint::{LintOptions, lint};
use dockerfile::{Dockerfile, Instruction, parse, parse_trigger, print};
use libfuzzer_sys::fuzz_target;

fn instructions(file: &Dockerfile) -> Vec<(&Instruction, &[String])> {
    file.statements().map(|s| (&s.instruction, s.comments.as_slice())).collect()
}

fuzz_target!(|text: &[u8]| {
    let _ = dockerfile::detect_syntax(text);
    let file = match parse(text) {
        Ok(file) => file,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let _ = (error.to_string(), error.hint(), error.buildkit_lines());
            }
            return;
        }
    };
    let _ = lint(&file, &LintOptions::of(&file, None).unwrap_or_default());
    for statement in file.statements() {
        if let Instruction::OnBuild(trigger) = &statement.instruction {
            let _ = parse_trigger(&trigger.trigger, '\\');
        }
    }
    let printed = print(&file);
    match parse(printed.as_bytes()) {
        Ok(again) => assert_eq!(instructions(&file), instructions(&again), "{printed}"),
        Err(errors) => panic!("{errors:?} in {printed}"),
    }
});
