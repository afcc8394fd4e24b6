//! Encrypted messages without the signature that was agreed: anybody can make one of a message that was recorded.

use super::*;
use smime::Cipher;

/// The disposition and the words for the sender, and what the operator is told.
fn answer(scene: &Scene, headers: &Headers, body: &[u8]) -> ((String, String), String) {
    match scene.read(headers.clone(), body) {
        Err(Unread::Message { disposition, text, cause }) => ((disposition.to_string(), text), cause),
        Err(Unread::Ours(error)) => panic!("it counts as our fault: {error}"),
        Ok(_) => panic!("it was taken"),
    }
}

fn unsigned(scene: &Scene, cipher: Cipher) -> (Headers, Vec<u8>) {
    let recipients = std::slice::from_ref(&scene.ours.certificate);
    let key = EncryptedContentKey::generate(cipher, recipients, KeyTransport::default()).unwrap();
    parts_of(binary(&[b'x'; 100]).encrypt(key).unwrap())
}

#[test]
fn an_answer_does_not_tell_whether_an_unsigned_message_could_be_decrypted() {
    for agreed in [SendSecurity::SignedEncrypted, SendSecurity::Signed] {
        let scene = Scene::new(agreed, MIB);
        let (headers, body) = unsigned(&scene, Cipher::Aes256Cbc);
        let (said, cause) = answer(&scene, &headers, &body);
        assert_eq!(said.0, error("decryption-failed"));
        // The operator knows better.
        assert!(cause.contains("the message is not signed"), "{cause}");
        // The ciphertext is the last element: its padding is no longer one.
        let mut padding = body.clone();
        let at = padding.len() - 17;
        padding[at] ^= 0x80;
        // The IV follows the cipher's identifier: the first character of the header is no longer one.
        let cipher = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a\x04\x10";
        let at = body.windows(cipher.len()).position(|found| found == cipher).unwrap() + cipher.len();
        let mut header = body.clone();
        header[at] ^= 0x80;
        for spoilt in [padding, header] {
            assert_eq!(answer(&scene, &headers, &spoilt).0, said, "{agreed}");
        }
        assert_eq!(scene.area.parts(), [0; 0], "{agreed}");
    }
}

#[test]
fn what_a_cipher_proves_is_told_once_it_is_proved() {
    let scene = Scene::new(SendSecurity::SignedEncrypted, MIB);
    let (headers, body) = unsigned(&scene, Cipher::Aes256Gcm);
    assert_eq!(answer(&scene, &headers, &body).0.0, error("insufficient-message-security"));
    // The tag is at the end.
    let mut tag = body;
    *tag.last_mut().unwrap() ^= 1;
    assert_eq!(answer(&scene, &headers, &tag).0.0, error("decryption-failed"));
}

#[test]
fn a_message_that_is_refused_is_read_to_its_end() {
    let scene = Scene::new(SendSecurity::SignedEncrypted, MIB);
    let (headers, body) = unsigned(&scene, Cipher::Aes256Cbc);
    // What is missing at the end is found, though the beginning is refused.
    let (said, cause) = answer(&scene, &headers, &body[..body.len() - 16]);
    assert_eq!(said.0, error("decryption-failed"));
    assert!(!cause.contains("not signed"), "{cause}");
}
