//! Reading ignore files, and walking with them.

use glob::{Error, IgnoreFile};

/// `text` is an ignore file; each path begins with `+` (stays) or `-` (excluded in a walk).
fn check(text: &str, paths: &[&str]) {
    let file = IgnoreFile::parse(text.as_bytes()).expect("because the case is valid");
    for marked in paths {
        let (mark, path) = marked.split_at(1);
        let excluded = file.walk_to(path.as_bytes()).is_excluded();
        assert_eq!(excluded, mark == "-", "{path:?} with {text:?}");
    }
}

fn refused(text: &[u8], expected: &str, line: usize) {
    let error = IgnoreFile::parse(text).expect_err("because the case is invalid");
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.line(), Some(line));
}

#[test]
fn lines_are_normalised() {
    check("./a\n", &["-a", "-a/x", "+b"]);
    check("/a\n", &["-a", "+b/a"]);
    check("a//b/\n", &["-a/b", "+a"]);
    check("x/../a\n", &["-a", "+x"]);
    check("  a  \r\n", &["-a"]);
    check("\u{feff}a\n", &["-a"]);
    check("b\n\u{feff}a\n", &["+a", "-b"]);
    check("", &["+a"]);
    check("/\n", &["+a"]);
    check(".\n", &["+a"]);
    check("a", &["-a"]);
}

#[test]
fn comments_begin_in_the_first_column() {
    check("#a\n #b\na # no comment\n", &["+#a", "-#b", "+a", "-a # no comment"]);
    check("\\#a\n", &["-#a"]);
}

#[test]
fn exceptions_bring_back() {
    check("*\n!a\n", &["-b", "+a", "+a/x"]);
    check("*\n! ./a \n", &["+a", "-b"]);
    check("!a\n*\n", &["-a"]);
    check("dir/*\n!dir/sub\n", &["+dir", "-dir/x", "+dir/sub", "+dir/sub/y"]);
    check("a/b\n!a\n", &["+a", "-a/b"]);
    check("**\n!**/*.txt\n", &["-a", "-a/b", "+a/b.txt", "+b.txt"]);
    check("dir\n!dir/sub\ndir/sub/x\n", &["-dir", "+dir/sub", "-dir/sub/x", "+dir/sub/y"]);
}

#[test]
fn double_stars_reach_over_directories() {
    check("a/**/b\n", &["-a/b", "-a/x/b", "-a/x/y/b", "+ab", "+a/xb"]);
    check("a**b\n", &["-ab", "-ax/b", "-a/x/b", "+axb"]);
    check("**/a\n", &["-a", "-x/a", "-x/y/a/z", "+ba"]);
    check("a/**\n", &["+a", "-a/x", "+ab"]);
    check("**a\n", &["-ba", "-x/ba", "+ab"]);
}

#[test]
fn brackets_are_regular_expressions() {
    check("[^a]\n", &["-b", "+a"]);
    check("[!a]\n", &["-!", "-a", "+b"]);
    check("x[^a]y\n", &["-x/y"]);
    check("[a*]\n", &["+a", "-a]", "-/]", "-]"]);
    check("a\\dx*\n", &["-a5x", "+adx"]);
    check("[\\d]*\n", &["-5", "-5a", "+d"]);
}

#[test]
fn leaking_operators_are_plain_characters() {
    check("a|b*\n", &["-a|bc", "+a", "+bz"]);
    check("^a*\n", &["-^ab", "+ab"]);
    check("a{2}*\n", &["-a{2}x", "+aab"]);
    check("[^|]*\n", &["-a", "+|"]);
}

#[test]
fn invalid_bytes_are_characters_of_their_own() {
    let file = IgnoreFile::parse(b"a\xff\n?b\n").expect("because any bytes are a path");
    for (path, excluded) in
        [(&b"a\xff"[..], true), (b"a\xfe", false), (b"\xffb", true), (b"\xff\xffb", false)]
    {
        assert_eq!(file.walk_to(path).is_excluded(), excluded, "{path:?}");
    }
}

#[test]
fn errors_name_the_line() {
    refused(b"a\n[\n", "syntax error in pattern: `[`", 2);
    refused(b"a\\\n", "syntax error in pattern: `a\\\\`", 1);
    refused(b"\n\n[b-a]\n", "syntax error in pattern: `[b-a]`", 3);
    refused(b"!\n", "illegal exclusion pattern: \"!\"", 1);
    refused(b"x\n\\bq*\n", "unsupported escape `\\b` in pattern `\\\\bq*`", 2);
    refused(&[b'a'; 70_000], "line 1 is longer than 65535 bytes", 1);
    let error = IgnoreFile::from_patterns(["["]).expect_err("because it is invalid");
    assert!(matches!(error, Error::Syntax { line: None, .. }));
}

#[test]
fn excluded_directories_are_entered_only_for_exceptions() {
    let file = IgnoreFile::parse(b"*\n!a/b/*.txt\n!**/keep\n!x/y\n").expect("because it is valid");
    let below = |path: &[u8]| file.may_include_below(&file.walk_to(path), path);
    assert!(below(b"a") && below(b"q"), "`**/keep` can be anywhere");
    let file = IgnoreFile::parse(b"*\n!a/b/*.txt\n!x/y\n").expect("because it is valid");
    let below = |path: &[u8]| file.may_include_below(&file.walk_to(path), path);
    assert!(below(b"a") && below(b"a/b") && below(b"x"));
    assert!(!below(b"q") && !below(b"a/c") && !below(b"a/b/c.txt2"));
    assert!(below(b"x/y"), "what is included is entered");
}
