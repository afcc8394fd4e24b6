//! The bytes of messages that are made of fixed notes. Where these digests change, another version of Waybill sends other bytes
//! under the same Message-ID, unless [`RECIPE`] tells the versions apart: raise it, and note the new digests. Messages that the
//! version before began are not repeated then, but for those in staging (`prepared`).

use super::super::*;
use crate::agreement::SendSecurity;
use openssl::sha::sha256;
use std::fmt::Write as _;
use std::io::Cursor;

const KEY: &str = include_str!("recipe/key.pem");
const CERTIFICATE: &str = include_str!("recipe/certificate.pem");

/// A content key with what was encrypted of it, as it is noted; of AES-256-CBC and AES-128-GCM.
const CONTENT_KEYS: [&str; 2] = [include_str!("recipe/cbc.hex"), include_str!("recipe/gcm.hex")];

fn bytes(agreement: &Agreement, content_key: &str) -> Vec<u8> {
    let hex = content_key.trim();
    let noted: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let own = OwnKey {
        key: PKey::private_key_from_pem(KEY.as_bytes()).unwrap(),
        certificate: X509::from_pem(CERTIFICATE.as_bytes()).unwrap(),
    };
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "boundary-1".into(),
        date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        content_key: Some(EncryptedContentKey::from_bytes(&noted).unwrap()),
    };
    let payload = b"ISA*00*\r\nST*850\n".repeat(5000);
    let envelope = Envelope {
        from: &As2Id::try_from("ACME".to_owned()).unwrap(),
        to: &As2Id::try_from("GLOBEX".to_owned()).unwrap(),
        agreement,
        own: Some(&own),
        seed: &seed,
        made_once: MadeOnce::default(),
        media_type: "application/edi-x12",
        file_name: &RemotePath::from("größe 850.edi"),
    };
    let length = payload.len() as u64;
    let mut all = Vec::new();
    build(&envelope, Box::new(Cursor::new(payload)), length).unwrap().body.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn the_bytes_of_a_message_are_those_of_this_recipe() {
    let mut found = format!("{RECIPE}\n");
    for (cipher, content_key) in [Cipher::Aes256Cbc, Cipher::Aes128Gcm].into_iter().zip(CONTENT_KEYS) {
        for security in SendSecurity::ALL {
            for order in Order::ALL {
                for form in SignatureForm::ALL {
                    let agreement = Agreement {
                        cipher,
                        send_security: *security,
                        order: *order,
                        signature_form: *form,
                        ..Agreement::default()
                    };
                    let digest = sha256(&bytes(&agreement, content_key));
                    let digest = digest.iter().take(8).fold(String::new(), |mut text, byte| {
                        write!(text, "{byte:02x}").unwrap();
                        text
                    });
                    writeln!(found, "{cipher} {security} {order} {form} {digest}").unwrap();
                }
            }
        }
    }
    assert_eq!(found, include_str!("recipe/digests.txt"), "other bytes for the same notes: raise RECIPE");
}
