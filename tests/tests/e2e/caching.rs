//! Results of steps from the cache: every Dockerfile of the tests twice, and what an edit makes of it.
//!
//! `caching.rs` has builds that use a cache as it should be, `distrust.rs` those whose cache is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kaniko_tests::{Build, Lab, Outcome};
use testkit::git_server::{GitRepository, GitServer};
use testkit::http_server::{HttpServer, Page};

use crate::{Test, cases, root_test};

pub(crate) fn tests() -> Vec<Test> {
    let twice = cases::names().into_iter();
    let mut tests: Vec<Test> = twice
        .map(|name| root_test(format!("caching::{name}"), move |lab| twice_the_same(lab, &name)))
        .collect();
    tests.extend([
        root_test("caching::only_what_depends_on_an_edit_is_built", edits),
        root_test("caching::a_stage_that_makes_the_same_again_costs_no_more", same_content),
        root_test("caching::what_is_linked_survives_another_base", linked),
        root_test("caching::what_does_not_matter_does_not_matter", irrelevant),
        root_test("caching::layouts_and_directories_are_caches_too", places),
        root_test("caching::old_results_are_not_used", lifetime),
        root_test("caching::kinds_of_steps_can_be_left_out", kinds),
        root_test("caching::nothing_is_kept_where_nothing_shall", not_kept),
        root_test("caching::a_miss_is_explained", explained),
        root_test("caching::what_is_fetched_is_asked_for_only", remote),
        root_test("caching::a_command_fails_as_without_a_cache", failing),
    ]);
    tests
}

fn cached(build: Build) -> Build {
    build.arg("--cache").arg("--build-arg=SOURCE_DATE_EPOCH=1700000000")
}

/// A second build of everything: no step, no layer on the wire, the same image.
fn twice_the_same(lab: &Arc<Lab>, name: &str) -> Result<()> {
    let build = format!("cached-{name}");
    let run = || -> Result<Outcome> { cached(cases::build(lab, name, &build)?).pushed() };
    let cold = run()?;
    let image = cold.image()?;
    let asked = lab.registry().requests().len();
    let warm = run()?;
    let requests = lab.registry().requests().split_off(asked);
    ensure!(warm.image()?.digest == image.digest, "another image: {}", warm.text());
    let missed = warm.missed();
    ensure!(missed.is_empty(), "not cached: {missed:?}: {}", warm.text());
    let layers = image.manifest["layers"].as_array().context("a manifest has layers")?;
    let layers: BTreeSet<&str> = layers.iter().filter_map(|it| it["digest"].as_str()).collect();
    let repository = format!("/v2/e2e/{build}/");
    for request in requests.iter().filter(|request| request.contains(&repository)) {
        let of_layer = layers.iter().any(|layer| request.contains(layer));
        let moves = request.starts_with("GET ") || request.starts_with("PATCH ");
        ensure!(!(of_layer && moves), "a layer moved: {request}");
        ensure!(!request.starts_with("PATCH "), "something was uploaded in pieces: {request}");
    }
    none_is_here(&warm, &layers)
}

/// The layers never came to this machine.
fn none_is_here(outcome: &Outcome, layers: &BTreeSet<&str>) -> Result<()> {
    let store = outcome.directory.join("state/store/blobs/sha256");
    for layer in layers {
        let hex = layer.trim_start_matches("sha256:");
        ensure!(!store.join(hex).exists(), "{layer} was fetched: {}", outcome.text());
    }
    Ok(())
}

const EDITED: &str = "\
ARG REGISTRY
FROM ${REGISTRY}/busybox AS one
RUN echo one > /one
COPY a /a
RUN cat /a > /b
FROM ${REGISTRY}/busybox AS two
WORKDIR /two
COPY b .
RUN cat b > c
FROM ${REGISTRY}/busybox
LABEL version=1
COPY --from=one /b /b
COPY --from=two /two /two
RUN cat /b /two/c > /all
";

fn edits(lab: &Arc<Lab>) -> Result<()> {
    let build = |from: &str, to: &str, a: &str, b: &str| -> Result<Outcome> {
        ensure!(EDITED.contains(from), "no {from}");
        let build = lab.build("cached-edits")?.dockerfile(&EDITED.replacen(from, to, 1))?;
        cached(build.file("a", a)?.file("b", b)?).pushed()
    };
    build("one", "one", "a\n", "b\n")?;
    let check = |from: &str, to: &str, a: &str, b: &str, expected: &[&str]| -> Result<()> {
        let outcome = build(from, to, a, b)?;
        let (missed, hit) = (outcome.missed(), outcome.cached());
        ensure!(missed == expected, "{missed:?} and not {expected:?}: {}", outcome.text());
        // Nothing is run again that was not told.
        let again = outcome.finished.stderr.matches(": layer of ").count();
        ensure!(again == missed.len(), "{again} steps: {}", outcome.text());
        ensure!(missed.len() + hit.len() <= 9, "too many: {}", outcome.text());
        // And the next build knows it.
        let outcome = build(from, to, a, b)?;
        ensure!(outcome.missed().is_empty(), "not kept: {}", outcome.text());
        Ok(())
    };
    let all = "RUN cat /b /two/c > /all";
    check("one", "one", "a\n", "b\n", &[])?;
    check("version=1", "version=2", "a\n", "b\n", &[])?;
    check(all, "RUN cat /two/c /b > /all", "a\n", "b\n", &["RUN cat /two/c /b > /all"])?;
    check(
        "one",
        "one",
        "other a\n",
        "b\n",
        &[
            "COPY a /a",
            "RUN cat /a > /b",
            "COPY --from=one /b /b",
            "COPY --from=two /two /two",
            all,
        ],
    )?;
    check(
        "one",
        "one",
        "a\n",
        "other b\n",
        &["COPY b .", "RUN cat b > c", "COPY --from=two /two /two", all],
    )?;
    check(
        "RUN cat b > c",
        "RUN cat b b > c",
        "a\n",
        "b\n",
        &["RUN cat b b > c", "COPY --from=two /two /two", all],
    )
}

/// A stage is built again, but what others take of it is the same: they are not.
fn same_content(lab: &Arc<Lab>) -> Result<()> {
    let build = |command: &str| -> Result<Outcome> {
        let text = format!(
            "ARG REGISTRY\nFROM ${{REGISTRY}}/busybox AS one\nRUN {command}\n\
             FROM ${{REGISTRY}}/busybox\nCOPY --from=one /out /out\nRUN cat /out > /copy\n\
             RUN --mount=from=one,source=/out,target=/in cat /in > /mounted\n"
        );
        cached(lab.build("cached-content")?.dockerfile(&text)?).pushed()
    };
    let first = build("echo same > /out")?.image()?;
    for _ in 0..2 {
        let again = build("printf 'same\\n' > /out")?;
        ensure!(again.image()?.digest == first.digest, "another image: {}", again.text());
    }
    let other = build("echo sam > /out && printf 'same\\n' > /out")?;
    let missed = other.missed();
    ensure!(missed.len() == 1, "{missed:?}: {}", other.text());
    ensure!(other.image()?.digest == first.digest, "another image: {}", other.text());
    // Afterwards what stands for the stage is known as well, and it is not built.
    let known = build("echo sam > /out && printf 'same\\n' > /out")?;
    ensure!(known.missed().is_empty(), "missed: {}", known.text());
    ensure!(known.finished.stderr.contains("Skipping stage 'one'"), "built: {}", known.text());
    Ok(())
}

fn linked(lab: &Arc<Lab>) -> Result<()> {
    let build = |before: &str| -> Result<Outcome> {
        let text = format!(
            "ARG REGISTRY\nFROM ${{REGISTRY}}/busybox\n{before}\nCOPY --link a /linked/a\n\
             COPY --link --chown=12:34 a /owned\nCOPY a /copied\n"
        );
        let build = lab.build("cached-link")?.dockerfile(&text)?.file("a", "a\n")?;
        cached(build).pushed()
    };
    build("RUN echo 1 > /one")?;
    let outcome = build("RUN echo 2 > /one")?;
    let (missed, hit) = (outcome.missed(), outcome.cached());
    ensure!(missed == ["RUN echo 2 > /one", "COPY a /copied"], "{missed:?}: {}", outcome.text());
    ensure!(hit.len() == 2, "{hit:?}");
    let files = outcome.image()?.tree()?;
    ensure!(files.contains_key("/linked/a") && files.contains_key("/owned"), "{files:?}");
    Ok(())
}

/// Times, ARGs that no step sees, ignored files, proxies, stages that nobody reads, labels.
fn irrelevant(lab: &Arc<Lab>) -> Result<()> {
    let build = |dockerfile: &str, other: &str, arguments: &[&str]| -> Result<Outcome> {
        let mut build = lab.build("cached-irrelevant")?.dockerfile(dockerfile)?;
        build = build.file("src/a", "a\n")?.file("src/ignored.o", other)?;
        build = build.file(".dockerignore", "**/*.o\nDockerfile\n.dockerignore\n")?;
        for argument in arguments {
            build = build.arg(*argument);
        }
        cached(build).pushed()
    };
    let dockerfile = "\
ARG REGISTRY
ARG UNSEEN
FROM ${REGISTRY}/busybox AS unread
RUN echo unread
FROM ${REGISTRY}/busybox
COPY src /src
RUN cat /src/a > /b
ARG LATER
LABEL later=$LATER
";
    build(dockerfile, "1\n", &[])?;
    let check = |dockerfile: &str, other: &str, arguments: &[&str]| -> Result<()> {
        let outcome = build(dockerfile, other, arguments)?;
        let missed = outcome.missed();
        ensure!(missed.is_empty(), "{arguments:?} matters: {missed:?}: {}", outcome.text());
        Ok(())
    };
    check(dockerfile, "1\n", &["--build-arg=UNSEEN=1"])?;
    check(dockerfile, "1\n", &["--build-arg=LATER=1"])?;
    check(dockerfile, "1\n", &["--build-arg=http_proxy=http://127.0.0.1:9"])?;
    check(dockerfile, "1\n", &["--label=a=b"])?;
    check(dockerfile, "other\n", &[])?;
    check(&dockerfile.replace("echo unread", "echo never read"), "1\n", &[])?;
    check(&dockerfile.replace("COPY src", "# a comment\nCOPY   src"), "1\n", &[])
}

fn two_steps(lab: &Arc<Lab>, name: &str) -> Result<Build> {
    let text = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nCOPY a /a\nRUN cat /a > /b\n";
    Ok(cached(lab.build(name)?.dockerfile(text)?.file("a", "a\n")?))
}

/// How many steps are not cached.
fn misses(build: Build) -> Result<usize> {
    let outcome = build.pushed()?;
    Ok(outcome.missed().len())
}

fn places(lab: &Arc<Lab>) -> Result<()> {
    let shared = lab.scratch("cache-places")?;
    let place = |scheme: &str| format!("{scheme}{}/{}", shared.display(), scheme.len());
    for flag in [
        format!("--cache-repo={}", place("oci:")),
        format!("--cache-repo={}", place("dir:")),
        format!("--cache-repo={}/e2e/elsewhere", lab.host()),
    ] {
        let build = || two_steps(lab, "cached-places").map(|build| build.arg(flag.clone()));
        let (cold, warm) = (misses(build()?)?, misses(build()?)?);
        ensure!((cold, warm) == (2, 0), "{flag}: {cold} and {warm} misses");
        // What was not fetched for an image that is only pushed is there for one that is written.
        let tar = build()?.arg("--tar-path=image.tar").arg("--no-push").run()?;
        tar.succeeded()?;
        ensure!(tar.missed().is_empty(), "{flag}: {}", tar.text());
    }
    // kaniko's name of a layout: the key behind the path.
    let names = std::fs::read_dir(&shared)?;
    let names: Vec<String> = names
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let keyed = names.iter().filter(|name| name.starts_with("4:") && name.len() == 66).count();
    ensure!(keyed >= 2, "{names:?}");
    // Two places at once: the nearer one has it afterwards, although the farther one is empty.
    let near = shared.join("near");
    let near = || -> Result<Build> {
        let build = two_steps(lab, "cached-places")?;
        Ok(build.arg(format!("--layer-cache-dir={}", near.display())))
    };
    misses(near()?.arg(format!("--cache-repo={}/e2e/far", lab.host())))?;
    let only = misses(near()?.arg(format!("--cache-repo={}/e2e/farther", lab.host())))?;
    ensure!(only == 0, "{only} misses");
    Ok(())
}

fn lifetime(lab: &Arc<Lab>) -> Result<()> {
    let build = || two_steps(lab, "cached-lifetime");
    misses(build()?)?;
    // Once the second is over in which they were made, they are too old.
    let mut outcome = Ok(0);
    kaniko_tests::eventually("what is old is not used", || {
        outcome = build().and_then(|build| misses(build.arg("--cache-ttl=1ns")));
        !matches!(outcome, Ok(0))
    })?;
    ensure!(outcome? == 2, "some were used");
    ensure!(misses(build()?.arg("--cache-ttl=1h"))? == 0, "the old ones were not replaced");
    Ok(())
}

fn kinds(lab: &Arc<Lab>) -> Result<()> {
    let check = |flag: &str, expected: &[&str]| -> Result<()> {
        two_steps(lab, "cached-kinds")?.pushed()?;
        let outcome = two_steps(lab, "cached-kinds")?.arg(flag).pushed()?;
        let hits = outcome.cached();
        ensure!(hits == expected, "{flag}: {hits:?}: {}", outcome.text());
        Ok(())
    };
    check("--cache-copy-layers=false", &["RUN cat /a > /b"])?;
    check("--cache-run-layers=false", &["COPY a /a"])
}

fn not_kept(lab: &Arc<Lab>) -> Result<()> {
    for _ in 0..2 {
        let misses = misses(two_steps(lab, "cached-not-kept")?.arg("--no-push-cache"))?;
        ensure!(misses == 2, "{misses}");
    }
    let asked = lab.registry().requests();
    let kept = |line: &&String| line.starts_with("PUT /v2/e2e/cached-not-kept/cache/");
    ensure!(asked.iter().find(kept).is_none(), "something was kept");
    // Without a repository to keep it in, that is said.
    let nowhere = lab.build("nowhere")?.dockerfile("FROM scratch\n")?.arg("--no-push");
    nowhere.arg("--cache").run()?.failed(1, &["specify cache repo with --cache-repo"])?;
    Ok(())
}

fn explained(lab: &Arc<Lab>) -> Result<()> {
    let text = "\
ARG REGISTRY
FROM ${REGISTRY}/busybox
ARG WORD=a
COPY src /src
RUN cat /src/* > /b
RUN <<EOF
echo one
EOF
";
    let build = |text: &str, content: &str| -> Result<Outcome> {
        let build = lab.build("cached-explained")?.dockerfile(text)?;
        let build = build.file("src/a.c", content)?.file("src/b.c", "b\n")?;
        cached(build).arg("--explain-cache").pushed()
    };
    build(text, "a\n")?;
    let check = |text: &str, content: &str, expected: &[&str]| -> Result<()> {
        let outcome = build(text, content)?;
        let missed = outcome.missed();
        ensure!(missed == expected, "{missed:?} and not {expected:?}: {}", outcome.text());
        Ok(())
    };
    let (run, after) = ("RUN cat /src/* > /b: a step before it changed", "RUN <<EOF: ");
    let after = |reason: &str| format!("{after}{reason}");
    let before = after("a step before it changed");
    check(text, "other\n", &["COPY src /src: src/a.c changed", run, &before])?;
    check(text, "a\n", &[])?;
    let word = text.replace("WORD=a", "WORD=b");
    let variable = "RUN cat /src/* > /b: the variable WORD changed";
    check(&word, "a\n", &[variable, &after("the variable WORD changed")])?;
    let edited = text.replace("echo one", "echo two");
    check(&edited, "a\n", &[&after("the instruction changed")])
}

/// The failing step is told, its exit status is the program's, and the steps before it are kept.
fn failing(lab: &Arc<Lab>) -> Result<()> {
    let text = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\nRUN echo one > /one\nRUN exit 7\n";
    let build = || -> Result<Build> { Ok(cached(lab.build("cached-failing")?.dockerfile(text)?)) };
    build()?.push().run()?.failed(7, &["RUN exit 7"])?;
    let again = build()?.push().run()?;
    again.failed(7, &["RUN exit 7"])?;
    ensure!(again.cached() == ["RUN echo one > /one"], "not kept: {}", again.text());
    Ok(())
}

/// Files from the web and from git: neither is fetched again while the server says it is the same, and
/// a change of either is seen.
fn remote(lab: &Arc<Lab>) -> Result<()> {
    let root = lab.scratch("cached-repository")?;
    let (git, repository) = (GitServer::start(&root), GitRepository::init(&root.join("app")));
    let commit = |content: &str| -> Result<()> {
        std::fs::write(repository.path().join("file"), content)?;
        repository.commit(content);
        Ok(())
    };
    commit("one")?;
    let web = HttpServer::start(Vec::new());
    let set = |tag: &str, body: &str| {
        web.replace(Page::new("/file", body).header("ETag", &format!("\"{tag}\"")));
    };
    let fetched = || web.requests().iter().filter(|line| line.starts_with("GET ")).count();
    let text = format!(
        "FROM scratch\nADD {} /web\nADD {}#main /git\nCOPY a /a\n",
        web.url("/file"),
        git.url("app/.git")
    );
    let build = || -> Result<Outcome> {
        cached(lab.build("cached-remote")?.dockerfile(&text)?.file("a", "a\n")?).pushed()
    };
    let missed = |expected: usize| -> Result<()> {
        let outcome = build()?;
        let missed = outcome.missed();
        ensure!(missed.len() == expected, "{missed:?}: {}", outcome.text());
        Ok(())
    };
    set("1", "one");
    missed(3)?;
    let first = fetched();
    missed(0)?;
    ensure!(fetched() == first, "the file was fetched again");
    // Another tag, the same bytes: fetched once, to be compared.
    set("2", "one");
    missed(0)?;
    ensure!(fetched() == first + 1, "{} fetched", fetched());
    missed(0)?;
    ensure!(fetched() == first + 1, "what it is was not remembered");
    set("3", "two");
    missed(3)?;
    commit("two")?;
    missed(2)?;
    missed(0)
}
