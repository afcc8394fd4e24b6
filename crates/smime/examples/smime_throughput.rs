//! MB/s of this crate beside the same digest and cipher without any format, in one thread.
//! Run: `cargo run --release -p waybill-smime --example smime_throughput [MiB]`

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::time::{Duration, Instant, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::hash::{Hasher, MessageDigest};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::{Crypter, Mode};
use openssl::x509::{X509, X509NameBuilder};
use smime::{
    Cipher, DecryptionKey, Digest, EncryptedContentKey, Entity, Headers, KeyTransport, Keys, Multipart, Part,
    PartReceiver, Payload, ReadOptions, Signing, read_message,
};

const CHUNK: usize = 64 * 1024;

struct Repeated<'a> {
    block: &'a [u8],
    left: u64,
}

impl Read for Repeated<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (out.len() as u64).min(self.left).min(self.block.len() as u64) as usize;
        out[..count].copy_from_slice(&self.block[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}

struct Discard;

impl PartReceiver for Discard {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        Ok(Box::new(io::sink()))
    }
}

fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "Throughput").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn measure<T>(what: &str, bytes: u64, run: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = run();
    let rate = bytes as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("{what:<58} {rate:>7.0} MB/s");
    (rate, result)
}

fn raw(block: &[u8], len: u64, cipher: openssl::symm::Cipher, mode: Mode) {
    let mut hasher = Hasher::new(MessageDigest::sha256()).unwrap();
    let iv = vec![1; cipher.iv_len().unwrap()];
    let mut crypter = Crypter::new(cipher, mode, &[7; 32], Some(&iv)).unwrap();
    let mut out = vec![0; CHUNK + 32];
    let mut left = len;
    while left > 0 {
        hasher.update(&block[..CHUNK]).unwrap();
        crypter.update(&block[..CHUNK], &mut out).unwrap();
        left = left.saturating_sub(CHUNK as u64);
    }
}

fn main() {
    let mebibytes: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(512);
    let len = mebibytes << 20;
    let mut block = vec![0; CHUNK];
    openssl::rand::rand_bytes(&mut block).unwrap();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let certificate = certificate(&key);
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let entity = || {
        let headers = Headers::new().with("Content-Type", "application/octet-stream").unwrap();
        Entity::new(headers, Payload::new(Repeated { block: &block, left: len }, len))
    };
    let signing = || Signing::new(key.clone(), certificate.clone(), time, "boundary");
    let decrypt = [DecryptionKey { key: key.clone(), certificate: certificate.clone() }];
    let verify = [certificate.clone()];
    let keys = Keys { decrypt: &decrypt, verify: &verify };
    let lean = ReadOptions { digests: Vec::new(), alternatives: false, ..ReadOptions::default() };

    for (cipher, symm) in [
        (Cipher::Aes256Cbc, openssl::symm::Cipher::aes_256_cbc()),
        (Cipher::Aes256Gcm, openssl::symm::Cipher::aes_256_gcm()),
    ] {
        println!("{} and SHA-256, {mebibytes} MiB", cipher.name());
        let encrypted = || {
            let recipients = std::slice::from_ref(&certificate);
            let key = EncryptedContentKey::generate(cipher, recipients, KeyTransport::default());
            entity().sign(signing()).unwrap().encrypt(key.unwrap()).unwrap().into_parts()
        };
        let (write, ()) =
            measure("  raw digest and encryption", len, || raw(&block, len, symm, Mode::Encrypt));
        let mut message = Vec::with_capacity(len as usize + (1 << 20));
        let (ours, headers) = measure("  sign and encrypt", len, || {
            let (headers, mut body) = encrypted();
            let mut piece = vec![0; 2 * CHUNK];
            loop {
                match body.read(&mut piece).unwrap() {
                    0 => break headers,
                    count => {
                        std::hint::black_box(&piece[..count]);
                    }
                }
            }
        });
        println!("  {:.0} % of the raw operations", 100.0 * ours / write);
        encrypted().1.read_to_end(&mut message).unwrap();
        drop(headers);
        let (headers, body) = encrypted();
        drop(body);
        let (read, ()) =
            measure("  raw digest and decryption", len, || raw(&block, len, symm, Mode::Decrypt));
        let (ours, _) = measure("  decrypt and verify, one digest", len, || {
            read_message(&headers, &message[..], keys, &lean, &mut Discard).unwrap()
        });
        println!("  {:.0} % of the raw operations", 100.0 * ours / read);
        measure("  decrypt and verify, SHA-1 beside", len, || {
            let beside = ReadOptions { digests: vec![Digest::Sha1], ..lean.clone() };
            read_message(&headers, &message[..], keys, &beside, &mut Discard).unwrap()
        });
        measure("  decrypt and verify, every fall-back and MIC rule", len, || {
            let options = ReadOptions::default();
            read_message(&headers, &message[..], keys, &options, &mut Discard).unwrap()
        });
    }

    let mut body = b"--boundary\r\n\r\n".to_vec();
    while (body.len() as u64) < len {
        body.extend_from_slice(&block);
    }
    body.extend_from_slice(b"\r\n--boundary--");
    println!("MIME");
    measure("  multipart boundaries in binary data", len, || {
        let mut parts = Multipart::new(&body[..], "boundary").unwrap();
        while let Some(mut part) = parts.next_part().unwrap() {
            io::copy(&mut part, &mut io::sink()).unwrap();
        }
    });
    let text = openssl::base64::encode_block(&body[..body.len().min(64 << 20)]);
    measure("  base64 decoding", text.len() as u64, || {
        let mut decoder = smime::Base64Reader::new(text.as_bytes());
        io::copy(&mut decoder, &mut io::sink()).unwrap();
    });
}
