//! The Container Device Interface: what `vendor.com/class=name` stands for, by the specs in
//! `/etc/cdi` and `/var/run/cdi`.
//!
//! Device nodes and variables are carried out. A device whose spec asks for more (mounts, hooks,
//! groups) is refused by the name of what it asks for, since half of a device does not work. Specs
//! in YAML are not read, and a name that is not found says so.

use std::collections::BTreeMap;
use std::path::Path;

use rootfs::{RootDir, RootPath};
use serde::Deserialize;
use serde_json::Value;

use super::{Found, Node, below_dev, host_node, refused};
use crate::Result;

/// The first one wins where two know the same name, as the specification has it.
const DIRECTORIES: [&str; 2] = ["/var/run/cdi", "/etc/cdi"];

/// More than any spec has.
const LARGEST: u64 = 8 << 20;

/// All specs of the machine as they were when the builder started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    specs: Vec<Spec>,
    /// Specs that could not be read, with the reason.
    unread: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Spec {
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default, rename = "containerEdits")]
    edits: Edits,
}

#[derive(Clone, Debug, Deserialize)]
struct Device {
    name: String,
    #[serde(default, rename = "containerEdits")]
    edits: Edits,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Edits {
    #[serde(default)]
    env: Vec<String>,
    #[serde(default, rename = "deviceNodes")]
    nodes: Vec<SpecNode>,
    /// What is not carried out.
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecNode {
    path: String,
    host_path: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Catalogue {
    /// Reads the specs, before a build in place puts something else where they are.
    pub(crate) fn read() -> Self {
        let mut catalogue = Self::default();
        for directory in DIRECTORIES {
            if let Ok(directory) = RootDir::open(Path::new(directory)) {
                catalogue.read_all(&directory);
            }
        }
        catalogue
    }

    fn read_all(&mut self, directory: &RootDir) {
        for entry in directory.read_dir(&RootPath::root()).unwrap_or_default() {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let extension = Path::new(&name).extension().and_then(|text| text.to_str());
            match extension {
                Some("json") => match read_spec(directory, &entry.name) {
                    Ok(spec) => self.specs.push(spec),
                    Err(reason) => self.unread.push(format!("`{name}`: {reason}")),
                },
                Some("yaml" | "yml") => self.unread.push(format!("`{name}`: it is not JSON")),
                Some(_) | None => {}
            }
        }
    }

    /// Nodes and variables of a fully qualified name, of the first device of a kind (no name), or
    /// of all of them (`*`).
    pub(super) fn by_name(&self, name: &str) -> Result<Option<Found>> {
        let (kind, device) = name.split_once('=').unwrap_or((name, ""));
        let mut found: Option<Found> = None;
        for spec in self.specs.iter().filter(|spec| spec.kind == kind) {
            let wanted = |known: &&Device| matches!(device, "" | "*") || known.name == device;
            for one in spec.devices.iter().filter(wanted) {
                let all = found.get_or_insert_default();
                add(name, &spec.edits, all)?;
                add(name, &one.edits, all)?;
                if device != "*" {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// In words why a name leads nowhere.
    pub(super) fn why_unknown(&self, name: &str) -> String {
        let reason = match name.starts_with('/') {
            true => "the builder has no such device".to_owned(),
            false => format!("no spec in {} or {} has it", DIRECTORIES[1], DIRECTORIES[0]),
        };
        match self.unread.first().filter(|_| !name.starts_with('/')) {
            Some(unread) => format!("{reason}, and one could not be read, {unread}"),
            None => reason,
        }
    }
}

fn read_spec(directory: &RootDir, name: &[u8]) -> Result<Spec, String> {
    let path = RootPath::root().join(name).map_err(|error| error.to_string())?;
    let text = directory.read(&path, LARGEST).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn add(name: &str, edits: &Edits, found: &mut Found) -> Result<()> {
    let asks = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    if let Some((key, _)) = edits.other.iter().find(|(_, value)| asks(value)) {
        return Err(refused(name, format!("its spec asks for `{key}`, which is not supported")));
    }
    for variable in &edits.env {
        let pair = variable.split_once('=');
        let (key, value) = pair.ok_or_else(|| {
            refused(name, format!("its spec has the variable `{variable}` without a value"))
        })?;
        found.env.push((key.to_owned(), value.to_owned()));
    }
    for node in &edits.nodes {
        found.nodes.push(resolve(name, node)?);
    }
    Ok(())
}

/// A node as a spec describes it; what it leaves open is as on the builder's side.
fn resolve(name: &str, spec: &SpecNode) -> Result<Node> {
    let path = below_dev(name, &spec.path)?;
    if let Some(permissions) = spec.permissions.as_deref().filter(|text| !text.is_empty())
        && !(permissions.contains('r') && permissions.contains('w'))
    {
        // It would take a control group of the step's own to hold it to that.
        let reason = format!("its spec restricts `{path}` to `{permissions}`");
        return Err(refused(name, reason));
    }
    let host = host_node(&RootPath::new(spec.host_path.as_deref().unwrap_or(&spec.path))?)?;
    let missing = || refused(name, format!("the builder has no device `{path}`"));
    let block = match (spec.kind.as_deref(), &host) {
        (Some("b"), _) => true,
        (Some("c" | "u"), _) => false,
        (None | Some(""), Some(host)) => host.block,
        (None | Some(""), None) => return Err(missing()),
        (Some(kind), _) => {
            return Err(refused(
                name,
                format!("its spec makes `{path}` a device of type `{kind}`"),
            ));
        }
    };
    let number = match (spec.major, spec.minor, &host) {
        (Some(major), Some(minor), _) => (major, minor),
        (_, _, Some(host)) => host.number,
        (_, _, None) => return Err(missing()),
    };
    let like = host.as_ref();
    let node = Node {
        host: None,
        block,
        number,
        mode: spec.file_mode.or(like.map(|host| host.mode)).unwrap_or(0o666) & 0o777,
        owner: (
            spec.uid.or(like.map(|host| host.owner.0)).unwrap_or(0),
            spec.gid.or(like.map(|host| host.owner.1)).unwrap_or(0),
        ),
        path,
    };
    let same = like.filter(|host| {
        let plain = |node: &Node| (node.block, node.number, node.mode & 0o777, node.owner);
        plain(host) == plain(&node)
    });
    Ok(Node { host: same.and_then(|host| host.host.clone()), ..node })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write specs")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{DeviceRequest, Error};

    fn catalogue(files: &[(&str, &str)]) -> Catalogue {
        let scratch = testkit::ScratchRoot::new();
        let directory = RootDir::open(scratch.path()).expect("because it was just made");
        for (name, text) in files {
            std::fs::write(scratch.path().join(name), text).expect("because it is writable");
        }
        let mut catalogue = Catalogue::default();
        catalogue.read_all(&directory);
        catalogue
    }

    const SPEC: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/class",
        "containerEdits": {"env": ["ALL=1"], "mounts": [], "hooks": null},
        "devices": [
            {"name": "a", "containerEdits": {"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/null"}]}},
            {"name": "b", "containerEdits": {"env": ["B=x=y"], "deviceNodes": [
                {"path": "/dev/vendor/b", "type": "b", "major": 7, "minor": 1, "fileMode": 384, "gid": 5}]}},
            {"name": "mounts", "containerEdits": {"mounts": [{"hostPath": "/x", "containerPath": "/x"}]}},
            {"name": "elsewhere", "containerEdits": {"deviceNodes": [{"path": "/x", "hostPath": "/dev/null"}]}},
            {"name": "readable", "containerEdits": {"deviceNodes": [{"path": "/dev/null", "permissions": "r"}]}},
            {"name": "absent", "containerEdits": {"deviceNodes": [{"path": "/dev/not-there"}]}}
        ]}"#;

    fn check(name: &str, expected: &str) {
        let catalogue = catalogue(&[("a.json", SPEC), ("b.yaml", "kind: x"), ("c.txt", "")]);
        let request = DeviceRequest { name: name.to_owned(), required: true };
        let found = match catalogue.resolve(&[request]) {
            Ok(found) => {
                let env = found.env.iter().map(|(key, value)| format!("{key}={value}"));
                let nodes = found.nodes.iter().map(|node| {
                    let kind = if node.block { 'b' } else { 'c' };
                    let host = node.host.as_ref().map_or(String::new(), |host| format!(" {host}"));
                    let ((major, minor), (uid, gid)) = (node.number, node.owner);
                    format!(
                        "{} {kind} {major}:{minor} {:o} {uid}:{gid}{host}",
                        node.path,
                        node.mode & 0o777
                    )
                });
                env.chain(nodes).collect::<Vec<_>>().join(", ")
            }
            Err(Error::Device { reason, .. }) => reason,
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn names_are_resolved() {
        // Its mode is the machine's, usually 666.
        let mode =
            std::fs::metadata("/dev/null").expect("because it is there").permissions().mode();
        let null = format!("c 1:3 {:o} 0:0 /dev/null", mode & 0o777);
        check("vendor.com/class=a", &format!("ALL=1, /dev/a {null}"));
        check("vendor.com/class", &format!("ALL=1, /dev/a {null}"));
        check("vendor.com/class=b", "ALL=1, B=x=y, /dev/vendor/b b 7:1 600 0:5");
        check("/dev/null", &format!("/dev/null {null}"));
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        check("vendor.com/class=mounts", "its spec asks for `mounts`, which is not supported");
        check("vendor.com/class=elsewhere", "`/x` is not below /dev");
        check("vendor.com/class=readable", "its spec restricts `/dev/null` to `r`");
        check("vendor.com/class=absent", "the builder has no device `/dev/not-there`");
        let unread = "no spec in /etc/cdi or /var/run/cdi has it, and one could not be read, \
                      `b.yaml`: it is not JSON";
        check("vendor.com/class=c", unread);
        check("other.com/class", unread);
        check("/dev/not-there", "the builder has no such device");
        check("/dev/../etc/passwd", "`/etc/passwd` is not below /dev");
        check("/dev", "`/dev` is not below /dev");
    }

    #[test]
    fn what_is_not_required_is_left_out() {
        let request = DeviceRequest { name: "other.com/class=a".to_owned(), required: false };
        let found = catalogue(&[("broken.json", "{")]).resolve(&[request]);
        assert_eq!(found.expect("because it is not required"), Found::default());
    }
}
