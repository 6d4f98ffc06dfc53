//! Hands a finished image to everyone who asked for it. A failing output fails the build.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use oci::{Image, ImageFormat, Reference};
use registry::Client;
use store::{DockerArchive, OciLayout, write_output};

use crate::blobs::Blobs;
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::request::{BuildRequest, Outputs};

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
    image: &Image,
    outputs: &Outputs,
    push: Option<&Client>,
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
) -> Result<(), Error> {
    if outputs.tar_path.is_some() || outputs.oci_layout_path.is_some() {
        fetch_all(image, blobs).await?;
        let (image, outputs, blobs, observer) =
            (image.clone(), outputs.clone(), blobs.clone(), Arc::clone(observer));
        tokio::task::spawn_blocking(move || files(&image, &outputs, &blobs, &observer))
            .await
            .map_err(|_| Error::Worker)??;
    }
    if let Some(client) = push {
        for destination in &outputs.destinations {
            let started = Instant::now();
            fetch_for(destination, image, client, blobs).await?;
            let digest = client
                .push_image(destination, image, blobs, &registry::Silent)
                .await
                .map_err(|source| Error::Push {
                    destination: destination.to_string(),
                    source: Box::new(source),
                })?;
            observer.observe(&Event::Pushed {
                destination: destination.to_string(),
                digest: digest.to_string(),
                took: started.elapsed(),
            });
        }
    }
    digests(image, outputs)
}

/// Files hold every layer, so those of the base that no step needed are fetched now.
async fn fetch_all(image: &Image, blobs: &Blobs) -> Result<(), Error> {
    for layer in image.layers() {
        let descriptor = &layer.descriptor;
        let Some(repository) = registry::BlobSource::known_in(blobs, descriptor).into_iter().next()
        else {
            continue;
        };
        blobs.fetch(&repository, descriptor).await.map_err(|source| Error::BaseLayer {
            digest: descriptor.digest.to_string(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// Base layers that a destination has, or can take from its own registry, are not fetched; the
/// others come through the client that may pull them, which the one that pushes may not.
async fn fetch_for(
    destination: &Reference,
    image: &Image,
    push: &Client,
    blobs: &Blobs,
) -> Result<(), Error> {
    for layer in image.layers() {
        let descriptor = &layer.descriptor;
        let known = registry::BlobSource::known_in(blobs, descriptor);
        let here = blobs.store().contains(&descriptor.digest)
            || known.iter().any(|known| known.registry() == destination.registry());
        let Some(repository) = known.first().filter(|_| !here) else { continue };
        // An error here is met again, and told, by the push itself.
        if push.has_blob(destination, &descriptor.digest).await.unwrap_or(false) {
            continue;
        }
        blobs.fetch(repository, descriptor).await.map_err(|source| Error::BaseLayer {
            digest: descriptor.digest.to_string(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

fn files(
    image: &Image,
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
        OciLayout::write(path, image, blobs.store(), name.as_deref())
            .map_err(failed("OCI layout", path))?;
        wrote("OCI layout", path);
    }
    if let Some(path) = &outputs.tar_path {
        DockerArchive::write(path, image, blobs.store(), &outputs.destinations)
            .map_err(failed("docker archive", path))?;
        wrote("docker archive", path);
    }
    Ok(())
}

fn digests(image: &Image, outputs: &Outputs) -> Result<(), Error> {
    let digest = image.digest();
    let write = |path: &Option<std::path::PathBuf>, text: String| match path {
        Some(path) => write_output(path, text.as_bytes()).map_err(|source| Error::Output {
            what: "digest file",
            path: path.clone(),
            source,
        }),
        None => Ok(()),
    };
    write(&outputs.digest_file, digest.to_string())?;
    let mut names = String::new();
    let mut tags = String::new();
    for destination in &outputs.destinations {
        let repository = format!("{}/{}", destination.registry(), destination.repository());
        let tag = destination.tag().unwrap_or("latest");
        names.push_str(&format!("{repository}@{digest}\n"));
        tags.push_str(&format!("{repository}:{tag}@{digest}\n"));
    }
    write(&outputs.image_name_with_digest_file, names)?;
    write(&outputs.image_name_tag_with_digest_file, tags)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use layer::Compression;
    use oci::{ImageFormat, Platform, Timestamp};

    use super::format;
    use crate::request::{BuildRequest, Outputs};

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
            platform: None,
            build_platform: Platform::new("linux", "amd64"),
            allow: Vec::new(),
            secrets: std::collections::BTreeMap::new(),
            ssh: std::collections::BTreeMap::new(),
            command_timeout: None,
            lint: plan::Lint::Off,
            pull: registry::ClientOptions::default(),
            push: registry::ClientOptions::default(),
            outputs: Outputs { tar_path, ..Outputs::default() },
            compression,
            format: asked,
            state_dir: PathBuf::from("/state"),
            build_id: "test".to_owned(),
            now: Timestamp::new(0, 0),
            epoch: None,
            threads: 1,
            max_parallel_stages: 1,
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
