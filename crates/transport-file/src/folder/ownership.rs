//! Permissions and owner of files that were written.

use model::RemotePath;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use transport::folder::{NotSet, Owner, Principal, WhyNotSet};

/// What files that are written are given; with `None` the process's umask and user decide.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) permissions: Option<u32>,
    pub(super) owner: Option<Owner>,
}

impl Wanted {
    /// The mode for creating a file, over which the system puts the process's umask.
    pub(super) fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.permissions.unwrap_or(0o666))
    }

    /// Gives an open file permissions and owner, and tells what was not set.
    pub(super) fn give(&self, file: &File, path: &RemotePath) -> NotSet {
        let permissions = self.permissions.and_then(|mode| {
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).err().map(|e| why("permissions", path, e))
        });
        // Last: who gave a file away may not change it any more, and the system takes the bits for running it as its
        // owner (set-user-ID) from a file that gets another one.
        let owner = self.owner.as_ref().and_then(|owner| give_to(owner, file, path).err());
        NotSet { permissions, owner }
    }
}

fn give_to(owner: &Owner, file: &File, path: &RemotePath) -> Result<(), WhyNotSet> {
    let id = |principal: &Option<Principal>, table: &str| match principal {
        None => Ok(None),
        Some(Principal::Id(id)) => Ok(Some(*id)),
        Some(Principal::Name(name)) => match numbered_in(table, name) {
            Ok(Some(id)) => Ok(Some(id)),
            Ok(None) => Err(WhyNotSet::UnknownName),
            Err(error) => {
                tracing::warn!(table, %error, "the users and groups of this machine cannot be read");
                Err(WhyNotSet::UnknownName)
            }
        },
    };
    let user = id(&owner.user, "/etc/passwd")?.map(Uid::from_raw);
    let group = id(&owner.group, "/etc/group")?.map(Gid::from_raw);
    rustix::fs::fchown(file, user, group).map_err(|error| why("owner", path, error))
}

fn why(attribute: &str, path: &RemotePath, error: Errno) -> WhyNotSet {
    tracing::debug!(%path, %error, attribute, "the file system does not set an attribute of a file");
    match error {
        Errno::NOTSUP | Errno::NOSYS => WhyNotSet::Unsupported,
        Errno::PERM | Errno::ACCESS => WhyNotSet::NotPermitted,
        _ => WhyNotSet::Refused,
    }
}

/// The number that a table of users or groups has for a name (`NAME:PASSWORD:NUMBER:…`).
fn numbered_in(table: &str, name: &str) -> io::Result<Option<u32>> {
    for line in BufReader::new(File::open(table)?).lines() {
        let line = line?;
        let mut fields = line.split(':');
        if fields.next() == Some(name) {
            return Ok(fields.nth(1).and_then(|number| number.parse().ok()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn names_are_looked_up_in_the_tables_of_the_machine() {
        let mut table = tempfile::NamedTempFile::new().unwrap();
        table.write_all(b"root:x:0:\nedi:x:1001:erp,dmz\nedi-2:x:1002:\nbroken\n").unwrap();
        let path = table.path().to_str().unwrap();
        for (name, number) in [("root", Some(0)), ("edi", Some(1001)), ("ed", None), ("broken", None)] {
            assert_eq!(numbered_in(path, name).unwrap(), number, "{name}");
        }
        assert!(numbered_in("/nowhere/passwd", "edi").is_err());
    }
}
