//! Where things lie in the area.

use model::PayloadId;
use openssl::sha::sha256;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Subdirectories of `payloads/`: one for each value of a byte.
pub(crate) const FANS: u16 = 256;

const NAMED: &str = "named-";
const MARKS: &str = ".marks";
const PROBE: &str = "probe-";
const SEGMENT: &str = "segment-";

/// The paths of one area.
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) partial: PathBuf,
    pub(crate) payloads: PathBuf,
    pub(crate) quarantine: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            partial: root.join("partial"),
            payloads: root.join("payloads"),
            quarantine: root.join("quarantine"),
        }
    }

    /// A subdirectory of `payloads/`.
    pub(crate) fn fan(&self, fan: u16) -> PathBuf {
        self.payloads.join(format!("{fan:02x}"))
    }

    /// The subdirectory that a payload lies in. A version 7 UUID begins with the time, so the last
    /// byte spreads well and the first would not.
    pub(crate) fn fan_of(&self, id: PayloadId) -> PathBuf {
        self.fan(u16::from(id.uuid().as_bytes()[15]))
    }

    pub(crate) fn payload(&self, id: PayloadId) -> PathBuf {
        self.fan_of(id).join(id.to_string())
    }

    pub(crate) fn part(&self, id: PayloadId) -> PathBuf {
        self.partial.join(id.to_string())
    }

    /// A part that can be resumed. Names come from peers, so only their hash becomes a file name.
    pub(crate) fn named_part(&self, name: &str) -> PathBuf {
        let mut file = String::from(NAMED);
        for byte in sha256(name.as_bytes()) {
            // Writing to a string cannot fail.
            let _ = write!(file, "{byte:02x}");
        }
        self.partial.join(file)
    }

    /// The marks of a part that can be resumed.
    pub(crate) fn marks_of(part: &Path) -> PathBuf {
        let mut path = part.as_os_str().to_owned();
        path.push(MARKS);
        path.into()
    }

    /// A file that is created to see whether one can be.
    pub(crate) fn probe(&self) -> PathBuf {
        self.partial.join(format!("{PROBE}{}", uuid::Uuid::new_v4()))
    }

    /// Bytes of a message that has arrived in part.
    pub(crate) fn segment(&self, id: PayloadId) -> PathBuf {
        self.partial.join(format!("{SEGMENT}{id}"))
    }

    /// The segment that has this name in `partial/`, if it is one.
    pub(crate) fn segment_of(name: &str) -> Option<PayloadId> {
        name.strip_prefix(SEGMENT)?.parse().ok()
    }

    pub(crate) fn quarantined(&self, id: PayloadId) -> PathBuf {
        self.quarantine.join(id.to_string())
    }

    /// The file whose lock keeps moves to and from quarantine apart.
    pub(crate) fn moves_lock(&self) -> PathBuf {
        self.root.join("moves.lock")
    }

    /// Whether a name in `partial/` is one of ours.
    pub(crate) fn is_part(name: &str) -> bool {
        let base = name.strip_suffix(MARKS).unwrap_or(name);
        base.starts_with(NAMED) || base.starts_with(PROBE) || base.parse::<PayloadId>().is_ok()
    }
}
