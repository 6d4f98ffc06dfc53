//! `ADD <git ref>` against `git upload-pack` on loopback.
#![allow(clippy::disallowed_methods, reason = "a test fills the repositories it serves")]

use std::error::Error as _;
use std::path::Path;

use context::{GitSource, clone_git, remote_commit};
use rootfs::{RootDir, RootPath};
use sys::StopHandle;
use testkit::ScratchRoot;
use testkit::git_server::{GitRepository, GitServer};
use transport::Settings;

/// A repository with branches, tags and a directory, and what serves it.
struct Fixture {
    scratch: ScratchRoot,
    server: GitServer,
    first: String,
    second: String,
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("because it is below a root"))
        .expect("because the directory is ours");
    std::fs::write(path, text).expect("because the directory is ours");
}

impl Fixture {
    fn new() -> Self {
        let scratch = ScratchRoot::new();
        let served = scratch.path().join("served");
        let repository = GitRepository::init(&served.join("app.git"));
        write(&repository.path().join("file"), "one\n");
        write(&repository.path().join("sub/dir/inner"), "inner\n");
        let first = repository.commit("first");
        repository.git(&["tag", "light"]);
        repository.git(&["tag", "-a", "-m", "annotated", "v1.0"]);
        repository.git(&["branch", "feature/slash"]);
        write(&repository.path().join("file"), "two\n");
        std::os::unix::fs::symlink("file", repository.path().join("link"))
            .expect("because it is new");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(repository.path().join("file"), executable)
            .expect("because the file is ours");
        let second = repository.commit("second");
        repository.git(&["update-ref", "refs/pull/7/head", &first]);
        let server = GitServer::start(&served);
        Self { scratch, server, first, second }
    }

    fn source(&self, reference: Option<&str>) -> GitSource {
        GitSource {
            remote: self.server.url("app.git"),
            reference: reference.map(str::to_owned),
            ..GitSource::default()
        }
    }

    /// Clones into a fresh directory.
    fn clone(&self, source: &GitSource) -> Result<context::Cloned, String> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = self.scratch.path().join(format!("clone-{number}"));
        let stop = StopHandle::new().expect("because descriptors are to be had");
        clone_git(source, &Settings::default(), &directory, &stop).map_err(|error| {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(this) = cause {
                text.push_str(": ");
                text.push_str(&this.to_string());
                cause = this.source();
            }
            text.replace(&self.server.url(""), "SERVER/")
        })
    }

    /// Asks which commit that would be, with its causes as above.
    fn commit(&self, source: &GitSource) -> Result<String, String> {
        let directory = self.scratch.path().join("asked");
        let stop = StopHandle::new().expect("because descriptors are to be had");
        let commit = remote_commit(source, &Settings::default(), &directory, &stop);
        if let Ok(left) = std::fs::read_dir(&directory) {
            assert_eq!(left.count(), 0, "{source:?}");
        }
        commit.map_err(|error| transport::chain(&error).replace(&self.server.url(""), "SERVER/"))
    }

    /// Checks what is cloned, and that asking gives the same answer.
    fn check(&self, source: &GitSource, expected: Result<(&str, &str), &str>) {
        let asked = self.commit(source);
        match expected {
            Ok((commit, _)) => assert_eq!(asked.as_deref(), Ok(commit), "{source:?}"),
            // What only the fetch finds out: a commit or a repository that is not there.
            Err(text) if text.contains("fetching the commit") => {}
            Err(text) if text.contains("has no directory") => {}
            Err(text) => {
                let found = asked.expect_err("because there is no such commit");
                assert!(found.contains(text), "{source:?}\n got: {found}\n for: {text}");
            }
        }
        match (self.clone(source), expected) {
            (Ok(cloned), Ok((commit, file))) => {
                assert_eq!(cloned.commit, commit, "{source:?}");
                assert_eq!(read(&cloned.root, "/file").as_deref(), Some(file), "{source:?}");
                assert_eq!(read(&cloned.root, "/.git/HEAD"), None, "{source:?}");
            }
            (Err(found), Err(expected)) => {
                assert!(found.contains(expected), "{source:?}\n got: {found}\n for: {expected}");
            }
            (found, expected) => panic!("{source:?}\n got: {found:?}\n for: {expected:?}"),
        }
    }
}

fn read(root: &RootDir, path: &str) -> Option<String> {
    let path = RootPath::new(path).expect("because it is a path");
    let bytes = root.read(&root.resolve(&path).ok()?, 1000).ok()?;
    Some(String::from_utf8(bytes).expect("because it is text"))
}

#[test]
fn references_are_found_as_git_names_them() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.first.clone(), fixture.second.clone());
    let check = |reference: Option<&str>, commit: &str, file: &str| {
        fixture.check(&fixture.source(reference), Ok((commit, file)));
    };
    check(None, &second, "two\n");
    check(Some("main"), &second, "two\n");
    check(Some("refs/heads/main"), &second, "two\n");
    check(Some("feature/slash"), &first, "one\n");
    check(Some("light"), &first, "one\n");
    check(Some("v1.0"), &first, "one\n");
    check(Some("refs/tags/v1.0"), &first, "one\n");
    check(Some("pull/7/head"), &first, "one\n");
    check(Some("refs/pull/7/head"), &first, "one\n");
    check(Some(&first), &first, "one\n");
    check(Some(&first.to_uppercase()), &first, "one\n");
}

#[test]
fn what_is_not_there_is_named() {
    let fixture = Fixture::new();
    let refused = |reference: &str, expected: &str| {
        fixture.check(&fixture.source(Some(reference)), Err(expected));
    };
    let lead = "cannot clone `SERVER/app.git`: ";
    refused("nothing", &format!("{lead}repository does not contain ref nothing"));
    refused(
        "--upload-pack=touch_x",
        &format!("{lead}repository does not contain ref --upload-pack"),
    );
    refused("a..b", &format!("{lead}repository does not contain ref a..b"));
    refused(&"0".repeat(40), &format!("{lead}fetching the commit failed"));
    let missing = GitSource { remote: fixture.server.url("gone.git"), ..GitSource::default() };
    fixture.check(&missing, Err("cannot clone `SERVER/gone.git`: fetching the commit failed"));
    for remote in ["file:///etc", "/etc", "ssh://host/x", "git@host:x", "ext::sh -c id"] {
        let source = GitSource { remote: remote.to_owned(), ..GitSource::default() };
        fixture.check(&source, Err("is not supported, only http, https and git"));
    }
}

#[test]
fn a_commit_is_not_asked_for() {
    let nowhere = GitSource {
        remote: "http://127.0.0.1:1/none.git".to_owned(),
        reference: Some("A".repeat(40)),
        ..GitSource::default()
    };
    let fixture = Fixture::new();
    assert_eq!(fixture.commit(&nowhere), Ok("a".repeat(40)));
    let gone = GitSource { reference: None, ..nowhere };
    let error = fixture.commit(&gone).expect_err("because nobody listens there");
    assert!(error.contains("listing the references failed"), "{error}");
}

#[test]
fn an_empty_repository_has_no_commit() {
    let fixture = Fixture::new();
    let _empty = GitRepository::init(&fixture.scratch.path().join("served/empty.git"));
    let source = GitSource { remote: fixture.server.url("empty.git"), ..GitSource::default() };
    let error = fixture.commit(&source).expect_err("because there is none");
    assert_eq!(error, "cannot clone `SERVER/empty.git`: repository does not contain ref HEAD");
}

#[test]
fn a_checksum_binds_the_commit() {
    let fixture = Fixture::new();
    let with = |checksum: &str| GitSource {
        checksum: Some(checksum.to_owned()),
        ..fixture.source(Some("main"))
    };
    let second = fixture.second.as_str();
    fixture.check(&with(second), Ok((second, "two\n")));
    fixture.check(&with(&second[..12]), Ok((second, "two\n")));
    let expected = format!("expected checksum to match {}, got {second}", fixture.first);
    fixture.check(&with(&fixture.first), Err(&expected));
    fixture.check(&with(&second[..3]), Err("expected checksum to match"));
}

#[test]
fn files_keep_their_kinds_and_modes() {
    let fixture = Fixture::new();
    let cloned = fixture.clone(&fixture.source(None)).expect("because it is served");
    let metadata = |path: &str| {
        let path = RootPath::new(path).expect("because it is a path");
        cloned.root.metadata(&path).expect("because it is in the repository")
    };
    assert_eq!(metadata("/file").mode & 0o111, 0o111);
    assert_eq!(metadata("/sub/dir/inner").mode & 0o111, 0);
    let link = RootPath::new("/link").expect("because it is a path");
    assert_eq!(cloned.root.read_link(&link).expect("because it is a link"), b"file");
}

#[test]
fn a_subdirectory_is_the_root_that_is_handed_out() {
    let fixture = Fixture::new();
    let with = |subdir: &str| GitSource { subdir: Some(subdir.to_owned()), ..fixture.source(None) };
    let cloned = fixture.clone(&with("sub/dir")).expect("because it is there");
    assert_eq!(read(&cloned.root, "/inner").as_deref(), Some("inner\n"));
    fixture.check(&with("nowhere"), Err("the repository has no directory `nowhere`"));
    fixture.check(&with("file"), Err("the repository has no directory `file`"));
    // Clamped to the repository, not to what is above it.
    let cloned = fixture.clone(&with("../../sub/dir")).expect("because it is there");
    assert_eq!(read(&cloned.root, "/inner").as_deref(), Some("inner\n"));
}

#[test]
fn the_git_directory_stays_when_asked() {
    let fixture = Fixture::new();
    let source = GitSource { keep_git_dir: true, ..fixture.source(Some("main")) };
    let cloned = fixture.clone(&source).expect("because it is served");
    assert!(read(&cloned.root, "/.git/HEAD").is_some());
}

#[test]
fn a_stopped_build_clones_nothing() {
    let fixture = Fixture::new();
    let stop = StopHandle::new().expect("because descriptors are to be had");
    stop.stop();
    let directory = fixture.scratch.path().join("stopped");
    let error = clone_git(&fixture.source(None), &Settings::default(), &directory, &stop)
        .expect_err("because it was stopped");
    let cause = error.source().expect("because there is a reason").to_string();
    assert_eq!(cause, "the build was stopped");
}

#[test]
fn submodules_come_along() {
    let fixture = Fixture::new();
    let served = fixture.scratch.path().join("served");
    let library = GitRepository::init(&served.join("library.git"));
    write(&library.path().join("lib.c"), "int x;\n");
    let commit = library.commit("library");
    let outer = GitRepository::init(&served.join("outer.git"));
    write(&outer.path().join("file"), "outer\n");
    let modules = "[submodule \"library\"]\n\tpath = third/library\n\turl = ../library.git\n";
    write(&outer.path().join(".gitmodules"), modules);
    outer.git(&["add", "--all"]);
    outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},third/library")]);
    outer.git(&["commit", "-qm", "with a submodule"]);
    let source = GitSource { remote: fixture.server.url("outer.git"), ..GitSource::default() };
    let cloned = fixture.clone(&source).expect("because both are served");
    assert_eq!(read(&cloned.root, "/third/library/lib.c").as_deref(), Some("int x;\n"));
    assert_eq!(read(&cloned.root, "/third/library/.git/HEAD"), None);

    let without = GitSource { skip_submodules: true, ..source };
    let cloned = fixture.clone(&without).expect("because it is served");
    assert_eq!(read(&cloned.root, "/third/library/lib.c"), None);
}

#[test]
fn submodules_cannot_lead_elsewhere() {
    let fixture = Fixture::new();
    let served = fixture.scratch.path().join("served");
    let check = |name: &str, path: &str, url: &str, link: Option<(&str, &str)>, expected: &str| {
        let outer = GitRepository::init(&served.join(name));
        write(&outer.path().join("file"), "outer\n");
        let modules = format!("[submodule \"x\"]\n\tpath = {path}\n\turl = {url}\n");
        write(&outer.path().join(".gitmodules"), &modules);
        if let Some((link, target)) = link {
            std::os::unix::fs::symlink(target, outer.path().join(link)).expect("because it is new");
        }
        outer.git(&["add", "--all"]);
        let entry = format!("160000,{},{}", fixture.first, path.trim_matches('"'));
        let bare = path.trim_matches('"');
        if link.is_none() && !bare.contains("..") {
            outer.git(&["update-index", "--add", "--cacheinfo", &entry]);
        }
        outer.git(&["commit", "-qm", "hostile"]);
        let source = GitSource { remote: fixture.server.url(name), ..GitSource::default() };
        match fixture.clone(&source) {
            // No commit is recorded at such a place, so there is no submodule.
            Ok(cloned) => {
                assert_eq!(expected, "", "{name} is cloned");
                assert_eq!(read(&cloned.root, "/file").as_deref(), Some("outer\n"));
            }
            Err(found) => {
                assert!(!expected.is_empty() && found.contains(expected), "{name}: {found}");
            }
        }
        assert!(!fixture.scratch.path().join("pwned").exists());
    };
    check("scheme.git", "x", "file:///etc", None, "the scheme `file` is not supported");
    check("option.git", "x", "ext::sh -c id", None, "is not supported");
    check("above.git", "../pwned", "../app.git", None, "would lead outside of the repository");
    check("link.git", "x", "../app.git", Some(("x", "../../pwned")), "");
}
