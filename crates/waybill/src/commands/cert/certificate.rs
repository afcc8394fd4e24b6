//! New keys, self-signed certificates and certificate requests.

use super::Subject;
use crate::cli::KeyType;
use model::Timestamp;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Extension, X509Req};

/// How long before now a certificate begins, in seconds.
const BEGINS_BEFORE: i64 = 3600;
const DAY: i64 = 86_400;

/// A new private key.
pub(in crate::commands) fn generate(key_type: KeyType) -> Result<PKey<Private>, ErrorStack> {
    let rsa = |bits| PKey::from_rsa(Rsa::generate(bits)?);
    let ec = |curve| PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(curve)?)?);
    match key_type {
        KeyType::Rsa2048 => rsa(2048),
        KeyType::Rsa3072 => rsa(3072),
        KeyType::Rsa4096 => rsa(4096),
        KeyType::EcP256 => ec(Nid::X9_62_PRIME256V1),
        KeyType::EcP384 => ec(Nid::SECP384R1),
        KeyType::EcP521 => ec(Nid::SECP521R1),
        KeyType::Ed25519 => PKey::generate_ed25519(),
    }
}

/// The digest that a key signs with; Ed25519 has its own.
fn digest(key: &PKeyRef<Private>) -> MessageDigest {
    match (key.id(), key.bits()) {
        (Id::ED25519 | Id::ED448, _) => MessageDigest::null(),
        (Id::EC, 385..) => MessageDigest::sha512(),
        (Id::EC, 257..) => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    }
}

/// A certificate that a key signs for itself.
pub(in crate::commands) fn self_signed(
    key: &PKeyRef<Private>,
    subject: &Subject,
    now: Timestamp,
    days: u32,
) -> Result<X509, ErrorStack> {
    let mut serial = BigNum::new()?;
    // Positive, and never zero (RFC 5280, section 4.1.2.2).
    serial.rand(127, MsbOption::ONE, false)?;
    let now = now.timestamp();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject.name())?;
    builder.set_issuer_name(subject.name())?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::from_unix(now - BEGINS_BEFORE)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(now + i64::from(days) * DAY)?)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(usage(key)?)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(identifier)?;
    if let Some(names) = alternative_names(subject) {
        let names = names.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(names)?;
    }
    builder.sign(key, digest(key))?;
    Ok(builder.build())
}

/// A request for a certificate of a key (PKCS #10).
pub(super) fn request(key: &PKeyRef<Private>, subject: &Subject) -> Result<X509Req, ErrorStack> {
    let mut builder = X509Req::builder()?;
    builder.set_version(0)?;
    builder.set_subject_name(subject.name())?;
    builder.set_pubkey(key)?;
    let mut extensions = Stack::<X509Extension>::new()?;
    extensions.push(usage(key)?)?;
    if let Some(names) = alternative_names(subject) {
        extensions.push(names.build(&builder.x509v3_context(None))?)?;
    }
    builder.add_extensions(&extensions)?;
    builder.sign(key, digest(key))?;
    Ok(builder.build())
}

/// What the key is for: it signs; content keys are encrypted for an RSA key and agreed on with an EC key.
fn usage(key: &PKeyRef<Private>) -> Result<X509Extension, ErrorStack> {
    let mut usage = KeyUsage::new();
    usage.critical().digital_signature();
    match key.id() {
        Id::RSA => usage.key_encipherment(),
        Id::EC => usage.key_agreement(),
        _ => &mut usage,
    };
    usage.build()
}

fn alternative_names(subject: &Subject) -> Option<SubjectAlternativeName> {
    let mut names = SubjectAlternativeName::new();
    for address in &subject.addresses {
        names.ip(address);
    }
    for host in &subject.hosts {
        names.dns(host);
    }
    for email in &subject.emails {
        names.email(email);
    }
    let is_empty = subject.addresses.is_empty() && subject.hosts.is_empty() && subject.emails.is_empty();
    (!is_empty).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::CertificateFacts;

    #[test]
    fn certificates_say_what_their_key_is_for_and_verify() {
        let now = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        let subject = Subject::of("acme").unwrap();
        for (key_type, key_name, uses) in [
            (KeyType::Rsa2048, "RSA 2048", "digital signature, key encipherment"),
            (KeyType::EcP256, "EC P-256", "digital signature, key agreement"),
            (KeyType::EcP384, "EC P-384", "digital signature, key agreement"),
            (KeyType::EcP521, "EC P-521", "digital signature, key agreement"),
            (KeyType::Ed25519, "Ed25519", "digital signature"),
        ] {
            let key = generate(key_type).unwrap();
            let made = self_signed(&key, &subject, now, 10).unwrap();
            assert!(made.verify(&key).unwrap(), "{key_name}");
            let facts = CertificateFacts::of(&made);
            assert_eq!((facts.key.as_str(), facts.uses.join(", ").as_str()), (key_name, uses));
            assert_eq!((facts.not_after - now).num_days(), 10);
            assert_eq!((now - facts.not_before).num_minutes(), 60);
            assert!(facts.self_signed && facts.subject == "CN=acme" && facts.names.is_empty());
            let request = request(&key, &subject).unwrap();
            assert!(request.verify(&key).unwrap(), "{key_name}");
        }
    }
}
