//! `RUN --mount`: the same Dockerfiles with private roots and in place in a pod.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Build, Lab, Outcome};

use crate::archive::{into_archive, read};
use crate::{Test, root_test};

/// A build, and files of its image or texts of its error.
struct Case {
    name: &'static str,
    dockerfile: &'static str,
    context: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    expected: Expected,
}

enum Expected {
    /// As in `language`.
    Files(&'static [&'static str]),
    Error(&'static [&'static str]),
}
use Expected::{Error, Files};

const TREE: &[(&str, &str)] =
    &[("src/a", "a\n"), ("src/deep/b", "b\n"), ("secret.key", "k\n"), (".dockerignore", "*.key\n")];

const CASES: &[Case] = &[
    Case {
        name: "the_context_without_what_is_ignored",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=target=/m cp -r /m /seen && rm /seen/.d* \
                     /seen/Dockerfile && stat -c %u:%g /m/src/a > /owner\n",
        context: TREE,
        arguments: &[],
        expected: Files(&[
            "f 0644 0:0 /seen/src/deep/b \"b\\n\"",
            "f 0644 0:0 /owner \"0:0\\n\"",
            "! /seen/secret.key",
            "! /m",
        ]),
    },
    Case {
        name: "what_is_ignored_is_not_there_to_mount",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=source=secret.key,target=/k cat /k\n",
        context: TREE,
        arguments: &[],
        expected: Error(&["\"/secret.key\": not found", "Dockerfile:2"]),
    },
    Case {
        name: "a_part_of_the_context",
        dockerfile: "FROM {REGISTRY}/busybox\nWORKDIR /w\n\
                     RUN --mount=source=src/deep,target=d --mount=source=src/a,target=/new/a \
                     cat d/b /new/a > /seen\n",
        context: TREE,
        arguments: &[],
        expected: Files(&["f 0644 0:0 /seen \"b\\na\\n\"", "! /w/d", "! /new", "! /new/a"]),
    },
    Case {
        name: "what_is_written_to_a_bind_is_dropped",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=target=/m,rw echo x >> /m/src/a && \
                     rm -r /m/src/deep && cat /m/src/a > /one\n\
                     RUN --mount=target=/m cat /m/src/a /m/src/deep/b > /two\n",
        context: TREE,
        arguments: &[],
        expected: Files(&["f 0644 0:0 /one \"a\\nx\\n\"", "f 0644 0:0 /two \"a\\nb\\n\""]),
    },
    Case {
        name: "files_of_a_stage_and_of_an_image",
        dockerfile: "FROM {REGISTRY}/busybox AS made\nRUN mkdir /made && echo made > /made/f\n\
                     FROM {REGISTRY}/busybox\nRUN echo first > /first\n\
                     RUN --mount=from=made,source=/made,target=/m \
                     --mount=from={REGISTRY}/busybox:docker,source=/etc/passwd,target=/p \
                     cat /m/f > /seen && head -n 1 /p | cut -d: -f1 >> /seen\n\
                     RUN test -e /first && test ! -e /m/f\n",
        context: &[],
        arguments: &[],
        expected: Files(&["f 0644 0:0 /seen \"made\\nroot\\n\"", "! /m", "! /p"]),
    },
    Case {
        name: "a_cache_is_kept_from_step_to_step",
        dockerfile: "FROM {REGISTRY}/busybox\n\
                     RUN --mount=type=cache,id=c,target=/c,mode=0750,uid=7 echo 1 > /c/x\n\
                     RUN --mount=type=cache,id=c,target=/d \
                     stat -c %a:%u /d > /seen && cat /d/x >> /seen\n\
                     RUN --mount=type=cache,id=c,target=/e,ro ls /e >> /seen\n\
                     RUN --mount=type=cache,target=/c ls /c | wc -l >> /seen\n",
        context: &[],
        arguments: &[],
        expected: Files(&["f 0644 0:0 /seen \"750:7\\n1\\nx\\n0\\n\"", "! /c", "! /d", "! /e"]),
    },
    Case {
        name: "a_cache_begins_with_the_files_of_a_stage",
        dockerfile: "FROM {REGISTRY}/busybox AS seed\nRUN mkdir /s && echo seed > /s/f\n\
                     FROM {REGISTRY}/busybox\n\
                     RUN --mount=type=cache,from=seed,source=/s,target=/c cat /c/f > /seen && rm /c/f\n\
                     RUN --mount=type=cache,from=seed,source=/s,target=/c ls /c >> /seen\n",
        context: &[],
        arguments: &[],
        expected: Files(&["f 0644 0:0 /seen \"seed\\n\""]),
    },
    Case {
        name: "a_cache_of_one_step_at_a_time_and_of_each_its_own",
        dockerfile: "FROM {REGISTRY}/busybox\n\
                     RUN --mount=type=cache,id=l,target=/l,sharing=locked \
                     --mount=type=cache,id=p,target=/p,sharing=private echo 1 > /l/x; echo 2 > /p/x\n\
                     RUN --mount=type=cache,id=l,target=/l,sharing=locked \
                     --mount=type=cache,id=p,target=/p,sharing=private cat /l/x /p/x > /seen\n",
        context: &[],
        arguments: &[],
        expected: Files(&["f 0644 0:0 /seen \"1\\n2\\n\""]),
    },
    Case {
        name: "a_directory_in_memory",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN mkdir -m 0700 /there && echo kept > /there/f\n\
                     RUN --mount=type=tmpfs,target=/t,size=1m --mount=type=tmpfs,target=/there \
                     touch /t/x /there/y && ls /there > /seen && stat -c %a /there >> /seen\n",
        context: &[],
        arguments: &[],
        expected: Files(&["f 0644 0:0 /seen \"y\\n700\\n\"", "f 0644 0:0 /there/f", "! /t"]),
    },
    Case {
        name: "a_mount_in_a_mount",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=source=src,target=/c/in/src \
                     --mount=type=cache,target=/c cat /c/in/src/a > /seen; touch /c/mine\n\
                     RUN --mount=type=cache,target=/c ls /c >> /seen\n",
        context: TREE,
        arguments: &[],
        expected: Files(&["f 0644 0:0 /seen \"a\\nmine\\n\""]),
    },
    Case {
        name: "a_secret_is_a_file_and_a_variable",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=type=secret,id=s \
                     stat -L -c %a:%u:%s /run/secrets/s > /seen && cat /run/secrets/s\n\
                     RUN --mount=type=secret,id=s,env=TOKEN test ${#TOKEN} = 8 && \
                     test ! -e /run/secrets/s && echo $TOKEN\n\
                     RUN --mount=type=secret,id=s,target=/x/y,mode=0444,uid=5,gid=6 \
                     stat -L -c %a:%u:%g /x/y >> /seen && env | grep -c TOKEN >> /seen || true\n\
                     RUN --mount=type=secret,id=other test ! -e /run/secrets/other\n",
        context: &[],
        arguments: &["--secret=id=s,src=context/secret.key"],
        expected: Files(&[
            "f 0644 0:0 /seen \"400:0:8\\n444:5:6\\n0\\n\"",
            "! /run/secrets",
            "! /x",
        ]),
    },
    Case {
        name: "a_secret_that_is_missing",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=type=secret,id=nope,required true\n",
        context: &[],
        arguments: &[],
        expected: Error(&["secret nope: not found", "Dockerfile:2"]),
    },
    Case {
        name: "an_agent_that_is_missing",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=type=ssh,required true\n",
        context: &[],
        arguments: &[],
        expected: Error(&["ssh agent default: not found", "Dockerfile:2"]),
    },
    Case {
        name: "a_source_that_is_missing",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=source=nosuch,target=/m true\n",
        context: &[],
        arguments: &[],
        expected: Error(&["\"/nosuch\": not found", "Dockerfile:2"]),
    },
    Case {
        name: "a_directory_on_a_file",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN --mount=target=/etc/passwd true\n",
        context: &[],
        arguments: &[],
        expected: Error(&["cannot mount a directory on `/etc/passwd`", "Dockerfile:2"]),
    },
];

pub(crate) fn tests() -> Vec<Test> {
    let on = |kind: &str, case: &Case| format!("mounts::{kind}::{}", case.name);
    let mut tests: Vec<Test> = Vec::new();
    for case in CASES {
        tests.push(root_test(on("private", case), move |lab| private(lab, case)));
        tests.push(root_test(on("in_place", case), move |lab| in_place(lab, case)));
    }
    tests.push(root_test("mounts::an_agent_is_offered_for_the_step", agent));
    tests.push(root_test("mounts::a_cache_is_kept_from_build_to_build", two_builds));
    tests.push(root_test("mounts::secrets_are_nowhere_afterwards", secrets_are_gone));
    tests
}

fn prepare(lab: &Arc<Lab>, name: &str, case: &Case) -> Result<Build> {
    let text = case.dockerfile.replace("{REGISTRY}", &lab.host());
    let mut build = lab.build(name)?.dockerfile(&text)?;
    for (name, content) in case.context {
        build = build.file(name, content)?;
        let file = build.directory.join("context").join(name);
        // Whose they are on the machine is nothing to a step.
        std::os::unix::fs::chown(file, Some(1234), Some(1234))?;
    }
    if !case.arguments.is_empty() {
        build = build.file("secret.key", "hunter22")?;
    }
    Ok(build)
}

fn private(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    let mut build = prepare(lab, &format!("{}-private", case.name), case)?;
    for argument in case.arguments {
        build = build.arg(*argument);
    }
    let context = build.directory.join("context");
    let before = testkit::tree::print(&context);
    let outcome = into_archive(build).run()?;
    ensure!(testkit::tree::print(&context) == before, "the context was changed");
    judge(outcome, case)
}

fn in_place(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    let name = format!("{}-pod", case.name);
    let build = prepare(lab, &name, case)?;
    let context = build.directory.join("context");
    let pod = Pod::new(lab, &name, Seccomp::Default)?.mount(&context, "/workspace", &["ro"]).mount(
        &build.directory,
        "/out",
        &["rw"],
    );
    let mut words = vec!["/kaniko/executor".to_owned(), "--context=/workspace".to_owned()];
    words.extend(build.arguments().into_iter().skip(1));
    words.extend(case.arguments.iter().map(|argument| argument.replace("context/", "/workspace/")));
    words.extend(["--no-push", "--destination=example.test/e2e:latest"].map(str::to_owned));
    words.push("--tar-path=/out/image.tar".to_owned());
    let finished = pod.run(&words)?;
    let outcome = build.ended(finished);
    ensure!(outcome.finished.stderr.contains("in-place"), "the rung: {}", outcome.text());
    judge(outcome, case)
}

fn judge(outcome: Outcome, case: &Case) -> Result<()> {
    ensure!(!outcome.text().contains("hunter22"), "the secret is in the log: {}", outcome.text());
    match case.expected {
        Files(files) => read(outcome)?.holds(files),
        Error(texts) => outcome.failed(1, texts).map(drop),
    }
}

/// A socket that is there for the step, with the right owner and mode, and gone afterwards.
fn agent(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("agent")?.dockerfile(
        "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n\
         RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK > /seen && \
         stat -c %a:%u $SSH_AUTH_SOCK >> /seen\n\
         RUN --mount=type=ssh,id=default,target=/a,uid=9,mode=0660 stat -c %a:%u:%F /a >> /seen\n\
         RUN echo ${SSH_AUTH_SOCK-unset} >> /seen\n",
    )?;
    let socket = build.directory.join("real");
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let build = into_archive(build.arg(format!("--ssh=default={}", socket.display())));
    let seen = "f 0644 0:0 /seen \"/run/buildkit/ssh_agent.0\\n600:0\\n660:9:socket\\nunset\\n\"";
    read(build.run()?)?.holds(&[seen, "! /run/buildkit", "! /a"])?;
    drop(listener);
    Ok(())
}

fn two_builds(lab: &Arc<Lab>) -> Result<()> {
    for (number, seen) in [(1, "0\\n"), (2, "1\\n")] {
        let build = lab.build(&format!("cache-{number}"))?.dockerfile(
            "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n\
             RUN --mount=type=cache,target=/root/.cache \
             ls /root/.cache | wc -l > /seen; touch /root/.cache/f\n",
        )?;
        let state = build.directory.with_file_name("state-of-two-builds");
        let command = into_archive(build);
        let finished =
            command.command().arg(format!("--kaniko-dir={}", state.display())).finish()?;
        read(command.ended(finished))?
            .holds(&[&format!("f 0644 0:0 /seen \"{seen}\""), "! /root/.cache"])?;
    }
    Ok(())
}

fn secrets_are_gone(lab: &Arc<Lab>) -> Result<()> {
    let build = lab.build("secret-gone")?.dockerfile(
        "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n\
         RUN --mount=type=secret,id=s --mount=type=secret,id=s,env=S cat /run/secrets/s; exit 3\n",
    )?;
    let build = build.file("key", "planted-4711\nplanted-0815\r\n\nplanted-2342")?;
    let key = build.directory.join("key");
    std::fs::rename(build.directory.join("context/key"), &key)?;
    let build = into_archive(build.arg(format!("--secret=id=s,src={}", key.display())));
    let outcome = build.arg("--verbosity=trace").run()?;
    outcome.failed(3, &["***"])?;
    std::fs::remove_file(&key)?;
    // Each of its lines counts.
    ensure!(!outcome.text().contains("planted-"), "{}", outcome.text());
    for place in [outcome.directory.as_path(), Path::new("/dev/shm")] {
        ensure!(!holds(place, b"planted-")?, "it is left below {}", place.display());
    }
    Ok(())
}

/// Whether a file below holds these bytes; large files are programs.
pub(crate) fn holds(directory: &Path, bytes: &[u8]) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata()?;
        let inside = match found.is_dir() {
            true => holds(&entry.path(), bytes)?,
            false if found.is_file() && found.size() < 1 << 20 => {
                std::fs::read(entry.path())?.windows(bytes.len()).any(|window| window == bytes)
            }
            false => false,
        };
        if inside {
            return Ok(true);
        }
    }
    Ok(false)
}
