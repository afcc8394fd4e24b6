//! Keys and certificates of both parties, read and ready.

use crate::agreement::{Agreement, Identity, Partner};
use crate::outgoing::OwnKey;
use model::definition::Definitions;
use model::{Error, ErrorKind, Result, Timestamp};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey};
use openssl::x509::X509;

/// Reads a key of an identity, with its certificate.
///
/// # Errors
/// `ConfigInvalid`: it is no longer defined, has no certificate, or its PEM or passphrase is wrong.
pub(crate) fn own_key(definitions: &Definitions, identity: &Identity, name: &str) -> Result<OwnKey> {
    let invalid = |what: &'static str, advice: &'static str| {
        Error::permanent(ErrorKind::ConfigInvalid, what)
            .with("identity", &identity.name)
            .with("key", name)
            .advice(advice)
    };
    let unreadable = |what: &'static str, error: openssl::error::ErrorStack| {
        invalid(what, "check the key's PEM text and passphrase").caused_by(error)
    };
    let definition = definitions.key(name)?;
    let certificate = definition
        .certificate
        .as_deref()
        .ok_or_else(|| invalid("find the certificate of our key", "define the key with its 'certificate'"))?;
    let pem = definition.private_key.reveal().as_bytes();
    let key = match &definition.passphrase {
        Some(passphrase) => PKey::private_key_from_pem_passphrase(pem, passphrase.reveal().as_bytes()),
        // A callback that gives nothing: without one OpenSSL would ask on the terminal.
        None => PKey::private_key_from_pem_callback(pem, |_| Ok(0)),
    };
    Ok(OwnKey {
        key: key.map_err(|error| unreadable("read our private key", error))?,
        certificate: X509::from_pem(certificate.as_bytes())
            .map_err(|error| unreadable("read our certificate", error))?,
    })
}

/// What a certificate is known by in terms and receipts: its SHA-256, in hexadecimal.
///
/// # Errors
/// It cannot be hashed.
pub(crate) fn fingerprint(certificate: &X509) -> Result<String> {
    certificate
        .digest(MessageDigest::sha256())
        .map(|digest| hexadecimal(&digest))
        .map_err(|error| Error::permanent(ErrorKind::Internal, "hash a certificate").caused_by(error))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a key that signs the same bytes otherwise each time: a message that goes out again must be the
/// same to the last byte, and its length must be known before the first.
///
/// # Errors
/// `ConfigInvalid`: the agreement asks for a signature, and the key is not RSA.
pub(crate) fn signs_alike(own: &OwnKey, identity: &Identity, agreement: &Agreement) -> Result<()> {
    if !agreement.send_security.signs() || own.key.id() == Id::RSA {
        return Ok(());
    }
    Err(Error::permanent(ErrorKind::ConfigInvalid, "sign messages with a key that is not RSA")
        .with("identity", &identity.name)
        .with("key", identity.key())
        .advice(
            "give the identity an RSA key: signatures with other keys differ each time, so a retry could \
            not send the same bytes again",
        ))
}

/// Reads a partner's certificates, the encrypting one first; none for a partner with whom nothing is signed or encrypted.
///
/// # Errors
/// `ConfigInvalid`: a PEM text is wrong.
pub(crate) fn partner_certificates(definitions: &Definitions, partner: &Partner) -> Result<Vec<X509>> {
    let name = &partner.name;
    partner
        .certificates
        .iter()
        .map(|certificate| {
            X509::from_pem(definitions.certificate(certificate)?.pem.as_bytes()).map_err(|error| {
                Error::permanent(ErrorKind::ConfigInvalid, "read a partner's certificate")
                    .with("partner", name)
                    .with("certificate", certificate)
                    .caused_by(error)
            })
        })
        .collect()
}

/// The certificate that messages are encrypted for: the partner's first. `None` when they are not encrypted.
///
/// # Errors
/// `ConfigInvalid`: there is none, it is not valid yet, or has expired and the agreement does not take such ones.
pub(crate) fn recipient<'a>(
    certificates: &'a [X509],
    partner: &Partner,
    now: Timestamp,
) -> Result<Option<&'a X509>> {
    let unusable =
        |what: &'static str| Error::permanent(ErrorKind::ConfigInvalid, what).with("partner", &partner.name);
    if !partner.agreement.send_security.encrypts() {
        return Ok(None);
    }
    let first = certificates.first().ok_or_else(|| {
        unusable("find a partner's certificate").advice("add the certificate that the partner decrypts with")
    })?;
    let now = Asn1Time::from_unix(now.timestamp())
        .map_err(|error| unusable("compare a certificate's dates").caused_by(error))?;
    let (what, advice) = if first.not_before() > now {
        (
            "encrypt for a certificate that is not valid yet",
            "put the certificate that the partner uses now first in its list, and check the clock of this \
            machine",
        )
    } else if first.not_after() < now && !partner.agreement.accept_expired {
        (
            "encrypt for a certificate that has expired",
            "put the certificate that the partner uses now first in its list, or allow expired ones \
            (accept_expired = true)",
        )
    } else {
        return Ok(Some(first));
    };
    Err(unusable(what).with("from", first.not_before()).with("until", first.not_after()).advice(advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{As2Id, SendSecurity};
    use crate::testing::Key;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;

    #[test]
    fn a_key_whose_signatures_differ_signs_no_message() {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let rsa = Key::new("ACME");
        let own = |key| OwnKey { key, certificate: rsa.certificate.clone() };
        let curve = own(PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap());
        let rsa = own(rsa.key.clone());
        let identity = Identity {
            name: "acme".into(),
            as2_id: As2Id::try_from("ACME".to_owned()).unwrap(),
            keys: vec!["acme-2026".into()],
        };
        for security in SendSecurity::ALL {
            let agreement = Agreement { send_security: *security, ..Agreement::default() };
            assert!(signs_alike(&rsa, &identity, &agreement).is_ok(), "{security}");
            assert_eq!(signs_alike(&curve, &identity, &agreement).is_err(), security.signs(), "{security}");
        }
        let error = signs_alike(&curve, &identity, &Agreement::default()).unwrap_err().to_string();
        assert!(error.contains("acme-2026") && error.contains("an RSA key"), "{error}");
    }

    #[test]
    fn nothing_is_encrypted_for_a_certificate_outside_its_time_unless_that_was_agreed() {
        let certificates = [Key::new("GLOBEX").certificate];
        let partner = |send_security, accept_expired| Partner {
            name: "globex".into(),
            as2_id: As2Id::try_from("GLOBEX".to_owned()).unwrap(),
            certificates: vec!["globex".into()],
            agreement: Agreement { send_security, accept_expired, ..Agreement::default() },
        };
        let at = |years: i64| Timestamp::from_timestamp(years * 365 * 86_400, 0).unwrap();
        let now: Timestamp = (std::time::SystemTime::now() + std::time::Duration::from_secs(60)).into();
        for security in SendSecurity::ALL {
            let strict = partner(*security, false);
            assert!(recipient(&certificates, &strict, now).is_ok(), "{security}");
            for (time, expired) in [(at(10), false), (at(200), true)] {
                assert_eq!(
                    recipient(&certificates, &strict, time).is_err(),
                    security.encrypts(),
                    "{security}"
                );
                // What is not valid yet never is.
                let lenient = recipient(&certificates, &partner(*security, true), time);
                assert_eq!(lenient.is_ok(), expired || !security.encrypts(), "{security}");
            }
        }
        let error = recipient(&certificates, &partner(SendSecurity::Encrypted, false), at(200)).unwrap_err();
        assert!(error.to_string().contains("accept_expired"), "{error}");
    }
}
