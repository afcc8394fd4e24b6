//! What the targets share: the keys, and reading a message as a listener does.

use openssl::pkey::PKey;
use openssl::x509::X509;
use smime::{DecryptionKey, Headers, Keys, Limits, Part, PartReceiver, ReadOptions};
use std::io::{self, Write};
use std::sync::LazyLock;
use std::{env, fs};

/// A file among the seeds.
pub(crate) fn seed(name: &str) -> Vec<u8> {
    let folder = crate::SEEDS
        .get_or_init(|| env::var_os("FUZZ_SEEDS").expect("FUZZ_SEEDS, the folder that run.sh makes").into());
    fs::read(folder.join(name)).expect("a file among the seeds")
}

/// An RSA and an EC key, by which the seeds are signed and for which they are encrypted (run.sh).
pub(crate) static KEYS: LazyLock<Vec<DecryptionKey>> = LazyLock::new(|| {
    let pair = |name: &str| DecryptionKey {
        key: PKey::private_key_from_pem(&seed(&format!("{name}.key.pem"))).expect("a private key"),
        certificate: X509::from_pem(&seed(&format!("{name}.cert.pem"))).expect("a certificate"),
    };
    vec![pair("rsa"), pair("ec")]
});

/// Takes parts and keeps nothing.
struct Nowhere;

impl PartReceiver for Nowhere {
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        let _ = part.file_name();
        Ok(Box::new(io::sink()))
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        Ok(Some(Box::new(io::sink())))
    }
}

/// Reads a message as a listener does, once and again with weak algorithms.
pub(crate) fn read(headers: &Headers, body: &[u8]) {
    let certificates: Vec<X509> = KEYS.iter().map(|key| key.certificate.clone()).collect();
    let keys = Keys { decrypt: &KEYS, verify: &certificates };
    for accept_weak in [false, true] {
        let options =
            ReadOptions { limits: limits(), accept_weak, once: accept_weak, ..ReadOptions::default() };
        let _ = smime::read_message(headers, body, keys, &options, &mut Nowhere);
    }
}

/// The usual limits, but for what is expanded: more takes time and finds nothing else.
pub(crate) fn limits() -> Limits {
    Limits { expanded_bytes: 16 << 20, ..Limits::default() }
}
