//! A message of ours as a form: its header fields that say who, to whom and which receipt become parts, and the message itself is
//! the part `input-data`, which streams ("HTTP Transport for Secure EDI", 2; appendix B).

use crate::file_names::{FileNameForm, parameter};
use crate::form_fields::{FormTerms, dates};
use crate::names::ref_num_of;
use crate::outgoing::Envelope;
use model::{Error, ErrorKind, Result, Timestamp};
use serde_json::{Map, Value};
use smime::Measured;
use std::io::{self, Cursor, Read};

/// The error of a message whose Expiration is over: no attempt is made.
pub(crate) fn expired(
    terms: &FormTerms,
    first: Timestamp,
    metadata: &Map<String, Value>,
    now: Timestamp,
) -> Option<Error> {
    let expiration = terms.expiration(first, metadata).filter(|expiration| *expiration < now)?;
    Some(
        Error::permanent(ErrorKind::Timeout, "send a message that has expired")
            .with("expiration", expiration.to_rfc3339())
            .advice("its Expiration is over (form.expires_after, or that of its sender): send the file anew as another message"),
    )
}

/// A form around a message.
pub(crate) struct Posting {
    /// HTTP's header fields.
    pub(crate) headers: Vec<(String, String)>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Posting {
    /// The form of a message with these header fields.
    ///
    /// # Errors
    /// A value that is not one line.
    pub(crate) fn new(
        envelope: &Envelope<'_>,
        message: &[(String, String)],
        metadata: &Map<String, Value>,
    ) -> Result<Self> {
        let terms = &envelope.agreement.form;
        let boundary = boundary(envelope);
        let is_contents = |name: &str| name.to_ascii_lowercase().starts_with("content-");
        let is_moved = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.starts_with("receipt-")
                || name.starts_with("disposition-notification-")
                || matches!(&*name, "as2-from" | "as2-to" | "mime-version")
        };
        let stays = |(name, _): &&(String, String)| !is_contents(name) && !is_moved(name);
        let mut headers: Vec<(String, String)> = message.iter().filter(stays).cloned().collect();
        headers.push(("Content-Type".into(), format!("multipart/form-data; boundary=\"{boundary}\"")));
        let mut before = String::new();
        for (name, value) in fields(envelope, message, terms.expiration(envelope.seed.date, metadata)) {
            if value.contains(['\r', '\n']) {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, "write a message as a form")
                    .with("field", name)
                    .advice(
                        "its value has more than one line: correct the partner's or the flow's table 'form'",
                    ));
            }
            before.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ));
        }
        let name = parameter(terms.fields.file_name(envelope.file_name), FileNameForm::Extended);
        before.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"input-data\"; {name}\r\n"
        ));
        let is_disposition = |name: &str| name.eq_ignore_ascii_case("Content-Disposition");
        for (name, value) in message.iter().filter(|(name, _)| is_contents(name) && !is_disposition(name)) {
            before.push_str(&format!("{name}: {value}\r\n"));
        }
        before.push_str("\r\n");
        let after = format!("\r\n--{boundary}--\r\n").into_bytes();
        Ok(Self { headers, before: before.into_bytes(), after })
    }

    /// The whole body.
    pub(crate) fn around(self, message: Box<dyn Measured + Send>) -> Box<dyn Measured + Send> {
        Box::new(InForm { before: Cursor::new(self.before), message, after: Cursor::new(self.after) })
    }
}

/// The boundary of a message's form, the same in each attempt.
fn boundary(envelope: &Envelope<'_>) -> String {
    let digest = openssl::sha::sha256(format!("form {}", envelope.seed.boundary).as_bytes());
    let digits: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("----form-{digits}")
}

/// The fields before the message, in the order in which appendix B prints them.
fn fields(
    envelope: &Envelope<'_>,
    message: &[(String, String)],
    expiration: Option<Timestamp>,
) -> Vec<(&'static str, String)> {
    let terms = &envelope.agreement.form;
    let said = terms.fields.clone();
    let header = |name: &str| {
        let found = message.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let seed = envelope.seed;
    let has_date = said.date_time.unwrap_or(false);
    let found = [
        ("from", said.from.or_else(|| Some(envelope.from.as_str().to_owned()))),
        ("to", said.to.or_else(|| Some(envelope.to.as_str().to_owned()))),
        ("Version", said.version),
        ("receipt-disposition-to", header("Receipt-Disposition-To")),
        ("receipt-report-type", header("Receipt-Report-Type")),
        ("receipt-security-selection", header("Receipt-Security-Selection")),
        ("disposition-notification-to", header("Disposition-Notification-To")),
        ("disposition-notification-options", header("Disposition-Notification-Options")),
        ("receipt-delivery-option", header("Receipt-Delivery-Option")),
        ("RefNum", terms.has_ref_num().then(|| ref_num_of(&seed.message_id))),
        ("DateTime", has_date.then(|| dates::text(seed.date))),
        ("Agent", said.agent),
        ("Application", said.application),
        ("UserParam", said.user_param),
        ("Transaction-set", said.transaction_set),
        ("Priority", said.priority.map(|priority| priority.to_string())),
        ("Expiration", expiration.map(dates::text)),
        ("input-format", said.input_format),
    ];
    found.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A message as the last part of a form.
struct InForm {
    before: Cursor<Vec<u8>>,
    message: Box<dyn Measured + Send>,
    after: Cursor<Vec<u8>>,
}

impl Read for InForm {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.before.read(out)? {
            0 => {}
            count => return Ok(count),
        }
        match self.message.read(out)? {
            0 => self.after.read(out),
            count => Ok(count),
        }
    }
}

impl Measured for InForm {
    fn total_len(&self) -> Option<u64> {
        let around = self.before.get_ref().len() + self.after.get_ref().len();
        self.message.total_len()?.checked_add(around as u64)
    }
}

#[cfg(test)]
mod tests;
