//! A repository's files at one commit, for `ADD <git ref>` and git contexts. No git binary is
//! needed, and none of the machine's git configuration is looked at.
//!
//! Over http, https and git://. What other schemes would need (a shell, keys, programs) is refused
//! by name.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gix::error::ResultExt as _;
use gix::protocol::transport::client::blocking_io::http;
use rootfs::{FileKind, Protected, RootDir, RootPath};
use sys::StopHandle;
use transport::Settings;

use crate::reference::Wanted;
use crate::{Error, Result};

/// Submodules of submodules, so deep and no deeper.
const DEEPEST: usize = 8;
/// No repository needs more submodules.
const MOST_SUBMODULES: usize = 1000;
const GIT_DIR: &str = ".git";

/// A repository and what is wanted of it.
#[derive(Clone, Debug, Default)]
pub struct GitSource {
    /// The repository's address.
    pub remote: String,
    /// A branch, a tag, a full reference name or a full commit id; the default branch if absent.
    pub reference: Option<String>,
    /// The directory inside the repository.
    pub subdir: Option<String>,
    /// The commit it must be, or the beginning of its id.
    pub checksum: Option<String>,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// Whether submodules are left alone.
    pub skip_submodules: bool,
}

impl GitSource {
    /// Fails if `commit` is not the one it must be.
    pub(crate) fn check(&self, commit: &str) -> Result<(), GitFault> {
        match &self.checksum {
            Some(expected) if !is_prefix(expected, commit) => {
                Err(GitFault::Checksum { expected: expected.clone(), found: commit.to_owned() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Files of a repository.
#[derive(Clone, Debug)]
pub struct Cloned {
    /// The files: the repository's, or of the directory that was asked for.
    pub root: RootDir,
    /// The commit, the full id.
    pub commit: String,
}

/// Why a repository's files cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitFault {
    /// The scheme needs what we do not do.
    #[error("the scheme `{0}` is not supported, only http, https and git")]
    Scheme(String),
    /// The address is none.
    #[error("it is no address of a repository")]
    Address,
    /// The server has no such reference.
    #[error("repository does not contain ref {0}")]
    NoReference(String),
    /// The commit is another one.
    #[error("expected checksum to match {expected}, got {found}")]
    Checksum {
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The directory is not there, or is no directory.
    #[error("the repository has no directory `{0}`")]
    Subdir(String),
    /// Some files could not be written.
    #[error("{0} files could not be checked out")]
    Checkout(usize),
    /// A submodule cannot be placed where the repository wants it.
    #[error("the path of submodule `{0}` is not a directory of the repository")]
    SubmodulePlace(String),
    /// There are too many submodules, or they nest too deep.
    #[error("the repository has too many submodules")]
    TooManySubmodules,
    /// A submodule failed.
    #[error("cannot fetch submodule `{name}`")]
    Submodule {
        /// Its path.
        name: String,
        /// Why.
        #[source]
        source: Box<GitFault>,
    },
    /// The build was stopped.
    #[error("the build was stopped")]
    Stopped,
    /// The protocol or the objects failed.
    #[error("{action} failed")]
    Git {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The files cannot be handled.
    #[error(transparent)]
    Root(#[from] rootfs::Error),
}

/// Fetches one commit, without its history, and checks it out into `directory`, which must be empty
/// or missing. Blocks.
pub fn clone_git(
    source: &GitSource,
    settings: &Settings,
    directory: &Path,
    stop: &StopHandle,
) -> Result<Cloned> {
    carry_out(source, settings, stop, |work| work.run(source, directory))
}

/// Does some work with a repository that the build's end ends too.
pub(crate) fn carry_out<T>(
    source: &GitSource,
    settings: &Settings,
    stop: &StopHandle,
    act: impl FnOnce(&Work<'_>) -> Result<T, GitFault>,
) -> Result<T> {
    let interrupt = AtomicBool::new(stop.is_stopped());
    let done = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        // gix looks at a flag of its own kind.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if stop.wait(Duration::from_millis(50)) {
                    interrupt.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
        let outcome = act(&Work { settings, interrupt: &interrupt });
        done.store(true, Ordering::Relaxed);
        if interrupt.load(Ordering::Relaxed) { Err(GitFault::Stopped) } else { outcome }
    });
    let remote = || shown(&source.remote);
    outcome.map_err(|source| Error::Git { remote: remote(), source: Box::new(source) })
}

/// The address without what may be secret.
fn shown(remote: &str) -> String {
    match url::Url::parse(remote) {
        Ok(url) => transport::shown_url(&url),
        Err(_) => transport::printable(remote, 200),
    }
}

/// What it takes to talk to servers.
pub(crate) struct Work<'a> {
    settings: &'a Settings,
    interrupt: &'a AtomicBool,
}

impl Work<'_> {
    fn run(&self, source: &GitSource, directory: &Path) -> Result<Cloned, GitFault> {
        let url = parse(&source.remote)?;
        let revision = Wanted::by(source).revision(self, &url, directory)?;
        let repository = self.fetch(url, &revision, directory)?;
        let commit = repository.head_id().map_err(failed("reading the commit"))?.to_string();
        source.check(&commit)?;
        let root = RootDir::open(directory)?;
        if !source.skip_submodules {
            let mut count = 0;
            self.submodules(&repository, &root, directory, source.keep_git_dir, 0, &mut count)?;
        }
        drop(repository);
        if !source.keep_git_dir {
            remove_git_dir(&root)?;
        }
        let root = match source.subdir.as_deref().filter(|subdir| !subdir.is_empty()) {
            None => root,
            Some(subdir) => {
                let no_such = |_| GitFault::Subdir(subdir.to_owned());
                let path = RootPath::new(subdir).map_err(no_such)?;
                root.resolve_existing(&path).and_then(|path| root.subdir(&path)).map_err(no_such)?
            }
        };
        Ok(Cloned { root, commit })
    }

    fn fetch(
        &self,
        url: gix::Url,
        revision: &str,
        directory: &Path,
    ) -> Result<gix::Repository, GitFault> {
        let action = "fetching the commit";
        let shallow = gix::remote::fetch::Shallow::DepthAtRemote(std::num::NonZeroU32::MIN);
        let options = self.transport_options_maker();
        let mut prepare = gix::clone::PrepareFetch::new(
            url,
            directory,
            gix::create::Kind::WithWorktree,
            gix::create::Options::default(),
            gix::open::Options::isolated(),
        )
        .and_then(|prepare| prepare.with_revision(Some(revision)))
        .map_err(failed("preparing the repository"))?
        .with_shallow(shallow)
        .configure_connection(move |connection| {
            connection.set_credentials(|_| Ok(None));
            connection.set_transport_options(options());
            Ok(())
        });
        let (mut checkout, _) = prepare
            .fetch_then_checkout(gix::progress::Discard, self.interrupt)
            .map_err(failed(action))?;
        let (repository, outcome) = checkout
            .main_worktree(gix::progress::Discard, self.interrupt)
            .map_err(failed("checking out the files"))?;
        // An interrupted checkout is no error to gix; `clone_git` looks at the flag.
        let broken = outcome.errors.len() + outcome.collisions.len();
        if broken > 0 { Err(GitFault::Checkout(broken)) } else { Ok(repository) }
    }

    fn submodules(
        &self,
        repository: &gix::Repository,
        root: &RootDir,
        directory: &Path,
        keep_git_dir: bool,
        depth: usize,
        count: &mut usize,
    ) -> Result<(), GitFault> {
        let action = "reading the submodules";
        let Some(modules) = repository.submodules().map_err(failed(action))? else {
            return Ok(());
        };
        for module in modules {
            // One that no commit is recorded for is not part of this tree.
            let Some(commit) = module.index_id().map_err(failed(action))? else { continue };
            *count += 1;
            if *count > MOST_SUBMODULES || depth >= DEEPEST {
                return Err(GitFault::TooManySubmodules);
            }
            let path = module.path().map_err(failed(action))?;
            let name = transport::printable(&path.to_string(), 200);
            let fetched = (|| {
                let url = module.resolved_url().map_err(failed(action))?;
                let url = parse(&url.to_bstring().to_string())?;
                let place = submodule_place(root, &path, &name)?;
                let below = directory.join(os_path(place.relative()));
                let inner = self.fetch(url, &commit.to_string(), &below)?;
                let inner_root = RootDir::open(&below)?;
                self.submodules(&inner, &inner_root, &below, keep_git_dir, depth + 1, count)?;
                drop(inner);
                if !keep_git_dir {
                    remove_git_dir(&inner_root)?;
                }
                Ok(())
            })();
            fetched.map_err(|source| GitFault::Submodule { name, source: Box::new(source) })?;
        }
        Ok(())
    }

    pub(crate) fn transport_options(&self) -> Box<dyn std::any::Any> {
        self.transport_options_maker()()
    }

    /// Our certificate authorities, proxies, resolver and time-outs instead of git's.
    fn transport_options_maker(&self) -> impl Fn() -> Box<dyn std::any::Any> + 'static {
        let settings = self.settings.clone();
        move || {
            let settings = settings.clone();
            let backend = http::reqwest::Options {
                configure_client: Some(Box::new(move |builder| {
                    transport::configure_blocking_client(builder, &settings).or_error()
                })),
                configure_request: None,
            };
            let backend: Arc<Mutex<dyn std::any::Any + Send + Sync>> =
                Arc::new(Mutex::new(backend));
            Box::new(http::Options { backend: Some(backend), ..http::Options::default() })
        }
    }
}

pub(crate) fn parse(remote: &str) -> Result<gix::Url, GitFault> {
    let url = gix::url::parse(remote).map_err(|_| GitFault::Address)?;
    match url.scheme {
        gix::url::Scheme::Http | gix::url::Scheme::Https | gix::url::Scheme::Git => Ok(url),
        // A local path, too: a submodule's could name any directory of the builder's.
        ref other => Err(GitFault::Scheme(transport::printable(other.as_str(), 40))),
    }
}

/// Where a submodule goes: an empty directory that the checkout made, reached through directories
/// only. A link on the way would lead out of the tree.
fn submodule_place(root: &RootDir, path: &[u8], name: &str) -> Result<RootPath, GitFault> {
    let misplaced = || GitFault::SubmodulePlace(name.to_owned());
    let wanted = RootPath::new(path)?;
    let is_plain = wanted.relative() == path && !wanted.is_root();
    let inside_git = wanted.components().any(|part| part.eq_ignore_ascii_case(GIT_DIR.as_bytes()));
    if !is_plain || inside_git {
        return Err(misplaced());
    }
    for part in wanted.ancestors().chain([wanted.clone()]) {
        match root.metadata_opt(&part)? {
            Some(metadata) if metadata.kind == FileKind::Directory => {}
            Some(_) | None => return Err(misplaced()),
        }
    }
    Ok(wanted)
}

fn os_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

fn remove_git_dir(root: &RootDir) -> Result<(), GitFault> {
    Ok(root.remove_tree(&RootPath::new("/.git")?, &Protected::none()).map(drop)?)
}

fn is_prefix(prefix: &str, commit: &str) -> bool {
    prefix.len() >= 7 && commit.starts_with(&prefix.to_ascii_lowercase())
}

pub(crate) fn failed<E>(action: &'static str) -> impl FnOnce(E) -> GitFault
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| GitFault::Git { action, source: source.into() }
}
