//! What CMS needs to know of a certificate: the issuer and serial number as they are encoded,
//! and the subject key identifier.

use openssl::sha::sha1;
use openssl::x509::{X509Name, X509NameRef, X509Ref};

use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};

/// The names under which a message can mean a certificate.
#[derive(Debug, Clone)]
pub(crate) struct CertificateId {
    /// The issuer name as encoded in the certificate.
    issuer: Vec<u8>,
    /// Contents of the serial number INTEGER.
    serial: Vec<u8>,
    /// From the extension, else SHA-1 of the public key (RFC 5280 section 4.2.1.2, method 1).
    key_identifier: Vec<u8>,
}

/// How a message names a signer or a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    IssuerAndSerial { issuer: Vec<u8>, serial: Vec<u8> },
    KeyIdentifier(Vec<u8>),
}

impl CertificateId {
    pub(crate) fn of(certificate: &X509Ref) -> Result<CertificateId> {
        let der = certificate.to_der().during("encode a certificate")?;
        let mut outer = Element::parse(&der)?.children();
        let mut body = outer.required("tbsCertificate")?.children();
        body.optional(der::context(0))?;
        let serial = body.required("serialNumber")?.content.to_vec();
        body.required("signature")?;
        let issuer = body.required("issuer")?.raw.to_vec();
        body.required("validity")?;
        body.required("subject")?;
        let mut key = body.required("subjectPublicKeyInfo")?.children();
        key.required("algorithm")?;
        let key = key.required("subjectPublicKey")?;
        let key_identifier = match certificate.subject_key_id() {
            Some(identifier) => identifier.as_slice().to_vec(),
            // The first byte of a BIT STRING counts its unused bits.
            None => sha1(key.content.get(1..).unwrap_or_default()).to_vec(),
        };
        Ok(CertificateId { issuer, serial, key_identifier })
    }

    /// IssuerAndSerialNumber, byte for byte as in the certificate.
    pub(crate) fn issuer_and_serial(&self) -> Vec<u8> {
        der::sequence(&[&self.issuer, &der::element(der::INTEGER, &[&self.serial])])
    }

    pub(crate) fn is_named(&self, named: &Named) -> bool {
        match named {
            Named::KeyIdentifier(identifier) => *identifier == self.key_identifier,
            Named::IssuerAndSerial { issuer, serial } => {
                without_zeros(serial) == without_zeros(&self.serial)
                    && (*issuer == self.issuer || same_name(issuer, &self.issuer))
            }
        }
    }
}

/// The words by which errors name a certificate that a message means, as signer or recipient: by issuer and serial number, and
/// by key identifier.
///
/// # Errors
/// The certificate cannot be encoded.
pub fn certificate_names(certificate: &X509Ref) -> Result<[String; 2]> {
    let CertificateId { issuer, serial, key_identifier } = CertificateId::of(certificate)?;
    let by_issuer = Named::IssuerAndSerial { issuer, serial };
    Ok([by_issuer.describe(), Named::KeyIdentifier(key_identifier).describe()])
}

/// An extension of a certificate by its object identifier: whether it is critical, and its value.
pub(crate) fn extension(certificate: &X509Ref, wanted: &[u8]) -> Result<Option<(bool, Vec<u8>)>> {
    let der = certificate.to_der().during("encode a certificate")?;
    let mut body = Element::parse(&der)?.children().required("tbsCertificate")?.children();
    while let Some(field) = body.next()? {
        if field.tag != der::context(3) {
            continue;
        }
        let mut extensions = field.children().required("extensions")?.children();
        while let Some(extension) = extensions.next()? {
            let mut fields = extension.children();
            if fields.required("extnID")?.content == wanted {
                let critical = fields.optional(der::BOOLEAN)?.is_some_and(|flag| flag.content != [0]);
                return Ok(Some((critical, fields.required("extnValue")?.octets()?.into_owned())));
            }
        }
    }
    Ok(None)
}

/// Serial numbers are compared without the leading zeros that some encoders add or forget.
fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

/// Equal names may be encoded with other string types: the library compares their canonical form.
fn same_name(one: &[u8], other: &[u8]) -> bool {
    match (X509Name::from_der(one), X509Name::from_der(other)) {
        (Ok(one), Ok(other)) => one.try_cmp(&other).is_ok_and(std::cmp::Ordering::is_eq),
        _ => false,
    }
}

impl Named {
    /// Reads `SignerIdentifier` or `RecipientIdentifier`.
    pub(crate) fn parse(element: &Element<'_>) -> Result<Named> {
        match element.tag {
            der::SEQUENCE => {
                let mut fields = element.children();
                let issuer = fields.required("issuer")?.raw.to_vec();
                let serial = fields.required("serialNumber")?;
                let serial = serial.expect(der::INTEGER, "serialNumber")?.content.to_vec();
                Ok(Named::IssuerAndSerial { issuer, serial })
            }
            0x80 | 0xa0 => Ok(Named::KeyIdentifier(element.octets()?.into_owned())),
            _ => Err(Error::malformed("CMS identifier", "neither issuer and serial nor key identifier")),
        }
    }

    /// Words for an operator.
    pub(crate) fn describe(&self) -> String {
        match self {
            Named::IssuerAndSerial { issuer, serial } => match X509Name::from_der(issuer) {
                Ok(issuer) => format!("serial {} of {}", hex(serial), name_text(&issuer)),
                Err(_) => format!("serial {}", hex(serial)),
            },
            Named::KeyIdentifier(identifier) => format!("key identifier {}", hex(identifier)),
        }
    }
}

/// The first 32 bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect()
}

/// A name as people read it, whoever wrote it: `CN=Globex, O=Globex Inc.`, no longer than 200 characters.
pub(crate) fn name_text(name: &X509NameRef) -> String {
    let attributes = name.entries().map(|entry| {
        let value = entry.data().to_string().unwrap_or_default();
        format!("{}={value}", entry.object().nid().short_name().unwrap_or("?"))
    });
    let joined = attributes.collect::<Vec<_>>().join(", ");
    joined.chars().filter(|sign| !sign.is_control()).take(200).collect()
}
