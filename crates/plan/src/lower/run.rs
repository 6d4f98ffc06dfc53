//! `RUN`: the program, its environment, and what is mounted for it.

use std::collections::BTreeMap;

use dockerfile::word::{EmptyEnv, Options};
use dockerfile::{CommandLine, Mount, MountKind, Run, word};

use super::stage::{Outcome, Stage};
use crate::error::{Error, ErrorKind};
use crate::graph::Source;
use crate::model::{
    CacheSharing, Device, HistoryKind, InlineFile, MountSource, MountSpec, Op, RunNetwork, RunOp,
    RunSecurity, Selection, StepInput,
};
use crate::options::Entitlement;
use crate::text::{clean_absolute, join, list};
use crate::variables::proxies;

const SECRET_MODE: u32 = 0o400;
const SSH_MODE: u32 = 0o600;
const CACHE_MODE: u32 = 0o755;
const HOSTNAME: &str = "buildkitsandbox";

impl Stage<'_> {
    pub(super) fn run(&mut self, run: &Run, sources: &[Option<Source>]) -> Result<Outcome, Error> {
        self.spend(self.variables.len() + self.args.len())?;
        let mounts = self.resolve_mounts(run)?;
        let (argv, script) = self.run_argv(run)?;
        let created_by = format!("RUN {} # buildkit", self.run_text(&argv));
        let mut specs = Vec::with_capacity(mounts.len());
        for (mount, source) in mounts.into_iter().zip(sources) {
            specs.push(self.mount_spec(mount, source.as_ref())?);
        }
        let op = RunOp {
            argv,
            env: self.variables.pairs(),
            proxy: self.undeclared_proxies(),
            cwd: self.cwd(),
            user: self.image.config.user.clone(),
            hostname: self.option("BUILDKIT_SANDBOX_HOSTNAME").unwrap_or(HOSTNAME).to_owned(),
            script,
            mounts: specs,
            network: run.network.map_or(RunNetwork::Default, RunNetwork::from),
            security: run.security.map_or(RunSecurity::Sandbox, RunSecurity::from),
            devices: run
                .devices
                .iter()
                .map(|device| Device { name: device.name.clone(), required: device.required })
                .collect(),
        };
        self.require_all(&op)?;
        let inputs = op.mounts.iter().filter_map(input).collect();
        Ok(Outcome { op: Op::Run(op), inputs, created_by, history: HistoryKind::Layer })
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.graph.options.build_arg(name).filter(|value| !value.is_empty())
    }

    /// Refuses what a step asks for and cannot get yet.
    fn require_all(&self, op: &RunOp) -> Result<(), Error> {
        for mount in &op.mounts {
            self.require(match mount {
                MountSpec::Bind { .. } => "RUN --mount=type=bind",
                MountSpec::Cache { .. } => "RUN --mount=type=cache",
                MountSpec::Tmpfs { .. } => "RUN --mount=type=tmpfs",
                MountSpec::Secret { .. } => "RUN --mount=type=secret",
                MountSpec::Ssh { .. } => "RUN --mount=type=ssh",
            })?;
        }
        self.require(match op.network {
            RunNetwork::Default => "RUN --network=default",
            RunNetwork::None => "RUN --network=none",
            RunNetwork::Host => "RUN --network=host",
        })?;
        self.require(match op.security {
            RunSecurity::Sandbox => "RUN --security=sandbox",
            RunSecurity::Insecure => "RUN --security=insecure",
        })?;
        if !op.devices.is_empty() {
            self.require("RUN --device")?;
        }
        self.allow_all(op)
    }

    /// Refuses what the operator has not granted, whether the plan is carried out or only shown.
    fn allow_all(&self, op: &RunOp) -> Result<(), Error> {
        let network = (op.network == RunNetwork::Host).then_some(Entitlement::NetworkHost);
        let security =
            (op.security == RunSecurity::Insecure).then_some(Entitlement::SecurityInsecure);
        let devices = op.devices.iter().map(|device| Entitlement::Device(device.name.clone()));
        let mut asked = network.into_iter().chain(security).chain(devices);
        match asked.find(|asked| !self.graph.options.allows(asked)) {
            Some(asked) => Err(self.error(ErrorKind::NotAllowed(asked))),
            None => Ok(()),
        }
    }

    /// The program, and the file it is where a here-document begins with `#!`.
    fn run_argv(&self, run: &Run) -> Result<(Vec<String>, Option<InlineFile>), Error> {
        let text = match &run.command {
            CommandLine::Shell(text) => text,
            CommandLine::Exec(argv) if run.heredocs.is_empty() => return Ok((argv.clone(), None)),
            CommandLine::Exec(argv) => {
                return Err(self.error(ErrorKind::RunHeredoc(list(argv))));
            }
        };
        let Some(first) = run.heredocs.first() else {
            return Ok((self.with_shell(text), None));
        };
        if is_one_heredoc(text) {
            let body = first.body();
            if body.starts_with("#!") && self.image.os != "windows" {
                let script = self.file(&first.name, body)?;
                let path = clean_absolute(&format!("/dev/pipes/{}", script.name));
                return Ok((self.with_shell(&path), Some(script)));
            }
            return Ok((self.with_shell(&body), None));
        }
        // Anything else is for the shell, which gets the documents back.
        let mut whole = text.clone();
        for heredoc in &run.heredocs {
            whole.push('\n');
            whole.push_str(&heredoc.content);
            whole.push_str(&heredoc.name);
        }
        Ok((self.with_shell(&whole), None))
    }

    /// `|2 A=1 B= /bin/sh -c …`: the arguments in scope, then the program.
    fn run_text(&self, argv: &[String]) -> String {
        let mut shown: Vec<(&str, &str)> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, declared) in &self.args {
            let declared = declared.as_deref().unwrap_or("");
            let value = self.variables.value(name).unwrap_or(declared);
            match places.get(name.as_str()) {
                Some(place) => shown[*place].1 = value,
                None => {
                    places.insert(name, shown.len());
                    shown.push((name, value));
                }
            }
        }
        let mut words = Vec::with_capacity(shown.len() + argv.len() + 1);
        if !shown.is_empty() {
            words.push(format!("|{}", shown.len()));
        }
        words.extend(shown.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(argv.iter().cloned());
        words.join(" ")
    }

    /// A proxy argument that is declared is an ordinary one.
    fn undeclared_proxies(&self) -> Vec<(String, String)> {
        let mut found = proxies(&self.graph.options);
        found.retain(|(name, _)| self.variables.value(name).is_none());
        found
    }

    fn resolve_mounts(&mut self, run: &Run) -> Result<Vec<Mount>, Error> {
        let mut mounts = Vec::with_capacity(run.mounts.len());
        for flag in &run.mounts {
            let mut unmatched = std::collections::BTreeSet::new();
            let (variables, escape) = (&self.variables, self.graph.escape);
            let mount = flag.resolve(&mut |text| {
                let expanded = word::expand(text, variables, escape)?;
                unmatched.extend(expanded.unmatched);
                Ok(expanded.text)
            });
            self.note_undefined(&unmatched);
            mounts.push(mount.map_err(|error| self.error(error))?);
        }
        Ok(mounts)
    }

    fn mount_source(&self, mount: &Mount, source: Option<&Source>) -> Result<MountSource, Error> {
        match source {
            None if mount.kind == MountKind::Cache => Ok(MountSource::Scratch),
            None => Ok(MountSource::Context),
            Some(Source::Scratch) => Ok(MountSource::Scratch),
            Some(Source::Image(request)) => Ok(MountSource::Image(request.id.clone())),
            Some(Source::Stage(id)) if *id < self.id => Ok(MountSource::Stage(*id)),
            Some(Source::Stage(id)) => Err(self.error(ErrorKind::MountOrder {
                from: mount.from.clone().unwrap_or_else(|| self.label_of(*id)),
                target: mount.target.clone().unwrap_or_default(),
            })),
        }
    }

    fn mount_spec(&self, mount: Mount, source: Option<&Source>) -> Result<MountSpec, Error> {
        let from = self.mount_source(&mount, source)?;
        let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        match mount.kind {
            MountKind::Bind => Ok(MountSpec::Bind {
                from,
                source: inside(mount.source.as_deref()),
                target: self.mount_target(mount.target.as_deref())?,
                read_only: mount.read_only,
            }),
            MountKind::Cache => {
                let written = mount.target.as_deref();
                Ok(MountSpec::Cache {
                    id: self.cache_id(mount.id.as_deref(), written),
                    from,
                    source: inside(mount.source.as_deref()),
                    target: self.mount_target(written)?,
                    sharing: mount.sharing.map_or(CacheSharing::Shared, CacheSharing::from),
                    read_only: mount.read_only,
                    mode: mount.mode.unwrap_or(CACHE_MODE),
                    uid,
                    gid,
                })
            }
            MountKind::Tmpfs => Ok(MountSpec::Tmpfs {
                target: self.mount_target(mount.target.as_deref())?,
                size: mount.size,
            }),
            MountKind::Secret => {
                let named = mount.source.or(mount.id);
                let base = |path: &str| path.rsplit('/').next().unwrap_or("").to_owned();
                let id = named.unwrap_or_else(|| {
                    base(mount.target.as_deref().unwrap_or("").trim_end_matches('/'))
                });
                let target = mount.target.map(|target| join(&self.cwd(), &target));
                let default = || format!("/run/secrets/{}", base(&id));
                Ok(MountSpec::Secret {
                    target: target.or_else(|| mount.env.is_none().then(default)),
                    id,
                    env: mount.env,
                    required: mount.required,
                    mode: mount.mode.unwrap_or(SECRET_MODE),
                    uid,
                    gid,
                })
            }
            MountKind::Ssh => {
                if mount.source.is_some() {
                    return Err(self.error(ErrorKind::SshSource));
                }
                Ok(MountSpec::Ssh {
                    id: mount.id.unwrap_or_else(|| "default".to_owned()),
                    target: mount.target.map(|target| join(&self.cwd(), &target)),
                    required: mount.required,
                    mode: mount.mode.unwrap_or(SSH_MODE),
                    uid,
                    gid,
                })
            }
        }
    }

    /// Below the working directory where it is relative; `/` would hide everything.
    fn mount_target(&self, target: Option<&str>) -> Result<String, Error> {
        let target = join(&self.cwd(), target.unwrap_or(""));
        if target == "/" {
            return Err(self.error(ErrorKind::MountTarget(target)));
        }
        Ok(target)
    }

    /// A cache is known by its id, else by its target as it is written.
    fn cache_id(&self, id: Option<&str>, target: Option<&str>) -> String {
        let id = id.map_or_else(|| clean(target.unwrap_or("")), str::to_owned);
        match self.option("BUILDKIT_CACHE_MOUNT_NS") {
            Some(namespace) => format!("{namespace}/{id}"),
            None => id,
        }
    }
}

/// A path inside what a mount comes from.
fn inside(source: Option<&str>) -> String {
    clean_absolute(source.unwrap_or(""))
}

/// `path.Clean`, which keeps a relative path relative.
fn clean(path: &str) -> String {
    if path.starts_with('/') {
        return clean_absolute(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// Whether the whole text is one here-document's word, `3<<-EOF`.
fn is_one_heredoc(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else { return false };
    let name = rest.strip_prefix('-').unwrap_or(rest);
    let name = name.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
    if name.is_empty() || name.contains('<') {
        return false;
    }
    let options = Options { skip_unset: true, ..Options::new('\\') };
    options.expand(name, &EmptyEnv).is_ok_and(|expanded| expanded.words.len() == 1)
}

fn input(mount: &MountSpec) -> Option<StepInput> {
    let (from, source) = match mount {
        MountSpec::Bind { from, source, .. } | MountSpec::Cache { from, source, .. } => {
            (from, source)
        }
        MountSpec::Tmpfs { .. } | MountSpec::Secret { .. } | MountSpec::Ssh { .. } => return None,
    };
    let selection =
        Selection { sources: vec![source.clone()], exclude: Vec::new(), parents: false };
    match from {
        MountSource::Context => Some(StepInput::Context(selection)),
        MountSource::Stage(id) => Some(StepInput::Stage(*id, selection)),
        MountSource::Image(id) => Some(StepInput::Image(id.clone(), selection)),
        MountSource::Scratch => None,
    }
}
