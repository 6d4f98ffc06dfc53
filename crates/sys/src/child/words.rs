//! Actions in words, for the error of one that failed.

use std::ffi::CStr;
use std::fmt;

use super::Action;

impl fmt::Display for Action {
    /// In words that follow "cannot".
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &CStr| text.to_string_lossy().into_owned();
        match self {
            Action::Mount { kind, target, .. } => {
                write!(formatter, "mount {} on `{}`", text(kind), text(target))
            }
            Action::Bind { source, target } => {
                write!(formatter, "bind `{}` to `{}`", text(source), text(target))
            }
            Action::Restrict { target, flags } => {
                write!(formatter, "restrict `{}` by {flags:?}", text(target))
            }
            Action::RestrictTree { target } | Action::Freeze { target } => {
                write!(formatter, "make `{}` read-only", text(target))
            }
            Action::Mask { target, .. } => write!(formatter, "mask `{}`", text(target)),
            Action::PrivateMounts => formatter.write_str("make the mounts private"),
            Action::ClimbToTop { .. } => formatter.write_str("reach the top of the mounts"),
            Action::PivotRoot => formatter.write_str("change the root"),
            Action::ChangeDirectory(path) => {
                write!(formatter, "change the directory to `{}`", text(path))
            }
            Action::MakeDirectory(path, _)
            | Action::MakeFile(path, _)
            | Action::WriteFile { path, .. }
            | Action::MakeDevice(path, ..)
            | Action::MakeBlockDevice(path, ..)
            | Action::MakeLink(path, _) => write!(formatter, "make `{}`", text(path)),
            Action::SetHostname(name) => {
                write!(formatter, "set the host name `{}`", String::from_utf8_lossy(name))
            }
            Action::SetOwner(path, ..) => write!(formatter, "set the owner of `{}`", text(path)),
            Action::NewSession => formatter.write_str("start a session"),
            Action::SetUmask(mask) => write!(formatter, "set the umask {mask:03o}"),
            Action::DieWithParent => formatter.write_str("tie the process to its parent"),
            Action::BecomeSubreaper => formatter.write_str("become a subreaper"),
            Action::HideMemory => formatter.write_str("hide the memory"),
            Action::SetGroups(groups) => write!(formatter, "set the groups {groups:?}"),
            Action::SetGroup(gid) => write!(formatter, "set the group id {gid}"),
            Action::SetUser(uid) => write!(formatter, "set the user id {uid}"),
            Action::LimitCapabilities(_) => formatter.write_str("limit the capabilities"),
            Action::LoadFilter(_) => formatter.write_str("load the system call filter"),
            Action::NoNewPrivileges => formatter.write_str("set no_new_privs"),
            Action::RaiseLoopback => formatter.write_str("bring up the loopback interface"),
            Action::Limit(resource, _) => write!(formatter, "limit {resource:?}"),
            Action::Unshare(flags) => write!(formatter, "make namespaces {flags:?}"),
            Action::Any(lists) => match lists.first().and_then(|list| list.first()) {
                Some(first) => first.fmt(formatter),
                None => formatter.write_str("do nothing"),
            },
        }
    }
}
