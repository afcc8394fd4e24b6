//! The head of a message that came as a form: from HTTP's header fields, and from the form's for what those do not say
//! ("HTTP Transport for Secure EDI", 2.1.2 and 2.1.3; 4.2).

use super::opening::OpenedForm;
use crate::file_names::{self, FileNameForm};
use crate::form_fields::{Posted, Received};
use crate::request::RequestHead;
use http::{HeaderMap, HeaderName, HeaderValue};
use smime::Headers;

/// Fields that may stand in a form in place of the header, under the same names.
const EITHER: [&str; 7] = [
    "disposition-notification-to",
    "disposition-notification-options",
    "receipt-disposition-to",
    "receipt-report-type",
    "receipt-security-selection",
    "receipt-delivery-option",
    "subject",
];

/// Header fields of HTTP that are about the form, and not about its message.
fn is_about_form(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-") || matches!(name, "etag" | "transfer-encoding" | "mime-version")
}

/// The head of a form's message. `unique` is its Message-ID where the sender gives neither that nor a RefNum: then nothing tells
/// when it comes again.
///
/// # Errors
/// A sentence for the sender: what is missing, or wrong.
pub(crate) fn head(
    http: &HeaderMap,
    form: &OpenedForm,
    unique: impl FnOnce() -> String,
) -> Result<RequestHead, String> {
    let file_name = form.part.form_file_name();
    let from_http = |name: &str| {
        let value = String::from_utf8_lossy(http.get(name)?.as_bytes()).trim().to_owned();
        (!value.is_empty()).then_some(value)
    };
    let mut posted = Posted::of(&form.fields, from_http, file_name.as_deref())?;
    let mut merged: HeaderMap =
        http.iter().filter(|(name, _)| !is_about_form(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
    let mut put = |name: &'static str, value: Option<String>| -> Result<(), String> {
        let Some(value) = value else { return Ok(()) };
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the field {name} of the form is not one line of text"))?;
        merged.insert(HeaderName::from_static(name), value);
        Ok(())
    };
    for name in EITHER {
        if from_http(name).is_none() {
            put(name, form.fields.get(name).map(str::to_owned))?;
        }
    }
    if from_http("date").is_none() {
        put("date", form.fields.get("datetime").map(str::to_owned))?;
    }
    put("as2-from", sender(from_http, &form.fields))?;
    put("as2-to", receiver(from_http, &form.fields))?;
    let message_id = from_http("message-id");
    posted.has_no_message_id = message_id.is_none();
    let message_id = message_id.or_else(|| posted.said("RefNum"));
    put("message-id", Some(message_id.unwrap_or_else(unique)))?;
    let mut head = RequestHead::read(&merged)?;
    head.headers = with_contents(head.headers, &form.part, file_name.as_deref())?;
    head.form = Some(posted);
    Ok(head)
}

/// The sender. The header field for the form's `from` is Receipt-Disposition-To: HTTP's `From` is a mail address (2.1.2).
fn sender(from_http: impl Fn(&str) -> Option<String>, fields: &Received) -> Option<String> {
    let from_http = from_http("as2-from").or_else(|| from_http("receipt-disposition-to"));
    from_http.or_else(|| fields.get("from").map(str::to_owned))
}

/// The receiver. The header field `To` may hold a mail address, which is no name of a party.
fn receiver(from_http: impl Fn(&str) -> Option<String>, fields: &Received) -> Option<String> {
    let to = from_http("to").filter(|to| !to.contains('@'));
    from_http("as2-to").or(to).or_else(|| fields.get("to").map(str::to_owned))
}

/// The fields of the message's part that are about its content. Others there decide nothing: who sends what to whom is said
/// elsewhere, and a form does not go on where an earlier one broke off (`ETag`, `Content-Range`).
fn is_about_content(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("content-")
        && !matches!(&*name, "content-disposition" | "content-range" | "content-length" | "content-encoding")
}

/// The fields that say who sends what to whom, with those of the message's part: as if it had come without a form.
fn with_contents(said: Headers, part: &Headers, file_name: Option<&[u8]>) -> Result<Headers, String> {
    let is_coded = |coding: &[u8]| !coding.trim_ascii().eq_ignore_ascii_case(b"identity");
    if part.get("Content-Encoding").is_some_and(is_coded) {
        return Err("input-data has a Content-Encoding: send it without one".to_owned());
    }
    let mut others = part.fields().iter().filter(|field| is_about_content(&field.name));
    let headers = others.try_fold(said, |headers, field| headers.with(&field.name, &field.value));
    let headers = headers.map_err(|error| error.to_string())?;
    match file_name.filter(|name| !name.is_empty()) {
        Some(name) => headers
            .with("Content-Disposition", file_names::attachment(name, FileNameForm::Extended))
            .map_err(|error| error.to_string()),
        None => Ok(headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forms::open;
    use net::http::Body;

    /// The head of a form with these fields, which came with these header fields.
    async fn read(http: &[(&str, &str)], fields: &[(&str, &str)]) -> Result<RequestHead, String> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "multipart/form-data; boundary=b".parse().unwrap());
        for (name, value) in http {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let mut form = String::new();
        for (name, value) in fields {
            form.push_str(&format!(
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ));
        }
        form.push_str(
            "--b\r\nContent-Disposition: form-data; name=\"input-data\"; filename=\"c:\\edi\\po.x12\"\r\n\
             Content-Type: application/edi-x12\r\n\r\nISA\r\n--b--\r\n",
        );
        let opened = open(&headers, Body::bytes(form)).await.ok().unwrap();
        head(&headers, &opened, || "<unique@here>".to_owned())
    }

    const PARTIES: [(&str, &str); 2] = [("from", "123456789"), ("to", "987654321")];

    #[tokio::test]
    async fn a_form_says_what_header_fields_say_otherwise() {
        let fields = [
            &PARTIES[..],
            &[
                ("RefNum", "0042"),
                ("Receipt-Disposition-To", "123456789"),
                ("receipt-report-type", "GISB-Acknowledgement-Receipt"),
                ("DateTime", "Tue, 06 Nov 2001 12:53:01 UT"),
            ],
        ]
        .concat();
        let head = read(&[], &fields).await.unwrap();
        assert_eq!((head.from.as_str(), head.to.as_str()), ("123456789", "987654321"));
        assert!(head.mdn.wanted && !head.mdn.signed);
        assert_eq!(head.mdn.report_type.as_deref(), Some("GISB-Acknowledgement-Receipt"));
        assert_eq!(head.date.as_deref(), Some("Tue, 06 Nov 2001 12:53:01 UT"));
        assert_eq!(head.headers.content_type().unwrap().essence(), "application/edi-x12");
        assert!(head.headers.file_name().is_some_and(|name| name.ends_with("po.x12")));
        assert!(head.key().contains("\"42\""), "{}", head.key());
        assert_eq!(head.message_id, "0042");
        // The same number is the same key, whatever else is said.
        let with_id = read(&[("Message-ID", "<1@a>")], &fields).await.unwrap();
        assert_eq!((with_id.message_id.as_str(), with_id.key()), ("<1@a>", head.key()));
    }

    #[tokio::test]
    async fn header_fields_win() {
        let asked = [&PARTIES[..], &[("receipt-disposition-to", "1"), ("receipt-report-type", "A")]].concat();
        let http = [
            ("Receipt-Report-Type", "B"),
            ("Receipt-Security-Selection", "signed-receipt-protocol=required, pkcs7-signature"),
            ("From", "edi@acme.example"),
            ("To", "edi@globex.example"),
        ];
        let head = read(&http, &asked).await.unwrap();
        assert_eq!(head.mdn.report_type.as_deref(), Some("B"));
        assert!(head.mdn.signed);
        // Neither is a name of a party.
        assert_eq!((head.from.as_str(), head.to.as_str()), ("123456789", "987654321"));
        for (name, from) in [("AS2-From", "X"), ("Receipt-Disposition-To", "Y")] {
            let head = read(&[(name, from)], &asked).await.unwrap();
            assert_eq!(head.from, from, "{name}");
        }
        // An MDN by form fields names any identifier.
        let mdn = [&PARTIES[..], &[("Disposition-Notification-To", "123456789")]].concat();
        let head = read(&[], &mdn).await.unwrap();
        assert!(head.mdn.wanted && head.mdn.report_type.is_none());
        assert_eq!(head.message_id, "<unique@here>");
    }

    #[tokio::test]
    async fn fields_of_the_part_decide_nothing_but_what_its_content_is() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "multipart/form-data; boundary=b".parse().unwrap());
        let form = |more: &str| {
            format!(
                "--b\r\nContent-Disposition: form-data; name=from\r\n\r\n1\r\n\
                 --b\r\nContent-Disposition: form-data; name=to\r\n\r\n2\r\n\
                 --b\r\nContent-Disposition: form-data; name=input-data\r\n{more}\r\n\r\nISA\r\n--b--\r\n"
            )
        };
        let text = form(
            "ETag: \"x\"\r\nContent-Range: bytes 5-9/10\r\nDate: x\r\nContent-Type: text/plain\r\n\
             Content-Transfer-Encoding: base64",
        );
        let opened = open(&headers, Body::bytes(text)).await.ok().unwrap();
        let head = head(&headers, &opened, || "<unique@here>".to_owned()).unwrap();
        assert!(["ETag", "Content-Range", "Date"].iter().all(|name| head.headers.get(name).is_none()));
        assert_eq!(head.headers.content_type().unwrap().essence(), "text/plain");
        assert!(head.headers.get("Content-Transfer-Encoding").is_some());
        let opened = open(&headers, Body::bytes(form("Content-Encoding: gzip"))).await.ok().unwrap();
        let coded = super::head(&headers, &opened, || "<unique@here>".to_owned());
        assert!(coded.unwrap_err().contains("Content-Encoding"));
    }

    #[tokio::test]
    async fn what_is_missing_or_wrong_is_named() {
        for (fields, words) in [
            (&[("from", "1")][..], "AS2-To"),
            (&[("to", "1")][..], "AS2-From"),
            (&[("from", "1"), ("to", "2"), ("RefNum", "x")][..], "RefNum"),
            (&[("from", "1"), ("to", "2"), ("Expiration", "soon")][..], "Expiration"),
            (&[("from", "1"), ("to", "2"), ("receipt-disposition-to", "1")][..], "Receipt-Report-Type"),
            (&[("from", "1\r\n2"), ("to", "2")][..], "one line"),
        ] {
            let error = read(&[], fields).await.unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
