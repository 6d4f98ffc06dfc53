//! [`Pattern`] against the behaviour of Go's `path.Match`.

use glob::{Pattern, has_wildcards};

fn check(pattern: &str, path: &str, expected: bool) {
    let compiled = Pattern::new(pattern.as_bytes()).expect("because the case is valid");
    assert_eq!(compiled.matches(path.as_bytes()), expected, "{pattern:?} on {path:?}");
}

fn refused(pattern: &str) {
    assert!(Pattern::new(pattern.as_bytes()).is_err(), "{pattern:?}");
}

#[test]
fn stars_stop_at_slashes() {
    check("abc", "abc", true);
    check("*", "abc", true);
    check("*", "", true);
    check("*c", "abc", true);
    check("a*", "a", true);
    check("a*", "abc", true);
    check("a*", "ab/c", false);
    check("a*/b", "abc/b", true);
    check("a*/b", "a/c/b", false);
    check("a*b*c*d*e*/f", "axbxcxdxe/f", true);
    check("a*b*c*d*e*/f", "axbxcxdxexxx/f", true);
    check("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false);
    check("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false);
    check("a*b?c*x", "abxbbxdbxebxczzx", true);
    check("a*b?c*x", "abxbbxdbxebxczzy", false);
    check("**", "abc", true);
    check("**", "a/b", false);
    check("a**/b", "ax/b", true);
    check("*x", "xxx", true);
    check("*", ".hidden", true);
}

#[test]
fn question_marks_are_one_character() {
    check("a?b", "a☺b", true);
    check("a?b", "a/b", false);
    check("a???b", "a☺b", false);
    check("?", "", false);
    assert!(Pattern::new(b"a?").is_ok_and(|pattern| pattern.matches(b"a\xff")));
}

#[test]
fn classes_are_gos() {
    check("ab[c]", "abc", true);
    check("ab[b-d]", "abc", true);
    check("ab[e-g]", "abc", false);
    check("ab[^c]", "abc", false);
    check("ab[^b-d]", "abc", false);
    check("ab[^e-g]", "abc", true);
    check("a[^a]b", "a☺b", true);
    check("a[^a][^a][^a]b", "a☺b", false);
    check("[a-ζ]*", "α", true);
    check("*[a-ζ]", "A", false);
    check("a[^b]c", "a/c", true);
    check("[\\]a]", "]", true);
    check("[\\-]", "-", true);
    check("[x\\-]", "x", true);
    check("[x\\-]", "z", false);
    check("[\\-x]", "a", false);
    check("arr[[]0].txt", "arr[0].txt", true);
    check("arr[0].txt", "arr[0].txt", false);
    check("[!a]", "!", true);
}

#[test]
fn escapes_are_literal() {
    check("a\\*b", "a*b", true);
    check("a\\*b", "ab", false);
    check("\\a", "a", true);
    check("a\\\\", "a\\", true);
}

#[test]
fn broken_patterns_are_refused_wherever_the_fault_is() {
    for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[]", "[", "[^", "[^bc", "a[", "\\", "a\\"] {
        refused(pattern);
        refused(&format!("zzz*{pattern}"));
    }
    refused("[\\-x");
    assert!(Pattern::new(b"[\xff]").is_err());
}

#[test]
fn wildcards_are_what_is_not_escaped() {
    for (text, expected) in
        [("a", false), ("a*", true), ("a\\*", false), ("[", true), ("\\\\*", true), ("a?", true)]
    {
        assert_eq!(has_wildcards(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn walking_is_limited_to_where_something_can_match() {
    let pattern = Pattern::new(b"a*/b/*.c").expect("because it is valid");
    for (directory, expected) in
        [("ax", true), ("x", false), ("ax/b", true), ("ax/c", false), ("ax/b/x.c", false)]
    {
        assert_eq!(pattern.may_match_below(directory.as_bytes()), expected, "{directory:?}");
    }
}

#[test]
fn many_stars_take_linear_time() {
    let pattern = "a*".repeat(200) + "b";
    let path = "a".repeat(20_000);
    check(&pattern, &path, false);
    check(&pattern, &(path + "b"), true);
}
