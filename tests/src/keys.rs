//! Keys with self-signed certificates, in files.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A private key and its certificate, PEM.
pub struct KeyPair {
    /// The private key's file.
    pub key: PathBuf,
    /// The certificate's file.
    pub certificate: PathBuf,
}

impl KeyPair {
    /// Makes `NAME.key.pem` and `NAME.cert.pem` in a directory.
    pub fn make(directory: &Path, name: &str) -> Self {
        Self::make_valid(directory, name, 0, 365)
    }

    /// The same, valid from and until so many days from now.
    pub fn make_valid(directory: &Path, name: &str, from: i64, until: i64) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let day = |days: i64| Asn1Time::from_unix(i64::try_from(now).unwrap() + days * 86_400).unwrap();
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = std::process::id();
        builder.set_serial_number(&BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&day(from)).unwrap();
        builder.set_not_after(&day(until)).unwrap();
        // For TLS: a host's name is looked for here.
        let host =
            SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(host).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        std::fs::create_dir_all(directory).unwrap();
        let pair = Self {
            key: directory.join(format!("{name}.key.pem")),
            certificate: directory.join(format!("{name}.cert.pem")),
        };
        // As a key should lie: `validate` warns of others, and tests should see no warning.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&pair.key);
        file.unwrap().write_all(&key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        std::fs::write(&pair.certificate, builder.build().to_pem().unwrap()).unwrap();
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::KeyPair;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_private_key_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mode = KeyPair::make(directory.path(), "ours").key.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
