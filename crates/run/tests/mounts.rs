//! `RUN --mount` on every rung: the step finds the same things, and nothing of them is left.
#![allow(clippy::disallowed_methods, reason = "tests look at roots from outside")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rootfs::RootPath;
use run::{Choice, Error, Exit, Mount, MountKind, Rung};
use support::pod::{Filter, refuse_elsewhere, run_in_pod};
use support::user::{Ids, run_as_user};
use support::{Case, Fixture, Outcome, chain, shell};
use sys::Secret;
use testkit::tree;

const CASES: &[Case] = &[
    ("root_mounts_of_every_kind", as_root),
    ("root_mounts_that_are_mounted", mounted),
    ("root_mounts_in_place", in_place),
    ("root_mounts_in_place_with_the_state_on_a_volume", in_place_on_a_volume),
    ("root_mounts_in_a_pod_without_a_filter", unconfined),
    ("userns_mounts_of_an_ordinary_user", as_user),
];

const INNER: &[Case] = &[
    ("pod_mounts", pod_mounts),
    ("pod_mounts_on_a_volume", pod_mounts_on_a_volume),
    ("pod_mounts_in_private_roots", pod_mounts_in_private_roots),
    ("user_mounts", user_mounts),
];

fn main() {
    support::main(CASES, INNER);
}

fn as_root() {
    if testkit::require_root("mounts of a step") {
        every_kind(&Fixture::namespaces());
    }
}

fn in_place() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_mounts", Filter::Default, false);
    }
}

fn in_place_on_a_volume() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_mounts_on_a_volume", Filter::Default, true);
    }
}

fn unconfined() {
    if testkit::require_root("a pod") {
        run_in_pod("pod_mounts_in_private_roots", Filter::None, false);
    }
}

fn as_user() {
    if testkit::require_root("to become an ordinary user") {
        run_as_user("user_mounts", Ids::Range, || {});
    }
}

fn pod_mounts() {
    let fixture = pod("/kaniko/state", Rung::InPlace);
    every_kind(&fixture);
    let refused = chain(&with(&fixture, vec![tmpfs("/etc")], "true").expect_err("it holds mounts"));
    assert!(refused.starts_with("cannot put a mount on `/etc` in place: `/etc/"), "{refused}");
    let refused = chain(&with(&fixture, vec![tmpfs("/proc/x")], "true").expect_err("a mount"));
    assert!(refused.contains("`/proc` must stay") || refused.contains("/proc/x"), "{refused}");
}

fn pod_mounts_on_a_volume() {
    every_kind(&pod("/state", Rung::InPlace));
}

fn pod_mounts_in_private_roots() {
    every_kind(&pod("/kaniko/state", Rung::Namespaces));
}

fn user_mounts() {
    every_kind(&Fixture::enter(Choice::Namespaces, Path::new("/tmp/state"), false));
}

fn pod(state: &str, rung: Rung) -> Fixture {
    refuse_elsewhere();
    support::remember_busybox(Path::new("/kaniko/busybox"));
    let fixture = Fixture::enter(Choice::Auto, Path::new(state), false);
    assert_eq!(fixture.isolation.rung(), rung, "{}", fixture.isolation.reason());
    fixture
}

fn path(text: &str) -> RootPath {
    RootPath::new(text).expect("because it is short")
}

fn host(target: &str, from: &Path, read_only: bool) -> Mount {
    let what = MountKind::Host { path: from.to_owned(), read_only };
    Mount { target: path(target), what }
}

fn tmpfs(target: &str) -> Mount {
    Mount { target: path(target), what: MountKind::Tmpfs { size: Some(1 << 20) } }
}

fn secret(target: &str, content: &str, mode: u32, uid: u32, gid: u32) -> Mount {
    let what = MountKind::Secret { content: Secret::from(content), mode, uid, gid };
    Mount { target: path(target), what }
}

fn with(fixture: &Fixture, mounts: Vec<Mount>, script: &str) -> Result<Outcome, Error> {
    fixture.run(&run::Invocation { mounts, ..shell(script) })
}

/// Runs a script with mounts; its status, what it wrote, and the root as it was before.
fn check(fixture: &Fixture, mounts: Vec<Mount>, script: &str, expected: &str) {
    let before = shown(fixture);
    let outcome = with(fixture, mounts, script);
    let outcome = outcome.unwrap_or_else(|error| panic!("{script}: {}", chain(&error)));
    assert_eq!((outcome.exit, &*outcome.stdout), (Exit::Code(0), expected), "{script} {outcome:?}");
    assert_eq!(shown(fixture), before, "{script}");
}

/// The parts of the root that the mounts here are about, with owners and times.
fn shown(fixture: &Fixture) -> String {
    let root = root_of(fixture);
    let shown = tree::Shown { owners: true, times: true };
    let parts = ["home", "run", "srv", "root"].map(|name| root.join(name));
    let parts = parts.iter().filter(|path| path.exists());
    parts.map(|path| tree::print_with(path, shown)).collect::<Vec<_>>().join("\n--\n")
}

fn root_of(fixture: &Fixture) -> PathBuf {
    match fixture.isolation.rung() {
        Rung::InPlace => PathBuf::from("/"),
        Rung::Namespaces | Rung::FilesOnly => fixture.path(),
    }
}

/// A directory of the builder with something in it.
fn thing(fixture: &Fixture, name: &str) -> PathBuf {
    let room = fixture.root.waiting_room().expect("because it can be made");
    tree::make(&room.join(name), "d 0755 /sub\nf 0640 /file \"content\"\nl 0777 /link -> file");
    std::fs::set_permissions(room.join(name), PermissionsExt::from_mode(0o750))
        .expect("it is ours");
    room.join(name)
}

fn every_kind(fixture: &Fixture) {
    let root = root_of(fixture);
    tree::make(
        &root,
        "d 0700 /home @5\nf 0600 /home/kept \"k\" @5\nd 0755 /srv @7\nl 0777 /srv/way -> ../home",
    );
    directories(fixture);
    files(fixture);
    one_in_another(fixture);
    secrets(fixture);
    caches(fixture);
    refusals(fixture);
}

fn directories(fixture: &Fixture) {
    let source = thing(fixture, "tree");
    check(fixture, vec![host("/m", &source, true)], "cat /m/link; stat -c %a /m", "content750\n");
    // What is there is covered, and is there again afterwards.
    check(fixture, vec![host("/home", &source, true)], "ls /home", "file\nlink\nsub\n");
    check(fixture, vec![host("/srv/way", &source, true)], "ls /home", "file\nlink\nsub\n");
    check(fixture, vec![host("/deep/er/m", &source, true)], "ls -d /deep/er/*", "/deep/er/m\n");
    assert!(!root_of(fixture).join("deep").exists());
    check(fixture, vec![tmpfs("/t")], "stat -c '%a %u' /t; touch /t/x; ls /t", "1777 0\nx\n");
    check(fixture, vec![tmpfs("/home")], "stat -c %a /home; ls /home", "700\n");
}

fn files(fixture: &Fixture) {
    let source = thing(fixture, "files").join("file");
    check(fixture, vec![host("/m", &source, true)], "cat /m", "content\n");
    check(fixture, vec![host("/home/kept", &source, true)], "cat /home/kept", "content\n");
    check(fixture, vec![host("/new/f", &source, true)], "ls /new; cat /new/f", "f\ncontent\n");
    // A socket, as an agent's: whoever connects reaches the builder.
    let room = fixture.root.waiting_room().expect("because it can be made");
    let listener = UnixListener::bind(room.join("s")).expect("because the path is short enough");
    let script = "test -S /run/x/s && echo socket";
    check(fixture, vec![host("/run/x/s", &room.join("s"), false)], script, "socket\n");
    drop(listener);
    assert!(room.join("s").exists(), "the socket is where it was");
}

fn one_in_another(fixture: &Fixture) {
    let (outer, inner) = (thing(fixture, "outer"), thing(fixture, "inner"));
    let mounts = || vec![tmpfs("/t"), host("/t/a/b", &inner, true), tmpfs("/t/a/b/sub")];
    check(fixture, mounts(), "cat /t/a/b/file; ls /t/a/b/sub; touch /t/y", "content\n");
    let mounts = vec![host("/m", &outer, false), host("/m/new/f", &inner.join("file"), true)];
    check(fixture, mounts, "cat /m/new/f; touch /m/mine", "content\n");
    assert!(outer.join("mine").exists() && !outer.join("new").exists());
    // On top of each other, the last one is seen.
    let mounts = vec![tmpfs("/m"), host("/m", &inner, true)];
    check(fixture, mounts, "ls /m", "file\nlink\nsub\n");
}

fn secrets(fixture: &Fixture) {
    let mounts = || vec![secret("/run/secrets/a", "hush", 0o440, 0, 1000)];
    check(
        fixture,
        mounts(),
        "cat /run/secrets/a; stat -L -c %a:%u:%g /run/secrets/a",
        "hush440:0:1000\n",
    );
    let anna = |group| run::Identity { uid: 1000, gid: group, groups: Vec::new() };
    for (group, status) in [(1000, 0), (7, 1)] {
        let mut invocation = shell("cat /run/secrets/a");
        invocation.mounts = mounts();
        invocation.identity = anna(group);
        let outcome = fixture.run(&invocation).expect("because cat is there");
        assert_eq!(outcome.exit, Exit::Code(status), "{outcome:?}");
    }
    assert!(!root_of(fixture).join("run/secrets").exists());
    // Neither on the disk nor in memory is anything left.
    for dir in [&fixture.state, Path::new("/dev/shm")] {
        assert!(!holds(dir, b"hush"), "{}", dir.display());
    }
}

/// Whether any file below holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), bytes),
        Ok(kind) if kind.is_file() => {
            let found = std::fs::read(entry.path()).unwrap_or_default();
            // Busybox and this program hold all kinds of words.
            found.len() < 4096 && found.windows(bytes.len()).any(|window| window == bytes)
        }
        Ok(_) | Err(_) => false,
    })
}

fn caches(fixture: &Fixture) {
    let caches = fixture.state.join("caches");
    std::fs::create_dir_all(caches.join("one")).expect("because the directory is ours");
    let cache = caches.join("one");
    let mounts = || vec![host("/root/.cache", &cache, false)];
    check(fixture, mounts(), "echo a > /root/.cache/a; ln -s a /root/.cache/l", "");
    check(fixture, mounts(), "cat /root/.cache/l; mkdir -p /root/.cache/d/e", "a\n");
    assert_eq!(std::fs::read_to_string(cache.join("a")).expect("the step wrote it"), "a\n");
    assert!(cache.join("d/e").is_dir() && !root_of(fixture).join("root/.cache").exists());
    // A step that fails keeps what it wrote, too.
    let outcome = with(fixture, mounts(), "echo b > /root/.cache/b; exit 3").expect("it runs");
    assert_eq!(outcome.exit, Exit::Code(3));
    assert!(cache.join("b").exists());
    // Whatever it does to the directory, what is left is a directory.
    let ruin = "rm -rf /root/.cache 2>/dev/null; ln -s /etc /root/.cache 2>/dev/null; true";
    with(fixture, mounts(), ruin).expect("because rm is there");
    let found = std::fs::symlink_metadata(&cache).expect("because it stays");
    assert!(found.is_dir() && found.uid() == rustix::process::geteuid().as_raw());
    assert!(!root_of(fixture).join("root/.cache").exists());
}

fn refusals(fixture: &Fixture) {
    let source = thing(fixture, "refused");
    let check = |mount: Mount, expected: &str| {
        let before = shown(fixture);
        let error = with(fixture, vec![mount], "true").expect_err("because it cannot be mounted");
        assert_eq!(chain(&error), expected);
        assert_eq!(shown(fixture), before);
    };
    let expected = "cannot mount a directory on `/home/kept`, which is no directory";
    check(host("/home/kept", &source, true), expected);
    let expected = "cannot mount a file on `/home`, which is a directory";
    check(host("/home", &source.join("file"), true), expected);
}

/// What only a rung with mounts can do.
fn mounted() {
    if !testkit::require_root("mounts of a step") {
        return;
    }
    let fixture = Fixture::namespaces();
    tree::make(&fixture.path(), "d 0700 /home");
    let source = thing(&fixture, "tree");
    let refused = "(echo x >> /m/file) 2>/dev/null || (rm /m/link) 2>/dev/null || echo kept";
    check(&fixture, vec![host("/m", &source, true)], refused, "kept\n");
    check(&fixture, vec![tmpfs("/t")], "grep ' /t ' /proc/mounts | cut -d' ' -f3", "tmpfs\n");
    let fill = "head -c 2000000 /dev/zero > /t/x 2>/dev/null || echo full";
    check(&fixture, vec![tmpfs("/t")], fill, "full\n");
    let refused = "(echo x > /s) 2>/dev/null || rm /s 2>/dev/null || echo kept";
    check(&fixture, vec![secret("/s", "x", 0o666, 0, 0)], refused, "kept\n");
    let mounts = vec![tmpfs("/dev/x"), host("/dev/y", &source.join("file"), true)];
    check(&fixture, mounts, "touch /dev/x/z; cat /dev/y", "content\n");
    // Room cannot be made in what the step may not change.
    let error = with(&fixture, vec![host("/m", &source, true), tmpfs("/m/none")], "true");
    let text = chain(&error.expect_err("because it is read-only"));
    assert_eq!(text, "cannot mount on `/m/none`: it is missing in a read-only mount");
    assert!(!source.join("none").exists());
}
