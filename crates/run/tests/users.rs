//! Steps on the rung `namespaces` as an ordinary user, with and without ids of its own.
#![allow(clippy::disallowed_methods, reason = "tests look at roots from outside")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use run::{Error, Exit, Identity, Owners, Rung};
use rustix::mount::{MountFlags, mount};
use support::user::{Ids, run_as_user};
use support::{Case, Fixture, care, chain, shell};

const CASES: &[Case] = &[
    ("userns_an_ordinary_user_with_subordinate_ids", with_ids),
    ("userns_an_ordinary_user_with_one_id", with_one_id),
    ("userns_where_no_new_proc_can_be_mounted", without_new_proc),
];

const INNER: &[Case] = &[
    ("user_with_ids", user_with_ids),
    ("user_with_one_id", user_with_one_id),
    ("user_without_new_proc", user_without_new_proc),
];

fn main() {
    support::main(CASES, INNER);
}

fn ready(what: &str) -> bool {
    testkit::require_root(what) && testkit::require_userns(what)
}

fn enter() -> Fixture {
    support::remember_busybox(Path::new("/tmp/busybox"));
    // As a careful program does at its start; the files of /proc then belong to root, the one
    // for the id map included.
    sys::hide_memory().expect("because it is always possible");
    let fixture = Fixture::namespaces();
    assert_eq!(fixture.isolation.rung(), Rung::Namespaces);
    fixture
}

fn as_identity(uid: u32, gid: u32, script: &str) -> run::Invocation {
    let mut invocation = shell(script);
    invocation.identity = Identity { uid, gid, groups: vec![gid] };
    invocation
}

fn with_ids() {
    if ready("an ordinary user with subordinate ids") {
        run_as_user("user_with_ids", Ids::Range, || {});
    }
}

fn user_with_ids() {
    let fixture = enter();
    assert_eq!(fixture.isolation.owners(), Owners::Below(65_537));
    assert_eq!(fixture.isolation.reason(), "user namespace with 65537 ids");
    fixture.check("id -u; echo x > /f; chown 33:44 /f; stat -c %u:%g /f", 0, "0\n33:44\n");
    let found = std::fs::metadata(fixture.path().join("f")).expect("because the step made it");
    assert_eq!((found.uid(), found.gid()), (33, 44), "the builder sees what the image will have");
    let outcome = fixture.run(&as_identity(33, 44, "id -u; id -g; id -G; cat /f"));
    assert_eq!(outcome.expect("because the ids are mapped").stdout, "33\n44\n44\nx\n");
    fixture.check("chmod 4755 /bin/busybox; stat -c %a /bin/busybox", 0, "4755\n");
    fixture.check(
        "echo x > /dev/null; cat /proc/kcore | wc -c; set -- /proc/[0-9]*; echo $#",
        0,
        "0\n2\n",
    );
    care::no_network(&fixture, true);
    let error = fixture.run(&as_identity(70_000, 0, "true")).expect_err("because it is beyond");
    assert!(matches!(error, Error::UnmappedId { id: 70_000, .. }), "{error}");
    rights(&fixture);
}

fn with_one_id() {
    if ready("an ordinary user with one id") {
        run_as_user("user_with_one_id", Ids::None, || {});
    }
}

fn user_with_one_id() {
    let fixture = enter();
    assert_eq!(fixture.isolation.owners(), Owners::One);
    fixture.check(
        "id -u; id -g; touch /f; stat -c %u:%g /f; chown 33 /f || echo no",
        0,
        "0\n0\n0:0\nno\n",
    );
    let error = fixture.run(&as_identity(33, 0, "true")).expect_err("because there is one id");
    let text = chain(&error);
    assert!(text.contains("newuidmap") && text.contains("/etc/subuid"), "{text}");
    rights(&fixture);
}

fn rights(fixture: &Fixture) {
    fixture.check(
        "grep -E '^(CapBnd|Seccomp):' /proc/self/status",
        0,
        "CapBnd:\t00000000a80425fb\nSeccomp:\t2\n",
    );
    for refused in ["mount -t tmpfs x /tmp", "unshare -m true", "umount /etc/hosts"] {
        assert_ne!(fixture.sh(refused).exit, Exit::Code(0), "{refused}");
    }
    assert_ne!(fixture.sh("head -c 1 /proc/1/environ").exit, Exit::Code(0));
}

/// In a pod parts of /proc are covered, and then the kernel refuses a new one: a pid namespace is
/// of no use, and the step's processes must be found and ended one by one.
fn without_new_proc() {
    if ready("a user namespace where /proc is covered") {
        run_as_user("user_without_new_proc", Ids::Range, || {
            mount("tmpfs", "/proc/acpi", "tmpfs", MountFlags::RDONLY, None)
                .or_else(|_| mount("tmpfs", "/proc/bus", "tmpfs", MountFlags::RDONLY, None))
                .expect("because one of them is there");
        });
    }
}

fn user_without_new_proc() {
    let fixture = enter();
    assert_eq!(fixture.isolation.reason(), "user namespace with 65537 ids, no pid namespace");
    fixture.check("id -u; pwd; test -d /proc/self && echo proc", 0, "0\n/\nproc\n");
    care::processes(&fixture);
    care::streams(&fixture);
    care::supervisor_killed(&fixture);
    care::no_network(&fixture, true);
    // The builder is in sight of the step, but not its memory.
    let this = std::process::id();
    for path in ["mem", "environ", "root/etc/passwd"] {
        let outcome = fixture.sh(&format!("head -c 1 /proc/{this}/{path}"));
        assert_ne!(outcome.exit, Exit::Code(0), "{path}: {outcome:?}");
    }
    let mut invocation = shell("unused");
    invocation.argv = vec!["env".to_owned()];
    assert_eq!(
        fixture.run(&invocation).expect("because env is there").stdout,
        "PATH=/usr/bin:/bin\n"
    );
}
