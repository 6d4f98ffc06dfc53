//! What the environment says about who we are: docker's and podman's config files, and variables.
//!
//! Finds and reads; *does not* interpret: `registry` does. Files are read when the program starts,
//! before a root file system may change.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Environment;

/// No config is larger.
const CONFIG_LIMIT: u64 = 1 << 20;

/// Texts that credentials are found in. [`Debug`](std::fmt::Debug) shows where they come from only.
#[derive(Default)]
pub struct Authentication {
    /// Configs in docker's format, the most important first, with what messages call them.
    pub configs: Vec<(String, Vec<u8>)>,
    /// All variables: some hold credentials, and credential helpers get them.
    pub environment: Vec<(OsString, OsString)>,
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let configs: Vec<&String> = self.configs.iter().map(|(origin, _)| origin).collect();
        out.debug_struct("Authentication").field("configs", &configs).finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads `DOCKER_AUTH_CONFIG`, then the first config file that is there: docker's, in
    /// `DOCKER_CONFIG` or the home directory, then podman's. A home that belongs to somebody else
    /// (`HOME` often stays root's where the user is changed) is none.
    ///
    /// # Errors
    /// Where a file is there and cannot be read.
    pub fn authentication(&self) -> Result<Authentication, UnreadableConfig> {
        let mut configs = Vec::new();
        if let Some(text) = self.text("DOCKER_AUTH_CONFIG") {
            configs.push(("DOCKER_AUTH_CONFIG".to_owned(), text.as_bytes().to_vec()));
        }
        for (path, place) in self.config_files() {
            match read(&path) {
                Ok(Some(text)) => {
                    configs.push((path.display().to_string(), text));
                    break;
                }
                Ok(None) => {}
                Err(error) if place == Place::Usual && error.is_denied() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Authentication { configs, environment: self.pairs() })
    }

    /// Where `login` keeps credentials: docker's config, in `DOCKER_CONFIG` or the home directory.
    #[must_use]
    pub fn login_file(&self) -> Option<PathBuf> {
        let docker = self.get("DOCKER_CONFIG").map(PathBuf::from);
        let directory = docker.or_else(|| Some(Path::new(self.get("HOME")?).join(".docker")));
        directory.map(|directory| directory.join("config.json"))
    }

    fn config_files(&self) -> Vec<(PathBuf, Place)> {
        let below = |name: &str, rest: &str| Some(Path::new(self.get(name)?).join(rest));
        let candidates = [
            (below("DOCKER_CONFIG", "config.json"), Place::Named),
            (below("HOME", ".docker/config.json"), Place::Usual),
            (self.get("REGISTRY_AUTH_FILE").map(PathBuf::from), Place::Named),
            (below("XDG_RUNTIME_DIR", "containers/auth.json"), Place::Usual),
            (below("XDG_CONFIG_HOME", "containers/auth.json"), Place::Usual),
            (below("HOME", ".config/containers/auth.json"), Place::Usual),
        ];
        candidates.into_iter().filter_map(|(path, place)| Some((path?, place))).collect()
    }
}

/// How a file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A variable says that it is there.
    Named,
    /// It may be there.
    Usual,
}

/// A config file that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the registry credentials in `{}`", path.display())]
pub struct UnreadableConfig {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl UnreadableConfig {
    fn is_denied(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::PermissionDenied
    }
}

/// The config at a place, if there is one.
///
/// # Errors
/// Where it is there and cannot be read.
#[allow(clippy::disallowed_methods, reason = "files that the environment names, before the build")]
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, UnreadableConfig> {
    let failed = |source| UnreadableConfig { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(CONFIG_LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > CONFIG_LIMIT {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(text))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use testkit::ScratchRoot;

    use super::*;

    /// Files by their paths below a scratch directory, which is `$S` in the variables.
    fn check(files: &[&str], variables: &[(&str, &str)], expected: &[&str]) {
        let scratch = ScratchRoot::new();
        let root = scratch.path().display().to_string();
        for file in files {
            let path = scratch.path().join(file);
            let parent = path.parent().expect("because it is below the directory");
            std::fs::create_dir_all(parent).expect("because it is writable");
            std::fs::write(path, file).expect("because it is writable");
        }
        let variables: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (*name, value.replace("$S", &root))).collect();
        let pairs: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let found = Environment::from_pairs(&pairs).authentication().expect("all can be read");
        let found: Vec<String> = found
            .configs
            .iter()
            .map(|(origin, text)| {
                let text = String::from_utf8_lossy(text);
                format!("{}: {text}", origin.replace(&root, "$S"))
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_file_that_is_there() {
        let home = ("HOME", "$S/home");
        let docker = "home/.docker/config.json";
        let podman = "home/.config/containers/auth.json";
        check(&[], &[home], &[]);
        check(
            &[docker, podman],
            &[home],
            &["$S/home/.docker/config.json: home/.docker/config.json"],
        );
        let own = ("DOCKER_CONFIG", "$S/own");
        check(&[docker, "own/config.json"], &[home, own], &["$S/own/config.json: own/config.json"]);
        check(&[docker], &[home, own], &["$S/home/.docker/config.json: home/.docker/config.json"]);
        check(
            &[podman],
            &[home],
            &["$S/home/.config/containers/auth.json: home/.config/containers/auth.json"],
        );
        check(&[podman, "auth"], &[home, ("REGISTRY_AUTH_FILE", "$S/auth")], &["$S/auth: auth"]);
        check(
            &["run/containers/auth.json", podman],
            &[home, ("XDG_RUNTIME_DIR", "$S/run")],
            &["$S/run/containers/auth.json: run/containers/auth.json"],
        );
        check(
            &[docker],
            &[home, ("DOCKER_AUTH_CONFIG", "{}")],
            &["DOCKER_AUTH_CONFIG: {}", "$S/home/.docker/config.json: home/.docker/config.json"],
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let scratch = ScratchRoot::new();
        let path = scratch.path().join("config.json");
        std::fs::create_dir(&path).expect("because it is writable");
        let directory = scratch.path().to_str().expect("because it is ASCII");
        let environment = Environment::from_pairs(&[("DOCKER_CONFIG", directory)]);
        let error = environment.authentication().expect_err("a directory is no file");
        let expected = format!("cannot read the registry credentials in `{}`", path.display());
        assert_eq!(error.to_string(), expected);
    }
}
