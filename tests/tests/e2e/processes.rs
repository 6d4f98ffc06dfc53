//! What a Dockerfile may ask its steps to be denied or given, and what a step may try with its
//! processes and files: on private roots and in an ordinary pod.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kaniko_tests::pod::{Pod, Seccomp};
use kaniko_tests::{Lab, Outcome};

use crate::errors::is_running;
use crate::{Test, root_test};

/// A Dockerfile after `FROM busybox`, and what comes of it wherever it is built.
struct Case {
    name: &'static str,
    dockerfile: &'static str,
    arguments: &'static [&'static str],
    /// The exit status.
    code: i32,
    /// What is said on standard error.
    says: &'static [&'static str],
    /// Paths of the image, and their lines in its tree; `None` where nothing may be.
    holds: &'static [(&'static str, Option<&'static str>)],
}

const CASE: Case =
    Case { name: "", dockerfile: "", arguments: &[], code: 0, says: &[], holds: &[] };

const CASES: &[Case] = &[
    Case {
        name: "no_network",
        dockerfile: "ARG REGISTRY\n\
                     RUN wget -q -O /there http://$REGISTRY/v2/\n\
                     RUN --network=none ! wget -q -T 5 -O /none http://$REGISTRY/v2/ && rm -f /none\n\
                     RUN wget -q -O /again http://$REGISTRY/v2/\n",
        holds: &[
            ("/none", None),
            ("/there", Some("f 0644 0:0 \"{}\"")),
            ("/again", Some("f 0644 0:0 \"{}\"")),
        ],
        ..CASE
    },
    Case {
        name: "the_hosts_network_must_be_allowed",
        dockerfile: "RUN true\nRUN --network=host true\n",
        code: 1,
        says: &[
            "network.host is not allowed",
            "--allow=network.host",
            "RUN --network=host true",
            "Dockerfile:4",
        ],
        ..CASE
    },
    Case {
        name: "the_hosts_network",
        dockerfile: "ARG REGISTRY\nRUN --network=host wget -q -O /there http://$REGISTRY/v2/\n",
        arguments: &["--allow=network.host"],
        holds: &[("/there", Some("f 0644 0:0 \"{}\""))],
        ..CASE
    },
    Case {
        name: "all_rights_must_be_allowed",
        dockerfile: "RUN --security=insecure true\n",
        arguments: &["--allow=network.host", "--allow=device"],
        code: 1,
        says: &["security.insecure is not allowed", "--allow=security.insecure", "Dockerfile:3"],
        ..CASE
    },
    Case {
        name: "a_plan_tells_what_must_be_allowed",
        dockerfile: "RUN --security=insecure true\n",
        arguments: &["--dryrun"],
        code: 1,
        says: &["security.insecure is not allowed", "Dockerfile:3"],
        ..CASE
    },
    Case {
        name: "all_rights",
        dockerfile: "RUN --security=insecure mkdir /m && (mount -t tmpfs x /m && echo x > /m/x; echo y > /y)\n\
                     RUN test ! -e /m/x && ! grep ' /m ' /proc/self/mountinfo\n",
        arguments: &["--allow=security.insecure"],
        says: &["--security=insecure"],
        holds: &[("/y", Some("f 0644 0:0 \"y\\n\"")), ("/m", Some("d 0755 0:0")), ("/m/x", None)],
        ..CASE
    },
    Case {
        name: "a_device_must_be_allowed",
        dockerfile: "RUN --device=/dev/null true\n",
        arguments: &["--allow=device=/dev/zero"],
        code: 1,
        says: &["device=/dev/null is not allowed", "--allow=device=/dev/null"],
        ..CASE
    },
    Case {
        name: "a_device_that_is_not_there_is_left_out",
        dockerfile: "RUN --device=test.example/none=x echo x > /x\n",
        arguments: &["--allow=device"],
        says: &["device test.example/none=x is left out"],
        holds: &[("/x", Some("f 0644 0:0 \"x\\n\"")), ("/dev", None)],
        ..CASE
    },
    Case {
        name: "a_device_that_is_required",
        dockerfile: "RUN --device=test.example/none=x,required true\n",
        arguments: &["--allow=device"],
        code: 1,
        says: &["cannot give the device `test.example/none=x` to the command", "/etc/cdi"],
        ..CASE
    },
    Case {
        name: "a_step_that_takes_too_long",
        dockerfile: "RUN echo started; trap '' TERM; setsid sleep 95003 & sleep 95003\n",
        arguments: &["--command-timeout=1s"],
        code: 124,
        says: &["sleep 95003", "--command-timeout", "1s", "started"],
        ..CASE
    },
    Case {
        name: "no_input_and_no_terminal",
        dockerfile: "RUN cat && test ! -t 0 && test ! -t 1 && ! (: < /dev/tty)\n",
        ..CASE
    },
    Case {
        name: "a_daemon_writes_no_more",
        dockerfile: "RUN setsid sh -c 'trap \"\" TERM; while :; do echo x >> /late; sleep 0.01; done' \
                     <&- >&- 2>&- & sleep 0.3\n\
                     RUN cp /late /kept && sleep 0.2 && cmp /late /kept\n",
        ..CASE
    },
    Case { name: "a_signal", dockerfile: "RUN kill -SEGV $$\n", code: 139, ..CASE },
    Case { name: "the_highest_status", dockerfile: "RUN exit 255\n", code: 255, ..CASE },
    Case {
        name: "closed_streams",
        dockerfile: "RUN exec >&- 2>&-; echo x; exit 6\n",
        code: 6,
        ..CASE
    },
    Case {
        name: "a_whiteouts_name",
        dockerfile: "RUN touch /.wh.bin\n",
        code: 1,
        says: &[".wh.bin"],
        ..CASE
    },
    Case {
        name: "what_nobody_may_read",
        dockerfile: "RUN mkdir -m 000 /d && echo x > /d/f && chmod 000 /d/f && chmod 6111 /d/f\n",
        holds: &[("/d", Some("d 0000 0:0")), ("/d/f", Some("f 6111 0:0 \"x\\n\""))],
        ..CASE
    },
    Case {
        name: "mounts_of_a_step",
        dockerfile: "RUN mkdir /m; ! mount -t tmpfs x /m && ! mount -o bind /bin /m && ! umount /proc\n\
                     RUN ! chroot / mount -t proc proc /m\n",
        ..CASE
    },
    Case {
        name: "what_names_are_resolved_by",
        dockerfile: "RUN (echo nameserver 192.0.2.1 > /etc/resolv.conf; rm -f /etc/resolv.conf \
                     /etc/hosts; rm -rf /etc/ssl /etc/passwd) 2>/dev/null; true\n\
                     RUN echo x > /x\n",
        holds: &[
            ("/x", Some("f 0644 0:0 \"x\\n\"")),
            ("/etc/resolv.conf", None),
            ("/etc/hosts", None),
        ],
        ..CASE
    },
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for case in CASES {
        tests.push(root_test(format!("processes::{}", case.name), move |lab| check(lab, case)));
    }
    tests.push(root_test("processes::killing_everything_is_no_success", killing_everything));
    tests
}

/// How long the step sleeps that takes too long; other tests sleep otherwise.
const SLEEP: &str = "95003";

const FROM: &str = "ARG REGISTRY\nFROM ${REGISTRY}/busybox\n";

fn check(lab: &Arc<Lab>, case: &Case) -> Result<()> {
    for outcome in everywhere(lab, case.name, case.dockerfile, case.arguments)? {
        outcome.failed(case.code, case.says)?;
        if case.dockerfile.contains(SLEEP) {
            ensure!(!is_running(SLEEP)?, "a process was left behind");
        }
        if case.code != 0 || case.holds.is_empty() {
            continue;
        }
        let files = outcome.image()?.tree()?;
        for (path, expected) in case.holds {
            let found = files.get(*path).map(String::as_str);
            ensure!(found == *expected, "{path} is {found:?}, not {expected:?}");
        }
    }
    Ok(())
}

/// Builds on private roots of this machine, and in place in a pod.
fn everywhere(
    lab: &Arc<Lab>,
    name: &str,
    dockerfile: &str,
    arguments: &[&str],
) -> Result<[Outcome; 2]> {
    let dockerfile = format!("{FROM}{dockerfile}");
    let prepare = |name: &str| {
        let build = lab.build(name)?.dockerfile(&dockerfile)?;
        anyhow::Ok(arguments.iter().fold(build, |build, argument| build.arg(*argument)).push())
    };
    let on_host = prepare(name)?.run()?;
    let name = format!("{name}-in-a-pod");
    let build = prepare(&name)?;
    let context = build.directory.join("context");
    let pod = Pod::new(lab, &name, Seccomp::Default)?.mount(&context, "/workspace", &["ro"]);
    let words = build.words_in_pod();
    let finished = pod.run(&words)?;
    Ok([on_host, build.ended(finished)])
}

/// A step that kills all it can reach. On private roots that is the step alone; in a pod the build
/// fails, or the runtime reports that it was killed. It is never an image.
fn killing_everything(lab: &Arc<Lab>) -> Result<()> {
    for (number, kill) in ["kill -9 $PPID", "kill -9 -1", "kill -STOP $PPID"].iter().enumerate() {
        let dockerfile = format!("RUN (setsid sleep 95004 &) ; sleep 0.1; {kill}; exit 9\n");
        for outcome in everywhere(lab, &format!("killing-{number}"), &dockerfile, &[])? {
            ensure!(outcome.finished.code != Some(0), "{kill}: {}", outcome.text());
            ensure!(outcome.image().is_err(), "{kill} made an image");
            ensure!(!is_running("95004")?, "{kill}: a process was left behind");
        }
    }
    Ok(())
}
