//! How much of a file is on the wire while it is sent.

use crate::web::format::{Size, duration_text, size_text};
use model::{DeliveryState, SendProgress};
use std::time::Duration;
use store::{DeliveryView, Store};

/// A bar, and what is known in words.
pub(crate) struct OnTheWire {
    pub(crate) sent: Size,
    /// The whole and the percentage of it that has left; `None` where the whole is not known before its end.
    pub(crate) whole: Option<(Size, u64)>,
    /// The rate, the time that is left, and where it went on.
    pub(crate) more: String,
}

impl OnTheWire {
    /// How far the attempt of a delivery is that is under way; `None` without one, or while nothing is noted of it.
    pub(crate) async fn of(store: &Store, delivery: &DeliveryView) -> Option<Self> {
        if delivery.state != DeliveryState::Sending {
            return None;
        }
        let attempt = delivery.attempts.iter().rfind(|attempt| attempt.ended_at.is_none())?.number;
        // The page is of use without it.
        let progress = store.progress(delivery.id).await.inspect_err(|error| {
            tracing::warn!(delivery = %delivery.id, error = %error.chain(), "how much has been sent could not be looked up");
        });
        progress
            .ok()
            .flatten()
            .filter(|progress| progress.attempt == attempt)
            .map(|progress| Self::new(&progress))
    }

    fn new(progress: &SendProgress) -> Self {
        let SendProgress { from, sent, total, .. } = *progress;
        let is_all = total.is_some_and(|total| sent >= total);
        let more: Vec<String> = match is_all {
            true => vec!["waiting for the answer".to_owned()],
            false => [
                progress.rate().map(|rate| format!("{}/s", size_text(rate))),
                progress.left().map(|left| format!("{} left", rounded(left))),
                (from > 0).then(|| format!("went on at {}", size_text(from))),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        Self {
            sent: Size(total.map_or(sent, |total| sent.min(total))),
            whole: total.map(|total| (Size(total), percent(sent, total))),
            more: more.join(", "),
        }
    }
}

/// As it is an estimate, without fractions of a second.
fn rounded(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => duration_text(left),
    }
}

fn percent(sent: u64, total: u64) -> u64 {
    let percent = (u128::from(sent) * 100).checked_div(u128::from(total)).unwrap_or(100);
    u64::try_from(percent).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_fast_and_how_long() {
        let shown = |from, sent, total| {
            OnTheWire::new(&SendProgress { attempt: 1, from, sent, total, millis: 2_000 })
        };
        let mib = 1 << 20;
        let half = shown(0, 50 * mib, Some(100 * mib));
        assert_eq!(half.whole, Some((Size(100 * mib), 50)));
        assert_eq!(half.more, "25.0 MiB/s, 2 s left");
        // What came before a cut is not part of the rate.
        assert_eq!(
            shown(50 * mib, 75 * mib, Some(100 * mib)).more,
            "12.5 MiB/s, 2 s left, went on at 50.0 MiB"
        );
        let all = shown(0, mib, Some(mib));
        assert_eq!((all.whole, all.more.as_str()), (Some((Size(mib), 100)), "waiting for the answer"));
        let unknown = shown(0, mib, None);
        assert_eq!((unknown.sent, unknown.whole, unknown.more.as_str()), (Size(mib), None, "512 KiB/s"));
        assert_eq!((percent(u64::MAX, u64::MAX), percent(1, 0), percent(99, 100)), (100, 100, 99));
    }
}
