//! What is told of a file, as the switches would have it.

use super::switches::{ReportedIn, Switch, Switches};
use super::wire::Packet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often a time was told that runs.
static TELLINGS: AtomicU32 = AtomicU32::new(0);

/// Attributes as they go over the wire; what is `None` is left out.
pub(super) struct Attributes {
    size: Option<u64>,
    mode: Option<u32>,
    time: Option<u32>,
    owners: Option<(u32, u32)>,
    /// Flags that version 3 does not have, and whether a value goes with each.
    further: Option<(u32, bool)>,
}

impl Attributes {
    pub(super) fn of(switches: &Switches, path: &Path, found: &Metadata, place: ReportedIn) -> Self {
        let size = switches.find(path, |switch| match switch {
            Switch::SizeOff(told, by) if told.covers(place) => {
                Some(Some(found.len().saturating_add_signed(*by)))
            }
            Switch::SizeIs(told, size) if told.covers(place) => Some(Some(*size)),
            Switch::NoSize(told) if told.covers(place) => Some(None),
            _ => None,
        });
        let mode = switches.find(path, |switch| match switch {
            Switch::ModeIs(told, mode) if told.covers(place) => Some(Some(*mode)),
            Switch::NoType(told) if told.covers(place) => Some(Some(found.mode() & 0o7777)),
            Switch::NoMode(told) if told.covers(place) => Some(None),
            _ => None,
        });
        let modified = u32::try_from(found.mtime()).unwrap_or(0);
        let time = switches.find(path, |switch| match switch {
            Switch::TimeOff(told, by) if told.covers(place) => {
                Some(u32::try_from(i64::from(modified) + by).ok())
            }
            Switch::TimeRuns(told) if told.covers(place) => {
                Some(Some(modified.wrapping_add(TELLINGS.fetch_add(1, Ordering::Relaxed))))
            }
            Switch::NoTime(told) if told.covers(place) => Some(None),
            _ => None,
        });
        let further = switches.find(path, |switch| match switch {
            Switch::LaterTimes(flags) => Some((*flags, true)),
            Switch::EmptyFlags(flags) => Some((*flags, false)),
            _ => None,
        });
        let owners = switches.find(path, |switch| match switch {
            Switch::Owners(user, group) => Some((*user, *group)),
            _ => None,
        });
        Self {
            owners,
            size: size.unwrap_or(Some(found.len())),
            mode: mode.unwrap_or(Some(found.mode())),
            time: time.unwrap_or(Some(modified)),
            further,
        }
    }

    pub(super) fn write(&self, mut packet: Packet) -> Packet {
        let (further, with_values) = self.further.unwrap_or((0, false));
        let known = u32::from(self.size.is_some())
            | u32::from(self.owners.is_some()) << 1
            | u32::from(self.mode.is_some()) << 2
            | u32::from(self.time.is_some()) << 3;
        packet = packet.u32(known | further);
        if let Some(size) = self.size {
            packet = packet.u64(size);
        }
        if let Some((user, group)) = self.owners {
            packet = packet.u32(user).u32(group);
        }
        if let Some(mode) = self.mode {
            packet = packet.u32(mode);
        }
        if let Some(time) = self.time {
            // When it was read last, and when it was changed.
            packet = packet.u32(time).u32(time);
        }
        if with_values {
            for _ in 0..further.count_ones() {
                packet = packet.u64(u64::from(self.time.unwrap_or(1)));
            }
        }
        packet
    }

    /// The line that `ls -l` would show.
    pub(super) fn line(&self, switches: &Switches, path: &Path, found: &Metadata) -> Vec<u8> {
        let set = switches.find(path, |switch| match switch {
            Switch::LineIs(line) => Some(line.as_bytes().to_vec()),
            _ => None,
        });
        set.unwrap_or_else(|| {
            let letter = match found.mode() & 0o170_000 {
                0o040_000 => 'd',
                0o120_000 => 'l',
                0o100_000 => '-',
                _ => 's',
            };
            let size = self.size.unwrap_or(0);
            let mut line =
                format!("{letter}rw-r--r--    1 partner  partner  {size:>8} Jan  1 00:00 ").into_bytes();
            line.extend_from_slice(path.file_name().map(OsStr::as_bytes).unwrap_or_default());
            line
        })
    }
}
