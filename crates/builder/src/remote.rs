//! What ADD fetches: files from the web, and git repositories.

use context::{Checksum, Cloned, Download, GitSource};
use plan::{GitRef, RemoteFile};
use rootfs::{RootDir, RootPath};

use crate::error::StepError;
use crate::stage::Executor;

/// The largest file that ADD downloads.
const LARGEST: u64 = 64 << 30;

impl Executor<'_> {
    /// Downloads a file into an empty directory; returns its place there.
    pub(crate) fn download(
        &self,
        file: &RemoteFile,
        into: &RootDir,
    ) -> Result<RootPath, StepError> {
        let checksum = file.checksum.as_ref().map(|digest| Checksum::parse(digest.as_str()));
        let download = Download {
            url: file.url.clone(),
            checksum: checksum.transpose().map_err(StepError::Checksum)?,
            limit: LARGEST,
            retry: self.request.pull.retry,
        };
        let path = RootPath::root().join(&file.file_name)?;
        let http = transport::Http::new(&self.request.pull.http).map_err(StepError::Http)?;
        let work = context::download(&http, &download, into, &path);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = crate::build::stopped(self.stop) => Err(StepError::Stopped),
                done = work => Ok(done?),
            }
        })?;
        Ok(path)
    }

    /// Checks a repository out into a directory that is not there yet.
    pub(crate) fn check_out(&self, git: &GitRef, name: &str) -> Result<Cloned, StepError> {
        if git.mtime == Some(plan::gitref::CheckoutTime::Commit) {
            return Err(StepError::NotImplemented("`mtime=commit` of a git source"));
        }
        let source = git_source(git);
        let directory = self.workspace.path().join(name);
        Ok(context::clone_git(&source, &self.request.pull.http, &directory, self.stop)?)
    }
}

/// What is asked of a repository.
pub(crate) fn git_source(git: &GitRef) -> GitSource {
    GitSource {
        remote: git.remote.clone(),
        reference: git.reference.clone(),
        subdir: git.subdir.clone(),
        checksum: git.checksum.clone(),
        keep_git_dir: git.keep_git_dir.unwrap_or(false),
        skip_submodules: git.submodules == Some(false),
    }
}
