//! A message that is made again has the same bytes from every byte on, however it is protected.

use super::super::*;
use crate::agreement::SendSecurity;
use crate::streaming::Making;
use crate::testing::Key;
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::LazyLock;

/// Ours by the ways of signing, and the partner's.
static KEYS: LazyLock<(Key, Key, Key, Key)> =
    LazyLock::new(|| (Key::new("ACME"), Key::ec("ACME"), Key::ed25519("ACME"), Key::new("GLOBEX")));

/// How a message is protected.
#[derive(Clone, Debug)]
struct Protection {
    agreement: Agreement,
    /// Which of our keys signs.
    key: usize,
}

fn protections() -> impl Strategy<Value = Protection> {
    let security = proptest::sample::select(SendSecurity::ALL);
    let order = proptest::sample::select(Order::ALL);
    let form = proptest::sample::select(SignatureForm::ALL);
    let rsa_signature = proptest::sample::select(RsaSignature::ALL);
    let cipher = proptest::sample::select(&[Cipher::Aes256Cbc, Cipher::Aes128Gcm, Cipher::TripleDes][..]);
    (security, order, form, rsa_signature, cipher, 0_usize..3).prop_map(
        |(send_security, order, signature_form, rsa_signature, cipher, key)| Protection {
            agreement: Agreement {
                send_security,
                order,
                signature_form,
                rsa_signature,
                cipher,
                ..Agreement::default()
            },
            key,
        },
    )
}

struct Sender {
    own: OwnKey,
    seed: MessageSeed,
    from: As2Id,
    to: As2Id,
    file_name: RemotePath,
}

impl Sender {
    fn new(protection: &Protection) -> Self {
        let key = [&KEYS.0, &KEYS.1, &KEYS.2][protection.key];
        let recipients = std::slice::from_ref(&KEYS.3.certificate);
        let chosen = cipher(protection.agreement.cipher);
        let content_key =
            EncryptedContentKey::generate(chosen, recipients, smime::KeyTransport::default()).unwrap();
        Self {
            own: OwnKey { key: key.key.clone(), certificate: key.certificate.clone() },
            seed: MessageSeed {
                message_id: "<1@acme>".into(),
                boundary: "boundary-1".into(),
                date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
                content_key: Some(content_key),
            },
            from: As2Id::try_from("ACME".to_owned()).unwrap(),
            to: As2Id::try_from("GLOBEX".to_owned()).unwrap(),
            file_name: RemotePath::from("order.edi"),
        }
    }

    fn make(&self, agreement: &Agreement, payload: &[u8], made_once: MadeOnce) -> Outgoing {
        let envelope = Envelope {
            from: &self.from,
            to: &self.to,
            agreement,
            own: Some(&self.own),
            seed: &self.seed,
            made_once,
            media_type: "application/edi-x12",
            file_name: &self.file_name,
        };
        build(&envelope, Box::new(Cursor::new(payload.to_vec())), payload.len() as u64).unwrap()
    }
}

fn read(mut body: Box<dyn Measured + Send>) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The message whole, and made again from each of these places of it (in thousandths) on.
fn is_the_same_from(protection: &Protection, payload: &[u8], places: &[usize]) {
    let sender = Sender::new(protection);
    let noted: Arc<Mutex<Option<Signature>>> = Arc::default();
    let note: OnSignature = {
        let noted = Arc::clone(&noted);
        Arc::new(move |made: &Signature| {
            *noted.lock().unwrap() = Some(made.clone());
            Ok(())
        })
    };
    let first = sender.make(&protection.agreement, payload, MadeOnce::new(None, Arc::clone(&note)));
    let (total, mic) = (first.length().unwrap(), first.mic.clone());
    let whole = read(first.body);
    assert_eq!(whole.len() as u64, total);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for place in places {
        let from = (whole.len() - 1) * place / 1000;
        let earlier = noted.lock().unwrap().clone();
        let again = sender.make(&protection.agreement, payload, MadeOnce::new(earlier, Arc::clone(&note)));
        assert_eq!(again.length(), Some(total));
        let making = Making::new(again.body, total);
        let rest = runtime.block_on(async {
            assert!(making.reach(from as u64).await.unwrap());
            making.body(from as u64, false, None).collect(whole.len()).await.unwrap()
        });
        assert!(rest == whole[from..], "from {from} of {total}: {protection:?}");
        assert_eq!(again.mic.get(), mic.get());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_message_is_the_same_from_every_byte_on(
        protection in protections(),
        payload in proptest::collection::vec(any::<u8>(), 1..5000),
        places in proptest::collection::vec(0_usize..=1000, 1..4),
    ) {
        is_the_same_from(&protection, &payload, &places);
    }
}

#[test]
fn a_message_that_two_threads_make_is_the_same_from_every_byte_on() {
    let payload: Vec<u8> =
        (0..3 * THREADS_FROM + 11).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
    for (send_security, key) in [
        (SendSecurity::SignedEncrypted, 0),
        (SendSecurity::SignedEncrypted, 1),
        (SendSecurity::Signed, 0),
        (SendSecurity::Encrypted, 0),
        (SendSecurity::None, 0),
    ] {
        let agreement = Agreement { send_security, ..Agreement::default() };
        is_the_same_from(&Protection { agreement, key }, &payload, &[0, 1, 333, 999, 1000]);
    }
}
