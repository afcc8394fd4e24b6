//! How things look: times, sizes, durations, ids, states. All of it is safe HTML or plain text.

use askama::filters::HtmlSafe;
use chrono::{SecondsFormat, SubsecRound};
use model::{PeerText, RemotePath, Timestamp};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Rows of a list that this version cannot read, a line each.
pub(crate) fn unreadable_rows(what: &str, rows: &[store::UnreadableRow]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            let id = row.id.map(|id| format!(" {id}")).unwrap_or_default();
            let at =
                row.at.map(|at| format!(" of {} UTC", at.format("%Y-%m-%d %H:%M:%S"))).unwrap_or_default();
            format!("Could not read {what}{id}{at}: {}", safe_text(&row.error))
        })
        .collect()
}

/// A moment. UTC as written here; `times.js` shows it in the viewer's zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl HtmlSafe for Moment {}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<time datetime=\"{}\" title=\"{} UTC\">{} UTC</time>",
            self.0.to_rfc3339_opts(SecondsFormat::Millis, true),
            self.0.format("%Y-%m-%d %H:%M:%S%.3f"),
            self.0.trunc_subsecs(0).format("%Y-%m-%d %H:%M:%S"),
        )
    }
}

/// An id, shortened to its end: the beginning is a time, alike among neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ShortId(pub(crate) Uuid);

impl HtmlSafe for ShortId {}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = self.0.to_string();
        write!(f, "<code class=\"id\" title=\"{full}\">{}</code>", &full[full.len() - 8..])
    }
}

/// A number of bytes: `4.0 KiB`, with the exact number as title.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl HtmlSafe for Size {}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span title=\"{} bytes\">{}</span>", grouped(self.0), size_text(self.0))
    }
}

/// `4.0 KiB`.
pub(crate) fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss)] // three digits are shown
    let mut number = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if number < 999.95 {
            break;
        }
        number /= 1024.0;
        unit = larger;
    }
    if number < 99.95 { format!("{number:.1} {unit}") } else { format!("{number:.0} {unit}") }
}

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `340 µs`, `1.24 s`, `2 min 5 s`, `3 h 20 min`, `2 d 4 h`.
pub(crate) fn duration_text(duration: Duration) -> String {
    let micros = duration.as_micros();
    let seconds = duration.as_secs();
    match seconds {
        0 if micros < 1000 => format!("{micros} µs"),
        0 => format!("{} ms", micros / 1000),
        1..60 => format!("{}.{:02} s", seconds, duration.subsec_millis() / 10),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// The time from one moment to another; none when the clock went back.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> String {
    duration_text((to - from).to_std().unwrap_or_default())
}

/// A path for people: lossless, and nothing in it can reorder or break a line.
pub(crate) fn path_text(path: &RemotePath) -> String {
    PeerText::new(path.to_text().as_bytes()).as_str().to_owned()
}

/// Text of unknown origin for people.
pub(crate) fn safe_text(text: &str) -> String {
    PeerText::from(text).as_str().to_owned()
}

/// With a capital at its beginning.
pub(crate) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Text of unknown origin as one line of a list: its line breaks are spaces, and of a web page (what
/// proxies and the like answer) only its words are left.
pub(crate) fn one_line(text: &str) -> String {
    let mut text = BREAKS.iter().fold(safe_text(text), |text, escape| text.replace(escape, " "));
    if is_page(&text) {
        text = without_tags(&text);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text of unknown origin with the line breaks that it came with.
pub(crate) fn with_breaks(text: &str) -> String {
    safe_text(text).replace("\\u{d}\\u{a}", "\n").replace("\\u{a}", "\n").replace("\\u{9}", "\t")
}

/// How [`PeerText`] writes what separates words.
const BREAKS: [&str; 3] = ["\\u{d}", "\\u{a}", "\\u{9}"];

fn is_page(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("<html") || text.contains("<!doctype") || text.contains("<body")
}

/// The words of a web page, without its styles and scripts.
fn without_tags(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        words.push_str(before);
        words.push(' ');
        let name: String = tag.chars().take_while(char::is_ascii_alphabetic).collect();
        let end = match name.to_ascii_lowercase().as_str() {
            "style" => tag.to_ascii_lowercase().find("</style"),
            "script" => tag.to_ascii_lowercase().find("</script"),
            _ => None,
        };
        let tag = &tag[end.unwrap_or(0)..];
        rest = tag.split_once('>').map_or("", |(_, rest)| rest);
    }
    words.push_str(rest);
    words
}

/// At most so many characters: cut in the middle, as both ends of a name tell something, if it is one word,
/// and else at its end.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let tail = if text.contains(' ') { 0 } else { kept / 2 };
    text.chars().take(kept - tail).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (4096, "4.0 KiB"),
            (150_000, "146 KiB"),
            (1_048_575, "1.0 MiB"),
            (67_108_864, "64.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn what_a_proxy_answers_is_read_as_words() {
        let page = "could not send: rejected, peer said \"<!DOCTYPE HTML>\r\n<html>\r\n<head><style>p { a: b }</style>\
                    <title>502 Bad Gateway</title></head>\n<body>\t<h1>Bad Gateway</h1></body></html>\" (host h:1)";
        let stored = PeerText::from(page);
        assert!(stored.as_str().contains("\\u{d}\\u{a}"));
        assert_eq!(
            one_line(stored.as_str()),
            "could not send: rejected, peer said \" 502 Bad Gateway Bad Gateway \" (host h:1)"
        );
        assert_eq!(one_line("550 a\r\n 550 <b@c> d"), "550 a 550 <b@c> d");
        assert_eq!(with_breaks(PeerText::from("a\r\nb\n\tc\u{202e}").as_str()), "a\nb\n\tc\\u{202e}");
        for odd in
            ["<html", "<html><style>", "<html></script><style>é", "<body><", "<html>é<script>x</Script>"]
        {
            assert!(!one_line(odd).contains("style"), "{odd}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut("orders.edi", 10), "orders.edi");
        assert_eq!(cut("a-rather-long-name.edi", 9), "a-ra….edi");
        assert_eq!(cut("could not reach it", 10), "could not…");
        assert_eq!(cut("ééééé", 3), "é…é");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), "…".into()));
    }

    #[test]
    fn durations_are_short() {
        for (millis, text) in [
            (0, "0 µs"),
            (12, "12 ms"),
            (1_240, "1.24 s"),
            (125_000, "2 min 5 s"),
            (12_000_000, "3 h 20 min"),
            (187_200_000, "2 d 4 h"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
    }
}
