//! Images that other jobs built and pushed, joined to one index: `--driver=ci`.
//!
//! Builds nothing and pushes no image. Each job left the digest of its image in a file; every
//! destination must have every image, and each image must be what the name of its file says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{Descriptor, Digest, ImageIndex, Platform, Raw, Reference};
use registry::{Client, ClientOptions};
use rootfs::{RootDir, RootPath};

use crate::build::check_push;
use crate::digests::Web;
use crate::each::{Reached, to_each};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::publish::{self, tell};
use crate::request::Outputs;

/// What is to be joined, and where the index goes.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// The directory of the digest files: `linux-arm-v7.digest` is for `linux/arm/v7`.
    pub digests: PathBuf,
    /// The platforms, in the order they have in the index; empty: all that have a file, by name.
    pub platforms: Vec<Platform>,
    /// How to speak to registries.
    pub registry: ClientOptions,
    /// Destinations, options of the index, digest files.
    pub outputs: Outputs,
}

/// Why images cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The directory of digest files.
    #[error("cannot read the digest files in `{}`", path.display())]
    Directory {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        source: rootfs::Error,
    },
    /// A platform without its file.
    #[error(
        "there is no digest of the image for `{platform}`: `{file}` is not among the files in \
         `{}`{}", path.display(), present(found)
    )]
    Missing {
        /// The platform.
        platform: String,
        /// The file's name.
        file: String,
        /// Where it should be.
        path: PathBuf,
        /// The digest files that are there.
        found: Vec<String>,
    },
    /// No file at all.
    #[error("there is no digest file (OS-ARCH.digest) in `{}`", path.display())]
    Nothing {
        /// Where they should be.
        path: PathBuf,
    },
    /// A file with something else in it.
    #[error("the digest file `{file}` holds no digest")]
    NoDigest {
        /// Its name.
        file: String,
        /// Why not.
        #[source]
        source: oci::Error,
    },
    /// A file that is not called after a platform.
    #[error("the digest file `{file}` is not named after a platform")]
    NoPlatform {
        /// Its name.
        file: String,
        /// Why not.
        #[source]
        source: oci::Error,
    },
    /// Two files for one platform.
    #[error("the digest files `{file}` and `{other}` are for the same platform")]
    Twice {
        /// One name.
        file: String,
        /// The other one.
        other: String,
    },
    /// A destination does not have an image.
    #[error("cannot find the image for `{platform}` in `{repository}`")]
    Image {
        /// The platform.
        platform: String,
        /// The repository, with the digest.
        repository: String,
        /// Why.
        #[source]
        source: Box<registry::Error>,
    },
    /// The digest is that of an index.
    #[error("`{repository}` is an index and not the image for `{platform}`")]
    NoImage {
        /// The platform.
        platform: String,
        /// The repository, with the digest.
        repository: String,
    },
    /// An image for another platform.
    #[error("`{repository}` is an image for `{found}`, not for `{platform}`")]
    Platform {
        /// The platform that was wanted.
        platform: String,
        /// What the image's config says.
        found: String,
        /// The repository, with the digest.
        repository: String,
    },
}

impl JoinError {
    /// Whether a registry refuses access.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, JoinError::Image { source, .. } if source.is_denied())
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Error {
        Error::Join(Box::new(error))
    }
}

fn present(found: &[String]) -> String {
    match found {
        [] => String::new(),
        names => format!(" ({})", names.join(", ")),
    }
}

/// Joins images and pushes the index to every destination; returns its digest. Nothing is pushed
/// before every image was found in every destination.
pub async fn join(request: &JoinRequest, observer: &Arc<dyn Observer>) -> Result<Digest, Error> {
    let outputs = &request.outputs;
    let wanted = read_digests(&request.digests, &request.platforms)?;
    let client =
        Client::new(request.registry.clone()).map_err(|source| Error::Client(Box::new(source)))?;
    check_push(outputs, outputs.push.then_some(&client)).await?;
    let mut entries: Vec<Descriptor> = Vec::new();
    for destination in &outputs.destinations {
        entries.clear();
        for (platform, digest) in &wanted {
            entries.push(entry(&client, destination, platform, digest).await?);
        }
    }
    let index = outputs.index.clone().unwrap_or_default().index(entries);
    observer.observe(&Event::IndexFinished { digest: index.digest().to_string() });
    let mut reached = Reached::unpushed(&outputs.destinations);
    if outputs.push {
        let push = |to| push_index(&client, to, &index, outputs, observer);
        reached = to_each(outputs.destinations.iter(), observer, push).await;
    }
    let web = Web { settings: &request.registry.http, retry: &request.registry.retry };
    tell(index.digest(), wanted, reached, outputs, web).await?;
    Ok(index.digest().clone())
}

/// Pushes an index to one destination, which has the images.
pub(crate) async fn push_index(
    client: &Client,
    destination: &Reference,
    index: &Raw<ImageIndex>,
    outputs: &Outputs,
    observer: &Arc<dyn Observer>,
) -> Result<(), Error> {
    let push = client.push_index(destination, index);
    publish::told(destination, index.digest(), outputs, observer, push).await
}

/// What an index says about an image that a repository has.
async fn entry(
    client: &Client,
    destination: &Reference,
    platform: &Platform,
    digest: &Digest,
) -> Result<Descriptor, Error> {
    let name = destination.by_digest(digest.clone());
    let (wanted, repository) = (platform.to_string(), name.to_string());
    let resolved = match client.resolve(&name, platform).await {
        Ok(resolved) => resolved,
        Err(source) => {
            let source = Box::new(source);
            return Err(JoinError::Image { platform: wanted, repository, source }.into());
        }
    };
    if &resolved.descriptor.digest != digest {
        return Err(JoinError::NoImage { platform: wanted, repository }.into());
    }
    let found = resolved.config.platform().normalized();
    if !platform.matches(&found) {
        let found = found.to_string();
        return Err(JoinError::Platform { platform: wanted, found, repository }.into());
    }
    Ok(Descriptor { platform: Some(found), ..resolved.descriptor })
}

/// `linux/arm/v7` as a part of a file's name.
pub(crate) fn file_part(platform: &Platform) -> String {
    platform.to_string().replace('/', "-")
}

const ENDING: &str = ".digest";

/// The digest of each platform's image; those of all files there are, by name, if none is named.
fn read_digests(
    directory: &Path,
    platforms: &[Platform],
) -> Result<Vec<(Platform, Digest)>, JoinError> {
    let failed = |source| JoinError::Directory { path: directory.to_owned(), source };
    let root = RootDir::open(directory).map_err(failed)?;
    let entries = root.read_dir(&RootPath::root()).map_err(failed)?;
    let names = entries.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(ENDING)).map(str::to_owned).collect();
    names.sort();
    let wanted: Vec<(Platform, String)> = match platforms {
        [] if names.is_empty() => return Err(JoinError::Nothing { path: directory.to_owned() }),
        [] => all(names)?,
        platforms => {
            let named = platforms.iter().map(|platform| {
                let file = format!("{}{ENDING}", file_part(platform));
                (platform.clone(), file)
            });
            let named: Vec<_> = named.collect();
            if let Some((platform, file)) = named.iter().find(|(_, file)| !names.contains(file)) {
                return Err(JoinError::Missing {
                    platform: platform.to_string(),
                    file: file.clone(),
                    path: directory.to_owned(),
                    found: names,
                });
            }
            named
        }
    };
    let read = |(platform, file): (Platform, String)| {
        // A volume that Kubernetes makes has links to its files.
        let path = RootPath::new(&file).and_then(|path| root.resolve(&path)).map_err(failed)?;
        let bytes = root.read(&path, MAX_DIGEST_FILE).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        match Digest::parse(text.trim()) {
            Ok(digest) => Ok((platform, digest)),
            Err(source) => Err(JoinError::NoDigest { file, source }),
        }
    };
    wanted.into_iter().map(read).collect()
}

/// No digest and its line feed are longer.
const MAX_DIGEST_FILE: u64 = 4096;

fn all(names: Vec<String>) -> Result<Vec<(Platform, String)>, JoinError> {
    let mut found: Vec<(Platform, String)> = Vec::new();
    for file in names {
        let stem = file.strip_suffix(ENDING).unwrap_or(&file);
        let platform = match Platform::parse(&stem.replace('-', "/")) {
            Ok(platform) => platform,
            Err(source) => return Err(JoinError::NoPlatform { file, source }),
        };
        let same =
            |(earlier, _): &&(Platform, String)| earlier.normalized() == platform.normalized();
        if let Some((_, other)) = found.iter().find(same) {
            return Err(JoinError::Twice { file, other: other.clone() });
        }
        found.push((platform, file));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use testkit::{ScratchRoot, tree};

    use super::read_digests;

    /// `d(x)` is a digest of 64 times `x`.
    fn d(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    /// What is read of these files, as `platform digit`, or the message.
    fn check(files: &[(&str, &str)], platforms: &[&str], expected: Result<&[&str], &str>) {
        let scratch = ScratchRoot::new();
        for (name, text) in files {
            tree::make(scratch.path(), &format!("f 0644 /{name} {text:?}"));
        }
        let platforms: Vec<_> =
            platforms.iter().map(|text| text.parse().expect("because it is a platform")).collect();
        let found = read_digests(scratch.path(), &platforms);
        let place = scratch.path().display().to_string();
        let found = found.map_err(|error| error.to_string().replace(&place, "DIR"));
        let found = found.map(|found| {
            let one = |(platform, digest): &(oci::Platform, oci::Digest)| {
                format!("{platform} {}", &digest.hex()[..1])
            };
            found.iter().map(one).collect::<Vec<String>>()
        });
        let expected = expected.map_err(str::to_owned);
        assert_eq!(
            found,
            expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect()),
            "{files:?}"
        );
    }

    #[test]
    fn digests_come_from_files_named_after_platforms() {
        let (a, b, c) = (d('a'), format!("{}\n", d('b')), format!("  {}\n\n", d('c')));
        let files = [
            ("linux-arm64.digest", a.as_str()),
            ("linux-amd64.digest", &b),
            ("linux-arm-v7.digest", &c),
            ("notes.txt", "no digest"),
        ];
        check(&files, &["linux/arm/v7", "linux/amd64"], Ok(&["linux/arm/v7 c", "linux/amd64 b"]));
        check(&files, &[], Ok(&["linux/amd64 b", "linux/arm/v7 c", "linux/arm64 a"]));
        check(
            &files,
            &["linux/s390x"],
            Err("there is no digest of the image for `linux/s390x`: `linux-s390x.digest` is not \
                 among the files in `DIR` (linux-amd64.digest, linux-arm-v7.digest, \
                 linux-arm64.digest)"),
        );
    }

    #[test]
    fn files_of_a_kubernetes_volume_are_links() {
        let scratch = ScratchRoot::new();
        let lines = format!("f 0644 /..data/linux-amd64.digest {:?}", d('a'));
        tree::make(scratch.path(), &lines);
        let link = "l 0777 /linux-amd64.digest -> ..data/linux-amd64.digest";
        tree::make(scratch.path(), link);
        let found = read_digests(scratch.path(), &[]).expect("because it is there");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_is_no_digest_is_named() {
        check(&[], &[], Err("there is no digest file (OS-ARCH.digest) in `DIR`"));
        check(
            &[("linux-amd64.digest", "latest")],
            &[],
            Err("the digest file `linux-amd64.digest` holds no digest"),
        );
        let a = d('a');
        check(
            &[("linux-arm64-v8.digest", &a), ("linux-arm64.digest", &a)],
            &[],
            Err("the digest files `linux-arm64.digest` and `linux-arm64-v8.digest` are for the \
                 same platform"),
        );
        check(
            &[("my-own-app-image.digest", &a)],
            &[],
            Err("the digest file `my-own-app-image.digest` is not named after a platform"),
        );
    }
}
