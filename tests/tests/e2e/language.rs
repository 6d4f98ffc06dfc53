//! What the Dockerfile language promises, seen in the finished image.
//!
//! `{REGISTRY}` in a text stands for the lab's registry. What needs more than one build, or looks
//! at standard output and error, is in `behaviour`.

use std::sync::Arc;

use anyhow::Result;
use kaniko_tests::Lab;

use crate::archive::{into_archive, read};
use crate::{Test, root_test};

/// A build that succeeds, and files of its image.
struct Case {
    name: &'static str,
    dockerfile: &'static str,
    context: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    files: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "a_heredoc_is_a_script_of_the_shell",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN <<EOF\nset -e\necho one > /one\n\
                     printf '%s' \"$0\" > /name\nEOF\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /one \"one\\n\"", "f 0644 0:0 /name \"/bin/sh\""],
    },
    Case {
        name: "a_heredoc_names_its_own_interpreter",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN <<EOF\n#!/bin/awk -f\n\
                     BEGIN { print \"by awk\" > \"/made\" }\nEOF\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /made \"by awk\\n\"", "! /EOF", "! /dev"],
    },
    Case {
        name: "several_heredocs_in_one_command",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN cat <<ONE > /one && cat <<TWO > /two\n\
                     first\nONE\nsecond\nTWO\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /one \"first\\n\"", "f 0644 0:0 /two \"second\\n\""],
    },
    Case {
        name: "a_quoted_heredoc_of_run_is_not_expanded",
        dockerfile: "FROM {REGISTRY}/busybox\nENV NAME=value\nRUN cat <<EOF > /open\n$NAME\nEOF\n\
                     RUN cat <<'EOF' > /quoted\n$NAME\nEOF\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /open \"value\\n\"", "f 0644 0:0 /quoted \"$NAME\\n\""],
    },
    Case {
        name: "a_heredoc_with_tabs",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN <<-EOF\n\techo one > /one\n\tEOF\n\
                     COPY <<-EOF /two\n\ttwo\n\tEOF\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /one \"one\\n\"", "f 0644 0:0 /two \"two\\n\""],
    },
    Case {
        name: "heredocs_become_files",
        dockerfile: "FROM scratch\nARG NAME=value\nCOPY <<one.txt <<\"two.txt\" /into/\n\
                     is $NAME\none.txt\nis $NAME\ntwo.txt\n\
                     COPY --chmod=0750 --chown=1:2 <<EOF /script\n#!/bin/sh\nEOF\n",
        context: &[],
        arguments: &[],
        files: &[
            "f 0644 0:0 /into/one.txt \"is value\\n\"",
            "f 0644 0:0 /into/two.txt \"is $NAME\\n\"",
            "f 0750 1:2 /script \"#!/bin/sh\\n\"",
        ],
    },
    Case {
        name: "files_of_another_image",
        dockerfile: "FROM scratch\nCOPY --from={REGISTRY}/busybox:docker /etc/passwd /etc/group \
                     /taken/\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /taken/passwd \"root:", "f 0644 0:0 /taken/group", "! /bin"],
    },
    Case {
        name: "a_linked_copy_knows_nothing_of_what_is_below",
        dockerfile: "FROM {REGISTRY}/busybox\nRUN mkdir /real && ln -s real /linked && ln -s real \
                     /open\nCOPY --link file /linked/\nCOPY file /open/\n",
        context: &[("file", "content")],
        arguments: &[],
        files: &[
            "d 0755 0:0 /linked",
            "f 0644 0:0 /linked/file \"content\"",
            "l 0777 0:0 /open -> real",
            "f 0644 0:0 /real/file \"content\"",
        ],
    },
    Case {
        name: "a_stage_by_its_index",
        dockerfile: "FROM scratch\nCOPY one /\nFROM scratch\nCOPY two /\n",
        context: &[("one", ""), ("two", "")],
        arguments: &["--target=0"],
        files: &["f 0644 0:0 /one", "! /two"],
    },
    Case {
        name: "the_official_frontend_is_what_we_are",
        dockerfile: "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY <<EOF /made\nEOF\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /made"],
    },
    Case {
        name: "the_ignore_file_may_leave_out_the_dockerfile",
        dockerfile: "FROM scratch\nCOPY . /\n",
        context: &[
            (".dockerignore", "Dockerfile\n.dockerignore\n*.log\n"),
            ("a", ""),
            ("b.log", ""),
        ],
        arguments: &[],
        files: &["f 0644 0:0 /a", "! /b.log", "! /Dockerfile", "! /.dockerignore"],
    },
    Case {
        name: "the_dockerfiles_own_ignore_file_wins",
        dockerfile: "FROM scratch\nCOPY . /\n",
        context: &[
            (".dockerignore", "a\n"),
            ("Dockerfile.dockerignore", "b\n"),
            ("a", "a"),
            ("b", "b"),
        ],
        arguments: &[],
        files: &["f 0644 0:0 /a \"a\"", "! /b", "f 0644 0:0 /.dockerignore"],
    },
    // As BuildKit: of an ENV and an ARG with the same name, a step sees the later one.
    Case {
        name: "a_step_sees_arguments_and_variables",
        dockerfile: "ARG GLOBAL=global\nFROM {REGISTRY}/busybox\nARG GLOBAL\nARG GIVEN=default\n\
                     ARG OPEN\nENV FIXED=fixed GIVEN_TOO=env\nARG GIVEN_TOO=arg\n\
                     RUN echo $GLOBAL $GIVEN ${OPEN-unset} $FIXED $GIVEN_TOO $HOME > /seen\n\
                     USER nobody\nRUN echo $HOME $(id -u) > /tmp/nobody\n",
        context: &[],
        arguments: &["--build-arg=GIVEN=flag", "--build-arg=GIVEN_TOO=flag"],
        files: &[
            "f 0644 0:0 /seen \"global flag unset fixed flag /root\\n\"",
            "f 0644 65534:65534 /tmp/nobody \"/home 65534\\n\"",
        ],
    },
    Case {
        name: "arguments_end_with_their_stage",
        dockerfile: "FROM {REGISTRY}/busybox\nARG HERE=1\nENV KEPT=1\nFROM {REGISTRY}/busybox\n\
                     RUN echo ${HERE-no} ${KEPT-no} > /seen\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /seen \"no no\\n\""],
    },
    Case {
        name: "another_shell",
        dockerfile: "FROM {REGISTRY}/busybox\nSHELL [\"/bin/awk\"]\n\
                     RUN BEGIN { print \"by awk\" > \"/seen\" }\n",
        context: &[],
        arguments: &[],
        files: &["f 0644 0:0 /seen \"by awk\\n\""],
    },
];

pub(crate) fn tests() -> Vec<Test> {
    CASES
        .iter()
        .map(|case| root_test(format!("language::{}", case.name), move |lab| check(lab, case)))
        .collect()
}

fn check(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    let text = case.dockerfile.replace("{REGISTRY}", &lab.host());
    let mut build = lab.build(case.name)?.dockerfile(&text)?;
    for (name, content) in case.context {
        build = build.file(name, content)?;
    }
    for argument in case.arguments {
        build = build.arg(*argument);
    }
    read(into_archive(build).run()?)?.holds(case.files)
}
