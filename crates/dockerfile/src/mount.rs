//! `RUN --mount`: its options as written, and what they mean once expanded.
//!
//! BuildKit reads them twice: at parse time only the CSV and a variable in `from` are checked, all
//! else when the step is lowered, because values may hold variables. [`MountFlag`] is the first
//! reading, [`MountFlag::resolve`] the second.

use crate::word::WordError;

/// One `--mount` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The CSV fields, in order.
    pub fields: Vec<String>,
}

/// What a `--mount` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `type`
    pub kind: MountKind,
    /// `from`: a stage, image or named context.
    pub from: Option<String>,
    /// `source`
    pub source: Option<String>,
    /// `target`
    pub target: Option<String>,
    /// Whether it is mounted read-only, the default of its type applied.
    pub read_only: bool,
    /// `id`
    pub id: Option<String>,
    /// `sharing`
    pub sharing: Option<Sharing>,
    /// `required`
    pub required: bool,
    /// `size` in bytes
    pub size: Option<u64>,
    /// `mode`
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
    /// `env`: the variable that holds the secret.
    pub env: Option<String>,
}

/// `type` of a mount
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountKind {
    /// `bind`, the default
    Bind,
    /// `cache`
    Cache,
    /// `tmpfs`
    Tmpfs,
    /// `secret`
    Secret,
    /// `ssh`
    Ssh,
}

/// `sharing` of a cache mount
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// `shared`, the default
    Shared,
    /// `private`
    Private,
    /// `locked`
    Locked,
}

/// Why a `--mount` is refused, in BuildKit's wording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// A value cannot be expanded.
    #[error(transparent)]
    Word(#[from] WordError),
    /// Anything else.
    #[error("{0}")]
    Invalid(String),
}

impl MountFlag {
    /// The value of `from`, which is never expanded.
    #[must_use]
    pub fn from(&self) -> Option<&str> {
        todo!()
    }

    /// Expands every value but `from` and checks the whole.
    ///
    /// # Errors
    /// In BuildKit's wording.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&str) -> Result<String, WordError>,
    ) -> Result<Mount, MountError> {
        let _ = expand;
        todo!()
    }
}
