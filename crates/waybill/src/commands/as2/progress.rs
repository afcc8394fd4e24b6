//! What a person at a terminal sees of work that takes time, on standard error: a bar, or a line that changes.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Between two drawings.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

/// Characters of a bar.
const WIDTH: u64 = 24;

/// A line at the terminal that is drawn anew; nothing where standard error is no terminal.
pub(super) struct ProgressLine {
    shown: bool,
    begun: Instant,
    drawn: Option<Instant>,
}

impl ProgressLine {
    /// `wanted`: whether anything may be drawn, as for results in text.
    pub(super) fn new(wanted: bool) -> Self {
        Self { shown: wanted && std::io::stderr().is_terminal(), begun: Instant::now(), drawn: None }
    }

    /// Whether anything is drawn.
    pub(super) const fn is_shown(&self) -> bool {
        self.shown
    }

    /// A text as it is.
    pub(super) fn plain(&mut self, text: &str) {
        self.draw(false, text);
    }

    /// A bar: so many bytes of so many.
    pub(super) fn bar(&mut self, what: &str, done: u64, total: u64) {
        let text = bar(what, done, total, self.begun.elapsed());
        self.draw(done == total, &text);
    }

    /// A text with the seconds since the line began.
    pub(super) fn text(&mut self, text: &str) {
        let text = format!("{text}, {} s", self.begun.elapsed().as_secs());
        self.draw(false, &text);
    }

    /// Removes the line, so that another text can be written.
    pub(super) fn clear(&mut self) {
        if self.shown && self.drawn.take().is_some() {
            self.write("\r\x1b[K");
        }
        self.begun = Instant::now();
    }

    fn draw(&mut self, is_last: bool, text: &str) {
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= DRAWN_EVERY);
        if self.shown && (is_due || is_last) {
            self.write(&format!("\r\x1b[K{text}"));
            self.drawn = Some(Instant::now());
        }
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stderr();
        // A terminal that is gone shows nothing: the work goes on.
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let millis = elapsed.as_millis().max(1);
    let rate = u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX);
    format!("{}, {}/s", bar_of(what, done, total), size(rate))
}

/// A bar without a rate.
pub(super) fn bar_of(what: &str, done: u64, total: u64) -> String {
    let share = |of: u64| {
        if total == 0 {
            of
        } else {
            u64::try_from(u128::from(done) * u128::from(of) / u128::from(total)).unwrap_or(of)
        }
    };
    let full = share(WIDTH).min(WIDTH);
    let marks: String = (0..WIDTH).map(|at| if at < full { '#' } else { '-' }).collect();
    format!("{what} [{marks}] {:>3} %, {} of {}", share(100), size(done), size(total))
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    for unit in UNITS {
        if tenths < 10_240 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1024;
    }
    format!("{}.{} EiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{bar, size};
    use std::time::Duration;

    #[test]
    fn a_bar_shows_how_much_is_done_and_how_fast() {
        let second = Duration::from_secs(1);
        assert_eq!(
            bar("copying", 512 * 1024, 1024 * 1024, second),
            "copying [############------------]  50 %, 512.0 KiB of 1.0 MiB, 512.0 KiB/s"
        );
        assert!(bar("copying", 0, 10, Duration::ZERO).contains("]   0 %, 0 bytes of 10 bytes"));
        assert!(bar("copying", 0, 0, second).contains("[########################] 100 %"));
        assert!(bar("copying", u64::MAX, u64::MAX, second).contains("] 100 %, 15.9 EiB of 15.9 EiB"));
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (107_374_182_400, "100.0 GiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
