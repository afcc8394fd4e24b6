//! What a receipt that comes later is held to. It may come to another node, and days later: so this is noted, durably, before
//! the last byte of the message leaves, and without it no partner can have the whole message.

use crate::agreement::{Agreement, MdnRequest, SendSecurity};
use crate::outgoing::Outgoing;
use crate::prepared::Earlier;
use crate::sent_proof::{ProofOf, SentProof};
use crate::streaming::BeforeLast;
use crate::transfer_id::RESTARTS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smime::{Measured, Mic, MicSlot, NameStyle};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use transport::DeliveryLog;

/// Begins the keys of these notes; the Message-ID follows. A delivery may have sent messages under several.
const NOTE: &str = "as2_sent:";

/// The key of the note about the last message that a receipt has refused: its Message-ID and the attempt.
pub(crate) const ANSWERED: &str = "as2_answered";

/// A message as it was sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SentMessage {
    /// The partner's definition.
    pub(crate) partner: String,
    /// Our AS2 name in it.
    pub(crate) from: String,
    /// The partner's.
    pub(crate) to: String,
    /// The receipt that it asks for.
    pub(crate) asked: String,
    /// How it is protected.
    pub(crate) security: String,
    /// The certificate that signed it, by its SHA-256.
    pub(crate) own_fingerprint: String,
    /// Those that it was encrypted for.
    pub(crate) recipient_fingerprint: String,
    /// What it was sent with, by the names of definitions.
    pub(crate) sent_with: Vec<(String, String)>,
    /// What of it is too weak for today, as the agreement allows.
    pub(crate) legacy: Vec<String>,
    /// What had become of the attempts before this one.
    pub(crate) earlier: Earlier,
    /// The payload's own header fields in it, in base64.
    content_headers: String,
    /// `base64, algorithm`; none until the whole message was made.
    mic: Option<String>,
    /// What proves it together with its receipt; none where no evidence is kept.
    pub(crate) proof: Option<SentProof>,
}

/// Who sends what to whom, as far as a receipt must know it.
pub(crate) struct SentTerms<'a> {
    pub(crate) partner: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) agreement: &'a Agreement,
    pub(crate) own_fingerprint: &'a str,
    pub(crate) recipient_fingerprint: &'a str,
    pub(crate) sent_with: &'a [(&'static str, String)],
    pub(crate) legacy: &'a [String],
    pub(crate) earlier: Earlier,
}

impl SentMessage {
    fn new(terms: &SentTerms<'_>, content_headers: &[u8]) -> Self {
        Self {
            partner: terms.partner.to_owned(),
            from: terms.from.to_owned(),
            to: terms.to.to_owned(),
            asked: terms.agreement.mdn.as_str().to_owned(),
            security: terms.agreement.send_security.as_str().to_owned(),
            own_fingerprint: terms.own_fingerprint.to_owned(),
            recipient_fingerprint: terms.recipient_fingerprint.to_owned(),
            sent_with: terms.sent_with.iter().map(|(key, name)| ((*key).to_owned(), name.clone())).collect(),
            legacy: terms.legacy.to_vec(),
            earlier: terms.earlier,
            content_headers: BASE64.encode(content_headers),
            mic: None,
            proof: None,
        }
    }

    /// What was noted of a message; `None` if no attempt has sent it whole.
    ///
    /// # Errors
    /// `Internal`, permanent: the note cannot be read.
    pub(crate) fn noted(notes: &BTreeMap<String, Value>, message_id: &str) -> Result<Option<Self>> {
        let Some(note) = notes.get(&key(message_id)) else { return Ok(None) };
        serde_json::from_value(note.clone()).map(Some).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "read the note of a message that was sent")
                .with("message_id", message_id)
                .caused_by(error)
        })
    }

    /// The MIC of the whole message.
    pub(crate) fn mic(&self) -> Option<Mic> {
        Mic::parse(self.mic.as_deref()?)
    }

    /// Whether it went on where its connection was lost, so that the partner joined it.
    pub(crate) fn went_on(&self) -> bool {
        self.sent_with.iter().any(|(key, _)| key == RESTARTS)
    }

    /// The payload's own header fields, for the MICs that a partner may make by another rule.
    pub(crate) fn content_headers(&self) -> Vec<u8> {
        BASE64.decode(&self.content_headers).unwrap_or_default()
    }

    /// Whether it asks for a signed receipt.
    pub(crate) fn asks_for_signed(&self) -> bool {
        MdnRequest::parse(&self.asked) == Some(MdnRequest::Signed)
    }

    /// The agreement as it was for this message; what says how signatures are verified is that of today.
    pub(crate) fn agreement(&self, today: &Agreement) -> Agreement {
        Agreement {
            // A person who has looked at a receipt that proved nothing may ask for less by now. What comes counts all the
            // same: it may refuse the message.
            mdn: MdnRequest::parse(&self.asked)
                .map_or(today.mdn, |asked| asked.weaker(today.mdn.or_unsigned())),
            send_security: SendSecurity::parse(&self.security).unwrap_or(today.send_security),
            ..today.clone()
        }
    }
}

fn key(message_id: &str) -> String {
    format!("{NOTE}{message_id}")
}

/// The Message-IDs of the messages that are noted as sent.
pub(crate) fn message_ids(notes: &BTreeMap<String, Value>) -> impl Iterator<Item = &str> {
    notes.keys().filter_map(|key| key.strip_prefix(NOTE))
}

/// The note of a refusal of this message, in the last attempt.
pub(crate) fn refusal_note(message_id: &str, attempt: u32) -> Value {
    json!({ "message_id": message_id, "attempt": attempt })
}

/// Whether a receipt has refused this message in this attempt or the one before. If others were made since, the partner may
/// have it from them.
pub(crate) fn was_refused(notes: &BTreeMap<String, Value>, message_id: &str, attempt: u32) -> bool {
    let note = notes.get(ANSWERED);
    let is_this = note.and_then(|note| note.get("message_id")?.as_str()) == Some(message_id);
    let refused_in = note.and_then(|note| note.get("attempt")?.as_u64());
    is_this && refused_in.is_some_and(|refused_in| refused_in + 1 >= u64::from(attempt))
}

/// Notes what a receipt must say, of a message that was made whole: called before its last byte leaves. Called within the
/// runtime.
pub(crate) fn noting(
    message: &Outgoing,
    log: Arc<dyn DeliveryLog>,
    message_id: &str,
    terms: &SentTerms<'_>,
    proof: Option<ProofOf>,
) -> BeforeLast {
    let sent = SentMessage::new(terms, &message.content_headers);
    let (runtime, key, mic) = (tokio::runtime::Handle::current(), key(message_id), message.mic.clone());
    let note = move |slot: &MicSlot| {
        let Some(mic) = slot.get() else {
            let error = Error::permanent(ErrorKind::Internal, "compute the MIC of a message");
            return Err(io::Error::other(error));
        };
        let proof = proof.and_then(|proof| made(proof, mic, &key));
        let mic = Some(mic.to_text(NameStyle::Rfc5751));
        let note = serde_json::to_value(SentMessage { mic, proof, ..sent }).map_err(io::Error::other)?;
        runtime.block_on(log.note(&key, note)).map_err(io::Error::other)
    };
    Box::new(move || note(&mic))
}

/// The same stream, whose last byte comes only after something was done.
pub(crate) fn held(inner: Box<dyn Measured + Send>, before_last: BeforeLast) -> Box<dyn Measured + Send> {
    let total = inner.total_len();
    Box::new(Held { inner, last: None, total, before_last: Some(before_last) })
}

/// What proves a message that was made. One of which that cannot be told is sent all the same: what proves the delivery is
/// its receipt.
fn made(proof: ProofOf, mic: &Mic, note: &str) -> Option<SentProof> {
    match proof.with(mic) {
        Ok(proof) => Some(proof),
        Err(error) => {
            tracing::error!(note, error = %error.chain(), "the evidence of a message that is sent cannot be kept");
            None
        }
    }
}

/// A stream whose last byte comes only after something was done.
struct Held<R> {
    inner: R,
    /// The byte that may be the last one.
    last: Option<u8>,
    total: Option<u64>,
    /// What is to be done; taken once it was.
    before_last: Option<BeforeLast>,
}

impl<R: Read> Held<R> {
    /// The stream has ended: what is held back is given out.
    fn end(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(act) = self.before_last.take()
            && let Err(error) = act()
        {
            self.last = None;
            return Err(error);
        }
        match (self.last.take(), out.first_mut()) {
            (Some(last), Some(first)) => {
                *first = last;
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}

impl<R: Read> Read for Held<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.before_last.is_none() {
            return self.end(out);
        }
        loop {
            let Some(held) = self.last else {
                let count = self.inner.read(out)?;
                if count == 0 {
                    return self.end(out);
                }
                self.last = Some(out[count - 1]);
                if count > 1 {
                    return Ok(count - 1);
                }
                continue;
            };
            if out.len() == 1 {
                let mut next = [0];
                if self.inner.read(&mut next)? == 0 {
                    return self.end(out);
                }
                out[0] = held;
                self.last = Some(next[0]);
                return Ok(1);
            }
            let count = self.inner.read(&mut out[1..])?;
            if count == 0 {
                return self.end(out);
            }
            out[0] = held;
            self.last = Some(out[count]);
            return Ok(count);
        }
    }
}

impl<R: Read> Measured for Held<R> {
    fn total_len(&self) -> Option<u64> {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Gives so many bytes at once.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(self.1).min(self.0.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    proptest! {
        #[test]
        fn the_last_byte_comes_after_the_act_and_all_bytes_come(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..70, room in 1_usize..70,
        ) {
            let done = Arc::new(AtomicBool::new(false));
            let act = { let done = Arc::clone(&done); move || { done.store(true, Ordering::SeqCst); Ok(()) } };
            let inner = Pieces(&bytes, piece);
            let mut held = Held { inner, last: None, total: None, before_last: Some(Box::new(act)) };
            let mut all = Vec::new();
            let mut out = vec![0; room];
            loop {
                let count = held.read(&mut out).unwrap();
                if count == 0 {
                    break;
                }
                all.extend_from_slice(&out[..count]);
                prop_assert!(all.len() < bytes.len() || done.load(Ordering::SeqCst));
            }
            prop_assert!(done.load(Ordering::SeqCst));
            prop_assert_eq!(all, bytes);
        }
    }

    #[test]
    fn without_the_act_the_last_byte_never_comes() {
        let act = || Err(io::Error::other("the database is away"));
        let mut held =
            Held { inner: &b"whole"[..], last: None, total: Some(5), before_last: Some(Box::new(act)) };
        let mut all = Vec::new();
        assert!(held.read_to_end(&mut all).is_err());
        assert_eq!((all.as_slice(), held.total_len()), (&b"whol"[..], Some(5)));
    }

    #[derive(Default)]
    struct Log(Mutex<BTreeMap<String, Value>>);

    #[async_trait::async_trait]
    impl DeliveryLog for Log {
        async fn note(&self, key: &str, value: Value) -> Result<()> {
            self.0.lock().unwrap().insert(key.to_owned(), value);
            Ok(())
        }

        async fn keep(
            &self,
            _: &str,
            _: transport::StagedPayload,
            _: Value,
        ) -> Result<Arc<dyn transport::Payload>> {
            unreachable!("what was sent needs no staging")
        }

        fn kept(&self, _: &transport::KeptBytes) -> Result<Arc<dyn transport::Payload>> {
            unreachable!("what was sent needs no staging")
        }

        async fn correlate(&self, _: &str) -> Result<()> {
            Ok(())
        }

        fn prove(&self, _: transport::Evidence) {}

        fn may_act(&self) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_was_sent_is_noted_for_its_own_message_id() {
        let agreement = Agreement { mdn: MdnRequest::Unsigned, ..Agreement::default() };
        let terms = SentTerms {
            partner: "globex",
            from: "ACME",
            to: "GLOBEX",
            agreement: &agreement,
            own_fingerprint: "ours",
            recipient_fingerprint: "theirs",
            sent_with: &[("sent_signed_with", "acme-2026".to_owned())],
            legacy: &["a weak key".to_owned()],
            earlier: Earlier::Open,
        };
        let tapped = smime::MicReader::new(&b"content"[..], smime::Digest::Sha256).unwrap();
        let mic = tapped.slot();
        let mut message = Outgoing {
            headers: Vec::new(),
            body: Box::new(tapped),
            mic,
            content_headers: b"Content-Type: x/y\r\n".to_vec(),
        };
        let log = Arc::new(Log::default());
        let before_last = noting(&message, Arc::clone(&log) as _, "<1@acme>", &terms, None);
        message.body = held(message.body, before_last);
        assert_eq!(message.length(), Some(7));
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            message.body.read_to_end(&mut all).map(|_| all)
        });
        assert_eq!(read.await.unwrap().unwrap(), b"content");
        let notes = log.0.lock().unwrap().clone();
        let sent = SentMessage::noted(&notes, "<1@acme>").unwrap().unwrap();
        assert_eq!(sent.mic().unwrap().digest, openssl::sha::sha256(b"content"));
        assert_eq!(sent.content_headers(), b"Content-Type: x/y\r\n");
        for today in [MdnRequest::None, MdnRequest::Unsigned, MdnRequest::Signed] {
            let today = Agreement { mdn: today, ..Agreement::default() };
            assert_eq!(sent.agreement(&today).mdn, MdnRequest::Unsigned);
        }
        assert_eq!(SentMessage::noted(&notes, "<2@acme>").unwrap(), None);
        assert_eq!((sent.earlier, &sent.proof), (Earlier::Open, &None));
        assert!(!sent.went_on());
        let restarts = ("restarts".to_owned(), "1".to_owned());
        assert!(SentMessage { sent_with: vec![restarts], ..sent }.went_on());
    }

    #[test]
    fn a_refusal_counts_for_its_attempt_and_the_next() {
        let notes = BTreeMap::from([(ANSWERED.to_owned(), refusal_note("<1@acme>", 2))]);
        for (message_id, attempt, expected) in
            [("<1@acme>", 2, true), ("<1@acme>", 3, true), ("<1@acme>", 4, false), ("<2@acme>", 3, false)]
        {
            assert_eq!(was_refused(&notes, message_id, attempt), expected, "{message_id} {attempt}");
        }
        assert!(!was_refused(&BTreeMap::new(), "<1@acme>", 1));
    }
}
