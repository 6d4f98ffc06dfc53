//! Any word is expanded or refused, within its bounds, whatever the options.
#![no_main]

use dockerfile::word::Options;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &str)| {
    let (flags, word, value) = input;
    let options = Options {
        escape: if flags & 1 == 0 { '\\' } else { '`' },
        raw_quotes: flags & 2 != 0,
        raw_escapes: flags & 4 != 0,
        skip_process_quotes: flags & 8 != 0,
        skip_unset: flags & 16 != 0,
    };
    let env = vec![("A".to_owned(), value.to_owned()), ("B".to_owned(), String::new())];
    match options.expand(word, &env) {
        Ok(expanded) => {
            assert!(expanded.text.len() <= word.len() + (1 << 20));
            assert!(expanded.words.iter().all(|word| !word.is_empty()));
        }
        Err(error) => drop(error.to_string()),
    }
});
