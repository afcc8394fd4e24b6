//! What will prove a message whose receipt comes later. It is noted with the message: when the receipt comes, keys, certificates
//! and options may be others.

use crate::agreement::EvidenceTerms;
use crate::outgoing::Envelope;
use crate::outgoing::signed::{self, Covers, SignatureOf};
use crate::pgp_signature::NotedPgpSignature;
use crate::signer::der;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Error, ErrorKind, Result};
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smime::{Mic, NameStyle};
use std::collections::BTreeMap;
use std::time::Duration;
use transport::{KeptBytes, StagedPayload};

/// Begins the keys of the notes about copies of what was signed; the Message-ID follows.
const COPY: &str = "as2_signed:";

/// As it is noted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SentProof {
    /// The header fields that went with the message, without those that log in.
    pub(crate) headers: Vec<(String, String)>,
    /// Which bytes its MIC and its signature cover.
    pub(crate) covers: Covers,
    /// How it was encrypted.
    pub(crate) cipher: Option<String>,
    /// How long its evidence is kept, in seconds, and whether with the content: as it was agreed when it was sent.
    keep_seconds: u64,
    keeps_content: bool,
    /// The signature without what it signs, and our certificate, in base64.
    signature: Option<String>,
    signer: Option<String>,
    /// The signature by OpenPGP, and our public key.
    pgp: Option<NotedPgpSignature>,
}

impl SentProof {
    /// What was agreed on its evidence when it was sent.
    pub(crate) fn terms(&self) -> EvidenceTerms {
        let keep_for = Some(Duration::from_secs(self.keep_seconds));
        EvidenceTerms { keep_for, keeps_content: self.keeps_content }
    }

    /// The signature by S/MIME; `None` of a message without one.
    ///
    /// # Errors
    /// `Internal`, permanent: the note cannot be read.
    pub(crate) fn signature(&self) -> Result<Option<Vec<u8>>> {
        self.signature.as_deref().map(decoded).transpose()
    }

    /// Its signature by OpenPGP, if it has one.
    pub(crate) fn pgp(&self) -> Option<&NotedPgpSignature> {
        self.pgp.as_ref()
    }

    /// The certificate of the key that signed it.
    ///
    /// # Errors
    /// As [`SentProof::signature`].
    pub(crate) fn signer(&self) -> Result<Option<X509>> {
        let Some(der) = self.signer.as_deref().map(decoded).transpose()? else { return Ok(None) };
        X509::from_der(&der).map(Some).map_err(|error| unreadable().caused_by(error))
    }
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    BASE64.decode(text).map_err(|error| unreadable().caused_by(error))
}

fn unreadable() -> Error {
    Error::permanent(ErrorKind::Internal, "read the note of what proves a message")
}

/// What will prove a message that is still to be made.
pub(crate) struct ProofOf {
    proof: SentProof,
    signature: Option<SignatureOf>,
}

impl ProofOf {
    /// Of a message that goes with these header fields; `None` where no evidence is kept.
    ///
    /// # Errors
    /// A key that cannot sign, a certificate that cannot be encoded.
    pub(crate) fn new(envelope: &Envelope<'_>, headers: &[(String, String)]) -> Result<Option<Self>> {
        let EvidenceTerms { keep_for: Some(keep_for), keeps_content } = envelope.agreement.evidence else {
            return Ok(None);
        };
        let signature = signed::signature_of(envelope)?;
        // A message by PGP/MIME is in staging whole by now.
        let spooled = envelope.made_once.spool.get();
        let own = envelope.own.filter(|_| signature.is_some());
        let proof = SentProof {
            headers: headers.to_vec(),
            covers: envelope.covers(),
            cipher: envelope.cipher_name().map(str::to_owned),
            keep_seconds: keep_for.as_secs(),
            keeps_content,
            signature: None,
            signer: own.map(|own| der(&own.certificate)).transpose()?.map(|der| BASE64.encode(der)),
            pgp: spooled.and_then(|spooled| spooled.pgp_signature.clone()),
        };
        Ok(Some(Self { proof, signature }))
    }

    /// All of it, once the message was made, with this MIC.
    ///
    /// # Errors
    /// The signature cannot be made once more.
    pub(crate) fn with(self, mic: &Mic) -> Result<SentProof> {
        let Self { proof, signature } = self;
        let signature = signature.map(|signature| signature.over(mic)).transpose()?;
        Ok(SentProof { signature: signature.map(|bytes| BASE64.encode(bytes)), ..proof })
    }
}

/// The key of the note about a copy of what was signed of a message.
pub(crate) fn copy_key(message_id: &str) -> String {
    format!("{COPY}{message_id}")
}

/// What that note says of the copy.
pub(crate) fn about_copy(mic: &Mic) -> Value {
    json!({ "mic": mic.to_text(NameStyle::Rfc5751) })
}

/// The copy of what was signed of a message; `None` if there is none, or it has another MIC than the message.
///
/// # Errors
/// `Internal`, permanent: its note cannot be read.
pub(crate) fn copy_of(
    notes: &BTreeMap<String, Value>,
    message_id: &str,
    mic: Option<&Mic>,
) -> Result<Option<StagedPayload>> {
    let Some(note) = notes.get(&copy_key(message_id)) else { return Ok(None) };
    let kept = KeptBytes::of(note)?;
    let its = kept.about.get("mic").and_then(Value::as_str).and_then(Mic::parse);
    Ok(if its.is_some() && its.as_ref() == mic { Some(kept.bytes) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{Agreement, As2Id, RsaSignature, SendSecurity};
    use crate::outgoing::{MadeOnce, MessageSeed, OwnKey, build, signed::signature};
    use crate::testing::Key;
    use model::{RemotePath, Timestamp};
    use smime::Digest;
    use std::io::sink;

    #[test]
    fn a_signature_that_is_made_once_is_noted_as_it_was_sent() {
        let (key, to) = (Key::new("ACME"), As2Id::try_from("GLOBEX".to_owned()).unwrap());
        let from = As2Id::try_from("ACME".to_owned()).unwrap();
        let own = OwnKey { key: key.key.clone(), certificate: key.certificate.clone() };
        let seed = MessageSeed {
            message_id: "<1@acme>".into(),
            boundary: "b-1".into(),
            date: Timestamp::UNIX_EPOCH,
            content_key: None,
        };
        for (rsa_signature, keep_for) in [
            (RsaSignature::Pkcs1, Some(Duration::from_secs(60))),
            (RsaSignature::Pss, Some(Duration::from_secs(60))),
            (RsaSignature::Pss, None),
        ] {
            let agreement = Agreement {
                send_security: SendSecurity::Signed,
                rsa_signature,
                evidence: EvidenceTerms { keep_for, keeps_content: true },
                ..Agreement::default()
            };
            let envelope = Envelope {
                from: &from,
                to: &to,
                agreement: &agreement,
                own: Some(&own),
                seed: &seed,
                made_once: MadeOnce::default(),
                media_type: "application/edi-x12",
                file_name: &RemotePath::from("po.edi"),
            };
            let mut message = build(&envelope, Box::new(&b"an order"[..]), 8).unwrap();
            let Some(later) = ProofOf::new(&envelope, &message.headers).unwrap() else {
                assert_eq!(keep_for, None);
                continue;
            };
            std::io::copy(&mut message.body, &mut sink()).unwrap();
            let mic = message.mic.get().unwrap();
            let proof = later.with(mic).unwrap();
            assert_eq!((proof.covers, &proof.cipher), (Covers::HeadAndPayload, &None));
            assert_eq!(proof.signature().unwrap(), signature(&envelope, mic).unwrap());
            assert!(proof.signature().unwrap().is_some());
            assert_eq!(proof.terms(), agreement.evidence);
            let signer = proof.signer().unwrap().unwrap();
            assert_eq!(signer.to_der().unwrap(), own.certificate.to_der().unwrap());
            let note = serde_json::to_value(&proof).unwrap();
            assert_eq!(serde_json::from_value::<SentProof>(note).unwrap(), proof);
        }
    }

    #[test]
    fn a_copy_counts_for_the_message_that_has_its_mic() {
        let mic = |byte| Mic { algorithm: Digest::Sha256, digest: vec![byte; 32] };
        let bytes = StagedPayload {
            id: model::PayloadId::new(uuid::Uuid::nil()),
            length: 3,
            sha256: model::Sha256([1; 32]),
        };
        let note = KeptBytes { bytes: bytes.clone(), about: about_copy(&mic(1)) }.to_note().unwrap();
        let notes = BTreeMap::from([(copy_key("<1@acme>"), note)]);
        assert_eq!(copy_of(&notes, "<1@acme>", Some(&mic(1))).unwrap(), Some(bytes));
        for (message_id, mic) in
            [("<1@acme>", Some(&mic(2))), ("<1@acme>", None), ("<2@acme>", Some(&mic(1)))]
        {
            assert_eq!(copy_of(&notes, message_id, mic).unwrap(), None, "{message_id}");
        }
        let broken = BTreeMap::from([(copy_key("<1@acme>"), Value::from("broken"))]);
        assert!(copy_of(&broken, "<1@acme>", None).is_err());
    }
}
