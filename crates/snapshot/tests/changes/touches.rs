//! What was touched, replaced or moved so that it looks much as before.

use super::*;
use rustix::fs::FileType;

/// There and back: with known contents nothing changed, else nobody can tell.
fn check_touched(action: &dyn Fn(&Path)) {
    check_when(&[When::Known, When::All], action, "");
    check_when(&[When::Settled], action, "f 0644 /d/f \"content\"");
}

/// Puts a copy in the place of a file: another inode, and all else the same.
fn replace(path: &Path) {
    let before = fs::symlink_metadata(path).expect("because it is there");
    let content = fs::read(path).expect("because it is ours");
    let new = path.with_extension("replacement");
    fs::write(&new, content).expect("because there is room");
    fs::set_permissions(&new, before.permissions()).expect("because it is ours");
    restore_time(&new, &before);
    fs::rename(&new, path).expect("because it is ours");
}

#[test]
fn attributes_there_and_back() {
    check_touched(&|root| {
        chmod(root.join("d/f"), 0o4711);
        chmod(root.join("d/f"), 0o644);
    });
    check_touched(&|root| {
        let file = root.join("d/f");
        rustix::fs::setxattr(&file, "user.n", b"v", XattrFlags::empty()).expect("it is ours");
        rustix::fs::removexattr(&file, "user.n").expect("because it was just set");
    });
    // The time is set to what it is.
    check_touched(&|root| {
        let file = root.join("d/f");
        restore_time(&file, &fs::metadata(&file).expect("because it is there"));
    });
    check_touched(&|root| {
        fs::rename(root.join("d/f"), root.join("moved")).expect("because it is ours");
        fs::rename(root.join("moved"), root.join("d/f")).expect("because it is ours");
    });
    // The same content is written, and the time restored.
    check_touched(&|root| {
        let file = root.join("d/f");
        let before = fs::metadata(&file).expect("because it is there");
        write(&file, "content");
        restore_time(&file, &before);
    });
}

#[test]
fn root_owners_there_and_back() {
    if !require_root("owners") {
        return;
    }
    let chown = |root: &Path, uid| {
        std::os::unix::fs::lchown(root.join("d/f"), Some(uid), None).expect("because we are root");
    };
    check_touched(&|root| {
        chown(root, 7);
        chown(root, 0);
    });
    check(|root| chown(root, 7), "f 0644 7:0 /d/f \"content\"");
}

#[test]
fn another_file_with_all_the_same() {
    check_touched(&|root| replace(&root.join("d/f")));
}

#[test]
fn another_directory_with_all_the_same() {
    let action = |root: &Path| {
        let (old, new) = (root.join("d"), root.join("new-d"));
        let before = fs::symlink_metadata(&old).expect("because it is there");
        fs::create_dir(&new).expect("because nothing is there");
        for name in ["f", "g"] {
            fs::rename(old.join(name), new.join(name)).expect("because it is ours");
        }
        chmod(&new, 0o755);
        fs::remove_dir(&old).expect("because it is empty");
        fs::rename(&new, &old).expect("because nothing is there");
        restore_time(&old, &before);
    };
    check_when(&[When::Known, When::All], &action, "");
    check_when(&[When::Settled], &action, "f 0644 /d/f \"content\"\nf 0644 /d/g \"other\"");
    // The same names, but what is in them is another's.
    check(
        |root| {
            let file = |name: &str| root.join("d").join(name);
            let before = fs::symlink_metadata(root.join("d")).expect("because it is there");
            fs::rename(file("f"), root.join("f")).expect("because it is ours");
            fs::rename(file("g"), file("f")).expect("because it is ours");
            fs::rename(root.join("f"), file("g")).expect("because it is ours");
            restore_time(&root.join("d"), &before);
        },
        "f 0644 /d/f \"other\"\nf 0644 /d/g \"content\"",
    );
}

#[test]
fn links_of_the_same_length() {
    check(
        |root| {
            let link = root.join("l");
            let before = fs::symlink_metadata(&link).expect("because it is there");
            symlink("d/g", root.join("other")).expect("because nothing is there");
            restore_time(&root.join("other"), &before);
            fs::rename(root.join("other"), &link).expect("because it is ours");
        },
        "l 0777 /l -> d/g",
    );
}

#[test]
fn root_device_numbers() {
    if !require_root("device nodes") {
        return;
    }
    let node = |root: &Path, name: &str, minor| {
        let device = rustix::fs::makedev(1, minor);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, root.join(name), FileType::CharacterDevice, mode, device)
            .expect("because we are root");
    };
    for contents in [Contents::Recent, Contents::Known, Contents::All] {
        let scratch = ScratchRoot::new();
        node(scratch.path(), "null", 3);
        let before = fs::symlink_metadata(scratch.path().join("null")).expect("it is there");
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let protected = Protected::none();
        let options = options(contents, &protected);
        let baseline = scan(&root, &options).expect("because all can be read");
        node(scratch.path(), "zero", 5);
        restore_time(&scratch.path().join("zero"), &before);
        let (from, to) = (scratch.path().join("zero"), scratch.path().join("null"));
        fs::rename(from, to).expect("because it is ours");
        let (changes, baseline) = diff(&root, baseline, &options).expect("all can be read");
        assert_eq!(brief(scratch.path(), &changes), "c 0600 /null 1:5", "{contents:?}");
        let (rest, _) = diff(&root, baseline, &options).expect("because all can be read");
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn root_the_root_itself() {
    if !require_root("owners") {
        return;
    }
    let changed = |action: &dyn Fn(&Path)| {
        let scratch = ScratchRoot::with("f 0644 /f \"\"");
        let root = RootDir::open(scratch.path()).expect("because it is there");
        let protected = Protected::none();
        let options = options(Contents::Recent, &protected);
        let baseline = scan(&root, &options).expect("because all can be read");
        action(scratch.path());
        let (changes, baseline) = diff(&root, baseline, &options).expect("all can be read");
        let (rest, _) = diff(&root, baseline, &options).expect("because all can be read");
        assert!(rest.is_empty(), "{rest:?}");
        changes.iter().any(|change| change.path().is_root())
    };
    let own = |root: &Path, gid| {
        std::os::unix::fs::lchown(root, None, Some(gid)).expect("because we are root");
    };
    assert!(changed(&|root| own(root, 7)));
    assert!(changed(&|root| chmod(root, 0o1777)));
    assert!(!changed(&|root| {
        own(root, 7);
        own(root, 0);
        chmod(root, 0o755);
    }));
    assert!(!changed(&|root| {
        let of_file = fs::metadata(root.join("f")).expect("because it is there");
        restore_time(root, &of_file);
        write(root.join("new"), "");
    }));
}
