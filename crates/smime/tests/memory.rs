//! 256 MiB through sign, encrypt, decrypt and verify: the heap stays small.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::io::{self, Read, Write};

use smime::{
    Cipher, EncryptedContentKey, Entity, KeyTransport, Keys, Part, PartReceiver, Payload, ReadOptions,
    read_message,
};
use support::{Party, content_type};
use testkit::heap::{CountingAllocator, Heap};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LEN: u64 = 256 << 20;

/// Bytes made as they are asked for.
struct Generated(u64);

impl Read for Generated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(usize::try_from(self.0).unwrap());
        for (at, chunk) in out[..count].chunks_mut(251).enumerate() {
            chunk.fill((self.0 as u8).wrapping_add(at as u8));
        }
        self.0 -= count as u64;
        Ok(count)
    }
}

struct Counter(u64);

impl PartReceiver for Counter {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        Ok(Box::new(self))
    }
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn any_length_in_a_few_buffers() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let recipients = [ours.certificate.clone()];
    let decrypt = [ours.decryption()];
    let verify = [partner.certificate.clone()];
    // The length known (DER) and not known (BER in segments).
    for compressed in [false, true] {
        let key =
            EncryptedContentKey::generate(Cipher::Aes256Cbc, &recipients, KeyTransport::default()).unwrap();
        let heap = Heap::watch();
        let payload = Payload::new(Generated(LEN), LEN);
        let entity = Entity::new(content_type("application/octet-stream"), payload);
        let mut counter = Counter(0);
        let options = ReadOptions::default();
        let keys = Keys { decrypt: &decrypt, verify: &verify };
        let report = if compressed {
            let encrypted = entity.compress().unwrap().sign(partner.signing()).unwrap().encrypt(key).unwrap();
            let (headers, body) = encrypted.into_parts();
            read_message(&headers, body, keys, &options, &mut counter).unwrap()
        } else {
            let encrypted = entity.sign(partner.signing()).unwrap().encrypt(key).unwrap();
            assert!(encrypted.body_len().unwrap() > LEN);
            let (headers, body) = encrypted.into_parts();
            read_message(&headers, body, keys, &options, &mut counter).unwrap()
        };
        assert!(report.signed().is_some());
        assert_eq!(counter.0, LEN);
        let grown = heap.grown();
        println!("peak heap growth: {} KiB", grown / 1024);
        assert!(grown < 4 << 20, "{grown} bytes");
    }
}
