//! Messages whose signature fits another form of their content than the one that came.

use super::*;
use crate::agreement::Identity;
use crate::choice::Choices;
use model::{AuditEvent, EventId, EventKind, TELL_PARTNER, Timestamp};

const HEAD: &str = "Content-Type: application/edifact\r\n";
const CONTENT: &str = "UNB+1'\r\nUNZ+1'\r\n";

/// What a message has, and what its signature is over.
struct Message<'a> {
    head: &'a str,
    content: &'a str,
    covered: &'a str,
    digest: Digest,
}

impl Message<'_> {
    /// Signed, with SHA-256 as the digest that the signature names.
    fn signed(&self, scene: &Scene) -> Entity<Payload<std::io::Cursor<Vec<u8>>>> {
        let digest = openssl::hash::hash(self.digest.md(), self.covered.as_bytes()).unwrap();
        let block = scene.theirs.signing("b-1").signature_block(&digest).unwrap();
        let begin = format!("--b-1\r\n{}\r\n{}\r\n--b-1\r\n", self.head, self.content);
        let signature =
            b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: binary\r\n\r\n";
        let body = [begin.as_bytes(), signature, &block, b"\r\n--b-1--\r\n"].concat();
        let media =
            "multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=\"b-1\"";
        let length = body.len() as u64;
        let headers = Headers::new().with("Content-Type", media).unwrap();
        Entity::new(headers, Payload::new(std::io::Cursor::new(body), length))
    }
}

/// A diagnosis of messages from THEIRS to OURS.
fn diagnosis() -> Arc<Diagnosis> {
    let id = |id: &str| As2Id::try_from(id.to_owned()).unwrap();
    let partner = Partner {
        name: "theirs".into(),
        as2_id: id("THEIRS"),
        certificates: Choices::default(),
        agreement: Agreement::default(),
    };
    let identity = Identity {
        name: "ours".into(),
        as2_id: id("OURS"),
        keys: Choices::default(),
        pgp_keys: Choices::default(),
    };
    Arc::new(Diagnosis::new(&Arc::default(), &partner, &identity, Timestamp::default()))
}

/// What the operator is told of a message that is refused for its content: what would have matched, and what to tell the partner.
fn told(scene: &mut Scene, headers: Headers, body: &[u8]) -> (Option<String>, String) {
    scene.diagnosis = diagnosis();
    match scene.read(headers, body) {
        Err(Unread::Message { disposition, text, .. }) => {
            // The sender learns no more than before.
            assert_eq!(disposition.to_string(), error("integrity-check-failed"));
            assert_eq!(text, "The message could not be processed.");
        }
        Err(Unread::Ours(error)) => panic!("it counts as our fault: {error}"),
        Ok(_) => panic!("it was taken"),
    }
    on_event(scene)
}

fn on_event(scene: &Scene) -> (Option<String>, String) {
    let event = AuditEvent::new(
        EventId::new(Default::default()),
        Timestamp::default(),
        "n1".parse().unwrap(),
        EventKind::MessageRefused,
    );
    let event = scene.diagnosis.told(event);
    let text = |key: &str| event.detail.get(key).and_then(Value::as_str).map(str::to_owned);
    (text("would_match"), text(TELL_PARTNER).unwrap_or_default())
}

#[test]
fn the_form_that_the_partner_signed_is_named_with_what_to_change() {
    let mut scene = Scene::new(SendSecurity::Signed, MIB);
    for (covered, digest, named, asked) in [
        (
            format!("{HEAD}\r\nUNB+1'\nUNZ+1'\n"),
            Digest::Sha256,
            "entity with headers, LF line ends in its content",
            "sign the canonical form with CRLF line ends",
        ),
        (
            "Content-Type: application/edifact\n\nUNB+1'\nUNZ+1'\n".to_owned(),
            Digest::Sha256,
            "entity with headers, LF line ends",
            "sign the canonical form with CRLF line ends",
        ),
        (
            CONTENT.to_owned(),
            Digest::Sha256,
            "content without headers, exact bytes",
            "sign the whole part, with its header fields",
        ),
        (
            format!("{HEAD}\r\nUNB+1'\r\nUNZ+1'"),
            Digest::Sha256,
            "entity with headers, exact bytes, without the last line end",
            "sign exactly the bytes that you send",
        ),
        (
            format!("{HEAD}\r\n{CONTENT}\r\n"),
            Digest::Sha256,
            "entity with headers, exact bytes, with one more line end",
            "sign exactly the bytes that you send",
        ),
        (
            format!("{HEAD}\r\n{CONTENT}"),
            Digest::Sha1,
            "entity with headers, exact bytes, by sha-1 (the signature names sha-256)",
            "name in the signature",
        ),
        (
            CONTENT.to_owned(),
            Digest::Sha512,
            "content without headers, exact bytes, by sha-512 (the signature names sha-256)",
            "name in the signature",
        ),
    ] {
        let message = Message { head: HEAD, content: CONTENT, covered: &covered, digest };
        let (headers, body) = parts_of(message.signed(&scene));
        let (would_match, tell) = told(&mut scene, headers, &body);
        assert_eq!(would_match, Some(format!("the same content in another form: {named}")));
        assert!(tell.starts_with("Your AS2 message from THEIRS to OURS has a signature"), "{tell}");
        assert!(tell.contains(asked), "{tell}");
    }
}

#[test]
fn text_that_was_signed_with_crlf_and_says_that_it_is_binary_is_told_from_changed_content() {
    let mut scene = Scene::new(SendSecurity::Signed, MIB);
    let head = "Content-Type: application/edifact\r\nContent-Transfer-Encoding: binary\r\n";
    let covered = format!("{head}\r\n{CONTENT}");
    let message = Message { head, content: "UNB+1'\nUNZ+1'\n", covered: &covered, digest: Digest::Sha256 };
    let (headers, body) = parts_of(message.signed(&scene));
    let (would_match, tell) = told(&mut scene, headers, &body);
    assert_eq!(would_match.unwrap(), "the same content in another form: entity with headers, CRLF line ends");
    assert!(tell.contains("send the content with the CRLF line ends that you sign"), "{tell}");
}

#[test]
fn of_an_encoded_part_both_forms_are_compared_where_both_are_kept() {
    let head = "Content-Type: application/edifact\r\nContent-Transfer-Encoding: base64\r\n";
    let content = "VU5CKzEnCg==\r\n";
    let decoded = format!("{head}\r\nUNB+1'\n");
    let with_lf = format!("{head}\r\nVU5CKzEnCg==\n");
    for (covered, keeps_signed, named) in [
        (&decoded, false, Some("entity with headers, exact bytes, transfer encoding taken off")),
        (&decoded, true, Some("entity with headers, exact bytes, transfer encoding taken off")),
        // The encoded bytes are there only where they are kept for the evidence.
        (&with_lf, false, None),
        (&with_lf, true, Some("entity with headers, LF line ends in its content")),
    ] {
        let mut scene = Scene { keeps_signed, ..Scene::new(SendSecurity::Signed, MIB) };
        let message = Message { head, content, covered, digest: Digest::Sha256 };
        let (headers, body) = parts_of(message.signed(&scene));
        let (would_match, tell) = told(&mut scene, headers, &body);
        let expected = named.map(|named| format!("the same content in another form: {named}"));
        assert_eq!(would_match, expected, "{keeps_signed}");
        assert_eq!(tell.contains("was changed after it was signed"), named.is_none(), "{tell}");
    }
}

#[test]
fn several_parts_are_compared_as_they_were_signed_where_that_is_kept() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n";
    let content = "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n";
    let covered = format!("{head}\r\n{content}").replace("\r\n", "\n");
    for keeps_signed in [true, false] {
        let mut scene = Scene { keeps_signed, ..Scene::new(SendSecurity::Signed, MIB) };
        let message = Message { head, content, covered: &covered, digest: Digest::Sha256 };
        let (headers, body) = parts_of(message.signed(&scene));
        let (would_match, _) = told(&mut scene, headers, &body);
        let expected = "the same content in another form: entity with headers, LF line ends";
        assert_eq!(would_match.as_deref(), keeps_signed.then_some(expected));
    }
}

#[test]
fn changed_content_fits_no_form() {
    let mut scene = Scene::new(SendSecurity::Signed, MIB);
    let covered = format!("{HEAD}\r\nUNB+2'\r\nUNZ+1'\r\n");
    let message = Message { head: HEAD, content: CONTENT, covered: &covered, digest: Digest::Sha256 };
    let (headers, body) = parts_of(message.signed(&scene));
    let (would_match, tell) = told(&mut scene, headers, &body);
    assert_eq!(would_match, None);
    assert!(tell.contains("was changed after it was signed"), "{tell}");
}

#[test]
fn a_long_encrypted_message_is_compared_once_it_was_decrypted_to_its_end_and_never_where_that_failed() {
    let mut scene = Scene::new(SendSecurity::SignedEncrypted, 4 * MIB);
    let content = CONTENT.repeat(100_000);
    let covered = format!("{HEAD}\r\n{}", content.replace("\r\n", "\n"));
    let message = Message { head: HEAD, content: &content, covered: &covered, digest: Digest::Sha256 };
    let key = EncryptedContentKey::generate(
        smime::Cipher::Aes256Cbc,
        std::slice::from_ref(&scene.ours.certificate),
        KeyTransport::default(),
    );
    let (headers, body) = parts_of(message.signed(&scene).encrypt(key.unwrap()).unwrap());
    let (would_match, _) = told(&mut scene, headers.clone(), &body);
    let expected = "the same content in another form: entity with headers, LF line ends in its content";
    assert_eq!(would_match.as_deref(), Some(expected));

    // What was cut at the end is a failed decryption, whatever the signature inside says.
    scene.diagnosis = diagnosis();
    let cut = &body[..body.len() - 5];
    assert_eq!(scene.refused(headers, cut).0, error("decryption-failed"));
    let (would_match, tell) = on_event(&scene);
    assert_eq!(would_match, None);
    assert!(tell.starts_with("We could not decrypt your AS2 message"), "{tell}");
}
