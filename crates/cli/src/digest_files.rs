//! The files and addresses that are told what was pushed.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::grammar::Values;

/// Who is told, and how: the same for a build and for `push`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestFlags {
    /// `--digest-file`.
    pub digest: Option<Place>,
    /// `--image-name-with-digest-file`.
    pub names: Option<Place>,
    /// `--image-name-tag-with-digest-file`.
    pub tagged_names: Option<Place>,
    /// The file `images` in the directory that `BUILDER_OUTPUT` names.
    pub images: Option<PathBuf>,
}

/// A file, or an address that takes it by HTTP PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file, relative to the working directory.
    File(PathBuf),
    /// An `https` address.
    Web(String),
}

impl DigestFlags {
    /// What flags and environment say.
    pub(crate) fn read(values: &Values, environment: &Environment) -> DigestFlags {
        let place = |name| values.text(name).map(Place::parse);
        DigestFlags {
            digest: place("digest-file"),
            names: place("image-name-with-digest-file"),
            tagged_names: place("image-name-tag-with-digest-file"),
            images: environment.text("BUILDER_OUTPUT").map(|path| Path::new(path).join("images")),
        }
    }
}

impl Place {
    fn parse(text: String) -> Place {
        match text.starts_with("https://") {
            true => Place::Web(text),
            false => Place::File(PathBuf::from(text)),
        }
    }
}
