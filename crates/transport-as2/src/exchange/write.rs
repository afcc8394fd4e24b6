//! Messages of ours about certificates, as one file that is sent: the multipart with its boundary in the media type.

use super::{DOCUMENT, NAMESPACE, SIGNATURE_NAMESPACE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Error, ErrorKind, ExchangeContent, ExchangeRequest, ExchangeResponse, Result};
use openssl::x509::X509;
use quick_xml::escape::escape;
use std::fmt::Write as _;

/// Characters of a line in base64 (RFC 2045, 6.8).
const LINE: usize = 76;

/// A request: the certificate that `asked` holds, and those of its authorities (sections 2 and 3 of the draft).
///
/// # Errors
/// The certificate cannot be read.
pub(crate) fn request(as2_name: &str, asked: &ExchangeRequest<'_>) -> Result<ExchangeContent> {
    let unreadable = |error: openssl::error::ErrorStack| {
        Error::permanent(ErrorKind::ConfigInvalid, "read the certificate that is announced").caused_by(error)
    };
    let certificates = X509::stack_from_pem(asked.pem.as_bytes()).map_err(unreadable)?;
    let Some(own) = certificates.first() else {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "read the certificate that is announced")
            .advice("the key has no certificate: `waybill cert make` makes one"));
    };
    let serial =
        own.serial_number().to_bn().and_then(|number| number.to_dec_str().map(|text| text.to_string()));
    let serial = serial.map_err(unreadable)?;
    let issuer = super::read::name(own.issuer_name());
    let pkcs7 = smime::pkcs7_certificates(&certificates).map_err(|error| {
        Error::permanent(ErrorKind::Internal, "write the certificate that is announced").caused_by(error)
    })?;
    let id = format!("certificate.{}@waybill", asked.id);
    let usages: String = asked.usages.iter().map(|usage| element("CertUsage", usage.as_str())).collect();
    let mut trust = format!("<TrustRequest>{usages}");
    trust.push_str(&element("RespondByDate", &date(asked.respond_by)));
    trust.push_str(&element("ResponseURL", asked.response_url));
    let identifier = reference("CertificateIdentifier", &issuer, &serial);
    let content_id = element("CertificateContentID", &id);
    // Writing to a text does not fail.
    let _ = write!(trust, "<EndEntity>{identifier}{content_id}</EndEntity></TrustRequest>");
    let document = document("EDIINTCertificateExchangeRequest", asked.id, as2_name, asked.now, &trust);
    let part = format!(
        "Content-Type: application/pkcs7-mime; smime-type=certs-only; name=\"certificate.p7c\"\r\n\
         Content-ID: <{id}>\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        lines(&BASE64.encode(pkcs7))
    );
    Ok(multipart(asked.id, &document, Some(&part), "Certificate exchange request"))
}

/// A response, with an answer for each certificate of the request.
pub(crate) fn response(as2_name: &str, said: &ExchangeResponse<'_>) -> ExchangeContent {
    let status = element("CertStatus", if said.accepted { "Accepted" } else { "Rejected" });
    let reason = said.reason.filter(|_| !said.accepted);
    let reason = reason.map(|reason| element("ReasonForRejection", reason)).unwrap_or_default();
    let answers: String = said
        .proposal
        .certificates
        .iter()
        .map(|one| {
            let reference = reference("CertificateReference", &one.issuer, &one.serial);
            format!("<TrustResponse>{status}{reason}{reference}</TrustResponse>")
        })
        .collect();
    let request_id = &said.proposal.request_id;
    let document = document("EDIINTCertificateExchangeResponse", request_id, as2_name, said.now, &answers);
    let id = said.proposal.id.simple().to_string();
    multipart(&id, &document, None, "Certificate exchange response")
}

fn document(name: &str, request_id: &str, as2_name: &str, now: model::Timestamp, content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<{name} xmlns=\"{NAMESPACE}\" xmlns:ds=\"{SIGNATURE_NAMESPACE}\" \
         requestId=\"{}\"><TradingPartnerInfo><Name qualifier=\"AS2\">{}</Name>{}</TradingPartnerInfo>{content}</{name}>\r\n",
        escape(request_id),
        escape(as2_name),
        element("MessageOriginated", &date(now)),
    )
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

fn reference(name: &str, issuer: &str, serial: &str) -> String {
    let (issuer, serial) = (element("ds:X509IssuerName", issuer), element("ds:X509SerialNumber", serial));
    format!("<{name}>{issuer}{serial}</{name}>")
}

fn date(time: model::Timestamp) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Base64 in lines.
fn lines(text: &str) -> String {
    let mut rest = text;
    let mut found = String::with_capacity(text.len() + text.len() / LINE * 2);
    while let Some((line, after)) = rest.split_at_checked(LINE) {
        found.push_str(line);
        found.push_str("\r\n");
        rest = after;
    }
    found.push_str(rest);
    found
}

/// The multipart/related (RFC 2387) of the document and a part with certificates. The id is of our own making.
fn multipart(id: &str, document: &str, part: Option<&str>, subject: &str) -> ExchangeContent {
    let boundary = format!("waybill-exchange-{id}");
    let root = format!("exchange.{id}@waybill");
    let mut body = format!(
        "--{boundary}\r\nContent-Type: {DOCUMENT}\r\nContent-ID: <{root}>\r\nContent-Transfer-Encoding: binary\r\n\r\n{document}"
    );
    if let Some(part) = part {
        let _ = write!(body, "\r\n--{boundary}\r\n{part}");
    }
    let _ = write!(body, "\r\n--{boundary}--\r\n");
    ExchangeContent {
        media_type: format!(
            "multipart/related; boundary=\"{boundary}\"; type=\"{DOCUMENT}\"; start=\"<{root}>\""
        ),
        bytes: body.into_bytes(),
        file_name: format!("certificate-exchange-{id}"),
        subject: subject.to_owned(),
    }
}
