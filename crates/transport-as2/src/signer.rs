//! Whoever signs a message or a receipt, as its evidence keeps it: a certificate, or the public half of an OpenPGP key.

use crate::header_options::is_mailbox;
use crate::material::fingerprint;
use crate::pgp_signature::armour;
use model::{Error, ErrorKind, Result};
use openssl::nid::Nid;
use openssl::x509::X509;
use pgp_mime::PartnerKey;

/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3, without the brackets).
const LONGEST_ADDRESS: usize = 254;

/// What verifies a signature.
#[derive(Clone, Copy)]
pub(crate) enum Signer<'a> {
    /// By S/MIME.
    Certificate(&'a X509),
    /// By OpenPGP.
    Pgp(&'a PartnerKey),
}

impl Signer<'_> {
    /// As it is kept, under the first name as a certificate (DER), under the second one as an OpenPGP key (armour).
    ///
    /// # Errors
    /// It cannot be encoded.
    pub(crate) fn piece<'n>(&self, (certificate, key): (&'n str, &'n str)) -> Result<(&'n str, Vec<u8>)> {
        match self {
            Self::Certificate(known) => Ok((certificate, der(known)?)),
            Self::Pgp(known) => Ok((key, armour(known)?.into_bytes())),
        }
    }

    /// SHA-256 of the certificate, or the fingerprint of the key, in hexadecimal.
    ///
    /// # Errors
    /// The certificate cannot be digested.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        match self {
            Self::Certificate(known) => fingerprint(known),
            Self::Pgp(known) => Ok(known.fingerprint()),
        }
    }

    /// The e-mail address in the certificate: in its subjectAltName, else in its subject, where old certificates have it (RFC
    /// 8550, 3). `None` of an OpenPGP key.
    pub(crate) fn address(&self) -> Option<String> {
        let Self::Certificate(certificate) = self else { return None };
        let names = certificate.subject_alt_names();
        let alternative = names
            .iter()
            .flatten()
            .find_map(|name| name.email().filter(|text| is_address(text)).map(str::to_owned));
        alternative.or_else(|| {
            let mut entries = certificate.subject_name().entries_by_nid(Nid::PKCS9_EMAILADDRESS);
            entries.find_map(|entry| {
                let text = entry.data().to_string().ok()?;
                is_address(&text).then_some(text)
            })
        })
    }
}

/// Whether it is an e-mail address and nothing else: it gets into a header field.
fn is_address(text: &str) -> bool {
    text.len() <= LONGEST_ADDRESS && !text.contains('<') && is_mailbox(text)
}

/// A certificate as DER.
///
/// # Errors
/// It cannot be encoded.
pub(crate) fn der(certificate: &X509) -> Result<Vec<u8>> {
    certificate
        .to_der()
        .map_err(|error| Error::permanent(ErrorKind::Internal, "encode a certificate").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::x509::X509NameBuilder;
    use openssl::x509::extension::SubjectAlternativeName;

    fn certificate(subject: &[&str], alternative: &[&str]) -> X509 {
        let key = PKey::generate_ed25519().unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "acme").unwrap();
        for address in subject {
            name.append_entry_by_text("emailAddress", address).unwrap();
        }
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        if !alternative.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for address in alternative {
                names.email(address);
            }
            let names = names.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        builder.sign(&key, MessageDigest::null()).unwrap();
        builder.build()
    }

    #[test]
    fn the_address_of_a_certificate_is_in_its_alternative_names_or_in_its_subject() {
        let long = format!("{}@acme.example", "a".repeat(300));
        for (subject, alternative, address) in [
            (&[][..], &[][..], None),
            (&[], &["edi@acme.example", "other@acme.example"], Some("edi@acme.example")),
            (&["old@acme.example"], &[], Some("old@acme.example")),
            (&["old@acme.example"], &["edi@acme.example"], Some("edi@acme.example")),
            // What is no address alone is passed over.
            (
                &["old@acme.example"],
                &["ACME <edi@acme.example>", "acme", long.as_str()],
                Some("old@acme.example"),
            ),
            (&["a;b@acme.example", "acme\r\nX: y@acme.example"], &[], None),
        ] {
            let certificate = certificate(subject, alternative);
            assert_eq!(
                Signer::Certificate(&certificate).address().as_deref(),
                address,
                "{subject:?} {alternative:?}"
            );
        }
    }
}
