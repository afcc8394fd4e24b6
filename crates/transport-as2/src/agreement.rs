//! What was agreed with a partner, and who both sides are: read from the declared fields of `[partner.NAME.as2]` and
//! `[identity.NAME.as2]`.

mod words;

pub use words::{
    Cipher, Compression, DigestName, DuplicatePolicy, Fallback, KeyTransport, MdnRequest, Order, Packaging,
    RsaSignature, SendSecurity, SignatureForm,
};

use crate::choice::{CERTIFICATE_USES, Choices, KEY_USES};
use crate::form_fields::FormTerms;
use crate::header_options::{ContentCoding, HeaderOptions};
use crate::kept_terms::KeptTerms;
use crate::receipt_terms::ReceiptTerms;
use crate::restart_terms::RestartTerms;
use model::definition::{self, Definitions};
use model::schema::Values;
use model::{Error, ErrorKind, ExchangePolicy, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The transport's name in documents.
pub(crate) const NAME: &str = "as2";

/// An AS2 name: 1 to 128 printable ASCII characters, compared exactly (RFC 4130, 6.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct As2Id(String);

impl As2Id {
    /// The name without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for As2Id {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        let is_blank = text.bytes().all(|b| b == b' ');
        if (1..=128).contains(&text.len()) && printable && !is_blank {
            Ok(Self(text))
        } else {
            Err(format!(
                "AS2 name {text:?}: use 1 to 128 printable ASCII characters, not spaces alone (RFC 4130, 6.2)"
            ))
        }
    }
}

impl From<As2Id> for String {
    fn from(id: As2Id) -> Self {
        id.0
    }
}

impl fmt::Display for As2Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our own side of a partnership.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Our AS2 name.
    pub as2_id: As2Id,
    /// Our keys, which sign and decrypt.
    pub keys: Choices,
    /// Our OpenPGP keys, which do so in messages by PGP/MIME.
    pub pgp_keys: Choices,
}

impl Identity {
    /// Reads an identity.
    ///
    /// # Errors
    /// `ConfigInvalid`: it does not speak AS2, or its name is none.
    pub(crate) fn of(identity: &definition::Identity) -> Result<Self> {
        let side = identity.side(NAME).ok_or_else(|| speaks_none("identity", &identity.name))?;
        Ok(Self {
            name: identity.name.clone(),
            as2_id: id(side, "identity", &identity.name)?,
            keys: Choices::of(side, "keys", KEY_USES),
            pgp_keys: Choices::of(side, "pgp_keys", KEY_USES),
        })
    }
}

/// A trading partner.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Its name.
    pub name: String,
    /// Its AS2 name.
    pub as2_id: As2Id,
    /// Its certificates, which messages are encrypted for and which verify signatures.
    pub certificates: Choices,
    /// What was agreed with it.
    pub agreement: Agreement,
}

impl Partner {
    /// Reads a partner.
    ///
    /// # Errors
    /// `ConfigInvalid`: it does not speak AS2, or its name is none.
    pub(crate) fn of(partner: &definition::Partner) -> Result<Self> {
        let side = partner.agreement(NAME).ok_or_else(|| speaks_none("partner", &partner.name))?;
        Ok(Self {
            name: partner.name.clone(),
            as2_id: id(side, "partner", &partner.name)?,
            certificates: Choices::of(side, "certificates", CERTIFICATE_USES),
            agreement: Agreement::of(side),
        })
    }
}

fn speaks_none(what: &'static str, name: &str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "use a partner or identity for AS2")
        .with(what, name)
        .advice(format!("it has no AS2 name: add a table [{what}.{name}.as2] with an id"))
}

fn id(side: &Values, what: &'static str, name: &str) -> Result<As2Id> {
    As2Id::try_from(side.text("id").unwrap_or_default().to_owned()).map_err(|reason| {
        Error::permanent(ErrorKind::ConfigInvalid, "read an AS2 name").with(what, name).with("reason", reason)
    })
}

/// The partner of an AS2 name, if it speaks AS2 and can be read. The others are not read: this is asked for each message.
pub(crate) fn partner_named(definitions: &Definitions, as2_id: &str) -> Option<Partner> {
    let has_name = |partner: &definition::Partner| is_named(partner.agreement(NAME), as2_id);
    let partner = definitions.partners.values().find(|partner| has_name(partner))?;
    Partner::of(partner).ok()
}

/// The identity of ours of an AS2 name, likewise.
pub(crate) fn identity_named(definitions: &Definitions, as2_id: &str) -> Option<Identity> {
    let has_name = |identity: &definition::Identity| is_named(identity.side(NAME), as2_id);
    let identity = definitions.identities.values().find(|identity| has_name(identity))?;
    Identity::of(identity).ok()
}

fn is_named(side: Option<&Values>, as2_id: &str) -> bool {
    side.is_some_and(|side| side.text("id") == Some(as2_id))
}

impl Agreement {
    /// Whether messages are written to staging whole before they are sent, as they cannot be made again exactly.
    pub(crate) fn is_spooled(&self) -> bool {
        self.compress != Compression::No
            || self.headers.content_coding != ContentCoding::No
            || self.is_protected_by_pgp()
    }

    /// Whether messages to the partner are packaged by PGP/MIME.
    pub(crate) fn is_pgp(&self) -> bool {
        self.packaging == Packaging::Pgp
    }

    /// Whether OpenPGP signs or encrypts messages to the partner.
    pub(crate) fn is_protected_by_pgp(&self) -> bool {
        self.is_pgp() && self.send_security != SendSecurity::None
    }

    /// Whether messages to the partner are signed by S/MIME.
    pub(crate) fn signs_by_smime(&self) -> bool {
        self.send_security.signs() && !self.is_pgp()
    }

    /// Whether messages to the partner are encrypted by S/MIME.
    pub(crate) fn encrypts_by_smime(&self) -> bool {
        self.send_security.encrypts() && !self.is_pgp()
    }

    /// Reads the declared fields of a partner's table.
    pub(crate) fn of(side: &Values) -> Self {
        let word = |table: &Values, name: &str| table.text(name).unwrap_or_default().to_owned();
        let (send, receive) = (side.table("send"), side.table("receive"));
        let form = FormTerms::of(side);
        let other = Self::default();
        // Every word was checked against its declaration, which holds the same words.
        Self {
            send_security: SendSecurity::parse(&word(send, "security")).unwrap_or(other.send_security),
            packaging: Packaging::parse(&word(send, "packaging")).unwrap_or(other.packaging),
            pgp_keys: Choices::of(side, "pgp_keys", CERTIFICATE_USES),
            cipher: Cipher::parse(&word(send, "cipher")).unwrap_or(other.cipher),
            digest: DigestName::parse(&word(send, "digest")).unwrap_or(other.digest),
            key_transport: KeyTransport::parse(&word(send, "key_transport")).unwrap_or(other.key_transport),
            compress: Compression::parse(&word(send, "compress")).unwrap_or(other.compress),
            order: Order::parse(&word(send, "order")).unwrap_or(other.order),
            signature_form: SignatureForm::parse(&word(send, "signature_form"))
                .unwrap_or(other.signature_form),
            rsa_signature: RsaSignature::parse(&word(send, "rsa_signature")).unwrap_or(other.rsa_signature),
            headers: HeaderOptions::read(send),
            also_encrypt_for: send.texts("also_encrypt_for").map(str::to_owned).collect(),
            mdn: MdnRequest::parse(&word(side.table("mdn"), "ask")).unwrap_or(other.mdn),
            receipts: ReceiptTerms::of(side.table("mdn")),
            restart: restart(send, form.post),
            form,
            receive_security: SendSecurity::parse(&word(receive, "security"))
                .unwrap_or(other.receive_security),
            duplicates: DuplicatePolicy::parse(&word(receive, "duplicates")).unwrap_or(other.duplicates),
            accept_expired: side.bool("accept_expired"),
            fallback: Fallback::parse(&word(side, "fallback")).unwrap_or(other.fallback),
            legacy: side.bool("legacy"),
            largest_message: receive.size("largest").unwrap_or(other.largest_message),
            kept: KeptTerms::of(receive.table("restart")),
            evidence: EvidenceTerms::of(side.table("evidence")),
            answer_within: receive.duration("answer_within"),
            exchange: ExchangePolicy::parse(&word(side, "certificate_exchange")).unwrap_or(other.exchange),
        }
    }
}

/// How messages go on where they broke off: those that are posted as forms do not.
fn restart(send: &Values, is_form: bool) -> RestartTerms {
    let terms = RestartTerms::of(send.table("restart"));
    RestartTerms { offer: terms.offer && !is_form, ..terms }
}

/// What is kept to prove messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EvidenceTerms {
    /// How long; `None`: nothing is kept.
    pub keep_for: Option<Duration>,
    /// Whether the content is kept as long, or with the payload alone.
    pub keeps_content: bool,
}

impl EvidenceTerms {
    fn of(table: &Values) -> Self {
        Self { keep_for: table.duration("retention"), keeps_content: table.bool("content") }
    }
}

/// What was agreed with a partner.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// How messages to the partner are protected.
    pub send_security: SendSecurity,
    /// By which standard messages to it are signed and encrypted.
    pub packaging: Packaging,
    /// Its OpenPGP keys, which messages by PGP/MIME are encrypted for and which verify their signatures.
    pub pgp_keys: Choices,
    /// The cipher of messages to it.
    pub cipher: Cipher,
    /// The digest of signatures to it.
    pub digest: DigestName,
    /// Whether messages are compressed, and when.
    pub compress: Compression,
    /// Whether messages are signed or encrypted first.
    pub order: Order,
    /// Where the signature is.
    pub signature_form: SignatureForm,
    /// How RSA keys sign messages.
    pub rsa_signature: RsaSignature,
    /// How the content key is encrypted for RSA keys.
    pub key_transport: KeyTransport,
    /// The header fields of messages to it.
    pub headers: HeaderOptions,
    /// The names of certificates that messages are encrypted for beside the partner's.
    pub also_encrypt_for: Vec<String>,
    /// The receipt to ask for.
    pub mdn: MdnRequest,
    /// Receipts that come later.
    pub receipts: ReceiptTerms,
    /// Messages that go on where they broke off.
    pub restart: RestartTerms,
    /// Messages as forms, and generalized receipts.
    pub form: FormTerms,
    /// Least protection of messages from it; less is answered `insufficient-message-security`.
    pub receive_security: SendSecurity,
    /// How a repeated Message-ID is answered.
    pub duplicates: DuplicatePolicy,
    /// Whether the partner's certificates are still used after they have expired. A certificate that is not valid yet is never used.
    pub accept_expired: bool,
    /// Whether a message is sent once more with another certificate or key.
    pub fallback: Fallback,
    /// Whether MD5, SHA-1, triple DES and keys under 2,048 bits are used with it. Each use is an event.
    pub legacy: bool,
    /// Largest message taken from it, in bytes.
    pub largest_message: u64,
    /// How messages from it are kept while they arrive, so that it can go on where a connection broke.
    pub kept: KeptTerms,
    /// What is kept to prove messages.
    pub evidence: EvidenceTerms,
    /// How long the answer to a message of it waits for a file that answers it.
    pub answer_within: Option<Duration>,
    /// What is done with certificates that it proposes.
    pub exchange: ExchangePolicy,
}

impl Default for Agreement {
    fn default() -> Self {
        Self {
            send_security: SendSecurity::SignedEncrypted,
            packaging: Packaging::Smime,
            pgp_keys: Choices::default(),
            cipher: Cipher::Aes256Cbc,
            digest: DigestName::Sha256,
            compress: Compression::No,
            order: Order::SignThenEncrypt,
            signature_form: SignatureForm::Detached,
            rsa_signature: RsaSignature::Pkcs1,
            key_transport: KeyTransport::Pkcs1,
            headers: HeaderOptions::default(),
            also_encrypt_for: Vec::new(),
            mdn: MdnRequest::Signed,
            receipts: ReceiptTerms::default(),
            restart: RestartTerms::default(),
            form: FormTerms::default(),
            receive_security: SendSecurity::SignedEncrypted,
            duplicates: DuplicatePolicy::Repeat,
            accept_expired: false,
            fallback: Fallback::No,
            legacy: false,
            largest_message: 64 << 30,
            kept: KeptTerms::default(),
            evidence: EvidenceTerms {
                keep_for: Some(Duration::from_secs(365 * 86_400)),
                keeps_content: true,
            },
            answer_within: None,
            exchange: ExchangePolicy::Ask,
        }
    }
}
