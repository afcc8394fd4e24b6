use super::super::{MadeOnce, MessageSeed, OwnKey, build, cipher};
use super::*;
use crate::agreement::{Agreement, As2Id, Compression, Order, RsaSignature, SendSecurity, SignatureForm};
use crate::testing::Key;
use model::RemotePath;
use smime::{
    DecryptionKey, EncryptedContentKey, Headers, KeyTransport, Keys, Part, PartReceiver, ReadOptions, Report,
};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// The payload, and what was signed where that is something else.
#[derive(Default)]
struct Parts {
    payload: Vec<u8>,
    signed: Arc<Mutex<Vec<u8>>>,
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PartReceiver for Parts {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        Ok(Box::new(&mut self.payload))
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        Ok(Some(Box::new(Shared(Arc::clone(&self.signed)))))
    }
}

/// What the partner gets of a message, and what was signed by its account.
fn received(out: super::super::Outgoing, acme: &Key, globex: &Key) -> (Report, Vec<u8>, Mic) {
    let headers = out.headers.iter().fold(Headers::new(), |h, (name, value)| h.with(name, value).unwrap());
    let (mut bytes, mut body) = (Vec::new(), out.body);
    body.read_to_end(&mut bytes).unwrap();
    let decrypt = [DecryptionKey { key: globex.key.clone(), certificate: globex.certificate.clone() }];
    let keys = Keys { decrypt: &decrypt, verify: std::slice::from_ref(&acme.certificate) };
    let mut parts = Parts::default();
    let report =
        smime::read_message(&headers, &bytes[..], keys, &ReadOptions::default(), &mut parts).unwrap();
    let signed = report.signed_content.as_ref().unwrap();
    let content = match signed.is_leaf {
        true => [signed.head.as_slice(), &parts.payload].concat(),
        false => parts.signed.lock().unwrap().clone(),
    };
    let mic = out.mic.get().unwrap().clone();
    (report, content, mic)
}

#[test]
fn what_was_sent_is_made_once_more_in_every_form() {
    let (acme, globex) = (Key::new("ACME"), Key::new("GLOBEX"));
    let own = OwnKey { key: acme.key.clone(), certificate: acme.certificate.clone() };
    let recipient = std::slice::from_ref(&globex.certificate);
    let key = EncryptedContentKey::generate(
        cipher(Agreement::default().cipher),
        recipient,
        KeyTransport::default(),
    );
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "boundary-1".into(),
        date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        content_key: Some(key.unwrap()),
    };
    let (id, name) = (As2Id::try_from("ACME".to_owned()).unwrap(), RemotePath::from("a.edi"));
    let payload = b"ISA*00*\r\nST*850\nbinary\xff".repeat(1000);
    let reader = || Box::new(Cursor::new(payload.clone())) as Box<dyn Read + Send>;
    for compress in Compression::ALL {
        for order in Order::ALL {
            for signature_form in SignatureForm::ALL {
                for rsa_signature in RsaSignature::ALL {
                    for send_security in [SendSecurity::Signed, SendSecurity::SignedEncrypted] {
                        let agreement = Agreement {
                            send_security,
                            compress: *compress,
                            order: *order,
                            signature_form: *signature_form,
                            rsa_signature: *rsa_signature,
                            ..Agreement::default()
                        };
                        let envelope = Envelope {
                            from: &id,
                            to: &id,
                            agreement: &agreement,
                            own: Some(&own),
                            seed: &seed,
                            made_once: MadeOnce::default(),
                            media_type: "application/edi-x12",
                            file_name: &name,
                        };
                        let out = build(&envelope, reader(), payload.len() as u64).unwrap();
                        let (report, content, mic) = received(out, &acme, &globex);
                        let signed = report.signed_content.unwrap();
                        let what = format!("{agreement:?}");
                        assert_eq!(signature(&envelope, &mic).unwrap(), Some(signed.signature), "{what}");
                        let is_head = covers(&envelope) == Covers::HeadAndPayload;
                        assert_eq!(is_head, signed.is_leaf, "{what}");
                        let mut again = Vec::new();
                        let mut made = signed_content(&envelope, reader(), payload.len() as u64).unwrap();
                        made.read_to_end(&mut again).unwrap();
                        assert!(again == content, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_signature_that_would_differ_is_not_made_anew() {
    let acme = Key::ec("ACME");
    let own = OwnKey { key: acme.key.clone(), certificate: acme.certificate };
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "boundary-1".into(),
        date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        content_key: None,
    };
    let agreement = Agreement { send_security: SendSecurity::Signed, ..Agreement::default() };
    let id = As2Id::try_from("ACME".to_owned()).unwrap();
    let envelope = Envelope {
        from: &id,
        to: &id,
        agreement: &agreement,
        own: Some(&own),
        seed: &seed,
        made_once: MadeOnce::default(),
        media_type: "application/edi-x12",
        file_name: &RemotePath::from("a.edi"),
    };
    let mic = Mic { algorithm: smime::Digest::Sha256, digest: vec![0; 32] };
    assert_eq!(signature(&envelope, &mic).unwrap_err().kind(), ErrorKind::Internal);
}
