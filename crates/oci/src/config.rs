//! The image config: how to start a container, and how the image came to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json::null_as_default;
use crate::manifest::{check_count, check_keys};
use crate::raw::Document;
use crate::{DiffId, Platform, Timestamp};

const CONFIG_LIMIT: usize = 8 << 20;
const MOST_LAYERS: usize = 1024;
const MOST_HISTORY: usize = 8192;
/// Environment variables, labels, ports, volumes, triggers.
const MOST_ENTRIES: usize = 16_384;

/// A set written as a JSON object whose values are empty objects, as Go writes its sets.
pub type GoSet = BTreeMap<String, Map<String, Value>>;

/// The image config document, in the order Go's types write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// The operating system.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// The version of the operating system.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How to start a container.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: ContainerConfig,
    /// The layers.
    #[serde(default, deserialize_with = "null_as_default")]
    pub rootfs: RootFs,
    /// What made the image, step by step.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Everything else, as it stood there.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The uncompressed layers, lowest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// The digests of the uncompressed tars.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<DiffId>,
}

fn layers() -> String {
    "layers".to_owned()
}

impl Default for RootFs {
    fn default() -> RootFs {
        RootFs { kind: layers(), diff_ids: Vec::new() }
    }
}

/// One step of the history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// By which instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub empty_layer: bool,
}

impl History {
    /// The entry of one of our steps; whether it made a layer is set where the entry is pushed.
    pub fn step(created_by: &str, created: Option<Timestamp>) -> History {
        History {
            created,
            created_by: Some(created_by.to_owned()),
            author: None,
            comment: Some(crate::HISTORY_COMMENT.to_owned()),
            empty_layer: false,
        }
    }
}

/// How to start a container, in the order Docker's types write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// The user and group.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// The ports, `80/tcp`.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: GoSet,
    /// The environment, `NAME=value`, in order.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its default arguments, or the program where there is no entrypoint.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Directories that want a volume.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: GoSet,
    /// The working directory.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Free text.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the program.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
    /// Windows: the command line is escaped already. Docker sets it with every CMD.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub args_escaped: bool,
    /// How to ask whether the program is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for images built from this one.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Seconds between the stop signal and the kill signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The shell of the shell forms.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Everything else, as it stood there.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

const CONTAINER_KEYS: &[&str] = &[
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "OnBuild",
    "StopTimeout",
    "Shell",
];

const IMAGE_KEYS: &[&str] = &[
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
];

impl ContainerConfig {
    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|entry| {
            let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
            (key == name).then_some(value)
        })
    }
}

/// How to ask a container whether it is well; times in nanoseconds, 0 is the runtime's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, `CMD` and a program, or `CMD-SHELL` and a script.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// For one check.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Before failures count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks of the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl ImageConfig {
    /// The platform the image says it is for.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
    }

    /// Makes the image one for another platform.
    pub fn set_platform(&mut self, platform: &Platform) {
        self.architecture.clone_from(&platform.architecture);
        self.os.clone_from(&platform.os);
        self.os_version.clone_from(&platform.os_version);
        self.os_features.clone_from(&platform.os_features);
        self.variant.clone_from(&platform.variant);
    }
}

impl Document for ImageConfig {
    const KIND: &'static str = "image config";
    const LIMIT: usize = CONFIG_LIMIT;

    fn validate(&self) -> Result<()> {
        check_keys::<ImageConfig>(&self.extra, IMAGE_KEYS, &[])?;
        check_keys::<ImageConfig>(&self.config.extra, CONTAINER_KEYS, &[])?;
        if self.rootfs.kind != "layers" {
            let problem = format!("`rootfs.type` is `{}`, not `layers`", self.rootfs.kind);
            return Err(Error::Document { kind: Self::KIND, problem });
        }
        let config = &self.config;
        check_count::<ImageConfig>("layers", self.rootfs.diff_ids.len(), MOST_LAYERS)?;
        check_count::<ImageConfig>("history entries", self.history.len(), MOST_HISTORY)?;
        for (entries, count) in [
            ("environment variables", config.env.len()),
            ("labels", config.labels.len()),
            ("ports", config.exposed_ports.len()),
            ("volumes", config.volumes.len()),
            ("triggers", config.on_build.len()),
        ] {
            check_count::<ImageConfig>(entries, count, MOST_ENTRIES)?;
        }
        Ok(())
    }
}
