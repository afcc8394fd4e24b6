//! The `smime` room of Waybill.

mod algorithm;
mod ber;
mod cms;
mod der;
mod error;
mod message;
mod mic;
mod mime;

pub use algorithm::{Cipher, Digest, NameStyle};
pub use cms::compress::CompressedBody;
pub use cms::open::Decryptor;
pub use cms::recipient::DecryptionKey;
pub use cms::seal::{EnvelopedBody, KeyTransport, SealedContentKey};
pub use cms::sign::{SignedBody, Signing};
pub use cms::signer::SignatureScheme;
pub use cms::verify::Proof;
pub use error::{Error, Result};
pub use message::limits::Limits;
pub use message::report::{Layer, Part, Report};
pub use message::unwrap::{Keys, PartReceiver, ReadOptions, read_message};
pub use mic::{Mic, MicReader, MicRule, MicSlot, RuledMic, every_mic};
pub use mime::content_type::{ContentType, Parameters};
pub use mime::entity::{Entity, EntityStream, Measured, Payload};
pub use mime::headers::{Field, Headers};
pub use mime::multipart::{Multipart, PartReader};
pub use mime::transfer::{Base64Reader, QuotedPrintableReader, TransferEncoding};
