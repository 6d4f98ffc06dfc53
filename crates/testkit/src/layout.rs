//! Finished images as others see them: an OCI layout or a docker archive, its layers put one over
//! the other, as a tree in tree notation. Independent of our own readers.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tree::{content_of, escape};

/// An image that was read, every digest on the way compared.
#[derive(Clone, Debug)]
pub struct ReadImage {
    /// The manifest; in a docker archive, its row of `manifest.json`.
    pub manifest: Value,
    /// The manifest's digest; empty in a docker archive.
    pub digest: String,
    /// The config.
    pub config: Value,
    /// The layers' tars, uncompressed, lowest first.
    pub layers: Vec<Vec<u8>>,
}

impl ReadImage {
    /// The tree of all layers.
    ///
    /// # Errors
    /// Where a layer is no tar.
    pub fn tree(&self) -> Result<String, String> {
        flatten(&self.layers)
    }

    fn check_diff_ids(self) -> Result<Self, String> {
        let stated: Vec<_> =
            self.config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = self.layers.iter().map(|tar| Value::from(digest(tar))).collect();
        if stated == found {
            Ok(self)
        } else {
            Err(format!("diff ids {stated:?}, found {found:?}"))
        }
    }
}

/// Reads the image called `name` (or the only one) from an OCI layout.
///
/// # Errors
/// Where something is missing, is no image, or does not have its digest.
pub fn read_oci(layout: &Path, name: Option<&str>) -> Result<ReadImage, String> {
    let marker = json(&read(&layout.join("oci-layout"))?)?;
    if marker["imageLayoutVersion"] != "1.0.0" {
        return Err(format!("layout version {marker}"));
    }
    let index = json(&read(&layout.join("index.json"))?)?;
    let manifests = index["manifests"].as_array().ok_or("the index has no manifests")?;
    let named = |found: &&Value| {
        name.is_none_or(|name| found["annotations"]["org.opencontainers.image.ref.name"] == name)
    };
    let mut found = manifests.iter().filter(named);
    let descriptor = found.next().ok_or("no such image in the layout")?;
    if found.next().is_some() {
        return Err("several such images in the layout".to_owned());
    }
    let manifest = json(&blob(layout, descriptor)?)?;
    let config = json(&blob(layout, &manifest["config"])?)?;
    let layers = manifest["layers"].as_array().ok_or("the manifest has no layers")?;
    let layers = layers.iter().map(|layer| decompress(&blob(layout, layer)?));
    let layers = layers.collect::<Result<_, _>>()?;
    let digest = text(&descriptor["digest"]).to_owned();
    ReadImage { manifest, digest, config, layers }.check_diff_ids()
}

/// Reads the only image of a docker archive.
///
/// # Errors
/// Where something is missing or is no image.
pub fn read_docker_archive(path: &Path) -> Result<ReadImage, String> {
    let bytes = read(path)?;
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(&bytes[..]).entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| error.to_string())?;
        members.insert(name, content);
    }
    let member = |name: &str| members.get(name).ok_or(format!("no member `{name}`"));
    let rows = json(member("manifest.json")?)?;
    let manifest = rows[0].clone();
    let config = json(member(text(&manifest["Config"]))?)?;
    let layers = manifest["Layers"].as_array().ok_or("no layers")?;
    let layers = layers.iter().map(|layer| decompress(member(text(layer))?));
    let layers = layers.collect::<Result<_, _>>()?;
    ReadImage { manifest, digest: String::new(), config, layers }.check_diff_ids()
}

/// The entries of one layer in their order, in tree notation; whiteouts as `w` and `o` lines.
///
/// # Errors
/// Where it is no tar.
pub fn list(tar: &[u8]) -> Result<Vec<String>, String> {
    let line = |entry: Entry| {
        let (directory, name) = split(&entry.path);
        let shown = |path: &[u8]| format!("/{}", escape(path, b' '));
        match name.strip_prefix(b".wh.") {
            Some(b".wh..opq") => format!("o {}", shown(directory)),
            Some(name) => format!("w {}", shown(&join(directory, name))),
            None => match &entry.node {
                Node::Link(first) => format!("h {} = {}", shown(&entry.path), shown(first)),
                Node::Inode(inode) => inode.line(&shown(&entry.path)),
            },
        }
    };
    Ok(entries(tar)?.into_iter().map(line).collect())
}

/// The tree that layers make, lowest first, as [`crate::tree::print`] shows it.
///
/// # Errors
/// Where a layer is no tar, or links to what is not there.
pub fn flatten(layers: &[Vec<u8>]) -> Result<String, String> {
    let mut inodes = Vec::new();
    let mut tree = BTreeMap::new();
    for layer in layers {
        let entries = entries(layer)?;
        for entry in &entries {
            let (directory, name) = split(&entry.path);
            let directory = follow(&tree, &inodes, directory);
            match name.strip_prefix(b".wh.") {
                Some(b".wh..opq") => remove_below(&mut tree, &directory),
                Some(name) => remove(&mut tree, &join(&directory, name)),
                None => {}
            }
        }
        for entry in entries {
            let (directory, name) = split(&entry.path);
            if name.starts_with(b".wh.") || name.is_empty() {
                continue;
            }
            let directory = follow(&tree, &inodes, directory);
            make_parents(&mut tree, &mut inodes, &directory);
            let path = join(&directory, name);
            let inode = match entry.node {
                Node::Inode(inode) => {
                    inodes.push(inode);
                    inodes.len() - 1
                }
                Node::Link(first) => {
                    let (directory, name) = split(&first);
                    let first = join(&follow(&tree, &inodes, directory), name);
                    *tree.get(&first).ok_or(format!("a link to `{}`", escape(&first, 0)))?
                }
            };
            let replaces =
                tree.get(&path).map(|old: &usize| (inodes[*old].kind, inodes[inode].kind));
            if replaces.is_some_and(|kinds| kinds != ('d', 'd')) {
                remove(&mut tree, &path);
            }
            tree.insert(path, inode);
        }
    }
    Ok(print(&tree, &inodes))
}

fn print(tree: &BTreeMap<Vec<u8>, usize>, inodes: &[Inode]) -> String {
    let mut sorted: Vec<_> = tree.iter().collect();
    sorted.sort_by_key(|(path, _)| path.split(|byte| *byte == b'/').collect::<Vec<_>>());
    let mut first = BTreeMap::new();
    let mut text = String::new();
    for (path, inode) in sorted {
        let shown = format!("/{}", escape(path, b' '));
        text += &match first.get(inode) {
            Some(first) => format!("h {shown} = {first}"),
            None => inodes[*inode].line(&shown),
        };
        text += "\n";
        first.entry(inode).or_insert(shown);
    }
    text
}

struct Entry {
    path: Vec<u8>,
    node: Node,
}

enum Node {
    Inode(Inode),
    Link(Vec<u8>),
}

/// What tree notation says of a file.
struct Inode {
    kind: char,
    mode: u32,
    owner: (u64, u64),
    /// Content, target or device number.
    rest: String,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Inode {
    fn line(&self, path: &str) -> String {
        let (uid, gid) = self.owner;
        let mut line = format!("{} {:04o} {uid}:{gid} {path}{}", self.kind, self.mode, self.rest);
        for (name, value) in &self.xattrs {
            line += &format!(" {}=\"{}\"", escape(name, b' '), escape(value, b'"'));
        }
        line
    }
}

/// The members of a tar, extension headers taken apart by hand: the `tar` crate loses values with
/// newlines.
fn entries(tar: &[u8]) -> Result<Vec<Entry>, String> {
    let mut archive = tar::Archive::new(tar);
    let mut found = Vec::new();
    let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for entry in archive.entries().map_err(|error| error.to_string())?.raw(true) {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| error.to_string())?;
        let header = entry.header().clone();
        let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
        match header.as_bytes()[156] {
            b'x' => records.extend(pax(&content)),
            b'L' => drop(records.insert(b"path".to_vec(), content[..end].to_vec())),
            b'K' => drop(records.insert(b"linkpath".to_vec(), content[..end].to_vec())),
            b'g' => {}
            flag => found.push(member(flag, &header, &std::mem::take(&mut records), &content)?),
        }
    }
    Ok(found)
}

fn pax(mut content: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    while let Some(space) = content.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&content[..space]).ok().and_then(|text| text.parse().ok());
        let Some(record) = length.and_then(|length: usize| content.get(space + 1..length)) else {
            break;
        };
        content = &content[space + 1 + record.len()..];
        let equals = record.iter().position(|byte| *byte == b'=').unwrap_or(0);
        let value = record.get(equals + 1..record.len().saturating_sub(1)).unwrap_or_default();
        records.insert(record[..equals].to_vec(), value.to_vec());
    }
    records
}

fn member(
    flag: u8,
    header: &tar::Header,
    records: &BTreeMap<Vec<u8>, Vec<u8>>,
    content: &[u8],
) -> Result<Entry, String> {
    let number = |key: &str, field: std::io::Result<u64>| {
        let record = records.get(key.as_bytes()).and_then(|value| std::str::from_utf8(value).ok());
        match record.map(str::parse) {
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(format!("`{key}` is no number")),
            None => field.map_err(|error| error.to_string()),
        }
    };
    let name =
        records.get(&b"path"[..]).cloned().unwrap_or_else(|| header.path_bytes().into_owned());
    let link = records.get(&b"linkpath"[..]).cloned();
    let link = link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
    let link = link.unwrap_or_default();
    let path = clean(&name);
    let device = || -> Result<String, String> {
        let number = |field: std::io::Result<Option<u32>>| field.map_err(|error| error.to_string());
        let (major, minor) = (number(header.device_major())?, number(header.device_minor())?);
        Ok(format!(" {}:{}", major.unwrap_or(0), minor.unwrap_or(0)))
    };
    let (kind, rest) = match flag {
        b'1' => return Ok(Entry { path, node: Node::Link(clean(&link)) }),
        b'2' => ('l', format!(" -> {}", escape(&link, b' '))),
        b'3' => ('c', device()?),
        b'4' => ('b', device()?),
        b'5' => ('d', String::new()),
        b'6' => ('p', String::new()),
        _ => ('f', format!(" {}", content_of(content))),
    };
    let mode = header.mode().map_err(|error| error.to_string())? & 0o7777;
    let owner = (number("uid", header.uid())?, number("gid", header.gid())?);
    let xattr = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.clone()))
    };
    let xattrs = records.iter().filter_map(xattr).collect();
    Ok(Entry { path, node: Node::Inode(Inode { kind, mode, owner, rest, xattrs }) })
}

fn clean(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.collect::<Vec<_>>().join(&b'/')
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    clean(&[directory, name].join(&b'/'))
}

/// Follows the links on a path, inside the tree.
fn follow(tree: &BTreeMap<Vec<u8>, usize>, inodes: &[Inode], path: &[u8]) -> Vec<u8> {
    let mut todo: Vec<Vec<u8>> =
        path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
    let (mut done, mut links) = (Vec::new(), 0);
    while let Some(name) = todo.pop() {
        match &name[..] {
            b"" | b"." => continue,
            b".." => {
                done = split(&done).0.to_vec();
                continue;
            }
            name => done = join(&done, name),
        }
        let inode = tree.get(&done).map(|inode| &inodes[*inode]);
        if let Some(target) =
            inode.filter(|i| i.kind == 'l').and_then(|i| i.rest.strip_prefix(" -> "))
        {
            links += 1;
            assert!(links < 100, "a loop of links at `{}`", escape(&done, 0));
            done = if target.starts_with('/') { Vec::new() } else { split(&done).0.to_vec() };
            todo.extend(target.split('/').rev().map(|part| part.as_bytes().to_vec()));
        }
    }
    done
}

fn make_parents(tree: &mut BTreeMap<Vec<u8>, usize>, inodes: &mut Vec<Inode>, directory: &[u8]) {
    if directory.is_empty() || tree.contains_key(directory) {
        return;
    }
    make_parents(tree, inodes, split(directory).0);
    let (rest, xattrs) = (String::new(), BTreeMap::new());
    inodes.push(Inode { kind: 'd', mode: 0o755, owner: (0, 0), rest, xattrs });
    tree.insert(directory.to_vec(), inodes.len() - 1);
}

fn remove(tree: &mut BTreeMap<Vec<u8>, usize>, path: &[u8]) {
    tree.remove(path);
    remove_below(tree, path);
}

fn remove_below(tree: &mut BTreeMap<Vec<u8>, usize>, path: &[u8]) {
    let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
    tree.retain(|other, _| !other.starts_with(&prefix));
}

fn blob(layout: &Path, descriptor: &Value) -> Result<Vec<u8>, String> {
    let stated = text(&descriptor["digest"]);
    let hex = stated.strip_prefix("sha256:").ok_or(format!("digest `{stated}`"))?;
    let bytes = read(&layout.join("blobs/sha256").join(hex))?;
    if digest(&bytes) != stated || descriptor["size"] != bytes.len() {
        return Err(format!("blob {stated} is not what its descriptor says"));
    }
    Ok(bytes)
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let done = match bytes {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut plain))
        }
        _ => return Ok(bytes.to_vec()),
    };
    done.map(|_| plain).map_err(|error| error.to_string())
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{flatten, list};
    use crate::tar_builder::{Member, TarBuilder};

    #[test]
    fn layers_lie_one_over_the_other() {
        let lower = TarBuilder::new()
            .dir("etc/", 0o755)
            .file("etc/passwd", "root")
            .file("etc/gone", "x")
            .symlink("bin", "usr/bin")
            .dir("usr/bin", 0o755)
            .dir("cache", 0o700)
            .file("cache/old", "x")
            .end();
        let upper = TarBuilder::new()
            .file("etc/.wh.gone", "")
            .member(&Member::file("bin/tool", "t").mode(0o755).owner(1, 2).xattr("user.a", "x\ny"))
            .hardlink("etc/tool", "usr/bin/tool")
            .file("cache/.wh..wh..opq", "")
            .file("new/file", "n")
            .end();
        let listed = list(&upper).expect("an archive");
        assert_eq!(listed[0], "w /etc/gone");
        assert_eq!(listed[3], "o /cache");
        let tree = flatten(&[lower, upper]).expect("two archives");
        assert_eq!(
            tree.lines().collect::<Vec<_>>(),
            [
                "l 0777 0:0 /bin -> usr/bin",
                "d 0700 0:0 /cache",
                "d 0755 0:0 /etc",
                r#"f 0644 0:0 /etc/passwd "root""#,
                r#"f 0755 1:2 /etc/tool "t" user.a="x\ny""#,
                "d 0755 0:0 /new",
                r#"f 0644 0:0 /new/file "n""#,
                "d 0755 0:0 /usr",
                "d 0755 0:0 /usr/bin",
                "h /usr/bin/tool = /etc/tool",
            ]
        );
    }
}
