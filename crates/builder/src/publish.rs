//! Hands a finished image, or those of several platforms, to everyone who asked for it. A failing output fails the build.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use oci::{Descriptor, Digest, Image, ImageFormat, Platform, Reference};
use registry::Client;
use store::{DockerArchive, OciLayout};

use crate::blobs::Blobs;
use crate::digests::{self, Digests, Web};
use crate::each::{Reached, to_each};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::join;
use crate::product::{PlatformImage, Product};
use crate::request::{BuildRequest, Outputs};
use crate::uploads::Uploads;

/// The format of the documents: what was asked for, the base image's, docker's for a docker
/// archive, else OCI's.
pub(crate) fn format(request: &BuildRequest, base: Option<ImageFormat>) -> ImageFormat {
    if let Some(format) = request.format {
        return format;
    }
    match base {
        // A docker manifest has no media type for zstd.
        _ if matches!(request.compression, layer::Compression::Zstd { .. }) => ImageFormat::Oci,
        Some(format) => format,
        None if request.outputs.tar_path.is_some() => ImageFormat::Docker,
        None => ImageFormat::Oci,
    }
}

/// Writes the files, then pushes, then writes the digests: a digest file says that the image is
/// where it was asked to be.
pub(crate) async fn publish(
    product: &Product,
    outputs: &Outputs,
    push: Option<Push<'_>>,
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    web: Web<'_>,
) -> Result<(), Error> {
    if outputs.tar_path.is_some() || outputs.oci_layout_path.is_some() {
        for one in &product.images {
            fetch_all(&one.image, blobs).await?;
        }
        let (product, outputs, blobs, observer) =
            (product.clone(), outputs.clone(), blobs.clone(), Arc::clone(observer));
        tokio::task::spawn_blocking(move || files(&product, &outputs, &blobs, &observer))
            .await
            .map_err(|_| Error::Worker)??;
    }
    let mut reached = Reached::unpushed(&outputs.destinations);
    if let Some(push) = push {
        let images = |to| push.images(product, to, outputs, blobs, observer);
        reached = to_each(outputs.destinations.iter(), observer, images).await;
        if let Some(index) = &product.index {
            // A destination has every image by now: no tag leads to half of them.
            let to = std::mem::take(&mut reached.destinations);
            let index = |to| join::push_index(push.client, to, index, outputs, observer);
            reached = to_each(to.into_iter(), observer, index).await.after(reached.failure);
        }
    }
    let named = |one: &PlatformImage| (one.platform.clone(), one.image.digest().clone());
    let platforms = match product.index {
        Some(_) => product.images.iter().map(named).collect(),
        None => Vec::new(),
    };
    tell(&product.digest, platforms, reached, outputs, web).await
}

/// Writes the digest files for the destinations that have the image; then the first failure is told.
pub(crate) async fn tell(
    whole: &Digest,
    platforms: Vec<(Platform, Digest)>,
    reached: Reached<'_>,
    outputs: &Outputs,
    web: Web<'_>,
) -> Result<(), Error> {
    let Reached { destinations, failure } = reached;
    if failure.is_none() || !destinations.is_empty() {
        let digests =
            Digests { whole, platforms, destinations: &destinations, pushed: outputs.push };
        digests::write(&digests, &outputs.digests, web).await?;
    }
    failure.map_or(Ok(()), Err)
}

/// Tells of a push before and after it. Where the registry keeps the tag from being changed, that is
/// no failure if it was said so.
pub(crate) async fn told(
    destination: &Reference,
    digest: &Digest,
    outputs: &Outputs,
    observer: &Arc<dyn Observer>,
    push: impl Future<Output = registry::Result<Digest>>,
) -> Result<(), Error> {
    let started = Instant::now();
    let name = destination.to_string();
    let repository = format!("{}/{}", destination.registry(), destination.repository());
    observer.observe(&Event::Pushing { destination: name.clone() });
    match push.await {
        Ok(digest) => observer.observe(&Event::Pushed {
            repository,
            destination: name,
            digest: digest.to_string(),
            took: started.elapsed(),
        }),
        Err(error) if outputs.ignore_immutable_tags && error.is_immutable_tag() => {
            observer.observe(&Event::TagKept { repository, digest: digest.to_string() });
        }
        Err(source) => {
            return Err(Error::Push { destination: name, source: Box::new(source) });
        }
    }
    Ok(())
}

/// What images are pushed with.
#[derive(Clone, Copy)]
pub(crate) struct Push<'a> {
    pub client: &'a Client,
    /// Layers that are on their way already.
    pub uploads: &'a Uploads,
}

impl Push<'_> {
    /// Pushes an image under its tag, and images of an index by their digests alone.
    async fn images(
        self,
        product: &Product,
        destination: &Reference,
        outputs: &Outputs,
        blobs: &Blobs,
        observer: &Arc<dyn Observer>,
    ) -> Result<(), Error> {
        for PlatformImage { image, .. } in &product.images {
            let name = match product.index {
                None => destination.clone(),
                Some(_) => destination.by_digest(image.digest().clone()),
            };
            fetch_for(&name, image, self.client, blobs).await?;
            let push = self.image(&name, image, outputs, blobs);
            told(&name, image.digest(), outputs, observer, push).await?;
        }
        Ok(())
    }

    async fn image(
        self,
        name: &Reference,
        image: &Image,
        outputs: &Outputs,
        blobs: &Blobs,
    ) -> Result<Digest, registry::Error> {
        match self.uploads.arrived(name.registry()).await {
            // It counts like a push that failed, and pushes are done again.
            Err(error) if self.client.options().push_again.times > 0 => {
                tracing::warn!(%error, "a layer did not arrive in the first place");
            }
            arrived => arrived?,
        }
        let pushed = self.client.push_image(name, image, blobs, &registry::Silent).await?;
        if outputs.verify_push {
            self.client.verify(name, image.manifest()).await?;
        }
        Ok(pushed)
    }
}

/// Files hold every layer, so those that no step needed are fetched now.
async fn fetch_all(image: &Image, blobs: &Blobs) -> Result<(), Error> {
    for layer in image.layers() {
        if blobs.has_origin(&layer.descriptor.digest) {
            bring(&layer.descriptor, blobs).await?;
        }
    }
    Ok(())
}

async fn bring(descriptor: &Descriptor, blobs: &Blobs) -> Result<(), Error> {
    blobs.bring(descriptor).await.map_err(|source| Error::FarLayer {
        digest: descriptor.digest.to_string(),
        source: Box::new(source),
    })
}

/// Layers of the base or a cache that a destination has, or can take from its own registry, are not fetched; the
/// others come through the client that may pull them, which the one that pushes may not.
async fn fetch_for(
    destination: &Reference,
    image: &Image,
    push: &Client,
    blobs: &Blobs,
) -> Result<(), Error> {
    for layer in image.layers() {
        let descriptor = &layer.descriptor;
        let known = blobs.repositories(&descriptor.digest);
        let near = known.iter().any(|known| known.registry() == destination.registry());
        let here = blobs.store().contains(&descriptor.digest)
            || (near && !blobs.only_warmed(&descriptor.digest));
        if here || !blobs.has_origin(&descriptor.digest) {
            continue;
        }
        // An error here is met again, and told, by the push itself.
        if !push.has_blob(destination, &descriptor.digest).await.unwrap_or(false) {
            bring(descriptor, blobs).await?;
        }
    }
    Ok(())
}

fn files(
    product: &Product,
    outputs: &Outputs,
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
) -> Result<(), Error> {
    let wrote = |what, path: &Path| {
        observer.observe(&Event::Written { what, path: path.display().to_string() });
    };
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Output { what, path, source }
    };
    if let Some(path) = &outputs.oci_layout_path {
        let name = outputs.destinations.first().map(ToString::to_string);
        let (store, name) = (blobs.store(), name.as_deref());
        let images: Vec<&Image> = product.images.iter().map(|one| &one.image).collect();
        let written = match (&product.index, images.as_slice()) {
            (Some(index), images) => OciLayout::write_several(path, index, images, store, name),
            (None, images) => {
                let image = images.first().ok_or(Error::Worker)?;
                OciLayout::write(path, image, store, name)
            }
        };
        written.map_err(failed("OCI layout", path))?;
        wrote("OCI layout", path);
    }
    if let (Some(path), [one]) = (&outputs.tar_path, product.images.as_slice()) {
        DockerArchive::write(path, &one.image, blobs.store(), &outputs.destinations)
            .map_err(failed("docker archive", path))?;
        wrote("docker archive", path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use layer::Compression;
    use oci::{ImageFormat, Platform, Timestamp};

    use super::format;
    use crate::request::{BuildRequest, Emulation, Outputs};

    const DOCKER: Option<ImageFormat> = Some(ImageFormat::Docker);
    const OCI: Option<ImageFormat> = Some(ImageFormat::Oci);
    const GZIP: Compression = Compression::Gzip { level: 1 };
    const ZSTD: Compression = Compression::Zstd { level: 3 };

    fn request(asked: Option<ImageFormat>, compression: Compression, tar: &str) -> BuildRequest {
        let tar_path = (!tar.is_empty()).then(|| PathBuf::from(tar));
        BuildRequest {
            context: PathBuf::from("/context"),
            dockerfile: context::DockerfilePlace::Elsewhere,
            targets: Vec::new(),
            build_args: Vec::new(),
            labels: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            platforms: Vec::new(),
            build_platform: Platform::new("linux", "amd64"),
            emulation: Emulation::IfPossible,
            allow: Vec::new(),
            secrets: std::collections::BTreeMap::new(),
            ssh: std::collections::BTreeMap::new(),
            command_timeout: None,
            lint: plan::Lint::Off,
            pull: registry::ClientOptions::default(),
            push: registry::ClientOptions::default(),
            layer_cache: None,
            outputs: Outputs { tar_path, ..Outputs::default() },
            compression,
            format: asked,
            state_dir: PathBuf::from("/state"),
            build_id: "test".to_owned(),
            now: Timestamp::new(0, 0),
            epoch: None,
            threads: 1,
            max_parallel_stages: 1,
            base_cache: None,
        }
    }

    #[test]
    fn the_format_is_the_one_asked_for_else_the_bases() {
        for (asked, base, compression, tar, expected) in [
            (None, None, GZIP, "", OCI),
            (None, None, GZIP, "/image.tar", DOCKER),
            (None, None, Compression::None, "", OCI),
            (None, DOCKER, GZIP, "", DOCKER),
            (None, OCI, GZIP, "/image.tar", OCI),
            (None, DOCKER, ZSTD, "", OCI),
            (None, None, ZSTD, "/image.tar", OCI),
            (OCI, DOCKER, GZIP, "/image.tar", OCI),
            (DOCKER, OCI, GZIP, "", DOCKER),
            (DOCKER, None, GZIP, "", DOCKER),
        ] {
            let found = format(&request(asked, compression, tar), base);
            assert_eq!(Some(found), expected, "{asked:?} {base:?} {compression:?} `{tar}`");
        }
    }
}
