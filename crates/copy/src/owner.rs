//! `--chown`: numbers, or names looked up in the image that is being built.

use rootfs::{Accounts, RootDir};

use crate::error::Reason;
use crate::{Error, Result};

/// Who a copied file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// The value of `--chown`, or a USER as WORKDIR reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    user: Account,
    group: Option<Account>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Account {
    Id(u32),
    Name(String),
}

impl Account {
    fn parse(text: &str) -> Self {
        if text.is_empty() || text == "root" {
            return Self::Id(0);
        }
        if let Ok(id) = text.parse::<u32>() {
            return Self::Id(id);
        }
        match text.parse::<i32>() {
            // BuildKit hands -1 to the kernel, for which it means: leave it; and the file is root's.
            Ok(-1) => Self::Id(0),
            Ok(negative) => Self::Id(negative.cast_unsigned()),
            Err(_) => Self::Name(text.to_owned()),
        }
    }
}

impl Ownership {
    /// Reads `user`, `user:group`, `user:` or `:group`, each a number or a name.
    pub fn parse(text: &str) -> Self {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(Account::parse(group))),
            None => (text, None),
        };
        Self { user: Account::parse(user), group }
    }

    /// Whether a name has to be looked up, so that the result depends on the image.
    pub fn needs_lookup(&self) -> bool {
        matches!(self.user, Account::Name(_)) || matches!(self.group, Some(Account::Name(_)))
    }

    /// The owner, by the passwd and group files of `root`. A name that is not there is an error.
    pub fn resolve(&self, root: &RootDir) -> Result<Owner> {
        let accounts = if self.needs_lookup() { root.accounts()? } else { Accounts::default() };
        self.resolve_in(&accounts)
    }

    /// The owner as WORKDIR takes it: an unknown user is root, an unknown group the user's own.
    pub fn resolve_or_root(&self, root: &RootDir) -> Result<Owner> {
        let accounts = if self.needs_lookup() { root.accounts()? } else { Accounts::default() };
        match self.resolve_in(&accounts) {
            Err(Error::UnknownUser { .. }) => Ok(Owner::default()),
            Err(Error::UnknownGroup { .. }) => {
                Self { user: self.user.clone(), group: None }.resolve_in(&accounts)
            }
            resolved => resolved,
        }
    }

    fn resolve_in(&self, accounts: &Accounts) -> Result<Owner> {
        // A bare number is its own group: passwd is not asked, unlike for USER.
        let (uid, own_group) = match &self.user {
            Account::Id(id) => (*id, *id),
            Account::Name(name) => {
                let user = accounts.user(name).ok_or_else(|| unknown_user(name))?;
                (user.uid, user.gid)
            }
        };
        let gid = match &self.group {
            None => own_group,
            Some(Account::Id(id)) => *id,
            Some(Account::Name(name)) => {
                let group = accounts.group(name);
                group.ok_or_else(|| Error::UnknownGroup { name: name.clone() })?.gid
            }
        };
        Ok(Owner { uid, gid })
    }
}

fn unknown_user(name: &str) -> Error {
    let reason = format!("unable to find user {name}: no matching entries in passwd file");
    Error::UnknownUser { name: name.to_owned(), source: Reason(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let owner = match Ownership::parse(text).resolve_in(&Accounts::default()) {
            Ok(owner) => format!("{}:{}", owner.uid, owner.gid),
            Err(error) => error.to_string(),
        };
        assert_eq!(owner, expected, "{text}");
    }

    #[test]
    fn numbers_need_no_accounts() {
        check("10", "10:10");
        check("10:20", "10:20");
        check("10:", "10:0");
        check(":20", "0:20");
        check("root", "0:0");
        check("root:root", "0:0");
        check("0:root", "0:0");
        check("-1", "0:0");
        check("4294967294", "4294967294:4294967294");
    }

    #[test]
    fn unknown_names_are_errors() {
        check("app", "user app is not a uid and does not exist on the system");
        check("1:app", "unable to find group app: no matching entries in group file");
        check("99999999999", "user 99999999999 is not a uid and does not exist on the system");
    }

    #[test]
    fn only_names_need_a_lookup() {
        assert!(Ownership::parse("app").needs_lookup());
        assert!(Ownership::parse("1:app").needs_lookup());
        assert!(!Ownership::parse("1:2").needs_lookup());
        assert!(!Ownership::parse("root:").needs_lookup());
    }
}
