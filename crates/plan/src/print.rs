//! How a plan prints: for `--dryrun`, and for the golden tests that hold it still.

use std::fmt;

use dockerfile::quote;
use oci::ConfigEdit;

use crate::model::{
    AddOp, AddSource, BuildPlan, CacheSharing, CopyOp, CopySource, HistoryKind, InlineFile,
    MountSource, MountSpec, Op, RemoteFile, RunNetwork, RunOp, RunSecurity, StageBase, StagePlan,
    Step,
};

impl fmt::Display for BuildPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for request in &self.base_images {
            writeln!(f, "image {} (line {})", request.id, request.span.start.line)?;
        }
        if let Some(epoch) = self.epoch {
            writeln!(f, "epoch {epoch}")?;
        }
        for stage in &self.stages {
            stage.fmt(f)?;
        }
        let targets: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        writeln!(f, "target stage {}", targets.join(", "))?;
        for warning in &self.warnings {
            writeln!(f, "warning {}", Plain(&warning.to_string()))?;
        }
        for name in &self.unused_build_args {
            writeln!(f, "unused build argument {}", Plain(name))?;
        }
        Ok(())
    }
}

impl fmt::Display for StagePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.base {
            StageBase::Scratch => write!(f, " from scratch")?,
            StageBase::Image(id) => write!(f, " from image {id}")?,
            StageBase::Stage(id) => write!(f, " from stage {id}")?,
        }
        writeln!(f, ", on {}", self.platform)?;
        for edit in &self.setup {
            writeln!(f, "  before: {}", Edit(edit))?;
        }
        for step in &self.steps {
            step.fmt(f)?;
        }
        for edit in &self.closing {
            writeln!(f, "  after: {}", Edit(edit))?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} (line {}", self.id, self.span.start.line)?;
        if self.triggered {
            f.write_str(", trigger")?;
        }
        match self.history {
            HistoryKind::None => writeln!(f, ") no history")?,
            HistoryKind::Empty => writeln!(f, ") empty {}", quote(&self.created_by))?,
            HistoryKind::Layer => writeln!(f, ") layer {}", quote(&self.created_by))?,
        }
        match &self.op {
            Op::Config(edits) => {
                edits.iter().try_for_each(|edit| writeln!(f, "      {}", Edit(edit)))
            }
            Op::Workdir(op) => {
                writeln!(f, "      make directory {} for {}", Plain(&op.path), user(&op.user))
            }
            Op::Copy(op) => print_copy(f, op),
            Op::Add(op) => print_add(f, op),
            Op::Run(op) => print_run(f, op),
        }
    }
}

fn user(user: &str) -> Plain<'_> {
    Plain(if user.is_empty() { "root" } else { user })
}

/// A value as it is, but for control characters: a plan may hold what a base image says, and it
/// goes to a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.chars().any(char::is_control) {
            quote(self.0).fmt(f)
        } else {
            f.write_str(self.0)
        }
    }
}

struct Edit<'a>(&'a ConfigEdit);

impl fmt::Display for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConfigEdit::Env { key, value } => write!(f, "env {}={}", Plain(key), Plain(value)),
            ConfigEdit::Label { key, value } => write!(f, "label {}={}", Plain(key), Plain(value)),
            ConfigEdit::Cmd(words) => write!(f, "cmd {}", Words(words)),
            ConfigEdit::ClearCmd => f.write_str("no cmd"),
            ConfigEdit::Entrypoint(words) => write!(f, "entrypoint {}", Words(words)),
            ConfigEdit::User(user) => write!(f, "user {}", Plain(user)),
            ConfigEdit::WorkingDir(path) => write!(f, "working directory {}", Plain(path)),
            ConfigEdit::ExposedPort(port) => write!(f, "port {}", Plain(port)),
            ConfigEdit::Volume(path) => write!(f, "volume {}", Plain(path)),
            ConfigEdit::StopSignal(signal) => write!(f, "stop signal {}", Plain(signal)),
            ConfigEdit::Healthcheck(check) => write!(f, "health check {}", Words(&check.test)),
            ConfigEdit::Shell(words) => write!(f, "shell {}", Words(words)),
            ConfigEdit::OnBuild(trigger) => write!(f, "trigger {}", quote(trigger)),
            ConfigEdit::ClearOnBuild => f.write_str("no triggers"),
            ConfigEdit::Author(author) => write!(f, "author {}", Plain(author)),
            ConfigEdit::Platform(platform) => write!(f, "platform {platform}"),
        }
    }
}

/// Words as they could stand in a JSON form.
struct Words<'a>(&'a [String]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| quote(word)).collect();
        write!(f, "[{}]", words.join(", "))
    }
}

/// What both kinds of copying share, in the order of the flags' documentation.
struct Flags<'a> {
    chown: Option<&'a String>,
    chmod: Option<&'a String>,
    link: bool,
    parents: bool,
    exclude: &'a [String],
    unpack: Option<bool>,
}

fn print_target(
    f: &mut fmt::Formatter<'_>,
    inline: &[InlineFile],
    (dest, cwd): (&str, &str),
    flags: &Flags<'_>,
) -> fmt::Result {
    for file in inline {
        writeln!(f, "      inline {} {}", Plain(&file.name), quote(&file.content))?;
    }
    write!(f, "      to {} in {}", quote(dest), Plain(cwd))?;
    if let Some(owner) = flags.chown {
        write!(f, ", owner {}", Plain(owner))?;
    }
    if let Some(mode) = flags.chmod {
        write!(f, ", mode {mode}")?;
    }
    if flags.link {
        f.write_str(", linked")?;
    }
    if flags.parents {
        f.write_str(", with parents")?;
    }
    if let Some(unpack) = flags.unpack {
        write!(f, ", unpack {unpack}")?;
    }
    if !flags.exclude.is_empty() {
        write!(f, ", without {}", Words(flags.exclude))?;
    }
    f.write_str("\n")
}

fn print_copy(f: &mut fmt::Formatter<'_>, op: &CopyOp) -> fmt::Result {
    let from = match &op.from {
        CopySource::Context => "context".to_owned(),
        CopySource::Stage(id) => format!("stage {id}"),
        CopySource::Image(id) => format!("image {id}"),
        CopySource::Scratch => "nothing".to_owned(),
    };
    if !op.sources.is_empty() {
        writeln!(f, "      copy {} from {from}", Words(&op.sources))?;
    }
    let flags = Flags {
        chown: op.chown.as_ref(),
        chmod: op.chmod.as_ref(),
        link: op.link,
        parents: op.parents,
        exclude: &op.exclude,
        unpack: None,
    };
    print_target(f, &op.inline, (&op.dest, &op.cwd), &flags)
}

fn print_add(f: &mut fmt::Formatter<'_>, op: &AddOp) -> fmt::Result {
    for source in &op.sources {
        match source {
            AddSource::Local(path) => writeln!(f, "      add {} from context", quote(path))?,
            AddSource::Url(RemoteFile { url, file_name, checksum }) => {
                write!(f, "      add {} as {}", Plain(url), quote(file_name))?;
                if let Some(checksum) = checksum {
                    write!(f, ", checksum {checksum}")?;
                }
                f.write_str("\n")?;
            }
            AddSource::Git(git) => writeln!(f, "      add git {}", Plain(&git.to_string()))?,
        }
    }
    let flags = Flags {
        chown: op.chown.as_ref(),
        chmod: op.chmod.as_ref(),
        link: op.link,
        parents: false,
        exclude: &op.exclude,
        unpack: op.unpack,
    };
    print_target(f, &op.inline, (&op.dest, &op.cwd), &flags)
}

fn print_run(f: &mut fmt::Formatter<'_>, op: &RunOp) -> fmt::Result {
    writeln!(f, "      run {} as {} in {}", Words(&op.argv), user(&op.user), Plain(&op.cwd))?;
    for (name, value) in &op.env {
        writeln!(f, "      with {}={}", Plain(name), Plain(value))?;
    }
    for (name, _) in &op.proxy {
        writeln!(f, "      with {} of the caller", Plain(name))?;
    }
    if let Some(script) = &op.script {
        writeln!(f, "      script {} {}", Plain(&script.name), quote(&script.content))?;
    }
    for mount in &op.mounts {
        writeln!(f, "      mount {}", Plain(&mount.to_string()))?;
    }
    match op.network {
        RunNetwork::Default => {}
        RunNetwork::None => writeln!(f, "      network none")?,
        RunNetwork::Host => writeln!(f, "      network host")?,
    }
    match op.security {
        RunSecurity::Sandbox => {}
        RunSecurity::Insecure => writeln!(f, "      security insecure")?,
    }
    for device in &op.devices {
        let need = if device.required { ", required" } else { "" };
        writeln!(f, "      device {}{need}", Plain(&device.name))?;
    }
    Ok(())
}

impl fmt::Display for MountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountSource::Context => f.write_str("context"),
            MountSource::Stage(id) => write!(f, "stage {id}"),
            MountSource::Image(id) => write!(f, "image {id}"),
            MountSource::Scratch => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for MountSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writable = |read_only: bool| if read_only { "read-only" } else { "writable" };
        let needed = |required: bool| if required { ", required" } else { "" };
        match self {
            MountSpec::Bind { from, source, target, read_only } => {
                write!(f, "bind {source} of {from} at {target}, {}", writable(*read_only))
            }
            MountSpec::Cache { id, from, source, target, sharing, read_only, mode, uid, gid } => {
                let sharing = match sharing {
                    CacheSharing::Shared => "shared",
                    CacheSharing::Private => "private",
                    CacheSharing::Locked => "locked",
                };
                let access = writable(*read_only);
                write!(f, "cache {id} at {target}, {sharing}, {access}, {mode:04o} {uid}:{gid}")?;
                write!(f, ", filled with {source} of {from}")
            }
            MountSpec::Tmpfs { target, size } => {
                write!(f, "tmpfs at {target}")?;
                size.map_or(Ok(()), |size| write!(f, ", {size} bytes"))
            }
            MountSpec::Secret { id, target, env, required, mode, uid, gid } => {
                write!(f, "secret {id}{}", needed(*required))?;
                if let Some(target) = target {
                    write!(f, " at {target}, {mode:04o} {uid}:{gid}")?;
                }
                env.as_ref().map_or(Ok(()), |env| write!(f, " in {env}"))
            }
            MountSpec::Ssh { id, target, required, mode, uid, gid } => {
                write!(f, "ssh {id}{}", needed(*required))?;
                if let Some(target) = target {
                    write!(f, " at {target}")?;
                }
                write!(f, ", {mode:04o} {uid}:{gid}")
            }
        }
    }
}
