//! `/etc/hosts` and `/etc/resolv.conf` of the builder, for the steps.
//!
//! A step resolves names as the builder does, since it shares its network. The files are given to
//! it for its time only and enter no layer. On private roots they are read-only, as in BuildKit: a
//! step that believes it changed them fails instead of being deceived.

use rootfs::{Protected, RootPath};

use super::placeholders::Placeholders;
use crate::{Result, host};

const NO_HOSTS: &[u8] = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// The files as they were when the builder started.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetworkFiles {
    hosts: Option<Vec<u8>>,
    resolv_conf: Option<Vec<u8>>,
}

/// One file for a step.
pub(super) struct EtcFile {
    /// Its name in `/etc`.
    pub(super) name: &'static str,
    pub(super) content: Vec<u8>,
}

impl NetworkFiles {
    /// Reads them, before anything else is in their place.
    pub(crate) fn read() -> Self {
        Self {
            hosts: Some(host::read_file("/etc/hosts").unwrap_or_else(|| NO_HOSTS.to_vec())),
            resolv_conf: host::read_file("/etc/resolv.conf"),
        }
    }

    /// What a step on a machine of this name finds in `/etc`.
    pub(super) fn files(&self, hostname: &str) -> Vec<EtcFile> {
        let mut files = Vec::new();
        if let Some(hosts) = &self.hosts {
            files.push(EtcFile { name: "hosts", content: with_name(hosts, hostname) });
        }
        if let Some(content) = &self.resolv_conf {
            files.push(EtcFile { name: "resolv.conf", content: content.clone() });
        }
        if !hostname.is_empty() {
            files.push(EtcFile { name: "hostname", content: format!("{hostname}\n").into_bytes() });
        }
        files
    }

    /// Puts them into a root where nothing can be mounted. Those that the container's runtime has
    /// mounted there are there already.
    pub(super) fn provide(
        &self,
        placeholders: &mut Placeholders,
        protected: &Protected,
        aside: &RootPath,
    ) -> Result<()> {
        // The machine keeps its name, so only the names of others are given.
        for file in self.files("") {
            let path = RootPath::new("/etc")?.join(file.name)?;
            if !protected.covers(&path) {
                let aside = aside.join(file.name)?;
                placeholders.substitute(&path, &file.content, 0o644, &aside)?;
            }
        }
        Ok(())
    }
}

/// The hosts with a line for the step's own name, which programs look up.
fn with_name(hosts: &[u8], hostname: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(hosts);
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let known = lines.flat_map(|line| line.split_ascii_whitespace().skip(1));
    let mut hosts = hosts.to_vec();
    if !hostname.is_empty() && !known.into_iter().any(|name| name == hostname) {
        if hosts.last().is_some_and(|last| *last != b'\n') {
            hosts.push(b'\n');
        }
        hosts.extend_from_slice(format!("127.0.1.1\t{hostname}\n").as_bytes());
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &str, expected: &str) {
        assert_eq!(with_name(hosts.as_bytes(), "box"), expected.as_bytes());
    }

    #[test]
    fn the_own_name_is_added_once() {
        check("127.0.0.1 localhost", "127.0.0.1 localhost\n127.0.1.1\tbox\n");
        check("127.0.0.1 a box\n", "127.0.0.1 a box\n");
        check("# box\n", "# box\n127.0.1.1\tbox\n");
        check("", "127.0.1.1\tbox\n");
    }
}
