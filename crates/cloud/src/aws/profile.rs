//! A profile of Amazon's configuration files, which are sections of `name = value`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::inputs::Inputs;

/// How a file names the sections of its profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// `[NAME]`.
    Bare,
    /// `[profile NAME]`, but for `[default]`.
    Prefixed,
}

/// One profile, of all files together; the first file that has a value decides.
pub(super) struct Profile {
    pub(super) name: String,
    values: BTreeMap<String, String>,
}

impl Profile {
    /// The profile that a variable names, or the default one.
    pub(super) fn of(inputs: &Inputs, files: &[(PathBuf, Naming)]) -> Self {
        let name = inputs.get("AWS_PROFILE").unwrap_or("default").to_owned();
        let mut values = BTreeMap::new();
        for (path, naming) in files {
            let content = inputs.usual_file(path).unwrap_or_default();
            for (key, value) in section(&String::from_utf8_lossy(content), &name, *naming) {
                values.entry(key).or_insert(value);
            }
        }
        Self { name, values }
    }

    /// A value; an empty one counts as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether no file knows it.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The lines of one section.
fn section(text: &str, name: &str, naming: Naming) -> Vec<(String, String)> {
    let mut inside = false;
    let mut values = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.trim().strip_prefix('[') {
            let title = header.split(']').next().unwrap_or_default().trim();
            let profile = match naming {
                Naming::Bare => Some(title),
                Naming::Prefixed if title == "default" => Some(title),
                Naming::Prefixed => title
                    .strip_prefix("profile")
                    .filter(|rest| rest.starts_with([' ', '\t']))
                    .map(str::trim),
            };
            inside = profile == Some(name);
            continue;
        }
        // Indented lines belong to the value before; comments begin a line.
        if !inside || line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some((key, value)) = line.split_once('=') {
            values.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_both_files() {
        let check = |text: &str, name: &str, naming: Naming, expected: &str| {
            let values = section(text, name, naming).into_iter();
            let shown: Vec<String> = values.map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(shown.join(" "), expected, "{name} {naming:?}");
        };
        let credentials =
            "[default]\naws_access_key_id = A\n# b = c\n\n[ci]\nAWS_Secret_Access_Key=s=/+ \n";
        check(credentials, "default", Naming::Bare, "aws_access_key_id=A");
        check(credentials, "ci", Naming::Bare, "aws_secret_access_key=s=/+");
        check(credentials, "none", Naming::Bare, "");
        let config = "[default]\nregion=r\n[profile ci]\ns3 =\n  x = y\nrole_arn = a\n[ci]\nno = 1\n[sso-session ci]\nno=2\n";
        check(config, "default", Naming::Prefixed, "region=r");
        check(config, "ci", Naming::Prefixed, "s3= role_arn=a");
    }
}
