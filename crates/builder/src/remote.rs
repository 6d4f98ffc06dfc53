//! What ADD fetches: files from the web, and git repositories.

use plan::{GitRef, RemoteFile};
use rootfs::{RootDir, RootPath};

use crate::error::StepError;
use crate::stage::Executor;

impl Executor<'_> {
    /// Downloads a file into an empty directory; returns its place there.
    pub(crate) fn download(
        &self,
        _file: &RemoteFile,
        _into: &RootDir,
    ) -> Result<RootPath, StepError> {
        Err(StepError::NotImplemented("ADD of a URL"))
    }

    /// Checks a repository out into an empty directory; returns the place of its files there.
    pub(crate) fn check_out(&self, _git: &GitRef, _into: &RootDir) -> Result<RootPath, StepError> {
        Err(StepError::NotImplemented("ADD of a git repository"))
    }
}
