//! PGP/MIME: OpenPGP messages in MIME as streams, written and read in constant memory (RFC 3156, RFC 9580).
//!
//! This crate knows the formats, but nothing about AS2: no AS2 headers, receipts or partners. It opens no files and no
//! sockets, and has no clock. It is synchronous: callers run it on a blocking thread. MIME itself (headers, multiparts, MICs,
//! transfer encodings) and the innermost entity are the `smime` crate's, whose [`smime::Error`] is used here as well: a
//! receipt says the same of both packagings. OpenPGP's packets and their cryptography are the `pgp` crate's (rpgp).
//!
//! **Writing.** [`sign`] wraps an entity in a `multipart/signed`, [`encrypt`] in a `multipart/encrypted`; with a
//! [`Signing`] among its options, `encrypt` signs as well, in the same OpenPGP object. The payload is only read while the
//! outermost body is read. The length of the body is not known in advance, and the bytes differ each time: a caller that
//! must repeat a message keeps the bytes.
//!
//! **Reading.** [`read_message`] removes the OpenPGP layers of a message, and passes what is inside to
//! [`smime::read_message`]. The signature and the modification detection code come last, so nothing may be published before
//! the [`Report`] is returned.
//!
//! **Keys.** [`OwnKey`] and [`PartnerKey`] are read from their armoured text. Which component of a key signs and which one is
//! encrypted for follows from its own signatures: flags, expiry, revocation.
//!
//! Deliberately absent: the web of trust (only keys that are handed in verify), key servers, passwords instead of keys, and
//! details about failed decryption (an attacker could use them).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod armor;
mod cipher;
mod component;
mod detached;
mod digests;
mod encrypt;
mod error;
mod keys;
mod layers;
mod object;
mod packet;
mod read;
mod report;
mod sign;
mod verify;

pub use cipher::Cipher;
pub use component::Validity;
pub use detached::{Detached, verify_detached};
pub use encrypt::{Encryption, encrypt, encrypted_headers};
pub use keys::{OwnKey, PartnerKey, is_armoured};
pub use read::{Keys, ReadOptions, is_pgp, read_message};
pub use report::{Proof, Report};
pub use sign::{Body, SignatureSlot, Signed, Signing, sign, sign_bytes, signed_headers};
