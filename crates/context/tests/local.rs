//! Local contexts: which ignore file counts, and what is read of it.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use context::{DockerfilePlace, open_directory, read_dockerfile};
use rootfs::RootPath;
use testkit::ScratchRoot;

fn inside(path: &str) -> DockerfilePlace {
    DockerfilePlace::Context(RootPath::new(path).expect("because it is short"))
}

/// Which ignore file is used with this context and Dockerfile, and what it does to the path `a`;
/// or the error with its cause.
fn check(tree: &str, dockerfile: &DockerfilePlace, expected: &str) {
    let scratch = ScratchRoot::with(tree);
    let found = match open_directory(scratch.path(), dockerfile) {
        Ok(context) => {
            let excluded = context.ignore.walk_to(b"a").is_excluded();
            let file = context.ignore_file.unwrap_or_else(|| "none".to_owned());
            format!("{file}: {}", if excluded { "excludes" } else { "includes" })
        }
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("error: {error}{cause}")
        }
    };
    assert_eq!(found, expected, "{tree}");
}

#[test]
fn the_file_beside_the_dockerfile_wins() {
    let own = "f 0644 /.dockerignore \"a\"";
    check("", &inside("Dockerfile"), "none: includes");
    check(own, &inside("Dockerfile"), ".dockerignore: excludes");
    check(own, &DockerfilePlace::Elsewhere, ".dockerignore: excludes");
    let both = format!("{own}\n f 0644 /Dockerfile.dockerignore \"b\"");
    check(&both, &inside("Dockerfile"), "Dockerfile.dockerignore: includes");
    check(&both, &inside("other"), ".dockerignore: excludes");
    let empty = format!("{own}\n f 0644 /build/my.dockerignore \"\"");
    check(&empty, &inside("build/my"), "build/my.dockerignore: includes");
    check(&empty, &inside("nosuch/my"), ".dockerignore: excludes");
}

#[test]
fn a_dockerfile_outside_the_context_has_its_own_file_too() {
    let outside = ScratchRoot::with("f 0644 /my.dockerignore \"a\"\n f 0644 /my \"FROM x\"");
    let path = outside.path().join("my");
    let shown = format!("{}.dockerignore: excludes", path.display());
    check("f 0644 /.dockerignore \"b\"", &DockerfilePlace::Host(path), &shown);
    let other = DockerfilePlace::Host(outside.path().join("other"));
    check("f 0644 /.dockerignore \"b\"", &other, ".dockerignore: includes");
}

#[test]
fn errors_name_file_and_line() {
    check(
        "f 0644 /.dockerignore \"b\\n[\\n\"",
        &inside("Dockerfile"),
        "error: error in the ignore file `.dockerignore`, line 2: syntax error in pattern: `[`",
    );
    check(
        "f 0644 /d/x.dockerignore \"!\\n\"",
        &inside("d/x"),
        "error: error in the ignore file `d/x.dockerignore`, line 1: \
         illegal exclusion pattern: \"!\"",
    );
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_absent() {
    let failing = |tree: &str| {
        let scratch = ScratchRoot::with(tree);
        let error = open_directory(scratch.path(), &inside("Dockerfile"))
            .expect_err("because the ignore file is there and unusable");
        assert_eq!(error.to_string(), "cannot read the ignore file `.dockerignore`", "{tree}");
    };
    failing("l 0777 /.dockerignore -> nowhere");
    failing("l 0777 /.dockerignore -> ../../../../../../../../etc/passwd");
    failing("d 0755 /.dockerignore");
    failing("p 0644 /.dockerignore");
    failing("f 0644 /.dockerignore \"aaaaaaaaaaaaaaa\\n\"*300000");
    // A link inside the context is a way to write it.
    check(
        "l 0777 /.dockerignore -> /conf/ignore\n f 0644 /conf/ignore \"a\"",
        &inside("Dockerfile"),
        ".dockerignore: excludes",
    );
}

#[test]
fn the_dockerfile_is_read_although_it_is_ignored() {
    let scratch = ScratchRoot::with(
        "f 0644 /Dockerfile \"FROM scratch\"\n f 0644 /.dockerignore \"*\"\n \
         l 0777 /leak -> /proc/self/environ",
    );
    let context =
        open_directory(scratch.path(), &inside("Dockerfile")).expect("because it is there");
    assert!(context.ignore.walk_to(b"Dockerfile").is_excluded());
    let read = |place: &DockerfilePlace| read_dockerfile(&context.root, place);
    assert_eq!(read(&inside("Dockerfile")).ok().as_deref(), Some(&b"FROM scratch"[..]));
    let host = DockerfilePlace::Host(scratch.path().join("Dockerfile"));
    assert_eq!(read(&host).ok().as_deref(), Some(&b"FROM scratch"[..]));
    for missing in [inside("nosuch"), inside("leak"), DockerfilePlace::Host(PathBuf::from("/"))] {
        assert!(read(&missing).is_err(), "{missing:?}");
    }
}

#[test]
fn a_context_has_to_be_a_directory() {
    let scratch = ScratchRoot::with("f 0644 /file \"\"");
    for path in [scratch.path().join("nosuch"), scratch.path().join("file")] {
        let error = open_directory(&path, &DockerfilePlace::Elsewhere)
            .expect_err("because no directory is there");
        let shown = format!("cannot open the build context `{}`", Path::new(&path).display());
        assert_eq!(error.to_string(), shown);
    }
}
