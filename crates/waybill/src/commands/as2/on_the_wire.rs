//! How much of a message is on the wire, as a person sees it: a bar at a terminal, without one a line now and then on standard
//! error. It comes from the note that the sending node writes, at whichever node the command runs.

use super::progress::{ProgressLine, bar_of, size};
use crate::commands::write;
use model::{DeliveryId, SendProgress};
use std::time::{Duration, Instant};
use store::Store;

/// What the bar is about.
const WHAT: &str = "on the wire";

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows how far an attempt is.
pub(super) struct OnTheWire {
    /// Whether anything may be written.
    tells: bool,
    /// What the last line told, and when.
    told: Option<(SendProgress, Instant)>,
}

impl OnTheWire {
    pub(super) const fn new(tells: bool) -> Self {
        Self { tells, told: None }
    }

    /// Shows how far this attempt is; false where that is not known. A failure to ask ends nothing: it is asked again a
    /// moment later.
    pub(super) async fn show(
        &mut self,
        store: &Store,
        (delivery, attempt): (DeliveryId, u32),
        line: &mut ProgressLine,
    ) -> bool {
        if !self.tells {
            return false;
        }
        let found = store.progress(delivery).await.inspect_err(|error| {
            tracing::debug!(error = %error.chain(), "how much has been sent could not be looked up");
        });
        let Some(progress) = found.ok().flatten().filter(|found| found.attempt == attempt) else {
            return false;
        };
        if line.is_shown() {
            line.plain(&shown(&progress));
        } else if self.is_due(&progress) {
            write::note(shown(&progress));
            self.told = Some((progress, Instant::now()));
        }
        true
    }

    /// Whether a line is due: the first one of a connection, or one after a while, where it has got further.
    fn is_due(&self, progress: &SendProgress) -> bool {
        self.told.is_none_or(|(told, at)| {
            (told.attempt, told.from) != (progress.attempt, progress.from)
                || (told.sent != progress.sent && (at.elapsed() >= LINE_EVERY || is_all(progress)))
        })
    }
}

fn is_all(progress: &SendProgress) -> bool {
    progress.total.is_some_and(|total| progress.sent >= total)
}

/// Bytes sent of all, the rate, and the time that is left.
fn shown(progress: &SendProgress) -> String {
    let SendProgress { from, sent, total, .. } = *progress;
    let bytes = match total {
        Some(total) => bar_of(WHAT, sent.min(total), total),
        None => format!("{WHAT}: {} sent", size(sent)),
    };
    if is_all(progress) {
        return format!("{bytes}, waiting for the answer");
    }
    let rate = progress.rate().map(|rate| format!("{}/s", size(rate)));
    let left = progress.left().map(|left| format!("{} left", rounded(left)));
    let went_on = (from > 0).then(|| format!("went on at {}", size(from)));
    let parts: Vec<String> = [Some(bytes), rate, left, went_on].into_iter().flatten().collect();
    parts.join(", ")
}

/// A time in its two largest units.
fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(from: u64, sent: u64, total: Option<u64>) -> SendProgress {
        SendProgress { attempt: 1, from, sent, total, millis: 2_000 }
    }

    #[test]
    fn bytes_rate_and_the_time_left_are_shown() {
        let mib = 1 << 20;
        assert_eq!(
            shown(&progress(0, 25 * mib, Some(100 * mib))),
            "on the wire [######------------------]  25 %, 25.0 MiB of 100.0 MiB, 12.5 MiB/s, 6 s left"
        );
        // It continues at its offset, and what came before is not part of the rate.
        assert_eq!(
            shown(&progress(50 * mib, 75 * mib, Some(100 * mib))),
            "on the wire [##################------]  75 %, 75.0 MiB of 100.0 MiB, 12.5 MiB/s, 2 s left, \
             went on at 50.0 MiB"
        );
        assert_eq!(shown(&progress(0, mib, None)), "on the wire: 1.0 MiB sent, 512.0 KiB/s");
        assert!(shown(&progress(0, mib, Some(mib))).ends_with("1.0 MiB of 1.0 MiB, waiting for the answer"));
        for (seconds, text) in [(59, "59 s"), (61, "1 min 1 s"), (3 * 3600 + 119, "3 h 1 min")] {
            assert_eq!(rounded(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn without_a_terminal_a_line_is_written_now_and_then() {
        let mut wire = OnTheWire::new(true);
        let first = progress(0, 10, Some(100));
        assert!(wire.is_due(&first));
        wire.told = Some((first, Instant::now()));
        // The same, and a little more a moment later.
        assert!(!wire.is_due(&first) && !wire.is_due(&progress(0, 11, Some(100))));
        // The last byte, another connection, another attempt.
        assert!(wire.is_due(&progress(0, 100, Some(100))) && wire.is_due(&progress(10, 11, Some(100))));
        assert!(wire.is_due(&SendProgress { attempt: 2, ..first }));
        if let Some(long_ago) = Instant::now().checked_sub(LINE_EVERY) {
            wire.told = Some((first, long_ago));
            assert!(wire.is_due(&progress(0, 11, Some(100))) && !wire.is_due(&first));
        }
    }
}
