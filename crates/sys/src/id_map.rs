//! Maps between the ids in a user namespace and those outside: which ones this program may have,
//! and how they are written.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

/// A run of ids inside a user namespace and where they are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many there are.
    pub count: u32,
}

/// How the ids of a new user namespace are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maps {
    /// Every id that exists here, as it is. Needs CAP_SETUID and CAP_SETGID: root of a container.
    Same {
        /// User ids.
        uids: Vec<Range>,
        /// Group ids.
        gids: Vec<Range>,
    },
    /// Root is the user, and the other ids are those that `/etc/subuid` and `/etc/subgid` give,
    /// written by the setuid programs of the package uidmap.
    Subordinate {
        /// `newuidmap`.
        uid_program: PathBuf,
        /// `newgidmap`.
        gid_program: PathBuf,
        /// User ids.
        uids: Vec<Range>,
        /// Group ids.
        gids: Vec<Range>,
    },
    /// Root is the user, and there is no other id. Needs nothing.
    Single {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Maps {
    /// The ids that are here, unchanged.
    pub fn same() -> Result<Maps, String> {
        let unchanged = |range: Range| Range { outside: range.inside, ..range };
        let read = |path: &str| {
            let text = read_small(path)?;
            Ok::<_, String>(parse(&text).into_iter().map(unchanged).collect())
        };
        Ok(Maps::Same { uids: read("/proc/self/uid_map")?, gids: read("/proc/self/gid_map")? })
    }

    /// What `/etc/subuid`, `/etc/subgid` and the package uidmap give to this user; the reason if
    /// one of them is missing.
    pub fn subordinate() -> Result<Maps, String> {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        let passwd = read_small("/etc/passwd").unwrap_or_default();
        let name = account_name(&passwd, uid);
        let find = |file: &str, first: u32| {
            let ranges = subordinate(&read_small(file)?, name, uid);
            if ranges.is_empty() {
                let who = name.map_or_else(|| format!("uid {uid}"), |name| format!("`{name}`"));
                return Err(format!("{file} has no range for {who}"));
            }
            Ok(with_root(first, &ranges))
        };
        Ok(Maps::Subordinate {
            uid_program: find_program("newuidmap")?,
            gid_program: find_program("newgidmap")?,
            uids: find("/etc/subuid", uid)?,
            gids: find("/etc/subgid", gid)?,
        })
    }

    /// One id, which every user may have.
    #[must_use]
    pub fn single() -> Maps {
        let uid = rustix::process::getuid().as_raw();
        Maps::Single { uid, gid: rustix::process::getgid().as_raw() }
    }

    /// The ids from 0 on that can be used inside without a gap, of users and groups alike.
    #[must_use]
    pub fn usable(&self) -> u64 {
        match self {
            Maps::Same { uids, gids } | Maps::Subordinate { uids, gids, .. } => {
                contiguous(uids).min(contiguous(gids))
            }
            Maps::Single { .. } => 1,
        }
    }

    /// Writes the maps of a process that has just entered its user namespace, from outside.
    pub(crate) fn write(&self, pid: Pid) -> Result<(), String> {
        let pid = pid.as_raw_nonzero();
        match self {
            Maps::Same { uids, gids } => {
                put(&format!("/proc/{pid}/uid_map"), &lines(uids))?;
                put(&format!("/proc/{pid}/gid_map"), &lines(gids))
            }
            Maps::Subordinate { uid_program, gid_program, uids, gids } => {
                start(uid_program, &pid.to_string(), uids)?;
                start(gid_program, &pid.to_string(), gids)
            }
            Maps::Single { uid, gid } => {
                put(&format!("/proc/{pid}/uid_map"), &format!("0 {uid} 1\n"))?;
                // The kernel's condition: else a group could be left to gain rights.
                put(&format!("/proc/{pid}/setgroups"), "deny")?;
                put(&format!("/proc/{pid}/gid_map"), &format!("0 {gid} 1\n"))
            }
        }
    }
}

/// The ids from 0 on that this process can use without a gap. All, where it cannot be read.
#[must_use]
pub fn usable_here() -> u64 {
    let read = |path: &str| match read_small(path) {
        Ok(text) => contiguous(&parse(&text)),
        Err(_) => u64::from(u32::MAX),
    };
    read("/proc/self/uid_map").min(read("/proc/self/gid_map"))
}

/// Whether the groups of a process can be set here: not with a single id.
#[must_use]
pub fn groups_can_be_set() -> bool {
    read_small("/proc/self/setgroups").map_or(true, |text| text.trim() != "deny")
}

/// The ranges of a map as the kernel prints it.
fn parse(text: &str) -> Vec<Range> {
    let ranges = text.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        Some(Range { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
    });
    ranges.collect()
}

fn contiguous(ranges: &[Range]) -> u64 {
    let mut sorted: Vec<_> = ranges.iter().collect();
    sorted.sort_unstable_by_key(|range| range.inside);
    sorted.iter().fold(0, |next, range| {
        if u64::from(range.inside) == next { next + u64::from(range.count) } else { next }
    })
}

/// The ranges that a subid file gives to a user, by name or by number.
fn subordinate(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != number && Some(owner) != name {
            return None;
        }
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse::<u32>().ok()?);
        Some((first, count)).filter(|(_, count)| *count > 0)
    });
    ranges.collect()
}

/// Root as the user itself, then the ranges one after another.
fn with_root(user: u32, ranges: &[(u32, u32)]) -> Vec<Range> {
    let mut all = vec![Range { inside: 0, outside: user, count: 1 }];
    let mut inside = 1u32;
    for (outside, count) in ranges {
        let count = (*count).min(u32::MAX - 1 - inside);
        all.push(Range { inside, outside: *outside, count });
        inside += count;
    }
    // The kernel takes 340 ranges.
    all.truncate(340);
    all
}

fn account_name(passwd: &str, uid: u32) -> Option<&str> {
    let number = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    })
}

/// Looks where distributions put setuid programs; `PATH` is not to be trusted with these.
fn find_program(name: &str) -> Result<PathBuf, String> {
    let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
    let candidates = places.iter().map(|place| Path::new(place).join(name));
    let found = candidates
        .into_iter()
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok());
    found.ok_or_else(|| format!("{name} is not installed"))
}

#[expect(clippy::disallowed_methods, reason = "this is where the id maps are written")]
fn start(program: &Path, pid: &str, ranges: &[Range]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg(pid).env_clear().stdin(Stdio::null());
    for Range { inside, outside, count } in ranges {
        command.args([inside.to_string(), outside.to_string(), count.to_string()]);
    }
    let output =
        command.output().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if message.is_empty() { format!("{} failed", program.display()) } else { message })
}

fn lines(ranges: &[Range]) -> String {
    let line = |range: &Range| format!("{} {} {}\n", range.inside, range.outside, range.count);
    ranges.iter().map(line).collect()
}

/// Writes a file of the kernel in one piece, as it demands.
fn put(path: &str, text: &str) -> Result<(), String> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let written = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|file| rustix::io::write(&file, text.as_bytes()));
    written.map(drop).map_err(|errno| format!("cannot write {path}: {errno}"))
}

/// Reads a small text file of the system.
pub(crate) fn read_small(path: &str) -> Result<String, String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| format!("cannot read {path}: {errno}"))?;
    let mut bytes = Vec::new();
    let read = File::from(fd).take(1 << 20).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "anna:100000:65536\n1000:500:10\nbert:1:1\n\nbroken\n1000:x:3\nanna:9:0\n";
        assert_eq!(subordinate(text, Some("anna"), 1000), [(100_000, 65_536), (500, 10)]);
        assert_eq!(subordinate(text, None, 1001), []);
    }

    #[test]
    fn root_is_the_user_and_the_ranges_follow() {
        let map = Maps::Subordinate {
            uid_program: PathBuf::new(),
            gid_program: PathBuf::new(),
            uids: with_root(1000, &[(100_000, 65_536), (500, 10)]),
            gids: with_root(1000, &[(100_000, 65_536)]),
        };
        assert_eq!(map.usable(), 65_537);
        assert_eq!(
            lines(&with_root(1000, &[(100_000, 65_536), (500, 10)])),
            "0 1000 1\n1 100000 65536\n65537 500 10\n"
        );
    }

    #[test]
    fn the_kernels_print_is_read() {
        let text = "         0          0 4294967295\n";
        assert_eq!(parse(text), [Range { inside: 0, outside: 0, count: u32::MAX }]);
        assert_eq!(contiguous(&parse("0 1 1\n5 6 7\n")), 1);
        assert_eq!(contiguous(&parse("1 100000 65536\n0 1000 1\n")), 65_537);
        assert_eq!(contiguous(&[]), 0);
    }

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(account_name(passwd, 1000), Some("anna"));
        assert_eq!(account_name(passwd, 1001), None);
    }
}
