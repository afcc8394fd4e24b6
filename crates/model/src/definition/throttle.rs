//! Limits of the use of an endpoint, and worker pools.

use crate::Timestamp;
use crate::schedule::{TimeZone, Window};

/// How much of an endpoint this gateway uses, on each node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Throttle {
    /// Most deliveries to it at the same time; `None` for the node's setting.
    pub deliveries: Option<usize>,
    /// When so many deliveries to it wait, its flows take no new files; `None` for no limit.
    pub queue: Option<u32>,
    /// Bytes per second, read and written together; `None` for no limit.
    pub bandwidth: Option<u64>,
    /// By whose clock the windows begin and end.
    pub zone: TimeZone,
    /// Windows with a bandwidth of their own; of those that are open the first counts.
    pub between: Vec<BandwidthWindow>,
}

/// A window of the day with its bandwidth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BandwidthWindow {
    /// When.
    pub window: Window,
    /// Bytes per second.
    pub bandwidth: u64,
}

impl Throttle {
    /// The bandwidth at a moment, in bytes per second; `None` for no limit.
    #[must_use]
    pub fn bandwidth_at(&self, now: Timestamp) -> Option<u64> {
        if self.between.is_empty() {
            return self.bandwidth;
        }
        let local = self.zone.local(now).naive_local();
        let open = self.between.iter().find(|other| other.window.is_open(local));
        open.map_or(self.bandwidth, |other| Some(other.bandwidth))
    }
}

/// A number of deliveries that run at the same time on each node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerPool {
    /// Its name.
    pub name: String,
    /// How many deliveries run at the same time.
    pub size: usize,
}

/// The pool of deliveries whose endpoint and flow name none.
pub const DEFAULT_POOL: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_open_window_says_the_bandwidth() {
        let window = |from, to, days: &[&str], bandwidth| BandwidthWindow {
            window: Window::parse(from, to, days.iter().copied()).unwrap(),
            bandwidth,
        };
        let throttle = Throttle {
            bandwidth: Some(10),
            zone: TimeZone::parse("Europe/Berlin").unwrap(),
            between: vec![window("22:00", "06:00", &["fri"], 3), window("08:00", "18:00", &[], 1)],
            ..Throttle::default()
        };
        let at = |time: &str| throttle.bandwidth_at(time.parse().unwrap());
        // In Berlin it is one hour later; 27 November 2026 is a Friday.
        assert_eq!(at("2026-11-27T06:59:59Z"), Some(10));
        assert_eq!(at("2026-11-27T07:00:00Z"), Some(1));
        assert_eq!(at("2026-11-27T17:00:00Z"), Some(10));
        assert_eq!(at("2026-11-28T04:30:00Z"), Some(3));
        assert_eq!(Throttle::default().bandwidth_at("2026-11-28T04:30:00Z".parse().unwrap()), None);
    }
}
