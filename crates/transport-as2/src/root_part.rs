//! Which of the files of a message is its root: of a multipart/related the part that `start` names, else its first (RFC 2387,
//! 3.2).

use crate::related::RELATED;
use smime::Headers;

/// Finds the root while the parts of a message pass by.
#[derive(Default)]
pub(crate) struct RootPart {
    /// Whether the outermost multipart has begun: only its `start` counts.
    has_begun: bool,
    start: Option<String>,
    /// The next file is the first of the multipart that `start` names.
    is_next: bool,
    place: Option<usize>,
}

impl RootPart {
    /// A multipart begins, the outermost first.
    pub(crate) fn multipart(&mut self, headers: &Headers) {
        if std::mem::replace(&mut self.has_begun, true) {
            self.is_next |= self.is_named(headers);
            return;
        }
        let media = headers.content_type().filter(|media| media.essence() == RELATED);
        let start = media.and_then(|media| media.parameter("start"));
        self.start = start.map(|start| bare(&start).to_owned()).filter(|start| !start.is_empty());
    }

    /// A file begins; so many came before it.
    pub(crate) fn leaf(&mut self, place: usize, headers: &Headers) {
        if std::mem::take(&mut self.is_next) || self.is_named(headers) {
            self.place.get_or_insert(place);
        }
    }

    /// The place of the root, from 0.
    pub(crate) fn place(&self) -> usize {
        self.place.unwrap_or_default()
    }

    fn is_named(&self, headers: &Headers) -> bool {
        let id = headers.get("Content-ID").map(String::from_utf8_lossy);
        self.start.as_deref().zip(id.as_deref()).is_some_and(|(start, id)| bare(id) == start)
    }
}

/// An id without its angle brackets, which some products leave out in one of both places.
fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(media_type: &str, id: &str) -> Headers {
        Headers::new().with("Content-Type", media_type).unwrap().with("Content-ID", id).unwrap()
    }

    fn place(outermost: &str, parts: &[&str]) -> usize {
        let mut root = RootPart::default();
        root.multipart(&headers(outermost, "<outer>"));
        let mut files = 0;
        for id in parts {
            match id.strip_prefix("multipart ") {
                Some(id) => root.multipart(&headers("multipart/mixed; boundary=y", id)),
                None => {
                    root.leaf(files, &headers("text/plain", id));
                    files += 1;
                }
            }
        }
        root.place()
    }

    #[test]
    fn the_root_is_the_part_that_start_names() {
        let related = |start: &str| format!("multipart/related; boundary=x; start=\"{start}\"");
        for (outermost, parts, expected) in [
            (related("<b>"), &["<a>", "<b>", "<c>"][..], 1),
            (related("b"), &["<a>", "b"], 1),
            (related("<b>"), &["<a>", "multipart <b>", "<c>", "<d>"], 1),
            (related("<d>"), &["<a>", "multipart <b>", "<c>", "<d>"], 2),
            // Of two with one Content-ID the first.
            (related("<b>"), &["<a>", "<b>", "<b>"], 1),
            (related("<z>"), &["<a>", "<b>"], 0),
            (related(""), &["<a>", ""], 0),
            ("multipart/related; boundary=x".to_owned(), &["<a>", "<b>"], 0),
            ("multipart/mixed; boundary=x; start=\"<b>\"".to_owned(), &["<a>", "<b>"], 0),
        ] {
            assert_eq!(place(&outermost, parts), expected, "{outermost} {parts:?}");
        }
        assert_eq!(RootPart::default().place(), 0);
    }
}
