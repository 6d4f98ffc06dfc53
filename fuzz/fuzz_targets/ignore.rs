//! Any ignore file is read or refused, and its answers agree with each other.
#![no_main]

use glob::{IgnoreFile, Pattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (text, path) = input;
    // A walk never has a path with an empty name in it.
    if path.split(|&byte| byte == b'/').any(<[u8]>::is_empty) {
        return;
    }
    if let Ok(pattern) = Pattern::new(text)
        && pattern.matches(path)
        && let Some(slash) = path.iter().rposition(|&byte| byte == b'/')
    {
        assert!(pattern.may_match_below(&path[..slash]), "a walk would not find the match");
    }
    match IgnoreFile::parse(text) {
        Ok(file) => {
            file.excludes(path);
            let mut verdict = file.root();
            let mut reached = true;
            let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
            for (end, _) in slashes.chain([(path.len(), &b'/')]) {
                verdict = file.judge(&verdict, &path[..end]);
                assert!(reached || verdict.is_excluded(), "a walk would not find what is included");
                reached = reached && file.may_include_below(&verdict, &path[..end]);
            }
            assert_eq!(verdict, file.walk_to(path));
        }
        Err(error) => drop((error.to_string(), error.line())),
    }
});
