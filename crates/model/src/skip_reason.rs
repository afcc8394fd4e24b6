//! Why a poll leaves a file where it is.

use crate::connection::words;
use serde::{Deserialize, Serialize};

words! {
    /// Why a poll leaves a file, or something else that a listing shows, where it is.
    SkipReason {
        /// It is a directory, and the flow is not recursive.
        Directory = "directory",
        /// It is a symbolic link.
        Link = "link",
        /// It is a device, a pipe or a socket.
        SpecialFile = "special_file",
        /// The server lists a name that is no file name.
        InvalidName = "invalid_name",
        /// The flow's mask does not take its name.
        Mask = "mask",
        /// It is smaller than the flow's `min_size`.
        TooSmall = "too_small",
        /// It is larger than the flow's `max_size`.
        TooLarge = "too_large",
        /// It was changed less than the flow's `min_age` ago.
        TooYoung = "too_young",
        /// It was changed more than the flow's `max_age` ago.
        TooOld = "too_old",
        /// It is empty, and the flow leaves empty files.
        Empty = "empty",
        /// The server does not state the size or the time that the flow's filters need.
        Unstated = "unstated",
        /// It is empty, and a poll would refuse it.
        ToRefuse = "to_refuse",
        /// Its name ends as the names of files do that are still being written.
        TemporaryName = "temporary_name",
        /// Its done file is not there yet.
        NoDoneFile = "no_done_file",
        /// The done file beside it came with an earlier file of its name.
        UsedDoneFile = "used_done_file",
        /// It is the done file of another file.
        DoneFile = "done_file",
        /// It is read with another file, as its attachment.
        AttachedFile = "attached_file",
        /// Its name ends in `.stage`: a gateway has claimed it.
        SetAside = "set_aside",
        /// It is known already, in a way that the source does not tell.
        Known = "known",
        /// It was taken, and is not yet deleted, archived or moved at the source.
        TakenAlready = "taken_already",
        /// It was taken, and is kept at the source as the flow says.
        Kept = "kept",
        /// It could not be taken, and is tried again later.
        BackedOff = "backed_off",
        /// It could not be taken, and was given up.
        Refused = "refused",
        /// It has not been listed unchanged for `stable_for` yet: it may still be being written.
        New = "new",
        /// Its size or time differs from that in the last listing: it is being written.
        Changing = "changing",
        /// The poll has as many files as `read_limit` permits: the next poll takes it.
        ReadLimit = "read_limit",
        /// Staging has no room for it: it is taken when there is.
        NoRoom = "no_room",
        /// The listing is longer than a poll can hold in memory: a later poll takes it.
        ListingLimit = "listing_limit",
    }
}

impl SkipReason {
    /// What is left for this reason, in the plural: `symbolic links`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Directory => "directories (the flow is not recursive)",
            Self::Link => "symbolic links",
            Self::SpecialFile => "devices, pipes or sockets",
            Self::InvalidName => "invalid file names",
            Self::Mask => "names that do not match the mask",
            Self::TooSmall => "files smaller than the flow's min_size",
            Self::TooLarge => "files larger than the flow's max_size",
            Self::TooYoung => "files changed less than the flow's min_age ago",
            Self::TooOld => "files changed more than the flow's max_age ago",
            Self::Empty => "empty files",
            Self::Unstated => {
                "files of which the server does not state the size or time that the flow's filters need"
            }
            Self::ToRefuse => "files that a poll would refuse",
            Self::TemporaryName => "files still being written (temporary suffix)",
            Self::NoDoneFile => "files whose done file is not there",
            Self::UsedDoneFile => "files whose done file came with an earlier file of their name",
            Self::DoneFile => "done files",
            Self::AttachedFile => "files that are read with others (attached_files)",
            Self::SetAside => "files that a gateway has claimed (.stage)",
            Self::Known => "files that are known already",
            Self::TakenAlready => "files that were read already and are not settled at the source yet",
            Self::Kept => "files that were read already and are kept at the source",
            Self::BackedOff => "files that could not be staged and will be tried again",
            Self::Refused => "files that could not be staged and were refused",
            Self::New => "files not yet known to be complete (stable_for)",
            Self::Changing => "files that are changing",
            Self::ReadLimit => "files beyond the flow's read_limit, left to the next poll",
            Self::NoRoom => "files that wait for room in staging",
            Self::ListingLimit => "files of a listing that is too long for one poll",
        }
    }
}

impl PartialOrd for SkipReason {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SkipReason {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self as u8).cmp(&(*other as u8))
    }
}

/// What a poll came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PollReport {
    /// Files that were taken.
    pub taken: u64,
    /// Files that could not be read and are tried again later.
    pub backed_off: u64,
    /// Files that could not be read and were given up.
    pub refused: u64,
    /// Files that were gone, or others, when they were read.
    pub changed: u64,
    /// What was left where it is, by reason.
    pub skipped: Vec<SkipCount>,
}

/// How many were left for a reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SkipCount {
    /// The reason.
    pub reason: SkipReason,
    /// How many.
    pub files: u64,
}
