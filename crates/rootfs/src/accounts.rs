//! [`Accounts`]: the users and groups that a root's own passwd and group files name.
//!
//! Read by us and not by the C library, which would ask the host. The files come from images of
//! strangers: they are read with bounds, and a line that makes no sense is passed over, as every
//! other reader of these files does.

use crate::dir::RootDir;
use crate::error::Error;
use crate::path::RootPath;

/// The largest passwd or group file.
const MAX_FILE: u64 = 8 * 1024 * 1024;
/// The longest line in them.
const MAX_LINE: usize = 64 * 1024;

/// A line of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user's id.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// The home directory as it is written, maybe empty.
    pub home: String,
}

/// A line of group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The group's id.
    pub gid: u32,
    /// The login names of its members.
    pub members: Vec<String>,
}

/// Who a step runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's id.
    pub uid: u32,
    /// The primary group's id.
    pub gid: u32,
    /// The supplementary groups' ids, without the primary one, in order.
    pub groups: Vec<u32>,
    /// The home directory: passwd's, else `/`.
    pub home: String,
    /// The login name, if passwd knows one.
    pub name: Option<String>,
}

/// The users and groups a root knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Accounts {
    /// Reads `/etc/passwd` and `/etc/group` of a root; a missing file is an empty one.
    pub(crate) fn read(root: &RootDir) -> Result<Accounts, Error> {
        let users = lines(root, "/etc/passwd", parse_user)?;
        let groups = lines(root, "/etc/group", parse_group)?;
        Ok(Accounts { users, groups })
    }

    /// The first user of that name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The first user with that id.
    #[must_use]
    pub fn user_by_id(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    /// The first group of that name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The ids of the groups that list a login name, in order and once each.
    #[must_use]
    pub fn supplementary(&self, name: &str) -> Vec<u32> {
        let listing = self.groups.iter().filter(|group| group.members.iter().any(|m| m == name));
        let mut ids: Vec<u32> = listing.map(|group| group.gid).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Who `USER user[:group]` is, by Docker's rules: a name is looked up, then taken as a number;
    /// a number needs no entry; the user's other groups count only if no group is given.
    pub fn identify(&self, spec: &str) -> Result<Account, Error> {
        let (user, group) = match spec.split_once(':') {
            Some((user, group)) => (user, (!group.is_empty()).then_some(group)),
            None => (spec, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let number = id(user);
        let known = self.user(user).or_else(|| number.and_then(|number| self.user_by_id(number)));
        let uid = match (known, number) {
            (Some(known), _) => known.uid,
            (None, Some(number)) => number,
            (None, None) => return Err(Error::NoSuchUser { name: user.to_owned() }),
        };
        let gid = match group {
            Some(group) => self.group_id(group)?,
            None => known.map_or(0, |known| known.gid),
        };
        let groups = match (group, known) {
            (None, Some(known)) => self.supplementary(&known.name),
            _ => Vec::new(),
        };
        let home = known.map(|known| known.home.as_str()).filter(|home| !home.is_empty());
        Ok(Account {
            uid,
            gid,
            groups: groups.into_iter().filter(|other| *other != gid).collect(),
            home: home.unwrap_or("/").to_owned(),
            name: known.map(|known| known.name.clone()),
        })
    }

    fn group_id(&self, group: &str) -> Result<u32, Error> {
        let known = self.group(group).map(|known| known.gid);
        known.or_else(|| id(group)).ok_or_else(|| Error::NoSuchGroup { name: group.to_owned() })
    }
}

fn lines<T>(
    root: &RootDir,
    path: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let path = RootPath::new(path)?;
    // The files are often links (into /usr/lib, or a store): those are followed inside the root.
    let content = match root.resolve(&path).and_then(|path| root.read(&path, MAX_FILE)) {
        Ok(content) => content,
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut parsed = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        if line.len() > MAX_LINE {
            return Err(Error::LineTooLong { path, line: index + 1, limit: MAX_LINE });
        }
        parsed.extend(std::str::from_utf8(line).ok().and_then(|line| parse(line.trim())));
    }
    Ok(parsed)
}

/// `name:password:uid:gid:comment:home:shell`
fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = name_field(fields.next())?;
    let (uid, gid) = (fields.nth(1).and_then(id)?, fields.next().and_then(id)?);
    let home = fields.nth(1).unwrap_or_default().to_owned();
    Some(User { name, uid, gid, home })
}

/// `name:password:gid:member,member`
fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = name_field(fields.next())?;
    let gid = fields.nth(1).and_then(id)?;
    let members = fields.next().unwrap_or_default().split(',').map(str::trim);
    let members = members.filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some(Group { name, gid, members })
}

fn name_field(field: Option<&str>) -> Option<String> {
    field.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned)
}

/// A decimal id; -1 in its unsigned form is none, because the kernel takes it for "no change".
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}
