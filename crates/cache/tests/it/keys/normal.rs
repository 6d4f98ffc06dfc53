//! A step less all that must not be in its key. Says what the table of `key.rs` says, in other words.
//!
//! Every struct is taken apart without `..`: what is new must be put on one side or the other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use cache::Source;
use plan::{AddOp, AddSource, CopyOp, CopySource, GitRef, MountSource, MountSpec, Op, RunOp};

use super::Case;

/// Equal for two cases exactly if their keys are to be.
pub(super) fn of(case: &Case) -> u64 {
    let Case { op, state, sources, writer } = case;
    let mut hash = DefaultHasher::new();
    let alone = match op {
        Op::Config(_) => panic!("a step of these tests makes a layer"),
        Op::Workdir(op) => {
            ("WORKDIR", op).hash(&mut hash);
            false
        }
        Op::Copy(op) => {
            copy(op, &mut hash);
            op.link && is_numeric(op.chown.as_deref())
        }
        Op::Add(op) => {
            add(op, &mut hash);
            op.link && is_numeric(op.chown.as_deref())
        }
        Op::Run(op) => {
            run(op, &mut hash);
            false
        }
    };
    (!alone).then_some(state).hash(&mut hash);
    sources.len().hash(&mut hash);
    for source in sources {
        match source {
            Source::Content { label, hash: content } => ("content", label, content).hash(&mut hash),
            Source::Early { label, kind, value } => ("early", label, kind, value).hash(&mut hash),
        }
    }
    (&writer.compression, writer.epoch).hash(&mut hash);
    hash.finish()
}

/// The owners of these tests that need not be looked up in the image.
fn is_numeric(chown: Option<&str>) -> bool {
    matches!(chown, None | Some("" | "1" | "12" | "1:2" | ":" | ":2"))
}

/// A relative destination is below the working directory.
fn base<'c>(dest: &str, cwd: &'c str) -> Option<&'c str> {
    (!dest.starts_with('/')).then_some(cwd)
}

fn copy(op: &CopyOp, hash: &mut DefaultHasher) {
    let CopyOp { from, sources, inline, dest, cwd, chown, chmod, link, parents, exclude } = op;
    let from = match from {
        CopySource::Context => 0,
        CopySource::Stage(_) | CopySource::Image(_) => 1,
        CopySource::Scratch => 2,
    };
    ("COPY", from, sources, inline, dest, base(dest, cwd)).hash(hash);
    (chown, chmod, link, parents, exclude).hash(hash);
}

fn add(op: &AddOp, hash: &mut DefaultHasher) {
    let AddOp { sources, inline, dest, cwd, chown, chmod, link, exclude, unpack } = op;
    ("ADD", sources.len(), inline, dest, base(dest, cwd)).hash(hash);
    (chown, chmod, link, exclude, unpack).hash(hash);
    for source in sources {
        match source {
            AddSource::Local(_) | AddSource::Url(_) => source.hash(hash),
            AddSource::Git(git) => {
                let GitRef {
                    remote,
                    short_name,
                    reference,
                    checksum,
                    subdir,
                    indistinguishable_from_local: _,
                    unencrypted_tcp: _,
                    keep_git_dir,
                    submodules,
                    mtime,
                    fetch_by_commit: _,
                } = git;
                ("git", remote, short_name, reference, checksum, subdir).hash(hash);
                (keep_git_dir, submodules, mtime).hash(hash);
            }
        }
    }
}

fn run(op: &RunOp, hash: &mut DefaultHasher) {
    let RunOp {
        argv,
        env,
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
    ("RUN", argv, env, cwd, user, hostname, script).hash(hash);
    (network, security, devices, mounts.len()).hash(hash);
    for mount in mounts {
        match mount {
            MountSpec::Bind { from, source, target, read_only } => {
                ("bind", place(from), source, target, read_only).hash(hash);
            }
            MountSpec::Cache { id, from, source, target, sharing, read_only, mode, uid, gid } => {
                ("cache", id, place(from), source, target, sharing, read_only).hash(hash);
                (mode, uid, gid).hash(hash);
            }
            MountSpec::Tmpfs { .. } | MountSpec::Secret { .. } | MountSpec::Ssh { .. } => {
                mount.hash(hash);
            }
        }
    }
}

/// Which stage or image it is, is said by what stands for the source.
fn place(from: &MountSource) -> u8 {
    match from {
        MountSource::Context => 0,
        MountSource::Stage(_) | MountSource::Image(_) => 1,
        MountSource::Scratch => 2,
    }
}
