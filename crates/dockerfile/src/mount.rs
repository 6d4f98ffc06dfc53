//! `RUN --mount`: its options as written, and what they mean once expanded.
//!
//! BuildKit reads them twice: at parse time only the CSV and a variable in `from` are checked, all
//! else when the step is lowered, because values may hold variables. [`MountFlag`] is the first
//! reading, [`MountFlag::resolve`] the second. Empty values are as good as absent, as in BuildKit,
//! but for `env`.

use crate::csv;
use crate::error::suggest;
use crate::text::{parse_bool, quote};
use crate::word::WordError;

/// One `--mount` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The CSV fields, in order.
    fields: Vec<String>,
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

/// The keys of a mount, for suggestions.
const KEYS: &[&str] = &[
    "destination",
    "dst",
    "env",
    "from",
    "gid",
    "id",
    "mode",
    "readonly",
    "readwrite",
    "required",
    "ro",
    "rw",
    "sharing",
    "size",
    "source",
    "src",
    "target",
    "type",
    "uid",
];

impl MountKind {
    /// The word for it in a Dockerfile.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

impl MountFlag {
    /// Reads the value of `--mount`.
    ///
    /// # Errors
    /// For broken CSV, and for a variable in `from`.
    pub fn parse(text: &str) -> Result<Self, MountError> {
        let fields = csv::fields(text)
            .map_err(|error| MountError::Invalid(format!("failed to parse csv mounts: {error}")))?;
        let flag = Self { fields };
        let is_variable = |value: &str| value.find('$').is_some_and(|at| at + 1 < value.len());
        if flag.values("from").any(is_variable) {
            return Err(MountError::Invalid(
                "'from' doesn't support variable expansion, define alias stage instead".to_owned(),
            ));
        }
        Ok(flag)
    }

    /// The CSV fields, in order.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The value of `from`, which is never expanded.
    #[must_use]
    pub fn from(&self) -> Option<&str> {
        self.values("from").last().filter(|from| !from.is_empty())
    }

    fn values(&self, wanted: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter_map(|field| field.split_once('='))
            .filter(move |(key, _)| key.to_lowercase() == wanted)
            .map(|(_, value)| value)
    }

    /// Expands every value but `from` and checks the whole.
    ///
    /// # Errors
    /// In BuildKit's wording.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&str) -> Result<String, WordError>,
    ) -> Result<Mount, MountError> {
        let mut reader = MountReader::default();
        for field in &self.fields {
            match field.split_once('=') {
                None => reader.word(field)?,
                Some((key, value)) => {
                    let key = key.to_lowercase();
                    let value = if key == "from" { value.to_owned() } else { expand(value)? };
                    reader.pair(&key, value, field)?;
                }
            }
        }
        reader.finish()
    }
}

fn refuse<T>(message: String) -> Result<T, MountError> {
    Err(MountError::Invalid(message))
}

/// With the nearest of `options` appended.
fn refuse_with<T>(message: String, value: &str, options: &[&str]) -> Result<T, MountError> {
    refuse(match suggest(value, options) {
        Some(suggestion) => format!("{message} (did you mean {suggestion}?)"),
        None => message,
    })
}

struct MountReader {
    mount: Mount,
    /// Whether a field says if it is read-only.
    explicit: bool,
}

impl Default for MountReader {
    fn default() -> Self {
        let mount = Mount {
            kind: MountKind::Bind,
            from: None,
            source: None,
            target: None,
            read_only: false,
            id: None,
            sharing: None,
            required: false,
            size: None,
            mode: None,
            uid: None,
            gid: None,
            env: None,
        };
        Self { mount, explicit: false }
    }
}

impl MountReader {
    fn read_only(&mut self, read_only: bool) {
        self.mount.read_only = read_only;
        self.explicit = true;
    }

    /// Checks that the type seen so far is one of `kinds`: `type` has to stand before `key`.
    fn only_for(&self, key: &str, kinds: &[MountKind]) -> Result<(), MountError> {
        let kind = self.mount.kind;
        if kinds.contains(&kind) {
            return Ok(());
        }
        refuse(format!("unexpected key '{key}' for mount type '{}'", kind.as_str()))
    }

    fn word(&mut self, field: &str) -> Result<(), MountError> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.read_only(true),
            "readwrite" | "rw" => self.read_only(false),
            "required" => {
                self.only_for("required", &[MountKind::Secret, MountKind::Ssh])?;
                self.mount.required = true;
            }
            _ => return refuse(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn pair(&mut self, key: &str, value: String, field: &str) -> Result<(), MountError> {
        let bool = |value: &str| {
            parse_bool(value).map_or_else(
                || refuse(format!("invalid value for {key}: {value}")),
                Ok::<bool, MountError>,
            )
        };
        let number = |value: &str, radix| {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            match u32::from_str_radix(value, radix) {
                Ok(number) if digits => Ok(number),
                _ => refuse(format!("invalid value {value} for {key}")),
            }
        };
        let not_empty = |value: String| Some(value).filter(|value| !value.is_empty());
        match key {
            "type" => self.mount.kind = kind(&value)?,
            "from" => self.mount.from = not_empty(value),
            "source" | "src" => self.mount.source = not_empty(value),
            "target" | "dst" | "destination" => self.mount.target = not_empty(value),
            "readonly" | "ro" => self.read_only(bool(&value)?),
            "readwrite" | "rw" => self.read_only(!bool(&value)?),
            "required" => {
                self.only_for(key, &[MountKind::Secret, MountKind::Ssh])?;
                self.mount.required = bool(&value)?;
            }
            "size" => {
                self.only_for(key, &[MountKind::Tmpfs])?;
                self.mount.size = match size(&value) {
                    Some(size) => Some(size),
                    None => return refuse(format!("invalid value for size: {value}")),
                };
            }
            "id" => self.mount.id = not_empty(value),
            "sharing" => self.mount.sharing = Some(sharing(&value)?),
            "mode" => self.mount.mode = Some(number(&value, 8)?),
            "uid" => self.mount.uid = Some(number(&value, 10)?),
            "gid" => self.mount.gid = Some(number(&value, 10)?),
            "env" => self.mount.env = Some(value),
            _ => return refuse_with(format!("unexpected key '{key}' in '{field}'"), key, KEYS),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Mount, MountError> {
        let kind = self.mount.kind;
        let mount = &self.mount;
        if matches!(kind, MountKind::Bind | MountKind::Tmpfs) {
            let given = [("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return refuse(format!("{key} not allowed for \"{}\" type mounts", kind.as_str()));
            }
        }
        if kind == MountKind::Secret {
            let wrong = if mount.from.is_some() {
                Some("secret mount should not have a from")
            } else if mount.sharing.is_some() {
                Some("secret mount should not define sharing")
            } else if mount.source.is_none() && mount.target.is_none() && mount.id.is_none() {
                Some("invalid secret mount. one of source, target required")
            } else if mount.source.is_some() && mount.id.is_some() {
                Some("both source and id can't be set")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                return refuse(wrong.to_owned());
            }
        }
        if mount.sharing.is_some() && kind != MountKind::Cache {
            return refuse(format!("invalid cache sharing set for {} mount", kind.as_str()));
        }
        if !self.explicit {
            self.mount.read_only = !matches!(kind, MountKind::Cache | MountKind::Tmpfs);
        }
        Ok(self.mount)
    }
}

fn kind(value: &str) -> Result<MountKind, MountError> {
    match value.to_lowercase().as_str() {
        "bind" => Ok(MountKind::Bind),
        "cache" => Ok(MountKind::Cache),
        "tmpfs" => Ok(MountKind::Tmpfs),
        "secret" => Ok(MountKind::Secret),
        "ssh" => Ok(MountKind::Ssh),
        _ => refuse_with(
            format!("unsupported mount type {}", quote(value)),
            value,
            &["bind", "cache", "secret", "ssh", "tmpfs"],
        ),
    }
}

fn sharing(value: &str) -> Result<Sharing, MountError> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => refuse_with(
            format!("unsupported sharing value {}", quote(value)),
            value,
            &["locked", "private", "shared"],
        ),
    }
}

/// A size as docker writes it: `10m`, `1.5GiB`, `512`; units are powers of 1024.
fn size(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')?;
    let (number, suffix) = match text.as_bytes()[end] {
        b' ' => (&text[..end], &text[end + 1..]),
        _ => text.split_at(end + 1),
    };
    if !number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+')) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let bytes = number * (1u64 << shift) as f64;
    // Past this a float is no exact count of bytes, and no memory is that large.
    (bytes < 9e18).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::{MountFlag, size};

    fn check(text: &str, expected: &str) {
        let mut expand = |word: &str| Ok(word.replace("$X", "x"));
        let got = match MountFlag::parse(text).and_then(|flag| flag.resolve(&mut expand)) {
            Ok(mount) => {
                let access = if mount.read_only { "ro" } else { "rw" };
                let mut out = format!("{} {access}", mount.kind.as_str());
                for (key, value) in [
                    ("from", &mount.from),
                    ("source", &mount.source),
                    ("target", &mount.target),
                    ("id", &mount.id),
                    ("env", &mount.env),
                ] {
                    out.extend(value.iter().map(|value| format!(" {key}={value}")));
                }
                for (key, value) in [("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)] {
                    out.extend(value.map(|value| format!(" {key}={value:o}")));
                }
                out.extend(mount.size.map(|size| format!(" size={size}")));
                out.extend(mount.sharing.map(|sharing| format!(" {sharing:?}")));
                if mount.required {
                    out.push_str(" required");
                }
                out
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn reads_every_option() {
        check("target=/a", "bind ro target=/a");
        check("type=bind,from=b,src=/s,dst=/$X,rw", "bind rw from=b source=/s target=/x");
        check("TYPE=CACHE,destination=/a,ro", "cache ro target=/a");
        check(
            "type=cache,id=i,sharing=Locked,mode=0700,uid=8,gid=9,target=/a",
            "cache rw target=/a id=i mode=700 uid=10 gid=11 Locked",
        );
        check("type=tmpfs,size=1.5KiB,target=/a,readonly=true", "tmpfs ro target=/a size=1536");
        check("type=secret,id=i,required,env=E", "secret ro id=i env=E required");
        check("type=secret,source=s,env=", "secret ro source=s env=");
        check("type=ssh,required=0", "ssh ro");
        check("\"target=/a,b\",rw=false", "bind ro target=/a,b");
        check("from=a$,target=/a", "bind ro from=a$ target=/a");
    }

    #[test]
    fn refuses_in_buildkits_words() {
        check("", "failed to parse csv mounts: EOF");
        check("from=$X", "'from' doesn't support variable expansion, define alias stage instead");
        check("type=cahce", "unsupported mount type \"cahce\" (did you mean cache?)");
        check("foo=bar", "unexpected key 'foo' in 'foo=bar' (did you mean from?)");
        check("foo", "invalid field 'foo' must be a key=value pair");
        check("target", "invalid field 'target' must be a key=value pair");
        check("ro=x", "invalid value for ro: x");
        check("required", "unexpected key 'required' for mount type 'bind'");
        check("size=1,type=tmpfs", "unexpected key 'size' for mount type 'bind'");
        check("type=tmpfs,size=x", "invalid value for size: x");
        check("type=cache,mode=999", "invalid value 999 for mode");
        check("type=cache,uid=+1", "invalid value +1 for uid");
        check("type=tmpfs,mode=700", "mode not allowed for \"tmpfs\" type mounts");
        check("gid=1", "gid not allowed for \"bind\" type mounts");
        check("type=secret", "invalid secret mount. one of source, target required");
        check("type=secret,id=a,from=b", "secret mount should not have a from");
        check("type=secret,id=a,sharing=shared", "secret mount should not define sharing");
        check("type=secret,id=a,source=b", "both source and id can't be set");
        check("sharing=shared", "invalid cache sharing set for bind mount");
        check("sharing=share", "unsupported sharing value \"share\" (did you mean shared?)");
    }

    #[test]
    fn reads_sizes_as_docker_does() {
        for (text, expected) in [
            ("10m", Some(10 << 20)),
            ("1GiB", Some(1 << 30)),
            ("1 kb", Some(1024)),
            ("512", Some(512)),
            ("0.5k", Some(512)),
            ("1bb", None),
            ("1kbb", None),
            ("-1", None),
            ("x", None),
            ("", None),
            ("99999999999P", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
