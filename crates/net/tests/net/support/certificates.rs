//! Certificates for tests.

use model::Secret;
use net::{OwnCertificate, ServerCertificate};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

pub(crate) struct Pair {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

impl Pair {
    pub(crate) fn certificate_pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    pub(crate) fn key_pem(&self) -> String {
        String::from_utf8(self.key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }

    /// With its key, as a client or a server of ours has it.
    pub(crate) fn own(&self) -> OwnCertificate {
        let (certificates, private_key) = (self.certificate_pem(), Secret::new(self.key_pem()));
        OwnCertificate { certificates, private_key, passphrase: None }
    }

    /// As a server of ours shows it.
    pub(crate) fn served(&self) -> ServerCertificate {
        ServerCertificate::new(&self.own(), chrono::Utc::now()).unwrap()
    }

    pub(crate) fn sha256(&self) -> String {
        let digest = self.certificate.digest(MessageDigest::sha256()).unwrap();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a certificate is for, and from when to when (seconds from now).
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a str,
    pub(crate) names: &'a [&'a str],
    pub(crate) authority: bool,
    pub(crate) valid: (i64, i64),
}

pub(crate) fn authority(name: &str) -> Pair {
    make(&Spec { name, names: &[], authority: true, valid: (-3600, 86_400) }, None)
}

pub(crate) fn server(names: &[&str], issuer: Option<&Pair>) -> Pair {
    make(&Spec { name: "server", names, authority: false, valid: (-3600, 86_400) }, issuer)
}

pub(crate) fn make(spec: &Spec<'_>, issuer: Option<&Pair>) -> Pair {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("O", "Waybill, tests").unwrap();
    name.append_entry_by_text("CN", spec.name).unwrap();
    let name = name.build();
    let now = chrono::Utc::now().timestamp();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_hex_str("0123456789abcdef").unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(issuer.map_or(&*name, |issuer| issuer.certificate.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now + spec.valid.0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + spec.valid.1).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    if spec.authority {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.append_extension(KeyUsage::new().key_cert_sign().crl_sign().build().unwrap()).unwrap();
    } else {
        let usage = ExtendedKeyUsage::new().server_auth().client_auth().build().unwrap();
        builder.append_extension(usage).unwrap();
    }
    if !spec.names.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for name in spec.names {
            if name.parse::<std::net::IpAddr>().is_ok() {
                names.ip(name)
            } else {
                names.dns(name)
            };
        }
        let names = names.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
    Pair { certificate: builder.build(), key }
}
