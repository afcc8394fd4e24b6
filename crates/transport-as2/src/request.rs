//! The head of a received AS2 message (RFC 4130, 6 and 7.3).

use crate::form_fields::Posted;
use crate::names::{LONGEST_MESSAGE_ID, read_name};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use net::http::FoldedFields;
use smime::{Digest, Headers, NameStyle};

/// What the head says.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Exactly as received, brackets included; empty only of what may be a receipt.
    pub(crate) message_id: String,
    pub(crate) subject: Option<String>,
    pub(crate) date: Option<String>,
    /// The address that the sender's own sender gave (RFC 8098, 2.3), or `To`.
    pub(crate) original_recipient: Option<String>,
    /// `EDIINT-Features` (RFC 6017); empty of a sender that says AS2-Version 1.2 and names none.
    pub(crate) features: Option<String>,
    pub(crate) mdn: AskedMdn,
    /// All fields, for the MIME reader; of a form, those of its message.
    pub(crate) headers: Headers,
    /// What it has by being a form; `None` of another message.
    pub(crate) form: Option<Posted>,
}

/// The receipt that is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AskedMdn {
    /// Whether one is asked for at all.
    pub(crate) wanted: bool,
    pub(crate) signed: bool,
    /// Whether the signature is to be OpenPGP's.
    pub(crate) by_pgp: bool,
    /// Whether no other one will do, and no unsigned receipt.
    pub(crate) protocol_required: bool,
    /// Digests for the MIC, in the sender's order, those we know.
    pub(crate) digests: Vec<Digest>,
    /// Nothing but these will do.
    pub(crate) digest_required: bool,
    /// How the sender spells them.
    pub(crate) names: NameStyle,
    /// Where an asynchronous one is to go.
    pub(crate) deliver_to: Option<String>,
    /// A required option that we do not have.
    pub(crate) unsupported: Option<&'static str>,
    /// The report type of a generalized receipt ("HTTP Transport for Secure EDI", 2.1.2); `None`: an MDN.
    pub(crate) report_type: Option<String>,
}

impl RequestHead {
    /// Reads the head.
    ///
    /// # Errors
    /// A sentence for the sender: what is missing.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let text = |name: &str| {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        };
        let required = |name: &str| {
            text(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("the header {name} is missing"))
        };
        let name = |header: &str| {
            let name = read_name(&required(header)?);
            if name.len() > 128 { Err(format!("{header} is longer than 128 characters")) } else { Ok(name) }
        };
        let message_id = match required("Message-ID") {
            // Some partners give their receipts none.
            Err(_) if may_be_receipt(headers) => String::new(),
            given => given?,
        };
        if message_id.len() > LONGEST_MESSAGE_ID {
            return Err(format!("the Message-ID is longer than {LONGEST_MESSAGE_ID} characters"));
        }
        let is_general = !headers.contains_key("Disposition-Notification-To")
            && headers.contains_key("Receipt-Disposition-To");
        if is_general {
            // Required beside it ("HTTP Transport for Secure EDI", 2.1.2).
            required("Receipt-Report-Type")?;
        }
        // A login reaches neither flows nor evidence.
        let fields = headers
            .iter()
            .filter(|(name, _)| *name != AUTHORIZATION)
            .try_fold(Headers::new(), |fields, (name, value)| fields.with(name.as_str(), value.as_bytes()));
        Ok(Self {
            from: name("AS2-From")?,
            to: name("AS2-To")?,
            message_id,
            subject: text("Subject"),
            date: text("Date"),
            original_recipient: ["Original-Recipient", "To"]
                .into_iter()
                .filter_map(text)
                .find(|to| !to.is_empty()),
            features: text("EDIINT-Features").or_else(|| knows_features(headers).then(String::new)),
            mdn: AskedMdn::read(headers),
            headers: fields.map_err(|error| error.to_string())?,
            form: None,
        })
    }

    /// The message's unique key, the same on all nodes: by its RefNum where it has one, else by its Message-ID ("HTTP Transport
    /// for Secure EDI", 2.8).
    pub(crate) fn key(&self) -> String {
        match self.form.as_ref().and_then(|form| form.ref_num.as_deref()) {
            Some(number) => serde_json::json!(["as2", self.from, self.to, "refnum", number]).to_string(),
            None => serde_json::json!(["as2", self.from, self.to, self.message_id]).to_string(),
        }
    }

    /// Whether it is a form that says by its `input-format` that it is a notification of an error.
    pub(crate) fn is_error_notification(&self) -> bool {
        self.form.as_ref().is_some_and(|form| form.is_error)
    }
}

/// A head whose AS2 names are on one line each: a name is compared exactly, and it is unknown how many spaces a line break
/// stands for.
///
/// # Errors
/// A sentence for the sender.
pub(crate) fn unfolded(head: RequestHead, folded: Option<&FoldedFields>) -> Result<RequestHead, String> {
    let names = ["AS2-From", "AS2-To"];
    let is_folded = |name: &&&str| {
        folded.is_some_and(|folded| folded.0.iter().any(|field| field.eq_ignore_ascii_case(name)))
    };
    match names.iter().find(is_folded) {
        Some(name) => Err(format!("the header {name} continues on a second line")),
        None => Ok(head),
    }
}

impl AskedMdn {
    /// Reads what is asked for (RFC 4130, 7.3), as leniently as it can be understood: importance left out
    /// or behind its values, values in quotes, a media type for its subtype, commas for semicolons.
    fn read(headers: &HeaderMap) -> Self {
        let all = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).iter();
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).collect()
        };
        let first = |name: &str| all(name).into_iter().find(|value| !value.is_empty());
        let is_mdn = headers.contains_key("Disposition-Notification-To");
        // The document has one or the other; a sender of both reads an MDN, which says more.
        let is_general = !is_mdn && headers.contains_key("Receipt-Disposition-To");
        let report_type = first("Receipt-Report-Type").filter(|_| is_general);
        let mut asked = Self {
            wanted: is_mdn || is_general,
            report_type: report_type.filter(|kind| !kind.eq_ignore_ascii_case("disposition-notification")),
            deliver_to: all("Receipt-Delivery-Option").into_iter().find(|url| !url.is_empty()),
            ..Self::default()
        };
        // Receipt-Security-Selection is the same for generalized receipts.
        let lines = [all("Disposition-Notification-Options"), all("Receipt-Security-Selection")].concat();
        for Asked { option, required, values } in options(&lines.join(";")) {
            match option.as_str() {
                "signedreceiptprotocol" => {
                    // Only one protocol is known to AS2: whoever names none means it.
                    asked.signed = values.is_empty() || values.iter().any(|value| is_pkcs7(value));
                    if !asked.signed && values.iter().any(|value| is_pgp(value)) {
                        (asked.signed, asked.by_pgp, asked.protocol_required) = (true, true, required);
                    }
                    if required && !asked.signed {
                        asked.unsupported = Some("unsupported format");
                    }
                }
                "signedreceiptmicalg" => {
                    asked.digests = values.iter().filter_map(|name| Digest::parse(name)).collect();
                    // `sha1` without a dash: an implementation of RFC 3851, which may know no other.
                    if values.first().is_some_and(|name| Digest::parse(name).is_some() && !name.contains('-'))
                    {
                        asked.names = NameStyle::Rfc3851;
                    }
                    asked.digest_required = required;
                    if required && asked.digests.is_empty() {
                        asked.unsupported = Some("unsupported MIC-algorithms");
                    }
                }
                _ if required => asked.unsupported = Some("unsupported format"),
                _ => {}
            }
        }
        asked
    }
}

/// Whether the sender's AS2-Version is 1.2 or above, which means that it reads `EDIINT-Features` (RFC 6017, 3).
fn knows_features(headers: &HeaderMap) -> bool {
    let version = headers.get("AS2-Version").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut numbers = version.trim().split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (1, 2),
        _ => false,
    }
}

/// Whether these may be the head fields of a receipt, which asks for none itself.
fn may_be_receipt(headers: &HeaderMap) -> bool {
    let media = headers.get(http::header::CONTENT_TYPE).map(|media| media.as_bytes().to_ascii_lowercase());
    let begins =
        |with: &str| media.as_ref().is_some_and(|media| media.trim_ascii().starts_with(with.as_bytes()));
    !headers.contains_key("Disposition-Notification-To")
        && ["multipart/report", "multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"]
            .into_iter()
            .any(begins)
}

/// One option of `Disposition-Notification-Options`.
struct Asked {
    /// Its name, in lower-case letters and digits alone.
    option: String,
    required: bool,
    /// Its values in lower case, without importance and quotes.
    values: Vec<String>,
}

/// The options in their order. A piece without `=` is a value of the option before it, whichever mark
/// stands between.
fn options(text: &str) -> Vec<Asked> {
    let mut found: Vec<Asked> = Vec::new();
    for piece in text.split([';', ',']) {
        let (name, value) = match piece.split_once('=') {
            Some((name, value)) => (Some(name), value),
            None => (None, piece),
        };
        if let Some(name) = name {
            let option =
                name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
            found.push(Asked { option, required: false, values: Vec::new() });
        }
        let Some(last) = found.last_mut() else { continue };
        let value = value.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        match value.to_ascii_lowercase().as_str() {
            "" | "optional" => {}
            "required" => last.required = true,
            value => last.values.push(value.to_owned()),
        }
    }
    found
}

/// A receipt signed by OpenPGP ("HTTP Transport for Secure EDI", 2.5.1).
fn is_pgp(value: &str) -> bool {
    matches!(value.trim_start_matches("application/"), "pgp-signature" | "pgp")
}

fn is_pkcs7(value: &str) -> bool {
    let value = value.trim_start_matches("application/").trim_start_matches("x-").replace('_', "-");
    matches!(value.as_str(), "pkcs7-signature" | "pkcs7signature" | "pkcs7" | "pkcs-7-signature")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Result<RequestHead, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        RequestHead::read(&headers)
    }

    #[test]
    fn reads_names_ids_and_the_receipt_that_is_asked_for() {
        let head = head(&[
            ("as2-from", "\"\\\"ORG A\\\"\""),
            ("AS2-To", "GLOBEX"),
            ("message-id", "<1@a>"),
            ("disposition-notification-to", "x"),
            ("disposition-notification-options", "signed-receipt-protocol=optional, pkcs7-signature; signed-receipt-micalg=optional, SHA256, sha1"),
        ])
        .unwrap();
        assert_eq!((head.from.as_str(), head.to.as_str()), ("ORG A", "GLOBEX"));
        assert!(head.mdn.wanted && head.mdn.signed);
        assert_eq!(head.mdn.digests, [Digest::Sha256, Digest::Sha1]);
        assert_eq!(head.mdn.names, NameStyle::Rfc3851);
        assert_eq!(head.mdn.unsupported, None);
    }

    #[test]
    fn a_signed_receipt_is_asked_for_in_many_spellings() {
        let asked = |lines: &[&str]| {
            let mut fields = vec![
                ("AS2-From", "A"),
                ("AS2-To", "B"),
                ("Message-ID", "<1>"),
                ("Disposition-Notification-To", "x"),
            ];
            fields.extend(lines.iter().map(|line| ("Disposition-Notification-Options", *line)));
            head(&fields).unwrap().mdn
        };
        let both = [Digest::Sha256, Digest::Sha1];
        for lines in [
            &[
                "signed-receipt-protocol=optional, pkcs7-signature; signed-receipt-micalg=optional, sha-256, sha1",
            ][..],
            &["signed-receipt-protocol=pkcs7-signature; signed-receipt-micalg=sha256, sha1"],
            &["signed-receipt-protocol=\"pkcs7-signature\"; signed-receipt-micalg=\"sha-256\",\"sha-1\""],
            &[
                "signed-receipt-protocol=\"optional, pkcs7-signature\"; signed-receipt-micalg=\"required, sha-256, sha1\"",
            ],
            &[
                "Signed-Receipt-Protocol = Required , PKCS7-Signature;Signed-Receipt-MICalg = Optional , SHA256 , SHA1",
            ],
            &[
                "signed-receipt-protocol=optional, application/x-pkcs7-signature; signed-receipt-micalg=optional,sha2_256,rsa-sha1;",
            ],
            &["signed-receipt-protocol=optional,pkcs7-signature,signed-receipt-micalg=optional,sha-256,sha1"],
            &[
                "signed-receipt-protocol=pkcs7-signature, required; signed-receipt-micalg=sha256, sha1, required",
            ],
            &[
                "signed-receipt-protocol=optional, pkcs7-signature",
                "signed-receipt-micalg=optional, sha-256, sha-1",
            ],
            &["signed-receipt-protocol=; signed-receipt-micalg=optional, sha-256, sha-1"],
        ] {
            let mdn = asked(lines);
            assert!(mdn.wanted && mdn.signed, "{lines:?}");
            assert_eq!(mdn.digests, both, "{lines:?}");
            assert_eq!(mdn.unsupported, None, "{lines:?}");
        }
        for lines in [
            &[][..],
            &["signed-receipt-micalg=optional, sha-256"],
            &["signed-receipt-protocol=optional, x509"],
            &["x"],
        ] {
            assert!(asked(lines).wanted && !asked(lines).signed, "{lines:?}");
        }
        assert_eq!(
            asked(&["signed-receipt-micalg=required, md6"]).unsupported,
            Some("unsupported MIC-algorithms")
        );
        assert_eq!(asked(&["another=required, x"]).unsupported, Some("unsupported format"));
        let both = asked(&["signed-receipt-protocol=optional, pkcs7-signature, pgp-signature"]);
        assert!(both.signed && !both.by_pgp);
        let pgp = asked(&["signed-receipt-protocol=optional, pgp-signature"]);
        assert!(pgp.signed && pgp.by_pgp && !pgp.protocol_required);
    }

    #[test]
    fn what_is_missing_or_required_in_vain_is_named() {
        assert!(head(&[("AS2-To", "B"), ("Message-ID", "<1>")]).unwrap_err().contains("AS2-From"));
        assert!(head(&[("AS2-To", "B"), ("AS2-From", "A")]).unwrap_err().contains("Message-ID"));
        // A receipt may have none; what asks for one is none.
        let report = ("Content-Type", "Multipart/Report; report-type=disposition-notification; boundary=x");
        let asks = ("Disposition-Notification-To", "x");
        assert_eq!(head(&[("AS2-To", "B"), ("AS2-From", "A"), report]).unwrap().message_id, "");
        assert!(
            head(&[("AS2-To", "B"), ("AS2-From", "A"), report, asks]).unwrap_err().contains("Message-ID")
        );
        let pgp = head(&[
            ("AS2-To", "B"),
            ("AS2-From", "A"),
            ("Message-ID", "<1>"),
            ("Disposition-Notification-Options", "signed-receipt-protocol=required, pgp-signature"),
        ]);
        let mdn = pgp.unwrap().mdn;
        assert!(mdn.signed && mdn.by_pgp && mdn.protocol_required && mdn.unsupported.is_none());
    }
}
