//! ADD of what is elsewhere: files of a web server, and git repositories.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::{Build, Lab, tool};
use testkit::git_server::{GitRepository, GitServer};
use testkit::http_server::{HttpServer, Page};

use crate::archive::{Archived, into_archive, read};
use crate::{Test, root_test};

/// What `ADD` puts into an image on scratch. `{WEB}` and `{GIT}` stand for the servers, `{MAIN}`
/// for the newest commit of `app`.
struct Case {
    name: &'static str,
    steps: &'static str,
    files: &'static [&'static str],
}

/// `ADD` that fails, what it says, and what is not to be seen anywhere.
struct Failure {
    name: &'static str,
    steps: &'static str,
    texts: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "the_name_of_a_file_comes_from_its_url",
        steps: "ADD {WEB}/file.txt /into/\n",
        files: &["d 0755 0:0 /into", "f 0600 0:0 /into/file.txt \"hello\\n\""],
    },
    Case {
        name: "the_query_is_no_part_of_the_name",
        steps: "ADD {WEB}/deep/down/data.bin?version=1 /into/\n",
        files: &["f 0600 0:0 /into/data.bin \"data\\n\"", "! /into/data.bin?version=1"],
    },
    Case {
        name: "a_destination_without_a_slash_is_the_file",
        steps: "ADD {WEB}/file.txt /called/otherwise\n",
        files: &["f 0600 0:0 /called/otherwise \"hello\\n\""],
    },
    Case {
        name: "a_working_directory_is_a_destination",
        steps: "WORKDIR /place\nADD {WEB}/file.txt .\n",
        files: &["f 0600 0:0 /place/file.txt \"hello\\n\""],
    },
    Case {
        name: "a_url_may_hold_variables",
        steps: "ARG NAME=file\nADD {WEB}/${NAME}.txt /\n",
        files: &["f 0600 0:0 /file.txt \"hello\\n\""],
    },
    Case {
        name: "several_sources_of_several_kinds",
        steps: "ADD {WEB}/file.txt local {WEB}/deep/down/data.bin /into/\n",
        files: &[
            "f 0600 0:0 /into/file.txt",
            "f 0600 0:0 /into/data.bin",
            "f 0644 0:0 /into/local \"local\\n\"",
        ],
    },
    Case {
        name: "a_redirect_is_followed_and_keeps_the_name",
        steps: "ADD {WEB}/moved /into/\n",
        files: &["f 0600 0:0 /into/moved \"hello\\n\""],
    },
    Case {
        name: "mode_and_owner_can_be_chosen",
        steps: "ADD --chmod=0751 --chown=12:34 {WEB}/file.txt /tool\n",
        files: &["f 0751 12:34 /tool \"hello\\n\""],
    },
    Case {
        name: "a_right_checksum",
        steps: "ADD --checksum=sha256:\
                5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 \
                {WEB}/file.txt /\n",
        files: &["f 0600 0:0 /file.txt \"hello\\n\""],
    },
    Case {
        name: "a_downloaded_archive_stays_packed",
        steps: "ADD {WEB}/app.tar.gz /into/\n",
        files: &["f 0600 0:0 /into/app.tar.gz", "! /into/inside"],
    },
    Case {
        name: "a_downloaded_archive_is_unpacked_on_demand",
        steps: "ADD --unpack=true {WEB}/app.tar.gz /into/\n",
        files: &["f 0640 7:8 /into/inside/file \"packed\\n\"", "! /into/app.tar.gz"],
    },
    Case {
        name: "a_repository_at_its_default_branch",
        steps: "ADD {GIT}/app/.git /src\n",
        files: &[
            "f 0644 0:0 /src/README \"second\\n\"",
            "f 0755 0:0 /src/bin/tool \"tool\\n\"",
            "! /src/.git",
        ],
    },
    Case {
        name: "a_branch_of_a_repository",
        steps: "ADD {GIT}/app/.git#feature /src/\n",
        files: &["f 0644 0:0 /src/README \"feature\\n\""],
    },
    Case {
        name: "a_tag_of_a_repository",
        steps: "ADD {GIT}/app/.git#v1 /src/\n",
        files: &["f 0644 0:0 /src/README \"first\\n\""],
    },
    Case {
        name: "a_commit_of_a_repository",
        steps: "ADD {GIT}/app/.git#{MAIN} /src/\n",
        files: &["f 0644 0:0 /src/README \"second\\n\""],
    },
    Case {
        name: "a_directory_of_a_repository",
        steps: "ADD {GIT}/app/.git#feature:bin /src/\n",
        files: &["f 0755 0:0 /src/tool \"tool\\n\"", "! /src/README"],
    },
    Case {
        name: "owner_and_mode_of_a_repository",
        steps: "ADD --chown=5:6 {GIT}/app/.git /src/\n",
        files: &["f 0644 5:6 /src/README", "f 0755 5:6 /src/bin/tool"],
    },
    Case {
        name: "the_git_directory_can_be_kept",
        steps: "ADD --keep-git-dir=true {GIT}/app/.git /src/\n",
        files: &["d 0755 0:0 /src/.git", "f 0644 0:0 /src/.git/HEAD", "f 0644 0:0 /src/README"],
    },
    Case {
        name: "a_right_commit_as_the_checksum",
        steps: "ADD --checksum={MAIN} {GIT}/app/.git#main /src/\n",
        files: &["f 0644 0:0 /src/README \"second\\n\""],
    },
    Case {
        name: "submodules_come_along",
        steps: "ADD {GIT}/whole/.git /src/\n",
        files: &["f 0644 0:0 /src/part/README \"second\\n\"", "! /src/part/.git"],
    },
];

const FAILURES: &[Failure] = &[
    Failure {
        name: "a_wrong_checksum",
        steps: "ADD --checksum=sha256:\
                0000000000000000000000000000000000000000000000000000000000000000 \
                {WEB}/file.txt /\n",
        texts: &[
            "{WEB}/file.txt",
            "digest mismatch",
            "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
    },
    Failure {
        name: "a_page_that_is_not_there",
        steps: "ADD {WEB}/nothing /\n",
        texts: &["{WEB}/nothing", "404", "ADD"],
    },
    Failure {
        name: "a_web_server_that_does_not_answer",
        steps: "ADD http://127.0.0.1:1/file /\n",
        texts: &["http://127.0.0.1:1/file"],
    },
    Failure {
        name: "a_repository_that_is_not_there",
        steps: "ADD {GIT}/nothing/.git /src/\n",
        texts: &["{GIT}/nothing/.git"],
    },
    Failure {
        name: "a_branch_that_is_not_there",
        steps: "ADD {GIT}/app/.git#nothing /src/\n",
        texts: &["{GIT}/app/.git", "repository does not contain ref nothing"],
    },
    Failure {
        name: "a_directory_that_is_not_there",
        steps: "ADD {GIT}/app/.git#main:nothing /src/\n",
        texts: &["{GIT}/app/.git", "nothing"],
    },
    Failure {
        name: "a_wrong_commit_as_the_checksum",
        steps: "ADD --checksum=0123456789012345678901234567890123456789 \
                {GIT}/app/.git#main /src/\n",
        texts: &["expected checksum to match 0123456789012345678901234567890123456789", "{MAIN}"],
    },
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for case in CASES {
        tests.push(root_test(format!("remote::{}", case.name), move |lab| {
            built(lab, case.name, case.steps)?.holds(case.files)
        }));
    }
    for failure in FAILURES {
        tests.push(root_test(format!("remote::{}", failure.name), move |lab| fails(lab, failure)));
    }
    tests.push(root_test("remote::a_file_has_the_time_the_server_tells", times));
    tests
}

/// The servers of one case.
struct Servers {
    web: HttpServer,
    git: GitServer,
    main: String,
}

impl Servers {
    fn start(build: &Build) -> Result<Self> {
        let root = build.directory.join("served");
        let web = HttpServer::start(vec![
            Page::new("/file.txt", "hello\n")
                .header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
            Page::new("/deep/down/data.bin", "data\n"),
            Page::redirect("/moved", "/file.txt"),
            Page::new("/app.tar.gz", archive(build)?),
        ]);
        let git = GitServer::start(&root);
        let app = GitRepository::init(&root.join("app"));
        std::fs::create_dir(app.path().join("bin"))?;
        std::fs::write(app.path().join("README"), "first\n")?;
        std::fs::write(app.path().join("bin/tool"), "tool\n")?;
        tool("chmod").arg("0755").arg(app.path().join("bin/tool")).read()?;
        app.commit("first");
        app.git(&["tag", "v1"]);
        app.git(&["checkout", "--quiet", "-b", "feature"]);
        std::fs::write(app.path().join("README"), "feature\n")?;
        app.commit("feature");
        app.git(&["checkout", "--quiet", "main"]);
        std::fs::write(app.path().join("README"), "second\n")?;
        let main = app.commit("second");
        let whole = GitRepository::init(&root.join("whole"));
        whole.git(&["submodule", "--quiet", "add", &git.url("app/.git"), "part"]);
        whole.commit("with a part");
        Ok(Self { web, git, main })
    }

    fn expand(&self, text: &str) -> String {
        text.replace("{WEB}", &self.web.url(""))
            .replace("{GIT}", self.git.url("").trim_end_matches('/'))
            .replace("{MAIN}", &self.main)
    }
}

/// A tar.gz with a file of its own owner and mode, from GNU tar.
fn archive(build: &Build) -> Result<Vec<u8>> {
    let path = build.directory.join("app.tar.gz");
    let tree = build.directory.join("packed");
    testkit::tree::make(&tree, "d 0755 7:8 /inside\nf 0640 7:8 /inside/file \"packed\\n\"\n");
    tool("tar").arg("-czf").arg(&path).arg("-C").arg(&tree).arg("inside").read()?;
    Ok(std::fs::read(path)?)
}

fn built(lab: &Arc<Lab>, name: &str, steps: &str) -> Result<Archived> {
    let build = lab.build(name)?.file("local", "local\n")?;
    let servers = Servers::start(&build)?;
    let build = build.dockerfile(&servers.expand(&format!("FROM scratch\n{steps}")))?;
    read(into_archive(build).run()?)
}

fn fails(lab: &Arc<Lab>, failure: &Failure) -> Result<()> {
    let build = lab.build(failure.name)?;
    let servers = Servers::start(&build)?;
    let build = build.dockerfile(&servers.expand(&format!("FROM scratch\n{}", failure.steps)))?;
    let texts: Vec<String> = failure.texts.iter().map(|text| servers.expand(text)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let outcome = into_archive(build).run()?;
    outcome.failed(1, &texts)?.wrote_none_of(&["image.tar"])?;
    let builds = std::fs::read_dir(outcome.directory.join("state/builds"))?;
    ensure!(builds.count() == 0, "the build left its directory behind");
    Ok(())
}

fn times(lab: &Arc<Lab>) -> Result<()> {
    for (name, path, time) in [
        ("time-told", "file.txt", "2023-11-14 22:13:20"),
        ("time-of-a-redirect", "moved", "2023-11-14 22:13:20"),
        ("time-not-told", "deep/down/data.bin", "1970-01-01 00:00:00"),
    ] {
        let image = built(lab, name, &format!("ADD {{WEB}}/{path} /added\n"))?;
        let listing = image.last_layer()?;
        let line = listing.lines().find(|line| line.ends_with(" added"));
        ensure!(line.is_some_and(|line| line.contains(time)), "{name}: no {time} in {listing}");
    }
    Ok(())
}
