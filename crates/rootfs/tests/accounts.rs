//! Who is who in a root.
#![allow(missing_docs)]

use rootfs::{Error, RootDir};
use testkit::ScratchRoot;

const TREE: &str = "l 0777 /etc/passwd -> ../../usr/lib/passwd
    f 0644 /usr/lib/passwd \"root:x:0:0:root:/root:/bin/sh\\n#no:x:1:1::/:\\nbad line\\napp:x:1000:1001::/home/app:/bin/sh\\n4000:x:7:8::/odd:\\nhomeless:x:9:9:::\\nmax:x:4294967295:1::/:\\n\"
    f 0644 /etc/group \"root:x:0:\\nstaff:x:50:app,root\\nwheel:x:10:app\\nstaff:x:51:\\napp:x:1001:app\\n\"";

fn check(spec: &str, wanted: &str) {
    let scratch = ScratchRoot::with(TREE);
    let root = RootDir::open(scratch.path()).expect("because it is there");
    let accounts = root.accounts().expect("because the files are fine");
    let answer = match accounts.identify(spec) {
        Ok(found) => {
            let name = found.name.as_deref().unwrap_or("-");
            format!("{}:{} {:?} {} {name}", found.uid, found.gid, found.groups, found.home)
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(answer, wanted, "{spec}");
}

#[test]
fn users_are_names_then_numbers() {
    check("", "0:0 [50] /root root");
    check("root", "0:0 [50] /root root");
    check("app", "1000:1001 [10, 50] /home/app app");
    check("1000", "1000:1001 [10, 50] /home/app app");
    check("1234", "1234:0 [] / -");
    check("4000", "7:8 [] /odd 4000");
    check("homeless", "9:9 [] / homeless");
    check("app:wheel", "1000:10 [] /home/app app");
    check("app:77", "1000:77 [] /home/app app");
    check("app:", "1000:1001 [10, 50] /home/app app");
    check("1234:staff", "1234:50 [] / -");
    check(":staff", "0:50 [] /root root");
    check("nobody", "user `nobody` is not in the root's passwd file");
    check("app:none", "group `none` is not in the root's group file");
    check("max", "user `max` is not in the root's passwd file");
    check("4294967295", "user `4294967295` is not in the root's passwd file");
    check("-1", "user `-1` is not in the root's passwd file");
}

#[test]
fn missing_files_are_empty_and_large_ones_are_refused() {
    let empty = ScratchRoot::new();
    let root = RootDir::open(empty.path()).expect("because it is there");
    let accounts = root.accounts().expect("because no file is no error");
    assert!(accounts.user("root").is_none());
    assert_eq!(accounts.identify("5").map(|account| account.gid).ok(), Some(0));

    let long = ScratchRoot::with("f 0644 /etc/group \"a\"*70000");
    let root = RootDir::open(long.path()).expect("because it is there");
    assert!(matches!(root.accounts(), Err(Error::LineTooLong { line: 1, .. })));

    let large = ScratchRoot::with("f 0644 /etc/passwd \"a:x:1:1::/:\\n\"*900000");
    let root = RootDir::open(large.path()).expect("because it is there");
    assert!(matches!(root.accounts(), Err(Error::TooLarge { .. })));

    let pipe = ScratchRoot::with("p 0644 /etc/passwd");
    let root = RootDir::open(pipe.path()).expect("because it is there");
    assert!(matches!(root.accounts(), Err(Error::WrongKind { .. })));
}
