//! Manifests: fetched by tag or digest, told apart, verified, and written.

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use oci::{Descriptor, Digest, MediaType, Reference};
use transport::{Body, Request, Retryable, printable};

use crate::Result;
use crate::client::{Client, Patience};
use crate::endpoint::{Endpoint, accept, pull_scope, push_scope};
use crate::error::Cause;

/// Registries must take 4 MiB; nobody needs more.
const MANIFEST_LIMIT: u64 = 4 << 20;
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// The digest as registries report it.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest's bytes and what they claim to be.
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) media_type: MediaType,
    pub(crate) digest: Digest,
}

impl Fetched {
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest.clone(), self.bytes.len() as u64)
    }
}

/// The part of a name that asks for one manifest: the digest where there is one.
fn selector(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

/// Fetches one manifest. One that was damaged on the way is fetched once more.
pub(crate) async fn fetch(
    endpoint: &Endpoint,
    reference: &Reference,
) -> std::result::Result<Fetched, Cause> {
    let path = format!("{}/manifests/{}", reference.repository(), selector(reference));
    let mut backoff = endpoint.retry.start(&path);
    let mut damaged = false;
    loop {
        match fetch_once(endpoint, reference, &path).await {
            Ok(fetched) => return Ok(fetched),
            Err(cause @ (Cause::Digest { .. } | Cause::Protocol(_))) if !damaged => {
                damaged = true;
                match backoff.pause(None) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(cause),
                }
            }
            Err(cause) => backoff.absorb(cause).await?,
        }
    }
}

async fn fetch_once(
    endpoint: &Endpoint,
    reference: &Reference,
    path: &str,
) -> std::result::Result<Fetched, Cause> {
    let scopes = pull_scope(reference.repository());
    let request = Request::new(Method::GET, endpoint.url(path).await?)
        .header(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    let response = endpoint.expect(&scopes, request).await?;
    let content_type = response.header(header::CONTENT_TYPE.as_str()).map(str::to_owned);
    let reported = response.header(CONTENT_DIGEST).map(str::to_owned);
    let bytes = response.bytes(MANIFEST_LIMIT).await?;
    let expected = match (reference.digest(), reported) {
        (Some(digest), _) => Some(digest.clone()),
        (None, Some(text)) => Digest::parse(&text).ok(),
        (None, None) => None,
    };
    let digest = match expected {
        Some(digest) if !digest.matches(&bytes) => {
            let found = Digest::sha256_of(&bytes).to_string();
            return Err(Cause::Digest { expected: digest, found });
        }
        Some(digest) => digest,
        None => Digest::sha256_of(&bytes),
    };
    let media_type = media_type(&bytes, content_type.as_deref())?;
    Ok(Fetched { bytes, media_type, digest })
}

/// What a document is. Header and document must agree where both speak: a document that two
/// readers take for different things is an attack (CVE-2021-41190).
fn media_type(bytes: &[u8], content_type: Option<&str>) -> std::result::Result<MediaType, Cause> {
    let json: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Cause::Protocol(format!("the manifest is not JSON ({error})")))?;
    let has = |key: &str| json.get(key).is_some();
    let inside = json["mediaType"].as_str();
    let outside = content_type
        .map(|text| text.split(';').next().unwrap_or_default().trim())
        .filter(|text| text.starts_with("application/vnd."));
    let said = match (outside, inside) {
        (Some(outside), Some(inside)) if outside != inside => {
            return Err(Cause::Protocol(format!(
                "the manifest is sent as `{}` and calls itself `{}`",
                printable(outside, 100),
                printable(inside, 100)
            )));
        }
        (Some(text), _) | (None, Some(text)) => MediaType::parse(text),
        (None, None) if has("manifests") => MediaType::OciIndex,
        (None, None) => MediaType::OciManifest,
    };
    let fits = (said.is_index() && has("manifests") && !has("layers") && !has("config"))
        || (said.is_manifest() && has("config") && has("layers") && !has("manifests"));
    if fits {
        return Ok(said);
    }
    let shown = printable(said.as_str(), 100);
    Err(Cause::Protocol(if said.is_index() || said.is_manifest() {
        format!("the manifest is sent as `{shown}`, but its fields are of another kind")
    } else {
        format!("the manifest has the media type `{shown}`, which is no image we can read")
    }))
}

impl Client {
    /// The digest of the bytes that the registry has under a name.
    pub(crate) async fn manifest_digest(
        &self,
        reference: &Reference,
    ) -> std::result::Result<Digest, Cause> {
        let endpoint = self.endpoint(reference.registry())?;
        let fetched = fetch(&endpoint, reference).await?;
        Ok(Digest::sha256_of(&fetched.bytes))
    }

    /// The digest that the registry tells of a name when it is asked for nothing else; `None` where it
    /// tells none, or none that can be one.
    pub(crate) async fn manifest_head(
        &self,
        reference: &Reference,
        patience: Patience,
    ) -> std::result::Result<Option<Digest>, Cause> {
        let endpoint = self.endpoint_with(reference.registry(), patience)?;
        let scopes = pull_scope(reference.repository());
        let path = format!("{}/manifests/{}", reference.repository(), selector(reference));
        transport::retry(&endpoint.retry, &path, || async {
            let request = Request::new(Method::HEAD, endpoint.url(&path).await?)
                .header(header::ACCEPT, HeaderValue::from_static(ACCEPT));
            let response = accept(endpoint.send(&scopes, request).await?).await?;
            let told = response.header(CONTENT_DIGEST).map(Digest::parse);
            Ok(told.and_then(std::result::Result::ok))
        })
        .await
    }

    /// Puts a manifest under its digest, and under the reference's tag if it has one, and reads
    /// back what the registry then has.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: &[u8],
    ) -> Result<Digest> {
        let digest = Digest::sha256_of(bytes);
        let bytes = Bytes::copy_from_slice(bytes);
        let pinned = digest.to_string();
        for selector in std::iter::once(pinned.as_str()).chain(reference.tag()) {
            self.put_manifest(reference, selector, media_type, &bytes, &digest)
                .await
                .map_err(|cause| cause.while_trying("push manifest of", reference))?;
        }
        Ok(digest)
    }

    /// Asks whether the repository has the manifest that a reference by digest names.
    pub(crate) async fn confirm_manifest(&self, reference: &Reference) -> Result<()> {
        let asked = async {
            let endpoint = self.endpoint(reference.registry())?;
            let Some(digest) = reference.digest() else { return Ok(()) };
            confirm(&endpoint, reference, digest.as_str(), digest).await
        };
        asked.await.map_err(|cause| cause.while_trying("find the manifest", reference))
    }

    async fn put_manifest(
        &self,
        reference: &Reference,
        selector: &str,
        media_type: &MediaType,
        bytes: &Bytes,
        digest: &Digest,
    ) -> std::result::Result<(), Cause> {
        let endpoint = self.endpoint(reference.registry())?;
        let scopes = push_scope(reference.repository(), &[]);
        let path = format!("{}/manifests/{selector}", reference.repository());
        let content_type = HeaderValue::try_from(media_type.as_str())
            .map_err(|_| Cause::Protocol("the media type is no header text".to_owned()))?;
        let mut backoff = endpoint.retry.start(&path);
        loop {
            let put = async {
                let request = Request::new(Method::PUT, endpoint.url(&path).await?)
                    .header(header::CONTENT_TYPE, content_type.clone())
                    .body(Body::Bytes(bytes.clone()));
                let response = endpoint.expect(&scopes, request).await?;
                let reported = response.header(CONTENT_DIGEST).map(str::to_owned);
                response.discard().await;
                match reported {
                    Some(text) if text != digest.as_str() => {
                        let found = printable(&text, 100);
                        Err(Cause::Digest { expected: digest.clone(), found })
                    }
                    _ => Ok(()),
                }
            };
            match put.await {
                Ok(()) => break,
                Err(cause) if is_late_blob(&cause) => match backoff.pause(None) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(cause),
                },
                Err(cause) => backoff.absorb(cause).await?,
            }
        }
        confirm(&endpoint, reference, selector, digest).await
    }
}

/// A registry that replicates may not see a blob yet that it took a moment ago.
fn is_late_blob(cause: &Cause) -> bool {
    matches!(cause.code(), Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
}

/// Asks what the registry has under a name. Only that is a push that happened. A HEAD that does not
/// see it yet is asked again.
async fn confirm(
    endpoint: &Endpoint,
    reference: &Reference,
    selector: &str,
    digest: &Digest,
) -> std::result::Result<(), Cause> {
    let scopes = pull_push(reference);
    let path = format!("{}/manifests/{selector}", reference.repository());
    let mut backoff = endpoint.retry.start(&path);
    loop {
        let asked = async {
            let request = Request::new(Method::HEAD, endpoint.url(&path).await?)
                .header(header::ACCEPT, HeaderValue::from_static(ACCEPT));
            let response = accept(endpoint.send(&scopes, request).await?).await?;
            match response.header(CONTENT_DIGEST) {
                Some(text) => Ok::<_, Cause>(text.to_owned()),
                None => {
                    let request = Request::new(Method::GET, endpoint.url(&path).await?)
                        .header(header::ACCEPT, HeaderValue::from_static(ACCEPT));
                    let response = endpoint.expect(&scopes, request).await?;
                    Ok(Digest::sha256_of(&response.bytes(MANIFEST_LIMIT).await?).to_string())
                }
            }
        };
        let cause = match asked.await {
            Ok(found) if found == digest.as_str() => return Ok(()),
            Ok(found) => Cause::Digest { expected: digest.clone(), found: printable(&found, 100) },
            Err(cause) if cause.is_transient() || cause.status() == Some(404) => cause,
            Err(cause) => return Err(cause),
        };
        match backoff.pause(cause.retry_after()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(cause),
        }
    }
}

fn pull_push(reference: &Reference) -> Vec<String> {
    push_scope(reference.repository(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_manifest() {
        let check = |body: &str, content_type: Option<&str>, expected: &str| {
            let got = match media_type(body.as_bytes(), content_type) {
                Ok(media_type) => media_type.to_string(),
                Err(cause) => cause.to_string(),
            };
            assert_eq!(got, expected);
        };
        const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        let image = r#"{"config":{},"layers":[]}"#;
        check(image, Some(OCI), OCI);
        check(image, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), OCI);
        check(image, None, OCI);
        check(image, Some("application/json"), OCI);
        check(r#"{"manifests":[]}"#, None, INDEX);
        check(
            image,
            Some(INDEX),
            "the manifest is sent as `application/vnd.oci.image.index.v1+json`, but its fields are of another kind",
        );
        check(
            r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
            Some(OCI),
            "the manifest is sent as `application/vnd.oci.image.manifest.v1+json` and calls itself `application/vnd.oci.image.index.v1+json`",
        );
        check(
            r#"{"config":{},"layers":[],"manifests":[]}"#,
            Some(OCI),
            "the manifest is sent as `application/vnd.oci.image.manifest.v1+json`, but its fields are of another kind",
        );
        check(
            r#"{"schemaVersion":1}"#,
            Some("application/vnd.docker.distribution.manifest.v1+json"),
            "the manifest has the media type `application/vnd.docker.distribution.manifest.v1+json`, which is no image we can read",
        );
        check("<html>", None, "the manifest is not JSON (expected value at line 1 column 1)");
    }
}
