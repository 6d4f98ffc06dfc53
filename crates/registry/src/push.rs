//! One blob into a repository: looked for, mounted, or uploaded.

use http::{Method, StatusCode};
use oci::{Descriptor, Digest, Reference};
use transport::Request;
use url::Url;

use crate::client::{Client, upload_url};
use crate::content::Content;
use crate::endpoint::{Endpoint, Scopes, push_scope};
use crate::error::Cause;
use crate::progress::{Progress, Transfer};
use crate::source::{BlobOrigin, BlobSource};
use crate::upload::Upload;
use crate::{Error, Result};

impl Client {
    /// Puts one blob into the repository, unless it is there or can be mounted. A blob that several
    /// tasks push at once is sent once.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: &dyn BlobSource,
        progress: &dyn Progress,
    ) -> Result<()> {
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let object = format!("{repository}@{}", descriptor.digest);
        let fail = |cause: Cause| cause.while_trying("push blob", &object);
        let key = (repository, descriptor.digest.clone());
        let turn = self.pushing(&key);
        let _turn = turn.lock().await;
        let digest = descriptor.digest.clone();
        if self.knows(&key) {
            progress.transfer(Transfer::Existed { digest });
            return Ok(());
        }
        let _permit = self.permit().await;
        let origin = source.locate(descriptor).map_err(|error| fail(error.into()))?;
        let mut known = source.known_in(descriptor);
        if let BlobOrigin::Registry(from) = &origin {
            known.push(from.clone());
        }
        known.extend(self.holder(reference.registry(), &descriptor.digest));
        known.retain(|from| {
            from.registry() == reference.registry() && from.repository() != reference.repository()
        });
        let upload = Upload {
            endpoint: &self.endpoint(reference.registry()).map_err(fail)?,
            sessions: self.sessions(),
            repository: reference.repository(),
            descriptor,
            content: self.content(origin, descriptor)?,
            object: &object,
            progress,
        };
        let outcome = upload.run(&known, self.options().chunk).await;
        self.sessions().cancel(&object).await;
        let outcome = outcome.map_err(fail)?;
        self.remember(key);
        progress.transfer(outcome);
        Ok(())
    }

    /// Takes a blob over from another repository of the same registry, if the registry will.
    pub async fn mount_blob(
        &self,
        to: &Reference,
        from: &Reference,
        digest: &Digest,
    ) -> Result<bool> {
        let object = format!("{}/{}@{digest}", to.registry(), to.repository());
        let fail = |cause: Cause| cause.while_trying("mount blob", &object);
        if to.registry() != from.registry() {
            return Ok(false);
        }
        let endpoint = self.endpoint(to.registry()).map_err(fail)?;
        let scopes = push_scope(to.repository(), &[from.repository()]);
        match mount(&endpoint, &scopes, to.repository(), from.repository(), digest).await {
            Mounted::Yes => {
                let repository = format!("{}/{}", to.registry(), to.repository());
                self.remember((repository, digest.clone()));
                Ok(true)
            }
            Mounted::Session(url) => {
                if let Ok(answer) = endpoint.send(&scopes, Request::new(Method::DELETE, url)).await
                {
                    answer.discard().await;
                }
                Ok(false)
            }
            Mounted::No => Ok(false),
        }
    }

    /// Ends the uploads that were begun and not finished: for whoever drops a push in the middle.
    /// Waits two seconds at most; registries purge what is left.
    pub async fn abandon_uploads(&self) {
        self.sessions().cancel_all().await;
    }

    fn content(&self, origin: BlobOrigin, descriptor: &Descriptor) -> Result<Content> {
        Ok(match origin {
            BlobOrigin::File(file) => Content::File(file),
            BlobOrigin::Bytes(bytes) => Content::Bytes(bytes),
            BlobOrigin::Registry(from) => Content::Place(self.place(&from, &descriptor.digest)?),
        })
    }
}

/// What came of asking for a mount.
pub(crate) enum Mounted {
    Yes,
    /// Not mounted, but the registry opened an upload instead.
    Session(Url),
    No,
}

/// Asks once: a mount that fails only costs an upload.
pub(crate) async fn mount(
    endpoint: &Endpoint,
    scopes: &Scopes,
    repository: &str,
    from: &str,
    digest: &Digest,
) -> Mounted {
    let asked = async {
        let mut url = endpoint.url(&format!("{repository}/blobs/uploads/")).await?;
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
        endpoint.expect(scopes, Request::new(Method::POST, url)).await
    };
    match asked.await {
        Ok(response) if response.status() == StatusCode::CREATED => Mounted::Yes,
        Ok(response) => upload_url(&response).map_or(Mounted::No, Mounted::Session),
        Err(cause) => {
            tracing::debug!(%repository, %from, %digest, %cause, "not mounted");
            Mounted::No
        }
    }
}

impl From<Error> for Cause {
    /// An operation inside another fails for the same reason.
    fn from(error: Error) -> Self {
        match error {
            Error::Failed { cause, .. } => *cause,
            Error::Setup { source, .. } => Self::Transport(source),
            Error::GaveUp { source, .. } | Error::NoStandIn { source, .. } => (*source).into(),
            refused @ Error::Refused { .. } => Self::Protocol(refused.to_string()),
        }
    }
}
