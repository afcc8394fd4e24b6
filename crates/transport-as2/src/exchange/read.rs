//! What a message about certificates says: a request with the certificates that it proposes, or the answers to one of ours.

use super::bare;
use super::document::Element;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use model::{CertificateAnswer, CertificateUsage, PeerText, ProposedCertificate, Timestamp};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkcs7::Pkcs7;
use openssl::x509::{X509, X509NameRef, X509Ref};
use std::fmt::Write as _;

/// Most certificates that one request proposes.
const MOST_PROPOSED: usize = 10;

/// Most certificates in one part.
const MOST_IN_PART: usize = 20;

/// Largest certificate that is kept, in bytes of its PEM.
const LARGEST_PEM: usize = 16 * 1024;

/// Longest id of a request, issuer, URL or reason, in bytes.
const LONGEST: usize = 2048;

/// Most characters of a serial number that is read in more than one way.
const LONGEST_SERIAL: usize = 64;

/// Why a message is not taken, in words for the sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(pub String);

impl Refusal {
    /// The reason may quote the document, in any length.
    pub(crate) fn malformed(reason: impl std::fmt::Display) -> Self {
        let reason = PeerText::from(reason.to_string().as_str());
        Self(format!("The message about certificates cannot be used: {reason}."))
    }
}

/// A part of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangePart {
    /// Whether it is the XML document.
    pub is_document: bool,
    /// Its Content-ID without angle brackets.
    pub content_id: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// A request.
    Request {
        /// Its id.
        request_id: String,
        /// The certificates, by their place in the document.
        certificates: Vec<ProposedCertificate>,
    },
    /// A response.
    Response {
        /// The id of the request that it answers.
        request_id: String,
        /// The answers.
        answers: Vec<CertificateAnswer>,
    },
}

/// Reads a message from the partner with this AS2 name.
///
/// # Errors
/// It is not what the draft says, or what it says does not fit what it holds.
pub fn read(parts: &[ExchangePart], sender: &str, now: Timestamp) -> Result<Said, Refusal> {
    let mut documents = parts.iter().filter(|part| part.is_document);
    let (Some(document), None) = (documents.next(), documents.next()) else {
        return Err(Refusal::malformed("it has more than one XML document"));
    };
    let wrong = |reason: String| Refusal::malformed(format!("in its XML document, {reason}"));
    let root = Element::read(&document.bytes).map_err(wrong)?;
    let request_id = text(root.request_id.as_deref(), "requestId").map_err(wrong)?;
    let said = root.child("TradingPartnerInfo").and_then(|info| info.value("Name"));
    match said {
        Some(name) if name == sender => {}
        Some(_) => return Err(wrong("the Name of the trading partner is not that of the sender".to_owned())),
        None => return Err(wrong("the Name of the trading partner is missing".to_owned())),
    }
    match root.name.as_str() {
        "EDIINTCertificateExchangeRequest" => {
            let certificates = requested(&root, parts, now).map_err(wrong)?;
            Ok(Said::Request { request_id, certificates })
        }
        "EDIINTCertificateExchangeResponse" => {
            let answers = answered(&root).map_err(wrong)?;
            Ok(Said::Response { request_id, answers })
        }
        other => Err(wrong(format!("the first element is '{}'", PeerText::from(other)))),
    }
}

/// A value that must be there, and is not too long.
fn text(found: Option<&str>, what: &str) -> Result<String, String> {
    match found.map(str::trim) {
        None | Some("") => Err(format!("{what} is missing")),
        Some(text) if text.len() > LONGEST => Err(format!("{what} is longer than {LONGEST} bytes")),
        Some(text) => Ok(PeerText::from(text).as_str().to_owned()),
    }
}

fn requested(
    root: &Element,
    parts: &[ExchangePart],
    now: Timestamp,
) -> Result<Vec<ProposedCertificate>, String> {
    let requests: Vec<&Element> = root.all("TrustRequest").collect();
    if requests.is_empty() || requests.len() > MOST_PROPOSED {
        return Err(format!("there are {} of TrustRequest, not 1 to {MOST_PROPOSED}", requests.len()));
    }
    let mut found: Vec<ProposedCertificate> = Vec::new();
    for request in requests {
        let proposed = proposed(request, parts)?;
        if proposed.not_after < now {
            return Err(format!("the certificate with serial number {} has expired", proposed.serial));
        }
        if found.iter().any(|other| other.fingerprint == proposed.fingerprint) {
            return Err(format!(
                "the certificate with serial number {} is proposed more than once",
                proposed.serial
            ));
        }
        found.push(proposed);
    }
    Ok(found)
}

fn proposed(request: &Element, parts: &[ExchangePart]) -> Result<ProposedCertificate, String> {
    let mut usages: Vec<CertificateUsage> = Vec::new();
    for word in request.all("CertUsage") {
        let usage = CertificateUsage::parse(&word.text)
            .ok_or_else(|| format!("CertUsage '{}' is not known", PeerText::from(word.text.as_str())))?;
        if !usages.contains(&usage) {
            usages.push(usage);
        }
    }
    if usages.is_empty() {
        return Err("CertUsage is missing".to_owned());
    }
    let entity = request.child("EndEntity").ok_or("EndEntity is missing")?;
    let serial = text(entity.within("X509SerialNumber"), "X509SerialNumber")?;
    let issuer = text(entity.within("X509IssuerName"), "X509IssuerName")?;
    let id = text(entity.within("CertificateContentID"), "CertificateContentID")?;
    let id = bare(&id);
    let mut named = parts.iter().filter(|part| !part.is_document && part.content_id == id);
    let (Some(part), None) = (named.next(), named.next()) else {
        return Err(format!("CertificateContentID '{id}' is not that of exactly one part of the message"));
    };
    let certificates = certificates_of(&part.bytes)
        .ok_or_else(|| format!("the part '{id}' holds no certificates (PKCS #7, certs-only)"))?;
    if certificates.len() > MOST_IN_PART {
        return Err(format!("the part '{id}' holds more than {MOST_IN_PART} certificates"));
    }
    let certificate = chosen(&certificates, &serial, &issuer).map_err(|what| {
        format!("the part '{id}' holds {what} with the serial number {serial} that X509SerialNumber names")
    })?;
    let respond_by = match request.value("RespondByDate") {
        None => None,
        Some(text) => Some(time(text).ok_or_else(|| {
            format!("RespondByDate '{}' is not a date and time", PeerText::from(text).as_str())
        })?),
    };
    let response_url = request.value("ResponseURL").map(|url| text(Some(url), "ResponseURL")).transpose()?;
    let broken = |_| "the certificate cannot be read".to_owned();
    let pem = certificate.to_pem().map_err(broken)?;
    if pem.len() > LARGEST_PEM {
        return Err(format!(
            "the certificate with the serial number {serial} is larger than {LARGEST_PEM} bytes in PEM"
        ));
    }
    Ok(ProposedCertificate {
        usages,
        pem: String::from_utf8_lossy(&pem).into_owned(),
        fingerprint: fingerprint(certificate).map_err(broken)?,
        subject: name(certificate.subject_name()),
        issuer,
        serial,
        not_before: moment(certificate.not_before()).ok_or("the certificate's dates cannot be read")?,
        not_after: moment(certificate.not_after()).ok_or("the certificate's dates cannot be read")?,
        respond_by,
        response_url,
    })
}

fn answered(root: &Element) -> Result<Vec<CertificateAnswer>, String> {
    let responses: Vec<&Element> = root.all("TrustResponse").collect();
    if responses.is_empty() || responses.len() > MOST_PROPOSED {
        return Err(format!("there are {} of TrustResponse, not 1 to {MOST_PROPOSED}", responses.len()));
    }
    responses.into_iter().map(answer).collect()
}

fn answer(response: &Element) -> Result<CertificateAnswer, String> {
    let reference = response.child("CertificateReference").ok_or("CertificateReference is missing")?;
    let serial = text(reference.within("X509SerialNumber"), "X509SerialNumber")?;
    let accepted = match response.value("CertStatus") {
        Some(word) if word.eq_ignore_ascii_case("accepted") => Some(true),
        Some(word) if word.eq_ignore_ascii_case("rejected") => Some(false),
        Some(word) if word.eq_ignore_ascii_case("pending") => None,
        Some(word) => return Err(format!("CertStatus '{}' is not known", PeerText::from(word).as_str())),
        None => return Err("CertStatus is missing".to_owned()),
    };
    let reason = response.value("ReasonForRejection");
    let reason = reason.map(|reason| text(Some(reason), "ReasonForRejection")).transpose()?;
    Ok(CertificateAnswer { serials: serials(&serial), accepted, reason })
}

/// A serial number in decimal, as it is said, and as it is where it is said in hexadecimal, as by some products: an answer names
/// the certificate that our request had, and only that counts.
fn serials(said: &str) -> Vec<String> {
    let said = said.trim();
    // Of 20 octets at most (RFC 5280, 4.1.2.2).
    if said.len() > LONGEST_SERIAL {
        return vec![said.to_owned()];
    }
    let is_decimal = !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit());
    let decimal = match said.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let digits = said.strip_prefix("0x").or_else(|| said.strip_prefix("0X")).unwrap_or(said);
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hexadecimal.then(|| BigNum::from_hex_str(digits).ok()?.to_dec_str().ok());
    let number = number.flatten().map(|number| number.to_string());
    is_decimal.then(|| decimal.to_owned()).into_iter().chain(number).collect()
}

/// The certificates of a part, as they are sent or in base64 (RFC 8551, 3.8); a single one also in DER or PEM.
fn certificates_of(bytes: &[u8]) -> Option<Vec<X509>> {
    let of_binary = |der: &[u8]| {
        let from_pkcs7 = || {
            let file = Pkcs7::from_der(der).ok()?;
            Some(file.signed()?.certificates()?.iter().map(ToOwned::to_owned).collect::<Vec<X509>>())
        };
        let found = from_pkcs7().or_else(|| Some(vec![X509::from_der(der).ok()?]))?;
        (!found.is_empty()).then_some(found)
    };
    let of_text = || {
        let text: String = std::str::from_utf8(bytes).ok()?.split_whitespace().collect();
        of_binary(&openssl::base64::decode_block(&text).ok()?)
    };
    let of_pem = || X509::stack_from_pem(bytes).ok().filter(|found| !found.is_empty());
    of_binary(bytes).or_else(of_pem).or_else(of_text)
}

/// The certificate that serial number and issuer name. Products write the issuer's name in forms of their own: it decides only
/// where several have the number, as that of an authority may be the same. The error is what was found.
fn chosen<'a>(certificates: &'a [X509], serial: &str, issuer: &str) -> Result<&'a X509, &'static str> {
    let of = |has: fn(&X509Ref, &str) -> bool| -> Vec<&'a X509> {
        certificates.iter().filter(|one| has(one, serial)).collect()
    };
    let mut found = of(has_decimal);
    if found.is_empty() {
        found = of(has_hexadecimal);
    }
    if found.len() > 1 {
        found.retain(|one| name(one.issuer_name()) == issuer);
    }
    match found[..] {
        [one] => Ok(one),
        [] => Err("no certificate"),
        _ => Err("more than one certificate"),
    }
}

/// Whether a certificate has a serial number that is said in decimal.
fn has_decimal(certificate: &X509Ref, said: &str) -> bool {
    let number = certificate.serial_number().to_bn().and_then(|number| number.to_dec_str());
    let is_said = |text: &str| text == said.trim_start_matches('0') || text == said;
    number.is_ok_and(|text| is_said(&text))
}

/// The same in hexadecimal, as some products say it.
fn has_hexadecimal(certificate: &X509Ref, said: &str) -> bool {
    let number = certificate.serial_number().to_bn().and_then(|number| number.to_hex_str());
    let plain = said.trim_start_matches("0x").trim_start_matches('0');
    number.is_ok_and(|text| text.trim_start_matches('0').eq_ignore_ascii_case(plain))
}

pub(super) fn fingerprint(certificate: &X509Ref) -> Result<String, openssl::error::ErrorStack> {
    let digest = certificate.digest(MessageDigest::sha256())?;
    let mut text = String::with_capacity(64);
    for byte in digest.iter() {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// A name as RFC 4514 writes it, without the escapes of rare characters: for people.
pub(super) fn name(name: &X509NameRef) -> String {
    let entries: Vec<String> = name
        .entries()
        .map(|entry| {
            let kind = entry.object().nid().short_name().unwrap_or("OID");
            let value = entry.data().to_string().unwrap_or_default();
            format!("{kind}={value}")
        })
        .collect();
    let text = entries.into_iter().rev().collect::<Vec<_>>().join(",");
    PeerText::from(text.as_str()).as_str().to_owned()
}

fn moment(time: &Asn1TimeRef) -> Option<Timestamp> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Timestamp::from_timestamp(i64::from(since.days) * 86_400 + i64::from(since.secs), 0)
}

/// A date and time of XML Schema; one without a zone is taken as UTC, and a zone may lack its colon.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoned = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map(|time| time.to_utc());
    let plain = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc());
    let day = || {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(day.and_hms_opt(23, 59, 59)?.and_utc())
    };
    let found = zoned.ok().or_else(|| plain().ok()).or_else(day)?;
    // The precision of both databases.
    Timestamp::from_timestamp_micros(found.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::serials;

    #[test]
    fn serial_numbers_are_read_as_products_say_them() {
        for (said, expected) in [
            ("255", &["255", "597"][..]),
            ("0255", &["255", "597"]),
            ("FF", &["255"]),
            ("00ff", &["255"]),
            ("0xFF", &["255"]),
            ("0", &["0", "0"]),
            ("", &[]),
            ("seven", &[]),
            (&"9".repeat(65), &[&"9".repeat(65)]),
        ] {
            assert_eq!(serials(said), expected, "{said}");
        }
    }
}
