//! WORKDIR: makes the directory and its missing parents, owned by the user in force.

use plan::WorkdirOp;
use rootfs::{ChangeSet, RootDir, RootPath, Timestamp};

use crate::error::StepError;

/// Makes the directory; returns what was made, and the directories it was made in.
pub(crate) fn make(
    root: &RootDir,
    workdir: &WorkdirOp,
    epoch: Option<i64>,
) -> Result<ChangeSet, StepError> {
    let failed = |source| StepError::Workdir { path: workdir.path.clone(), source };
    let path = RootPath::new(&workdir.path).map_err(failed)?;
    let place = root.resolve_existing(&path).map_err(failed)?;
    let made = root.create_dir_all(&place, 0o755).map_err(failed)?;
    let (uid, gid) = owner(root, &workdir.user).map_err(failed)?;
    let mut changes = ChangeSet::new();
    for directory in &made {
        if (uid, gid) != (0, 0) {
            root.set_owner(directory, uid, gid).map_err(failed)?;
        }
        for above in directory.ancestors().filter(|above| !above.is_root()) {
            changes.upsert(&above);
        }
        changes.upsert(directory);
    }
    // Innermost first: making a directory moves the time of the one around it.
    if let Some(epoch) = epoch {
        for directory in made.iter().rev() {
            root.set_times(directory, Timestamp::from_secs(epoch)).map_err(failed)?;
        }
    }
    Ok(changes)
}

/// The owner of a working directory. Not the rule of a running step: a number's group is the same
/// number, and a name that nobody knows is root.
fn owner(root: &RootDir, user: &str) -> rootfs::Result<(u32, u32)> {
    if user.is_empty() {
        return Ok((0, 0));
    }
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    if let (Ok(uid), None) = (name.parse::<u32>(), group) {
        return Ok((uid, uid));
    }
    let accounts = root.accounts()?;
    let (uid, own) = match name.parse::<u32>() {
        Ok(uid) => (uid, 0),
        Err(_) => match accounts.user(name) {
            Some(known) => (known.uid, known.gid),
            None => return Ok((0, 0)),
        },
    };
    let gid = match group {
        None => own,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => accounts.group(group).map_or(own, |known| known.gid),
        },
    };
    Ok((uid, gid))
}
