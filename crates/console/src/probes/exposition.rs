//! Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write as _};

/// Gauges and counters as text. Those of one name must be written one after another.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    last: &'static str,
}

impl Exposition {
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.gauge_of(name, help, &[], value);
    }

    pub(super) fn gauge_of(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.line(name, "gauge", help, labels, value);
    }

    /// What only grows while the process lives; its name ends in `_total`.
    pub(super) fn counter_of(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.line(name, "counter", help, labels, value);
    }

    fn line(
        &mut self,
        name: &'static str,
        kind: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        if self.last != name {
            let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            self.last = name;
        }
        self.text.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let opening = if place == 0 { '{' } else { ',' };
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{opening}{label}=\"{escaped}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_names_told_once() {
        let mut text = Exposition::default();
        text.gauge("up", "Up.", 1);
        text.gauge_of("in", "In.", &[("a", "x\"\\\n"), ("b", "y")], 2);
        text.gauge_of("in", "In.", &[("a", "z")], 0.5);
        assert_eq!(
            text.into_text(),
            "# HELP up Up.\n# TYPE up gauge\nup 1\n# HELP in In.\n# TYPE in gauge\n\
             in{a=\"x\\\"\\\\\\n\",b=\"y\"} 2\nin{a=\"z\"} 0.5\n"
        );
    }
}
