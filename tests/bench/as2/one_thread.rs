//! What one thread of OpenSSL needs for the digests and the cipher alone: no format, no copies, no files.

use super::material::Cipher;
use openssl::hash::{Hasher, MessageDigest};
use openssl::pkey::PKey;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{Signer, Verifier};
use openssl::symm::{Crypter, Mode};
use std::hint::black_box;
use std::time::Instant;

/// Bytes given to OpenSSL at once.
const CHUNK: usize = 256 * 1024;

/// Digests and a cipher over the same bytes.
pub(super) struct Primitives {
    cipher: Cipher,
    mode: Mode,
    digests: usize,
}

impl Primitives {
    /// One digest, and encryption.
    pub(super) fn of_sending(cipher: Cipher) -> Self {
        Self { cipher, mode: Mode::Encrypt, digests: 1 }
    }

    /// Decryption, the digest that was signed, and the payload's own.
    pub(super) fn of_receiving(cipher: Cipher) -> Self {
        Self { cipher, mode: Mode::Decrypt, digests: 2 }
    }

    /// The same with decryption.
    pub(super) fn reversed(&self) -> Self {
        Self { mode: Mode::Decrypt, ..*self }
    }

    /// Seconds for so many MiB.
    pub(super) fn seconds(&self, mib: u64) -> f64 {
        let cipher = self.cipher.primitive();
        let iv = vec![2; cipher.iv_len().unwrap()];
        let mut crypter = Crypter::new(cipher, self.mode, &[1; 32], Some(&iv)).unwrap();
        crypter.pad(false);
        let mut hashers: Vec<Hasher> =
            (0..self.digests).map(|_| Hasher::new(MessageDigest::sha256()).unwrap()).collect();
        let (input, mut output) = (vec![7_u8; CHUNK], vec![0_u8; CHUNK + 32]);
        let begun = Instant::now();
        for _ in 0..(mib << 20) / CHUNK as u64 {
            for hasher in &mut hashers {
                hasher.update(&input).unwrap();
            }
            crypter.update(&input, &mut output).unwrap();
        }
        for hasher in &mut hashers {
            black_box(hasher.finish().unwrap());
        }
        begun.elapsed().as_secs_f64()
    }
}

/// How many small messages a second one thread gets through that does only what RSA (2,048 bits) a receiver has to do: the
/// content key decrypted, the signature verified, the receipt signed.
pub(super) fn small_messages() -> f64 {
    const MESSAGES: usize = 500;
    let rsa = Rsa::generate(2048).unwrap();
    let mut encrypted = vec![0; rsa.size() as usize];
    rsa.public_encrypt(&[1; 32], &mut encrypted, Padding::PKCS1).unwrap();
    let key = PKey::from_rsa(rsa.clone()).unwrap();
    let sign = || Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(&[3; 100]).unwrap();
    let signature = sign();
    let mut decrypted = vec![0; rsa.size() as usize];
    let begun = Instant::now();
    for _ in 0..MESSAGES {
        rsa.private_decrypt(&encrypted, &mut decrypted, Padding::PKCS1).unwrap();
        let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
        assert!(verifier.verify_oneshot(&signature, &[3; 100]).unwrap());
        black_box(sign());
    }
    MESSAGES as f64 / begun.elapsed().as_secs_f64()
}
