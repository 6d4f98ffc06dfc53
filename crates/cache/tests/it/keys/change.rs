//! Random steps, and small changes to them: every field, and every other split of the same text.
//!
//! Texts are few and short, so that steps come close to each other. Every struct is taken apart
//! without `..`: a field that no change touches is an unused variable.

use cache::{Source, Writer, source_count};
use oci::{Digest, Platform, Reference};
use plan::gitref::CheckoutTime;
use plan::{
    AddOp, AddSource, BaseImageId, CacheSharing, CopyOp, CopySource, Device, GitRef, InlineFile,
    MountSource, MountSpec, Op, RemoteFile, RunNetwork, RunOp, RunSecurity, StageId, WorkdirOp,
};
use testkit::random::Random;

use super::Case;

const TEXTS: [&str; 12] = ["", "a", "b", "ab", "ba", "=", "a=b", "/", "/a", "a\nb", "\0", "a-b"];
const OWNERS: [Option<&str>; 11] = [
    None,
    Some(""),
    Some("1"),
    Some("12"),
    Some("1:2"),
    Some(":"),
    Some(":2"),
    Some("a"),
    Some("1:a"),
    Some("1:2:3"),
    Some("99999999999"),
];
const MODES: [Option<&str>; 4] = [None, Some(""), Some("1"), Some("12")];

fn text(random: &mut Random) -> String {
    random.of(&TEXTS).to_owned()
}

fn maybe_text(random: &mut Random) -> Option<String> {
    random.coin().then(|| text(random))
}

fn flag(random: &mut Random) -> Option<bool> {
    random.of(&[None, Some(false), Some(true)])
}

fn inline(random: &mut Random) -> InlineFile {
    InlineFile { name: text(random), content: text(random) }
}

fn image() -> BaseImageId {
    let reference = Reference::parse("a").expect("because it is a name");
    BaseImageId::new(&reference, &Platform::new("linux", "amd64"))
}

/// A COPY of one file from the context.
pub(super) fn plain_copy(dest: &str, link: bool) -> Op {
    Op::Copy(CopyOp {
        from: CopySource::Context,
        sources: vec!["a".to_owned()],
        inline: Vec::new(),
        dest: dest.to_owned(),
        cwd: "/".to_owned(),
        chown: None,
        chmod: None,
        link,
        parents: false,
        exclude: Vec::new(),
    })
}

/// Some step, from which changes go on.
pub(super) fn start(random: &mut Random) -> Case {
    let op = match random.below(4) {
        0 => Op::Workdir(WorkdirOp { path: text(random), user: text(random) }),
        1 => plain_copy("/a", random.coin()),
        2 => Op::Add(AddOp {
            sources: vec![add_source(random)],
            inline: Vec::new(),
            dest: text(random),
            cwd: text(random),
            chown: None,
            chmod: None,
            link: random.coin(),
            exclude: Vec::new(),
            unpack: None,
        }),
        _ => {
            Op::Run(RunOp { argv: vec![text(random)], mounts: vec![mount(random)], ..super::run() })
        }
    };
    let writer = Writer { compression: text(random), epoch: None };
    let mut case = Case { op, state: random.below(super::STATES), sources: Vec::new(), writer };
    fit(random, &mut case);
    case
}

/// Changes something of the step.
pub(super) fn change(random: &mut Random, case: &mut Case) {
    let Case { op, state, sources, writer } = case;
    match random.below(12) {
        0 => *state = random.below(super::STATES),
        1 => change_writer(random, writer),
        2 | 3 => change_sources(random, sources),
        _ => match op {
            Op::Config(_) => {}
            Op::Workdir(WorkdirOp { path, user }) => match random.below(3) {
                0 => *path = text(random),
                1 => *user = text(random),
                _ => shift(random, path, user),
            },
            Op::Copy(op) => change_copy(random, op),
            Op::Add(op) => change_add(random, op),
            Op::Run(op) => change_run(random, op),
        },
    }
    fit(random, case);
}

/// As many sources as the step has.
fn fit(random: &mut Random, case: &mut Case) {
    let count = source_count(&case.op);
    case.sources.truncate(count);
    while case.sources.len() < count {
        case.sources.push(source(random));
    }
}

fn source(random: &mut Random) -> Source {
    let label = text(random);
    match random.coin() {
        true => Source::Content { label, hash: text(random).into_bytes() },
        false => {
            let kind = random.of(&["stage", "image", "a"]);
            Source::Early { label, kind, value: text(random).into_bytes() }
        }
    }
}

fn change_sources(random: &mut Random, sources: &mut [Source]) {
    let Some(at) = (!sources.is_empty()).then(|| random.below(sources.len())) else { return };
    if random.below(4) == 0 {
        let other = random.below(sources.len());
        return sources.swap(at, other);
    }
    if random.below(4) == 0 {
        sources[at] = source(random);
        return;
    }
    match &mut sources[at] {
        Source::Content { label, hash } => match random.coin() {
            true => *label = text(random),
            false => *hash = text(random).into_bytes(),
        },
        Source::Early { label, kind, value } => match random.below(3) {
            0 => *label = text(random),
            1 => *kind = random.of(&["stage", "image", "a"]),
            _ => *value = text(random).into_bytes(),
        },
    }
}

fn change_writer(random: &mut Random, writer: &mut Writer) {
    let Writer { compression, epoch } = writer;
    match random.coin() {
        true => *compression = text(random),
        false => *epoch = random.of(&[None, Some(0), Some(1), Some(-1)]),
    }
}

/// Moves the border between two texts.
fn shift(random: &mut Random, one: &mut String, other: &mut String) {
    if random.below(4) == 0 {
        return std::mem::swap(one, other);
    }
    let whole = format!("{one}{other}");
    let at = random.below(whole.len() + 1);
    *one = whole[..at].to_owned();
    *other = whole[at..].to_owned();
}

/// Changes a list: what is in it, and how the same text is split.
fn change_list<T>(
    random: &mut Random,
    list: &mut Vec<T>,
    new: impl Fn(&mut Random) -> T,
    split: impl Fn(&mut Random, &mut T, &mut T),
) {
    let at = random.below(list.len() + 1);
    match random.below(6) {
        0 | 1 if list.len() < 4 => list.insert(at, new(random)),
        2 if at < list.len() => drop(list.remove(at)),
        3 if at < list.len() => list[at] = new(random),
        4 if list.len() > 1 => {
            let other = random.below(list.len());
            list.swap(at.min(other), other);
        }
        _ => {
            if let Some((one, rest)) = list.split_first_mut()
                && let Some(other) = rest.first_mut()
            {
                split(random, one, other);
            }
        }
    }
}

fn change_texts(random: &mut Random, list: &mut Vec<String>) {
    change_list(random, list, text, shift);
}

fn change_inline(random: &mut Random, file: &mut InlineFile) {
    let InlineFile { name, content } = file;
    match random.below(3) {
        0 => *name = text(random),
        1 => *content = text(random),
        _ => shift(random, name, content),
    }
}

fn change_inlines(random: &mut Random, files: &mut Vec<InlineFile>) {
    change_list(random, files, inline, |random, one, other| match random.below(3) {
        0 => change_inline(random, one),
        1 => shift(random, &mut one.content, &mut other.name),
        _ => shift(random, &mut one.content, &mut other.content),
    });
}

fn change_copy(random: &mut Random, op: &mut CopyOp) {
    let CopyOp { from, sources, inline, dest, cwd, chown, chmod, link, parents, exclude } = op;
    match random.below(12) {
        0 => {
            *from = match random.below(5) {
                0 | 1 => CopySource::Context,
                2 => CopySource::Stage(StageId(random.below(3))),
                3 => CopySource::Image(image()),
                _ => CopySource::Scratch,
            }
        }
        1 => change_texts(random, sources),
        2 => change_inlines(random, inline),
        3 => *dest = text(random),
        4 => *cwd = text(random),
        5 => *chown = random.of(&OWNERS).map(str::to_owned),
        6 => *chmod = random.of(&MODES).map(str::to_owned),
        7 => *link = !*link,
        8 => *parents = !*parents,
        9 => change_texts(random, exclude),
        10 => shift(random, dest, cwd),
        // The same texts as another list.
        _ => std::mem::swap(sources, exclude),
    }
}

fn add_source(random: &mut Random) -> AddSource {
    match random.below(3) {
        0 => AddSource::Local(text(random)),
        1 => AddSource::Url(RemoteFile {
            url: text(random),
            file_name: text(random),
            checksum: None,
        }),
        _ => AddSource::Git(GitRef { remote: text(random), ..GitRef::default() }),
    }
}

fn change_add_source(random: &mut Random, source: &mut AddSource) {
    match source {
        AddSource::Local(path) => *path = text(random),
        AddSource::Url(RemoteFile { url, file_name, checksum }) => match random.below(4) {
            0 => *url = text(random),
            1 => *file_name = text(random),
            2 => *checksum = random.coin().then(|| Digest::sha256_of(text(random).as_bytes())),
            _ => shift(random, url, file_name),
        },
        AddSource::Git(git) => change_git(random, git),
    }
}

fn change_git(random: &mut Random, git: &mut GitRef) {
    let GitRef {
        remote,
        short_name,
        reference,
        checksum,
        subdir,
        indistinguishable_from_local,
        unencrypted_tcp,
        keep_git_dir,
        submodules,
        mtime,
        fetch_by_commit,
    } = git;
    match random.below(12) {
        0 => *remote = text(random),
        1 => *short_name = text(random),
        2 => *reference = maybe_text(random),
        3 => *checksum = maybe_text(random),
        4 => *subdir = maybe_text(random),
        5 => *indistinguishable_from_local = random.coin(),
        6 => *unencrypted_tcp = random.coin(),
        7 => *keep_git_dir = flag(random),
        8 => *submodules = flag(random),
        9 => *mtime = random.of(&[None, Some(CheckoutTime::Checkout), Some(CheckoutTime::Commit)]),
        10 => *fetch_by_commit = flag(random),
        _ => std::mem::swap(reference, subdir),
    }
}

fn change_add(random: &mut Random, op: &mut AddOp) {
    let AddOp { sources, inline, dest, cwd, chown, chmod, link, exclude, unpack } = op;
    match random.below(11) {
        0..=2 => change_list(random, sources, add_source, |random, one, _| {
            change_add_source(random, one);
        }),
        3 => change_inlines(random, inline),
        4 => *dest = text(random),
        5 => *cwd = text(random),
        6 => *chown = random.of(&OWNERS).map(str::to_owned),
        7 => *chmod = random.of(&MODES).map(str::to_owned),
        8 => *link = !*link,
        9 => change_texts(random, exclude),
        _ => *unpack = flag(random),
    }
}

fn change_run(random: &mut Random, op: &mut RunOp) {
    let RunOp { argv, env, proxy, cwd, user, hostname, script, mounts, network, security, devices } =
        op;
    match random.below(14) {
        0 | 1 => change_texts(random, argv),
        2 | 3 => change_pairs(random, env),
        4 => change_pairs(random, proxy),
        5 => *cwd = text(random),
        6 => *user = text(random),
        7 => *hostname = text(random),
        8 => match script {
            Some(file) if random.coin() => change_inline(random, file),
            _ => *script = random.coin().then(|| inline(random)),
        },
        9 | 10 => change_list(random, mounts, mount, |random, one, _| change_mount(random, one)),
        11 => *network = random.of(&[RunNetwork::Default, RunNetwork::None, RunNetwork::Host]),
        12 => *security = random.of(&[RunSecurity::Sandbox, RunSecurity::Insecure]),
        _ => change_devices(random, devices),
    }
}

fn change_pairs(random: &mut Random, pairs: &mut Vec<(String, String)>) {
    let new = |random: &mut Random| (text(random), text(random));
    change_list(random, pairs, new, |random, one, other| match random.below(3) {
        0 => shift(random, &mut one.0, &mut one.1),
        1 => shift(random, &mut one.1, &mut other.0),
        _ => shift(random, &mut one.1, &mut other.1),
    });
}

fn change_devices(random: &mut Random, devices: &mut Vec<Device>) {
    let new = |random: &mut Random| Device { name: text(random), required: random.coin() };
    change_list(random, devices, new, |random, one, other| {
        let (Device { name, required }, Device { name: other, .. }) = (one, other);
        match random.coin() {
            true => shift(random, name, other),
            false => *required = !*required,
        }
    });
}

fn mount_from(random: &mut Random) -> MountSource {
    match random.below(4) {
        0 => MountSource::Context,
        1 => MountSource::Stage(StageId(random.below(3))),
        2 => MountSource::Image(image()),
        _ => MountSource::Scratch,
    }
}

fn small(random: &mut Random) -> u32 {
    random.of(&[0, 1, 256])
}

fn mount(random: &mut Random) -> MountSpec {
    let (id, source, target) = (text(random), text(random), text(random));
    let (mode, uid, gid) = (small(random), small(random), small(random));
    let (required, read_only) = (random.coin(), random.coin());
    match random.below(5) {
        0 => MountSpec::Bind { from: mount_from(random), source, target, read_only },
        1 => MountSpec::Cache {
            id,
            from: mount_from(random),
            source,
            target,
            sharing: random.of(&[
                CacheSharing::Shared,
                CacheSharing::Private,
                CacheSharing::Locked,
            ]),
            read_only,
            mode,
            uid,
            gid,
        },
        2 => MountSpec::Tmpfs { target, size: random.of(&[None, Some(0), Some(1)]) },
        3 => {
            let (target, env) = (maybe_text(random), maybe_text(random));
            MountSpec::Secret { id, target, env, required, mode, uid, gid }
        }
        _ => MountSpec::Ssh { id, target: maybe_text(random), required, mode, uid, gid },
    }
}

fn change_mount(random: &mut Random, mount: &mut MountSpec) {
    match mount {
        MountSpec::Bind { from, source, target, read_only } => match random.below(5) {
            0 => *from = mount_from(random),
            1 => *source = text(random),
            2 => *target = text(random),
            3 => *read_only = !*read_only,
            _ => shift(random, source, target),
        },
        MountSpec::Cache { id, from, source, target, sharing, read_only, mode, uid, gid } => {
            match random.below(10) {
                0 => *id = text(random),
                1 => *from = mount_from(random),
                2 => *source = text(random),
                3 => *target = text(random),
                4 => *sharing = random.of(&[CacheSharing::Shared, CacheSharing::Private]),
                5 => *read_only = !*read_only,
                6 => *mode = small(random),
                7 => *uid = small(random),
                8 => *gid = small(random),
                _ => shift(random, id, source),
            }
        }
        MountSpec::Tmpfs { target, size } => match random.coin() {
            true => *target = text(random),
            false => *size = random.of(&[None, Some(0), Some(1)]),
        },
        MountSpec::Secret { id, target, env, required, mode, uid, gid } => match random.below(8) {
            0 => *id = text(random),
            1 => *target = maybe_text(random),
            2 => *env = maybe_text(random),
            3 => *required = !*required,
            4 => *mode = small(random),
            5 => *uid = small(random),
            6 => *gid = small(random),
            _ => std::mem::swap(target, env),
        },
        MountSpec::Ssh { id, target, required, mode, uid, gid } => match random.below(7) {
            0 => *id = text(random),
            1 => *target = maybe_text(random),
            2 => *required = !*required,
            3 => *mode = small(random),
            4 => *uid = small(random),
            5 => *gid = small(random),
            _ => std::mem::swap(uid, gid),
        },
    }
}
