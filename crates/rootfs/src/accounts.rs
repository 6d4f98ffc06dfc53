//! passwd and group of a root.
#![allow(clippy::todo, unused_variables)]

/// A line of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /** Login name. */
    pub name: String,
    /** User id. */
    pub uid: u32,
    /** Primary group. */
    pub gid: u32,
    /** Home directory, bytes of the file. */
    pub home: String,
}

/// A line of group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /** Name. */
    pub name: String,
    /** Group id. */
    pub gid: u32,
    /** Login names of members. */
    pub members: Vec<String>,
}

/// Who a step runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /** User id. */
    pub uid: u32,
    /** Group id. */
    pub gid: u32,
    /** Supplementary groups. */
    pub groups: Vec<u32>,
    /** From passwd, else `/`. */
    pub home: String,
    /** Login name if known. */
    pub name: Option<String>,
}

/// The users and groups a root knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Accounts {
    /// By login name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        todo!()
    }
    /// By id, the first.
    #[must_use]
    pub fn user_by_id(&self, uid: u32) -> Option<&User> {
        todo!()
    }
    /// By name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        todo!()
    }
    /// Ids of the groups that list this login name.
    #[must_use]
    pub fn supplementary(&self, name: &str) -> Vec<u32> {
        todo!()
    }
    /// `USER user[:group]` with Docker's rules (names, else numbers; unknown numbers are fine).
    pub fn identify(&self, user: &str) -> crate::Result<Account> {
        todo!()
    }
}
