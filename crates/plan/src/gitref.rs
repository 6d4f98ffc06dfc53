//! Git references: a repository, and which part of it at which moment.
//!
//! Does not talk to a repository. The forms, and the messages about wrong ones, are BuildKit's:
//! `https://host/path.git#ref:subdir`, `git@host:path?ref=…`, `github.com/owner/name`.

mod url;

use std::fmt;

/// A reference to (part of) a git repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitRef {
    /// The repository's address as git takes it.
    pub remote: String,
    /// The name of a directory to clone into.
    pub short_name: String,
    /// A branch, a tag, a commit; the default branch if absent.
    pub reference: Option<String>,
    /// The commit it has to be.
    pub checksum: Option<String>,
    /// The directory inside the repository.
    pub subdir: Option<String>,
    /// It could as well be a path (`github.com/owner/name`), and is one outside of `--context`.
    pub indistinguishable_from_local: bool,
    /// It asks for a connection that anybody can read and change.
    pub unencrypted_tcp: bool,
    /// Whether `.git` stays.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched; by default they are.
    pub submodules: Option<bool>,
    /// Which time the files get.
    pub mtime: Option<CheckoutTime>,
    /// Whether to ask the server for the commit instead of the reference.
    pub fetch_by_commit: Option<bool>,
}

/// Which time the files of a checkout get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckoutTime {
    /// When they were checked out.
    Checkout,
    /// When the commit was made.
    Commit,
}

/// Why a text is no git reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is something else: a path, or the address of a file.
    #[error("{0}")]
    NotGit(String),
    /// It is meant to be one, but it is wrong.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Whether the text is meant to be a git reference.
    pub fn is_git(&self) -> bool {
        matches!(self, Error::Invalid(_))
    }
}

/// Parses a git reference.
pub fn parse(text: &str) -> Result<GitRef, Error> {
    let not_git = |reason: &str| Error::NotGit(reason.to_owned());
    let mut git = GitRef::default();
    let address = if text.starts_with("./") || text.starts_with("../") {
        return Err(not_git("invalid argument"));
    } else if text.starts_with("github.com/") {
        git.indistinguishable_from_local = true;
        let mut url = url::Url::parse(text).map_err(Error::NotGit)?;
        url.scheme = "https".to_owned();
        Address::from_url(url)
    } else if let Some(scheme) = scheme(text) {
        if !["http", "https", "ssh", "git"].contains(&scheme.as_str()) {
            return Err(Error::NotGit(format!("{scheme}: invalid protocol")));
        }
        let url = url::Url::parse(text).map_err(Error::NotGit)?;
        git.unencrypted_tcp = matches!(scheme.as_str(), "http" | "git");
        // Over HTTP a repository is told from a file only by its name.
        if scheme.starts_with("http") && !url.path.ends_with(".git") {
            return Err(not_git("invalid argument"));
        }
        Address::from_url(url)
    } else {
        scp_style(text).ok_or_else(|| not_git("unknown protocol"))?
    };
    git.remote = if git.indistinguishable_from_local {
        address.remote.split_once("://").map_or("", |(_, rest)| rest).to_owned()
    } else {
        address.remote
    };
    let (reference, subdir) = address.fragment.split_once(':').unwrap_or((&address.fragment, ""));
    git.reference = non_empty(reference);
    git.subdir = non_empty(subdir);
    let last = git.remote.rsplit('/').next().unwrap_or("");
    git.short_name = last.strip_suffix(".git").unwrap_or(last).to_owned();
    git.load_query(&address.query).map_err(Error::Invalid)?;
    Ok(git)
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What all forms come down to.
struct Address {
    remote: String,
    fragment: String,
    query: Vec<(String, Vec<String>)>,
}

impl Address {
    fn from_url(mut url: url::Url) -> Address {
        let query = url::parse_query(&std::mem::take(&mut url.query)).0;
        let fragment = std::mem::take(&mut url.fragment);
        Address { remote: url.to_string(), fragment, query: group(query) }
    }
}

/// The scheme of `scheme://…`, in lower case.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let valid = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    valid.then(|| scheme.to_ascii_lowercase())
}

/// `user@host:path?query#fragment`
fn scp_style(text: &str) -> Option<Address> {
    let (user, rest) = text.split_once('@')?;
    let (host, rest) = rest.split_once(':')?;
    let word = |word: &str, extra: &[u8]| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
    };
    if !word(user, b"-_") || !word(host, b"-.") || rest.contains('\n') {
        return None;
    }
    let (before, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = before.split_once('?').unwrap_or((before, ""));
    let (query, valid) = url::parse_query(query);
    valid.then(|| Address {
        remote: format!("{user}@{host}:{path}"),
        fragment: fragment.to_owned(),
        query: group(query),
    })
}

fn group(pairs: Vec<(String, String)>) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}

impl GitRef {
    fn load_query(&mut self, query: &[(String, Vec<String>)]) -> Result<(), String> {
        let (mut tag, mut branch) = (None, None);
        for (key, values) in query {
            let [value] = values.as_slice() else {
                return Err(format!("query {key:?} has multiple values"));
            };
            let flag = matches!(key.as_str(), "submodules" | "keep-git-dir" | "fetch-by-commit");
            if value.is_empty() && !flag {
                return Err(format!("query {key:?} has no value"));
            }
            match key.as_str() {
                "ref" => merge("ref", &mut self.reference, value)?,
                "tag" => tag = Some(value.clone()),
                "branch" => branch = Some(value.clone()),
                "subdir" => merge("subdir", &mut self.subdir, value)?,
                "checksum" | "commit" => self.checksum = Some(value.clone()),
                "keep-git-dir" => self.keep_git_dir = Some(boolean(key, value)?),
                "submodules" => self.submodules = Some(boolean(key, value)?),
                "fetch-by-commit" => self.fetch_by_commit = Some(boolean(key, value)?),
                "mtime" => {
                    self.mtime = Some(match value.as_str() {
                        "checkout" => CheckoutTime::Checkout,
                        "commit" => CheckoutTime::Commit,
                        _ => {
                            return Err(format!(
                                "invalid mtime value: {value:?} \
                                 (must be \"checkout\" or \"commit\")"
                            ));
                        }
                    });
                }
                _ => return Err(format!("unexpected query {key:?}")),
            }
        }
        if let Some(tag) = &tag {
            merge("ref", &mut self.reference, &qualified("refs/tags/", tag))?;
        }
        if let Some(branch) = &branch {
            if tag.is_some() {
                return Err("branch conflicts with tag".to_owned());
            }
            merge("ref", &mut self.reference, &qualified("refs/heads/", branch))?;
        }
        if self.reference.is_none() {
            self.reference.clone_from(&self.checksum);
        }
        Ok(())
    }
}

fn merge(what: &str, field: &mut Option<String>, value: &str) -> Result<(), String> {
    match field {
        Some(known) if known != value => Err(format!("{what} conflicts: {known:?} vs {value:?}")),
        _ => {
            *field = Some(value.to_owned());
            Ok(())
        }
    }
}

fn qualified(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid {key} value: {value:?}")),
    }
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&url::without_password(&self.remote))?;
        let fields = [
            ("ref", &self.reference),
            ("subdir", &self.subdir),
            ("checksum", &self.checksum),
            ("mtime", &self.mtime.map(|time| format!("{time:?}").to_lowercase())),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        let flags = [
            ("keep-git-dir", self.keep_git_dir),
            ("submodules", self.submodules),
            ("fetch-by-commit", self.fetch_by_commit),
        ];
        for (name, flag) in flags {
            if let Some(flag) = flag {
                write!(f, " {name}={flag}")?;
            }
        }
        Ok(())
    }
}

/// The name of the file at an address, where a directory needs one.
pub(crate) fn file_name(address: &str) -> String {
    let url = url::Url::parse(address).ok();
    let name = url.as_ref().and_then(url::Url::file_name);
    name.unwrap_or("__unnamed__").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{file_name, parse};

    fn check(text: &str, expected: &str) {
        let found = match parse(text) {
            Ok(git) => format!("{git} as {}", git.short_name),
            Err(error) if error.is_git() => format!("invalid: {error}"),
            Err(error) => format!("no: {error}"),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn forms() {
        check("https://h/a.git", "https://h/a.git as a");
        check("https://h/a.git#", "https://h/a.git as a");
        check("https://h/a.git#b:c/d", "https://h/a.git ref=b subdir=c/d as a");
        check("https://h/a.git#b%20c", "https://h/a.git ref=b c as a");
        check("HTTPS://h/a.git", "https://h/a.git as a");
        check("https://u:p@h/a.git", "https://u:xxxxx@h/a.git as a");
        check("https://h/a b.git", "https://h/a%20b.git as a%20b");
        check("https://h/a%2Fb.git", "https://h/a%2Fb.git as a%2Fb");
        check("ssh://git@h:22/~/a.git", "ssh://git@h:22/~/a.git as a");
        check("git://h/a", "git://h/a as a");
        check("git@h:a/b.git#c:d", "git@h:a/b.git ref=c subdir=d as b");
        check("git@h:a?tag=v1&subdir=s", "git@h:a ref=refs/tags/v1 subdir=s as git@h:a");
        check("git@h:a#b?c", "git@h:a ref=b?c as git@h:a");
        check("github.com/a/b#c", "github.com/a/b ref=c as b");
        check("https://h/a.git?branch=b", "https://h/a.git ref=refs/heads/b as a");
        check("https://h/a.git?tag=refs/tags/t", "https://h/a.git ref=refs/tags/t as a");
        check("https://h/a.git?commit=abc", "https://h/a.git ref=abc checksum=abc as a");
        check(
            "https://h/a.git?submodules=false&keep-git-dir&mtime=commit",
            "https://h/a.git mtime=commit keep-git-dir=true submodules=false as a",
        );
    }

    #[test]
    fn mistakes() {
        check("", "no: unknown protocol");
        check("./a.git", "no: invalid argument");
        check("a/b.git", "no: unknown protocol");
        check("https://h/a", "no: invalid argument");
        check("https://h/a.git/", "no: invalid argument");
        check("http://h/a.git:#b", "no: invalid argument");
        check("ftp://h/a.git", "no: ftp: invalid protocol");
        check("git@h/a", "no: unknown protocol");
        check(
            "https://h:x/a.git",
            "no: parse \"https://h:x/a.git\": invalid port \":x\" after host",
        );
        check("https://h/%zz.git", "no: parse \"https://h/%zz.git\": invalid URL escape \"%zz\"");
        check("https://h/a.git?ref", "invalid: query \"ref\" has no value");
        check("https://h/a.git?ref=a&ref=b", "invalid: query \"ref\" has multiple values");
        check("https://h/a.git?x=1", "invalid: unexpected query \"x\"");
        check("https://h/a.git?tag=a&branch=b", "invalid: branch conflicts with tag");
        check("https://h/a.git?tag=a#b", "invalid: ref conflicts: \"b\" vs \"refs/tags/a\"");
        check("https://h/a.git?subdir=a#:b", "invalid: subdir conflicts: \"b\" vs \"a\"");
        check("https://h/a.git?keep-git-dir=x", "invalid: invalid keep-git-dir value: \"x\"");
        check("git@h:a?nope=1", "invalid: unexpected query \"nope\"");
    }

    #[test]
    fn names_of_downloads() {
        for (address, expected) in [
            ("https://h/a/b.tgz?x=/y", "b.tgz"),
            ("https://h/a/", "a"),
            ("https://h", "__unnamed__"),
            ("https://h/", "__unnamed__"),
            ("https://h/a%20b", "a b"),
            ("https://h:x/a", "__unnamed__"),
            ("https://h/a%2f..", "__unnamed__"),
        ] {
            assert_eq!(file_name(address), expected, "{address}");
        }
    }
}
