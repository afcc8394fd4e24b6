//! A partner's words as an operator reads them: a page without its tags, line ends as spaces.

/// Bytes of an answer that are looked at.
const MOST: usize = 8 * 1024;
/// Characters of it that are shown.
const SHOWN: usize = 600;

/// The beginning of an answer in one line.
pub(crate) fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MOST)]);
    let start = text.trim_start().get(..14).unwrap_or(text.trim_start()).to_ascii_lowercase();
    let is_page = ["<!doctype html", "<html", "<head", "<body", "<h1", "<?xml"]
        .iter()
        .any(|tag| start.starts_with(tag));
    let text = if is_page { without_tags(&text) } else { text.into_owned() };
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > SHOWN {
            let end = (0..=SHOWN).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

/// The text of a page: tags, scripts and style sheets left out, the usual entities read.
fn without_tags(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        // Between `<p>one</p><p>two</p>` stands nothing else.
        text.push(' ');
        let name: String =
            tag.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
        let end = match name.as_str() {
            "script" | "style" => tag.to_ascii_lowercase().find(&format!("</{name}")).map(|at| (at, at)),
            _ if tag.starts_with("!--") => tag.find("-->").map(|at| (at, at + 2)),
            _ => Some((0, 0)),
        };
        let closes = end.and_then(|(_, from)| tag[from..].find('>').map(|at| from + at + 1));
        let Some(closes) = closes else {
            rest = "";
            break;
        };
        rest = &tag[closes..];
    }
    text.push_str(rest);
    [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text, |text, (entity, plain)| text.replace(entity, plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_is_its_text() {
        let page = "<!DOCTYPE html>\r\n<html>\r\n<head><title>502 Bad Gateway</title><style>p { color: red }</style></head>\r\n\
                    <body><!-- a > b --><h1>502 Bad Gateway</h1><p>nginx &amp; friends</p><script>if (a < b) x()</script></body></html>";
        assert_eq!(readable(page.as_bytes()), "502 Bad Gateway 502 Bad Gateway nginx & friends");
        assert_eq!(readable(b"  <HTML><h1>Welcome</h1>\r\n"), "Welcome");
        assert_eq!(readable(b"one\r\n\ttwo\r\n"), "one two");
        assert_eq!(readable(b"a < b"), "a < b");
        assert_eq!(readable(b"<html><p never closed"), "");
        assert_eq!(readable(b""), "");
        assert!(readable(&b"word ".repeat(10_000)).len() < 610);
    }

    proptest! {
        #[test]
        fn any_answer_is_one_short_line(body in proptest::collection::vec(any::<u8>(), 0..3000), page in any::<bool>()) {
            let body = if page { [b"<html>".as_slice(), &body].concat() } else { body };
            let line = readable(&body);
            prop_assert!(line.len() < 610 && !line.contains(['\r', '\n', '\t']));
        }
    }
}
