//! [`SavedImage`]: the image in a file that `docker save`, or kaniko's `--tar-path`, wrote.
//!
//! Nothing is unpacked: the members are found once, and read where they lie. *Does not* compare
//! layers with their digests: the archive's names are free, and only the config's diff ids bind.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{Document, ImageConfig, Raw};
use serde::Deserialize;
use tar::EntryType;

use crate::blob::open_read;
use crate::error::{Error, Result, failed};

/// No image has as many files as this.
const MOST_MEMBERS: usize = 65_536;
const LIST: &str = "manifest.json";
const LIST_LIMIT: u64 = 4 << 20;

/// An image in a docker archive.
#[derive(Debug)]
pub struct SavedImage {
    config: Raw<ImageConfig>,
    layers: Vec<Member>,
    names: Vec<String>,
}

/// A file in the archive, read at positions: any number of readers may be at work.
#[derive(Clone, Debug)]
pub struct Member {
    name: String,
    file: Arc<File>,
    at: u64,
    left: u64,
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "Layers", default)]
    layers: Option<Vec<String>>,
    #[serde(rename = "RepoTags", default)]
    names: Option<Vec<String>>,
}

/// What a name in the archive stands for.
enum Found {
    File { at: u64, size: u64 },
    Link(String),
}

impl SavedImage {
    /// Finds the image in the archive at `path`, which must hold one and no more.
    pub fn open(path: &Path) -> Result<Self> {
        let archive = Archive::open(path)?;
        let list = archive.document(LIST, LIST_LIMIT)?;
        let rows: Vec<Row> = serde_json::from_slice(&list)
            .map_err(|error| archive.wrong(format!("its `{LIST}` is not docker's: {error}")))?;
        let [row] = rows.as_slice() else {
            return Err(archive.wrong(format!("it holds {} images, not one", rows.len())));
        };
        let config = archive.document(&row.config, ImageConfig::LIMIT as u64)?;
        let config: Raw<ImageConfig> = Raw::parse(config).map_err(|source| Error::Document {
            path: path.join(&row.config),
            source: Box::new(source),
        })?;
        let names = row.layers.as_deref().unwrap_or_default();
        let layers = names.iter().map(|name| archive.member(name)).collect::<Result<Vec<_>>>()?;
        let (found, told) = (layers.len(), config.rootfs.diff_ids.len());
        if found != told {
            return Err(archive.wrong(format!("it has {found} layers, but its config {told}")));
        }
        let names = row.names.clone().unwrap_or_default();
        Ok(Self { config, layers, names })
    }

    /// The names that the archive gives the image.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The config, byte for byte.
    #[must_use]
    pub fn config(&self) -> &Raw<ImageConfig> {
        &self.config
    }

    /// The layers, lowest first, as many as the config has diff ids.
    #[must_use]
    pub fn layers(&self) -> &[Member] {
        &self.layers
    }
}

/// The archive by the names of its members.
struct Archive {
    path: PathBuf,
    file: Arc<File>,
    members: BTreeMap<String, Found>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self> {
        let file = Arc::new(open_read(path).map_err(failed("open", path))?);
        let mut archive = Self { path: path.to_owned(), file, members: BTreeMap::new() };
        archive.find().map_err(|error| archive.wrong(error.to_string()))?;
        Ok(archive)
    }

    fn find(&mut self) -> io::Result<()> {
        let mut start = [0; 2];
        if self.file.read_at(&mut start, 0)? == 2 && start == [0x1f, 0x8b] {
            return Err(io::Error::other("it is compressed as a whole: unpack it with gunzip"));
        }
        let mut tar = tar::Archive::new(&*self.file);
        for entry in tar.entries_with_seek()? {
            let entry = entry?;
            let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
            let found = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    Found::File { at: entry.raw_file_position(), size: entry.size() }
                }
                // Old versions of docker wrote a layer once, and links to it.
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let is_whole = entry.header().entry_type() == EntryType::Link;
                    Found::Link(if is_whole { plain(&target) } else { beside(&name, &target) })
                }
                _ => continue,
            };
            if self.members.len() == MOST_MEMBERS {
                return Err(io::Error::other(format!("it has more than {MOST_MEMBERS} members")));
            }
            self.members.insert(name, found);
        }
        Ok(())
    }

    fn member(&self, name: &str) -> Result<Member> {
        let mut found = self.members.get(&plain(name));
        if let Some(Found::Link(target)) = found {
            found = self.members.get(target);
        }
        match found {
            Some(Found::File { at, size }) => Ok(Member {
                name: format!("{}/{name}", self.path.display()),
                file: Arc::clone(&self.file),
                at: *at,
                left: *size,
            }),
            Some(Found::Link(_)) => Err(self.wrong(format!("`{name}` is a link to a link"))),
            None => Err(self.wrong(format!("`{name}` is not in it"))),
        }
    }

    fn document(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let member = self.member(name)?;
        if member.left > limit {
            return Err(self.wrong(format!("`{name}` has more than {limit} bytes")));
        }
        let (mut bytes, mut reader) = (Vec::new(), member);
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|error| self.wrong(format!("`{name}` cannot be read: {error}")))?;
        Ok(bytes)
    }

    fn wrong(&self, reason: String) -> Error {
        Error::NotAnImage { path: self.path.clone(), reason }
    }
}

impl Member {
    /// Its name, with the archive's path in front.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes are still to be read.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Read for Member {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A name without what means nothing in it.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            // Above the top there is nothing.
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What a symbolic link of this name leads to.
fn beside(name: &str, target: &str) -> String {
    match (target.strip_prefix('/'), name.rsplit_once('/')) {
        (Some(whole), _) => plain(whole),
        (None, Some((directory, _))) => plain(&format!("{directory}/{target}")),
        (None, None) => plain(target),
    }
}

#[cfg(test)]
mod tests {
    use testkit::ScratchRoot;
    use testkit::tar_builder::TarBuilder;

    use super::*;

    const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers",
        "diff_ids":["sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"]}}"#;
    const ROW: &str = r#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar"]}]"#;

    /// What is in the first layer, or what is wrong.
    fn told(archive: &[u8]) -> String {
        let scratch = ScratchRoot::new();
        let path = scratch.path().join("image.tar");
        crate::write_output(&path, archive).expect("because there is room");
        let read = || -> Result<String> {
            let image = SavedImage::open(&path)?;
            let mut text = String::new();
            let mut layer = image.layers()[0].clone();
            layer.read_to_string(&mut text).expect("because it is text");
            Ok(text)
        };
        match read() {
            Ok(text) => text,
            Err(error) => {
                let directory = scratch.path().display().to_string();
                format!("error: {error}").replace(&directory, "")
            }
        }
    }

    fn check(members: &[(&str, &str)], links: &[(&str, &str)], expected: &str) {
        let mut archive = TarBuilder::new();
        for (name, target) in links {
            archive = archive.symlink(name, target);
        }
        for (name, content) in members {
            archive = archive.file(name, content);
        }
        assert_eq!(told(&archive.end()), expected);
    }

    #[test]
    fn archives_with_and_without_an_image() {
        let config = ("c.json", CONFIG);
        check(&[("a/layer.tar", "bytes"), config, ("manifest.json", ROW)], &[], "bytes");
        check(&[("./a//layer.tar", "bytes"), config, ("./manifest.json", ROW)], &[], "bytes");
        check(
            &[("b/layer.tar", "linked"), config, ("manifest.json", ROW)],
            &[("a/layer.tar", "../b/layer.tar")],
            "linked",
        );
        let wrong = |reason: &str| {
            format!("error: `/image.tar` is not an image as `docker save` writes it: {reason}")
        };
        check(&[config], &[], &wrong("`manifest.json` is not in it"));
        check(&[config, ("manifest.json", ROW)], &[], &wrong("`a/layer.tar` is not in it"));
        check(
            &[config, ("manifest.json", ROW)],
            &[("a/layer.tar", "layer.tar")],
            &wrong("`a/layer.tar` is a link to a link"),
        );
        check(&[("manifest.json", "[]")], &[], &wrong("it holds 0 images, not one"));
        let none = r#"[{"Config":"c.json"}]"#;
        check(&[config, ("manifest.json", none)], &[], &wrong("it has 0 layers, but its config 1"));
        check(
            &[("c.json", "{]"), ("manifest.json", ROW)],
            &[],
            "error: the document `/image.tar/c.json` is invalid",
        );
        let compressed = told(b"\x1f\x8b\x08\0\0\0\0\0");
        assert_eq!(compressed, wrong("it is compressed as a whole: unpack it with gunzip"));
    }

    #[test]
    fn names() {
        let check = |name: &str, target: &str, expected: &str| {
            assert_eq!(beside(name, target), expected, "{name} -> {target}");
        };
        check("a/layer.tar", "../b/layer.tar", "b/layer.tar");
        check("a", "b", "b");
        check("a/b", "/c/./d", "c/d");
        check("a/b", "../../../c", "c");
    }
}
