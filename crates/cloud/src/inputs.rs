//! What says who we are: variables, and the files that they name. Read once at the start, so that
//! no image that is unpacked later has a say in it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::{Result, aws, azure, google};

/// The beginnings of the names that matter.
const PREFIXES: [&str; 7] = ["AWS_", "AZURE_", "GOOGLE_", "GCE_", "CLOUDSDK_", "IDENTITY_", "HOME"];

/// Variables and files.
#[derive(Default)]
pub struct Inputs {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, std::result::Result<Vec<u8>, io::ErrorKind>>,
}

impl fmt::Debug for Inputs {
    /// Values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("variables", &self.variables.keys())
            .field("files", &self.files.keys())
            .finish()
    }
}

impl Inputs {
    /// From the variables of an environment; `read` reads the files that they lead to.
    pub fn read<'a>(
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Self {
        let ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let given = variables.into_iter().filter(|(name, value)| ours(name) && !value.is_empty());
        let variables = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut inputs = Self { variables, files: BTreeMap::new() };
        // A file may name another one: the second round finds those.
        for _ in 0..2 {
            let named = [google::files(&inputs), aws::files(&inputs), azure::files(&inputs)];
            for path in named.into_iter().flatten() {
                let content = || read(&path).map_err(|error| error.kind());
                inputs.files.entry(path.clone()).or_insert_with(content);
            }
        }
        inputs
    }

    /// A variable; an empty one counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A file that must be there.
    pub(crate) fn file(&self, path: &Path) -> Result<&[u8]> {
        let failed =
            |kind: io::ErrorKind| Error::File { path: path.to_owned(), source: kind.into() };
        match self.files.get(path) {
            Some(Ok(content)) => Ok(content),
            Some(Err(kind)) => Err(failed(*kind)),
            None => Err(failed(io::ErrorKind::NotFound)),
        }
    }

    /// The text of a file that must be there, without white space around it.
    pub(crate) fn text(&self, path: &Path) -> Result<&str> {
        let text = std::str::from_utf8(self.file(path)?);
        text.map(str::trim).map_err(|_| Error::form(shown(path), "is not text"))
    }

    /// A file in a usual place, which may be missing or another user's.
    pub(crate) fn usual_file(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path).and_then(|content| content.as_deref().ok())
    }

    /// A file below the home directory.
    pub(crate) fn at_home(&self, rest: &str) -> Option<PathBuf> {
        self.get("HOME").map(|home| Path::new(home).join(rest))
    }
}

/// A path in a message.
pub(crate) fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}
