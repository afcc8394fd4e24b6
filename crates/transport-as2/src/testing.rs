//! Keys and parties made on the spot, for tests.

use crate::agreement::{Agreement, As2Id, Identity, Partner};
use crate::choice::Choices;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use smime::Signing;
use std::time::{Duration, UNIX_EPOCH};

/// A key with its self-signed certificate.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) key: PKey<Private>,
    pub(crate) certificate: X509,
}

impl Key {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_bits(name, 2048)
    }

    pub(crate) fn with_bits(name: &str, bits: u32) -> Self {
        Self::lasting(name, bits, 30)
    }

    /// Its certificate ends so many days from now.
    pub(crate) fn lasting(name: &str, bits: u32, days: u32) -> Self {
        Self::of(name, PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap(), days)
    }

    /// A key for ECDSA on P-256.
    pub(crate) fn ec(name: &str) -> Self {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        Self::of(name, PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap(), 30)
    }

    pub(crate) fn ed25519(name: &str) -> Self {
        Self::of(name, PKey::generate_ed25519().unwrap(), 30)
    }

    fn of(name: &str, key: PKey<Private>, days: u32) -> Self {
        let digest = if key.id() == Id::ED25519 { MessageDigest::null() } else { MessageDigest::sha256() };
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(days).unwrap()).unwrap();
        builder.sign(&key, digest).unwrap();
        Self { key, certificate: builder.build() }
    }

    pub(crate) fn signing(&self, boundary: &str) -> Signing {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Signing::new(self.key.clone(), self.certificate.clone(), time, boundary)
    }
}

/// An identity without keys.
pub(crate) fn identity(as2_id: &str) -> Identity {
    let as2_id = As2Id::try_from(as2_id.to_owned()).unwrap();
    Identity { name: "acme".into(), as2_id, keys: Choices::default(), pgp_keys: Choices::default() }
}

/// A partner without certificates.
pub(crate) fn partner(as2_id: &str, agreement: Agreement) -> Partner {
    let as2_id = As2Id::try_from(as2_id.to_owned()).unwrap();
    Partner { name: "globex".into(), as2_id, certificates: Choices::default(), agreement }
}
