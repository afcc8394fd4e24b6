//! The signature of a message that would differ if it were made again (RSA-PSS, ECDSA): it is noted before its first byte
//! leaves, so that every attempt sends the same bytes under the same Message-ID.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smime::{Mic, NameStyle, OnSignature, Signature};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use transport::DeliveryLog;

/// The key of the note.
pub(crate) const NOTE: &str = "as2_signature";

/// The note as it is stored.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The message that it signs: one under another Message-ID is signed anew.
    message_id: String,
    /// Base64.
    signature: String,
    /// The digest of what is signed, as a receipt has it.
    mic: String,
}

/// The signature that an earlier attempt made for a message.
///
/// # Errors
/// `Internal`, permanent: the note cannot be read.
pub(crate) fn earlier(notes: &BTreeMap<String, Value>, message_id: &str) -> Result<Option<Signature>> {
    notes.get(NOTE).map_or(Ok(None), |note| read(note, message_id))
}

/// What a note has, if it is of this message.
///
/// # Errors
/// As [`earlier`].
pub(crate) fn read(note: &Value, message_id: &str) -> Result<Option<Signature>> {
    let unreadable = |reason: String| {
        Error::permanent(ErrorKind::Internal, "read the note of a signature").with("reason", reason)
    };
    let note: Note = serde_json::from_value(note.clone()).map_err(|error| unreadable(error.to_string()))?;
    if note.message_id != message_id {
        return Ok(None);
    }
    let bytes = BASE64.decode(&note.signature).map_err(|error| unreadable(error.to_string()))?;
    let mic = Mic::parse(&note.mic).ok_or_else(|| unreadable(format!("its MIC is {:?}", note.mic)))?;
    Ok(Some(Signature { bytes, mic }))
}

/// Notes a signature, durably, before its message goes on. It waits for the database, and is called on the blocking
/// thread that makes the message.
///
/// # Panics
/// Never where it is called: within the runtime.
pub(crate) fn note(log: Arc<dyn DeliveryLog>, message_id: String) -> OnSignature {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |signature: &Signature| {
        runtime.block_on(log.note(NOTE, written(&message_id, signature))).map_err(io::Error::other)
    })
}

/// A signature as it is noted.
pub(crate) fn written(message_id: &str, signature: &Signature) -> Value {
    json!(Note {
        message_id: message_id.to_owned(),
        signature: BASE64.encode(&signature.bytes),
        mic: signature.mic.to_text(NameStyle::Rfc5751),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use smime::Digest;
    use std::sync::Mutex;
    use transport::{Evidence, KeptBytes, Payload, StagedPayload};

    #[derive(Default)]
    struct Log(Mutex<BTreeMap<String, Value>>);

    #[async_trait]
    impl DeliveryLog for Log {
        async fn note(&self, key: &str, value: Value) -> Result<()> {
            self.0.lock().unwrap().insert(key.to_owned(), value);
            Ok(())
        }

        async fn keep(&self, _: &str, _: StagedPayload, _: Value) -> Result<Arc<dyn Payload>> {
            unreachable!("a signature needs no staging")
        }

        fn kept(&self, _: &KeptBytes) -> Result<Arc<dyn Payload>> {
            unreachable!("a signature needs no staging")
        }

        async fn correlate(&self, _: &str) -> Result<()> {
            Ok(())
        }

        fn prove(&self, _: Evidence) {}

        fn may_act(&self) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_signature_is_used_again_for_its_own_message_alone() {
        let log = Arc::new(Log::default());
        let mic = Mic { algorithm: Digest::Sha384, digest: vec![7; 48] };
        let signature = Signature { bytes: vec![1, 2, 3, 0xff], mic };
        let hook = note(Arc::clone(&log) as _, "<one@acme>".into());
        let made = signature.clone();
        tokio::task::spawn_blocking(move || hook(&made)).await.unwrap().unwrap();
        let notes = log.0.lock().unwrap().clone();
        assert_eq!(earlier(&notes, "<one@acme>").unwrap(), Some(signature));
        assert_eq!(earlier(&notes, "<two@acme>").unwrap(), None);
        assert_eq!(earlier(&BTreeMap::new(), "<one@acme>").unwrap(), None);
        let broken = BTreeMap::from([(NOTE.to_owned(), Value::from("broken"))]);
        assert!(earlier(&broken, "<one@acme>").is_err());
    }
}
