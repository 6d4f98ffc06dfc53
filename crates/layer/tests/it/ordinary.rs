//! Archives as a user without rights of root unpacks them: in a child that gave them up.

use std::os::unix::process::CommandExt;
use std::process::Command;

use layer::{ApplyOptions, Owners};
use testkit::ScratchRoot;
use testkit::tar_builder::{Member, TarBuilder};
use testkit::tree::{Shown, print_with};

use super::{chain, open};

/// The id that the child runs with.
const USER: u32 = 65_534;

/// The part that runs in the child: this very test, told by its argument to be the child.
#[test]
fn root_directories_that_are_closed_to_their_owner_can_be_filled() {
    if let Some(path) = std::env::args().find_map(|a| a.strip_prefix("in:").map(str::to_owned)) {
        return fill(std::path::Path::new(&path));
    }
    if !testkit::require_root("giving rights up") {
        return;
    }
    let scratch = ScratchRoot::new();
    std::os::unix::fs::chown(scratch.path(), Some(USER), Some(USER)).expect("root may");
    // The test program itself may lie where that user cannot go.
    let place = ScratchRoot::new();
    let program = place.path().join("test");
    std::fs::copy(std::env::current_exe().expect("it runs"), &program).expect("room");
    let mut child = Command::new(&program);
    child.uid(USER).gid(USER).args([
        "--exact",
        "ordinary::root_directories_that_are_closed_to_their_owner_can_be_filled",
        &format!("in:{}", scratch.path().display()),
    ]);
    let output = child.output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(
        print_with(scratch.path(), Shown { owners: true, times: true }).lines().collect::<Vec<_>>(),
        [
            "d 0000 65534:65534 /closed @1.000000000",
            "d 0500 65534:65534 /closed/sub @2.000000000",
            r#"f 0400 65534:65534 /closed/sub/file "x" @3.000000000"#,
        ]
    );
}

fn fill(root: &std::path::Path) {
    let owned = |member: Member| member.owner(USER.into(), USER.into());
    let layer = TarBuilder::new()
        .member(&owned(Member::new(b'5', "closed").mode(0).mtime(1)))
        .member(&owned(Member::new(b'5', "closed/sub").mode(0o500).mtime(2)))
        .member(&owned(Member::file("closed/sub/file", "x").mode(0o400).mtime(3)))
        .end();
    let options = ApplyOptions { owners: Owners::One(USER, USER), ..ApplyOptions::default() };
    layer::apply(&open(root), &layer[..], &options, &|| false)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
}
