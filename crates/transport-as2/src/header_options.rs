//! The header fields of messages to a partner that are a matter of agreement: Subject, From, To, Date, and what this system
//! says of itself in `AS2-Version` and `EDIINT-Features` (RFC 4130, 6.1; RFC 6017).

use crate::file_names::FileNameForm;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::schema::Values;
use model::{RemotePath, Timestamp, words};
use serde::{Deserialize, Serialize};

/// The features that this system has (RFC 6017): it reads messages with several attachments (RFC 6362), and messages about
/// certificates (draft-meadors-certificate-exchange-14).
pub(crate) const FEATURES: &str = "multiple-attachments, CEM";

/// The Subject without an option of its own.
const SUBJECT: &str = "EDI";

/// Longest Subject that is sent, in bytes before it is encoded.
const LONGEST_SUBJECT: usize = 600;

/// Header fields of messages to a partner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeaderOptions {
    /// The template of the Subject; `None` for a fixed one.
    pub subject: Option<String>,
    /// `From`, an e-mail address.
    pub from: Option<String>,
    /// `To`, an e-mail address.
    pub to: Option<String>,
    /// Whether there is a Date.
    pub date: bool,
    /// Whether `EDIINT-Features` is said, which needs AS2-Version 1.2.
    pub features: bool,
    /// HTTP's coding of the body.
    pub content_coding: ContentCoding,
    /// How the names of files are written.
    pub file_names: FileNameForm,
}

impl Default for HeaderOptions {
    fn default() -> Self {
        Self {
            subject: None,
            from: None,
            to: None,
            date: true,
            features: false,
            content_coding: ContentCoding::No,
            file_names: FileNameForm::Extended,
        }
    }
}

impl HeaderOptions {
    /// Reads a partner's table `send`.
    pub(crate) fn read(send: &Values) -> Self {
        let text = |name: &str| send.text(name).map(str::to_owned);
        Self {
            subject: text("subject"),
            from: text("from"),
            to: text("to"),
            date: send.bool("date"),
            features: send.bool("features"),
            content_coding: text("content_coding")
                .and_then(|word| ContentCoding::parse(&word))
                .unwrap_or(ContentCoding::No),
            file_names: text("file_names")
                .and_then(|word| FileNameForm::parse(&word))
                .unwrap_or(FileNameForm::Extended),
        }
    }

    /// The AS2-Version of a message: by what it uses.
    pub(crate) const fn version(&self, compressed: bool, says_features: bool) -> &'static str {
        match (says_features, compressed) {
            (true, _) => "1.2",
            (false, true) => "1.1",
            (false, false) => "1.0",
        }
    }

    /// The Subject of a message, as a header field may hold it.
    pub(crate) fn subject(&self, values: &SubjectValues<'_>) -> String {
        let Some(template) = &self.subject else { return SUBJECT.to_owned() };
        // The template was checked when it was saved.
        encoded(&fill(template, |field| values.get(field)).unwrap_or_else(|_| SUBJECT.to_owned()))
    }

    /// The fields that a partner may want or not.
    pub(crate) fn fields(&self, date: Timestamp, says_features: bool) -> Vec<(String, String)> {
        let date = self.date.then(|| date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        let features = says_features.then(|| FEATURES.to_owned());
        let fields = [
            ("Date", date),
            ("From", self.from.clone()),
            ("To", self.to.clone()),
            ("EDIINT-Features", features),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// What cannot be sent so: the option, and why.
    pub(crate) fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (path, address) in [("send.from", &self.from), ("send.to", &self.to)] {
            if address.as_deref().is_some_and(|address| !is_mailbox(address)) {
                let message = "must be an e-mail address, such as \"edi@acme.example\" or \"ACME EDI <edi@acme.example>\"";
                found.push((path, message.to_owned()));
            }
        }
        if let Some(Err(reason)) = self.subject.as_deref().map(check_template) {
            found.push(("send.subject", reason));
        }
        found
    }
}

words! {
    /// The content coding of the messages to a partner (RFC 9110, 8.4.1).
    ContentCoding {
        /// None.
        No = "no",
        /// gzip (RFC 1952).
        Gzip = "gzip",
        /// zlib's form of deflate (RFC 1950).
        Deflate = "deflate",
    }
}

/// What the fields of a Subject stand for.
pub(crate) struct SubjectValues<'a> {
    pub(crate) file_name: &'a RemotePath,
    /// Our AS2 name.
    pub(crate) from: &'a str,
    /// The partner's.
    pub(crate) to: &'a str,
    pub(crate) message_id: &'a str,
}

/// The fields of a Subject.
const FIELDS: [&str; 6] = ["name", "stem", "ext", "from", "to", "message_id"];

impl SubjectValues<'_> {
    fn get(&self, field: &str) -> Option<String> {
        let name = String::from_utf8_lossy(self.file_name.file_name());
        let (stem, extension) = match name.rfind('.').filter(|at| *at > 0) {
            Some(at) => name.split_at(at),
            None => (&*name, ""),
        };
        Some(match field {
            "name" => name.into_owned(),
            "stem" => stem.to_owned(),
            "ext" => extension.to_owned(),
            "from" => self.from.to_owned(),
            "to" => self.to.to_owned(),
            "message_id" => self.message_id.to_owned(),
            _ => return None,
        })
    }
}

/// # Errors
/// Why a Subject cannot be written so.
fn check_template(template: &str) -> Result<(), String> {
    if template.trim().is_empty() {
        return Err("is empty: leave it out for \"EDI\"".to_owned());
    }
    if template.len() > LONGEST_SUBJECT {
        return Err(format!("is longer than {LONGEST_SUBJECT} bytes"));
    }
    if template.chars().any(char::is_control) {
        return Err("contains a control character".to_owned());
    }
    fill(template, |field| FIELDS.contains(&field).then(String::new)).map(drop)
}

/// A template with its fields filled in; `{{` and `}}` stand for braces.
///
/// # Errors
/// A brace or a field that means nothing.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
        } else if brace == "}" {
            return Err("has '}' without '{'; write '}}' for a brace".to_owned());
        } else {
            let (field, after) =
                rest.split_once('}').ok_or("has '{' that is not closed; write '{{' for a brace")?;
            let known = || format!("has no field {{{field}}}: there are {{{}}}", FIELDS.join("}, {"));
            text.push_str(&value(field).ok_or_else(known)?);
            rest = after;
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// A text as a header field may hold it: encoded-words where it is not printable ASCII (RFC 2047), in one line.
fn encoded(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = text.len().min(LONGEST_SUBJECT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    if text.is_ascii() {
        return text;
    }
    // RFC 2047, 2: at most 75 characters each, and no character is divided.
    let mut words: Vec<String> = Vec::new();
    for character in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + character.len_utf8() <= 45 => word.push(character),
            _ => words.push(character.to_string()),
        }
    }
    let words: Vec<_> = words.iter().map(|word| format!("=?UTF-8?B?{}?=", BASE64.encode(word))).collect();
    words.join(" ")
}

/// Whether a text is an e-mail address, with a name before it perhaps (RFC 5322, 3.4), in printable ASCII.
pub(crate) fn is_mailbox(text: &str) -> bool {
    let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.trim_end().strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let in_address =
        |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | '"' | '\\' | '@');
    let parts = address.split_once('@');
    printable
        && parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && local.chars().chain(domain.chars()).all(in_address)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject(template: &str, name: &str) -> String {
        let values = SubjectValues {
            file_name: &RemotePath::from(name),
            from: "ACME",
            to: "GLOBEX Inc",
            message_id: "<1@acme>",
        };
        encoded(&fill(template, |field| values.get(field)).unwrap())
    }

    #[test]
    fn a_subject_is_filled_in_and_encoded_where_it_must_be() {
        assert_eq!(subject("Orders {stem}{ext} {{x}}", "in/order.7.edi"), "Orders order.7.edi {x}");
        assert_eq!(subject("{from} to {to}: {message_id}", "a"), "ACME to GLOBEX Inc: <1@acme>");
        assert_eq!(subject("{name}", "a\r\nBcc: x"), "a  Bcc: x");
        assert_eq!(subject("{stem}", "Größe.edi"), "=?UTF-8?B?R3LDtsOfZQ==?=");
        let long = subject("{name}", &"ö".repeat(500));
        assert!(long.split(' ').all(|word| word.len() <= 75 && word.starts_with("=?UTF-8?B?")), "{long}");
    }

    #[test]
    fn templates_and_addresses_are_checked() {
        assert_eq!(check_template("Order {name}"), Ok(()));
        for (template, words) in [
            ("", "is empty"),
            ("{flow}", "no field {flow}"),
            ("{name", "not closed"),
            ("name}", "'}' without '{'"),
            ("a\nb", "control character"),
        ] {
            assert!(check_template(template).unwrap_err().contains(words), "{template}");
        }
        for address in ["edi@acme.example", "ACME EDI <edi@acme.example>", "<a+b@[192.0.2.1]>"] {
            assert!(is_mailbox(address), "{address}");
        }
        for address in ["", "ACME", "a@", "@b", "a@b@c", "a b@c", "A <a@b", "a@b\r\nX: y", "größe@b"] {
            assert!(!is_mailbox(address), "{address}");
        }
    }

    #[test]
    fn the_version_is_that_of_what_is_used() {
        let plain = HeaderOptions::default();
        assert_eq!((plain.version(false, false), plain.version(true, false)), ("1.0", "1.1"));
        let features = HeaderOptions { features: true, date: false, ..HeaderOptions::default() };
        assert_eq!((features.version(false, true), features.version(true, true)), ("1.2", "1.2"));
        let at = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(features.fields(at, true), [("EDIINT-Features".to_owned(), FEATURES.to_owned())]);
        assert_eq!(
            plain.fields(at, false),
            [("Date".to_owned(), "Tue, 14 Nov 2023 22:13:20 GMT".to_owned())]
        );
    }

    proptest! {
        #[test]
        fn any_name_gives_one_line_of_ascii(name in ".{0,300}", template in "[ -~ö{}]{0,40}") {
            let values = SubjectValues { file_name: &RemotePath::from(&*name), from: "A", to: "B", message_id: "<1>" };
            if let Ok(text) = fill(&template, |field| values.get(field)) {
                let text = encoded(&text);
                prop_assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{}", text);
            }
        }
    }
}
