//! Ordinary users: one with subordinate ids, made if it is missing, and ids without any account.
//!
//! What the machine happens to have in `/etc/subuid` is not relied upon; whether user namespaces
//! with these ids work is asked of util-linux before our program is judged.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::shell::{Tool, tool};

/// The account of the tests.
const NAME: &str = "kaniko-e2e";
const FIRST_ID: u32 = 700_000_000;
const COUNT: u32 = 65_536;

/// A user that a test runs as.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// The user and group.
    pub id: u32,
}

/// An id without an account and without subordinate ids.
#[must_use]
pub fn without_subordinate_ids() -> User {
    User { id: 54_321 }
}

/// The test user with its range in `/etc/subuid` and `/etc/subgid`; both are made if missing.
///
/// # Errors
/// Where the account cannot be made, or user namespaces do not work for it.
pub fn with_subordinate_ids() -> Result<User> {
    if account()?.is_none() {
        tool("useradd")
            .args([
                "--no-create-home",
                "--user-group",
                "--shell=/bin/sh",
                "--home-dir=/nonexistent",
            ])
            .arg(NAME)
            .read()?;
    }
    let id = account()?.context("useradd made no account")?;
    for file in ["/etc/subuid", "/etc/subgid"] {
        ensure_range(Path::new(file))?;
    }
    let user = User { id };
    let map =
        user.run("unshare").args(["--map-root-user", "--map-auto", "cat", "/proc/self/uid_map"]);
    let map = map.read().context("util-linux cannot make a user namespace for the test user")?;
    ensure!(map.lines().count() > 1, "the namespace of the test user has one id only: {map}");
    Ok(user)
}

fn account() -> Result<Option<u32>> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(NAME));
    line.map(|line| line.split(':').nth(2).unwrap_or_default().parse().context("a bad passwd"))
        .transpose()
}

fn ensure_range(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let has_range = text.lines().any(|line| {
        let mut fields = line.split(':');
        let (name, first, count) = (fields.next(), fields.next(), fields.next());
        name == Some(NAME)
            && first.is_some_and(|first| first.parse::<u32>().is_ok())
            && count.and_then(|count| count.parse::<u32>().ok()).is_some_and(|n| n >= COUNT)
    });
    if has_range {
        return Ok(());
    }
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let line = format!("{text}{separator}{NAME}:{FIRST_ID}:{COUNT}\n");
    // Beside the old file and renamed, so that no reader ever sees half of it.
    let fresh = file.with_extension("kaniko-e2e");
    std::fs::write(&fresh, line).with_context(|| format!("cannot write {}", fresh.display()))?;
    std::fs::rename(&fresh, file).with_context(|| format!("cannot replace {}", file.display()))
}

impl User {
    /// A program that runs as this user.
    #[must_use]
    pub fn run(self, program: impl AsRef<std::ffi::OsStr>) -> Tool {
        tool("setpriv")
            .arg(format!("--reuid={}", self.id))
            .arg(format!("--regid={}", self.id))
            .args(["--clear-groups", "--"])
            .arg(program)
            .env("HOME", "/nonexistent")
    }

    /// Gives a directory and what is in it to this user.
    ///
    /// # Errors
    /// Where it cannot be given.
    pub fn own(self, directory: &Path) -> Result<()> {
        tool("chown").arg("-R").arg(format!("{0}:{0}", self.id)).arg(directory).read().map(|_| ())
    }
}
