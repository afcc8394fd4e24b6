//! Generalized receipts ("HTTP Transport for Secure EDI", 2.5.2; appendix B): written as their type says, and read as any type of
//! them may be written. What one says is held as an MDN holds it, so that it is judged and kept by the same rules.

use super::Mdn;
use crate::disposition::{Disposition, DispositionError};
use crate::names::names_ref_num;
use crate::report_types::{ReportSyntax, ReportType, report_type};
use model::{Error, ErrorKind, Result, Timestamp};
use smime::Headers;
use std::collections::BTreeMap;

/// Longest reason that is taken from a receipt, in characters.
const LONGEST_REASON: usize = 500;

/// A generalized receipt of ours.
pub(crate) struct GeneralReceipt<'a> {
    pub(crate) kind: &'a ReportType,
    pub(crate) disposition: &'a Disposition,
    /// The MIC of the content as received, `base64, algorithm`.
    pub(crate) mic: Option<&'a str>,
    /// The Message-ID of the message, where its sender gave one.
    pub(crate) message_id: Option<&'a str>,
    /// What it gives back of the message's metadata: names and values.
    pub(crate) original: &'a [(String, String)],
    pub(crate) at: Timestamp,
    /// What the receipt is known by here.
    pub(crate) transaction: &'a str,
    /// Words for a person.
    pub(crate) text: &'a str,
}

impl GeneralReceipt<'_> {
    /// The media type and the body of the whole report.
    pub(crate) fn report(&self, boundary: &str) -> (String, Vec<u8>) {
        let essence =
            format!("multipart/report; report-type=\"{}\"; boundary=\"{boundary}\"", self.kind.name);
        let body = format!(
            "--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: {}\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{}\r\n--{boundary}--\r\n",
            self.html(),
            self.kind.media_type,
            self.automated()
        );
        (essence, body.into_bytes())
    }

    fn is_accepted(&self) -> bool {
        self.disposition.is_positive() && !self.kind.is_error
    }

    /// What became of the message, as the type says it.
    fn status(&self) -> String {
        if self.is_accepted() {
            return self.kind.success.first().cloned().unwrap_or_else(|| "ok".to_owned());
        }
        let reason = match self.disposition {
            Disposition::Processed => return self.kind.failure.clone(),
            Disposition::Warning(text) | Disposition::Failure(text) => text.as_str(),
            Disposition::Error(error) => error.as_str(),
        };
        line(&format!("{}: {reason}", self.kind.failure))
    }

    fn html(&self) -> String {
        let outcome = if self.is_accepted() { "Success" } else { "Error" };
        let title = match self.kind.is_error {
            true => "Error Notification".to_owned(),
            false => format!("Acknowledgement Receipt {outcome}"),
        };
        let lines: Vec<String> =
            self.automated_fields().iter().map(|(n, v)| escaped(&self.written(n, v))).collect();
        format!(
            "<HTML><HEAD><TITLE>{title}</TITLE></HEAD>\r\n<BODY><P>{}</P>\r\n<P>\r\n{}\r\n</P></BODY></HTML>",
            escaped(self.text).replace('\n', "<BR>\r\n"),
            lines.join("<BR>\r\n")
        )
    }

    /// What the part for programs says, in its order.
    fn automated_fields(&self) -> Vec<(String, String)> {
        let own = |name: &str, value: String| (name.to_owned(), value);
        let mut fields = vec![
            own("time-c", self.at.format("%Y%m%d%H%M%S").to_string()),
            own(&self.kind.status, self.status()),
            own("server-id", "waybill".to_owned()),
            own("trans-id", line(self.transaction)),
        ];
        fields.extend(self.mic.map(|mic| own("Received-Content-MIC", line(mic))));
        fields.extend(self.message_id.map(|id| own("Original-Message-ID", line(id))));
        fields.extend(self.original.iter().map(|(name, value)| (format!("Original-{name}"), line(value))));
        fields
    }

    fn written(&self, name: &str, value: &str) -> String {
        // What the document has as header fields stays so in every form that is no XML.
        let is_own = matches!(name, "time-c" | "server-id" | "trans-id") || name == self.kind.status;
        match self.kind.syntax {
            ReportSyntax::Assignments if is_own => format!("{name}={value}*"),
            _ => format!("{name}: {value}"),
        }
    }

    fn automated(&self) -> String {
        let fields = self.automated_fields();
        if self.kind.syntax != ReportSyntax::Xml {
            let lines: Vec<String> = fields.iter().map(|(name, value)| self.written(name, value)).collect();
            return lines.join("\r\n");
        }
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"US-ASCII\"?>\r\n<Receipt>\r\n");
        for (name, value) in &fields {
            let mic = (name == "Received-Content-MIC").then(|| value.split_once(',')).flatten();
            xml.push_str(&match mic {
                Some((digest, algorithm)) => format!(
                    "  <ReceivedContentMic algid=\"{}\" encode=\"base64\">{}</ReceivedContentMic>\r\n",
                    escaped(algorithm.trim()),
                    escaped(digest.trim())
                ),
                None => format!("  <{0}>{1}</{0}>\r\n", element(name), escaped(value)),
            });
        }
        xml.push_str("</Receipt>");
        xml
    }
}

/// The name of an element for a field: `Original-Message-ID` is `OriginalMessageID`.
fn element(name: &str) -> String {
    let mut element: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    if !element.starts_with(|first: char| first.is_ascii_alphabetic()) {
        element.insert(0, 'F');
    }
    element
}

fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).map(|c| if c.is_ascii() { c } else { '?' }).take(900).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// The type of a report, by its headers; none of an MDN and of what is no report.
pub(crate) fn general_type(headers: &Headers) -> Option<String> {
    let media = headers.content_type().filter(|media| media.essence() == "multipart/report")?;
    let kind = media.parameter("report-type").unwrap_or_default();
    let kind = kind.trim();
    (!kind.is_empty() && !kind.eq_ignore_ascii_case("disposition-notification")).then(|| kind.to_owned())
}

/// Reads a generalized receipt of this type from its parts, each with its media type.
///
/// # Errors
/// `Protocol`, `Ambiguous`: it has no part.
pub(crate) fn read(kind: &str, parts: &[(String, Vec<u8>)], defined: &[ReportType]) -> Result<Mdn> {
    let known = report_type(defined, kind).unwrap_or_else(|| ReportType::named(kind));
    let words = parts.first().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
    let Some(words) = words else {
        return Err(Error::ambiguous(ErrorKind::Protocol, "find the parts of a generalized receipt")
            .with("report-type", kind)
            .advice("the report has no parts: ask the partner what its system answers"));
    };
    let automated = parts.get(1).map_or(&*words, |(_, bytes)| std::str::from_utf8(bytes).unwrap_or_default());
    let fields = fields_of(automated);
    let field = |name: &str| fields.get(&normal(name)).cloned().filter(|value| !value.is_empty());
    let disposition = disposition(&known, field(&known.status), &words);
    let named = field("Original-Message-ID");
    let by_number = field("Original-RefNum").map(|number| {
        let digits = number.trim_start_matches('0');
        names_ref_num(if digits.is_empty() { "0" } else { digits })
    });
    let mic = field("Received-Content-MIC").or_else(|| field("X-Received-Content-MIC"));
    let text = plain(&words);
    Ok(Mdn {
        original_recipient: None,
        final_recipient: String::new(),
        original_message_id: named.or(by_number),
        // A MIC beside an error says nothing.
        mic: mic.filter(|_| disposition.is_positive()),
        disposition,
        text: text.chars().take(LONGEST_REASON).collect(),
    })
}

/// What became of the message. The receipt alone acknowledges it, where neither its field nor its title says otherwise.
fn disposition(kind: &ReportType, status: Option<String>, words: &str) -> Disposition {
    let refused = |why: &str| {
        let why: String = why.chars().take(LONGEST_REASON).collect();
        Disposition::Error(DispositionError::Other(format!("{}: {why}", kind.name)))
    };
    if kind.is_error {
        return refused(status.as_deref().unwrap_or("the message could not be processed"));
    }
    match status {
        Some(status) if kind.success.iter().any(|ok| ok.eq_ignore_ascii_case(&status)) => {
            Disposition::Processed
        }
        Some(status) => refused(&status),
        None => {
            let title = title(words).unwrap_or_default();
            let lower = title.to_ascii_lowercase();
            match lower.contains("error") || lower.contains("fail") {
                true => refused(&title),
                false => Disposition::Processed,
            }
        }
    }
}

fn title(html: &str) -> Option<String> {
    // In ASCII no character changes its place.
    let lower = html.to_ascii_lowercase();
    let from = lower.find("<title>")? + "<title>".len();
    let length = lower[from..].find("</title>")?;
    Some(html[from..from + length].trim().to_owned())
}

/// A text without the marks of HTML.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut is_mark = false;
    for character in html.chars() {
        match character {
            '<' => is_mark = true,
            '>' if is_mark => is_mark = false,
            other if !is_mark => text.push(other),
            _ => {}
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    unescaped(&words.join(" "))
}

/// The letters and digits of a name: `Received-Content-MIC` and `ReceivedContentMic` are the same.
fn normal(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// What a part for programs says, in any of the forms: header fields, assignments, XML.
fn fields_of(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let is_name = |name: &str| {
        let name = name.trim();
        !name.is_empty()
            && name.len() <= 100
            && !name.contains(|c: char| c.is_whitespace() || "<>\"=".contains(c))
    };
    for text in text.lines() {
        let (field, assignment) = (text.split_once(':'), text.split_once('='));
        let value = match (field, assignment) {
            (Some((name, value)), _) if is_name(name) => Some((name, value.trim())),
            (_, Some((name, value))) if is_name(name) => Some((name, value.trim().trim_end_matches('*'))),
            _ => None,
        };
        if let Some((name, value)) = value {
            found.entry(normal(name)).or_insert_with(|| value.trim().to_owned());
        }
    }
    for (name, value) in elements(text) {
        found.entry(name).or_insert(value);
    }
    found
}

/// The elements of XML that hold text, leniently: attributes need no quotes, as the document prints them.
fn elements(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((mark, behind)) = after.split_once('>') else { break };
        rest = behind;
        let (name, attributes) = mark.split_once(char::is_whitespace).unwrap_or((mark, ""));
        if name.is_empty() || name.starts_with(['/', '?', '!']) {
            continue;
        }
        let content = behind.split('<').next().unwrap_or_default().trim();
        let name = normal(name);
        let mut value = unescaped(content);
        if name.ends_with("receivedcontentmic")
            && let Some(algorithm) = attribute(attributes, "algid")
        {
            value = format!("{value}, {algorithm}");
        }
        if !content.is_empty() {
            found.push((name, value));
        }
    }
    found
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let pieces = attributes.split_whitespace().filter_map(|piece| piece.split_once('='));
    let mut values = pieces.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let value = values.next()?.trim_matches(|c: char| matches!(c, '"' | '\'' | '/'));
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests;
