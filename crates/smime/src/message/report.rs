//! What reading a message has shown.

use crate::algorithm::{Cipher, Digest};
use crate::cms::verify::Proof;
use crate::mic::{Mic, MicRule, RuledMic};
use crate::mime::content_type::ContentType;
use crate::mime::headers::Headers;

/// One wrapping that was taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Encryption.
    Encrypted {
        /// The cipher of the content.
        cipher: Cipher,
        /// The place in [`Keys::decrypt`](crate::Keys::decrypt) of the key that decrypted it.
        key: usize,
    },
    /// A signature, verified with a pinned certificate.
    Signed(Proof),
    /// Compression with zlib.
    Compressed,
}

/// One wrapping that is being taken off, before it is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// Encryption.
    Encrypted,
    /// A signature, by whomever.
    Signed,
    /// Compression.
    Compressed,
}

/// A leaf of the message: one payload, or one body part among several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Position in the multiparts from the outside in, counted from 0; empty for a message that
    /// is no multipart.
    pub path: Vec<usize>,
    /// The part's headers; for a message without any wrapping those that were handed in.
    pub headers: Headers,
}

impl Part {
    /// The media type, when there is one.
    pub fn content_type(&self) -> Option<ContentType> {
        self.headers.content_type()
    }

    /// The peer's file name, decoded. Not safe as a path.
    pub fn file_name(&self) -> Option<String> {
        self.headers.file_name()
    }

    /// The peer's file name in the bytes that were sent. Not safe as a path.
    pub fn file_name_raw(&self) -> Option<Vec<u8>> {
        self.headers.file_name_raw()
    }
}

/// What the outermost signature covers, for whoever keeps it as evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedContent {
    /// The header section of the signed entity with the empty line behind it, byte for byte.
    pub head: Vec<u8>,
    /// Whether what follows it is the body of the one leaf, as it was handed out; else
    /// [`PartReceiver::signed_content`](crate::PartReceiver::signed_content) got all of it.
    pub is_leaf: bool,
    /// The signature as a SignedData without content, also of an opaque one; of OpenPGP, as its packet or in the armour in which
    /// it came.
    pub signature: Vec<u8>,
}

/// The account of a message that was read to its end, decrypted and verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was taken off, from the outside in.
    pub layers: Vec<Layer>,
    /// The MICs under every rule that could apply.
    pub mics: Vec<RuledMic>,
    /// The leaves with their decoded lengths in bytes, in order.
    pub parts: Vec<(Part, u64)>,
    /// What the outermost signature covers; none of a message that is not signed.
    pub signed_content: Option<SignedContent>,
}

impl Report {
    /// The cipher of the outermost encryption.
    pub fn encrypted(&self) -> Option<Cipher> {
        self.layers.iter().find_map(|layer| match layer {
            Layer::Encrypted { cipher, .. } => Some(*cipher),
            _ => None,
        })
    }

    /// The place in [`Keys::decrypt`](crate::Keys::decrypt) of the key that decrypted the outermost encryption.
    pub fn decrypted_with(&self) -> Option<usize> {
        self.layers.iter().find_map(|layer| match layer {
            Layer::Encrypted { key, .. } => Some(*key),
            _ => None,
        })
    }

    /// What the outermost signature proves.
    pub fn signed(&self) -> Option<&Proof> {
        self.layers.iter().find_map(|layer| match layer {
            Layer::Signed(proof) => Some(proof),
            _ => None,
        })
    }

    /// Whether a layer was compressed.
    pub fn compressed(&self) -> bool {
        self.layers.contains(&Layer::Compressed)
    }

    /// The rule that RFC 4130 section 7.3.1 and RFC 5402 section 4 choose for this message.
    pub fn rule(&self) -> MicRule {
        match self.signed() {
            Some(proof) if proof.canonical => MicRule::SignedCanonical,
            Some(_) => MicRule::Signed,
            None if self.layers.is_empty() => MicRule::Content,
            None => MicRule::Entity,
        }
    }

    /// The MIC that a receipt carries; none when it was not computed with this algorithm.
    pub fn mic(&self, algorithm: Digest) -> Option<&Mic> {
        let rule = self.rule();
        self.mics
            .iter()
            .find(|ruled| ruled.rule == rule && ruled.mic.algorithm == algorithm)
            .map(|ruled| &ruled.mic)
    }
}
