//! The key of one step, from what the plan says of it and from what it reads.
//!
//! Does not read anything: what sources hold, or what stands for them, comes in. Every struct of the plan
//! is taken apart field by field, so that a new field cannot be forgotten. Read the table of `key.rs`
//! first.
//!
//! A step that reads an earlier stage, an image or the web has two keys. The *early* one is made of
//! what stands for the source ([`Source::Early`]) and is known before anything is read; the one by
//! *content* ([`Source::Content`]) afterwards. The result is kept under the second, and under the first
//! as an alias.

use oci::{Digest, Platform};
use plan::{
    AddOp, AddSource, CacheSharing, CopyOp, CopySource, Device, GitRef, InlineFile, MountSource,
    MountSpec, Op, RemoteFile, RunNetwork, RunOp, RunSecurity, Step, WorkdirOp,
};

use crate::key::{CacheKey, Explained, KeyBuilder, Part};

/// What a stage starts from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Nothing.
    Scratch,
    /// An image, by the digest of its manifest.
    Image(&'a Digest),
}

/// The state of a stage before its first step. A stage that starts from another has the other's.
#[must_use]
pub fn first_state(start: Start<'_>, platform: &Platform) -> CacheKey {
    let mut builder = KeyBuilder::new();
    match start {
        Start::Scratch => builder.part(Part::Base, b"scratch"),
        Start::Image(digest) => builder.labelled(Part::Base, "image", digest.as_str().as_bytes()),
    };
    builder.part(Part::Platform, platform.to_string().as_bytes());
    builder.finish().key
}

/// What is known of one source of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// What it holds.
    Content {
        /// The source, as written.
        label: String,
        /// A hash of all that is read of it.
        hash: Vec<u8>,
    },
    /// What stands for it.
    Early {
        /// The source, as written.
        label: String,
        /// What it is that stands for it: a stage, an image, a validator.
        kind: &'static str,
        /// Its value.
        value: Vec<u8>,
    },
}

impl Source {
    /// Whether the content is still to be read.
    #[must_use]
    pub fn is_early(&self) -> bool {
        matches!(self, Self::Early { .. })
    }
}

/// As what files are written into a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Method and level.
    pub compression: String,
    /// The bound for times.
    pub epoch: Option<i64>,
}

/// How many sources a step has: those whose content is not in the plan.
#[must_use]
pub fn source_count(op: &Op) -> usize {
    match op {
        Op::Config(_) | Op::Workdir(_) => 0,
        Op::Copy(copy) => match copy.from {
            CopySource::Scratch => 0,
            CopySource::Context | CopySource::Stage(_) | CopySource::Image(_) => copy.sources.len(),
        },
        Op::Add(add) => add.sources.len(),
        Op::Run(run) => run.mounts.iter().filter(|mount| mount_source(mount).is_some()).count(),
    }
}

/// What a mount shows of another tree, and which part of it.
#[must_use]
pub fn mount_source(mount: &MountSpec) -> Option<(&MountSource, &str)> {
    match mount {
        MountSpec::Bind { from, source, .. } | MountSpec::Cache { from, source, .. } => {
            (*from != MountSource::Scratch).then_some((from, source))
        }
        MountSpec::Tmpfs { .. } | MountSpec::Secret { .. } | MountSpec::Ssh { .. } => None,
    }
}

/// Whether a step's layer does not depend on what lies below it: `--link` to an owner that need not
/// be looked up.
#[must_use]
pub fn stands_alone(op: &Op) -> bool {
    let (link, chown) = match op {
        Op::Copy(copy) => (copy.link, &copy.chown),
        Op::Add(add) => (add.link, &add.chown),
        Op::Config(_) | Op::Workdir(_) | Op::Run(_) => return false,
    };
    // As the copy reads it: a number that is too large is a name, and so is all after a second colon.
    let is_number = |part: &str| part.is_empty() || part.parse::<u32>().is_ok();
    let (user, group) = match chown.as_deref().unwrap_or_default().split_once(':') {
        Some((user, group)) => (user, group),
        None => (chown.as_deref().unwrap_or_default(), ""),
    };
    link && is_number(user) && is_number(group)
}

/// The key of a step upon a state, from its sources in the order of the plan. Nothing for steps that
/// make no layer, and where the state is needed and not known, or a source is missing.
#[must_use]
pub fn step_key(
    step: &Step,
    state: Option<&CacheKey>,
    sources: &[Source],
    writer: &Writer,
) -> Option<Explained> {
    // Where the step stands, and what the history says of it, is in no layer.
    let Step { op, id: _, inputs: _, span: _, created_by: _, history: _, text: _, triggered: _ } =
        step;
    op_key(op, state, sources, writer)
}

/// The same for what a step does.
#[must_use]
pub fn op_key(
    op: &Op,
    state: Option<&CacheKey>,
    sources: &[Source],
    writer: &Writer,
) -> Option<Explained> {
    if matches!(op, Op::Config(_)) || sources.len() != source_count(op) {
        return None;
    }
    let mut key = match stands_alone(op) {
        true => KeyBuilder::new(),
        false => KeyBuilder::after(state?),
    };
    match op {
        Op::Config(_) => return None,
        Op::Workdir(op) => workdir(&mut key, op),
        Op::Copy(op) => copy(&mut key, op),
        Op::Add(op) => add(&mut key, op),
        Op::Run(op) => run(&mut key, op),
    }
    for source in sources {
        match source {
            Source::Content { label, hash } => key.labelled(Part::Sources, label, hash),
            Source::Early { label, kind, value } => {
                key.list(Part::Origin, label, [kind.as_bytes(), value].into_iter())
            }
        };
    }
    let Writer { compression, epoch } = writer;
    let mut written = Fields::default();
    written.text(compression).maybe(epoch.map(i64::to_le_bytes).as_ref());
    written.enter(&mut key, Part::Writer, "");
    Some(key.finish())
}

/// The state after a step whose key, by content, is this one.
#[must_use]
pub fn state_after(op: &Op, state: &CacheKey, content: &CacheKey) -> CacheKey {
    if !stands_alone(op) {
        return *content;
    }
    let mut builder = KeyBuilder::after(state);
    builder.labelled(Part::Parent, "layer", content.to_string().as_bytes());
    builder.finish().key
}

/// Values of one part, each framed by the builder.
#[derive(Default)]
struct Fields(Vec<Vec<u8>>);

impl Fields {
    fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.0.push(text.as_ref().to_vec());
        self
    }

    /// Nothing differs from an empty text.
    fn maybe(&mut self, value: Option<impl AsRef<[u8]>>) -> &mut Self {
        let some = value.map(|value| [b"=", value.as_ref()].concat());
        self.0.push(some.unwrap_or_default());
        self
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.text([u8::from(flag)])
    }

    fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        self.text(number.into().to_le_bytes())
    }

    /// A list within the list.
    fn texts<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) -> &mut Self {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.0.push(text.as_bytes().to_vec()));
        self
    }

    fn enter(&self, key: &mut KeyBuilder, part: Part, label: &str) {
        key.list(part, label, self.0.iter().map(Vec::as_slice));
    }
}

fn texts(texts: &[String]) -> impl ExactSizeIterator<Item = &str> {
    texts.iter().map(String::as_str)
}

fn workdir(key: &mut KeyBuilder, op: &WorkdirOp) {
    let WorkdirOp { path, user } = op;
    key.part(Part::Kind, b"WORKDIR");
    key.part(Part::Arguments, path.as_bytes());
    key.part(Part::User, user.as_bytes());
}

/// What COPY and ADD have in common.
struct Placement<'a> {
    dest: &'a str,
    cwd: &'a str,
    chown: Option<&'a str>,
    chmod: Option<&'a str>,
    inline: &'a [InlineFile],
}

impl Placement<'_> {
    fn enter(&self, key: &mut KeyBuilder) {
        let Self { dest, cwd, chown, chmod, inline } = self;
        key.labelled(Part::Arguments, "destination", dest.as_bytes());
        if !dest.starts_with('/') {
            key.part(Part::Directory, cwd.as_bytes());
        }
        bodies(key, *inline);
        if let Some(chown) = chown {
            key.part(Part::Ownership, chown.as_bytes());
        }
        if let Some(chmod) = chmod {
            key.part(Part::Mode, chmod.as_bytes());
        }
    }
}

fn bodies<'i>(key: &mut KeyBuilder, files: impl IntoIterator<Item = &'i InlineFile>) {
    for InlineFile { name, content } in files {
        key.labelled(Part::Bodies, name, content.as_bytes());
    }
}

fn copy(key: &mut KeyBuilder, op: &CopyOp) {
    let CopyOp { from, sources, inline, dest, cwd, chown, chmod, link, parents, exclude } = op;
    key.part(Part::Kind, b"COPY");
    let kind = match from {
        CopySource::Context => "context",
        // Which one is in the sources: by its key, or by what it holds.
        CopySource::Stage(_) | CopySource::Image(_) => "image",
        CopySource::Scratch => "scratch",
    };
    key.list(Part::Arguments, "sources", sources.iter().map(String::as_bytes));
    let (chown, chmod) = (chown.as_deref(), chmod.as_deref());
    Placement { dest, cwd, chown, chmod, inline }.enter(key);
    let mut options = Fields::default();
    options.text(kind).flag(*link).flag(*parents).texts(texts(exclude));
    options.enter(key, Part::Options, "");
}

fn add(key: &mut KeyBuilder, op: &AddOp) {
    let AddOp { sources, inline, dest, cwd, chown, chmod, link, exclude, unpack } = op;
    key.part(Part::Kind, b"ADD");
    for source in sources {
        let mut fields = Fields::default();
        match source {
            AddSource::Local(path) => fields.text("local").text(path),
            AddSource::Url(RemoteFile { url, file_name, checksum }) => fields
                .text("url")
                .text(url)
                .text(file_name)
                .maybe(checksum.as_ref().map(Digest::as_str)),
            AddSource::Git(git) => git_source(&mut fields, git),
        };
        fields.enter(key, Part::Arguments, "source");
    }
    let (chown, chmod) = (chown.as_deref(), chmod.as_deref());
    Placement { dest, cwd, chown, chmod, inline }.enter(key);
    let mut options = Fields::default();
    options.flag(*link).maybe(unpack.map(|unpack| [u8::from(unpack)])).texts(texts(exclude));
    options.enter(key, Part::Options, "");
}

fn git_source<'f>(fields: &'f mut Fields, git: &GitRef) -> &'f mut Fields {
    let GitRef {
        remote,
        short_name,
        reference,
        checksum,
        subdir,
        // How the address was understood, and how it is asked: neither is in the files.
        indistinguishable_from_local: _,
        unencrypted_tcp: _,
        keep_git_dir,
        submodules,
        mtime,
        fetch_by_commit: _,
    } = git;
    fields
        .text("git")
        .text(remote)
        .text(short_name)
        .maybe(reference.as_ref())
        .maybe(checksum.as_ref())
        .maybe(subdir.as_ref())
        .maybe(keep_git_dir.map(|keep| [u8::from(keep)]))
        .maybe(submodules.map(|fetch| [u8::from(fetch)]))
        .maybe(mtime.map(|time| format!("{time:?}")))
}

fn run(key: &mut KeyBuilder, op: &RunOp) {
    let RunOp {
        argv,
        env,
        // Proxies may differ from one machine to the next and are no part of a result.
        proxy: _,
        cwd,
        user,
        hostname,
        script,
        mounts,
        network,
        security,
        devices,
    } = op;
    key.part(Part::Kind, b"RUN");
    key.list(Part::Arguments, "", argv.iter().map(String::as_bytes));
    bodies(key, script);
    for (name, value) in env {
        key.labelled(Part::Environment, name, value.as_bytes());
    }
    key.part(Part::Directory, cwd.as_bytes());
    key.part(Part::User, user.as_bytes());
    for spec in mounts {
        mount(key, spec);
    }
    let mut options = Fields::default();
    options.text(hostname);
    options.text(match network {
        RunNetwork::Default => "default",
        RunNetwork::None => "none",
        RunNetwork::Host => "host",
    });
    options.text(match security {
        RunSecurity::Sandbox => "sandbox",
        RunSecurity::Insecure => "insecure",
    });
    options.number(devices.len() as u64);
    for Device { name, required } in devices {
        options.text(name).flag(*required);
    }
    options.enter(key, Part::Options, "");
}

/// A mount and its options. Of a secret or an agent only its name: what they hold is nobody's to know.
fn mount(key: &mut KeyBuilder, spec: &MountSpec) {
    let mut fields = Fields::default();
    let label = match spec {
        MountSpec::Bind { from, source, target, read_only } => {
            fields.text("bind").text(origin(from)).text(source).flag(*read_only);
            target
        }
        MountSpec::Cache { id, from, source, target, sharing, read_only, mode, uid, gid } => {
            fields.text("cache").text(id).text(origin(from)).text(source).flag(*read_only);
            fields.text(match sharing {
                CacheSharing::Shared => "shared",
                CacheSharing::Private => "private",
                CacheSharing::Locked => "locked",
            });
            fields.number(*mode).number(*uid).number(*gid);
            target
        }
        MountSpec::Tmpfs { target, size } => {
            fields.text("tmpfs").maybe(size.map(u64::to_le_bytes));
            target
        }
        MountSpec::Secret { id, target, env, required, mode, uid, gid } => {
            fields.text("secret").text(id).maybe(target.as_ref()).maybe(env.as_ref());
            fields.flag(*required).number(*mode).number(*uid).number(*gid);
            id
        }
        MountSpec::Ssh { id, target, required, mode, uid, gid } => {
            fields.text("ssh").text(id).maybe(target.as_ref());
            fields.flag(*required).number(*mode).number(*uid).number(*gid);
            id
        }
    };
    fields.enter(key, Part::Mounts, label);
}

fn origin(from: &MountSource) -> &'static str {
    match from {
        MountSource::Context => "context",
        MountSource::Stage(_) | MountSource::Image(_) => "image",
        MountSource::Scratch => "scratch",
    }
}
