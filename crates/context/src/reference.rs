//! Which commit of a repository is meant: names by git's rules, and what they stand for at the server.
//!
//! One set of rules for who checks a commit out and for who only asks which one it would be.

use std::path::Path;

use rootfs::{Protected, RootDir, RootPath};
use sys::StopHandle;
use transport::Settings;

use crate::Result;
use crate::git::{GitFault, GitSource, Work, carry_out, failed, parse};

const HEAD: &str = "HEAD";

/// The commit that [`clone_git`](crate::clone_git) would check out now, the full id. A source that
/// names a commit is not asked for. Blocks; `directory`, which must be empty or missing, is where
/// the question is put together, and is empty or missing afterwards.
pub fn remote_commit(
    source: &GitSource,
    settings: &Settings,
    directory: &Path,
    stop: &StopHandle,
) -> Result<String> {
    carry_out(source, settings, stop, |work| {
        let url = parse(&source.remote)?;
        let commit = Wanted::by(source).commit(work, &url, directory)?;
        source.check(&commit)?;
        Ok(commit)
    })
}

/// What of a repository is wanted.
pub(crate) enum Wanted<'s> {
    /// A commit by its id.
    Commit(String),
    /// Whatever the server has checked out.
    Head,
    /// A name.
    Name(&'s str),
}

impl<'s> Wanted<'s> {
    pub(crate) fn by(source: &'s GitSource) -> Self {
        let Some(name) = source.reference.as_deref().filter(|name| !name.is_empty()) else {
            return Self::Head;
        };
        let is_id = matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id { Self::Commit(name.to_ascii_lowercase()) } else { Self::Name(name) }
    }

    /// What to ask the server for: a full name, or a commit.
    pub(crate) fn revision(
        self,
        work: &Work<'_>,
        url: &gix::Url,
        directory: &Path,
    ) -> Result<String, GitFault> {
        match self {
            Self::Commit(id) => Ok(id),
            // The server need not be asked: what it answers is the same name.
            Self::Head => Ok(HEAD.to_owned()),
            Self::Name(name) => Ok(choose(work, url, name, &candidates(name), directory)?.name),
        }
    }

    /// The commit that gives.
    fn commit(self, work: &Work<'_>, url: &gix::Url, directory: &Path) -> Result<String, GitFault> {
        let chosen = match self {
            Self::Commit(id) => return Ok(id),
            Self::Head => choose(work, url, HEAD, &[HEAD.to_owned()], directory)?,
            Self::Name(name) => choose(work, url, name, &candidates(name), directory)?,
        };
        Ok(chosen.commit.to_string())
    }
}

/// The full names that a short one can stand for. Branches go before tags, as in BuildKit.
fn candidates(name: &str) -> [String; 3] {
    let bare = name.strip_prefix("refs/").unwrap_or(name);
    [
        format!("refs/heads/{}", name.strip_prefix("refs/heads/").unwrap_or(name)),
        format!("refs/tags/{}", name.strip_prefix("refs/tags/").unwrap_or(name)),
        format!("refs/{bare}"),
    ]
}

/// A name that the server has.
struct Offered {
    name: String,
    /// The commit; for an annotated tag the one it is for.
    commit: gix::ObjectId,
}

/// The first of `candidates` that the server has.
fn choose(
    work: &Work<'_>,
    url: &gix::Url,
    name: &str,
    candidates: &[String],
    directory: &Path,
) -> Result<Offered, GitFault> {
    let mut offered = list(work, url, candidates, directory)?;
    let found = candidates
        .iter()
        .find_map(|candidate| offered.iter().position(|offered| offered.name == *candidate));
    match found {
        Some(found) => Ok(offered.swap_remove(found)),
        None => Err(GitFault::NoReference(transport::printable(name, 200))),
    }
}

/// What the server has under the names, and under longer ones.
fn list(
    work: &Work<'_>,
    url: &gix::Url,
    names: &[String],
    directory: &Path,
) -> Result<Vec<Offered>, GitFault> {
    let specs = names.iter().map(|name| {
        let spec = gix::refspec::parse(name.as_str().into(), gix::refspec::parse::Operation::Fetch);
        spec.map(|spec| spec.to_owned())
    });
    // A name that git does not allow is not there.
    let specs: Vec<_> = specs.filter_map(std::result::Result::ok).collect();
    // A repository is needed to talk from; this one is not written to.
    let scratch = directory.join("list");
    let made = std::fs::DirBuilder::new().recursive(true).create(&scratch);
    made.map_err(failed("making a directory"))?;
    let listed = list_from(work, url, specs, &scratch);
    let scratch = RootPath::new("/list")?;
    RootDir::open(directory)?.remove_tree(&scratch, &Protected::none())?;
    listed
}

fn list_from(
    work: &Work<'_>,
    url: &gix::Url,
    specs: Vec<gix::refspec::RefSpec>,
    scratch: &Path,
) -> Result<Vec<Offered>, GitFault> {
    let action = "listing the references";
    let repository = gix::ThreadSafeRepository::init_opts(
        scratch,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        gix::open::Options::isolated(),
    )
    .map_err(failed(action))?
    .to_thread_local();
    let remote = repository.remote_at(url.clone()).map_err(failed(action))?;
    let mut connection = remote.connect(gix::remote::Direction::Fetch).map_err(failed(action))?;
    connection.set_credentials(|_| Ok(None));
    connection.set_transport_options(work.transport_options());
    let options = gix::remote::ref_map::Options {
        prefix_from_spec_as_filter_on_remote: true,
        extra_refspecs: specs,
        ..Default::default()
    };
    let (map, _) = connection.ref_map(gix::progress::Discard, options).map_err(failed(action))?;
    let offered = map.remote_refs.iter().filter_map(|found| {
        let (name, target, peeled) = found.unpack();
        let commit = peeled.or(target)?.to_owned();
        Some(Offered { name: name.to_string(), commit })
    });
    Ok(offered.collect())
}
