//! Real base images without a network registry, as OCI layouts.
//!
//! busybox from Debian's static binary (a second), Debian by mmdebstrap (half a minute, cached).
//! The layouts are for skopeo, umoci and our own programs to read.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::fault::FaultRegistry;
use crate::http_server::Page;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// All entries have this time, so that equal content gives an equal digest.
const TIME: u64 = 1_700_000_000;

/// Makes (or replaces) an image `tag` with busybox in the OCI layout at `layout`.
///
/// # Errors
/// Where busybox is not installed or the layout cannot be written.
pub fn busybox(layout: &Path, tag: &str) -> Result<(), String> {
    busybox_with(layout, tag, &json!({ "Env": [PATH], "Cmd": ["sh"] }))
}

/// The same with another `config` in its config.
///
/// # Errors
/// Where busybox is not installed or the layout cannot be written.
pub fn busybox_with(layout: &Path, tag: &str, config: &Value) -> Result<(), String> {
    write_layout(layout, tag, &busybox_tar()?, config)
}

/// Makes (or replaces) an image `tag` with Debian's minbase in the OCI layout at `layout`. The root
/// file system is kept in `cache` for the next time.
///
/// # Errors
/// Where mmdebstrap is not installed or fails, or the layout cannot be written.
pub fn debian(layout: &Path, tag: &str, cache: &Path) -> Result<(), String> {
    let tar = debian_tar(cache)?;
    let tar = std::fs::read(&tar).map_err(|error| format!("{}: {error}", tar.display()))?;
    write_layout(layout, tag, &tar, &json!({ "Env": [PATH], "Cmd": ["bash"] }))
}

/// The manifest of an image of these layers, whatever is in them; `put` stores a blob.
fn manifest_of(layers: &[Vec<u8>], mut put: impl FnMut(Vec<u8>)) -> Vec<u8> {
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    let mut described = |media_type: &str, content: Vec<u8>| {
        let (digest, size) = (format!("sha256:{}", hex(&content)), content.len());
        put(content);
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    };
    let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in layers {
        let (stored, form) = match layer.first_chunk() {
            Some(b"\x1f\x8b") => (layer.clone(), "gzip"),
            Some(b"\x28\xb5") => (layer.clone(), "zstd"),
            _ => (crate::tar_builder::gzip(layer), "gzip"),
        };
        // One that cannot be read has no right name.
        let plain = decoded(&stored);
        diff_ids.push(format!("sha256:{}", hex(plain.as_ref().unwrap_or(layer))));
        descriptors.push(described(&format!("{LAYER}+{form}"), stored));
    }
    let config = bytes(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Env": [PATH] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }));
    let config = described("application/vnd.oci.image.config.v1+json", config);
    bytes(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors,
    }))
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of these layers, whatever is in them, as the pages of a registry that serves it as
/// `repository:latest`. A layer that is not compressed is served as gzip.
#[must_use]
pub fn served(repository: &str, layers: &[Vec<u8>]) -> Vec<Page> {
    let mut pages = vec![Page::new("/v2/", "{}")];
    let manifest = manifest_of(layers, |content| {
        let path = format!("/v2/{repository}/blobs/sha256:{}", hex(&content));
        pages.push(Page::new(&path, content));
    });
    let digest = format!("sha256:{}", hex(&manifest));
    for reference in ["latest", &digest] {
        let page = Page::new(&format!("/v2/{repository}/manifests/{reference}"), manifest.clone());
        let page = page.header("Content-Type", MANIFEST);
        pages.push(page.header("Docker-Content-Digest", &digest));
    }
    pages
}

/// The same in a registry whose answers can be spoilt.
pub fn store(registry: &FaultRegistry, repository: &str, layers: &[Vec<u8>]) {
    let manifest = manifest_of(layers, |content| {
        registry.put_blob(repository, &content);
    });
    registry.put_manifest(repository, "latest", MANIFEST, &manifest);
}

/// The content of a layer, if it is whole and not too large.
fn decoded(stored: &[u8]) -> Option<Vec<u8>> {
    const MOST: u64 = 64 << 20;
    let reader: Box<dyn Read> = match stored.first_chunk() {
        Some(b"\x28\xb5") => Box::new(zstd::Decoder::new(stored).ok()?),
        _ => Box::new(flate2::read::MultiGzDecoder::new(stored)),
    };
    let mut plain = Vec::new();
    reader.take(MOST + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 <= MOST).then_some(plain)
}

/// Writes an image of one gzip layer into an OCI layout, beside the images that are there.
///
/// # Errors
/// Where the layout cannot be written.
pub fn write_layout(layout: &Path, tag: &str, tar: &[u8], config: &Value) -> Result<(), String> {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(|error| error.to_string())?;
    let put = |bytes: &[u8]| -> Result<(String, usize), String> {
        let digest = hex(bytes);
        std::fs::write(blobs.join(&digest), bytes).map_err(|error| error.to_string())?;
        Ok((format!("sha256:{digest}"), bytes.len()))
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(1));
    gzip.write_all(tar).map_err(|error| error.to_string())?;
    let (layer, layer_size) = put(&gzip.finish().map_err(|error| error.to_string())?)?;
    let (config, config_size) = put(&bytes(&json!({
        "created": "2023-11-14T22:13:20Z",
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(tar))] },
        "history": [{ "created": "2023-11-14T22:13:20Z", "created_by": "base image of the tests" }],
    })))?;
    let (manifest, manifest_size) = put(&bytes(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config, "size": config_size,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer, "size": layer_size,
        }],
    })))?;
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": manifest,
        "size": manifest_size,
        "platform": { "architecture": "amd64", "os": "linux" },
        "annotations": { "org.opencontainers.image.ref.name": tag },
    });
    write_index(layout, tag, descriptor)
}

fn write_index(layout: &Path, tag: &str, descriptor: Value) -> Result<(), String> {
    let file = layout.join("index.json");
    let old = std::fs::read(&file).unwrap_or_default();
    let old: Value = serde_json::from_slice(&old).unwrap_or_default();
    let mut manifests: Vec<Value> = old["manifests"].as_array().cloned().unwrap_or_default();
    manifests.retain(|one| one["annotations"]["org.opencontainers.image.ref.name"] != tag);
    manifests.push(descriptor);
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    let layout_file = layout.join("oci-layout");
    std::fs::write(layout_file, br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(|e| e.to_string())?;
    std::fs::write(file, bytes(&index)).map_err(|error| error.to_string())
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files of busybox as a tar.
///
/// # Errors
/// Where busybox is not installed.
pub fn busybox_tar() -> Result<Vec<u8>, String> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|p| p.exists());
    let program = program.ok_or("busybox is not installed (package busybox-static)")?;
    let binary = std::fs::read(program).map_err(|error| error.to_string())?;
    let list = output(Command::new(program).arg("--list"))?;
    let mut tar = Builder::new(Vec::new());
    for (path, mode) in [
        ("bin/", 0o755),
        ("etc/", 0o755),
        ("home/", 0o755),
        ("root/", 0o700),
        ("sbin/", 0o755),
        ("tmp/", 0o1777),
        ("usr/", 0o755),
        ("usr/bin/", 0o755),
        ("usr/sbin/", 0o755),
        ("var/", 0o755),
    ] {
        add(&mut tar, EntryType::Directory, path, mode, &[], None)?;
    }
    add(&mut tar, EntryType::Regular, "bin/busybox", 0o755, &binary, None)?;
    for applet in list.lines().filter(|name| !name.is_empty() && *name != "busybox") {
        let path = format!("bin/{applet}");
        add(&mut tar, EntryType::Link, &path, 0o755, &[], Some("bin/busybox"))?;
    }
    add(&mut tar, EntryType::Symlink, "usr/bin/env", 0o777, &[], Some("../../bin/env"))?;
    let passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
                  www-data:x:33:33:www-data:/var/www:/bin/false\n\
                  nobody:x:65534:65534:nobody:/home:/bin/false\n";
    let group = "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n";
    add(&mut tar, EntryType::Regular, "etc/passwd", 0o644, passwd.as_bytes(), None)?;
    add(&mut tar, EntryType::Regular, "etc/group", 0o644, group.as_bytes(), None)?;
    tar.into_inner().map_err(|error| error.to_string())
}

fn add(
    tar: &mut Builder<Vec<u8>>,
    kind: EntryType,
    path: &str,
    mode: u32,
    content: &[u8],
    target: Option<&str>,
) -> Result<(), String> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(path).map_err(|error| error.to_string())?;
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(TIME);
    header.set_size(content.len() as u64);
    if let Some(target) = target {
        header.set_link_name(target).map_err(|error| error.to_string())?;
    }
    header.set_cksum();
    tar.append(&header, content).map_err(|error| error.to_string())
}

/// What mmdebstrap is told. Part of the cache's name, so that a change makes a new image.
const DEBIAN: &[&str] = &[
    "--quiet",
    "--variant=minbase",
    "--mode=root",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    r##"--customize-hook=printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod +x "$1/usr/sbin/policy-rc.d""##,
    r#"--customize-hook=echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/unsafe-io""#,
    r#"--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname""#,
    "bookworm",
];

fn debian_tar(cache: &Path) -> Result<PathBuf, String> {
    let file = cache.join(format!("debian-{}.tar", &hex(DEBIAN.concat().as_bytes())[..12]));
    if file.exists() {
        return Ok(file);
    }
    std::fs::create_dir_all(cache).map_err(|error| error.to_string())?;
    let fresh = cache.join(format!("debian-{}.tmp.tar", std::process::id()));
    let environment: BTreeMap<&str, &str> =
        [("SOURCE_DATE_EPOCH", "1700000000"), ("DEBIAN_FRONTEND", "noninteractive")].into();
    output(Command::new("mmdebstrap").envs(environment).args(DEBIAN).arg(&fresh))?;
    std::fs::rename(&fresh, &file).map_err(|error| error.to_string())?;
    Ok(file)
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let result = command.output().map_err(|error| format!("cannot start {name}: {error}"))?;
    if !result.status.success() {
        let text = String::from_utf8_lossy(&result.stderr).into_owned();
        return Err(format!("{name} failed ({}): {text}", result.status));
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_image_has_the_same_digest() {
        let name = format!("kaniko-base-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let index = |name: &str| {
            let layout = directory.join(name);
            busybox(&layout, "latest").expect("because busybox is installed");
            busybox(&layout, "latest").expect("because busybox is installed");
            std::fs::read_to_string(layout.join("index.json")).expect("because it was written")
        };
        let (first, second) = (index("a"), index("b"));
        let _ = std::fs::remove_dir_all(&directory);
        assert_eq!(first, second);
        assert_eq!(first.matches("ref.name").count(), 1);
    }
}
