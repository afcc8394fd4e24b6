//! S/MIME: MIME and CMS as streams, written and read in constant memory.
//!
//! This crate knows the formats, but nothing about AS2: no AS2 headers, receipts or partners. It opens no
//! files and no sockets, and has no clock. It is synchronous: callers run it on a blocking thread, with a
//! `Read` from staging or from HTTP. The digest of a long signed content is computed on a thread of its own ([`threads`]).
//!
//! **Writing.** An [`Entity`] consists of headers and a body that has not been read yet.
//! [`Entity::compress`], [`Entity::sign`], [`Entity::sign_opaque`] and [`Entity::encrypt`] wrap it, in any
//! order. The payload is only read while the outermost body is read. `body_len` gives the total length in
//! advance (not after compression). With a stored [`EncryptedContentKey`], a fixed signing time and, where signing
//! again gives other bytes, the stored [`Signature`], a second attempt sends the same bytes.
//!
//! **Reading.** [`read_message`] removes all layers of a message and passes its parts to a [`PartReceiver`]
//! while they arrive. Signature, padding and tag come last, so nothing may be published before the [`Report`]
//! is returned. The report has the layers, the proof of the signature, and the MIC by every rule.
//!
//! **Time stamps.** [`TimestampRequest`] asks an authority to stamp a digest (RFC 3161), and
//! [`TimestampAuthorities`] verifies the answer, also years later.
//!
//! Deliberately absent: trust in certificates that are sent with a message (only known ones verify; a time
//! stamp's must be issued under configured ones), details about failed decryption (an attacker could use
//! them), allocation of a length that the peer claims, and cleaning of file names (the caller does that).
//!
//! ```
//! use smime::{Entity, Headers, Keys, Part, PartReceiver, Payload, ReadOptions, read_message};
//!
//! struct Keep(Vec<u8>);
//! impl PartReceiver for Keep {
//!     fn begin(&mut self, _: &Part) -> std::io::Result<Box<dyn std::io::Write + '_>> {
//!         Ok(Box::new(&mut self.0))
//!     }
//! }
//!
//! # fn main() -> smime::Result<()> {
//! let headers = Headers::new().with("Content-Type", "application/edifact")?;
//! let entity = Entity::new(headers, Payload::new(&b"UNB+..."[..], 7));
//! let (headers, body) = entity.compress()?.into_parts();
//! let mut kept = Keep(Vec::new());
//! let report = read_message(&headers, body, Keys::default(), &ReadOptions::default(), &mut kept)?;
//! assert!(report.compressed() && kept.0 == b"UNB+...");
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod algorithm;
mod ber;
mod certificates;
mod cms;
mod der;
mod error;
mod message;
mod mic;
mod mime;
pub mod threads;
mod timestamp;

pub use algorithm::{Cipher, Digest, NameStyle};
pub use certificates::pkcs7_certificates;
pub use cms::certificate::certificate_names;
pub use cms::compress::CompressedBody;
pub use cms::detached::{Detached, stated_digest, verify_detached};
pub use cms::encrypt::{EncryptedContentKey, EnvelopedBody, KeyTransport};
pub use cms::opaque::OpaqueBody;
pub use cms::recipient::DecryptionKey;
pub use cms::sign::{OnSignature, Signature, SignedBody, Signing};
pub use cms::signer::SignatureScheme;
pub use cms::verify::{Proof, Weakness};
pub use error::{CarriedCertificate, Error, Result};
pub use message::leaf::is_one_plain_leaf;
pub use message::limits::Limits;
pub use message::options::{Keys, PartReceiver, ReadOptions};
pub use message::report::{Layer, Part, Report, SignedContent, Wrapping};
pub use message::teed::Teed;
pub use message::unwrap::{drain, read_message};
pub use mic::{
    DIGEST_BUFFERS, LastLineEnd, Mic, MicReader, MicRule, MicSlot, RuledMic, SignedDigest, SignedForm,
    every_mic,
};
pub use mime::content_type::{ContentType, Parameters};
pub use mime::entity::{Entity, EntityStream, Measured, Payload};
pub use mime::form_data::{FormData, FormPiece};
pub use mime::headers::{Field, Headers};
pub use mime::multipart::{Multipart, PartReader};
pub use mime::transfer::{Base64Reader, QuotedPrintableReader, TransferEncoding};
pub use mime::words::decode_words;
pub use timestamp::{TimestampAuthorities, TimestampProof, TimestampRequest};
