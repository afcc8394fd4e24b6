//! The `smime` room of Waybill: MIME and CMS as streams, written and read in constant memory.
//!
//! It knows the formats and nothing of AS2: no AS2 headers, no receipts, no partners. It opens
//! no file and no socket, has no clock, and is synchronous: callers run it on a blocking thread,
//! with a `Read` from staging or from HTTP at one end.
//!
//! **Out.** An [`Entity`] is headers and a body that has not been read yet. [`Entity::compress`],
//! [`Entity::sign`], [`Entity::sign_opaque`] and [`Entity::encrypt`] wrap it, in any order; nothing
//! moves until the outermost body is read, and each read pulls the payload through. `body_len`
//! gives the length of all of it beforehand (not after compression, nor with an EC signature). A
//! stored [`EncryptedContentKey`] and a fixed signing time make a second attempt send the same bytes.
//!
//! **In.** [`read_message`] takes off whatever layers a message has and hands its leaves to a
//! [`PartReceiver`] as they stream. Signature, padding and tag come last on the wire: what was
//! received may be published only when the [`Report`] is there. The report holds the layers,
//! the proof of the signature, and the MIC under every rule.
//!
//! **Time.** [`TimestampRequest`] asks an authority for a stamp over a digest (RFC 3161), and
//! [`TimestampAuthorities`] checks what was answered, also years later.
//!
//! What is deliberately absent: trust in certificates that travel with a message (only pinned
//! ones verify; a time stamp's must lead to configured ones), detail about failed decryption (a peer could use it), allocation by a length
//! that a peer claims, and sanitising of file names (the caller's).
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

mod algorithm;
mod ber;
mod cms;
mod der;
mod error;
mod message;
mod mic;
mod mime;
mod timestamp;

pub use algorithm::{Cipher, Digest, NameStyle};
pub use cms::compress::CompressedBody;
pub use cms::encrypt::{EncryptedContentKey, EnvelopedBody, KeyTransport};
pub use cms::opaque::OpaqueBody;
pub use cms::recipient::DecryptionKey;
pub use cms::sign::{SignedBody, Signing};
pub use cms::signer::SignatureScheme;
pub use cms::verify::{Proof, Weakness};
pub use error::{Error, Result};
pub use message::limits::Limits;
pub use message::report::{Layer, Part, Report, Wrapping};
pub use message::unwrap::{Keys, PartReceiver, ReadOptions, read_message};
pub use mic::{Mic, MicReader, MicRule, MicSlot, RuledMic, every_mic};
pub use mime::content_type::{ContentType, Parameters};
pub use mime::entity::{Entity, EntityStream, Measured, Payload};
pub use mime::headers::{Field, Headers};
pub use mime::multipart::{Multipart, PartReader};
pub use mime::transfer::{Base64Reader, QuotedPrintableReader, TransferEncoding};
pub use timestamp::{TimestampAuthorities, TimestampProof, TimestampRequest};
